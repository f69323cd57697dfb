"""The API process."""

import structlog
import uvicorn

from backend.app import create_app
from backend.db import Database
from backend.settings import Settings
from worker.entrance import entrance


def serve(settings: Settings, *, fd: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT; open sockets and downloads get two seconds.

    fd: an inherited socket that is bound already, from `studio up`, which prints the address itself.
    """
    settings.folder.prepare()
    if fd is None:
        print(f"Studio ready: {entrance(settings, Database(settings.sql_url), settings.port)}", flush=True)  # noqa: T201
    structlog.configure(processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()])
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        fd=fd,
        log_level=settings.log_level.lower(),
        access_log=False,
        timeout_graceful_shutdown=2,
        ws_max_size=2**20,
        ws_per_message_deflate=False,  # pictures are JPEG already, and commands are not to wait
        proxy_headers=True,
        server_header=False,
    )
    uvicorn.Server(config).run()
