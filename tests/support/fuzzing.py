"""Requests that schemathesis makes of an application's own schema."""

from typing import Any

import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

# Signing in is tested by itself: fuzzing it would only meet the rate limiter. A demo recording of 500 episodes is
# queued here like anything else, but no worker runs.
SKIPPED = {"/api/auth/login", "/api/auth/logout", "/api/auth/setup", "/api/auth/password", "/api/links"}


def operations(app: FastAPI) -> list[Any]:
    schema = schemathesis.openapi.from_dict(app.openapi())
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if operation.path not in SKIPPED]


def call(browser: TestClient, case: Any) -> Response:
    sent = case.as_transport_kwargs(base_url="http://127.0.0.1:8000")
    body = sent.pop("data", None)
    return browser.request(**sent, content=body) if body is not None else browser.request(**sent)
