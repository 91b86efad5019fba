"""What is broken on purpose. A fault begins, lasts for a moment, and ends; then the service has to be as before."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from world import World

Fault = Callable[[World, random.Random], "contextlib.AbstractAsyncContextManager[None]"]

FAULTS: dict[str, tuple[str, Fault]] = {}


def fault(name: str, footprints: str = "both"):
    """Adds a fault. What stands after its `yield` ends it."""

    def add(function: Callable[[World, random.Random], AsyncIterator[None]]) -> None:
        FAULTS[name] = (footprints, asynccontextmanager(function))

    return add


def names_for(world: World) -> list[str]:
    """The faults that can be made here."""
    found = [name for name, (where, _) in FAULTS.items() if where in ("both", world.footprint)]
    if not world.disk:
        found = [name for name in found if name != "disk full"]
    if not world.faketime:
        found = [name for name in found if "clock" not in name]
    return found


@fault("node killed (SIGKILL)")
async def node_killed(world: World, rng: random.Random):
    node = rng.choice(world.nodes)
    node.kill()
    yield
    node.start()


@fault("node restarted (SIGTERM)")
async def node_restarted(world: World, rng: random.Random):
    node = rng.choice(world.nodes)
    await asyncio.to_thread(node.stop)
    yield
    node.start()


@fault("node frozen")
async def node_frozen(world: World, rng: random.Random):
    node = rng.choice(world.nodes)
    node.process.signal(signal.SIGSTOP)
    yield
    node.process.signal(signal.SIGCONT)


@fault("all nodes killed, one after the other", "production")
async def nodes_killed(world: World, rng: random.Random):
    for node in world.nodes:
        node.kill()
        await asyncio.sleep(rng.uniform(0, 0.2))
    yield
    for node in world.nodes:
        node.start()


@fault("clock of a node ahead or behind by an hour", "production")
async def clock_moved(world: World, rng: random.Random):
    node = rng.choice(world.nodes)
    node.set_clock(rng.choice([-3600, -1200, -61, 45, 3600]))
    yield
    node.set_clock(0)


@fault("clock stepped by 20 seconds", "embedded")
async def clock_stepped(world: World, rng: random.Random):
    world.nodes[0].set_clock(rng.choice([-20, 20]))
    yield
    world.nodes[0].set_clock(0)


@fault("signing key replaced")
async def key_replaced(world: World, rng: random.Random):
    with contextlib.suppress(RuntimeError):
        await asyncio.to_thread(world.command, "key", "rotate", "--now")
    yield


@fault("disk full", "embedded")
async def disk_full(world: World, rng: random.Random):
    filler = world.disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(64 << 10))
            file.flush()
    yield
    filler.unlink()


@fault("another program holds SQLite's lock", "embedded")
async def sqlite_locked(world: World, rng: random.Random):
    import sqlite3

    other = sqlite3.connect(world.disk / "josoor-auth.db" if world.disk else world.directory / "disk/josoor-auth.db", timeout=10)
    with contextlib.suppress(sqlite3.OperationalError):
        other.execute("begin immediate")
    yield
    other.close()


@fault("PostgreSQL killed", "production")
async def postgres_killed(world: World, rng: random.Random):
    await asyncio.to_thread(world.database.kill)
    yield
    await asyncio.to_thread(world.database.start_again)


@fault("PostgreSQL frozen", "production")
async def postgres_frozen(world: World, rng: random.Random):
    world.database.signal_all(signal.SIGSTOP)
    yield
    world.database.signal_all(signal.SIGCONT)


@fault("connections of PostgreSQL ended", "production")
async def postgres_disconnected(world: World, rng: random.Random):
    for _ in range(3):
        with contextlib.suppress(Exception):
            await asyncio.to_thread(
                world.database.statement,
                "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'",
            )
        await asyncio.sleep(0.1)
    yield


@fault("PostgreSQL read-only", "production")
async def postgres_read_only(world: World, rng: random.Random):
    await asyncio.to_thread(world.database.statement, "alter system set default_transaction_read_only = on")
    await asyncio.to_thread(world.database.statement, "select pg_reload_conf()")
    yield
    undo = "set default_transaction_read_only = off; alter system reset default_transaction_read_only"
    for statement in undo.split("; "):
        await asyncio.to_thread(world.database.run, "psql", *world.database.at(), "-d", "postgres", "-qAtX",
                                "-c", "set session characteristics as transaction read write", "-c", statement)  # fmt: skip
    await asyncio.to_thread(world.database.statement, "select pg_reload_conf()")


@fault("network to PostgreSQL cut", "production")
async def postgres_cut(world: World, rng: random.Random):
    world.links["postgres"].cut()
    yield
    world.links["postgres"].is_cut = False


@fault("network to PostgreSQL silent", "production")
async def postgres_silent(world: World, rng: random.Random):
    world.links["postgres"].is_silent = True
    yield
    world.links["postgres"].is_silent = False


@fault("network to Redis cut", "production")
async def redis_cut(world: World, rng: random.Random):
    world.links["redis"].cut()
    yield
    world.links["redis"].is_cut = False


@fault("network to Redis silent", "production")
async def redis_silent(world: World, rng: random.Random):
    world.links["redis"].is_silent = True
    yield
    world.links["redis"].is_silent = False


@fault("Redis killed, back empty", "production")
async def redis_empty(world: World, rng: random.Random):
    world.copies.kill()
    (world.copies.directory / "snapshot.rdb").unlink(missing_ok=True)
    yield
    await asyncio.to_thread(world.copies.start)


@fault("Redis killed, back with an old snapshot", "production")
async def redis_old(world: World, rng: random.Random):
    with contextlib.suppress(Exception):
        await asyncio.to_thread(world.copies.command, "SAVE")
    await asyncio.sleep(rng.uniform(0.2, 1.0))
    world.copies.kill()
    yield
    await asyncio.to_thread(world.copies.start)


@fault("Redis frozen", "production")
async def redis_frozen(world: World, rng: random.Random):
    os.kill(world.copies.process.pid, signal.SIGSTOP)
    yield
    os.kill(world.copies.process.pid, signal.SIGCONT)


@fault("Redis flushed", "production")
async def redis_flushed(world: World, rng: random.Random):
    with contextlib.suppress(Exception):
        await asyncio.to_thread(world.copies.command, "FLUSHALL")
    yield


@fault("Redis refuses writes", "production")
async def redis_refuses(world: World, rng: random.Random):
    with contextlib.suppress(Exception):
        await asyncio.to_thread(world.copies.command, "CONFIG", "SET", "maxmemory", "1")
    yield
    with contextlib.suppress(Exception):
        await asyncio.to_thread(world.copies.command, "CONFIG", "SET", "maxmemory", "0")


@fault("subscribers of Redis disconnected", "production")
async def redis_unsubscribed(world: World, rng: random.Random):
    with contextlib.suppress(Exception):
        await asyncio.to_thread(world.copies.command, "CLIENT", "KILL", "TYPE", "pubsub")
    yield
