"""Real servers for the tests: PostgreSQL, Redis and josoor-auth itself, in the two footprints that it supports."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import httpx
import jsonschema_rs
from jose import jwt as jose_jwt

FOOTPRINTS = ("sqlite", "postgres_redis")
PATIENCE = 60.0

# A shell between us and the program reads from a pipe that only we hold: however we end, it ends the program.
KEEPER = """
log=$1; shift
"$@" </dev/null >"$log" 2>&1 &
pid=$!
echo "$pid"
cat >/dev/null
kill -TERM "$pid" 2>/dev/null
kill -CONT "$pid" 2>/dev/null
(sleep 10; kill -KILL "$pid") </dev/null >/dev/null 2>&1 &
wait "$pid"
kill "$!" 2>/dev/null
"""


PORTS = itertools.count(os.getpid() * 61)


def free_port() -> int:
    """A port below those that systems take for outgoing connections: of these there are thousands here, and one of them could
    sit on the port before its listener does."""
    while True:
        port = 10_000 + next(PORTS) % 22_000
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        return port


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A program that ends with us and writes what it says to `log`."""

    def __init__(self, command: list, log: Path, env: dict | None = None, cwd: Path | None = None):
        self.command = [str(part) for part in command]
        self.log = log
        self.keeper = subprocess.Popen(
            ["sh", "-c", KEEPER, "sh", str(log), *self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        self.pid = int(self.keeper.stdout.readline())

    def is_running(self) -> bool:
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][:1]
        # Without its file, or ended while it is read.
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state not in ("Z", "X", "")

    def wait_until(self, what: str, condition) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            if not self.is_running():
                raise AssertionError(f"{self.command[0]} ended before {what}:\n{self.read_log()[-8000:]}")
            if time.monotonic() > end:
                raise AssertionError(f"waited {PATIENCE:.0f} s, and still not: {what}:\n{self.read_log()[-8000:]}")
            time.sleep(0.02)

    def read_log(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.is_running():
                os.kill(self.pid, number)

    def stop(self) -> None:
        if self.keeper.poll() is None:
            self.keeper.stdin.close()
            self.keeper.wait()
            self.keeper.stdout.close()


class Postgres:
    """A PostgreSQL server of our own: user `postgres`, no password, 127.0.0.1 only."""

    def __init__(self, directory: Path):
        # PostgreSQL refuses to run as root, so root runs it as the user that its package made.
        self.prefix = []
        if os.geteuid() == 0:
            self.prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
            shutil.chown(directory, "postgres")
        self.port = free_port()
        self.databases = 0
        data = directory / "data"
        # Running in the directory itself spares the parents being searched by a user who may not.
        self.run(
            "initdb", "-D", data, "--username=postgres", "--auth=trust", "--no-sync",
            "--encoding=UTF8", "--locale=C", cwd=directory,
        )  # fmt: skip
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "fsync=off",
            "dynamic_shared_memory_type=mmap",
        ]
        self.process = Process(
            [*self.prefix, self.program("postgres"), "-D", data, *(p for s in settings for p in ("-c", s))],
            directory.parent / "postgres.log",
            cwd=directory,
        )
        self.process.wait_until("PostgreSQL answers", self.is_ready)

    @staticmethod
    def program(name: str) -> str:
        """Debian keeps the server's programs off PATH, in a directory per major version; the newest counts."""
        found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
        newest = max(found, key=lambda path: int(path.parent.name), default=None)
        return str(newest / name) if newest else name

    def run(self, name: str, *arguments, cwd: Path | None = None) -> str:
        command = [*self.prefix, self.program(name), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd or "/")
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def at(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]

    def is_ready(self) -> bool:
        return subprocess.run([self.program("pg_isready"), "-q", *self.at()], cwd="/").returncode == 0

    def new_database(self) -> str:
        self.databases += 1
        name = f"test_{self.databases}"
        self.run("createdb", *self.at(), name)
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        self.process.signal(signal.SIGQUIT)
        self.process.stop()


class Redis:
    """A Redis server of our own that keeps nothing on disk."""

    def __init__(self, directory: Path):
        self.port = free_port()
        self.process = Process(
            ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            directory / "redis.log",
            cwd=directory,
        )
        self.process.wait_until("Redis answers", lambda: is_listening(self.port))
        self.url = f"redis://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.process.stop()


class Server:
    """One josoor-auth with a fresh database, and what the tests must remember to judge it at the end."""

    def __init__(
        self,
        binary: str,
        footprint: str,
        directory: Path,
        postgres: Postgres | None = None,
        redis: Redis | None = None,
        settings: dict[str, str] | None = None,
        has_administrator: bool = True,
    ):
        self.footprint = footprint
        self.directory = directory
        self.binary = binary
        self.postgres = postgres
        self.redis_server = redis
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.public_url = f"http://localhost:{self.port}"
        # What must never be found in the log. Grows with every password and token that the tests use.
        self.secrets: set[str] = set()
        self.server_errors: list[str] = []
        self.jwt_secret = self.remember(secrets.token_urlsafe(36))
        self.master_key = self.remember(base64.b64encode(secrets.token_bytes(32)).decode())
        self.database_url = postgres.new_database() if postgres else f"sqlite://{directory}/josoor-auth.db"
        # Nothing is inherited: a developer's own variables must not change what is tested.
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(directory),
            "DATABASE_URL": self.database_url,
            "MASTER_KEY": self.master_key,
            "JWT_SECRET": self.jwt_secret,
            "PORT": str(self.port),
            "PUBLIC_URL": self.public_url,
            "JOSOOR_AUTH__PASSWORD__BCRYPT_COST": "4",
            "JOSOOR_AUTH__LIMITS__ENABLED": "false",
            "JOSOOR_AUTH__LOG__FORMAT": "json",
        }
        if redis:
            self.env["REDIS_URL"] = redis.url
        self.env.update(settings or {})
        self.jwt_secret = self.remember(self.env["JWT_SECRET"])
        self.process = Process([binary, "serve", "--dev"], directory / "server.log", env=self.env, cwd=directory)
        self.client = self.new_client()
        self.process.wait_until("/readyz answers 200", self.is_ready)
        self.admin_email = "admin@example.com"
        self.admin_password = self.remember("admin-" + secrets.token_urlsafe(18))
        if has_administrator:
            self.run_cli("user", "create", self.admin_email, "--role", "admin", "--password-stdin", stdin=self.admin_password)

    def new_client(self) -> httpx.Client:
        """A client with kept-alive connections that notes every 5xx; the server is judged by them at the end."""
        return httpx.Client(base_url=self.url, timeout=30, event_hooks={"response": [self.note_response]}, trust_env=False)

    def note_response(self, response: httpx.Response) -> None:
        if response.status_code >= 500:
            response.read()
            request = response.request
            self.server_errors.append(f"{response.status_code} {request.method} {request.url}: {response.text[:400]}")

    def remember(self, secret: str) -> str:
        if len(secret) >= 8:
            self.secrets.add(secret)
        return secret

    def is_ready(self) -> bool:
        try:
            # Not through `client`: 503 is the right answer until the server is ready.
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def run_cli(self, *arguments: str, stdin: str = "") -> str:
        """Runs a command of the same binary against the same database, beside the running server."""
        done = subprocess.run(
            [self.binary, *arguments], input=stdin + "\n", capture_output=True, text=True,
            env=self.env, cwd=self.directory, timeout=PATIENCE,
        )  # fmt: skip
        if done.returncode != 0:
            raise AssertionError(f"josoor-auth {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    # Requests that many tests begin with. Each asserts its own success, with the server's words.

    def keep_tokens(self, response: httpx.Response, status: int) -> dict:
        assert response.status_code == status, f"{response.status_code}, expected {status}: {response.text}"
        body = response.json()
        for name in ("access_token", "refresh_token"):
            if name in body:
                self.remember(body[name])
        return body

    def register(self, email: str, password: str, **fields) -> dict:
        body = {"email": email, "password": self.remember(password), **fields}
        return self.keep_tokens(self.client.post("/auth/register", json=body), 201)

    def log_in(self, email: str, password: str) -> dict:
        body = {"email": email, "password": self.remember(password)}
        return self.keep_tokens(self.client.post("/auth/login", json=body), 200)

    def admin_token(self) -> str:
        return self.log_in(self.admin_email, self.admin_password)["access_token"]

    # The database, past the server.

    def sql(self, statement: str, *values: str) -> list[list[str]]:
        """Runs one statement with `?` for text values, and gives the rows as text."""
        if self.postgres:
            literals = iter("'" + value.replace("'", "''") + "'" for value in values)
            statement = re.sub(r"\?", lambda _: next(literals), statement)
            output = self.postgres.run("psql", self.database_url, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement)
            return [line.split("|") for line in output.splitlines()]
        with closing(sqlite3.connect(self.directory / "josoor-auth.db", timeout=10)) as connection, connection:
            return [[str(value) for value in row] for row in connection.execute(statement, values)]

    def stop(self) -> None:
        self.client.close()
        self.process.stop()

    def stop_and_judge(self) -> list[str]:
        """Stops the server and gives what was wrong with it during the whole run; nothing is good."""
        if not self.process.is_running():
            died = [f"the server died by itself:\n{self.process.read_log()[-8000:]}"]
        else:
            died = []
        self.stop()
        faults = died + [f"5xx: {error}" for error in self.server_errors[:20]]
        log = self.process.read_log()
        faults += ["a password, key or token that the tests used is in the log" for s in self.secrets if s in log]
        faults += wrong_lines(log)
        for line in log.splitlines():
            if "panicked" in line:
                faults.append(f"a panic in the log: {line[:600]}")
            if is_error_line(line):
                faults.append(f"an error in the log: {line[:600]}")
            # Also those that schemathesis used and we do not know.
            if re.search(r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}|\$2[aby]\$\d\d\$|\$argon2id\$|\$bcrypt-sha256\$", line):
                faults.append(f"a token or password hash in the log: {line[:200]} ...")
        if faults:
            # The directory goes with the run; the log is what one wants to read now.
            kept = Path(tempfile.gettempdir()) / f"josoor-auth-{self.footprint}-{self.port}.log"
            kept.write_text(log)
            faults = [*faults[:20], f"{len(faults)} faults; the whole log is in {kept}"]
        return faults


def wrong_lines(log: str) -> list[str]:
    """Lines that are not as docs/log.schema.json says."""
    schema = Path(__file__).resolve().parents[2] / "docs" / "log.schema.json"
    validator = jsonschema_rs.validator_for(json.loads(schema.read_text()))
    faults = []
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            faults.append(f"no JSON in the log: {line[:300]}")
            continue
        faults += [f"a line of the log against its schema, {error.message}: {line[:300]}" for error in validator.iter_errors(entry)]
    return faults


def is_error_line(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and str(entry.get("level", "")).upper() == "ERROR"


def unverified_claims(token: str) -> dict:
    return jose_jwt.get_unverified_claims(token)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def assert_problem(response: httpx.Response, status: int | None = None, code: str | None = None) -> dict:
    """A refusal in the one shape that all refusals have (RFC 9457 with our members)."""
    said = f"{response.request.method} {response.request.url!s:.200}: {response.status_code} {response.text[:400]}"
    assert 400 <= response.status_code < 500, said
    assert response.headers.get("content-type", "").split(";")[0] == "application/problem+json", said
    body = response.json()
    assert isinstance(body.get("detail"), str) and body["detail"], said
    assert re.fullmatch(r"[a-z][a-z0-9_]*", body.get("code", "")), said
    assert body.get("status") == response.status_code, said
    assert isinstance(body.get("title"), str) and body["type"].endswith(f"/errors/{body['code']}"), said
    assert body.get("request_id") == response.headers.get("x-request-id"), said
    if response.status_code == 422:
        assert body["errors"], said
        for error in body["errors"]:
            assert set(error) == {"field", "code", "message"} and all(isinstance(e, str) for e in error.values()), said
    if status is not None:
        assert response.status_code == status, said
    if code is not None:
        assert body["code"] == code, said
    return body
