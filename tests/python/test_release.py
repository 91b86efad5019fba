"""What `make release` packs: the same from the same program, with a bill of materials that names everything, and packages that their tools accept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tarfile
from importlib import resources
from pathlib import Path

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml
from conftest import REPOSITORY

CHART = REPOSITORY / "deploy" / "chart"
VALUES = REPOSITORY / "tests" / "chart"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
HELM = TARGET / "tools" / "helm"
# No schema of Kubernetes' own.
CUSTOM = {"HTTPRoute", "ServiceMonitor"}


@pytest.fixture(scope="module")
def stripped(binary: str, directory: Path) -> Path:
    place = directory / "release"
    place.mkdir()
    subprocess.run(["strip", "-o", place / "josoor-auth", binary], check=True)
    return place / "josoor-auth"


def release(stripped: Path, output: Path, **environment: str) -> Path:
    command = [REPOSITORY / "scripts" / "release", "--binary", stripped, "--output", output]
    # The umask makes no difference.
    done = subprocess.run(
        ["sh", "-c", 'umask 0077; exec "$@"', "sh", *map(str, command)],
        env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return output


@pytest.fixture(scope="module")
def files(stripped: Path) -> Path:
    return release(stripped, stripped.parent / "first")


def named(files: Path, pattern: str) -> Path:
    (found,) = files.glob(pattern)
    return found


def test_a_program_is_packed_the_same_twice_and_a_signature_holds_until_a_byte_changes(files: Path, stripped: Path):
    place = stripped.parent
    key, public = place / "release.key", place / "release.pub"
    subprocess.run(["minisign", "-G", "-W", "-f", "-s", key, "-p", public], check=True, capture_output=True)
    again = release(stripped, place / "second", LC_ALL="C", TZ="Asia/Riyadh", MINISIGN_SECRET_KEY=str(key))
    sums = (files / "SHA256SUMS").read_text()
    assert sums == (again / "SHA256SUMS").read_text()
    listed = dict(reversed(line.split("  ")) for line in sums.splitlines())
    assert set(listed) == {file.name for file in files.iterdir()} - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((files / name).read_bytes()).hexdigest() == digest
    verify = ["minisign", "-V", "-p", str(public), "-m", str(again / "SHA256SUMS")]
    assert "JOSOOR Auth 0.1.0" in subprocess.run(verify, check=True, capture_output=True, text=True).stdout
    with (again / "SHA256SUMS").open("ab") as file:
        file.write(b"\n")
    assert subprocess.run(verify, capture_output=True).returncode != 0


def test_the_archive_has_what_an_installation_needs(files: Path, stripped: Path):
    with tarfile.open(named(files, "*-linux-gnu.tar.gz")) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
        assert set(members) == {
            "josoor-auth", "josoor-auth.8", "josoor-auth.service", "config.default.toml", "LICENSE", "CHANGELOG.md", "THIRD-PARTIES",
            "completions/josoor-auth.bash", "completions/_josoor-auth", "completions/josoor-auth.fish",
        }  # fmt: skip
        assert members["josoor-auth"].mode == 0o755 and members["LICENSE"].mode == 0o644
        assert archive.extractfile(members["josoor-auth"]).read() == stripped.read_bytes()
        manual = archive.extractfile(members["josoor-auth.8"]).read().decode()
        third_parties = archive.extractfile(members["THIRD-PARTIES"]).read().decode()
        bash = archive.extractfile(members["completions/josoor-auth.bash"]).read().decode()
    for command in ("JOSOOR-AUTH SERVE", "JOSOOR-AUTH KEY ROTATE", "JOSOOR-AUTH RESTORE"):
        assert f'.SH "{command}"' in manual
    assert "rotate-master" in bash
    assert "Apache License" in third_parties and "react 19" in third_parties and "tokio 1." in third_parties
    # A shell reads it.
    subprocess.run(["bash", "-n"], input=bash, text=True, check=True)


def test_the_bill_of_materials_names_everything_that_is_linked(files: Path):
    document = json.loads(named(files, "*.cdx.json").read_text())
    schemas = resources.files("cyclonedx.schema") / "_res"
    named_schema = {name: json.loads((schemas / f"{name}.SNAPSHOT.schema.json").read_text())
                    for name in ("bom-1.6", "spdx", "jsf-0.82", "cryptography-defs")}  # fmt: skip
    registry = jsonschema_rs.Registry(
        [(f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", schema) for name, schema in named_schema.items()]
        + [(schema["$id"], schema) for schema in named_schema.values()]
    )
    jsonschema_rs.validator_for(named_schema["bom-1.6"], registry=registry).validate(document)
    named_crates = {(one["name"], one["version"]) for one in document["components"] if one["purl"].startswith("pkg:cargo/")}
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--package", "josoor-auth", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    linked = {(found[1], found[2]) for line in tree.splitlines() if (found := re.match(r"(\S+) v(\S+)", line))}
    assert linked - {("josoor-auth", "0.1.0")} <= named_crates, linked - named_crates
    assert len(linked) > 150
    packages = {one["name"] for one in document["components"] if one["purl"].startswith("pkg:npm/")}
    assert {"react", "react-dom", "uplot", "@fontsource-variable/readex-pro", "swagger-ui-dist"} <= packages
    outside = [one for one in document["components"] if not one.get("hashes")]
    assert {one["name"] for one in outside} == {"josoor-auth-verify", "bcrypt-interleaved", "swagger-ui-dist"}
    assert all(one.get("licenses") for one in document["components"])


def test_the_debian_package_is_in_order(files: Path, stripped: Path):
    package = named(files, "*.deb")
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", str(package)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    place = stripped.parent / "unpacked"
    subprocess.run(["dpkg-deb", "--raw-extract", package, place], check=True)
    assert (place / "usr/bin/josoor-auth").stat().st_mode & 0o777 == 0o755
    unit = (place / "usr/lib/systemd/system/josoor-auth.service").read_text()
    assert "ExecStart=/usr/bin/josoor-auth serve\n" in unit and "Type=notify\n" in unit
    # Every setting that the file names is one.
    settings = re.findall(r"^#([A-Z_]+)=(.*)$", (place / "etc/josoor-auth/josoor-auth.env").read_text(), re.MULTILINE)
    assert len(settings) >= 4
    environment = {"PATH": os.environ["PATH"], "HOME": str(stripped.parent), **dict(settings)}
    check = subprocess.run(
        [place / "usr/bin/josoor-auth", "config", "check"], env=environment, cwd=stripped.parent, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr
    assert "not a setting" not in check.stderr
    # Configured for the first time it says what to do, and starts nothing.
    said = subprocess.run([place / "DEBIAN/postinst", "configure", ""], capture_output=True, text=True, check=True).stdout
    assert "installed and not started" in said and "josoor-auth doctor" in said


# Everything that is written stays in the memory of this one command: this machine's files are only read.
ASIDE = """
set -e
mount -t tmpfs -o size=400m none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" overlay "$1/root"
mount --rbind /dev "$1/root/dev"
mount --rbind /proc "$1/root/proc"
cp "$2" "$1/root/root/package.deb"
exec chroot "$1/root" sh -c "$3"
"""

# Each line of `said` is what the next lines assert.
INSTALLED = """
set -e
export DEBIAN_FRONTEND=noninteractive
settings=/etc/josoor-auth/josoor-auth.env
enabled=/etc/systemd/system/multi-user.target.wants/josoor-auth.service
install() { dpkg --no-triggers --install /root/package.deb </dev/null; }
install
echo "# installed"
dpkg --verify josoor-auth
stat -c '%U:%G %a %n' $settings /usr/bin/josoor-auth /usr/lib/systemd/system/josoor-auth.service
cd / && josoor-auth --version && josoor-auth --env-file $settings config check
systemd-analyze verify josoor-auth.service
systemctl enable josoor-auth.service 2>/dev/null
echo PUBLIC_URL=https://auth.example.com >>$settings
mkdir -p /var/lib/private/josoor-auth
install
echo "# upgraded"
tail -n 1 $settings
dpkg --no-triggers --remove josoor-auth
echo "# removed"
tail -n 1 $settings
test ! -e /usr/bin/josoor-auth
install
dpkg --no-triggers --purge josoor-auth
echo "# purged"
ls -d /etc/josoor-auth /usr/share/doc/josoor-auth $enabled 2>/dev/null || true
test -L $enabled && echo "$enabled leads nowhere"
ls -d /var/lib/private/josoor-auth
"""


def test_the_debian_package_is_installed_upgraded_and_purged(files: Path, stripped: Path):
    place = stripped.parent / "aside"
    place.mkdir()
    command = ["unshare", "--mount", "sh", "-c", ASIDE, "sh", place, named(files, "*.deb")]
    if subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine allows no overlay of its files")
    done = subprocess.run([*command, INSTALLED], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    first, installed, upgraded, removed, purged = re.split(r"^# .*\n", done.stdout, flags=re.MULTILINE)
    assert "installed and not started" in first and "systemctl enable --now josoor-auth" in first
    assert installed.splitlines()[:3] == [
        "root:root 644 /etc/josoor-auth/josoor-auth.env",
        "root:root 755 /usr/bin/josoor-auth",
        "root:root 644 /usr/lib/systemd/system/josoor-auth.service",
    ]
    assert "the settings are in order" in installed
    # The operator's file stays, an upgrade is no first installation, and a service that was not enabled is not started.
    assert upgraded.startswith("PUBLIC_URL=https://auth.example.com\n") and "not started" not in installed
    assert removed.startswith("PUBLIC_URL=https://auth.example.com\n")
    # Accounts stay.
    assert purged == "/var/lib/private/josoor-auth\n", purged
    assert "The accounts and the master key are still in /var/lib/private/josoor-auth." in removed


def rendered(*arguments: object) -> list[dict]:
    command = [HELM, "template", "auth", CHART, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.mark.parametrize("values", sorted(VALUES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_chart_renders_what_kubernetes_and_the_service_take(values: Path, stripped: Path):
    lint = subprocess.run([HELM, "lint", "--strict", CHART, "--values", values], capture_output=True, text=True)
    assert lint.returncode == 0, lint.stdout
    documents = rendered("--values", values)
    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, "1.34", strict=True)
    golden = VALUES / "golden" / f"{values.stem}.json"
    text = json.dumps(documents, indent=1, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert golden.read_text() == text, "if this is meant: UPDATE_GOLDEN=1"

    deployment = next(document for document in documents if document["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"]
    # The environment as the pod has it, with the Secret's files where they are here.
    settings = next(document for document in documents if document["kind"] == "ConfigMap")["data"]
    place = stripped.parent / f"pod-{values.stem}"
    place.mkdir()
    contents = {
        "MASTER_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "JWT_SECRET": "a-secret-for-this-test-and-no-other-one",
        "DATABASE_URL": "postgres://josoor@postgres/josoor", "REDIS_URL": "redis://redis:6379", "SMTP_URL": "smtps://mail.example.com",
    }  # fmt: skip
    mounted = {item["path"] for volume in pod["volumes"] for item in volume.get("secret", {}).get("items", [])}
    environment = {"PATH": os.environ["PATH"], "HOME": str(place)}
    for name, value in settings.items():
        if name.endswith("_FILE"):
            folder, _, key = value.rpartition("/")
            assert folder == "/run/secrets/josoor-auth" and key in mounted
            (place / key).write_text(contents[name.removesuffix("_FILE")])
            value = str(place / key)
        environment[name] = value
    check = subprocess.run([stripped, "config", "check"], env=environment, cwd=place, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
    delay = int(settings["JOSOOR_AUTH__SERVER__DRAIN_DELAY"].rstrip("s")) + int(settings["JOSOOR_AUTH__SERVER__DRAIN_TIMEOUT"].rstrip("s"))
    assert pod["terminationGracePeriodSeconds"] > delay


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ([], "publicUrl"),
        (["publicUrl=https://auth.example.com"], "persistence.enabled"),
        (["publicUrl=https://auth.example.com", "replicas=2", "persistence.enabled=true"], "replicas"),
        (["publicUrl=https://auth.example.com", "persistence.enabled=true", "replica=2"], "replica"),
    ],
)
def test_values_that_cannot_work_are_refused(settings: list[str], says: str):
    arguments = [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run([HELM, "template", "auth", CHART, *arguments], capture_output=True, text=True)
    assert done.returncode != 0 and says in done.stderr, done.stdout + done.stderr


def test_the_version_is_the_same_everywhere():
    version = re.search(r'^version = "([^"]+)"', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
