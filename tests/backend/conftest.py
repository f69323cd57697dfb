"""A studio on a real SQLite file and a real Valkey, and people signed in to its real application."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from backend.core.db import Database
from backend.core.roles import Role
from backend.core.settings import Settings
from backend.studio.context import Studio
from backend.tables.user import User
from tests.support.application import browser_of, quick_app
from tests.support.databases import make_tables
from tests.support.people import PASSWORD, PASSWORD_HASH, SignIn
from tests.support.servers import postgresql
from worker.supervise.broker import broker_command


@pytest.fixture(scope="session")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private Valkey for all tests of a process."""
    folder = tmp_path_factory.mktemp("broker")
    socket = folder / "valkey.sock"
    process = subprocess.Popen(broker_command(folder, socket), stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(socket))
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.RedisError:
            time.sleep(0.05)
    else:
        pytest.fail("the broker did not start")
    yield f"unix://{socket}"
    process.terminate()
    process.wait(10)


@pytest.fixture
def settings(tmp_path: Path, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a studio in tmp_path / "studio"; roots for imports and models beside it."""
    for root in ("imports", "models"):
        (tmp_path / root).mkdir()
    settings = Settings(
        data=tmp_path / "studio",
        redis_url=broker_url,
        import_roots=(tmp_path / "imports",),
        model_roots=(tmp_path / "models",),
    )
    settings.folder.prepare()
    return settings


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    app = quick_app(settings)
    studio = Studio.open(settings)
    studio.broker.flushdb()
    make_tables(studio.db)
    with TestClient(app, base_url="http://127.0.0.1:8000") as running:  # runs the application's lifespan
        app.state.portal = running.portal
        yield app
    studio.close()


@pytest.fixture
def studio(app: FastAPI) -> Studio:
    """The parts that the application works with."""
    studio: Studio = app.state.studio
    return studio


@pytest.fixture
def anonymous(app: FastAPI) -> TestClient:
    """Not signed in; sends the Origin that a browser on the page would send."""
    return browser_of(app, headers={"Origin": "http://127.0.0.1:8000"})


@pytest.fixture
def client(app: FastAPI, studio: Studio) -> SignIn:
    """client("operator"): somebody of that role, signed in by cookie."""
    signed_in: dict[str, TestClient] = {}

    def sign_in(role: Role | str) -> TestClient:
        if role not in signed_in:
            name = str(role)
            with studio.db.transaction() as db:
                db.add(User(name=name, password_hash=PASSWORD_HASH, role=Role(role)))
            browser = browser_of(app, headers={"Origin": "http://127.0.0.1:8000"})
            answer = browser.post("/api/auth/login", json={"name": name, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            signed_in[role] = browser
        return signed_in[role]

    return sign_in


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql(tmp_path_factory.mktemp("postgresql")) as port:
        yield f"postgresql+psycopg://studio:secret@127.0.0.1:{port}/studio"


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """Of a database without tables, whatever the test before left in it."""
    engine = create_engine(postgresql_server)
    with engine.begin() as db:
        db.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()"))
        db.execute(text("DROP SCHEMA public CASCADE"))
        db.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return postgresql_server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Migrated and empty."""
    url = f"sqlite:///{tmp_path / 'studio.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    database = Database(url)
    make_tables(database)
    yield database
    database.close()
