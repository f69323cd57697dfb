"""A studio's data as the first release left them, on SQLite and on PostgreSQL, and places to restore them to."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from backend.core.db import Database
from backend.core.settings import Settings
from tests.support import first_release
from tests.support.first_release import FirstRelease
from tests.support.servers import postgresql


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql(tmp_path_factory.mktemp("postgresql")) as port:
        yield f"postgresql+psycopg://studio:secret@127.0.0.1:{port}"


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """URLs of empty databases of a real server."""
    made: list[str] = []

    def make() -> str:
        url = request.getfixturevalue("server_url")
        name = f"studio_{len(made)}"
        _run(f"{url}/studio", f"CREATE DATABASE {name}")
        made.append(name)
        return f"{url}/{name}"

    yield make
    for name in made:
        _run(f"{request.getfixturevalue('server_url')}/studio", f"DROP DATABASE {name} WITH (FORCE)")


def _run(url: str, statement: str) -> None:
    database = Database(url)
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(statement))
    database.close()


Place = Callable[..., Settings]


@pytest.fixture
def place(tmp_path: Path, new_database: Callable[[], str]) -> Place:
    """place("new", "postgresql"): settings of a studio in that folder, on a new database."""

    def make(name: str, dialect: str = "sqlite") -> Settings:
        url = new_database() if dialect == "postgresql" else None
        return Settings(data=tmp_path / name, database_url=url, redis_url="redis://127.0.0.1:9")

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def old(place: Place, dialect: str) -> tuple[Settings, FirstRelease]:
    settings = place("old", dialect)
    return settings, first_release.make(settings)
