"""The application: API, socket and the built page on one port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

import dexvla
from backend.accounts.endpoints import router as auth
from backend.audit.endpoints import router as audit
from backend.base_models.endpoints import router as models
from backend.checkpoints.endpoints import router as checkpoints
from backend.core import errors
from backend.core.settings import Settings
from backend.datasets.endpoints import router as datasets
from backend.editing.endpoints import router as editing
from backend.episodes.endpoints import router as episodes
from backend.episodes.renew import Renewal
from backend.evaluations.endpoints import router as evaluations
from backend.exports.endpoints import router as exports
from backend.imports.endpoints import router as imports
from backend.jobs.endpoints import router as jobs
from backend.jobs.reconciler import reconciler
from backend.labels.dataset.endpoints import router as labelling
from backend.labels.drafts.endpoints import notes
from backend.labels.drafts.endpoints import router as drafts
from backend.labels.proposals.endpoints import router as proposals
from backend.live.endpoints import router as live
from backend.live.sockets import router as live_sockets
from backend.preferences.endpoints import router as preferences
from backend.robot_hosts.endpoints import router as robot_hosts
from backend.robots.endpoints import router as robots
from backend.robots.endpoints import stop_router
from backend.robots.stopping import Stopping
from backend.storage.endpoints import router as storage
from backend.storage.housekeeper import housekeeper
from backend.studio.context import Studio
from backend.surveys.endpoints import router as surveys
from backend.system.endpoints import router as system
from backend.training.endpoints import router as training
from backend.uploads.endpoints import router as uploads
from backend.uploads.taking import Taking
from backend.web.events import EventBus
from backend.web.events import router as socket
from backend.web.headers import SecurityHeaders
from backend.web.hidden_paths import HiddenPaths
from backend.web.origin import OriginCheck
from backend.web.page import mount_page
from backend.web.screening import Screening

_THREADS = 120
MAX_BODY = 2 * 2**20  # bytes of a request; routes that need more or less say so
ROUTERS: tuple[APIRouter, ...] = (
    auth,
    preferences,
    audit,
    datasets,
    imports,
    surveys,
    episodes,
    uploads,
    drafts,
    notes,
    labelling,
    proposals,
    jobs,
    models,
    training,
    checkpoints,
    evaluations,
    exports,
    editing,
    robots,
    stop_router,
    robot_hosts,
    live,
    storage,
    system,
    socket,
    live_sockets,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The studio's application; `settings` default to the environment. Tables must be there (see
    backend.migrations.migrate)."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.studio = Studio.open(settings)
        # a request that waits for the database's writer holds a thread; the one that it waits for needs one, too
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        await asyncio.to_thread(app.state.studio.directory.start)
        app.state.stopping = Stopping(app.state.studio)
        app.state.stopping.start()
        app.state.event_bus = EventBus(settings.events_url)
        app.state.event_bus.start()
        access = asyncio.create_task(app.state.studio.access_watch.listen(settings.events_url))
        beside = (reconciler(app.state.studio), housekeeper(app.state.studio))
        for one in beside:
            one.start()
        renewal = Renewal(app.state.studio)
        renewal.start()
        taking = Taking(app.state.studio)
        taking.start()
        try:
            yield
        finally:
            await asyncio.to_thread(taking.stop)
            await asyncio.to_thread(renewal.stop)
            for one in beside:
                await asyncio.to_thread(one.stop)
            await app.state.event_bus.stop()
            while not access.done():
                access.cancel()  # again: a connection that is just being made may swallow the first
                await asyncio.wait({access}, timeout=0.5)
            app.state.stopping.close()
            app.state.studio.close()

    app = FastAPI(
        title="DexVLA Studio",
        version=dexvla.__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,  # /api/docs is of our own build, see backend.web.page
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
    )
    errors.install(app)
    app.add_middleware(OriginCheck)
    app.add_middleware(HiddenPaths, settings=settings)
    app.add_middleware(Screening)  # what the others read has been looked at
    app.add_middleware(SecurityHeaders)  # outermost: on refusals, too
    for router in ROUTERS:
        app.include_router(router, max_body_size=router.max_body_size or MAX_BODY)
    mount_page(app, settings.page)
    return app


def _operation_id(route: APIRoute) -> str:
    """The endpoint's own name: what the page's generated client calls it."""
    return route.name
