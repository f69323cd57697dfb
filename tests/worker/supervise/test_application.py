"""The application behind the gateway: whatever keeps it from starting, it is tried again."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backend.core.db import Database
from backend.core.settings import Settings
from tests.support.databases import make_tables
from worker.supervise.application import ApplicationProcess


def test_one_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the machine has no memory for another process."""
    settings = Settings(data=tmp_path / "data")
    settings.folder.prepare()
    database = Database(settings.sql_url)
    make_tables(database)
    database.close()

    async def run() -> None:
        application, ready = ApplicationProcess(settings), asyncio.Event()
        application.on_ready = ready.set
        with monkeypatch.context() as patched, capture_logs() as logs:
            patched.setattr("worker.supervise.application.sys.executable", str(tmp_path / "none"))
            await application.start()
            async with asyncio.timeout(60):
                while not logs:
                    await asyncio.sleep(0.01)
        assert "cannot be started" in logs[0]["status"]
        async with asyncio.timeout(180):
            await ready.wait()
        await application.stop()

    asyncio.run(run())
