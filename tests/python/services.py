"""Starts PostgreSQL and Redis for tests that are not Python's, says on standard output where they are, and stops them when
standard input ends: `{"database_url": …, "redis_url": …}`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from footprint import Postgres, Redis

directory = Path(tempfile.mkdtemp(prefix="josoor-auth-services-"))
directory.chmod(0o711)
data = directory / "postgres"
data.mkdir(mode=0o700)
postgres, redis = Postgres(data), Redis(directory)
try:
    print(json.dumps({"database_url": postgres.new_database(), "redis_url": redis.url}), flush=True)
    sys.stdin.read()
finally:
    redis.stop()
    postgres.stop()
    shutil.rmtree(directory, ignore_errors=True)
