"""The API process."""

import structlog
import uvicorn

from backend.app import create_app
from backend.settings import Settings


def serve(settings: Settings, *, fd: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT; open sockets and downloads get two seconds."""
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
        proxy_headers=True,
        server_header=False,
    )
    uvicorn.Server(config).run()
