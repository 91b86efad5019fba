"""The image that scripts/image builds: the same twice, small, with nothing that its user could change, and it runs.

The program is the one of the other tests without its symbols; JOSOOR_AUTH_BIN names another one, such as that of `make dist`."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import httpx
import pytest
from aiosmtpd.smtp import SMTP
from certificates import make_authority
from conftest import REPOSITORY
from footprint import PATIENCE, Postgres, free_port

SCRIPT = REPOSITORY / "scripts" / "image"
USER = 65532
LARGEST = 30_000_000
PASSWORD = "a sentence is easy to remember"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the owners of an image's files, and chroot, need root")


@pytest.fixture(scope="module")
def place(directory: Path) -> Path:
    path = directory / "image"
    path.mkdir(mode=0o711)
    return path


@pytest.fixture(scope="module")
def stripped(binary: str, place: Path) -> Path:
    """`make dist` strips the program; the tests' own has all its symbols, and would be an image of three times the size."""
    path = place / "josoor-auth"
    subprocess.run(["strip", "-o", path, binary], check=True)
    return path


@pytest.fixture(scope="module")
def authority(place: Path) -> tuple[bytes, ssl.SSLContext]:
    return make_authority(place)


class Image:
    """What scripts/image wrote."""

    def __init__(self, binary: Path, output: Path, bundle: Path):
        # A build of another day: the time of the files must not count.
        os.utime(binary, (1_000_000_000 + len(output.name), 1_000_000_000))
        command = [sys.executable, SCRIPT, "--binary", binary, "--output", output, "--ca-bundle", bundle]
        self.said = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "TZ": "Asia/Riyadh"}).stdout
        self.layout = output / "image"
        self.archive = next(output.glob("*-image.tar"))
        self.index = json.loads((self.layout / "index.json").read_text())
        self.descriptor = self.index["manifests"][0]
        self.manifest = json.loads(self.blob(self.descriptor))
        self.config = json.loads(self.blob(self.manifest["config"]))

    def blob(self, descriptor: dict) -> bytes:
        """A blob, which has to be what its descriptor says."""
        kind, digest = descriptor["digest"].split(":")
        content = (self.layout / "blobs" / kind / digest).read_bytes()
        assert kind == "sha256" and hashlib.sha256(content).hexdigest() == digest and len(content) == descriptor["size"]
        return content


@pytest.fixture(scope="module")
def image(stripped: Path, place: Path, authority) -> Image:
    bundle = place / "authorities.pem"
    bundle.write_bytes(Path("/etc/ssl/certs/ca-certificates.crt").read_bytes() + authority[0])
    return Image(stripped, place / "first", bundle)


def test_the_same_files_give_the_same_digest(image: Image, stripped: Path, place: Path):
    again = Image(stripped, place / "a second time", place / "authorities.pem")
    assert again.descriptor["digest"] == image.descriptor["digest"] and image.descriptor["digest"] in image.said
    assert again.archive.read_bytes() == image.archive.read_bytes()
    shutil.rmtree(again.layout.parent)


