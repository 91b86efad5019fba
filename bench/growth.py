"""What an installation costs as it grows: fills an installation of each footprint, measures it through its HTTP API and its command
line, and writes bench/GROWTH.md. `make growth` builds what is measured and calls this."""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sqlite3
import statistics
import subprocess
import time
import urllib.parse
import urllib.request
from datetime import date
from pathlib import Path

from run import HERE, PASSWORD, RELEASE, ROOT, Bench, memory_mb, opened, post, say

SEED = 29875
SAMPLES = 60
FIRST = ["Omar", "Lina", "Noura", "Saad", "Hessa", "Fahad", "Reem", "Ada", "Grace", "Tim", "Zoé", "Jürgen", "عمر", "لينا", "نورة", "سعد", "حصة",
         "فهد", "ريم", "عبدالله", "فاطمة", "محمد"]
LAST = ["Haddad", "Khalil", "Qahtani", "Otaibi", "Lovelace", "Hopper", "Müller", "Berners", "الحداد", "خليل", "القحطاني", "العتيبي", "الشمري",
        "الغامدي", "الزهراني"]


def milliseconds(work) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e3


def percentiles(works) -> str:
    """p50 / p95 of the times of `works`, in milliseconds."""
    times = sorted(milliseconds(work) for work in works)
    return f"{statistics.median(times):.1f} / {times[int(len(times) * 0.95)]:.1f}"


def value(database: str, sql: str) -> str:
    """The one value of a query."""
    if database.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(database.removeprefix("sqlite://"))) as connection:
            return str(connection.execute(sql).fetchone()[0])
    done = subprocess.run(["psql", "-qAtX", "-d", database, "-c", sql], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.strip()


def columns(database: str) -> list[str]:
    """What a copied audit row takes over from the row that is copied."""
    own = {"id", "seq", "nonce", "subject_id"}
    names = "select group_concat(name) from pragma_table_info('audit')"
    if not database.startswith("sqlite"):
        names = "select string_agg(column_name, ',') from information_schema.columns where table_name = 'audit' and table_schema = 'public'"
    return [name for name in value(database, names).split(",") if name not in own]


def execute(database: str, sql: str) -> None:
    if database.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(database.removeprefix("sqlite://"))) as connection:
            connection.execute(sql)
            connection.commit()
    else:
        subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql], check=True, cwd="/")


def write_users(path: Path, count: int, password_hash: str, chance: random.Random) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            user = {"email": f"user{number}@ministry{number % 40}.example", "full_name": f"{chance.choice(FIRST)} {chance.choice(LAST)}",
                    "role": "user", "is_active": True, "email_verified": True, "locale": "ar" if number % 2 else "en",
                    "password_hash": password_hash}
            file.write(json.dumps(user, ensure_ascii=False) + "\n")


def fill_audit(database: str, count: int, users: int) -> None:
    """Copies of one row, each of another user, before the chain's begin: what is measured reads them like any others. They cannot be
    verified; that is measured on real ones."""
    taken = ", ".join(columns(database))
    if database.startswith("sqlite"):
        numbers = f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})"
    else:
        numbers = f"with n(i) as (select generate_series(1, {count}))"
    execute(database, f"insert into audit (seq, subject_id, {taken}) {numbers} select -i, i % {users} + 1, {taken} "
                      "from n, (select * from audit where seq is not null order by id limit 1) as one")


