"""Passkeys beside two libraries of others: the same ceremonies are given to the service, to `@simplewebauthn/server` and to
`webauthn` (PyPI). Where the three differ, the table says why."""

from __future__ import annotations

import json
import secrets
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import cbor2
import httpx
import webauthn
from authenticator import (
    BACKED_UP,
    BACKUP_ELIGIBLE,
    EDDSA,
    ES256,
    ES384,
    PRESENT,
    RS256,
    VERIFIED,
    Lie,
    Passkey,
    encoded,
)
from footprint import Server, assert_problem, bearer
from test_second_factors import PASSWORD, verified_account
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.cose import COSEAlgorithmIdentifier

SCRIPT = Path(__file__).with_name("simplewebauthn.mjs")
ALGORITHMS = [COSEAlgorithmIdentifier(algorithm) for algorithm in (EDDSA, ES256, RS256)]
FOREIGN = "https://evil.example"


@dataclass
class Case:
    """A ceremony, and what is said to it: by the service a code, or nothing where it accepts; by the libraries whether they accept."""

    name: str
    ours: str | None = None
    simplewebauthn: bool | None = None
    webauthn: bool | None = None
    # Why the three differ.
    why: str = ""
    lie: Lie = field(default_factory=Lie)
    algorithm: int = ES256
    id_length: int = 32

    def expected(self) -> tuple[bool, bool, bool]:
        """Of the service and the two libraries; without a word about these the same as of the service."""
        accepted = self.ours is None
        others = [accepted if other is None else other for other in (self.simplewebauthn, self.webauthn)]
        assert (len({accepted, *others}) > 1) == bool(self.why), f"{self.name}: a difference has a reason, and nothing else has"
        return (accepted, *others)


def with_key_twice(cose: bytes) -> bytes:
    """A COSE map with its algorithm a second time."""
    assert cose[0] == 0xA5
    return b"\xa6" + cose[1:] + cbor2.dumps(3) + cbor2.dumps(ES256)


def off_curve(cose: bytes) -> bytes:
    return cose[:-1] + bytes([cose[-1] ^ 1])


WEAK_RSA = cbor2.dumps({1: 3, 3: RS256, -1: b"\xff" + secrets.token_bytes(126) + b"\x01", -2: b"\x01\x00\x01"})
P256 = Passkey().cose

LOOSE_CBOR = "CTAP2's canonical CBOR has one value and each key once; what is read in two ways can be signed for one and used for another"
NO_FRAMES = "no page of ours asks in a frame of another site (WebAuthn level 3, 7.1 step 10 and 7.2 step 13); the caller of a library has to check it"
CALLERS_PART = "the library leaves this to its caller, who has the stored passkey"

REGISTRATIONS = [
    Case("ES256"),
    Case("EdDSA", algorithm=EDDSA),
    Case("RS256", algorithm=RS256),
    Case("user verification off", lie=Lie(flags=PRESENT)),
    Case("synced", lie=Lie(flags=PRESENT | VERIFIED | BACKUP_ELIGIBLE | BACKED_UP)),
    Case("outputs of extensions", lie=Lie(extensions=cbor2.dumps({"credProtect": 2}))),
    Case("self attestation", lie=Lie(format="packed")),
    Case("self attestation with a bad signature", "wrong_attestation", lie=Lie(format="packed", signature="bad")),
    Case("statement of no attestation", "wrong_attestation", lie=Lie(statement={"sig": b"\x01"})),
    Case("unknown format of attestation", "wrong_attestation", lie=Lie(format="unknown")),
    Case("foreign origin", "wrong_origin", lie=Lie(origin=FOREIGN)),
    Case("origin that begins with ours", "wrong_origin", lie=Lie(origin="own.evil.example")),
    Case("no origin", "wrong_origin", lie=Lie(origin="null")),
    Case("wrong rp id", "wrong_rp_id", lie=Lie(rp_id="evil.example")),
    Case("an assertion's type", "wrong_type", lie=Lie(kind="webauthn.get")),
    Case("another challenge", "flow_expired", lie=Lie(challenge=encoded(bytes(32)))),
    Case("user not present", "not_present", lie=Lie(flags=VERIFIED)),
    Case("backed up, and not eligible for it", "invalid_passkey", lie=Lie(flags=PRESENT | VERIFIED | BACKED_UP)),
    Case("CBOR behind the authenticator data", "invalid_passkey", lie=Lie(trailing=b"\xa0")),
    Case("an algorithm that was not asked for", "wrong_algorithm", algorithm=ES384),
    Case("the key's CBOR cut off", "invalid_passkey", True, False, "bytes that are missing are no error there before the first use", Lie(cose=P256[:-1])),
    Case("CBOR behind the attestation object", "invalid_passkey", True, True, LOOSE_CBOR, Lie(trailing_object=b"\xa0")),
    Case("a key of CBOR twice", "invalid_passkey", lie=Lie(cose=with_key_twice(P256))),
    Case("a point off the curve", "invalid_passkey", True, True, "read at the registration here, at the first use there", Lie(cose=off_curve(P256))),
    Case("RSA of 1024 bits", "invalid_passkey", True, True, "too weak (NIST SP 800-131A): RSA has 2048 bits or more here", Lie(cose=WEAK_RSA), RS256),
    Case("an id of eight bytes", "invalid_passkey", True, True, "WebAuthn level 3 (4, credential id) asks for 16 bytes or more", id_length=8),
    Case("another id than the attested one", "invalid_passkey", True, True, CALLERS_PART, Lie(ids=(bytes(32), bytes(32)))),
    Case("in a frame of another site", "cross_origin", True, True, NO_FRAMES, Lie(client_data={"crossOrigin": True, "topOrigin": FOREIGN})),
]  # fmt: skip

