"""Measures JOSOOR Auth beside a plain server, the bare minimum and two other services, all in the same run, and writes
bench/REPORT.md and the plots. `make bench` builds what is measured and calls this; `--only NAME…` measures one part again."""

from __future__ import annotations

import argparse
import base64
import contextlib
import hmac
import itertools
import json
import os
import platform
import random
import secrets
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

from footprint import Postgres, Process, Redis, free_port, is_listening  # noqa: E402

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RELEASE = TARGET / "release"
PASSWORD = "correct horse battery 9"
COST = 12
CLIENTS = 64
ROUNDS = 5
SECONDS = 5


def say(text: str) -> None:
    print(f"bench: {text}", flush=True)


def post(url: str, body: dict, headers: dict | None = None):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer), answer.headers


def get(url: str, headers: dict) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read().decode()


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += tree(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    ticks = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    kib = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
    return kib / 1024


def go_first() -> None:
    """To run before everything else, if the system allows."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def load(url: str, *, connections=CLIENTS, seconds=SECONDS, pid=None, first=False, **options) -> dict:
    command = [RELEASE / "load", url, "--connections", connections, "--seconds", seconds]
    for name, value in options.items():
        if name == "headers":
            for key, text in value.items():
                command += ["--header", f"{key}: {text}"]
        elif value is True:
            command.append(f"--{name}")
        elif value is not None:
            command += [f"--{name}", value]
    before = cpu_seconds(pid) if pid else 0
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          preexec_fn=go_first if first else None)
    if done.returncode:
        raise SystemExit(f"the load on {url} failed: {done.stderr}")
    result = json.loads(done.stdout)
    if result["failed"]:
        raise SystemExit(f"{result['failed']} of {result['requests']} requests to {url} failed")
    if pid:
        result["cpu_us"] = (cpu_seconds(pid) - before) * 1e6 / max(result["requests"], 1)
    return result


def median_of(results: list[dict]) -> dict:
    return {
        key: statistics.median(values)
        for key in results[0]
        if (values := [result[key] for result in results if result.get(key) is not None])
    }


def in_turns(works: dict) -> dict[str, dict]:
    """Each of them once, then each of them again: whatever the machine does meanwhile, it does to all. The order changes,
    so that none always comes after the same one."""
    found = {name: [] for name in works}
    order = list(works)
    for _ in range(ROUNDS):
        for name in order:
            found[name].append(works[name]())
        random.shuffle(order)
    return {name: median_of(results) for name, results in found.items()}


@contextlib.contextmanager
def opened(kind):
    """A bench of this kind, in a directory that goes with it."""
    directory = Path(tempfile.mkdtemp(prefix="josoor-auth-bench-"))
    bench = kind(directory)
    try:
        yield bench
    finally:
        bench.stack.close()
        shutil.rmtree(directory, ignore_errors=True)


class Bench:
    def __init__(self, directory: Path):
        self.directory = directory
        self.stack = contextlib.ExitStack()
        directory.chmod(0o711)
        data = directory / "postgres"
        data.mkdir(mode=0o700)
        self.postgres = Postgres(data)
        self.stack.callback(self.postgres.stop)
        self.redis = Redis(directory)
        self.stack.callback(self.redis.stop)
        self.databases: dict[str, str] = {}
        self.processes: dict[int, Process] = {}
        self.rows: list[tuple[str, ...]] = []
        self.ratios: list[tuple[str, str, str]] = []

    @contextlib.contextmanager
    def processes_of_its_own(self):
        """What is started within ends with it."""
        with contextlib.ExitStack() as stack:
            outer, self.stack = self.stack, stack
            try:
                yield
            finally:
                self.stack = outer

    def run(self, name: str, command: list, ready: str, env: dict, cwd: Path) -> Process:
        own = {"PATH": os.environ["PATH"], "HOME": str(self.directory), **{key: str(value) for key, value in env.items()}}
        process = Process(command, self.directory / f"{name}.log", env=own, cwd=cwd)
        self.stack.callback(process.stop)
        process.wait_until(f"{name} answers", lambda: answers(ready))
        return process

    def server(self, footprint: str, **settings):
        port = free_port()
        home = self.directory / f"{footprint}-{port}"
        home.mkdir()
        env = {
            "PORT": port,
            "DATABASE_URL": f"sqlite://{home}/auth.db",
            "JOSOOR_AUTH__LIMITS__ENABLED": "false",
            "JOSOOR_AUTH__LOG__FORMAT": "json",
            "MASTER_KEY": "Zr1wJ5mVt9xYc3Qh7Ls0Nd8Fk2Bg6Pa4Ue1Xi5To9Rw=",
        }
        if footprint == "production":
            env |= {
                "DATABASE_URL": self.postgres.new_database(),
                "REDIS_URL": self.redis.url,
                "JOSOOR_AUTH__REDIS__PREFIX": f"b{port}:",
            }
        env |= settings
        url = f"http://127.0.0.1:{port}"
        begun = time.monotonic()
        process = self.run(f"server-{port}", [RELEASE / "josoor-auth", "serve", "--dev"], f"{url}/readyz", env, home)
        self.databases[url], self.processes[process.pid] = env["DATABASE_URL"], process
        return url, process.pid, time.monotonic() - begun

    def stop(self, pid: int) -> None:
        self.processes[pid].stop()

    def bare(self, *words) -> tuple[str, int]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [RELEASE / "bare", words[0], port, *words[1:]]
        process = Process(command, self.directory / f"bare-{port}.log", cwd=self.directory)
        self.stack.callback(process.stop)
        process.wait_until("the bare server listens", lambda: is_listening(port))
        return url, process.pid

    def row(self, *cells) -> None:
        self.rows.append(cells)
        say("  ".join(cells))

    def ratio(self, what: str, value: float, goal: str) -> None:
        aim = float(goal.split()[-1])
        reached = value >= aim if goal.startswith("at least") else value <= aim
        self.ratios.append((what, f"{value:.2f}", goal if reached else f"{goal}: **not reached**"))
        say(f"{what}: {value:.2f} ({goal})")

    # What is measured.

    def checks(self) -> None:
        """Who is this, and may this one pass: beside a plain answer of the same size."""
        works, halves = {}, {}

        def add(name: str, instances: list[tuple[str, dict, int]]) -> None:
            """Each round asks another process: one process may be a fifth slower than the next for as long as it lives."""
            turns = itertools.cycle(instances)

            def whole() -> dict:
                url, headers, pid = next(turns)
                return load(url, headers=headers, pid=pid)

            def half(rate: float) -> dict:
                url, headers, _ = next(turns)
                return load(url, headers=headers, rate=f"{rate:.0f}")

            works[name], halves[name] = whole, half

        for footprint in ("embedded", "production"):
            servers = [self.server(footprint, JOSOOR_AUTH__PASSWORD__BCRYPT_COST=4) for _ in range(ROUNDS)]
            bearer = {}
            for url, _, _ in servers:
                token = post(f"{url}/auth/register", {"email": "ada@example.com", "password": PASSWORD})[0]["access_token"]
                bearer[url] = {"authorization": f"Bearer {token}"}
            if "plain" not in works:
                url, headers = next(iter(bearer.items()))
                size = len(get(f"{url}/auth/me", headers))
                add("plain", [(f"{plain}/auth/me", headers, pid) for plain, pid in (self.bare("plain", size) for _ in range(ROUNDS))])
            for path in ("me", "check"):
                add(f"/auth/{path}, {footprint}", [(f"{url}/auth/{path}", bearer[url], pid) for url, pid, _ in servers])
            start = statistics.median(start for _, _, start in servers)
            self.row(f"cold start, {footprint}", f"{start * 1e3:.0f} ms", "", "", "", f"{memory_mb(servers[0][1]):.0f} MB")
        found = in_turns(works)
        rate = found["/auth/me, embedded"]["rate"] / 2
        half = in_turns({name: lambda ask=ask: ask(rate) for name, ask in halves.items()})
        for name, result in found.items():
            self.row(name, f"{result['rate']:,.0f}/s", f"{result['p50'] / 1e3:.2f} ms", f"{result['p99'] / 1e3:.2f} ms",
                     f"{result['cpu_us']:.1f} us", f"p99 at {rate:,.0f}/s: {half[name]['p99'] / 1e3:.2f} ms")
            if name != "plain":
                self.ratio(f"{name}: rate / plain", result["rate"] / found["plain"]["rate"], "at least 0.75")
                self.ratio(f"{name}: CPU / plain", result["cpu_us"] / found["plain"]["cpu_us"], "at most 1.5")
                self.ratio(f"{name}: p99 at half load / plain", half[name]["p99"] / half["plain"]["p99"], "at most 3")

    def peers(self) -> None:
        """The same check in two other services, alternating with ours."""
        url, pid, _ = self.server("production", JOSOOR_AUTH__PASSWORD__BCRYPT_COST=4)
        ours = post(f"{url}/auth/register", {"email": "ada@example.com", "password": PASSWORD})[0]["access_token"]
        works = {"/auth/me, production, beside the peers": lambda url=url, pid=pid: load(
            f"{url}/auth/me", headers={"authorization": f"Bearer {ours}"}, pid=pid)}
        python = TARGET / "bench-python"
        if not (python / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", python], check=True)
        wanted = HERE / "peers" / "fastapi" / "requirements.txt"
        subprocess.run([python / "bin" / "python", "-m", "pip", "-q", "install", "-r", wanted], check=True)
        port = free_port()
        env = {"DATABASE_URL": self.postgres.new_database(), "REDIS_URL": self.redis.url, "PORT": port}
        url = f"http://127.0.0.1:{port}"
        process = self.run("fastapi", [python / "bin" / "python", "serve.py"], f"{url}/healthz", env, HERE / "peers" / "fastapi")
        body = {"email": "ada@example.com", "password": PASSWORD, "full_name": "Ada"}
        token = post(f"{url}/auth/register", body)[0]["access_token"]
        works["FastAPI, /auth/me"] = lambda url=url, pid=process.pid: load(
            f"{url}/auth/me", headers={"authorization": f"Bearer {token}"}, pid=pid)
        folder = HERE / "peers" / "better-auth"
        subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=folder, check=True)
        for mode in ("database", "redis", "cookie-cache"):
            port = free_port()
            env = {"DATABASE_URL": self.postgres.new_database(), "REDIS_URL": self.redis.url, "PORT": port, "SESSIONS": mode}
            url = f"http://127.0.0.1:{port}"
            node = self.run(f"better-auth-{mode}", ["node", "server.js"], f"{url}/api/auth/ok", env, folder)
            _, headers = post(f"{url}/api/auth/sign-up/email", {"email": "ada@example.com", "password": PASSWORD, "name": "Ada"})
            cookie = "; ".join(line.split(";")[0] for line in headers.get_all("set-cookie"))
            assert '"session"' in get(f"{url}/api/auth/get-session", {"cookie": cookie}), mode
            works[f"Better Auth, {mode}"] = lambda url=url, pid=node.pid, cookie=cookie: load(
                f"{url}/api/auth/get-session", headers={"cookie": cookie}, pid=pid)
        found = in_turns(works)
        for name, result in found.items():
            self.row(name, f"{result['rate']:,.0f}/s", f"{result['p50'] / 1e3:.2f} ms", f"{result['p99'] / 1e3:.2f} ms",
                     f"{result['cpu_us']:,.1f} us", "")
        rate = found["/auth/me, production, beside the peers"]["rate"]
        fastest = max(result["rate"] for name, result in found.items() if name.startswith("Better"))
        self.ratio("/auth/me, production / FastAPI", rate / found["FastAPI, /auth/me"]["rate"], "at least 100")
        self.ratio("/auth/me, production / Better Auth at its fastest", rate / fastest, "at least 45")

    def refreshes(self) -> None:
        """A refresh: beside one conditional update and two signatures."""
        bare, bare_pid = self.bare("refresh", self.postgres.new_database(), 10)
        works = {"bare refresh, PostgreSQL": lambda: load(
            f"{bare}/auth/refresh", method="POST", connections=32, pid=bare_pid)}
        for footprint in ("production", "embedded"):
            url, pid, _ = self.server(footprint, JOSOOR_AUTH__PASSWORD__BCRYPT_COST=4, JOSOOR_AUTH__DATABASE__MAX_CONNECTIONS=10)

            def refresh(url=url, pid=pid):
                tokens = [post(f"{url}/auth/register", {"email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD})[0]
                          ["refresh_token"] for _ in range(32)]
                bodies = self.directory / "tokens"
                bodies.write_text("\n".join(tokens))
                return load(f"{url}/auth/refresh", method="POST", connections=32, bodies=bodies, refresh=True, pid=pid)

            works[f"/auth/refresh, {footprint}"] = refresh
        found = in_turns(works)
        for name, result in found.items():
            self.row(name, f"{result['rate']:,.0f}/s", f"{result['p50'] / 1e3:.2f} ms", f"{result['p99'] / 1e3:.2f} ms",
                     f"{result['cpu_us']:.1f} us", "32 clients")
        self.ratio("/auth/refresh, production / bare", found["/auth/refresh, production"]["rate"]
                   / found["bare refresh, PostgreSQL"]["rate"], "at least 0.6")

    def sign_ins(self) -> None:
        """Signing in and registering with 32 clients: beside the bcrypt crate on all cores, raw."""
        url, pid, _ = self.server("production", JOSOOR_AUTH__HASH__QUEUE=64)
        credentials = {"email": "ada@example.com", "password": PASSWORD}
        post(f"{url}/auth/register", credentials)
        bodies = self.directory / "credentials"
        bodies.write_text(json.dumps(credentials))
        new = self.directory / "new"
        pool, pool_pid = self.bare("login", COST)

        def register():
            new.write_text("\n".join(json.dumps({"email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD})
                                     for _ in range(2000)))
            return load(f"{url}/auth/register", method="POST", connections=32, bodies=new, seconds=10, pid=pid)

        def raw():
            done = subprocess.run([RELEASE / "bare", "bcrypt", str(COST), "10"], capture_output=True, text=True, check=True)
            return {"rate": float(done.stdout)}

        found = in_turns({
            "bcrypt crate, raw": raw,
            "bcrypt crate, plain pool": lambda: load(
                f"{pool}/auth/login", method="POST", connections=32, seconds=10, pid=pool_pid),
            "/auth/login": lambda: load(f"{url}/auth/login", method="POST", connections=32, bodies=bodies, seconds=10, pid=pid),
            "/auth/register": register,
            "/auth/login, one client": lambda: load(f"{url}/auth/login", method="POST", connections=1, bodies=bodies, pid=pid),
        })
        one = os.cpu_count() / found["bcrypt crate, raw"]["rate"]
        for name, result in found.items():
            self.row(name, f"{result['rate']:.1f}/s", f"{result.get('p50', one * 1e6) / 1e3:.0f} ms",
                     f"{result.get('p99', 0) / 1e3:.0f} ms" if "p99" in result else "", "", f"cost {COST}")
        self.ratio("/auth/login, 32 clients / bcrypt crate, raw", found["/auth/login"]["rate"] / found["bcrypt crate, raw"]["rate"],
                   "at least 1.8")
        self.ratio("/auth/login, 32 clients: p50 / plain pool", found["/auth/login"]["p50"] / found["bcrypt crate, plain pool"]["p50"],
                   "at most 1")
        self.ratio("lone sign-in / one hash of the crate", found["/auth/login, one client"]["p50"] / 1e6 / one, "at most 1.05")

    def million(self) -> None:
        """A million live sessions of a hundred thousand users: memory after requests with more of them than fit, and the start."""
        secret = secrets.token_urlsafe(36)
        # The tokens of the first start are those of the second: one issuer.
        settings = {"JWT_SECRET": secret, "PUBLIC_URL": "http://localhost:8000", "JOSOOR_AUTH__PASSWORD__BCRYPT_COST": 4,
                    "JOSOOR_AUTH__LOG__LEVEL": "warn"}
        for footprint in ("embedded", "production"):
            url, pid, _ = self.server(footprint, **settings)
            token = post(f"{url}/auth/register", {"email": "ada@example.com", "password": PASSWORD})[0]["access_token"]
            database = self.databases[url]
            self.stop(pid)
            fill(database)
            asked = self.directory / "million"
            with asked.open("w") as file:
                file.writelines(f"{like(token, secret, number)}\n" for number in range(1, 400_001))
            settings_again = settings | {"DATABASE_URL": database}
            url, pid, start = self.server(footprint, **settings_again)
            result = load(f"{url}/auth/me", tokens=asked, seconds=40, pid=pid)
            resident = next(int(line.split()[1]) / 1024 for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                            if line.startswith("VmRSS"))
            self.row(f"/auth/me on a million sessions, {footprint}", f"{result['rate']:,.0f}/s", f"{result['p50'] / 1e3:.2f} ms",
                     f"{result['p99'] / 1e3:.2f} ms", f"{result['cpu_us']:.1f} us", f"{resident:.0f} MB resident")
            self.ratio(f"a million sessions, {footprint}: MB resident", resident, "at most 150")
            if footprint == "embedded":
                self.ratio("a million sessions, embedded: seconds from start to ready", start, "at most 0.3")

    def micro(self) -> None:
        """The parts of a request, one by one, by criterion."""
        found = TARGET / "criterion"
        shutil.rmtree(found, ignore_errors=True)
        subprocess.run(["cargo", "bench", "--quiet", "--package", "josoor-auth", "--bench", "micro"], cwd=ROOT, check=True)
        for file in sorted(found.glob("*/new/benchmark.json"), key=lambda file: file.stat().st_mtime_ns):
            name = json.loads(file.read_text())["full_id"]
            nanoseconds = json.loads(file.with_name("estimates.json").read_text())["median"]["point_estimate"]
            self.row(name, "", f"{nanoseconds / 1e3:,.2f} us", "", "", "one thread")

    def flood(self) -> None:
        """Everything else while sign-ins come at many times of what can be hashed."""
        for footprint in ("embedded", "production"):
            url, pid, _ = self.server(footprint)
            credentials = {"email": "ada@example.com", "password": PASSWORD}
            answer, headers = post(f"{url}/auth/register", credentials)
            token = {"authorization": f"Bearer {answer['access_token']}"}
            device = next(line.split(";")[0] for line in headers.get_all("set-cookie") if line.startswith("josoor_device"))
            own = self.directory / "own"
            own.write_text(json.dumps(credentials))
            strangers = self.directory / "strangers"
            strangers.write_text("\n".join(json.dumps({"email": f"x{n}@example.com", "password": PASSWORD}) for n in range(1000)))

            def paced(first):
                return load(f"{url}/auth/me", headers=token, connections=8, rate=1000, seconds=5, punctual=True, first=first)

            # The load is late where it waits for a core beside the hashes, which is not the server's doing: measured with a
            # load that goes first, and with one that waits like all others.
            ways = {"": lambda: paced(True), ", a load that waits": lambda: paced(False)}
            idle = in_turns(ways)
            sign_in = dict(method="POST", connections=1, bodies=own, headers={"cookie": device}, seconds=6)
            alone = load(f"{url}/auth/login", **sign_in)
            command = [RELEASE / "load", f"{url}/auth/login", "--connections", "256", "--rate", "200", "--seconds", "62",
                       "--method", "POST", "--bodies", strangers]
            with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as attack:
                time.sleep(2)
                busy = in_turns(ways)
                known = load(f"{url}/auth/login", **sign_in)
                attack_result = json.loads(attack.communicate()[0])
            for way in ways:
                name = f"/auth/me at 1,000/s, {footprint}{way}"
                for when, found in (("idle", idle[way]), ("flood of 200 sign-ins/s", busy[way])):
                    self.row(f"{name}, {when}", "", f"{found['p50'] / 1e3:.2f} ms", f"{found['p99'] / 1e3:.2f} ms", "", "")
                self.ratio(f"{name}: p99 in a flood / idle", busy[way]["p99"] / idle[way]["p99"], "at most 2")
            self.row(f"sign-in refused in the flood, {footprint}", "", f"{attack_result['refused_p50'] / 1e3:.2f} ms", "", "",
                     f"{attack_result['refused']:,} of them")
            self.ratio(f"refused sign-in, {footprint}: p50 in ms", attack_result["refused_p50"] / 1e3, "at most 20")
            self.ratio(f"known device in a flood, {footprint} / alone", known["p50"] / alone["p50"], "at most 3")


def like(token: str, secret: str, number: int) -> str:
    """The token of another one of the sessions that `fill` makes."""
    header, claims, _ = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(claims + "=="))
    user = number % USERS + 2
    claims |= {"sub": str(user), "email": f"user{user}@example.com", "sid": str(uuid.UUID(int=number)), "jti": str(number)}
    encoded = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    signature = hmac.new(secret.encode(), f"{header}.{encoded}".encode(), "sha256").digest()
    return f"{header}.{encoded}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


USERS, SESSIONS = 100_000, 1_000_000


def fill(database: str) -> None:
    """Copies the one user and the one session that are there."""
    users = ("password_hash, role, is_active, email_verified_at, locale, version, created_at, updated_at, password_changed_at, "
             "last_login_at")
    sessions = ("created_at, last_seen_at, expires_at, idle_expires_at, ip, user_agent, generation, generation_issued_at, "
                "generation_expires_at, used_generation, superseded, retired_generation")

    def statements(numbers: str, session_id: str) -> list[str]:
        return [
            f"insert into users (id, email, email_key, search_text, {users}) {numbers.format(most=USERS)} "
            f"select i + 1, 'user' || (i + 1) || '@example.com', 'user' || (i + 1) || '@example.com', "
            f"'user' || (i + 1) || '@example.com', {users} from n, (select * from users limit 1) as one",
            f"insert into sessions (id, user_id, {sessions}) {numbers.format(most=SESSIONS)} "
            f"select {session_id}, i % {USERS} + 2, {sessions} from n, (select * from sessions limit 1) as one",
        ]

    if database.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(database.removeprefix("sqlite://"))) as connection:
            connection.create_function("id_of", 1, lambda number: uuid.UUID(int=number).bytes)
            numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < {most})"
            for sql in statements(numbers, "id_of(i)"):
                connection.execute(sql)
            connection.commit()
    else:
        for sql in statements("with n(i) as (select generate_series(1, {most}))", "lpad(to_hex(i), 32, '0')::uuid"):
            subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql], check=True, cwd="/")


def plot(rows: list[tuple[str, ...]]) -> str:
    """Requests a second, on a logarithmic scale, as SVG."""
    import math

    bars = [(row[0], float(row[1].removesuffix("/s").replace(",", ""))) for row in rows if row[1].endswith("/s")]
    most = max(math.log10(value) for _, value in bars)
    height = 24 * len(bars) + 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             '<text x="8" y="18" font-weight="bold">Requests a second (logarithmic)</text>']
    for number, (name, value) in enumerate(bars):
        top = 30 + 24 * number
        width = 380 * math.log10(max(value, 1)) / most + 2
        colour = "#0b6e4f" if name.startswith("/auth") else "#9aa5b1"
        parts.append(f'<text x="250" y="{top + 14}" text-anchor="end">{name}</text>'
                     f'<rect x="258" y="{top}" width="{width:.0f}" height="18" fill="{colour}"/>'
                     f'<text x="{264 + width:.0f}" y="{top + 14}">{value:,.0f}</text>')
    return "\n".join([*parts, "</svg>\n"])


def version(*command: str) -> str:
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True).stdout.strip().splitlines()[0]
    return "not there"


def kept(part: str) -> Path:
    """Where the figures of a part are kept until it is measured again."""
    return TARGET / "bench" / f"{part}.json"


def keep(part: str, bench: Bench) -> None:
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    kept(part).parent.mkdir(parents=True, exist_ok=True)
    found = {"commit": commit, "date": time.strftime("%Y-%m-%d", time.gmtime()), "rows": bench.rows, "ratios": bench.ratios}
    kept(part).write_text(json.dumps(found))


def report(parts: dict[str, dict], directory: Path) -> str:
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    made: dict[str, list[str]] = {}
    for name, part in parts.items():
        made.setdefault(f"{part['date']} at commit {part['commit']}", []).append(name.replace("_", "-"))
    when = list(made)[0] if len(made) == 1 else "; ".join(f"{when}: {', '.join(names)}" for when, names in made.items())
    lines = [
        "# Benchmark report",
        "",
        f"Made by `make bench` on {when}. {os.cpu_count()} cores ({cpu}), Linux {platform.release()}; "
        f"{version('rustc', '--version')}; {version('redis-server', '--version').split(' sha')[0]}; "
        f"{version(Postgres.program('postgres'), '--version')}; Python {platform.python_version()}; Node.js {version('node', '--version')}.",
        "",
        "The load generator, PostgreSQL and Redis share the cores with what is measured, so only the ratios of one run mean "
        f"something. Each figure is the median of {ROUNDS} rounds, in which everything that is compared has its turn, "
        f"in the first part each round with processes of its own. {CLIENTS} keep-alive connections unless it says otherwise; the access log goes to a file; limits are off, because all load "
        "comes from one address. Latencies at a fixed rate count from when a request was due. In the flood one load goes before "
        "everything else, so that only the server's delays count, and one waits for a core like any process.",
        "",
        "## Ratios",
        "",
        "| What | Ratio | Aim |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for part in parts.values() for row in part["ratios"]),
        "",
        "## Figures",
        "",
        "| What | Rate | p50 | p99 | Server CPU a request | Besides |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for part in parts.values() for row in part["rows"]),
        "",
        sizes(directory),
        "",
        "![Requests a second](rates.svg)",
        "",
    ]
    return "\n".join(lines)


def sizes(directory: Path) -> str:
    binary, stripped = RELEASE / "josoor-auth", directory / "stripped"
    subprocess.run(["strip", "-o", stripped, binary], check=True)
    return (f"The binary has {stripped.stat().st_size / 1e6:.1f} MB, and {binary.stat().st_size / 1e6:.1f} MB with the lines and "
            "symbols that backtraces name.")


PARTS = ("checks", "peers", "refreshes", "sign_ins", "flood", "million", "micro")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure these again; the report keeps the others as they were measured")
    arguments = parser.parse_args()
    with opened(Bench) as bench:
        for part in arguments.only or PARTS:
            say(part.replace("_", "-"))
            bench.rows, bench.ratios = [], []
            with bench.processes_of_its_own():
                getattr(bench, part)()
            keep(part, bench)
        parts = {part: json.loads(kept(part).read_text()) for part in PARTS if kept(part).exists()}
        (HERE / "REPORT.md").write_text(report(parts, bench.directory))
        (HERE / "rates.svg").write_text(plot([row for part in parts.values() for row in part["rows"]]))
        say("written: bench/REPORT.md, bench/rates.svg")


if __name__ == "__main__":
    main()
