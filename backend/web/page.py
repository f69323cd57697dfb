"""Serve the built page: files as they are, everything else the page itself, whose router knows the rest."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from backend.core.errors import NotFoundError
from backend.web.headers import PAGE_POLICY

_PAGE = {"Cache-Control": "no-cache", "Content-Security-Policy": PAGE_POLICY}
_NOT_BUILT = "<p>The page is not built. Run <code>make setup</code> first.</p>"


def mount_page(app: FastAPI, folder: Path) -> None:
    """`folder` is what the front end's build wrote; without it, a line that says how to build it."""
    index = folder / "index.html"
    docs = folder / "docs.html"
    files = {file.name: file for file in folder.iterdir() if file.is_file()} if folder.is_dir() else {}
    assets = folder / "assets"
    if assets.is_dir():
        app.mount("/assets", _Immutable(directory=assets), name="assets")

    @app.get("/api/docs", include_in_schema=False)
    def api_docs() -> Response:
        """The viewer of the API's description, of our own build: nothing comes from elsewhere."""
        return FileResponse(docs, headers=_PAGE) if docs.is_file() else HTMLResponse(_NOT_BUILT, 503)

    @app.get("/api/{path:path}", include_in_schema=False)
    def unknown_endpoint(path: str) -> Response:
        raise NotFoundError(
            f"There is no /api/{path}; /api/openapi.json lists what there is. If one of the studio's own pages asked, "
            "it is from before an update: reload it."
        )

    @app.get("/{path:path}", include_in_schema=False)
    def page(request: Request, path: str) -> Response:
        if not index.is_file():
            return HTMLResponse(_NOT_BUILT, 503)
        file = files.get(path)
        if file is not None and file.suffix != ".html":
            return FileResponse(file)
        return FileResponse(index, headers=_PAGE)


class _Immutable(StaticFiles):
    """Built assets carry a hash in their names."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
