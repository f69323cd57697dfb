"""The API: the gateway in this process, the application in one that it starts."""

import socket
import sys
from contextlib import closing, suppress

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from backend.core import logs
from backend.core.db import Database
from backend.core.settings import Settings
from backend.gateway import limits
from backend.gateway.app import Gateway
from backend.gateway.protocol import GatewayProtocol
from backend.studio.context import Studio
from backend.studio.whereabouts import agree
from worker.core.data_lock import only_api
from worker.core.processes import keep_what_is_there, wake_promptly
from worker.supervise.application import ApplicationProcess
from worker.supervise.entrance import entrance

_BACKLOG = 2048
_SWITCH_SECONDS = 0.001  # between threads: the default of 5 ms lets a large download hold up what a stop writes down


def serve(settings: Settings, *, fd: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT; open sockets and downloads get two seconds. One process of a studio does.

    fd: an inherited socket that is bound already, from `studio up`, which prints the address itself. Raises UserError
    if another process serves this data folder.
    """
    settings.folder.prepare()
    with only_api(settings.folder):
        _serve(settings, fd)


def _serve(settings: Settings, fd: int | None) -> None:
    application = ApplicationProcess(settings)
    application.launch()
    sys.setswitchinterval(_SWITCH_SECONDS)
    with closing(Studio.open(settings)) as studio, suppress(SQLAlchemyError):  # away: its health says so
        agree(studio)
    wake_promptly()
    if fd is None:
        ready = f"Studio ready: {entrance(settings, Database(settings.sql_url), settings.port)}"

        def say_once() -> None:
            print(ready, flush=True)  # noqa: T201
            application.on_ready = lambda: None

        application.on_ready = say_once
    logs.configure()
    config = uvicorn.Config(
        Gateway(settings, application),
        host=settings.host,
        port=settings.port,
        http=GatewayProtocol,
        lifespan="on",
        interface="asgi3",
        log_level=settings.log_level.lower(),
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=int(limits.IDLE_SECONDS),
        timeout_graceful_shutdown=2,
        ws_max_size=2**20,
        ws_per_message_deflate=False,  # frames are JPEG already, and commands are not to wait
        proxy_headers=False,  # see backend.gateway.forwarded
        server_header=False,
        date_header=False,  # the application's is handed on
    )
    sockets = None if fd is None else [socket.socket(fileno=fd)]
    config.load()  # imports what serves
    keep_what_is_there()
    uvicorn.Server(config).run(sockets=sockets)
