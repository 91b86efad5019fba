"""deploy/compose.yaml is what the Compose Specification allows, names settings that exist, and its topology works: PostgreSQL,
Redis, two nodes and Caddy, run as processes with the file's own environment, commands and secrets."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import jsonschema_rs
import pytest
import yaml
from conftest import REPOSITORY
from footprint import PATIENCE, Postgres, Process, free_port, is_listening

DEPLOY = REPOSITORY / "deploy"
FILE = DEPLOY / "compose.yaml"
NODES = ("one", "two")
PASSWORD = "a sentence is easy to remember"


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load(FILE.read_text())


def filled_in(text: str, variables: dict[str, str]) -> str:
    """As Compose fills in variables: `${NAME:-default}`, and `$$` for a dollar sign."""

    def value(found: re.Match) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1]) or found[2]

    return re.sub(r"\$\$|\$\{(\w+):-([^}]*)\}", value, text)


def seconds(text: str) -> int:
    return int(re.fullmatch(r"(\d+)s", text)[1])


def settings() -> str:
    return (REPOSITORY / "crates" / "josoor-auth" / "config.default.toml").read_text()


def default_of(key: str) -> str:
    return re.search(rf'^{key} = "?([^"\n]*)"?$', settings(), re.MULTILINE)[1]


def test_the_file_is_what_the_specification_allows(compose: dict):
    schema = json.loads((Path(__file__).parent / "compose-spec" / "compose-spec.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    assert [f"{list(e.instance_path)}: {e.message}" for e in validator.iter_errors(compose)] == []
    # The schema does find mistakes.
    for service, key, value in [("one", "stop_grace", "30s"), ("one", "healthcheck", {"tests": []}), ("redis", "ports", 6379)]:
        wrong = copy.deepcopy(compose)
        wrong["services"][service][key] = value
        assert not validator.is_valid(wrong), (service, key)


def test_every_variable_is_a_setting(compose: dict):
    known = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", "\n".join(re.findall(r"^# Variable: (.+)$", settings(), re.MULTILINE))))
    assert {"PUBLIC_URL", "DATABASE_URL_FILE"} <= known
    commented = re.findall(r"^ +# ([A-Z][A-Z0-9_]+): ", FILE.read_text(), re.MULTILINE)
    assert "SMTP_URL_FILE" in commented
    for node in NODES:
        assert set(compose["services"][node]["environment"]) - known == set()
    assert set(commented) - known == set()


def test_secrets_are_declared_made_and_handed_to_those_who_read_them(compose: dict, directory: Path):
    made = directory / "made-secrets"
    subprocess.run([DEPLOY / "make-secrets", made], check=True, stdout=subprocess.DEVNULL)
    assert {path.name for path in made.iterdir()} == set(compose["secrets"])
    assert {name: f"./secrets/{name}" for name in compose["secrets"]} == {name: s["file"] for name, s in compose["secrets"].items()}
    assert made.stat().st_mode & 0o777 == 0o700 and all(path.stat().st_mode & 0o777 == 0o444 for path in made.iterdir())
    before = {path.name: path.read_text() for path in made.iterdir()}
    assert len(set(before.values())) == len(before)
    subprocess.run([DEPLOY / "make-secrets", made], check=True, stdout=subprocess.DEVNULL)
    assert {path.name: path.read_text() for path in made.iterdir()} == before
    for name, service in compose["services"].items():
        read = set(re.findall(r"/run/secrets/([\w-]+)", json.dumps(service)))
        assert read == set(service.get("secrets", [])), name
    # A secret is never in the file itself, where `docker inspect` and the repository would show it.
    assert not re.search(r"(?i)(password|secret): [^{]|postgres://", FILE.read_text())
    assert "/deploy/secrets" in (REPOSITORY / ".gitignore").read_text() and "/deploy/secrets" in (REPOSITORY / ".dockerignore").read_text()


def test_nodes_are_confined_and_have_the_time_to_stop(compose: dict):
    version = re.search(r'^version = "(.+)"', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)[1]
    for node in NODES:
        service = compose["services"][node]
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert service["image"] == f"josoor-auth:{version}", "the version of Cargo.toml"
        assert service["healthcheck"]["test"] == ["CMD", "josoor-auth", "health"]
        delay = seconds(service["environment"]["JOSOOR_AUTH__SERVER__DRAIN_DELAY"])
        assert delay + seconds(default_of("drain_timeout")) < seconds(service["stop_grace_period"])
        assert "ports" not in service, "reached through Caddy only"
        subnet = compose["networks"]["front"]["ipam"]["config"][0]["subnet"]
        assert service["environment"]["TRUSTED_PROXIES"] == subnet
    # A node is left alone for at least two questions of Caddy's before it closes.
    interval = re.search(r"health_interval (\d+)s", (DEPLOY / "compose.Caddyfile").read_text())[1]
    assert delay > 2 * int(interval)
    assert compose["networks"]["stores"]["internal"]
    assert all("ports" not in compose["services"][store] for store in ("postgres", "redis"))


class Topology:
    """The services of the file as processes: where a container has an address and files of its own, these have ports and paths."""

    def __init__(self, compose: dict, binary: str, place: Path, postgres: Postgres):
        place.mkdir()
        self.compose, self.binary, self.place, self.postgres = compose, binary, place, postgres
        self.secrets = place / "secrets"
        subprocess.run([DEPLOY / "make-secrets", self.secrets], check=True, stdout=subprocess.DEVNULL)
        self.ports = {name: free_port() for name in (*NODES, "redis", "caddy")}
        for secret, address, port in (("database-url", "postgres:5432", postgres.port), ("redis-url", "redis:6379", self.ports["redis"])):
            path = self.secrets / secret
            assert f"@{address}" in path.read_text()
            text = path.read_text().replace(f"@{address}", f"@127.0.0.1:{port}")
            path.chmod(0o600)
            path.write_text(text)
        self.nodes: dict[str, subprocess.Popen] = {}
        self.processes: list[Process] = []

    def local(self, text: str) -> str:
        return filled_in(text, {}).replace("/run/secrets/", f"{self.secrets}/")

    def start(self) -> None:
        service = self.compose["services"]["postgres"]["environment"]
        password = Path(self.local(service["POSTGRES_PASSWORD_FILE"])).read_text().strip()
        self.postgres.run("psql", *self.postgres.at(), "-qc", f"create role {service['POSTGRES_USER']} login password '{password}'")
        self.postgres.run("createdb", *self.postgres.at(), "--owner", service["POSTGRES_USER"], service["POSTGRES_DB"])

        program, option, script = self.compose["services"]["redis"]["command"]
        script = self.local(script).replace("<<END\n", f"<<END\nport {self.ports['redis']}\nbind 127.0.0.1\n", 1)
        redis = Process([program, option, script], self.place / "redis.log", cwd=self.place, env={"PATH": os.environ["PATH"]})
        self.processes.append(redis)
        redis.wait_until("Redis answers its health check", lambda: self.redis_is_healthy() == 0)

        for node in NODES:
            self.start_node(node)
        for node in NODES:
            self.wait_healthy(node)

        # Caddy's own file, with the addresses of these processes.
        text = (DEPLOY / "compose.Caddyfile").read_text()
        assert "reverse_proxy one:8000 two:8000 {" in text
        for node in NODES:
            text = text.replace(f"{node}:8000", f"127.0.0.1:{self.ports[node]}")
        config = self.place / "Caddyfile"
        config.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
        self.url = f"http://127.0.0.1:{self.ports['caddy']}"
        caddy = Process(
            [Path(sys.executable).parent / "caddy", "run", "--adapter", "caddyfile", "--config", config],
            self.place / "caddy.log", cwd=self.place, env={"PATH": os.environ["PATH"], "HOME": str(self.place), "SITE": self.url},
        )  # fmt: skip
        self.processes.append(caddy)
        caddy.wait_until("Caddy listens", lambda: is_listening(self.ports["caddy"]))

    def redis_is_healthy(self) -> int:
        kind, command = self.compose["services"]["redis"]["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        command = self.local(command).replace("redis-cli", f"redis-cli -p {self.ports['redis']}")
        return subprocess.run(["sh", "-c", command], stderr=subprocess.DEVNULL).returncode

    def environment(self, node: str) -> dict[str, str]:
        given = {name: self.local(str(value)) for name, value in self.compose["services"][node]["environment"].items()}
        given["TRUSTED_PROXIES"] += ",127.0.0.1"
        # The ones of the image: every interface, at a port that is the container's own.
        return {**given, "BIND": "0.0.0.0", "PORT": str(self.ports[node]), "JOSOOR_AUTH__LOG__FORMAT": "json"}

    def start_node(self, node: str) -> None:
        with (self.place / f"{node}.log").open("a") as log:
            self.nodes[node] = subprocess.Popen(
                [self.binary, "serve"], cwd=self.place, env=self.environment(node), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def run(self, node: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        """As `docker compose exec NODE josoor-auth …`."""
        return subprocess.run(
            [self.binary, *arguments], cwd=self.place, env=self.environment(node), input=stdin, capture_output=True, text=True, timeout=PATIENCE
        )

    def wait_healthy(self, node: str) -> None:
        end = time.monotonic() + PATIENCE
        while (answer := self.run(node, *self.compose["services"][node]["healthcheck"]["test"][2:])).returncode != 0:
            log = (self.place / f"{node}.log").read_text()[-4000:]
            assert self.nodes[node].poll() is None and time.monotonic() < end, f"{answer.stderr}\n{log}"
            time.sleep(0.1)
        assert answer.stdout.startswith("ready"), answer

    def stop(self) -> None:
        for node in self.nodes.values():
            node.kill()
            node.wait()
        for process in reversed(self.processes):
            process.stop()


@pytest.fixture
def topology(compose: dict, binary: str, directory: Path, postgres: Postgres):
    topology = Topology(compose, binary, directory / "compose", postgres)
    try:
        topology.start()
        yield topology
    finally:
        topology.stop()


def test_trials_a6_the_topology_serves_users_and_lets_nodes_be_replaced(topology: Topology, compose: dict):
    done = topology.run("one", "user", "create", "you@example.org", "--role", "admin", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    with httpx.Client(base_url=topology.url, timeout=30, trust_env=False) as client:
        answer = client.post("/auth/login", json={"email": "you@example.org", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert client.get("/auth/me", headers=headers).json()["role"] == "admin"
        # The session is known on both nodes, with the client's address as Caddy saw it.
        for node in NODES:
            direct = httpx.get(f"http://127.0.0.1:{topology.ports[node]}/auth/me", headers=headers, trust_env=False)
            assert direct.status_code == 200, direct.text
        sessions = client.get("/auth/sessions", headers=headers).text
        assert '"127.0.0.1"' in sessions, sessions
        # Figures are for the inside alone.
        assert client.get("/metrics").status_code == 404

        # One node after the other is replaced, and no request notices.
        for node in NODES:
            other = NODES[1 - NODES.index(node)]
            process = topology.nodes[node]
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            count = 0
            while process.poll() is None:
                assert time.monotonic() - began < seconds(compose["services"][node]["stop_grace_period"]), "it would be killed"
                for _ in range(10):
                    answer = client.get("/auth/me", headers=headers)
                    assert answer.status_code == 200, f"while {node} stops: {answer.status_code} {answer.text}"
                    count += 1
            assert process.returncode == 0 and count > 0
            # The ones that Caddy's next questions have yet to notice go to the other node.
            for _ in range(50):
                assert client.get("/auth/me", headers=headers).status_code == 200
            assert topology.run(node, "health").returncode == 1
            assert topology.run(other, "health").returncode == 0
            topology.start_node(node)
            topology.wait_healthy(node)

        assert client.post("/auth/logout", headers=headers).status_code == 200
        end = time.monotonic() + PATIENCE
        for node in NODES:
            url = f"http://127.0.0.1:{topology.ports[node]}/auth/me"
            while (answer := httpx.get(url, headers=headers, trust_env=False)).status_code == 200:
                assert time.monotonic() < end
                time.sleep(0.05)
            assert answer.json()["code"] == "session_revoked"
