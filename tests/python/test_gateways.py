"""Every example of deploy/gateways, run by the real program, rejects clients that claim another identity.

Whatever a client sends, the service behind a gateway gets either nothing, or the identity that JOSOOR Auth has answered with."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from footprint import Server, unverified_claims
from gateway import GATEWAYS, Connection, Gateway, start_all

IDENTITY = (
    "X-Auth-User-Id", "X-Auth-User-Uid", "X-Auth-Email", "X-Auth-Email-Verified",
    "X-Auth-Role", "X-Auth-Session-Id", "X-Auth-User-Version", "X-Auth-Acr",
)  # fmt: skip
DEMANDS = ("X-Auth-Require-Role", "X-Auth-Require-Verified", "X-Auth-Require-Acr", "X-Auth-Require-Max-Age")

# What a name may have besides letters, digits and hyphens (RFC 9110, 5.6.2). Servers make `_` of each.
ALIASES = "_.!#$%&'*+^`|~"

FORGED = "forged"


@pytest.fixture(scope="module")
def service(start_server):
    # The gateways connect from 127.0.0.1, the clients from another address.
    server = start_server("sqlite", TRUSTED_PROXIES="127.0.0.1")
    yield server
    faults = server.stop_and_judge()
    if faults:
        pytest.fail("the server misbehaved:\n" + "\n".join(faults), pytrace=False)


@pytest.fixture(scope="module")
def gateways(service: Server, directory):
    place = directory / "gateways"
    place.mkdir()
    upstream, gateways = start_all(place, service)
    yield gateways
    for gateway in gateways.values():
        print(f"{gateway.name}: {gateway.cases} cases")
        gateway.stop()
    upstream.process.stop()


@pytest.fixture(params=GATEWAYS)
def gateway(request: pytest.FixtureRequest, gateways) -> Gateway:
    return gateways[request.param]


@pytest.fixture(scope="module")
def user(service: Server) -> dict:
    return service.register("ordinary%2f@example.com", "a sentence for a gateway")


@pytest.fixture(scope="module")
def identity(user: dict) -> dict[str, str]:
    """What a service is to receive about the user, by the names of WSGI."""
    return {
        "HTTP_X_AUTH_USER_ID": str(user["user"]["id"]),
        "HTTP_X_AUTH_USER_UID": user["user"]["uid"],
        "HTTP_X_AUTH_EMAIL": "ordinary%252f@example.com",
        "HTTP_X_AUTH_EMAIL_VERIFIED": "false",
        "HTTP_X_AUTH_ROLE": "user",
        "HTTP_X_AUTH_SESSION_ID": unverified_claims(user["access_token"])["sid"],
        "HTTP_X_AUTH_USER_VERSION": "1",
        "HTTP_X_AUTH_ACR": "1",
    }


def identity_in(environ: dict[str, str]) -> dict[str, str]:
    """What programs of any kind take for identity headers: every character that is neither letter nor digit is one."""
    folded = ((re.sub(r"[^A-Z0-9]", "_", name.upper()), value) for name, value in environ.items())
    return {name: value for name, value in folded if name.startswith("HTTP_X_AUTH_") and "REQUIRE" not in name}


def bearer(user: dict) -> tuple[str, str]:
    return ("Authorization", f"Bearer {user['access_token']}")


def holds(gateway: Gateway, connection: Connection, identity: dict, path: str, headers: list, method: str = "GET") -> bool:
    """Whether the request got through; it then must have carried the true identity."""
    gateway.cases += 1
    answer = connection.ask(method, path, headers)
    if answer.reached:
        assert identity_in(answer.environ()) == identity, (headers, answer.environ())
        assert FORGED not in answer.body.decode(), (headers, answer.body)
    else:
        assert answer.status >= 300, (headers, answer)
    return answer.reached


def spellings(name: str):
    """The name with every mix of hyphen, underscore and dot, and with each other separator throughout, in three letter cases."""
    parts = name.split("-")
    mixes = {"".join(itertools.chain(*zip(parts, [*mix, ""]))) for mix in itertools.product("-_.", repeat=len(parts) - 1)}
    mixes |= {alias.join(parts) for alias in ALIASES}
    mixes |= {f"{parts[0]}{alias}{'-'.join(parts[1:])}" for alias in ALIASES}
    mixes |= {f"{'-'.join(parts[:-1])}{alias}{parts[-1]}" for alias in ALIASES}
    for mix in sorted(mixes):
        yield from {mix, mix.lower(), mix.upper()}


def test_a5_no_spelling_of_an_identity_header_gets_through(gateway: Gateway, user: dict, identity: dict):
    connection = Connection(gateway.port)
    assert holds(gateway, connection, identity, "/reports/x", [bearer(user)])
    for name in IDENTITY:
        for spelling in spellings(name):
            holds(gateway, connection, identity, "/reports/x", [bearer(user), (spelling, FORGED)])
            holds(gateway, connection, identity, "/reports/x", [(spelling, FORGED), bearer(user), (spelling, FORGED)])


def test_a5_headers_named_in_connection_stay(gateway: Gateway, user: dict, identity: dict):
    connection = Connection(gateway.port)
    for name in (*IDENTITY, "x_auth_role"):
        for value in (name, f"close, {name}", f"keep-alive, {name.lower()}", f"{name.upper()},close", f" ,{name}\t,,"):
            holds(gateway, connection, identity, "/reports/x", [bearer(user), ("Connection", value)])
        lines = [("Connection", "keep-alive"), ("Connection", name), (name, FORGED)]
        holds(gateway, connection, identity, "/reports/x", [bearer(user), *lines])
        holds(gateway, connection, identity, "/reports/x", [bearer(user), ("Upgrade", "x"), ("Connection", f"upgrade, {name}")])


def test_b5_a_client_cannot_change_the_question(gateway: Gateway, user: dict, identity: dict):
    """What the gateway demands, it demands also of who demands less."""
    connection = Connection(gateway.port)
    for path in ("/reports/admin/x", "/reports/admin/?role=user", "/reports/admin/x?role=user&roles=", "/reports/admin/a/b?acr=1"):
        extras = [[]]
        for name in DEMANDS:
            extras += [[(spelling, value)] for spelling in (name, name.lower(), name.replace("-", "_")) for value in ("user", "", "1")]
            extras.append([("Connection", name), (name, "user")])
        for extra in extras:
            gateway.cases += 1
            answer = connection.ask("GET", path, [bearer(user), *extra])
            assert not answer.reached, (path, extra, answer)
            assert answer.status in (400, 403), (path, extra, answer)
    # And what it does not demand, a client cannot have it refuse or allow to another.
    for query in ("role=admin", "roles=x", "q=%zz"):
        assert holds(gateway, connection, identity, f"/reports/x?{query}", [bearer(user)])


ODD_PATHS = (
    "/reports/x", "/reports%2fx", "/reports%2Fx", "/reports%5cx", "/reports\\x", "//reports/x", "/reports//x", "/./reports/x",
    "/reports/./x", "/x/../reports/x", "/reports/../reports/x", "/..//reports/x", "/%2e%2e/reports/x", "/%72eports/x", "/reports;a=b/x",
    "/reports/;a=b/x", "/;/reports/x", "/reports/%00", "/reports/x%00.png", "/REPORTS/x", "/Reports/x", "/reports/x?", "/reports/?x=/../",
    "/reports", "/reports/", "/reports/.", "/reports/..", "/reports/%", "/reports/%zz", "/reports/%c0%af", "/reports/\x7f",
    "http://auth.example.org/reports/x", "http://other.example/reports/x",
)  # fmt: skip

TO_ADMIN = (
    "/reports/admin/x", "/reports/admin", "/reports/admin/", "/reports//admin/x", "/reports/./admin/x", "/reports/x/../admin/x", "/reports/admin%2fx", "/reports%2fadmin/x",
    "/reports/%61dmin/x", "/reports/admin;a/x", "/reports;a/admin/x", "/reports/;/admin/x", "/reports/%2e/admin/x", "/reports/x/%2e%2e/admin/x",
    "/reports/x/..;/admin/x", "/reports\\admin\\x", "/reports/admin\\x", "/reports%5cadmin/x", "/reports/admin/../admin/x", "/reports/admin/.",
    "//reports/admin/x", "/reports/x%2f..%2fadmin/x", "http://auth.example.org/reports/x/../admin/x",
)  # fmt: skip


def as_lenient_servers_read(path: str) -> str:
    """The path after everything that some server does with it before it looks for what to run."""
    path = re.sub(r"^https?://[^/]*", "", path).partition("?")[0]
    for _ in range(2):
        path = re.sub(r"%([0-9a-fA-F]{2})", lambda hexadecimal: chr(int(hexadecimal[1], 16)), path)
    path = re.sub(r";[^/\\]*", "", path).replace("\\", "/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts) + "/"


def test_no_path_leads_past_the_question(gateway: Gateway, user: dict, identity: dict):
    connection = Connection(gateway.port)
    for path in (*ODD_PATHS, *TO_ADMIN):
        for method in ("GET", "POST", "OPTIONS", "HEAD", "PROPFIND"):
            gateway.cases += 1
            answer = connection.ask(method, path, [])
            assert not answer.reached, (method, path, answer)
            answer = connection.ask(method, path, [("Authorization", "Bearer x.y.z"), ("X-Auth-User-Id", "1")])
            assert not answer.reached, (method, path, answer)
        holds(gateway, connection, identity, path, [bearer(user)])
    for path in TO_ADMIN:
        gateway.cases += 1
        answer = connection.ask("GET", path, [bearer(user)])
        if answer.reached:
            read = as_lenient_servers_read(answer.environ()["REQUEST_URI"])
            assert not read.startswith("/reports/admin"), (path, answer.environ())


def test_trials_a9_refusals_are_passed_on_as_problem_documents(gateway: Gateway, user: dict, service: Server):
    connection = Connection(gateway.port)
    refused = [
        ("/reports/x", [], 401, "missing_token"),
        ("/reports/x", [("Authorization", "Bearer x.y.z")], 401, "token_invalid"),
        ("/reports/x", [("Authorization", "Basic eDp5")], 401, None),
        ("/reports/admin/x", [bearer(user)], 403, "insufficient_role"),
        ("/reports/admin/x", [], 401, "missing_token"),
    ]
    for method in ("GET", "POST", "DELETE"):
        for path, headers, status, code in refused:
            gateway.cases += 1
            answer = connection.ask(method, path, headers)
            assert answer.status == status and not answer.reached, (method, path, answer)
            assert (answer.header("content-type") or "").startswith("application/problem+json"), answer
            problem = json.loads(answer.body)
            assert problem["status"] == status and code in (None, problem["code"]), problem
            if status == 401:
                assert answer.header("www-authenticate").startswith("Bearer"), answer
    # An administrator passes, and the service sees that.
    answer = connection.ask("GET", "/reports/admin/x", [("Authorization", f"Bearer {service.admin_token()}")])
    assert answer.reached and identity_in(answer.environ())["HTTP_X_AUTH_ROLE"] == "admin", answer
    gateway.cases += 1


def test_large_bodies_go_to_the_service_behind_and_not_to_the_question(gateway: Gateway, user: dict, identity: dict):
    connection = Connection(gateway.port)
    body = b"x" * 10_000_000
    before = gateway.relay.sent
    answer = connection.ask("POST", "/reports/upload", [bearer(user), ("Content-Type", "application/octet-stream")], body)
    assert answer.reached and answer.environ()["length"] == len(body), answer
    assert identity_in(answer.environ()) == identity
    assert gateway.relay.sent - before < 100_000
    gateway.cases += 1


def test_trials_a9_web_sockets_are_asked_about_like_everything_else(gateway: Gateway, user: dict, identity: dict):
    upgrade = [
        ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]  # fmt: skip
    for headers, status in (([], 401), ([("Authorization", "Bearer x")], 401)):
        gateway.cases += 1
        answer = Connection(gateway.port).ask("GET", "/reports/live", [*headers, *upgrade])
        assert answer.status == status, answer
    for extra in ([], [("X_Auth_Role", FORGED)], [("X-Auth-Role", FORGED)], [("Connection", "X-Auth-Role")]):
        gateway.cases += 1
        connection = Connection(gateway.port)
        answer = connection.ask("GET", "/reports/live", [bearer(user), *upgrade, *extra])
        if extra and answer.status >= 400:
            continue
        if extra == [("Connection", "X-Auth-Role")] and answer.status == 200:
            # Without its change of protocol, an ordinary request.
            assert identity_in(answer.environ()) == identity
            continue
        assert answer.status == 101, (extra, answer)
        assert identity_in(json.loads(connection.read_frame())) == identity, extra
        connection.close()


def test_b2_the_client_address_is_the_one_that_the_gateway_saw(gateway: Gateway, service: Server):
    connection = Connection(gateway.port)
    email = f"{gateway.name}@example.com"
    service.register(email, "a sentence for an address")
    credentials = json.dumps({"email": email, "password": "a sentence for an address"}).encode()
    extras = [
        [], [("Forwarded", "for=1.2.3.4")], [("Forwarded", "garbage")], [("X-Forwarded-For", "1.2.3.4")],
        [("X-Forwarded-For", "garbage"), ("Forwarded", "for=9.9.9.9")], [("X_Forwarded_For", "1.2.3.4")], [("X-Real-IP", "1.2.3.4")],
        [("X-Forwarded-For", "1.2.3.4"), ("Connection", "X-Forwarded-For")], [("Connection", "close, X-Forwarded-For, Forwarded")],
        [("CF-Connecting-IP", "1.2.3.4"), ("True-Client-IP", "1.2.3.4"), ("X-Client-IP", "1.2.3.4")], [("X-Forwarded-For", "127.0.0.1")],
    ]  # fmt: skip
    seen = 0
    for extra in extras:
        gateway.cases += 1
        answer = connection.ask("POST", "/auth/login", [("Content-Type", "application/json"), *extra], credentials)
        assert answer.status in (200, 400), (extra, answer)
        if answer.status != 200:
            continue
        tokens = json.loads(answer.body)
        service.remember(tokens["access_token"]), service.remember(tokens["refresh_token"])
        sessions = service.client.get("/auth/sessions", headers=dict([bearer(tokens)])).json()["items"]
        current = next(session for session in sessions if session["current"])
        assert current["ip"] == Connection.ADDRESS, (extra, current)
        seen += 1
    assert seen >= 6, seen


def test_a_client_begins_no_trace(gateway: Gateway, user: dict, identity: dict):
    """JOSOOR Auth goes by `traceparent` of a trusted proxy, which the gateway is."""
    connection = Connection(gateway.port)
    for names in (("traceparent", "tracestate"), ("Traceparent", "TraceState"), ("TRACEPARENT", "TRACESTATE")):
        trace, vendor = secrets.token_hex(16), f"v{secrets.token_hex(8)}"
        sent = list(zip(names, (f"00-{trace}-{secrets.token_hex(8)}-01", f"{vendor}=1"), strict=True))
        for extra in ([], [("Connection", "Traceparent, Tracestate")]):
            for path in ("/reports/x", "/reports/admin/x", "/auth/me"):
                gateway.cases += 1
                answer = connection.ask("GET", path, [bearer(user), *sent, *extra])
                assert trace not in answer.body.decode() and vendor not in answer.body.decode(), (path, answer)
            assert holds(gateway, connection, identity, "/reports/x", [bearer(user), *sent])
        sent_on = gateway.relay.last.decode("latin-1")
        assert "/auth/me" in sent_on and trace not in sent_on and vendor not in sent_on, sent_on


@pytest.mark.parametrize("kind", ["hung", "away"])
def test_trials_a9_without_an_answer_no_request_passes(gateway: Gateway, user: dict, service: Server, kind: str):
    connection = Connection(gateway.port)
    assert connection.ask("GET", "/reports/x", [bearer(user)]).reached
    if kind == "hung":
        service.process.signal(signal.SIGSTOP)
    else:
        gateway.relay.close()
    try:
        asked = itertools.product(
            ("/reports/x", "/reports/admin/x"), ([bearer(user)], [], [bearer(user), ("X-Auth-User-Id", "1")])
        )

        def ask(path: str, headers: list) -> tuple:
            began = time.monotonic()
            return Connection(gateway.port).ask("GET", path, headers), time.monotonic() - began

        with ThreadPoolExecutor() as pool:
            for answer, took in pool.map(ask, *zip(*asked, strict=True)):
                gateway.cases += 1
                assert not answer.reached and answer.status in (500, 502, 503, 504), answer
                assert took < 3, took
    finally:
        if kind == "hung":
            service.process.signal(signal.SIGCONT)
        else:
            gateway.relay.open()
    end = time.monotonic() + 20
    while not connection.ask("GET", "/reports/x", [bearer(user)]).reached:
        assert time.monotonic() < end, "the gateway does not find its way back"
        time.sleep(0.05)
