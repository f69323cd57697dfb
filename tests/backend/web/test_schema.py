"""Every endpoint against its own OpenAPI: nobody can send what makes the studio fail (status 500)."""

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import response_schema_conformance

from backend.core.settings import Settings
from backend.studio.context import Studio
from dexvla.episodes.format import EpisodeData
from tests.support.application import browser_of
from tests.support.fuzzing import call, operations
from tests.support.labelling_data import Labels
from tests.support.odd_values import odd_addresses, odd_bodies
from tests.support.people import SignIn

pytestmark = pytest.mark.slow

# Pairs of anything are valid JSON schema that schemathesis cannot compile.
TUPLES = {"/api/training/check", "/api/runs", "/api/runs/{run_id}"}


def fuzz(operation: Any, browser: TestClient, kept: str) -> None:
    """`kept`: the account and the token that ask; they stay as they are."""
    cases = operation.as_strategy()  # once: it takes longer than a request

    @given(data=st.data())
    @hypothesis_settings(
        max_examples=12,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(data: st.DataObject) -> None:
        case = data.draw(cases)
        if kept in str(case.path_parameters):
            return
        answer = call(browser, case)
        assert answer.status_code != 500, f"{case.formatted_path} with {case.body!r}: {answer.text[:300]}"
        if answer.status_code < 300 and operation.path not in TUPLES:
            case.validate_response(answer, checks=[response_schema_conformance])

    run()


# FUZZ=n tries n odd requests of each operation, on each database.
ODD = hypothesis_settings(
    max_examples=int(os.environ.get("FUZZ", "12")),
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def fuzz_oddly(app: FastAPI, operation: Any, browser: TestClient, kept: str, there: dict[str, str]) -> None:
    """Requests that are in order but for one value: of the body, or of the address.

    there: ids of things that exist, by the parameter's name, so that what lies behind them is reached.
    """
    parameters = operation.definition.raw.get("parameters", [])
    names = [one["name"] for one in parameters if one["in"] == "path"]
    queries = [one["name"] for one in parameters if one["in"] == "query"]
    properties = _properties(app, operation.definition.raw)
    method, cases = operation.method.upper(), operation.as_strategy()

    @given(data=st.data())
    @ODD
    def run(data: st.DataObject) -> None:
        case = data.draw(cases)
        values = dict(case.path_parameters or {})
        if method != "DELETE":
            values |= {name: found for name, found in there.items() if name in names}
        if kept in values.values():
            return
        in_body = properties is not None and (not (names or queries) or data.draw(st.booleans()))
        if in_body:
            address = data.draw(st.just(operation.path))
            for name in names:
                address = address.replace("{" + name + "}", quote(str(values[name]), safe=""))
            content = data.draw(odd_bodies(case.body, properties or []))
            headers = {"Content-Type": "application/json"}
            answer = browser.request(method, address, content=content, headers=headers)
        elif names or queries:
            address = data.draw(odd_addresses(operation.path, names, values, queries))
            body = {"json": case.body} if properties is not None else {}
            answer = browser.request(method, address, **body)  # type: ignore[arg-type]
            content = b""
        else:
            return
        assert answer.status_code < 500 or answer.status_code == 503, (
            f"{method} {address[:200]} with {content[:500]!r}: {answer.text[:300]}"
        )

    run()


def _properties(app: FastAPI, operation: dict[str, Any]) -> list[str] | None:
    """Names of the JSON body's fields; None without such a body."""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return None
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = app.openapi()["components"]["schemas"].get(name, {})
    return list(found.get("properties", {}))


@pytest.fixture
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if getattr(request, "param", "sqlite") == "sqlite":
        return settings
    return settings.model_copy(update={"database_url": request.getfixturevalue("postgresql_url")})


@pytest.mark.parametrize("settings", ["sqlite", "postgresql"], indirect=True)
def test_no_odd_value_makes_it_fail(
    app: FastAPI, client: SignIn, studio: Studio, make_data: Callable[..., EpisodeData]
) -> None:
    """Half characters, NUL, numbers beyond every column, depth, characters that are not seen, dates out of range,
    garbage behind percent signs: everywhere in every request."""
    admin = client("admin")
    own = admin.get("/api/auth/me").json()["user"]["id"]
    browser = browser_of(app, raise_server_exceptions=False)
    browser.headers["Authorization"] = "Bearer " + admin.post("/api/auth/tokens", json={"name": "fuzz"}).json()["token"]
    client("viewer")
    people = {one["name"]: one["id"] for one in admin.get("/api/users").json()}
    labels = Labels(studio, make_data)
    there = {
        "dataset_id": labels.dataset_id,
        "episode_id": labels.ids[0],
        "user_id": people["viewer"],
        "page": "annotator",
        "camera": "cam_high",
        "step": "0",
    }
    failures: list[str] = []
    for operation in operations(app):
        try:
            fuzz_oddly(app, operation, browser, own, there)
        except Exception as error:  # all endpoints are looked at, then all complaints are shown
            failures.append(f"{operation.method.upper()} {operation.path}: {type(error).__name__}: {error}")
    if failures:
        pytest.fail("\n\n".join(failures))


def test_no_request_makes_it_fail(app: FastAPI, client: SignIn) -> None:
    admin = client("admin")
    own = admin.get("/api/auth/me").json()["user"]["id"]
    browser = browser_of(app, raise_server_exceptions=False)
    browser.headers["Authorization"] = "Bearer " + admin.post("/api/auth/tokens", json={"name": "fuzz"}).json()["token"]
    failures: list[str] = []
    for operation in operations(app):
        try:
            fuzz(operation, browser, own)
        except Exception as error:  # all endpoints are looked at, then all complaints are shown
            failures.append(f"{operation.method.upper()} {operation.path}: {type(error).__name__}: {error}")
    if failures:
        pytest.fail("\n\n".join(failures))
