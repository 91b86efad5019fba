"""What other programs of the platform do with our tokens, hashes and Redis keys, with the libraries that they use."""

from __future__ import annotations

import json
import secrets
import time
import unicodedata
import uuid

import jwt
import pytest
import redis
from footprint import Server, bearer, unverified_claims
from jose import JWTError
from jose import jwt as jose_jwt
from passlib.context import CryptContext

# As the platform's services configure it. Cost 4 keeps the tests quick; the format is the same at every cost.
PASSLIB = CryptContext(schemes=["bcrypt", "bcrypt_sha256"], bcrypt__rounds=4, bcrypt_sha256__rounds=4)

ARABIC_SHORT = unicodedata.normalize("NFC", "كلمة سر طويلة")
ARABIC_LONG = unicodedata.normalize("NFC", "السلام عليكم ورحمة الله وبركاته أيها المستخدم الكريم")

# bcrypt reads 72 bytes. From 72 on our own format is the one that hashes first: whether a foreign hash of exactly
# 72 bytes stands for a longer password cannot be detected.
PASSWORDS = {
    "short": "kx7-Quarz",
    "71 bytes": "a1-" * 23 + "zz",
    "72 bytes": "b2-" * 24,
    "73 bytes": "c3-" * 24 + "!",
    "200 bytes": "d4-" * 66 + "!!",
    "Arabic, below 72 bytes": ARABIC_SHORT,
    "Arabic, above 72 bytes": ARABIC_LONG,
    "emoji": "🔐🗝️ pass 🔐🗝️",
}


def fresh_email(name: str = "interop") -> str:
    return f"{name}-{secrets.token_hex(6)}@example.com"


def stored_hash(server: Server, email: str) -> str:
    ((stored,),) = server.sql("select password_hash from users where email_key = ?", email)
    server.remember(stored)
    return stored


def store_hash(server: Server, email: str, value: str) -> None:
    server.remember(value)
    server.sql("update users set password_hash = ? where email_key = ?", value, email)
    assert stored_hash(server, email) == value


def hash_with_passlib(password: str, scheme: str, rounds: int = 4) -> str:
    return PASSLIB.handler(scheme).using(rounds=rounds).hash(password)


def check_access_token(server: Server, secret: str, algorithm: str) -> None:
    email = fresh_email()
    now = int(time.time())
    answer = server.register(email, "kx7-Quarz", full_name="Interop")
    access, refresh, user = answer["access_token"], answer["refresh_token"], answer["user"]

    by_pyjwt = jwt.decode(access, secret, algorithms=[algorithm])
    by_jose = jose_jwt.decode(access, secret, algorithms=[algorithm])
    assert by_pyjwt == by_jose
    claims = by_pyjwt
    assert claims["sub"] == str(user["id"]) and isinstance(claims["sub"], str)
    assert claims["type"] == "access"
    assert claims["email"] == email
    assert claims["email_verified"] is False
    assert claims["role"] == "user"
    assert (claims["amr"], claims["acr"]) == (["pwd"], "1")
    assert now - 5 <= claims["auth_time"] <= time.time() + 5
    assert claims["iss"] == server.public_url
    assert claims["sid"] and claims["jti"]
    assert "aud" not in claims
    assert now - 5 <= claims["iat"] <= time.time() + 5
    assert claims["exp"] - claims["iat"] == answer["expires_in"] == 1440 * 60

    header = jwt.get_unverified_header(access)
    assert header["alg"] == algorithm
    assert header["typ"] == "at+jwt"
    assert header["kid"]

    # A program with the shared secret may read access tokens; it neither verifies nor makes refresh tokens.
    refresh_header = jwt.get_unverified_header(refresh)
    assert refresh_header["typ"] == "rt+jwt"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(refresh, secret, algorithms=["HS256", "HS384", "HS512"])
    with pytest.raises(JWTError):
        jose_jwt.decode(refresh, secret, algorithms=["HS256", "HS384", "HS512"])
    forged = jwt.encode(unverified_claims(refresh), secret, algorithm=algorithm, headers={"typ": "rt+jwt"})
    assert server.client.post("/auth/refresh", json={"refresh_token": forged}).status_code == 401

    # The other way round: a token of each kind is of no use where the other belongs.
    assert server.client.get("/auth/me", headers=bearer(refresh)).status_code == 401
    assert server.client.post("/auth/refresh", json={"refresh_token": access}).status_code == 401
    assert server.client.get("/auth/me", headers=bearer(access)).status_code == 200


