"""What is published packs whole: each archive has its licence, its README and what its index wants to know, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
from conftest import REPOSITORY

CRATES = ("josoor-auth", "josoor-auth-verify", "bcrypt-interleaved")
CARGO = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]
VERSION = CARGO["version"]
LICENSE = (REPOSITORY / "LICENSE").read_text()


@pytest.fixture(scope="module")
def archives() -> dict[str, Path]:
    """As `make publish-dry` makes them; the crates are not built from their archives here, which takes minutes."""
    command = ["scripts/packages", "--no-verify", "--allow-dirty", "--offline"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    made = list((REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target") / "packages").iterdir())
    assert {path.name for path in made} == {f"{name}-{VERSION}.crate" for name in CRATES} | {f"josoor-auth-{VERSION}.tgz"}
    return {"npm" if path.suffix == ".tgz" else path.name.removesuffix(f"-{VERSION}.crate"): path for path in made}


def contents(archive: Path) -> dict[str, bytes]:
    """The files, by their path below the archive's one folder."""
    with tarfile.open(archive) as tar:
        entries = [entry for entry in tar if entry.isfile()]
        assert len({entry.name.split("/")[0] for entry in entries}) == 1
        return {entry.name.split("/", 1)[1]: tar.extractfile(entry).read() for entry in entries}


@pytest.mark.parametrize("name", CRATES)
def test_trials_a6_a_crate_is_whole(archives: dict[str, Path], name: str):
    files = contents(archives[name])
    assert files["LICENSE"].decode() == LICENSE
    assert files["README.md"].decode().startswith(f"# {name}\n")
    package = tomllib.loads(files["Cargo.toml"].decode())["package"]
    assert package["license"] == "Apache-2.0" and package["repository"].startswith("https://") and package["readme"] == "README.md"
    assert len(package["description"]) < 200 and 1 <= len(package["keywords"]) <= 5 and 1 <= len(package["categories"]) <= 5
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{0,19}", keyword) for keyword in package["keywords"])
    # Sources and what is built into them; no tests, no measurements, nothing of a build or of a developer.
    tops = {path.split("/")[0] for path in files}
    allowed = {"Cargo.toml", "Cargo.toml.orig", "Cargo.lock", ".cargo_vcs_info.json", "LICENSE", "README.md", "src", "build.rs", "config.default.toml"}
    assert tops <= allowed | {"assets", "data", "migrations", "templates", "examples"}, tops
    home = str(Path.home()).encode() + b"/"
    assert [path for path, content in files.items() if home in content or str(REPOSITORY).encode() in content] == []
    assert archives[name].stat().st_size < 10_000_000, "crates.io takes at most 10 MB"


def test_the_crates_name_each_other_by_version(archives: dict[str, Path]):
    manifest = tomllib.loads(contents(archives["josoor-auth"])["Cargo.toml"].decode())
    for name in ("josoor-auth-verify", "bcrypt-interleaved"):
        dependency = manifest["dependencies"][name]
        assert dependency["version"] == manifest["package"]["version"] and "path" not in dependency


def test_what_the_server_is_built_from_is_in_its_archive(archives: dict[str, Path]):
    """Whatever a source includes at build time, by the path from that source."""
    files = contents(archives["josoor-auth"])
    included = 0
    for path, content in files.items():
        if not path.endswith(".rs"):
            continue
        for target in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', content.decode()):
            place = (Path("/") / path).parent.joinpath(target).resolve().relative_to("/")
            assert str(place) in files, f"{path} includes {target}"
            included += 1
    assert included > 3
    for folder in ("assets/web", "migrations", "templates/mail", "data"):
        source = REPOSITORY / "crates" / "josoor-auth" / folder
        there = {str(p.relative_to(source.parents[folder.count("/")])) for p in source.rglob("*") if p.is_file()}
        assert there and there <= set(files), folder


def test_trials_a6_the_npm_package_is_whole(archives: dict[str, Path]):
    files = contents(archives["npm"])
    assert files["LICENSE"].decode() == LICENSE and files["README.md"].decode().startswith("# @josoor/auth\n")
    package = json.loads(files["package.json"])
    assert package["repository"]["directory"] == "packages/client" and package["license"] == "Apache-2.0"
    assert package["repository"]["url"] == f"git+{CARGO['repository']}.git" and package["homepage"] == CARGO["homepage"]
    assert package["bugs"] == f"{CARGO['repository']}/issues" and package["version"] == VERSION
    assert package["publishConfig"] == {"access": "public"} and package["description"] and package["keywords"]
    for target in package["exports"].values():
        for file in [target] if isinstance(target, str) else target.values():
            assert file.removeprefix("./") in files, file
    assert {path.split("/")[0] for path in files} <= {"dist", "src", "LICENSE", "README.md", "package.json"}
    assert not [path for path in files if ".test." in path]


def test_every_licence_of_the_workspace_is_the_same():
    for copy in REPOSITORY.glob("crates/*/LICENSE"):
        assert copy.read_text() == LICENSE, copy
    assert (REPOSITORY / "packages" / "client" / "LICENSE").read_text() == LICENSE
