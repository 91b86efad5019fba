"""Traces: a receiver of OTLP over HTTP decodes what servers send."""

from __future__ import annotations

import http.server
import json
import secrets
import ssl
import threading
import time
from collections import defaultdict
from contextlib import contextmanager

import httpx
import pytest
from aiosmtpd.controller import Controller
from certificates import make_authority
from footprint import FOOTPRINTS, PATIENCE, Server, bearer, free_port
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

ADDRESS = "203.0.113.77"
AGENT = "an-unusual-browser/7"
PASSWORD = "a sentence is easy to remember"


class Mailbox:
    """Takes every mail."""

    async def handle_DATA(self, server, session, envelope) -> str:
        return "250 OK"


class Receiver:
    """Takes traces, and answers with `status`."""

    def __init__(self, tls: ssl.SSLContext | None = None):
        self.requests: list[tuple[dict, bytes]] = []
        self.status = 200
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
                if receiver.status == 200:
                    receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(receiver.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            # Each connection is opened in its own thread, so that one which is not trusted holds up no other.
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_port}"

    def resources(self) -> list:
        batches = [ExportTraceServiceRequest.FromString(body) for _, body in self.requests]
        return [resource for batch in batches for resource in batch.resource_spans]

    def spans(self) -> list[Span]:
        return [span for resource in self.resources() for scope in resource.scope_spans for span in scope.spans]

    def traces(self) -> dict[str, list[Span]]:
        traces = defaultdict(list)
        for span in self.spans():
            traces[span.trace_id.hex()].append(span)
        return traces

    def trace_of(self, response: httpx.Response) -> list[Span]:
        """The trace of a request, the first span first; nothing if it has none."""
        for trace in self.traces().values():
            first = sorted(trace, key=lambda span: span.kind != Span.SPAN_KIND_SERVER)
            if values(first[0]).get("josoor_auth.request.id") == response.headers["x-request-id"]:
                return first
        return []

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def values(of) -> dict:
    """The attributes of a span or a resource."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


@contextmanager
def judged(server: Server):
    """Stops the server, which sends what is left, and judges it."""
    try:
        yield server
    finally:
        faults = server.stop_and_judge()
    assert not faults, faults


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def parent(sampled: bool = True) -> tuple[str, str, dict]:
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, {"traceparent": f"00-{trace}-{span}-{'01' if sampled else '00'}", "tracestate": "gateway=1"}


def log_lines(server: Server) -> list[dict]:
    return [json.loads(line) for line in server.process.read_log().splitlines()]


@pytest.mark.parametrize("footprint", FOOTPRINTS)
def test_a_trace_leads_from_the_gateway_to_the_database(start_server, receiver, footprint: str):
    key = secrets.token_urlsafe(24)
    mails = Controller(Mailbox(), hostname="127.0.0.1", port=free_port())
    mails.start()
    server = start_server(
        footprint,
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{key}",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        TRUSTED_PROXIES="127.0.0.1",
        SMTP_URL=f"smtp://127.0.0.1:{mails.port}?tls=none",
        MAIL_FROM="no-reply@example.com",
        JOSOOR_AUTH__LIMITS__ENABLED="true",
        JOSOOR_AUTH__LIMITS__LOGIN_ADDRESS="1000/1m",
    )
    server.remember(key)
    email, name = f"{secrets.token_hex(8)}@example.com", f"Name {secrets.token_hex(8)}"
    account = {"email": email, "password": server.remember(PASSWORD)}
    shared = {"x-forwarded-for": ADDRESS, "user-agent": AGENT}
    trace, span, headers = parent()
    foreign, _, foreign_headers = parent()
    hot, _, hot_headers = parent()
    with judged(server):
        registered = server.client.post("/auth/register", json={**account, "full_name": name}, headers={**shared, **headers})
        tokens = server.keep_tokens(registered, 201)
        signed_in = server.client.post("/auth/login", json=account, headers=shared)
        server.keep_tokens(signed_in, 200)
        rejected = server.client.post("/auth/login", json={**account, "password": server.remember("another sentence")}, headers=shared)
        assert rejected.status_code == 401
        # The address of a client that is no proxy.
        transport = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(base_url=server.url, transport=transport, trust_env=False) as client:
            direct = client.post("/auth/login", json=account, headers={"user-agent": AGENT, **foreign_headers})
            server.keep_tokens(direct, 200)
        own = {**shared, **hot_headers, **bearer(tokens["access_token"])}
        server.client.get("/auth/me", headers=own).raise_for_status()
        server.client.get("/auth/check", headers=own).raise_for_status()
        server.client.get("/readyz", headers=hot_headers).raise_for_status()
        sessions = server.client.get("/auth/sessions", headers={**shared, **bearer(tokens["access_token"])})
        missing = server.client.get(f"/auth/{email}/nothing", headers=shared)
        assert missing.status_code == 404
        server.client.post("/auth/password/forgot", json={"email": email}, headers=shared).raise_for_status()
        end = time.monotonic() + PATIENCE
        while not any(span.name == "send mail" for span in receiver.spans()):
            assert time.monotonic() < end, "no mail was traced"
            time.sleep(0.1)
    mails.stop()

    # From the gateway's span down.
    first, *steps = receiver.trace_of(registered)
    assert (first.trace_id.hex(), first.parent_span_id.hex(), first.trace_state) == (trace, span, "gateway=1")
    assert first.name == "POST /auth/register"
    attributes = values(first)
    assert attributes.pop("josoor_auth.request.id") == registered.headers["x-request-id"]
    assert attributes == {"http.request.method": "POST", "http.route": "/auth/register", "http.response.status_code": 201}
    assert {step.parent_span_id for step in steps} == {first.span_id}
    assert all(first.start_time_unix_nano <= step.start_time_unix_nano <= step.end_time_unix_nano for step in steps)
    names = [step.name for step in steps]
    wait, hashed = steps[names.index("wait for hasher")], steps[names.index("hash password")]
    assert wait.end_time_unix_nano <= hashed.start_time_unix_nano < hashed.end_time_unix_nano
    assert {"acquire connection", "begin", "commit"} <= set(names), names
    system = "sqlite" if footprint == "sqlite" else "postgresql"
    statements = [step for step in steps if values(step).get("db.system.name") == system and step.kind == Span.SPAN_KIND_CLIENT]
    assert len(statements) > 4 and all(values(step)["db.operation.name"] == step.name for step in statements)
    assert all(name.replace("_", "").isalpha() for name in {step.name for step in statements}), names
    commands = {span.name for span in receiver.spans() if values(span).get("db.system.name") == "redis"}
    assert (not commands) if footprint == "sqlite" else "EVALSHA" in commands, commands

    # Each by itself: a request without a parent, one that is rejected, and a client that is not trusted.
    for response, status in ((signed_in, 200), (rejected, 401), (direct, 200)):
        first, *steps = receiver.trace_of(response)
        assert not first.parent_span_id and values(first)["http.response.status_code"] == status
        assert "hash password" in {step.name for step in steps}
        assert first.status.code == first.status.STATUS_CODE_UNSET
    assert foreign not in receiver.traces()
    assert int(values(receiver.trace_of(sessions)[0])["user.id"]) > 0
    unmatched = receiver.trace_of(missing)[0]
    assert unmatched.name == "GET" and "http.route" not in values(unmatched)

    # What comes most often is not traced, and what monitoring asks for.
    assert hot not in receiver.traces()
    assert not {"/auth/me", "/auth/check", "/readyz"} & {values(span).get("http.route") for span in receiver.spans()}

    # The mail, in a trace of its own.
    outbox = next(trace for trace in receiver.traces().values() if any(span.name == "send mail" for span in trace))
    row = next(span for span in outbox if span.name == "outbox row")
    assert values(row) == {"josoor_auth.outbox.kind": values(row)["josoor_auth.outbox.kind"], "josoor_auth.outbox.outcome": "sent"}

    # The log leads to the trace.
    access = {line["request_id"]: line for line in log_lines(server) if line["target"] == "josoor_auth::access"}
    assert access[registered.headers["x-request-id"]]["trace_id"] == trace
    assert access[direct.headers["x-request-id"]]["trace_id"] == receiver.trace_of(direct)[0].trace_id.hex()

    # Who sends, and nothing about people.
    for resource in receiver.resources():
        of_service = values(resource.resource)
        assert of_service["service.name"] == "josoor-auth" and of_service["deployment.environment.name"] == "test"
        assert of_service["service.version"] and of_service["service.instance.id"]
    assert all(headers["authorization"] == f"Bearer {key}" for headers, _ in receiver.requests)
    personal = {email, email.split("@")[0], name, ADDRESS, "127.0.0", AGENT, server.admin_email, *server.secrets}
    for _, body in receiver.requests:
        assert not [text for text in personal if text.encode() in body]


def test_a_share_is_sampled_and_a_trusted_parent_decides(start_server, receiver):
    server = start_server(
        "sqlite",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_TRACES_SAMPLER_ARG="0",
        JOSOOR_AUTH__TRACING__SAMPLE_CHECKS="1",
        TRUSTED_PROXIES="127.0.0.1",
    )
    wanted, _, wanted_headers = parent()
    unwanted, _, unwanted_headers = parent(sampled=False)
    with judged(server):
        token = server.admin_token()
        server.client.get("/auth/sessions", headers={**bearer(token), **wanted_headers}).raise_for_status()
        server.client.get("/auth/me", headers={**bearer(token), **unwanted_headers}).raise_for_status()
        for malformed in ("00-0-0-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", b"\xff", "01", wanted):
            server.client.get("/auth/sessions", headers={**bearer(token), "traceparent": malformed}).raise_for_status()
        checks = [server.client.get(path, headers=bearer(token)) for path in ("/auth/me", "/auth/check")]
    assert {values(span).get("http.route") for span in receiver.traces()[wanted]} >= {"/auth/sessions"}
    assert unwanted not in receiver.traces()
    routes = [values(span)["http.route"] for span in receiver.spans() if span.kind == Span.SPAN_KIND_SERVER]
    assert sorted(routes) == ["/auth/check", "/auth/me", "/auth/sessions"]
    assert all(receiver.trace_of(check) for check in checks)


def test_requests_do_not_need_the_receiver(start_server, receiver):
    receiver.status = 503
    server = start_server("sqlite", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)

    with judged(server):
        wait_until("spans are lost", lambda: counted(server, "failed") > 0, server.admin_token)
        lost = counted(server, "failed")
        wait_until("more are lost", lambda: counted(server, "failed") > lost, server.admin_token)
        assert [line["fields"]["url"] for line in reports(server)] == [f"{receiver.url}/v1/traces"]
        assert "503" in server.run_cli("doctor")
        receiver.status = 200
        wait_until("they are sent again", lambda: counted(server, "sent") > 0, server.admin_token)
        assert len(reports(server)) == 1
        assert any(line["message"] == "traces are sent again" for line in log_lines(server))
        assert f"{receiver.url}/v1/traces takes them" in server.run_cli("doctor")
    assert receiver.spans()


def counted(server: Server, outcome: str) -> int:
    """How many spans have had an outcome."""
    for line in server.client.get("/metrics").text.splitlines():
        if line.startswith(f'josoor_auth_spans_total{{outcome="{outcome}"}} '):
            return int(line.split()[1])
    return 0


def wait_until(what: str, condition, work) -> None:
    """Works until it is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        work()
        assert time.monotonic() < end, f"waited {PATIENCE:.0f} s, and still not: {what}"
        time.sleep(0.1)


