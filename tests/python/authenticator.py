"""An authenticator and the browser in front of it, in software: passkeys of WebAuthn level 3, and everything that a client may do
wrong with them."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PRESENT, VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED, EXTENSIONS = 1, 4, 8, 16, 64, 128
# IANA's registry of COSE algorithms.
EDDSA, ES256, RS256, ES384 = -8, -7, -257, -35


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def integer_bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


@dataclass
class Lie:
    """What an authenticator or a browser says, where it is not what it should."""

    origin: str | None = None
    rp_id: str | None = None
    kind: str | None = None
    challenge: str | None = None
    # Members of clientDataJSON besides the usual ones, such as `crossOrigin`.
    client_data: dict = field(default_factory=dict)
    flags: int | None = None
    counter: int | None = None
    # Behind the authenticator data, and behind the attestation object.
    trailing: bytes = b""
    trailing_object: bytes = b""
    extensions: bytes = b""
    # The public key that is registered.
    cose: bytes | None = None
    format: str = "none"
    statement: dict | None = None
    # Of the signature: `bad`, or `raw` for its two numbers without DER.
    signature: str = "right"
    # The id and the raw id that the browser names.
    ids: tuple[bytes, bytes] | None = None
    user_handle: str | None = "own"


class Passkey:
    """A key pair, and the id under which it is registered."""

    def __init__(self, algorithm: int = ES256, flags: int = PRESENT | VERIFIED, id_length: int = 32):
        self.algorithm, self.flags, self.counter = algorithm, flags, 0
        self.id = secrets.token_bytes(id_length)
        self.user_handle = self.rp_id = self.origin = ""
        if algorithm == EDDSA:
            self.key = ed25519.Ed25519PrivateKey.generate()
            self.cose = cbor2.dumps({1: 1, 3: algorithm, -1: 6, -2: self.key.public_key().public_bytes_raw()})
        elif algorithm == RS256:
            self.key = rsa.generate_private_key(65537, 2048)
            numbers = self.key.public_key().public_numbers()
            self.cose = cbor2.dumps({1: 3, 3: algorithm, -1: integer_bytes(numbers.n), -2: integer_bytes(numbers.e)})
        else:
            curve, name, size = (ec.SECP384R1(), 2, 48) if algorithm == ES384 else (ec.SECP256R1(), 1, 32)
            self.key = ec.generate_private_key(curve)
            numbers = self.key.public_key().public_numbers()
            point = (numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big"))
            self.cose = cbor2.dumps({1: 2, 3: algorithm, -1: name, -2: point[0], -3: point[1]})

    def sign(self, message: bytes) -> bytes:
        if self.algorithm == EDDSA:
            return self.key.sign(message)
        if self.algorithm == RS256:
            return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))

    def client_data(self, kind: str, challenge: str, lie: Lie) -> bytes:
        data = {
            "type": lie.kind or kind,
            "challenge": lie.challenge or challenge,
            "origin": lie.origin or self.origin,
            "crossOrigin": False,
            "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
        }
        return json.dumps({**data, **lie.client_data}).encode()

    def authenticator_data(self, lie: Lie, attested: bytes = b"") -> bytes:
        flags = self.flags if lie.flags is None else lie.flags
        flags |= (ATTESTED if attested else 0) | (EXTENSIONS if lie.extensions else 0)
        counter = self.counter if lie.counter is None else lie.counter
        rp_id_hash = hashlib.sha256((lie.rp_id or self.rp_id).encode()).digest()
        return rp_id_hash + bytes([flags]) + counter.to_bytes(4, "big") + attested + lie.extensions + lie.trailing

    def create(self, options: dict, origin: str, lie: Lie) -> dict:
        """What `navigator.credentials.create()` gives for these options, as JSON."""
        self.rp_id, self.user_handle, self.origin = options["rp"]["id"], options["user"]["id"], origin
        cose = lie.cose or self.cose
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        data = self.authenticator_data(lie, attested)
        client_data = self.client_data("webauthn.create", options["challenge"], lie)
        statement = lie.statement or {}
        if lie.format == "packed":
            signature = self.sign(data + hashlib.sha256(client_data).digest())
            if lie.signature == "bad":
                signature = signature[:-1] + bytes([signature[-1] ^ 1])
            statement = {"alg": self.algorithm, "sig": signature}
        attestation = cbor2.dumps({"fmt": lie.format, "attStmt": statement, "authData": data}) + lie.trailing_object
        return self.credential(lie, {
            "clientDataJSON": encoded(client_data),
            "attestationObject": encoded(attestation),
            "transports": ["internal", "hybrid"],
        })  # fmt: skip

    def get(self, options: dict, lie: Lie) -> dict:
        """What `navigator.credentials.get()` gives for these options, as JSON."""
        client_data = self.client_data("webauthn.get", options["challenge"], lie)
        data = self.authenticator_data(lie)
        signature = self.sign(data + hashlib.sha256(client_data).digest())
        if lie.signature == "bad":
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        elif lie.signature == "raw":
            signature = b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(signature))
        return self.credential(lie, {
            "clientDataJSON": encoded(client_data),
            "authenticatorData": encoded(data),
            "signature": encoded(signature),
            "userHandle": self.user_handle if lie.user_handle == "own" else lie.user_handle,
        })  # fmt: skip

    def credential(self, lie: Lie, response: dict) -> dict:
        name, raw = lie.ids or (self.id, self.id)
        return {
            "id": encoded(name),
            "rawId": encoded(raw),
            "type": "public-key",
            "clientExtensionResults": {},
            "response": response,
        }
