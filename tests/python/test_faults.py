"""The fault suite in small: some faults, and nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

COUNT = {"embedded": 6, "production": 12}


@pytest.mark.parametrize("footprint", COUNT)
def test_what_was_acknowledged_survives_faults(binary: str, footprint: str):
    seed = os.environ.get("FAULTS_SEED", "7")
    done = subprocess.run(
        [sys.executable, REPOSITORY / "tests/faults/run.py", "--binary", binary, "--footprint", footprint,
         "--faults", str(COUNT[footprint]), "--seed", seed, "--json"],
        capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, f"seed {seed}: {done.stdout[-6000:]}{done.stderr[-3000:]}"
    figures = json.loads(done.stdout.splitlines()[-1])[footprint]
    assert sum(figures["injected"].values()) >= COUNT[footprint]
    for what in ("sign-in", "sign-out", "refresh", "change of password", "change of role"):
        assert figures["acknowledged"][what] > 0, figures
    assert figures["checked"]["what was ended stays ended: access"] > 20, figures