ASSERTIONS = [
    Case("ES256"),
    Case("EdDSA", algorithm=EDDSA),
    Case("RS256", algorithm=RS256),
    Case("outputs of extensions", lie=Lie(extensions=cbor2.dumps({"uvm": []}))),
    Case("foreign origin", "passkey_invalid", lie=Lie(origin=FOREIGN)),
    Case("origin that begins with ours", "passkey_invalid", lie=Lie(origin="own.evil.example")),
    Case("wrong rp id", "passkey_invalid", lie=Lie(rp_id="evil.example")),
    Case("a registration's type", "passkey_invalid", lie=Lie(kind="webauthn.create")),
    Case("bad signature", "passkey_invalid", lie=Lie(signature="bad")),
    Case("signature without DER", "passkey_invalid", lie=Lie(signature="raw")),
    Case("user not present", "passkey_invalid", lie=Lie(flags=VERIFIED)),
    Case("user verification off", "passkey_unverified", lie=Lie(flags=PRESENT)),
    Case("backed up, and not eligible for it", "passkey_invalid", lie=Lie(flags=PRESENT | VERIFIED | BACKED_UP)),
    Case("CBOR behind the authenticator data", "passkey_invalid", lie=Lie(trailing=b"\xa0")),
    Case("ids that differ", "validation_failed", lie=Lie(ids=(b"\x01" * 32, b"\x02" * 32))),
    Case("another user's credential", "passkey_invalid", lie=Lie(ids=(b"theirs", b"theirs"))),
    Case("a challenge that was answered before", "flow_expired", lie=Lie(challenge="answered")),
    Case("a challenge that was not issued", "flow_expired", lie=Lie(challenge=encoded(bytes(40)))),
    Case("another user's handle", "passkey_invalid", True, True, CALLERS_PART, Lie(user_handle=encoded(bytes(16)))),
    Case("no user handle", "passkey_invalid", True, True, CALLERS_PART, Lie(user_handle=None)),
    Case("eligible for backup, and was not when added", "passkey_invalid", True, True, CALLERS_PART, Lie(flags=PRESENT | VERIFIED | BACKUP_ELIGIBLE)),
    Case("in a frame of another site", "passkey_invalid", False, True, NO_FRAMES, Lie(client_data={"crossOrigin": True, "topOrigin": FOREIGN})),
    Case("in a frame, of which site is not said", "passkey_invalid", True, True, NO_FRAMES, Lie(client_data={"crossOrigin": True})),
    # Last, because a counter goes one way.
    Case("a counter that begins", lie=Lie(counter=7)),
    Case("the same counter again", "passkey_invalid", lie=Lie(counter=7)),
    Case("a counter that goes back", "passkey_invalid", lie=Lie(counter=6)),
    Case("no counter any more", "passkey_invalid", lie=Lie(counter=0)),
    Case("a counter that goes on", lie=Lie(counter=8)),
]  # fmt: skip


