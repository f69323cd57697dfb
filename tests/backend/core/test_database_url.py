"""The database's address as people write it: passwords with any characters, and no password in what is said of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import make_url, text

from backend.core.database_url import plain_database_url
from backend.core.db import Database
from backend.core.settings import Settings
from tests.support.paths import ROOT
from tests.support.servers import postgresql

HARD = "p@ss/w#rd %41?:&+\u00e9"


@given(password=st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_a_password_apart_is_taken_as_it_is(password: str) -> None:
    url = make_url(plain_database_url("postgresql://studio@db.lab:5432/studio", password))
    assert (url.drivername, url.username, url.password) == ("postgresql+psycopg", "studio", password)
    assert (url.host, url.port, url.database) == ("db.lab", 5432, "studio")
    assert plain_database_url(url.render_as_string(hide_password=False), password), "what a child process gets"


@given(password=st.text(alphabet="@/#?:&+ab1.-_~!$()*,;=[] ", min_size=1))
def test_a_password_in_the_address_needs_no_encoding(password: str) -> None:
    """As an address that was put together from parts has it."""
    url = make_url(plain_database_url(f"postgresql://studio:{password}@postgres:5432/studio", None))
    assert (url.username, url.password, url.host, url.port, url.database) == (
        ("studio", password, "postgres", 5432, "studio")
    )


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("postgresql://a:b%40c@h/d", "postgresql+psycopg://a:b%40c@h/d"),
        ("postgres://a:b@h:5433/d?sslmode=require", "postgresql+psycopg://a:b@h:5433/d?sslmode=require"),
        ("postgresql+psycopg://a:b@[::1]:5/d", "postgresql+psycopg://a:b@[::1]:5/d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql+psycopg:///d?host=/run/postgresql"),
        ("postgresql://h/d", "postgresql+psycopg://h/d"),
        ("postgresql://a@h", "postgresql+psycopg://a@h"),
        ("sqlite:////srv/studio.db", "sqlite:////srv/studio.db"),
    ],
)
def test_what_was_right_stays(given: str, plain: str) -> None:
    assert plain_database_url(given, None) == plain
    assert plain_database_url(plain, None) == plain
    make_url(plain)


@pytest.mark.parametrize(
    ("url", "password", "said"),
    [
        ("postgresql://a:secret@h:54x/d", None, "cannot be read; expected postgresql://USER:PASSWORD@HOST:PORT/NAME"),
        ("mysql://a:secret@h/d", None, "cannot be read; expected postgresql://"),
        ("a:secret@h", None, "DATABASE_PASSWORD"),
        ("postgresql+psycopg2://a:secret@h/d", None, "'psycopg2' is not part of the studio"),
        ("postgresql://a:secret@h/d", "secret-2", "keep one of them"),
        ("postgresql://h/d", "secret", "no user"),
        ("sqlite:///file", "secret", "unset it"),
    ],
)
def test_what_cannot_be_read_is_said_without_the_password(url: str, password: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("+", r"\+")) as caught:
        plain_database_url(url, password)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValidationError) as refused:
        Settings(database_url=url, database_password=password)
    assert "secret" not in str(refused.value)


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "STUDIO_DATA": str(tmp_path), "DATABASE_URL": "postgresql://a:secret@h:54x/d"}
    command = [sys.executable, "-m", "worker.cli", "migrate"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("studio: DATABASE_URL: it cannot be read; expected postgresql://")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_a_server_that_is_away_is_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "STUDIO_DATA": str(tmp_path), "DATABASE_URL": "postgresql://a:secret@127.0.0.1:9/d"}
    command = [sys.executable, "-m", "worker.cli", "migrate"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("studio: the database cannot be used: connection failed"), done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_a_server_lets_it_in(tmp_path: Path) -> None:
    with postgresql(tmp_path, password=HARD) as port:
        for settings in (
            Settings(database_url=f"postgresql://studio@127.0.0.1:{port}/studio", database_password=HARD),
            Settings(database_url=f"postgresql://studio:{HARD.replace('%', '%25')}@127.0.0.1:{port}/studio"),
        ):
            child = Settings(**{"database_url": settings.environment()["DATABASE_URL"]})
            for one in (settings, child):
                database = Database(one.sql_url)
                with database.engine.connect() as connection:
                    assert connection.scalar(text("select 1")) == 1
                database.engine.dispose()


@pytest.mark.parametrize("address", ["http://ada:secret@lab", "http://ada:secret@[x", "ftp://ada:secret@lab"])
def test_a_start_with_a_wrong_address_says_so_without_its_password(tmp_path: Path, address: str) -> None:
    environment = {**os.environ, "STUDIO_DATA": str(tmp_path / "data"), "STUDIO_PUBLIC_URL": address}
    command = [sys.executable, "-m", "worker.cli", "migrate"]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith("studio: STUDIO_PUBLIC_URL: ")
    assert "Value error" not in ended.stderr
    assert "secret" not in ended.stderr
    assert not (tmp_path / "data").exists()