class Growth(Bench):
    def size_mb(self, database: str) -> float:
        if database.startswith("sqlite"):
            return sum(file.stat().st_size for file in Path(database.removeprefix("sqlite://")).parent.glob("auth.db*")) / 1e6
        return int(value(database, "select pg_database_size(current_database())")) / 1e6

    def measure(self, footprint: str, users: int, audit: int) -> list[str]:
        """The cells of one column."""
        chance = random.Random(SEED)
        settings = {"JOSOOR_AUTH__PASSWORD__BCRYPT_COST": 4, "JOSOOR_AUTH__LOG__LEVEL": "warn", "PUBLIC_URL": "http://localhost:8000"}
        url, pid, _ = self.server(footprint, **settings)
        database = self.databases[url]
        password_hash = self.hash_of(url, database)
        env = self.environment(pid)

        def command(*arguments: str, stdin: str = "") -> float:
            begun = time.monotonic()
            done = subprocess.run([RELEASE / "josoor-auth", *arguments], env=env, cwd=self.directory, capture_output=True, text=True, input=stdin)
            if done.returncode != 0:
                raise AssertionError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
            return time.monotonic() - begun

        file = self.directory / f"users-{users}.ndjson"
        if not file.exists():
            write_users(file, users, password_hash, chance)
        # The import leaves an audit row for each user, which the server seals. What follows is measured without that; of many, sealing
        # takes minutes, and the trail consists of copies then.
        is_sealed = not audit
        if not is_sealed:
            self.stop(pid)
        begun = time.monotonic()
        imported = command("user", "import", str(file))
        if is_sealed:
            while value(database, "select count(*) from audit where seq is null") != "0":
                time.sleep(0.2)
        else:
            execute(database, "delete from audit where seq is null")
        sealed = f"{users / (time.monotonic() - begun):,.0f}" if is_sealed else "–"
        command("user", "create", "root@example.com", "--role", "admin", "--password-stdin", stdin=PASSWORD + "\n")
        if audit:
            fill_audit(database, audit, users)
        if footprint == "production":
            execute(database, "vacuum analyze")
        size = self.size_mb(database)
        if is_sealed:
            self.stop(pid)
        url, pid, start = self.server(footprint, **settings | {"DATABASE_URL": database, **self.kept(env)})
        token = post(f"{url}/auth/login", {"email": "root@example.com", "password": PASSWORD})[0]["access_token"]
        headers = {"authorization": f"Bearer {token}"}

        def ask(path: str, **query):
            request = urllib.request.Request(f"{url}{path}?{urllib.parse.urlencode(query)}", headers=headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)

        def sign_in(number: int):
            post(f"{url}/auth/login", {"email": f"user{number}@ministry{number % 40}.example", "password": PASSWORD})

        someone = [chance.randrange(users) for _ in range(SAMPLES)]
        names = [f"{chance.choice(FIRST)} {chance.choice(LAST)}" for _ in range(SAMPLES)]
        cells = [
            f"{imported:,.0f} s",
            sealed,
            f"{size:,.0f} MB",
            f"{start:.2f} s",
            percentiles([lambda n=n: sign_in(n) for n in someone]),
            percentiles([lambda n=n: ask("/admin/users", q=f"user{n}@") for n in someone]),
            percentiles([lambda name=name: ask("/admin/users", q=name) for name in names]),
            percentiles([lambda: ask("/admin/users", q="ministry1.example")] * 20),
            percentiles([lambda n=n: ask("/admin/users", sort="full_name", after=str(n + 1)) for n in someone]),
            percentiles([lambda: ask("/admin/users", page=users // 20)] * 20),
            percentiles([lambda: ask("/admin/stats", days=30)] * 20),
            percentiles([lambda n=n: ask("/admin/audit", user_id=n + 1) for n in someone]),
            percentiles([lambda: ask("/admin/audit", action="password_change")] * 20),
            f"{memory_mb(pid):.0f} MB",
        ]
        backup = self.directory / "backup"
        took = command("backup", str(backup))
        cells.append(f"{took:,.1f} s, {backup.stat().st_size / 1e6:,.0f} MB")
        backup.unlink()
        self.stop(pid)
        self.drop(database)
        return cells

    def hash_of(self, url: str, database: str) -> str:
        """A hash of the password that all of them have."""
        post(f"{url}/auth/register", {"email": "first@example.com", "password": PASSWORD})
        return value(database, "select password_hash from users where email = 'first@example.com'")

    def environment(self, pid: int) -> dict[str, str]:
        entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)

    def kept(self, env: dict[str, str]) -> dict[str, str]:
        """What two starts on one database share."""
        return {name: env[name] for name in ("JOSOOR_AUTH__REDIS__PREFIX",) if name in env}

    def drop(self, database: str) -> None:
        if database.startswith("sqlite"):
            for file in Path(database.removeprefix("sqlite://")).parent.glob("auth.db*"):
                file.unlink()
        else:
            subprocess.run(["psql", "-q", "-d", database.rsplit("/", 1)[0] + "/postgres", "-c", f"drop database {database.rsplit('/', 1)[1]} with (force)"],
                           check=True, cwd="/")


ROWS = [
    "Import by `user import`", "Audit rows sealed a second, until its end", "Database", "Start until ready", "Sign-in at bcrypt cost 4", "Search: an address", "Search: first and last name",
    "Search: one of 40 domains", "List by name, after a user", "List: the last page by its number", "Statistics of 30 days",
    "Audit: one user's rows", "Audit: rows of an action", "Memory after this", "Backup",
]


def report(found: dict[tuple[str, int], list[str]], audit: dict[int, int]) -> str:
    heads = [f"{footprint}, {users:,}" for footprint, users in found]
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    lines = [
        "# Growth report", "",
        f"Made by `make growth` on {date.today()} at commit {commit}, seed {SEED}. PostgreSQL and Redis run on the same two cores, without tuning "
        "but `vacuum analyze`. Times are p50 / p95 in milliseconds of one client; an audit trail of "
        + ", ".join(f"{rows:,} rows with {users:,} users" for users, rows in audit.items() if rows) + ".", "",
        f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}",
        *(f"| {name} | {' | '.join(cells[number] for cells in found.values())} |" for number, name in enumerate(ROWS)), "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--audit", type=int, default=10_000_000, help="rows of the audit trail beside the most users")
    arguments = parser.parse_args()
    audit = {users: arguments.audit if users == max(arguments.users) else 0 for users in arguments.users}
    found = {}
    with opened(Growth) as bench:
        for users in arguments.users:
            for footprint in ("embedded", "production"):
                say(f"{footprint}, {users:,} users, {audit[users]:,} audit rows")
                with bench.processes_of_its_own():
                    cells = bench.measure(footprint, users, audit[users])
                found[footprint, users] = cells
                for name, cell in zip(ROWS, cells, strict=True):
                    say(f"  {name}: {cell}")
                (HERE / "GROWTH.md").write_text(report(found, audit))


if __name__ == "__main__":
    main()
