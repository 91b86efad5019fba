"""Breaks a running service at random and checks that what it acknowledged stays true. `make faults` calls this.

    run.py --binary FILE [--faults 500] [--seed N] [--footprint embedded|production] [--report FILE]

The seed is printed; it decides which faults there are, in which order and for how long. What clients do at the same time is
decided by it too, as far as the timing of the machine lets them."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from clients import Clients, Records  # noqa: E402
from faults import FAULTS, names_for  # noqa: E402
from world import ROOT, World  # noqa: E402

# Each so many faults are injected into an installation of its own: what an outage is followed by takes the longer, the more was
# changed in the last quarter of an hour.
PART = 100
WORKERS = 6
CHECKERS = 3
READY_WITHIN = 30


def part_of(fault: str) -> str:
    """What a fault breaks."""
    return next((part for part in ("network", "PostgreSQL", "Redis", "node", "disk", "SQLite") if part in fault), fault)


async def break_once(world: World, records: Records, rng: random.Random, names: list[str]) -> float | None:
    """One fault, or two at once, then back. How long it took to be ready again, or None."""
    records.fault = " + ".join(names)
    records.calm_since = None
    async with AsyncExitStack() as stack:
        for name in names:
            await stack.enter_async_context(FAULTS[name][1](world, rng))
        # Some longer than what waits for a store has patience.
        await asyncio.sleep(rng.choice((rng.uniform(0.05, 0.6), rng.uniform(0.6, 2.5))))
    took = await world.until_ready(READY_WITHIN)
    if took is None:
        records.violation(f"not ready again within {READY_WITHIN} s")
    # What holds between nodes that are connected is asked for where they are: a busy machine lets answers of Redis time out.
    is_connected = await world.until_ready(READY_WITHIN, with_redis=True) is not None
    records.calm_since = time.monotonic() if is_connected else None
    return took


async def run(footprint: str, binary: str, count: int, seed: str) -> dict:
    """Injects `count` faults into a new installation; what was seen."""
    rng = random.Random(f"{seed} {footprint}")
    directory = Path(tempfile.mkdtemp(prefix="josoor-auth-faults-"))
    world = World(footprint, binary, directory)
    injected: Counter[str] = Counter()
    recovery: list[float] = []
    try:
        await world.open()
        records = Records(world)
        records.calm_since = time.monotonic()
        clients = Clients(world, records, random.Random(f"{seed} {footprint} clients"))
        await asyncio.to_thread(
            world.command, "user", "create", clients.admin_email, "--role", "admin", "--password-stdin",
            stdin=clients.admin_password,
        )  # fmt: skip
        body = {"email": clients.admin_email, "password": clients.admin_password}
        clients.admin = (await clients.send(world.nodes[0], "POST", "/auth/login", body=body)).json()["access_token"]
        memory = [0.0, 0.0]
        tasks = [asyncio.create_task(clients.work()) for _ in range(WORKERS)]
        tasks += [asyncio.create_task(clients.check()) for _ in range(CHECKERS)]
        await asyncio.sleep(2)
        names = names_for(world)
        done = 0
        while done < count:
            # Each kind in its turn, in a random order, and pairs of them.
            for name in rng.sample(names, len(names)):
                if done >= count:
                    break
                chosen = [name]
                if rng.random() < 0.2 and done + 1 < count:
                    other = rng.choice(names)
                    # Two of the same part would undo each other, or wait for each other.
                    if part_of(other) != part_of(name):
                        chosen.append(other)
                took = await break_once(world, records, rng, chosen)
                recovery.append(READY_WITHIN if took is None else took)
                injected.update(chosen)
                done += len(chosen)
                await clients.check_all()
                # Long enough, at times, for what holds while nothing is broken.
                await asyncio.sleep(rng.choice((0.1, 0.3, 2.5)))
                records.fault = None
                if broken := [task for task in tasks if task.done()]:
                    broken[0].result()
                    raise RuntimeError("a client ended")
                memory[0] = memory[0] or max(node.memory() for node in world.nodes)
        clients.is_over = True
        await asyncio.gather(*tasks)
        memory[1] = max(node.memory() for node in world.nodes)
        await clients.check_all()
        await clients.http.aclose()
        await asyncio.sleep(2)
        try:
            await asyncio.to_thread(world.command, "audit", "verify")
        except RuntimeError as error:
            records.violation(f"the audit trail is not whole: {error}")
        for log in world.logs():
            for line in log.read_text(errors="replace").splitlines():
                if "panicked" in line:
                    records.violation(f"a panic in the log: {line[:300]}")
        return {
            "injected": injected,
            "acknowledged": records.acknowledged,
            "checked": records.checked,
            "unknown": records.unknown,
            "violations": records.violations,
            "recovery": sorted(recovery),
            "slowest": records.slowest_answer,
            "stalest": records.stalest,
            "memory": memory,
            "left_out": sorted(set(name for name, (where, _) in FAULTS.items() if where in ("both", footprint)) - set(names)),
        }
    finally:
        if os.environ.get("KEEP_LOGS"):
            for log in world.logs():
                (Path(tempfile.gettempdir()) / f"faults-{footprint}-{log.name}").write_bytes(log.read_bytes())
        await world.close()


def added(sum_: dict | None, part: dict) -> dict:
    """What was seen in two parts of a run."""
    if sum_ is None:
        return part
    return {
        **{name: sum_[name] + part[name] for name in ("injected", "acknowledged", "checked", "unknown", "violations")},
        "recovery": sorted(sum_["recovery"] + part["recovery"]),
        **{name: max(sum_[name], part[name]) for name in ("slowest", "stalest")},
        "memory": max(sum_["memory"], part["memory"], key=lambda memory: memory[1]),
        "left_out": part["left_out"],
    }


def table(title: str, rows: dict) -> list[str]:
    return [f"| {title} | |", "|---|---|", *(f"| {name} | {value:,} |" for name, value in sorted(rows.items())), ""]


def report(results: dict[str, dict], seed: int) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    total = sum(sum(result["injected"].values()) for result in results.values())
    wrong = sum(len(result["violations"]) for result in results.values())
    lines = [
        "# Fault report",
        "",
        f"`make faults` at commit {commit}, {datetime.now(timezone.utc):%Y-%m-%d}, seed {seed}, {os.cpu_count()} cores: "
        f"**{total:,} faults, {wrong} violations**.",
        "",
        f"Each {PART} faults have an installation of their own. Six clients sign in, refresh (also twice at once), sign out, change and",
        "reset passwords, while an administrator changes roles and deactivates accounts; three more present what is over. They remember",
        "what was acknowledged. A violation is: something that was ended is accepted again; a live session is refused; one refresh token",
        "has two successors; one reset link works twice; an answer is a 5xx other than 503; an answer is 503 while nothing is broken;",
        "the service is not ready again 30 s after a fault; the audit trail is not whole at the end; a panic.",
        "",
    ]
    for footprint, result in results.items():
        recovery = result["recovery"]
        lines += [
            f"## {footprint.capitalize()}",
            "",
            f"Ready again after {recovery[len(recovery) // 2]:.2f} s (median), {recovery[-1]:.2f} s at most. Slowest answer "
            f"{result['slowest']:.1f} s. {result['unknown']:,} requests without an answer or with 503. The longest that another node "
            f"accepted what was over: {result['stalest']:.2f} s. Memory of a node {result['memory'][0] / 2**20:.0f} MiB at the beginning, "
            f"{result['memory'][1] / 2**20:.0f} MiB at the end.",
            "",
            *table("Fault", result["injected"]),
            *table("Acknowledged", result["acknowledged"]),
            *table("Checked", result["checked"]),
        ]
        lines += [f"Not possible on this machine: {', '.join(result['left_out'])}.", ""] if result["left_out"] else []
        lines += [f"- VIOLATION {text}" for text in result["violations"]]
    lines += [
        "## Not tried here",
        "",
        "Loss of power (what was written and not yet on disk is lost), a failover of PostgreSQL to a standby and of Redis by",
        "Sentinel (`make acceptance` has the first), a partition between nodes that both reach the database, rate limits and mail under",
        "faults, differences of time between registered and other addresses.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--faults", type=int, default=500, help="on each footprint")
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments.add_argument("--footprint", choices=("embedded", "production"))
    arguments.add_argument("--report", type=Path)
    arguments.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = arguments.parse_args()
    print(f"seed {given.seed}", flush=True)
    results: dict[str, dict] = {}
    for footprint in [given.footprint] if given.footprint else ["embedded", "production"]:
        for begin in range(0, given.faults, PART):
            count = min(PART, given.faults - begin)
            part = asyncio.run(run(footprint, str(Path(given.binary).resolve()), count, f"{given.seed} {begin}"))
            result = results[footprint] = added(results.get(footprint), part)
            print(f"{footprint}: {sum(result['injected'].values())} faults, {sum(result['acknowledged'].values())} acts, "
                  f"{len(result['violations'])} violations", flush=True)  # fmt: skip
            text = report(results, given.seed)
            if given.report:
                given.report.write_text(text)
    print(json.dumps(results) if given.json else text)
    sys.exit(any(result["violations"] for result in results.values()))


if __name__ == "__main__":
    main()