def test_the_layout_is_one_that_others_read(image: Image, place: Path):
    assert json.loads((image.layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert image.index["schemaVersion"] == image.manifest["schemaVersion"] == 2
    (layer,) = image.manifest["layers"]
    assert image.config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(gzip.decompress(image.blob(layer))).hexdigest()}"]
    assert image.config["architecture"] == image.descriptor["platform"]["architecture"]
    # The archive is the layout, and what Docker before version 25 reads.
    with tarfile.open(image.archive) as archive:
        names = archive.getnames()
        assert names == sorted(names) and len(names) == 6 and {"oci-layout", "index.json", "manifest.json"} <= set(names)
        (before_oci,) = json.load(archive.extractfile("manifest.json"))
        for path in (before_oci["Config"], *before_oci["Layers"]):
            assert hashlib.sha256(archive.extractfile(path).read()).hexdigest() == path.rsplit("/")[-1]
    assert image.archive.stat().st_size < LARGEST, f"{image.archive.stat().st_size / 1e6:.1f} MB"


def test_the_containerfile_says_the_same(image: Image):
    text = (REPOSITORY / "deploy" / "Containerfile").read_text().replace("\\\n", " ")
    final = text[text.index("\nFROM scratch\n") :]
    said = dict(re.findall(r"^([A-Z]+) (.+)$", final, re.MULTILINE))
    config = image.config["config"]
    assert said["USER"] == config["User"] and said["WORKDIR"] == config["WorkingDir"] and said["STOPSIGNAL"] == config["StopSignal"]
    assert said["ENV"].split() == config["Env"]
    assert json.loads(said["ENTRYPOINT"]) == config["Entrypoint"] and json.loads(said["CMD"]) == config["Cmd"]
    assert {said["VOLUME"]} == set(config["Volumes"]) and {said["EXPOSE"]} == set(config["ExposedPorts"])
    options = dict(re.findall(r"--([\w-]+)=(\d+)", said["HEALTHCHECK"]))
    check = config["Healthcheck"]
    assert [int(options[name]) for name in ("interval", "timeout", "start-period")] == [
        check[name] // 10**9 for name in ("Interval", "Timeout", "StartPeriod")
    ]
    assert ["CMD", *json.loads(said["HEALTHCHECK"].split(" CMD ")[1])] == check["Test"] and int(options["retries"]) == check["Retries"]
    copies = re.findall(r"^COPY (.+)$", final, re.MULTILINE)
    assert copies == ["--from=build /image/ /", f"--from=build --chown={USER}:{USER} --chmod=0700 /empty /data"]
    # Each line of the build stage that runs something of this repository names what is there.
    for program in ("scripts/image", "make dist"):
        assert program in text[: text.index("\nFROM scratch\n")]


def test_the_tree_for_a_builder_is_the_same_without_data(image: Image, stripped: Path, place: Path):
    tree = place / "tree"
    subprocess.run([sys.executable, SCRIPT, "--binary", stripped, "--tree", tree, "--ca-bundle", place / "authorities.pem"], check=True)
    with tarfile.open(fileobj=gzip.open(image.layout / "blobs" / image.manifest["layers"][0]["digest"].replace(":", "/"))) as layer:
        files = {entry.name: (layer.extractfile(entry).read(), entry.mode) for entry in layer if entry.isfile()}
    there = {str(p.relative_to(tree)): (p.read_bytes(), stat.S_IMODE(p.stat().st_mode)) for p in tree.rglob("*") if p.is_file()}
    assert there == files and not (tree / "data").exists()
    shutil.rmtree(tree)


def test_what_is_missing_is_said_with_the_remedy(place: Path, stripped: Path):
    def run(*arguments) -> str:
        done = subprocess.run([sys.executable, SCRIPT, "--output", place / "none", *arguments], capture_output=True, text=True)
        assert done.returncode == 1 and not (place / "none" / "image").exists(), done
        return done.stderr

    assert "make dist" in run("--binary", place / "nothing")
    assert "--ca-bundle" in run("--binary", stripped, "--ca-bundle", place / "nothing")
    script = place / "script"
    script.write_text("#!/bin/sh\n")
    assert "not a 64-bit Linux program" in run("--binary", script)


class Container:
    """The image, unpacked by another program and started as a container starts it: its user, environment and entry point."""

    def __init__(self, root: Path, config: dict, environment: dict[str, str] | None = None):
        self.root, self.config = root, config
        self.port = free_port()
        self.environment = dict(pair.split("=", 1) for pair in config["Env"])
        self.environment |= {"PORT": str(self.port), "JOSOOR_AUTH__PASSWORD__BCRYPT_COST": "4", **(environment or {})}
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None
        self.log = root.parent / f"{root.name}.log"

    def command(self, *arguments: str) -> list:
        user, group = self.config["User"].split(":")
        return [shutil.which("chroot", path="/usr/sbin:/sbin:/usr/bin:/bin"), f"--userspec={user}:{group}", "--groups=", self.root, *self.config["Entrypoint"], *arguments]

    def start(self, wait: bool = True) -> None:
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command(*self.config["Cmd"]), env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + PATIENCE
        while wait and self.run(*self.config["Healthcheck"]["Test"][2:]).returncode != 0:
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        return subprocess.run(self.command(*arguments), env=self.environment, input=stdin, capture_output=True, text=True, timeout=PATIENCE)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def root(image: Image, place: Path) -> Path:
    """The root of a container: the layer as umoci unpacks it, with all owners and modes."""
    bundle = place / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{image.layout}:{image.descriptor['annotations']['org.opencontainers.image.ref.name']}", bundle], check=True)  # fmt: skip
    bundle.chmod(0o711)
    runtime = json.loads((bundle / "config.json").read_text())
    assert runtime["process"]["user"]["uid"] == runtime["process"]["user"]["gid"] == USER
    assert runtime["process"]["args"] == image.config["config"]["Entrypoint"] + image.config["config"]["Cmd"]
    return bundle / "rootfs"


@pytest.fixture
def container(image: Image, root: Path):
    started: list[Container] = []

    def start(environment: dict[str, str] | None = None, wait: bool = True) -> Container:
        started.append(Container(root, image.config["config"], environment))
        started[-1].start(wait)
        return started[-1]

    yield start
    for one in started:
        one.end()
    for path in (root / "data").iterdir():
        path.unlink()


@needs_root
def test_its_user_can_change_nothing_outside_of_data(root: Path):
    for path in [root, *root.rglob("*")]:
        found = path.lstat()
        inside = "/" + str(path.relative_to(root))
        assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX), inside
        assert stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode), f"{inside} is neither a file nor a folder"
        if path == root / "data":
            assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (USER, USER, 0o700)
        else:
            assert (found.st_uid, found.st_gid) == (0, 0) and not found.st_mode & 0o022, inside
    assert list((root / "data").iterdir()) == []
    # No shell, and nothing else that could be run in its place.
    assert [path.name for path in (root / "usr" / "bin").iterdir()] == ["josoor-auth"]
    assert not (root / "bin").exists() and not (root / "sbin").exists()


