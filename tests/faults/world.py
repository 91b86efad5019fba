"""What a run of faults stands on: nodes of josoor-auth, PostgreSQL and Redis of its own, and connections that can be cut."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

from footprint import Postgres, Process, free_port, is_listening  # noqa: E402

PASSWORD_COST = "4"
# How long another node may go on with what it has when it is cut off; five seconds by default, less here, so that it is reached.
NEAR_TTL = 2.0
SMALL_DISK = 96 << 20
FAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
)


class Link:
    """A way to a port that can be cut, or that swallows what is sent."""

    def __init__(self, target: int):
        self.target = target
        self.port = free_port()
        self.is_cut = False
        self.is_silent = False
        self.writers: set[asyncio.StreamWriter] = set()
        self.server: asyncio.Server | None = None

    async def open(self) -> None:
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", self.port)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.close()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        both = {writer, far_writer}
        self.writers |= both

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while data := await source.read(65536):
                    while self.is_silent:
                        await asyncio.sleep(0.02)
                    sink.write(data)
                    await sink.drain()
            for one in both:
                one.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        self.writers -= both

    def cut(self) -> None:
        self.is_cut = True
        for writer in list(self.writers):
            writer.transport.abort()

    async def close(self) -> None:
        self.cut()
        if self.server:
            self.server.close()


class Database(Postgres):
    """PostgreSQL that can be killed and started again with what it had."""

    def __init__(self, directory: Path):
        self.directory = directory
        super().__init__(directory)

    def kill(self) -> None:
        """As `kill -9` of all its processes: its recovery reads what was committed."""
        os.kill(self.process.pid, signal.SIGQUIT)
        while self.process.is_running():
            time.sleep(0.01)
        self.process.stop()

    def start_again(self) -> None:
        self.process = Process(self.process.command, self.directory.parent / "postgres.log", cwd=self.directory)
        self.process.wait_until("PostgreSQL answers", self.is_ready)

    def processes(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def signal_all(self, number: int) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def statement(self, text: str) -> None:
        subprocess.run(
            [self.program("psql"), *self.at(), "-d", "postgres", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", text],
            check=True, capture_output=True, cwd="/", timeout=30,
        )  # fmt: skip


class Copies:
    """Redis: what it has can be lost, or come back old."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.port = free_port()
        self.start()

    def start(self) -> None:
        self.process = Process(
            ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--dbfilename", "snapshot.rdb", "--dir", self.directory],
            self.directory / "redis.log",
            cwd=self.directory,
        )  # fmt: skip
        self.process.wait_until("Redis answers", lambda: is_listening(self.port))

    def command(self, *words: str) -> None:
        subprocess.run(["redis-cli", "-p", str(self.port), *words], check=True, capture_output=True, timeout=30)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        while self.process.is_running():
            time.sleep(0.01)
        self.process.stop()


class Node:
    def __init__(self, world: World, number: int):
        self.world = world
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = world.directory / f"node-{number}.log"
        self.clock = world.directory / f"clock-{number}"
        self.set_clock(0)
        self.started = 0
        self.env = world.env | {
            "PORT": str(self.port),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        if world.faketime:
            self.env["LD_PRELOAD"] = world.faketime
        self.process: Process | None = None

    def set_clock(self, seconds: int) -> None:
        new = self.clock.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.clock)

    def start(self) -> None:
        """Starts it without waiting. Each life has a log of its own; those of earlier ones are kept."""
        self.started += 1
        log = self.log.with_suffix(f".{self.started}.log")
        self.process = Process([self.world.binary, "serve", "--dev"], log, env=self.env, cwd=self.world.directory)

    def kill(self) -> None:
        self.process.signal(signal.SIGKILL)
        self.process.stop()

    def stop(self) -> None:
        self.process.signal(signal.SIGTERM)
        self.process.stop()

    def memory(self) -> int:
        """Resident bytes; 0 when it does not run."""
        with contextlib.suppress(OSError, IndexError):
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0


