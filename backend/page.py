"""Serve the built page: files as they are, everything else the page itself, whose router knows the rest."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from backend.errors import NotFoundError

_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
        "script-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def mount_page(app: FastAPI, folder: Path) -> None:
    """`folder` is what the front end's build wrote; without it, a line that says how to build it."""
    index = folder / "index.html"
    assets = folder / "assets"
    if assets.is_dir():
        app.mount("/assets", _Immutable(directory=assets), name="assets")

    @app.get("/api/{path:path}", include_in_schema=False)
    def unknown_endpoint(path: str) -> Response:
        raise NotFoundError(f"There is no /api/{path}; /api/openapi.json lists what there is.")

    @app.get("/{path:path}", include_in_schema=False)
    def page(request: Request, path: str) -> Response:
        if not index.is_file():
            return HTMLResponse("<p>The page is not built. Run <code>make setup</code> first.</p>", 503)
        file = folder / path
        if "/" not in path and path and file.is_file() and file.parent == folder:
            return FileResponse(file)
        return FileResponse(index, headers={"Cache-Control": "no-cache", **_SECURITY})


class _Immutable(StaticFiles):
    """Built assets carry a hash in their names."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
