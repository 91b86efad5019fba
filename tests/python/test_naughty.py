"""No input whatever gives a 5xx, and every refusal has the shape that clients can rely on.

Thousands of requests on kept-alive connections. A failure names the request; the seed of the generated part is fixed,
so that it comes again.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, quote_from_bytes

import httpx
import pytest
from footprint import Server, assert_problem, bearer
from naughty import JSON_VALUES, STRINGS, generated, raw_bodies

SEED = 20_26
PASSWORD = "kx7-Quarz-" + secrets.token_hex(4)

PASSKEY = {"id": "AAAA", "type": "public-key", "response": {"clientDataJSON": "AAAA", "authenticatorData": "AAAA", "signature": "AAAA"}}

# Method, path, the body that is right but for the field under test, and the fields to put something else into.
BODIES = [
    ("POST", "/auth/register", {"email": "e@x.example", "password": PASSWORD}, ["email", "password", "full_name", "locale", "transport"]),
    ("POST", "/auth/login", {"email": "e@x.example", "password": PASSWORD}, ["email", "password", "transport"]),
    ("POST", "/auth/refresh", {"refresh_token": "a"}, ["refresh_token"]),
    ("POST", "/auth/logout", {"refresh_token": "a"}, ["refresh_token"]),
    ("PATCH", "/auth/me", {}, ["full_name", "locale"]),
    ("POST", "/auth/account/undo", {"token": "not-a-token"}, ["token"]),
    ("POST", "/auth/account/secure", {"token": "not-a-token", "email": "e@x.example"}, ["token", "email"]),
    ("POST", "/auth/login/mfa", {"flow": "not-a-flow", "method": "totp", "code": "123456"}, ["flow", "method", "code", "trust_device"]),
    ("POST", "/auth/login/passkey", {"assertion": PASSKEY}, ["assertion", "transport"]),
    ("POST", "/auth/passkeys/options", {"password": "not-it-" + PASSWORD}, ["password"]),
    ("POST", "/auth/passkeys", {"credential": PASSKEY}, ["credential", "name"]),
    ("POST", "/auth/step-up", {"password": "not-it-" + PASSWORD}, ["password", "code", "assertion"]),
    ("POST", "/auth/factors/totp", {"password": "not-it-" + PASSWORD}, ["password"]),
    ("POST", "/auth/factors/totp/confirm", {"code": "123456"}, ["code"]),
    ("DELETE", "/auth/me", {"password": "not-it-" + PASSWORD}, ["password"]),
    ("PATCH", "/admin/users/{user}", {}, ["full_name", "role", "is_active"]),
    ("POST", "/admin/users/bulk", {"ids": [999_999_999], "change": {"is_active": True}}, ["ids", "change", "include_self"]),
]  # fmt: skip
QUERIES = [
    ("/admin/users", ["q", "role", "is_active", "email_verified", "invited", "sort", "page", "page_size", "after", "unknown"]),
    ("/admin/users/export", ["q", "role", "sort", "format", "bom"]),
    ("/admin/audit", ["user_id", "action", "from", "session_id", "ip", "request_id", "after", "before", "limit"]),
    ("/admin/outbox", ["state", "kind", "page", "page_size", "unknown"]),
    ("/admin/stats", ["days"]),
    ("/auth/sessions", ["page", "page_size"]),
    ("/auth/devices", ["page", "page_size"]),
    ("/login", ["lang", "return_to"]),
    ("/auth/check", ["role"]),
    ("/auth/me", ["unknown"]),
]
PATHS = [
    ("GET", "/admin/users/"), ("PATCH", "/admin/users/"), ("DELETE", "/admin/users/"), ("DELETE", "/auth/sessions/"),
    ("POST", "/admin/outbox/"), ("POST", "/auth/activity/"),
    ("GET", "/auth/check/"), ("GET", "/"), ("GET", "/auth/"), ("GET", "/docs/"), ("GET", "/errors/"),
    ("GET", "/assets/"), ("GET", "/account/"), ("GET", "/console/"),
]  # fmt: skip
HEADERS = [
    "Authorization", "X-Request-Id", "Content-Type", "Accept", "Accept-Language", "Accept-Encoding", "Origin", "Referer",
    "Cookie", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Sec-Fetch-Site",
    "If-None-Match", "Range", "Expect", "X-HTTP-Method-Override", "traceparent",
]  # fmt: skip


def strings() -> list[str]:
    return STRINGS + generated(SEED, 60)


class Sender:
    """Sends requests on two connections and collects what is wrong with the answers instead of stopping at the first."""

    def __init__(self, server: Server):
        self.server = server
        self.faults: list[str] = []
        self.sent = 0
        self.started = time.monotonic()

    def send(self, requests: list[httpx.Request]) -> None:
        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(self.send_one, requests):
                pass

    def send_one(self, request: httpx.Request) -> None:
        self.sent += 1
        name = f"{request.method} {request.url!s:.200} {dict(request.headers)!s:.300} {request.content[:200]!r}"
        try:
            response = self.server.client.send(request)
        except httpx.HTTPError as error:
            self.faults.append(f"{name}: no answer: {error!r}")
            return
        try:
            check_answer(response)
        except Exception as error:
            self.faults.append(f"{name}: {error}")

    def judge(self) -> None:
        seconds = time.monotonic() - self.started
        print(f"{self.sent} requests in {seconds:.1f} s")
        assert not self.faults, f"{len(self.faults)} of {self.sent}:\n" + "\n".join(self.faults[:15])
        assert self.sent > 0
        assert self.server.process.is_running()


def check_answer(response: httpx.Response) -> None:
    assert response.headers.get("x-request-id"), "no X-Request-Id"
    assert response.status_code < 500, response.text[:400]
    if response.request.method == "HEAD":
        assert not response.content
        return
    if response.status_code >= 400:
        assert_problem(response)
        return
    kind = response.headers.get("content-type", "")
    if kind.startswith("application/json"):
        response.json()
    if "access_token" in response.text[:20_000] and kind.startswith("application/json"):
        assert response.headers.get("cache-control") == "no-store"


@pytest.fixture(scope="module")
def victims(server: Server) -> dict:
    """Accounts whose sessions may end during the tests: the user of /auth/me, and the object of /admin/users/{id}."""
    owner = server.register(f"owner-{secrets.token_hex(4)}@example.com", PASSWORD)
    target = server.register(f"target-{secrets.token_hex(4)}@example.com", PASSWORD)
    return {"owner": owner["access_token"], "user": target["user"]["id"], "admin": server.admin_token()}


def target(victims: dict, method: str, path: str) -> tuple[str, dict]:
    is_own = path in ("/auth/me", "/auth/step-up") or path.startswith("/auth/factors")
    token = victims["admin"] if path.startswith("/admin") else victims["owner"] if is_own else None
    return path.format(user=victims["user"]), bearer(token) if token else {}


def with_member(body: dict, field: str, value: str) -> bytes:
    """The body as JSON text, with `value`, which is JSON text already, as one of its members."""
    members = [f"{json.dumps(name)}:{json.dumps(other)}" for name, other in body.items() if name != field]
    return ("{" + ",".join([*members, f"{json.dumps(field)}:{value}"]) + "}").encode()


@pytest.mark.parametrize("body", BODIES, ids=[f"{body[0]} {body[1]}" for body in BODIES])
def test_every_field_of_every_body(server: Server, victims: dict, body: tuple):
    method, path, good, fields = body
    path, headers = target(victims, method, path)
    headers["Content-Type"] = "application/json"
    sender = Sender(server)
    values = [json.dumps(text) for text in strings()] + JSON_VALUES
    # Escaped and as UTF-8 are different roads through a parser.
    values += [json.dumps(text, ensure_ascii=False) for text in STRINGS if not text.isascii()]
    requests = [
        server.client.build_request(method, path, content=with_member(good, field, value), headers=headers)
        for field in fields
        for value in values
    ]
    requests += [
        server.client.build_request(method, path, content=with_member(good, text, "1"), headers=headers)
        for text in ["role", "id", "is_active", "Email", "email ", *STRINGS[:40]]
    ]
    sender.send(requests)
    sender.judge()


@pytest.mark.parametrize("body", BODIES, ids=[f"{body[0]} {body[1]}" for body in BODIES])
def test_every_body_as_a_whole(server: Server, victims: dict, body: tuple):
    method, path, good, _ = body
    path, headers = target(victims, method, path)
    sender = Sender(server)
    requests = [
        server.client.build_request(method, path, content=raw, headers=headers | {"Content-Type": "application/json"})
        for raw in raw_bodies()
    ]
    kinds = [
        "", "application/json; charset=utf-8", "application/json; charset=utf-16", "application/json;", "APPLICATION/JSON",
        "application/problem+json", "application/jsonp", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
        "multipart/form-data; boundary=" + "b" * 2000, "a", "/", ";", "a/b/c", "application/json, text/html", "\xff", "*/*",
    ]  # fmt: skip
    content = json.dumps(good).encode()
    for kind in kinds:
        both = headers | {"Content-Type": kind.encode("latin-1")}
        requests.append(server.client.build_request(method, path, content=content, headers=both))
    requests.append(server.client.build_request(method, path, headers=headers))
    # Says that it is compressed; whether the server accepts that or not, it must not break anything.
    zipped = headers | {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    requests.append(server.client.build_request(method, path, content=content, headers=zipped))
    sender.send(requests)
    sender.judge()


@pytest.mark.parametrize("query", QUERIES, ids=[path for path, _ in QUERIES])
def test_every_query_parameter(server: Server, victims: dict, query: tuple):
    path, parameters = query
    sender = Sender(server)
    token = victims["admin"] if path.startswith("/admin") else victims["owner"]
    encoded = [quote(text[:4000], safe="") for text in strings()]
    # Not percent-encoded by the book, or not UTF-8 behind it.
    encoded += ["%", "%f", "%zz", "%ff", "%c0%af", "%ed%a0%80", "%00", "a%", "+", "a&a=b", "=", "&&&", "a=b=c", "1&page=2", "#"]
    requests = [
        server.client.build_request("GET", f"{path}?{parameter}={value}", headers=bearer(token))
        for parameter in parameters
        for value in encoded
    ]
    requests += [
        server.client.build_request("GET", f"{path}?{value}", headers=bearer(token)) for value in encoded
    ]
    sender.send(requests)
    sender.judge()


@pytest.mark.parametrize("path", PATHS, ids=[f"{method} {path}" for method, path in PATHS])
def test_every_path_segment(server: Server, victims: dict, path: tuple):
    method, prefix = path
    sender = Sender(server)
    # Ids that exist would be changed or deleted, the administrator among them.
    segments = [text for text in strings() if not text.strip().lstrip("+-0").isdecimal() or len(text) > 9]
    encoded = [quote(text[:3000], safe="") for text in segments]
    encoded += [quote_from_bytes(raw) for raw in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x00", b"a\xff")]
    encoded += ["%2f", "%2F..", "..%2f..", "%", "%zz", "a/b/c", "//", "%2e%2e", "99999999999999999999", "0", "-1", "1e3", "999999999"]
    encoded += ["00000000-0000-0000-0000-000000000000", "{id}", ":id", "a;b=c"]
    headers = bearer(victims["admin"] if prefix.startswith("/admin") else victims["owner"])
    requests = [
        server.client.build_request(
            method, prefix + segment, headers=headers, json={"full_name": "x"} if method == "PATCH" else None
        )
        for segment in encoded
    ]
    sender.send(requests)
    sender.judge()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "BREW", "get"])
def test_every_method_everywhere(server: Server, method: str):
    sender = Sender(server)
    paths = [
        "/", "/auth/register", "/auth/login", "/auth/refresh", "/auth/logout", "/auth/me", "/auth/sessions", "/auth/check",
        "/auth/check/a/b", "/auth/sessions/1", "/admin/users", "/admin/users/1", "/admin/users/1/sessions", "/healthz", "/readyz",
        "/openapi.json", "/docs", "/login", "/account", "/console/users", "/admin/stats", "/admin/users/export", "/.well-known/jwks.json", "/nowhere", "/auth", "/auth/", "/auth/me/", "//auth/me", "/AUTH/ME",
    ]  # fmt: skip
    requests = [server.client.build_request(method, path) for path in paths]
    sender.send(requests)
    sender.judge()


def test_every_header(server: Server, victims: dict):
    sender = Sender(server)
    # What HTTP lets through at all; the rest is for the raw sockets below.
    values = [text.encode()[:6000] for text in strings() if not any(c in text for c in "\x00\r\n") and text.strip() == text]
    values = [value for value in values if all(byte >= 0x20 or byte == 9 for byte in value) and 0x7F not in value]
    values += [b"\xff", b"\xc0\xaf", b"caf\xe9", b"a" * 6000]
    requests = []
    for header in HEADERS:
        for value in values if header in ("Authorization", "Cookie", "X-Request-Id", "Origin") else values[::4]:
            headers = [("Authorization", f"Bearer {victims['owner']}")] if header != "Authorization" else []
            requests.append(server.client.build_request("GET", "/auth/me", headers=[*headers, (header, value)]))
    for value in values:
        for prefix in (b"Bearer ", b"bearer ", b"Basic "):
            headers = [("Authorization", (prefix + value).strip())]
            requests.append(server.client.build_request("GET", "/auth/me", headers=headers))
        for cookie in (b"josoor_refresh=", b"__Host-josoor_refresh=", b"josoor_device="):
            headers = [("Cookie", (cookie + value).strip()), ("Origin", server.public_url)]
            requests.append(server.client.build_request("POST", "/auth/refresh", headers=headers, json={}))
    sender.send(requests)
    sender.judge()


def test_heads_that_no_client_library_would_send(server: Server):
    """Answered with a refusal or with the end of the connection: never with a 5xx, never with silence."""
    long = b"a" * 200_000
    heads = [
        b"GET / HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: \x00\r\n\r\n", b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"GET /\r\n\r\n", b"\r\n\r\n\r\n", b"\x00" * 64,
        b"GET http://elsewhere.example/auth/me HTTP/1.1\r\nHost: b\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET " + long + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + long + b"\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"GET /auth/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \x01\r\n\r\n",
        b"GET /auth/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
        b"GET /auth/me HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
    ]  # fmt: skip
    for head in heads:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            try:
                connection.sendall(head)
                # From here on the server knows that nothing more comes.
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65_536)
            except TimeoutError:
                pytest.fail(f"no answer and no end for {head[:100]!r}")
            except OSError:
                # The end of the connection: reset, broken, or closed before we could close it.
                continue
        if answer.startswith(b"HTTP/1."):
            assert answer[9:10] in (b"2", b"3", b"4"), f"{head[:100]!r}: {answer[:300]!r}"
    assert server.client.get("/healthz").status_code == 200


def test_everything_still_works(server: Server, victims: dict):
    """After all that: the administrator is one, and a new user can do what users do."""
    assert server.client.get("/readyz").status_code == 200
    token = server.register(f"after-{secrets.token_hex(4)}@example.com", PASSWORD)["access_token"]
    assert server.client.get("/auth/me", headers=bearer(token)).status_code == 200
    answer = server.client.get("/admin/users", headers=bearer(victims["admin"]))
    assert answer.status_code == 200
    assert answer.json()["total"] > 1
