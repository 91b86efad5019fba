"""An authenticator app that was written elsewhere: pyotp in the place of the user's phone."""

from __future__ import annotations

import secrets
import time
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pyotp
from footprint import Server, assert_problem, bearer, unverified_claims

PASSWORD = "kx7-Quarz-" + secrets.token_hex(4)


def verified_account(server: Server) -> tuple[str, str]:
    """An account whose address is verified, by a link that sets a password."""
    email = f"phone-{secrets.token_hex(6)}@example.com"
    server.register(email, "kx7-Quarz-first")
    token = server.run_cli("user", "reset-link", email).strip().split("#token=")[1]
    reset = {"token": server.remember(token), "new_password": server.remember(PASSWORD)}
    assert server.client.post("/auth/password/reset", json=reset).status_code == 200
    return email, server.log_in(email, PASSWORD)["access_token"]


def add_app(server: Server, token: str) -> pyotp.TOTP:
    begun = server.client.post("/auth/factors/totp", json={"password": PASSWORD}, headers=bearer(token)).json()
    server.remember(begun["secret"])
    # What the phone reads in the QR code: the app knows everything that it needs from the address.
    app = pyotp.parse_uri(begun["uri"])
    assert app.secret == begun["secret"]
    assert (app.interval, app.digits, app.digest().name) == (30, 6, "sha1")
    assert parse_qs(urlsplit(begun["uri"]).query)["issuer"] == ["localhost"]
    assert ElementTree.fromstring(begun["qr_svg"]).tag == "{http://www.w3.org/2000/svg}svg"
    confirmed = server.client.post("/auth/factors/totp/confirm", json={"code": app.now()}, headers=bearer(token))
    body = server.keep_tokens(confirmed, 200)
    for code in body["recovery_codes"]:
        server.remember(code)
    assert unverified_claims(body["access_token"])["acr"] == "2"
    return app


def test_a_phone_with_pyotp_signs_in(server: Server):
    email, token = verified_account(server)
    app = add_app(server, token)
    asked = server.client.post("/auth/login", json={"email": email, "password": PASSWORD})
    flow = assert_problem(asked, 403, "mfa_required")
    assert "totp" in flow["methods"]

    def finish(code: str):
        body = {"flow": flow["flow"], "method": "totp", "code": code}
        return server.client.post("/auth/login/mfa", json=body)

    # The code that confirmed the app was used; the next one is accepted a step early.
    assert_problem(finish(app.at(time.time())), 401, "mfa_code_invalid")
    tokens = server.keep_tokens(finish(app.at(time.time() + 30)), 200)
    assert unverified_claims(tokens["access_token"])["amr"] == ["pwd", "otp", "mfa"]
    me = server.client.get("/auth/me", headers=bearer(tokens["access_token"])).json()
    assert me["mfa_enabled"] is True
    assert_problem(finish(app.at(time.time() + 30)), 400, "flow_expired")


def test_an_operator_resets_a_lost_phone(server: Server):
    email, token = verified_account(server)
    add_app(server, token)
    assert "removed" in server.run_cli("user", "mfa-reset", email)
    server.log_in(email, PASSWORD)