def test_pyjwt_and_python_jose_read_our_access_token(server: Server):
    check_access_token(server, server.jwt_secret, "HS256")
    assert server.client.get("/.well-known/jwks.json").json() == {"keys": []}


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
@pytest.mark.parametrize("footprint", ["sqlite", "postgres_redis"])
def test_the_longer_hashes_are_read_too(start_server, footprint: str, algorithm: str):
    secret = secrets.token_urlsafe(54)
    server = start_server(footprint, JWT_ALGORITHM=algorithm, JWT_SECRET=secret)
    try:
        check_access_token(server, secret, algorithm)
    finally:
        faults = server.stop_and_judge()
    assert not faults, "\n".join(faults)


def test_a_token_that_the_secret_signed_is_not_enough(server: Server):
    """A program with the shared secret can sign; the session still has to be live and to belong to the user."""
    claims = unverified_claims(server.register(fresh_email(), "kx7-Quarz")["access_token"])
    other = unverified_claims(server.register(fresh_email(), "kx7-Quarz")["access_token"])
    kid = jwt.get_unverified_header(server.log_in(server.admin_email, server.admin_password)["access_token"])["kid"]

    def status(changed: dict, typ: str = "at+jwt") -> int:
        token = jwt.encode(claims | changed, server.jwt_secret, algorithm="HS256", headers={"typ": typ, "kid": kid})
        return server.client.get("/auth/me", headers=bearer(server.remember(token))).status_code

    assert status({}) == 200, "the control: an honest copy is accepted, so the refusals below are about the change"
    assert status({"sub": other["sub"]}) == 401
    assert status({"sid": "00000000-0000-4000-8000-000000000000"}) == 401
    assert status({"type": "refresh"}) == 401
    assert status({"exp": int(time.time()) - 1000}) == 401
    assert status({"iss": "https://elsewhere.example"}) == 401
    # The role in a token is informational.
    forged = jwt.encode(
        claims | {"role": "admin"}, server.jwt_secret, algorithm="HS256", headers={"typ": "at+jwt", "kid": kid}
    )
    assert server.client.get("/admin/users", headers=bearer(server.remember(forged))).status_code == 403
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"typ": "at+jwt", "kid": kid})
    assert server.client.get("/auth/me", headers=bearer(unsigned)).status_code == 401


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS.keys())
def test_passlib_verifies_our_hash(server: Server, password: str):
    email = fresh_email("ours")
    server.register(email, password)
    stored = stored_hash(server, email)
    is_long = len(password.encode()) > 71
    assert PASSLIB.identify(stored) == ("bcrypt_sha256" if is_long else "bcrypt")
    assert is_long or stored.startswith("$2b$04$")
    assert PASSLIB.verify(password, stored)
    assert not PASSLIB.verify(password[:-1], stored)
    # Nothing is cut off: bcrypt alone would take these for the same from byte 73 on.
    assert not PASSLIB.verify(password + "x", stored)


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS.keys())
def test_we_verify_passlibs_hash(server: Server, password: str):
    email = fresh_email("theirs")
    server.register(email, "another-" + secrets.token_hex(4))
    scheme = "bcrypt_sha256" if len(password.encode()) > 72 else "bcrypt"
    store_hash(server, email, hash_with_passlib(password, scheme))
    server.log_in(email, password)
    wrong = server.client.post("/auth/login", json={"email": email, "password": password[:-1] + "?"})
    assert wrong.status_code == 401


def test_we_verify_bcrypt_sha256_of_a_short_password(server: Server):
    email = fresh_email("theirs")
    server.register(email, "another-" + secrets.token_hex(4))
    store_hash(server, email, hash_with_passlib("kx7-Quarz", "bcrypt_sha256"))
    server.log_in(email, "kx7-Quarz")
    assert PASSLIB.verify("kx7-Quarz", stored_hash(server, email))


