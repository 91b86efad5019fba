"""The OpenAPI document against the server: schemathesis with all its checks, on both footprints.

What differs from "all checks, default configuration", and why:

* `positive_data_acceptance` admits 400 and 422 for registrations, invitations and one-time tokens, and `unsupported_method` is off for the endpoint that
  answers every method: see schemathesis.toml.
* `missing_required_header` has 401 for a missing `Authorization` built in. Our default is 403, which the platform's
  tests expect; the server under test therefore runs with `auth.missing_token_status = 401`. The default is held by
  test_document.py and test_naughty.py.
* The operations that can end the session that they are called with have a run of their own, which signs in again
  whenever it meets a 401. In the main run a fixed token has to work from the first request to the last.

Environment: SCHEMATHESIS_EXAMPLES (40) test cases per operation and phase, SCHEMATHESIS_SEED (random).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import run_and_judge
from footprint import FOOTPRINTS, Server, bearer

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "40")
SEED = os.environ.get("SCHEMATHESIS_SEED") or str(random.randrange(10**9))
# Far above what a run takes; schemathesis itself has no limit that ends a run without extending shorter ones.
SECONDS = 420

ENDS_SESSIONS = {
    "POST /auth/logout",
    "DELETE /auth/me",
    "DELETE /auth/sessions",
    "DELETE /auth/sessions/{id}",
    "POST /auth/password/change",
    "POST /auth/activity/report",
    "POST /admin/users/bulk",
    "PATCH /admin/users/{id}",
    "DELETE /admin/users/{id}",
    "DELETE /admin/users/{id}/sessions",
}
# Wants the password of the account as well, which no generated body has, or an account without one: 401 or 403 every time, as if the
# token were bad.
WANT_PASSWORDS = {
    "POST /auth/email/change",
    "POST /auth/factors/totp",
    "POST /auth/login",
    "POST /auth/passkeys/options",
    "POST /auth/step-up",
    "POST /auth/step-up/code",
}
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.fixture(scope="module", params=FOOTPRINTS)
def server(request: pytest.FixtureRequest, start_server):
    """A server of its own: see the second difference above. The name is what conftest.py prints the log of."""
    yield from run_and_judge(start_server, request.param, JOSOOR_AUTH__AUTH__MISSING_TOKEN_STATUS="401")


@pytest.fixture(scope="module")
def document(server: Server) -> dict:
    return document_of(server)


def document_of(server: Server) -> dict:
    answer = server.client.get("/openapi.json")
    assert answer.status_code == 200, answer.text
    assert answer.json()["openapi"].startswith("3.1")
    return answer.json()


def operations(document: dict) -> set[str]:
    return {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item
        if method in METHODS
    }


def bearer_scheme(document: dict) -> str:
    """The name that the document gives to the access token; the configuration refers to it."""
    schemes = document["components"]["securitySchemes"]
    found = [name for name, s in schemes.items() if s["type"] == "http" and s["scheme"].lower() == "bearer"]
    assert len(found) == 1, f"one bearer scheme expected: {schemes}"
    return found[0]


def run_schemathesis(server: Server, name: str, sign_in: str, env: dict[str, str], *options: str) -> str:
    place = server.directory / f"schemathesis-{name}"
    place.mkdir(exist_ok=True)
    config = place / "schemathesis.toml"
    config.write_text((HERE / "schemathesis.toml").read_text() + "\n" + sign_in)
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    # All checks are on by default; `--checks all` would also turn on those that the configuration turns off.
    # One worker: CPython 3.11 counts the depth of its parser once for all threads, and hypothesis parses its own lambdas
    # ("AST constructor recursion depth mismatch").
    command = [
        program, "--config-file", str(config), "run", f"{server.url}/openapi.json",
        "--max-examples", EXAMPLES, "--seed", SEED, "--workers", "1", "--request-timeout", "30", "--continue-on-failure",
        "--no-color", *options,
    ]  # fmt: skip
    print(f"seed {SEED}, {EXAMPLES} examples: {' '.join(command)}")
    # Tokens go in by the environment: arguments are visible to every user of the machine.
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "LANG": "C.UTF-8", **env}
    try:
        done = subprocess.run(
            command, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout
        pytest.fail(f"schemathesis did not end in {SECONDS} s (seed {SEED}):\n{(output or '')[-6000:]}", pytrace=False)
    if done.returncode != 0:
        pytest.fail(f"schemathesis, seed {SEED}, exit {done.returncode}:\n{done.stdout[-20_000:]}", pytrace=False)
    print(done.stdout[-1500:])
    return done.stdout


def test_the_document_names_what_the_main_run_leaves_out(document: dict):
    """A path that was renamed must not slip back into the run where it would end the session."""
    assert ENDS_SESSIONS <= operations(document), f"not in the document: {ENDS_SESSIONS - operations(document)}"


def test_all_operations_as_an_administrator(server: Server, document: dict):
    token = server.admin_token()
    sign_in = f'[warnings]\nfail-on = ["missing_auth"]\n\n[auth.openapi.{bearer_scheme(document)}]\nbearer = "${{TOKEN}}"\n'
    excluded = [option for name in sorted(ENDS_SESSIONS | WANT_PASSWORDS) for option in ("--exclude-name", name)]
    run_schemathesis(server, "main", sign_in, {"TOKEN": token}, *excluded)
    # Otherwise most of the run met nothing but 401.
    answer = server.client.get("/admin/users", headers=bearer(token))
    assert answer.status_code == 200, f"the run lost its own session: {answer.text}"


def test_all_operations_without_knowing_how_to_sign_in(server: Server):
    """Schemathesis finds registration and sign-in in the document by itself, so these have to be distinguishable there."""
    output = run_schemathesis(server, "stranger", "", {}, "--max-examples", "10")
    assert "signed up via POST /auth/register" in " ".join(output.split()), output[-3000:]


@pytest.fixture(params=FOOTPRINTS)
def server_of_one_admin(request: pytest.FixtureRequest, start_server):
    """No other user has a password here, so the guard of the last administrator keeps the one who signs in, whatever the run does."""
    yield from run_and_judge(start_server, request.param, JOSOOR_AUTH__AUTH__MISSING_TOKEN_STATUS="401")


def test_operations_that_end_sessions(server_of_one_admin: Server):
    server = server_of_one_admin
    document = document_of(server)
    sign_in = f"""[auth.dynamic.openapi.{bearer_scheme(document)}]
path = "/auth/login"
payload = {{ email = "{server.admin_email}", password = "${{PASSWORD}}" }}
extract_selector = "/access_token"
retry_on = [401]
"""
    included = [option for name in sorted((ENDS_SESSIONS | WANT_PASSWORDS) & operations(document)) for option in ("--include-name", name)]
    run_schemathesis(server, "ends-sessions", sign_in, {"PASSWORD": server.admin_password}, *included)