@needs_root
def test_trials_a6_it_serves_as_its_user_and_stops_with_0(container, root: Path):
    one = container()
    with httpx.Client(base_url=one.url, trust_env=False, timeout=30) as client:
        use(one, client, root)


def use(one: Container, client: httpx.Client, root: Path) -> None:
    ids = Path(f"/proc/{one.process.pid}/status").read_text()
    assert re.search(rf"^Uid:\s+{USER}\s+{USER}\s+{USER}\s+{USER}$", ids, re.MULTILINE) and re.search(r"^Groups:\s*$", ids, re.MULTILINE), ids
    assert one.run("health").stdout.startswith("ready")
    # On every interface, as a published port needs it.
    assert httpx.get(f"http://127.0.0.2:{one.port}/healthz", trust_env=False).status_code == 200

    assert client.get("/login").status_code == 200
    answer = client.post("/auth/register", json={"email": "sara@example.com", "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    answer = client.post("/auth/login", json={"email": "sara@example.com", "password": PASSWORD})
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert client.get("/auth/me", headers=headers).json()["email"] == "sara@example.com"

    # SQLite's temporary files have nowhere else to go.
    without = {name: value for name, value in one.environment.items() if name != "SQLITE_TMPDIR"}
    done = subprocess.run(one.command("migrate"), env={**without, "DATABASE_URL": "sqlite:///data/other.db"}, capture_output=True, text=True)
    assert done.returncode == 1 and "(SQLite code 6410)" in done.stderr, "SQLITE_TMPDIR is not needed any more: leave it out"

    # The first administrator: by the link, which is in /data, or by the command line.
    link = root / "data" / "setup-link"
    assert link.stat().st_uid == USER and stat.S_IMODE(link.stat().st_mode) == 0o600
    done = one.run("user", "create", "ops@example.com", "--role", "admin", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    doctor = one.run("doctor")
    assert "PROBLEM" not in doctor.stdout, doctor.stdout
    assert {path.name for path in (root / "data").iterdir()} >= {"josoor-auth.db", "master.key", "setup-link"}

    assert one.stop() == 0
    assert one.run("health").returncode == 1
    # What a volume has kept is there for the next container.
    one.start()
    assert client.post("/auth/login", json={"email": "ops@example.com", "password": PASSWORD}).status_code == 200
    assert one.stop() == 0


@needs_root
def test_a_root_without_a_place_for_the_setup_link_says_what_to_do(container, root: Path, postgres: Postgres):
    """With PostgreSQL and a read-only root the link has no file to go to."""
    stores = {
        "DATABASE_URL": postgres.new_database(),
        "JWT_SECRET": "q4mEwJt0bZsVn8Xc2RfLh6Yd1UgKp9Ai3OvTy7Ne5Bw",
        "MASTER_KEY": "Zr1wJ5mVt9xYc3Qh7Ls0Nd8Fk2Bg6Pa4Ue1Xi5To9Rw=",
    }
    one = container(stores)
    assert "josoor-auth user create EMAIL --role admin" in one.log.read_text(), one.log.read_text()
    done = one.run("user", "create", "ops@example.com", "--role", "admin", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    assert httpx.post(f"{one.url}/auth/login", json={"email": "ops@example.com", "password": PASSWORD}, trust_env=False).status_code == 200
    assert list((root / "data").iterdir()) == [] and one.stop() == 0


class Inbox(threading.Thread):
    """A mail server that speaks TLS from the first byte (RFC 8314, 3)."""

    def __init__(self, context: ssl.SSLContext):
        super().__init__(daemon=True)
        self.mails: list[str] = []
        self.loop = asyncio.new_event_loop()
        listening = self.loop.create_server(lambda: SMTP(self, loop=self.loop), "127.0.0.1", 0, ssl=context)
        self.server = self.loop.run_until_complete(listening)
        self.port = self.server.sockets[0].getsockname()[1]
        self.start()

    def run(self) -> None:
        self.loop.run_forever()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join()
        self.server.close()
        # What the end of the connections has still to do.
        self.loop.run_until_complete(asyncio.sleep(0.1))
        self.loop.close()

    async def handle_DATA(self, server, session, envelope) -> str:
        self.mails.append(envelope.content.decode())
        return "250 OK"


@needs_root
def test_mail_goes_through_tls_by_the_authorities_of_the_image(container, authority):
    inbox = Inbox(authority[1])
    try:
        one = container({"SMTP_URL": f"smtps://127.0.0.1:{inbox.port}", "MAIL_FROM": "no-reply@example.org"})
        answer = httpx.post(f"{one.url}/auth/register", json={"email": "sara@example.com", "password": PASSWORD}, trust_env=False)
        assert answer.status_code == 201, answer.text
        end = time.monotonic() + PATIENCE
        while not inbox.mails:
            assert time.monotonic() < end, one.log.read_text()
            time.sleep(0.05)
        assert "sara@example.com" in inbox.mails[0]
        assert one.stop() == 0
    finally:
        inbox.stop()


@needs_root
def test_without_ca_certificates_the_remedy_is_said(container, root: Path):
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    kept = bundle.read_bytes()
    bundle.unlink()
    try:
        one = container({"SMTP_URL": "smtps://127.0.0.1:1", "MAIL_FROM": "no-reply@example.org"}, wait=False)
        assert one.process.wait(PATIENCE) == 1
        said = one.log.read_text()
        assert said.count("No CA certificates") == 1 and "install the package ca-certificates" in said and "SSL_CERT_FILE" in said, said
    finally:
        bundle.write_bytes(kept)
        bundle.chmod(0o644)


def test_the_documented_commands_name_the_archive_that_is_made(image: Image):
    name = image.archive.name
    for document in (REPOSITORY / "docs" / "run" / "install.md", REPOSITORY / "deploy" / "compose.yaml"):
        assert name in document.read_text(), document
    assert shlex.split(image.said.strip().splitlines()[-1])[:2] == ["docker", "run"]
