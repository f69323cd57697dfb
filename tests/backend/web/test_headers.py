"""What strangers reach, and what browsers are told."""

import re

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute

from backend.identity.secrets import setup_token
from backend.studio.context import Studio
from tests.support.people import PASSWORD, SignIn

PAGES = ["/", "/datasets", "/api/docs"]


@pytest.mark.parametrize("path", [*PAGES, "/api/health", "/api/openapi.json", "/api/nothing", "/icon.svg", "/assets/x"])
def test_every_answer_says_what_a_browser_may_do_with_it(anonymous: TestClient, path: str) -> None:
    headers = anonymous.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert policy["default-src"] in {"'self'", "'none'"}
    assert policy.get("script-src", policy["default-src"]) in {"'self'", "'none'"}
    assert "http" not in headers["Content-Security-Policy"]
    assert "*" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/api/users", "/api/auth/me", "/api/auth/tokens", "/api/invitations", "/api/datasets"]
)
def test_what_one_person_is_told_is_kept_by_nobody(client: SignIn, path: str) -> None:
    """Not by a proxy, which may keep what says nothing, nor by a browser after signing out."""
    answer = client("admin").get(path)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert client("viewer").get("/api/nothing").headers["Cache-Control"] == "no-store"


def test_a_file_that_is_kept_is_asked_about_again(anonymous: TestClient) -> None:
    icon = anonymous.get("/icon.svg")
    assert icon.status_code == 200
    assert icon.headers["ETag"]
    assert icon.headers["Cache-Control"] == "private, no-cache"


def test_refusals_say_so_too(anonymous: TestClient) -> None:
    for answer in (
        anonymous.get("/api/datasets"),
        anonymous.post("/api/datasets", json={}, headers={"Origin": "http://evil.example"}),
        anonymous.get("/api/health", headers={"Host": "[x"}),
        anonymous.post("/api/auth/login", content=b"{" * 100, headers={"Content-Type": "application/json"}),
    ):
        assert 400 <= answer.status_code < 500
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_the_documentation_comes_from_here(anonymous: TestClient) -> None:
    """Every file that the page of the API's description loads is ours, and none of its scripts stands in it."""
    page = anonymous.get("/api/docs")
    assert page.status_code == 200, "build the page first: npm --prefix frontend run build"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert any(name.endswith(".js") for name in loaded)
    assert any(name.endswith(".css") for name in loaded)
    for name in loaded:
        assert name.startswith("/"), name
        assert not name.startswith("//"), name
        assert anonymous.get(name).status_code == 200, name
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)
    assert not re.search(r"\son\w+=", page.text)


def test_cookies_are_for_us_alone(anonymous: TestClient, studio: Studio) -> None:
    token = setup_token(studio.settings.folder.secrets)
    body = {"token": token, "name": "Ada", "password": PASSWORD}
    cookies = anonymous.post("/api/auth/setup", json=body).headers.get_list("set-cookie")
    assert {cookie.partition("=")[0] for cookie in cookies} == {"studio_session", "studio_device"}
    for cookie in cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie or "SameSite=strict" in cookie
        assert "Secure" not in cookie  # http://127.0.0.1: a browser would not keep it
    anonymous.patch("/api/settings", json={"public_url": "https://studio.example"})
    again = anonymous.post(
        "/api/auth/login", json={"name": "ada", "password": PASSWORD}, headers={"Origin": "https://studio.example"}
    )
    assert again.status_code == 200
    assert all("Secure" in cookie for cookie in again.headers.get_list("set-cookie"))


OPEN = {
    # what a stranger may call, each with its bound
    "GET /api/health",  # two queries
    "GET /api/auth/me",  # two queries
    "POST /api/auth/setup",  # hashes only behind the right token
    "POST /api/auth/login",  # the rate limiter, then a bounded hash
    "POST /api/auth/logout",
    "GET /api/links",  # a query by a hash
    "POST /api/links",  # hashes only behind a right token
    "GET /api/docs",
    "GET /api/openapi.json",
    "GET /api/{path:path}",  # says that there is nothing
    "GET /{path:path}",  # the page
}


def test_what_strangers_reach_is_written_down(app: FastAPI, anonymous: TestClient) -> None:
    """Everything else asks who calls before it does anything; a socket closes."""
    reached: set[str] = set()
    for method, path in _operations(app):
        address = re.sub(r"\{[^}]*\}", "0", path)
        content = {"json": {}} if method in {"POST", "PUT", "PATCH"} else {}
        answer = anonymous.request(method, address, **content)  # type: ignore[arg-type]
        asks = answer.status_code in {401, 422} and f"{method} {path}" not in OPEN
        if not asks:
            reached.add(f"{method} {path}")
    assert reached == OPEN


def _operations(app: FastAPI) -> list[tuple[str, str]]:
    described = [(method.upper(), path) for path, operations in app.openapi()["paths"].items() for method in operations]
    routes: list[BaseRoute] = app.routes
    others = [
        (method, route.path)
        for route in routes
        for method in sorted(getattr(route, "methods", None) or ())
        if isinstance(route, APIRoute) and not route.include_in_schema and method != "HEAD"
    ]
    return [*described, *others, ("GET", "/api/openapi.json")]


def test_authorization_that_is_not_ours_changes_nothing(client: SignIn, app: FastAPI) -> None:
    """Beside a cookie: the origin is looked at all the same, and the cookie counts."""
    operator = client("operator")
    operator.headers.pop("Origin")
    for foreign in ("Basic YTpi", "Bearer eyJhbGciOi.J9.x", "Bearer", "Bearer ", "Digest x", "bearer dv_x"):
        headers = {"Authorization": foreign}
        assert operator.get("/api/datasets", headers=headers).status_code == 200, foreign
        refused = operator.post("/api/datasets", json={"name": "x"}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_origin"), foreign
        own = {**headers, "Origin": "http://127.0.0.1:8000"}
        ours = operator.post("/api/auth/tokens", json={"name": "x"}, headers=own)
        assert ours.status_code == 201, foreign
    # one that looks like ours is the only thing that counts: an unknown one is nobody
    unknown = {"Authorization": "Bearer dvs_unknown"}
    assert operator.get("/api/datasets", headers=unknown).status_code == 401
    assert operator.post("/api/datasets", json={"name": "x"}, headers=unknown).status_code == 401
    assert operator.post("/api/auth/logout", headers=unknown).status_code == 204
    assert operator.get("/api/datasets").status_code == 200  # the cookie's session was not ended by it
