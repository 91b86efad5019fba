"""The audit trail in other systems: rsyslog over TLS, and a webhook whose signatures the Standard Webhooks library checks."""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import re
import secrets
import shutil
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from footprint import FOOTPRINTS, PATIENCE, Process, Server, bearer, free_port, is_listening
from standardwebhooks import Webhook, WebhookVerificationError

RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin") or "rsyslogd"


def write_certificate(place: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own anchor."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(False, None), critical=True).add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (place / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (place / "key.pem").write_bytes(private)
    return place / "cert.pem"


class Rsyslog:
    """A receiver that writes what it gets, a message a line."""

    def __init__(self, place: Path):
        place.mkdir()
        self.place = place
        self.port = free_port()
        self.certificate = write_certificate(place)
        (place / "rsyslog.conf").write_text(
            f"""global(workDirectory="{place}" maxMessageSize="64k" defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="{place}/cert.pem" defaultNetstreamDriverCertFile="{place}/cert.pem"
  defaultNetstreamDriverKeyFile="{place}/key.pem")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="{self.port}")
template(name="whole" type="string" string="%pri% %timestamp:::date-rfc3339% %hostname% %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{place}/received" template="whole" flushOnTXEnd="on")
"""
        )
        self.start()

    def start(self) -> None:
        command = [RSYSLOGD, "-n", "-f", self.place / "rsyslog.conf", "-i", self.place / "pid"]
        self.process = Process(command, self.place / "rsyslog.log")
        self.process.wait_until("rsyslog listens", lambda: is_listening(self.port))

    def stop(self) -> None:
        self.process.stop()

    def lines(self) -> list[str]:
        file = self.place / "received"
        return [line for line in file.read_text().splitlines() if "josoor-auth" in line] if file.exists() else []

    def rows(self) -> list[dict]:
        return [json.loads(line[line.index("{") :]) for line in self.lines()]


class Receiver:
    """A webhook's receiver, which answers with `status`."""

    def __init__(self):
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.requests: list[tuple[dict, bytes]] = []
        self.status = 200
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/audit?tenant=1"

    def batches(self) -> list[dict]:
        """What was posted, each with a signature that the library takes."""
        verifier = Webhook(self.secret)
        return [verifier.verify(body, headers) for headers, body in self.requests]


def eventually(what: str, condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE:.0f} s, and still not: {what}"
        time.sleep(0.1)


def in_order(rows: list[dict]) -> list[int]:
    """The positions without repeated ones; each is the one after the one before."""
    positions = list(dict.fromkeys(row["seq"] for row in rows))
    assert positions == list(range(positions[0], positions[0] + len(positions))), positions
    return positions


def sealed(server: Server) -> int:
    return int(server.sql("select coalesce(max(seq), 0) from audit")[0][0])


@pytest.mark.parametrize("footprint", FOOTPRINTS)
def test_every_row_arrives_in_order_whatever_becomes_of_the_receivers(start_server, directory: Path, footprint: str):
    rsyslog, webhook = Rsyslog(directory / f"rsyslog-{footprint}"), Receiver()
    server: Server = start_server(
        footprint,
        JOSOOR_AUTH__AUDIT__SYSLOG=f"syslog+tls://127.0.0.1:{rsyslog.port}",
        JOSOOR_AUTH__AUDIT__WEBHOOK=webhook.url,
        JOSOOR_AUTH__AUDIT__WEBHOOK_SECRET=webhook.secret,
        SSL_CERT_FILE=str(rsyslog.certificate),
    )
    server.remember(webhook.secret)
    password = server.remember("pw-" + secrets.token_urlsafe(12))
    tokens = server.register("ada@example.com", password)
    server.client.post("/auth/login", json={"email": "ada@example.com", "password": "wrong-" + secrets.token_urlsafe(12)})

    def arrived() -> bool:
        rows = rsyslog.rows()
        last = max((row["seq"] for row in rows), default=0)
        posted = max((batch["data"]["head"]["seq"] for batch in webhook.batches()), default=0)
        return {"register", "sign_in"} <= {row["action"] for row in rows} and min(last, posted) >= sealed(server)

    eventually("the first rows have arrived", arrived)
    failed = next(row for row in rsyslog.rows() if row["action"] == "sign_in" and row["outcome"] == "failure")
    assert failed["ip"] == "127.0.0.1" and len(failed["mac"]) == 64
    line = next(line for line in rsyslog.lines() if '"failure"' in line)
    assert re.match(r"108 \d{4}-\d\d-\d\dT\S+ localhost josoor-auth sign_in ", line), line

    # Receivers that are away or refuse get everything afterwards.
    rsyslog.stop()
    webhook.status = 307
    for _ in range(3):
        assert server.client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == 200
        assert server.client.patch("/auth/me", json={"full_name": secrets.token_hex(4)}, headers=bearer(tokens["access_token"])).status_code == 200
    server.log_in("ada@example.com", password)
    refused = len(webhook.requests)
    eventually("the refused rows are posted again", lambda: len(webhook.requests) > refused + 1)
    eventually("the failure is logged", lambda: "audit_stream_failing" in server.process.read_log())
    rsyslog.start()
    webhook.status = 204
    eventually("the rest has arrived", arrived)

    received = in_order(rsyslog.rows())
    posted = in_order([row for batch in webhook.batches() for row in batch["data"]["rows"]])
    assert received[-1] == posted[-1] == sealed(server)
    # The same row is the same in both, with the code that the chain has.
    macs = {row["seq"]: row["mac"] for row in rsyslog.rows()}
    for batch in webhook.batches():
        head = batch["data"]["head"]
        assert batch["type"] == "audit.rows" and macs.get(head["seq"], head["mac"]) == head["mac"]
    headers, body = webhook.requests[-1]
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.secret).verify(body + b" ", headers)
    behind = 'josoor_auth_audit_stream_behind{stream="webhook"} 0'
    eventually("the figures say so", lambda: behind in httpx.get(f"{server.url}/metrics", trust_env=False).text)
    rsyslog.stop()
    faults = server.stop_and_judge()
    assert not faults, faults


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"JOSOOR_AUTH__AUDIT__SYSLOG": "syslog+tcp://siem.example.com"}, "in the clear"),
        ({"JOSOOR_AUTH__AUDIT__SYSLOG": "udp://127.0.0.1"}, "syslog+tls://"),
        ({"JOSOOR_AUTH__AUDIT__WEBHOOK": "http://siem.example.com/x"}, "in the clear"),
        ({"JOSOOR_AUTH__AUDIT__WEBHOOK": "https://siem.example.com/x"}, "webhook_secret"),
        ({"JOSOOR_AUTH__AUDIT__WEBHOOK_SECRET": "whsec_c2hvcnQ="}, "24 to 64"),
    ],
)
def test_settings_that_cannot_work_are_refused(binary: str, directory: Path, settings: dict[str, str], says: str):
    done = subprocess.run(
        [binary, "config", "check"], env={"PATH": "/usr/bin:/bin", "HOME": str(directory), **settings},
        cwd=directory, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and says in done.stderr, done.stderr