def test_a_hash_of_another_cost_is_upgraded_at_sign_in(server: Server):
    email = fresh_email("upgrade")
    server.register(email, "another-" + secrets.token_hex(4))
    for password in ("kx7-Quarz", "e5-" * 30):
        scheme = "bcrypt_sha256" if len(password) > 72 else "bcrypt"
        old = hash_with_passlib(password, scheme, rounds=5)
        store_hash(server, email, old)
        assert server.client.post("/auth/login", json={"email": email, "password": password + "?"}).status_code == 401
        assert stored_hash(server, email) == old, "a wrong password changes nothing"
        server.log_in(email, password)
        new = stored_hash(server, email)
        assert new != old
        assert ("r=4$" if len(password) > 72 else "$2b$04$") in new
        assert PASSLIB.verify(password, new)
        server.log_in(email, password)


def test_redis_py_reads_a_session_until_its_tombstone(postgres_redis: Server):
    server = postgres_redis
    email = fresh_email("redis")
    answer = server.register(email, "kx7-Quarz")
    token, user_id = answer["access_token"], answer["user"]["id"]
    sid = unverified_claims(token)["sid"]
    # Whatever is filled late is filled by the first request.
    assert server.client.get("/auth/me", headers=bearer(token)).status_code == 200

    with redis.Redis.from_url(server.redis_server.url, decode_responses=True) as client:
        session = json.loads(client.get(f"session:{sid}"))
        assert session["user_id"] == user_id
        assert session["email"] == email
        assert session["role"] == "user"
        assert session["login_at"] and session["expires_at"]
        assert "revoked" not in session
        assert 0 < client.ttl(f"session:{sid}") <= 30 * 24 * 3600

        user = json.loads(client.get(f"user:{user_id}"))
        assert user["email"] == email
        assert user["role"] == "user"
        assert user["is_active"] is True
        assert isinstance(user["version"], int)

        # No entry in Redis lets a client in.
        for key in client.scan_iter(count=1000):
            if client.type(key) == "string":
                value = client.get(key)
                assert "eyJ" not in value and "$2b$" not in value, key

        assert server.client.post("/auth/logout", json={}, headers=bearer(token)).status_code == 200
        tombstone = json.loads(client.get(f"session:{sid}"))
        assert isinstance(tombstone["revoked"], str) and tombstone["revoked"]
        assert client.ttl(f"session:{sid}") > 0
    refused = server.client.get("/auth/me", headers=bearer(token))
    assert refused.status_code == 401
    assert refused.json()["code"] == "session_revoked"


def test_a_change_of_a_user_raises_the_version_in_redis(postgres_redis: Server):
    server = postgres_redis
    answer = server.register(fresh_email("version"), "kx7-Quarz")
    token, user_id = answer["access_token"], answer["user"]["id"]
    assert server.client.get("/auth/me", headers=bearer(token)).status_code == 200
    with redis.Redis.from_url(server.redis_server.url, decode_responses=True) as client:
        before = json.loads(client.get(f"user:{user_id}"))
        admin = bearer(server.admin_token())
        changed = server.client.patch(f"/admin/users/{user_id}", json={"role": "analyst"}, headers=admin)
        assert changed.status_code == 200, changed.text
        # A node may drop the copy instead of replacing it; the next request then fills it.
        assert server.client.get("/auth/me", headers=bearer(token)).json()["role"] == "analyst"
        after = json.loads(client.get(f"user:{user_id}"))
    assert after["role"] == "analyst"
    assert after["version"] > before["version"]


def test_another_program_adds_a_user_by_itself(server):
    """With the columns that it knows of: what it does not know has defaults, by functions that its database library has too."""
    email = fresh_email("written-by-another-program")
    server.sql(
        "insert into users (email, email_key, search_text, role, is_active, locale, version, created_at, updated_at) "
        "select ?, ?, ?, role, is_active, locale, version, created_at, updated_at from users limit 1",
        email,
        email,
        email,
    )
    shown = "uid" if server.postgres else "hex(uid)"
    ((uid,),) = server.sql(f"select {shown} from users where email_key = ?", email)
    uid = uuid.UUID(uid)
    assert uid.version == 4 and uid.variant == uuid.RFC_4122
