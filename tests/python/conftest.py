"""Starts what the tests talk to: each footprint once, for all of them, on ports and directories of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from footprint import FOOTPRINTS, Postgres, Redis, Server

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def binary() -> str:
    """The server: JOSOOR_AUTH_BIN, or what cargo builds (and builds where)."""
    if path := os.environ.get("JOSOOR_AUTH_BIN"):
        return str(Path(path).resolve(strict=True))
    build = ["cargo", "build", "--package", "josoor-auth", "--bin", "josoor-auth", "--message-format=json"]
    output = subprocess.run(build, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = (json.loads(line) for line in output.splitlines())
    return next(path for m in messages if (path := m.get("executable")) and m["target"]["name"] == "josoor-auth")


@pytest.fixture(scope="session")
def directory():
    """Not pytest's own temporary directory: PostgreSQL's user must be able to reach its part of it."""
    path = Path(tempfile.mkdtemp(prefix="josoor-auth-python-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(directory: Path):
    data = directory / "postgres"
    data.mkdir(mode=0o700)
    service = Postgres(data)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def redis_server(directory: Path):
    service = Redis(directory)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def start_server(binary: str, directory: Path, request: pytest.FixtureRequest):
    """Starts further servers: `start_server(footprint, SETTING="value")`. The caller has it judged and stopped."""
    count = 0

    def start(footprint: str, **settings: str) -> Server:
        nonlocal count
        count += 1
        place = directory / f"server-{count}"
        place.mkdir(mode=0o700)
        if footprint == "sqlite":
            return Server(binary, footprint, place, settings=settings)
        # Asked for only here, so that a run of the SQLite tests alone needs neither program.
        postgres, redis = request.getfixturevalue("postgres"), request.getfixturevalue("redis_server")
        if count > 1:
            settings.setdefault("JOSOOR_AUTH__REDIS__PREFIX", f"server-{count}:")
        return Server(binary, footprint, place, postgres, redis, settings)

    return start


def run_and_judge(start_server, footprint: str, **settings: str):
    server = start_server(footprint, **settings)
    yield server
    faults = server.stop_and_judge()
    if faults:
        pytest.fail(f"the {footprint} server misbehaved:\n" + "\n".join(faults), pytrace=False)


@pytest.fixture(scope="session")
def sqlite(start_server):
    """SQLite and nothing else."""
    yield from run_and_judge(start_server, "sqlite")


@pytest.fixture(scope="session")
def postgres_redis(postgres, redis_server, start_server):
    """PostgreSQL and Redis."""
    yield from run_and_judge(start_server, "postgres_redis", JOSOOR_AUTH__REDIS__PREFIX="")


@pytest.fixture(scope="session", params=FOOTPRINTS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each footprint in turn: a test that takes this runs on both."""
    return request.getfixturevalue(request.param)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A failed test shows the end of its server's log."""
    report = (yield).get_result()
    servers = [value for value in item.funcargs.values() if isinstance(value, Server)]
    for server in servers if report.when == "call" and report.failed else ():
        report.sections.append((f"log of the {server.footprint} server", server.process.read_log()[-4000:]))
