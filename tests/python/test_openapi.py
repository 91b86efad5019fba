"""The OpenAPI document names exactly the fields that the server reads."""

from __future__ import annotations

import json
import uuid

import pytest
from footprint import Server, assert_problem, bearer

# A value of the wrong type: known fields complain about it, so nothing is changed by these requests.
WRONG = 1


def json_bodies(document: dict) -> list[tuple[str, str, list[str]]]:
    """Method, path and properties of every operation that takes JSON."""
    found = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if not (body := operation.get("requestBody")):
                continue
            schema = body["content"]["application/json"]["schema"]
            if reference := schema.get("$ref"):
                schema = document["components"]["schemas"][reference.rpartition("/")[2]]
            found.append((method.upper(), path, list(schema["properties"])))
    return found


@pytest.fixture(scope="module")
def document(sqlite: Server) -> dict:
    return sqlite.client.get("/openapi.json").json()


def test_the_command_prints_what_the_server_serves(sqlite: Server, document: dict):
    assert json.loads(sqlite.run_cli("openapi")) == document


def test_every_documented_field_is_read_and_no_other(sqlite: Server, document: dict):
    token = sqlite.admin_token()
    user_id = sqlite.register("fields@example.com", "kx7-Quarz")["user"]["id"]
    bodies = json_bodies(document)
    assert len(bodies) >= 7
    for method, path, names in bodies:
        # Users have numbers, the rest has UUIDs.
        url = path.replace("{id}", str(user_id) if "/users/" in path else str(uuid.uuid4()))

        def errors(body: dict) -> dict[str, str]:
            answer = sqlite.client.request(method, url, json=body, headers=bearer(token))
            problem = assert_problem(answer, 422)
            return {error["field"]: error["code"] for error in problem["errors"]}

        read = errors(dict.fromkeys(names, WRONG))
        assert read == dict.fromkeys(names, "invalid_type"), f"{method} {path}"
        refused = errors(dict.fromkeys([*names, "surplus"], WRONG))
        assert refused == {**read, "surplus": "unknown_field"}, f"{method} {path}"