def reports(server: Server) -> list[dict]:
    return [line for line in log_lines(server) if line.get("fields", {}).get("code") == "traces_not_sent"]


def test_a_receiver_with_tls_is_verified_with_the_authority_of_the_settings(start_server, tmp_path):
    own, other = tmp_path / "own.pem", tmp_path / "other.pem"
    other.write_bytes(make_authority(tmp_path)[0])
    certificate, context = make_authority(tmp_path)
    own.write_bytes(certificate)
    receiver = Receiver(context)
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20hidden"}
    # The system's authorities do not know it, and neither does another one.
    for more in ({}, {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(other)}):
        server = start_server("sqlite", **settings, **more)
        with judged(server):
            for _ in range(2):
                began = time.monotonic()
                server.admin_token()
                assert time.monotonic() - began < 2
                lost = counted(server, "failed")
                wait_until("spans are lost", lambda: counted(server, "failed") > lost, server.admin_token)
            said = server.run_cli("doctor")
            assert "invalid peer certificate" in said and "OTEL_EXPORTER_OTLP_CERTIFICATE" in said, said
        (report,) = reports(server)
        assert report["level"] == "WARN" and report["fields"]["url"] == f"{receiver.url}/v1/traces"
        assert "invalid peer certificate" in report["fields"]["error"] and "OTEL_EXPORTER_OTLP_CERTIFICATE" in report["fields"]["error"]
    assert not receiver.requests
    server = start_server("sqlite", **settings, OTEL_EXPORTER_OTLP_CERTIFICATE=str(own))
    with judged(server):
        signed_in = server.client.post("/auth/login", json={"email": server.admin_email, "password": server.admin_password})
        server.keep_tokens(signed_in, 200)
        assert f"{receiver.url}/v1/traces takes them" in server.run_cli("doctor")
    assert receiver.trace_of(signed_in) and not reports(server)
    assert all(headers["authorization"] == "Bearer hidden" for headers, _ in receiver.requests)
    receiver.close()
