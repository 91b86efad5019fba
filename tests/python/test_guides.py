"""The commands of README and the guides do what the documents show, each document on a fresh service."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from conftest import REPOSITORY
from footprint import Process, Redis, Server, free_port, is_listening

DOCUMENTS = [REPOSITORY / "README.md", *sorted(p for part in ("start", "guides", "run") for p in (REPOSITORY / "docs" / part).glob("*.md"))]
PASSWORD = "a sentence is easy to remember"
# On the line before a block: why its commands are not run, or the file that its text is. On the first line: what the document needs.
SKIPPED = re.compile(r"<!-- not run: (.+) -->")
FILE = re.compile(r"<!-- file: ([\w.-]+) -->")
NEEDS = re.compile(r"<!-- needs: (\w+) -->")

# A line that stands for a file, beside the document, as mdBook has it.
INCLUDED = re.compile(r"\{\{#include ([\w./-]+)\}\}")

# Parts of the output that differ from run to run, and what stands for them in the comparison.
VOLATILE = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"curl/[\d.]+", "curl"),
]


class Block:
    """A fenced block: its language, its lines, and the comment on the line before it."""

    def __init__(self, language: str, comment: str, start: int):
        self.language, self.comment, self.start = language, comment, start
        self.lines: list[str] = []

    def commands(self) -> list[tuple[str, list[str]]]:
        """Commands with the output that the document shows; a `sh` block is one command without output."""
        if self.language == "sh":
            return [("set -e\n" + "\n".join(self.lines), [])]
        found: list[tuple[str, list[str]]] = []
        continues = False
        for line in self.lines:
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif continues:
                found[-1] = (f"{found[-1][0]}\n{line}", [])
            else:
                found[-1][1].append(line)
                continue
            continues = line.endswith("\\")
        return found


def blocks(document: Path) -> list[Block]:
    found: list[Block] = []
    is_inside, before = False, ""
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if line.startswith("```"):
            if not is_inside:
                found.append(Block(line[3:].strip(), before, number))
            is_inside = not is_inside
        elif is_inside and (included := INCLUDED.fullmatch(line)):
            found[-1].lines += (document.parent / included[1]).read_text().splitlines()
        elif is_inside:
            found[-1].lines.append(line)
        before = line
    assert not is_inside, f"{document}: a block without end"
    return found


def runs(document: Path) -> list[Block]:
    return [b for b in blocks(document) if b.language in ("console", "sh") and not SKIPPED.fullmatch(b.comment)]


def steady(text: str) -> str:
    for pattern, name in VOLATILE:
        text = re.sub(pattern, name, text)
    return text.strip()


def matches(shown: list[str], output: str) -> bool:
    """Whether the output is the shown one; `…` stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in steady("\n".join(shown)).split("…"))
    return re.fullmatch(pattern, steady(output), re.DOTALL) is not None


def substitute(text: str, names: dict[str, str]) -> str:
    """All at once: what is put in is not replaced again, and a port is no part of another number."""
    patterns = [rf"(?<!\d){old}(?!\d)" if old.isdigit() else re.escape(old) for old in sorted(names, key=len, reverse=True)]
    return re.sub("|".join(patterns), lambda found: names[found[0]], text) if names else text