class World:
    """One footprint: one node over SQLite, or two over PostgreSQL and Redis."""

    def __init__(self, footprint: str, binary: str, directory: Path):
        self.footprint = footprint
        self.binary = binary
        self.directory = directory
        self.faketime = next((path for path in FAKETIME if Path(path).exists()), None)
        self.links: dict[str, Link] = {}
        self.database: Database | None = None
        self.copies: Copies | None = None
        self.disk: Path | None = None
        self.nodes: list[Node] = []

    @property
    def is_production(self) -> bool:
        return self.footprint == "production"

    async def open(self) -> None:
        self.directory.chmod(0o711)
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.directory),
            "MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "JWT_ALGORITHM": "EdDSA",
            "JOSOOR_AUTH__ADMIN__STEP_UP": "never",
            "JOSOOR_AUTH__PASSWORD__BCRYPT_COST": PASSWORD_COST,
            "JOSOOR_AUTH__LIMITS__ENABLED": "false",
            "JOSOOR_AUTH__CACHE__NEAR_TTL": f"{NEAR_TTL:.0f}s",
            "JOSOOR_AUTH__LOG__FORMAT": "json",
        }
        if self.is_production:
            data = self.directory / "postgres"
            data.mkdir(mode=0o700)
            self.database = await asyncio.to_thread(Database, data)
            self.copies = await asyncio.to_thread(Copies, self.directory)
            self.links = {"postgres": Link(self.database.port), "redis": Link(self.copies.port)}
            for link in self.links.values():
                await link.open()
            name = self.database.new_database().rsplit("/", 1)[1]
            self.env["DATABASE_URL"] = f"postgres://postgres@127.0.0.1:{self.links['postgres'].port}/{name}"
            self.env["REDIS_URL"] = f"redis://127.0.0.1:{self.links['redis'].port}"
        else:
            disk = self.directory / "disk"
            disk.mkdir()
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "none", str(disk)], capture_output=True
            )
            if mounted.returncode == 0:
                self.disk = disk
            self.env["DATABASE_URL"] = f"sqlite://{disk}/josoor-auth.db"
        # One address for all nodes, as behind a load balancer.
        self.env["PUBLIC_URL"] = "http://localhost:8000"
        self.nodes = [Node(self, number) for number in range(2 if self.is_production else 1)]
        for node in self.nodes:
            node.start()
        if await self.until_ready(60) is None:
            raise RuntimeError("the nodes do not start:\n" + "".join(log.read_text()[-3000:] for log in self.logs()))

    async def is_ready(self, node: Node, with_redis: bool) -> bool:
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                answer = await client.get(f"{node.url}/readyz")
        except httpx.TransportError:
            return False
        if answer.status_code != 200:
            return False
        return not with_redis or answer.json()["parts"].get("redis", "ok") == "ok"

    async def until_ready(self, seconds: float, with_redis: bool = False) -> float | None:
        """Waits until all nodes are ready, and use Redis if asked for; how long that took, or None. Redis is not needed to serve."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if all(await asyncio.gather(*(self.is_ready(node, with_redis) for node in self.nodes))):
                return time.monotonic() - begun
            await asyncio.sleep(0.05)
        return None

    def command(self, *arguments: str, stdin: str = "") -> str:
        """Runs a command of the program beside the nodes."""
        done = subprocess.run(
            [self.binary, *arguments], input=stdin + "\n", capture_output=True, text=True,
            env=self.nodes[0].env | {"LD_PRELOAD": ""}, cwd=self.directory, timeout=60,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"josoor-auth {' '.join(arguments)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def logs(self) -> list[Path]:
        return sorted(self.directory.glob("node-*.log"))

    async def close(self) -> None:
        for node in self.nodes:
            node.process.signal(signal.SIGCONT)
            await asyncio.to_thread(node.stop)
        for link in self.links.values():
            await link.close()
        if self.copies:
            self.copies.process.signal(signal.SIGCONT)
            self.copies.process.stop()
        if self.database:
            self.database.signal_all(signal.SIGCONT)
            self.database.stop()
        if self.disk:
            subprocess.run(["umount", "--lazy", str(self.disk)], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
