"""The application for tests, hundreds of times a run."""

from dataclasses import fields
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import create_app
from backend.core.settings import Settings


def quick_app(settings: Settings) -> FastAPI:
    """`create_app`, without working out anew what the functions of 160 operations take.

    FastAPI does that at an application's first request, for a tenth of a second, and keeps it on what it made of each
    included router. It depends on nothing that differs between two of our applications; they share it.
    """
    app = create_app(settings)
    app.openapi = _first().openapi  # type: ignore[method-assign]  # half a second, and the same for all
    for mine, first in zip(app.routes, _first().routes, strict=False):
        router = getattr(mine, "original_router", None)
        if router is not None and router is getattr(first, "original_router", None):
            first.effective_candidates()  # type: ignore[attr-defined]
            first.effective_low_priority_routes()  # type: ignore[attr-defined]
            for one in fields(first):  # type: ignore[arg-type]
                if one.name.startswith("_effective"):
                    setattr(mine, one.name, getattr(first, one.name))
    return app


def browser_of(app: FastAPI, **options: Any) -> TestClient:
    """In the event loop that the fixture `app` runs the application in, as a server would: one of its own for each
    request takes as long as most answers."""
    browser = TestClient(app, base_url="http://127.0.0.1:8000", **options)
    browser.portal = getattr(app.state, "portal", None)
    return browser


@cache
def _first() -> FastAPI:
    return create_app(Settings())