def run_script(script: str, place: Path, environment: dict[str, str]) -> str:
    """What the script says; what it started in the background ends with it."""
    shell = subprocess.Popen(
        ["bash", "-c", script], cwd=place, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    with shell:
        try:
            return shell.communicate(timeout=120)[0]
        finally:
            # The process group has nothing but what this script started.
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if runs(d)], ids=lambda d: str(d.relative_to(REPOSITORY)))
def test_commands_do_what_the_document_shows(document: Path, binary: str, directory: Path, request: pytest.FixtureRequest):
    place = directory / f"guide-{secrets.token_hex(4)}"
    place.mkdir(mode=0o700)
    (place / "bin").mkdir()
    (place / "bin" / "josoor-auth").symlink_to(binary)
    needs = NEEDS.match(document.read_text())
    environment = {
        "HOME": str(place),
        "JOSOOR_AUTH__PASSWORD__BCRYPT_COST": "4",
        "JOSOOR_AUTH__LOG__FORMAT": "json",
        "REPOSITORY": str(REPOSITORY),
    }
    python = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target") / "python" / "bin"
    ports = {str(number): str(free_port()) for number in (8000, 8001, 9000)}
    with ExitStack() as stack:
        if needs and needs[1] == "postgres_redis":
            redis = Redis(place)
            stack.callback(redis.stop)
            names = {
                "postgres://josoor@127.0.0.1/josoor": request.getfixturevalue("postgres").new_database(),
                "REDIS_URL=redis://127.0.0.1": f"REDIS_URL={redis.url}",
                "redis-cli": f"redis-cli -p {redis.port}",
            }
        else:
            server = Server(binary, "sqlite", place, settings=environment, has_administrator=False)
            stack.callback(server.stop)
            environment |= server.env
            ports["8000"] = str(server.port)
            names = {"data/josoor-auth.db": "josoor-auth.db"}
        # What `npm install` would put there.
        (place / "node_modules").symlink_to(REPOSITORY / "node_modules")
        environment["PATH"] = f"{place}/bin:{python}:{os.environ.get('PATH', '/usr/bin:/bin')}"
        names |= ports
        mark = secrets.token_hex(8)
        steps, script = [], ["exec 2>&1"]
        for block in blocks(document):
            if file := FILE.fullmatch(block.comment):
                (place / file[1]).write_text(substitute("\n".join(block.lines) + "\n", names))
        for block in runs(document):
            for command, shown in block.commands():
                steps.append((block, command, shown))
                command = f"( {command}\n)" if block.language == "sh" else command
                script.append(f"{substitute(command, names)}\nprintf '\\n{mark} %s\\n' $?")
        output = run_script("\n".join(script), place, environment)

    parts = re.split(rf"\n?{mark} (\d+)\n", output)
    faults = []
    for number, (block, command, shown) in enumerate(steps):
        said, status = (parts[2 * number : 2 * number + 2] + ["", ""])[:2]
        for name, used in ports.items():
            said = re.sub(rf"\b{used}\b", name, said)
        if (block.language == "sh" and status != "0") or (block.language == "console" and not matches(shown, said)):
            wanted = "\n".join(shown)
            faults.append(f"line {block.start}: {command}\n--- shown\n{wanted}\n--- output (status {status})\n{said}")
    assert not faults, f"{document.relative_to(REPOSITORY)}\n" + "\n\n".join(faults)


def file_of(guide: str, name: str) -> str:
    """The text of a file that a guide shows."""
    found = [block for block in blocks(REPOSITORY / "docs" / "guides" / guide) if block.comment == f"<!-- file: {name} -->"]
    return "\n".join(found[0].lines) + "\n"


class FastApi:
    """The application of the FastAPI guide beside a server of its own, on a machine whose clock is wrong by so many seconds."""

    def __init__(self, server: Server, place: Path, clock: int = 0):
        place.mkdir(mode=0o700)
        (place / "main.py").write_text(file_of("fastapi.md", "main.py"))
        environment = {"PATH": os.environ["PATH"], "JOSOOR_AUTH_URL": server.public_url, "JWT_SECRET": server.jwt_secret}
        if clock:
            libraries = [p for part in ("*/faketime", "faketime") for p in Path("/usr/lib").glob(f"{part}/libfaketimeMT.so.1")]
            environment |= {"LD_PRELOAD": str(libraries[0]), "FAKETIME": f"{clock:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "main:app", "--port", port]
        self.process = Process(command, place / "log", env=environment, cwd=place)
        self.url = f"http://127.0.0.1:{port}"
        self.process.wait_until("the application listens", lambda: is_listening(port))

    def hello(self, token: str) -> int:
        return httpx.get(f"{self.url}/api/hello", headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False).status_code


@pytest.mark.parametrize(("clock", "status"), [(-5, 200), (-50, 200), (-300, 401)])
def test_d22_the_fastapi_guide_takes_fresh_tokens_where_clocks_differ(start_server, directory: Path, clock: int, status: int):
    server = start_server("sqlite")
    application = FastApi(server, directory / f"fastapi-{-clock}", clock)
    token = server.register("sara@example.com", PASSWORD)["access_token"]
    assert application.hello(token) == status
    application.process.stop()
    assert server.stop_and_judge() == []


def test_trials_a7_the_fastapi_guide_answers_503_while_the_service_does_not(start_server, directory: Path):
    server = start_server("sqlite")
    application = FastApi(server, directory / "fastapi-away")
    token = server.register("sara@example.com", PASSWORD)["access_token"]
    assert application.hello(token) == 200
    # Frozen: it takes the connection and says nothing.
    server.process.signal(signal.SIGSTOP)
    assert application.hello(token) == 503
    server.process.signal(signal.SIGCONT)
    server.process.wait_until("it answers again", lambda: application.hello(token) == 200)
    assert server.stop_and_judge() == []
    assert application.hello(token) == 503
    application.process.stop()


def test_trials_a8_the_express_guide_gives_the_right_address_and_waits_for_no_hung_service(start_server, directory: Path):
    server = start_server("sqlite")
    place = directory / "express"
    place.mkdir(mode=0o700)
    port = free_port()
    for name in ("auth.mjs", "app.mjs"):
        (place / name).write_text(substitute(file_of("express.md", name), {"9000": str(port)}))
    (place / "node_modules").symlink_to(REPOSITORY / "node_modules")
    environment = {"PATH": os.environ["PATH"], "JOSOOR_AUTH_URL": server.url}
    process = Process(["node", "app.mjs"], place / "log", env=environment, cwd=place)
    process.wait_until("the application listens", lambda: is_listening(port))

    def ask(path: str, token: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)

    # What looks encoded is not, and what is not ASCII comes back whole.
    for email in ("a%40b@example.com", "sara+news@example.com", "منى@example.com"):
        answer = ask("/hello", server.register(email, PASSWORD)["access_token"])
        assert answer.json()["email"] == email and answer.json()["role"] == "user", answer.text
    token = server.log_in("a%40b@example.com", PASSWORD)["access_token"]
    for path, bearer, status, code in [
        ("/reports", token, 403, "insufficient_role"),
        ("/hello", f"{token}x", 401, "token_invalid"),
    ]:
        answer = ask(path, bearer)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
    server.process.signal(signal.SIGSTOP)
    answer = ask("/hello", token)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable") and answer.elapsed.total_seconds() < 15
    server.process.signal(signal.SIGCONT)
    server.process.wait_until("it answers again", lambda: ask("/hello", token).status_code == 200)
    process.stop()
    assert server.stop_and_judge() == []


def test_commands_of_make_exist():
    """`make` builds for minutes, so its commands are not run here; they must be there."""
    makefile = (REPOSITORY / "Makefile").read_text()
    for document in (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")):
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{document}: there is no `make {target}`"


def anchors(document: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mdBook make them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere():
    faults = []
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "bench").glob("*.md")]
    for page in pages + [p / "README.md" for part in ("crates", "packages", "examples") for p in (REPOSITORY / part).iterdir() if p.is_dir()]:
        if not page.exists():
            continue
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"(?:\]\(|src=\"|href=\")([^)\s\"]+)", text):
            if link.startswith(("http://", "https://", "mailto:")):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            if not target.exists():
                faults.append(f"{page.relative_to(REPOSITORY)}: {link}: there is no such file")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                faults.append(f"{page.relative_to(REPOSITORY)}: {link}: there is no such heading")
    assert not faults, "\n".join(faults)


