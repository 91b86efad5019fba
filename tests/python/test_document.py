"""The platform document's own test requests, with the statuses that its tests expect."""

import secrets

from footprint import Server, bearer

PASSWORD = "Password123"


def fresh_email(name: str) -> str:
    return f"{name}-{secrets.token_hex(4)}@example.com"


def test_a_new_address_registers(server: Server):
    email = fresh_email("test")
    answer = server.client.post(
        "/auth/register", json={"email": email, "password": PASSWORD, "full_name": "Test User"}
    )
    body = server.keep_tokens(answer, 201)
    assert body["access_token"]
    assert body["token_type"] == "bearer"
    assert body["user"]["email"] == email
    assert body["user"]["full_name"] == "Test User"
    assert body["user"]["role"] == "user"


def test_an_address_registers_once(server: Server):
    email = fresh_email("duplicate")
    server.register(email, PASSWORD)
    answer = server.client.post("/auth/register", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 400
    assert answer.json()["code"] == "email_taken"
    assert isinstance(answer.json()["detail"], str)


def test_the_right_password_signs_in(server: Server):
    email = fresh_email("login")
    server.register(email, PASSWORD)
    answer = server.client.post("/auth/login", json={"email": email, "password": PASSWORD})
    assert server.keep_tokens(answer, 200)["access_token"]


def test_a_wrong_password_does_not(server: Server):
    email = fresh_email("wrong")
    server.register(email, PASSWORD)
    for address in (email, fresh_email("stranger")):
        answer = server.client.post("/auth/login", json={"email": address, "password": "WrongPassword"})
        assert answer.status_code == 401
        assert answer.json()["code"] == "invalid_credentials"


def test_a_protected_endpoint_wants_a_token(server: Server):
    email = fresh_email("protected")
    server.register(email, PASSWORD)
    assert server.client.get("/auth/me").status_code == 403

    token = server.log_in(email, PASSWORD)["access_token"]
    answer = server.client.get("/auth/me", headers=bearer(token))
    assert answer.status_code == 200
    assert answer.json()["email"] == email
