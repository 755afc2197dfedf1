"""The gateway's own two APIs, asked whatever their descriptions allow, and what they do not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

from tests.fuzz.mutation import mutated
from tests.running import Program, data_directory, program

TOKEN = "gateway-token-of-many-characters"
MANAGEMENT = "/client/v4/accounts/local/ai-gateway"
# Of each operation so many requests are tried that its description allows, and as many with a change in them.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance, response_headers_conformance]
WORDS = ["default", "mine", "true", "-1", "2026-01-01", "id", "name"]
# Answers without end, and one that connects to whatever host it is told.
LEFT_OUT = {("GET", "/api/logs/tail"), ("GET", "/api/realtime/sessions"), ("POST", "/api/probe")}


class Api(NamedTuple):
    """An API: its description, and what every answer that refuses holds."""

    schema: Any
    check_refusal: Callable[[Any], None]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Program]:
    """A gateway of its own, with something of each kind in it: all of it may be changed and deleted."""
    with (
        data_directory() as folder,
        program(
            "serve",
            *("--port", "0", "--data-dir", str(folder), "--log-level", "error"),
            environment={"TRUNKLINE_GATEWAY_TOKEN": TOKEN},
        ) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def session(gateway: Program) -> Iterator[requests.Session]:
    """Who may do everything, from a page of the console."""
    with requests.Session() as session:
        session.trust_env = False
        of_console = {"x-trunkline-console": "1", "origin": gateway.address.http}
        session.headers.update({"authorization": f"Bearer {TOKEN}", **of_console})
        yield session


class Known(NamedTuple):
    """What is there at the beginning, by the names of the parameters that stand for it in a path."""

    values: dict[str, list[str]]

    def strategy(self, given: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
        """Return ways to fill in a path: mostly with what is there."""
        return st.fixed_dictionaries(
            {
                name: st.sampled_from([*self.values.get(name, [value]), value] if name != "account_id" else ["local"])
                for name, value in given.items()
            }
        )


@pytest.fixture(scope="module")
def known(gateway: Program, session: requests.Session) -> Known:
    """Make one of everything."""
    base = gateway.address.http

    def made(method: str, path: str, body: Any) -> Any:
        answer = session.request(method, f"{base}{path}", json=body, timeout=20)
        assert answer.ok, answer.text
        return answer.json()

    made("POST", "/api/gateways", {"id": "team"})
    key = made("POST", "/api/gateways/team/keys", {"name": "app"})
    made("PUT", "/api/gateways/team/stored-keys/openai/default", {"key": "sk-stored-0123456789"})
    made("POST", "/api/providers/custom", {"slug": "mine", "name": "Mine", "base_url": "https://mine.example/v1"})
    made("PUT", "/api/gateways/team/routes/mine", {"elements": ELEMENTS})
    made("PUT", "/api/conversations/c1", CONVERSATION)
    of_team = f"{MANAGEMENT}/gateways/team"
    route = made("GET", f"{of_team}/routes", None)["data"]["routes"][0]
    dataset = made("POST", f"{of_team}/datasets", {"name": "d", "enable": True, "filters": []})["result"]
    provider = made("GET", f"{MANAGEMENT}/custom-providers", None)["result"][0]
    config = made("GET", f"{of_team}/provider_configs", None)["result"][0]
    session.post(f"{base}/v1/local/team/openai/nothing", json={"model": "m"}, timeout=20)
    ids = ["c1", key["id"], route["id"], dataset["id"], provider["id"], config["id"], "mine"]
    return Known(
        {
            "name": ["team", "default", "mine"],
            "gateway_name": ["team"],
            "gateway_id": ["team", "default"],
            "key_id": [key["id"]],
            "id": ids,
            "provider": ["openai", "mine"],
            "alias": ["default"],
            "slug": ["mine"],
        }
    )


ELEMENTS = [
    {"id": "s", "type": "start", "outputs": {"next": {"elementId": "m"}}},
    {
        "id": "m",
        "type": "model",
        "properties": {"provider": "openai", "model": "gpt-5", "timeout": 1000, "retries": 0},
        "outputs": {"success": {"elementId": "e"}},
    },
    {"id": "e", "type": "end", "outputs": {}},
]
CONVERSATION = {
    "title": "Rome",
    "messages": [{"id": "m1", "parent": None, "role": "user", "text": "How warm is it?", "created_at": 1.0}],
}


def operations(schema: Any) -> list[Any]:
    """Return the operations in an order in which what deletes comes last."""
    found = [one.ok() for one in schema.get_all_operations() if one.ok() is not None]
    kept = [one for one in found if (one.method.upper(), one.path) not in LEFT_OUT]
    return sorted(kept, key=lambda one: (one.method.upper() == "DELETE", one.path.count("{")))


def _check_console(answer: Any) -> None:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code"}
    assert all(error.values())


def _check_management(answer: Any) -> None:
    body = answer.json()
    assert (body["success"], body["result"]) == (False, None)
    assert all(problem["message"] and problem["code"] for problem in body["errors"])


@pytest.mark.parametrize(
    ("path", "check_refusal"),
    [("/api/openapi.json", _check_console), ("/client/v4/openapi.json", _check_management)],
    ids=["console", "management"],
)
def test_no_request_makes_the_gateway_fail_and_answers_are_as_described(
    path: str, check_refusal: Callable[[Any], None], gateway: Program, session: requests.Session, known: Known
) -> None:
    document = session.get(f"{gateway.address.http}{path}", timeout=20).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=gateway.address.http)
    problems = []
    for operation in operations(schema):
        for is_changed in (False, True):
            problem = _problem_of(operation, check_refusal, session, known, is_changed=is_changed)
            if problem:
                words = "changed" if is_changed else "as described"
                problems.append(f"{operation.method.upper()} {operation.path} ({words}): {problem}")
    assert not problems, "\n\n".join(problems)


def _problem_of(
    operation: Any,
    check_refusal: Callable[[Any], None],
    session: requests.Session,
    known: Known,
    *,
    is_changed: bool,
) -> str:
    """Return what goes wrong with an operation, asked as its description says or with that changed; else nothing."""

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.data())
    def ask(data: st.DataObject) -> None:
        case: Case = data.draw(operation.as_strategy())
        if case.path_parameters:
            case.path_parameters = data.draw(known.strategy(case.path_parameters))
        chance = Random(data.draw(st.integers(0, 2**32 - 1)))
        body = {"data": _changed_body(case, chance)} if is_changed and isinstance(case.body, dict | list) else {}
        if is_changed and not body:
            _change_query(case, chance)
        answer = case.call(session=session, timeout=30, **body)
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code >= 400:
            check_refusal(answer)

    try:
        ask()
    except Exception as error:
        return f"{error!r:.3000}"
    return ""


def _changed_body(case: Case, chance: Random) -> bytes:
    return mutated(json.dumps(case.body).encode(), chance, WORDS, is_json=True)


def _change_query(case: Case, chance: Random) -> None:
    with suppress(ValueError):
        found = json.loads(mutated(json.dumps(case.query or {"a": "b"}).encode(), chance, WORDS, is_json=True))
        if isinstance(found, dict):
            case.query = {name: [_text(one) for one in _list(value)] for name, value in found.items()}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()