def simplewebauthn(ceremonies: list[dict]) -> list[str | None]:
    done = subprocess.run(["node", SCRIPT], input=json.dumps(ceremonies), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pypi(ceremony: dict) -> str | None:
    expected = {
        "credential": ceremony["credential"],
        "expected_challenge": base64url_to_bytes(ceremony["challenge"]),
        "expected_origin": [ceremony["origin"]],
        "expected_rp_id": ceremony["rpId"],
        "require_user_verification": ceremony["mustVerifyUser"],
    }
    try:
        if ceremony["kind"] == "registration":
            webauthn.verify_registration_response(**expected, supported_pub_key_algs=ALGORITHMS)
        else:
            webauthn.verify_authentication_response(
                **expected,
                credential_public_key=base64url_to_bytes(ceremony["publicKey"]),
                credential_current_sign_count=ceremony["counter"],
            )
    # Whatever a library raises, it does not accept.
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def refused_with(answer: httpx.Response) -> str | None:
    """The most specific code of a refusal; nothing for a success."""
    if answer.is_success:
        return None
    problem = assert_problem(answer)
    field_error = next(iter(problem.get("errors", [])), {})
    return field_error["code"] if field_error.get("field") == "credential" else problem["code"]


def compare(cases: list[Case], ours: list[str | None], ceremonies: list[dict]) -> None:
    """Holds the three to the table; the message has every line that is not as there."""
    theirs = zip(simplewebauthn(ceremonies), map(pypi, ceremonies), strict=True)
    faults = []
    for case, code, (simple, python) in zip(cases, ours, theirs, strict=True):
        verdicts = (code is None, simple is None, python is None)
        if code != case.ours or verdicts != case.expected():
            faults.append(f"{case.name}: the service {code}, simplewebauthn {simple}, webauthn {python}")
    assert not faults, "\n".join(faults)


def ceremony(server: Server, kind: str, credential: dict, challenge: str, **stored) -> dict:
    must_verify_user = kind == "assertion"
    return {
        "kind": kind, "credential": credential, "challenge": challenge, "origin": server.public_url, "rpId": "localhost",
        "mustVerifyUser": must_verify_user, **stored,
    }  # fmt: skip


def lie_for(server: Server, lie: Lie) -> Lie:
    """With an origin that begins with the server's own."""
    return Lie(**{**vars(lie), "origin": f"{server.public_url}.evil.example"}) if lie.origin == "own.evil.example" else lie


class Account:
    """An account with a verified address, and a token that may add passkeys."""

    def __init__(self, server: Server):
        self.server = server
        self.email, self.token = verified_account(server)

    def begin(self) -> dict:
        answer = self.server.client.post("/auth/passkeys/options", json={"password": PASSWORD}, headers=bearer(self.token))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def add(self, credential: dict) -> httpx.Response:
        answer = self.server.client.post("/auth/passkeys", json={"credential": credential}, headers=bearer(self.token))
        if answer.is_success:
            body = self.server.keep_tokens(answer, 201)
            for code in body.get("recovery_codes", []):
                self.server.remember(code)
            self.token = body["access_token"]
        return answer


def test_registrations_are_judged_as_by_others(server: Server):
    account = Account(server)
    ours, ceremonies = [], []
    for case in REGISTRATIONS:
        options = account.begin()
        passkey = Passkey(case.algorithm, id_length=case.id_length)
        credential = passkey.create(options, server.public_url, lie_for(server, case.lie))
        ours.append(refused_with(account.add(credential)))
        ceremonies.append(ceremony(server, "registration", credential, options["challenge"]))
    compare(REGISTRATIONS, ours, ceremonies)


def test_assertions_are_judged_as_by_others(server: Server):
    account, other = Account(server), Account(server)
    passkeys = {algorithm: Passkey(algorithm) for algorithm in (ES256, EDDSA, RS256)}
    theirs = Passkey()
    for passkey, owner in [(theirs, other), *((passkey, account) for passkey in passkeys.values())]:
        assert owner.add(passkey.create(owner.begin(), server.public_url, Lie())).status_code == 201

    ours, ceremonies = [], []
    answered = ""
    for case in ASSERTIONS:
        passkey, stored = passkeys[case.algorithm], passkeys[case.algorithm]
        options = server.client.post("/auth/login/passkey/options", json={}).json()
        lie = lie_for(server, case.lie)
        if lie.challenge == "answered":
            lie = Lie(challenge=answered)
        if lie.ids == (b"theirs", b"theirs"):
            stored = theirs
            lie = Lie(ids=(theirs.id, theirs.id), user_handle=theirs.user_handle)
        assertion = passkey.get(options, lie)
        answer = server.client.post("/auth/login/passkey", json={"assertion": assertion})
        ours.append(refused_with(answer))
        # What the service had stored when it judged.
        kept = {"publicKey": encoded(stored.cose), "counter": stored.counter}
        ceremonies.append(ceremony(server, "assertion", assertion, options["challenge"], **kept))
        if answer.is_success:
            server.keep_tokens(answer, 200)
            answered = options["challenge"]
            stored.counter = stored.counter if lie.counter is None else lie.counter
    compare(ASSERTIONS, ours, ceremonies)