def test_every_page_is_in_the_summary():
    docs = REPOSITORY / "docs"
    listed = re.findall(r"\]\(([\w./-]+\.md)\)", (docs / "SUMMARY.md").read_text())
    assert len(listed) == len(set(listed)), "a page stands twice in docs/SUMMARY.md"
    there = {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"SUMMARY.md"}
    assert set(listed) == there


def test_the_architecture_names_every_module():
    text = (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text()
    source = REPOSITORY / "crates" / "josoor-auth" / "src"
    modules = [f"{path.name}/" if path.is_dir() else path.name for path in source.iterdir()]
    # A module of one file and its tests, or of a file and a folder, is named once.
    missing = [module for module in modules if module != "lib.rs" and module.removesuffix(".rs").removesuffix("/") not in re.findall(r"[\w]+", text)]
    assert not missing, f"docs/ARCHITECTURE.md lacks {missing}"
    named = re.findall(r"src/(\w+)/ ", text)
    assert all((source / module).is_dir() or (source / f"{module}.rs").exists() for module in named), named


def test_documented_log_messages_are_logged():
    """Operators match messages: each one of the reference is in the sources, `…` aside."""
    sources = [path.read_text() for path in (REPOSITORY / "crates" / "josoor-auth" / "src").rglob("*.rs")]
    text = re.sub(r"\\\n\s*", "", "\n".join(sources))
    page = (REPOSITORY / "docs" / "reference" / "log-codes.md").read_text()
    missing = []
    for row in re.findall(r"^\| (`.+?) \| (?:error|warn|info|debug)", page, re.MULTILINE):
        for message in re.findall(r"`([^`]+)`", row):
            missing += [message for part in message.split("…") if part.strip(" ;,:") not in text]
    assert not missing, f"docs/reference/log-codes.md names messages that the code does not log: {missing}"


@pytest.mark.parametrize("record", sorted((REPOSITORY / "docs" / "adr").glob("*.md")), ids=lambda path: path.stem)
def test_decision_records_have_one_form(record: Path):
    text = record.read_text()
    number = int(record.name[:4])
    assert re.match(rf"# {number}\. .+\n\n(Accepted|Superseded by .+), \d{{4}}-\d\d-\d\d\.", text), "title, then status and date"
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    wanted = ["Context", "Decision", "Consequences"]
    assert [heading for heading in headings if heading in wanted] == wanted, headings


def test_badges_are_true():
    cargo = (REPOSITORY / "Cargo.toml").read_text()
    readme = (REPOSITORY / "README.md").read_text()
    version = re.search(r'rust-version = "([\d.]+)"', cargo)[1]
    assert f"rust-{version}%2B" in readme
    assert re.search(r'license = "Apache-2.0"', cargo) and "licence-Apache--2.0" in readme
    assert len(readme.splitlines()) <= 100
