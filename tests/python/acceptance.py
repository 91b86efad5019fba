"""Tests that `make acceptance` runs at full size, and `make test` in small. Their names begin with `test_acceptance_`."""

from __future__ import annotations

import os


def size(small: int, full: int) -> int:
    """`small` under `make test`, `full` under `make acceptance`."""
    return full if os.environ.get("ACCEPTANCE_REPORT") else small


def seed() -> int:
    """The seed of everything that such a test chooses at random."""
    return int(os.environ.get("ACCEPTANCE_SEED", "29875"))


def record(test: str, figure: str) -> None:
    """Adds a figure to the report, and prints it."""
    print(f"{test}: {figure}")
    if path := os.environ.get("ACCEPTANCE_REPORT"):
        with open(path, "a", encoding="utf-8") as report:
            report.write(f"| {test} | {figure} |\n")
