"""A long list in a real browser: few rows are drawn, the server sorts and searches, the address says what is asked."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from backend.core.db import new_id, utc_now
from backend.core.settings import Settings
from backend.migrations.migrate import migrate
from backend.studio.context import Studio
from backend.tables.job import Job, JobKind, JobState
from backend.tables.run import Run
from tests.support.axe import axe
from tests.support.browser_studio import Person, running_studio

pytestmark = pytest.mark.clockless
RUNS = 230


def fill(data: Path) -> None:
    """Runs that are over, "run 0" the newest."""
    settings = Settings(data=data)
    settings.folder.prepare()
    studio = Studio.open(settings)
    migrate(studio.db)
    with studio.db.transaction() as db:
        for place in range(RUNS):
            job = Job(id=new_id(), kind=JobKind.TRAIN, title="a job", payload={}, state=JobState.DONE, attempt=1)
            db.add(job)
            db.flush()
            db.add(
                Run(
                    id=f"run{place}", name=f"run {place}", stage=2, spec={}, request={}, sources=[], job_id=job.id,
                    created_at=utc_now() - timedelta(minutes=place),
                )
            )  # fmt: skip
    studio.close()


@pytest.fixture(scope="module")
def ada(browser: Browser, tmp_path_factory: pytest.TempPathFactory, screenshots: Path | None) -> Iterator[Person]:
    data = tmp_path_factory.mktemp("lists") / "studio"
    fill(data)
    with running_studio(data) as address:
        person = Person(browser, address, screenshots)
        person.sign_up(address)
        yield person
        assert person.complaints == []


def test_a_long_list_is_walked_sorted_and_searched(ada: Person) -> None:
    ada.go("/training")
    row, table = ada.at("run-row"), ada.page.get_by_role("table", name="Training runs")
    expect(row.first).to_have_attribute("data-id", "run0")
    expect(table).to_have_attribute("aria-rowcount", str(RUNS + 1))
    assert row.count() < 50
    assert axe(ada.page) == []
    ada.look("runs")

    for _ in range(40):  # the next rows come as one scrolls
        ada.page.keyboard.press("End")
        if row.last.get_attribute("data-id") == f"run{RUNS - 1}":
            break
        ada.page.wait_for_timeout(250)
    expect(row.last).to_have_attribute("data-id", f"run{RUNS - 1}")
    expect(row.last).to_have_attribute("aria-rowindex", str(RUNS + 1))
    assert row.count() < 50

    ada.page.keyboard.press("Home")
    table.get_by_role("button", name="Run", exact=True).click()
    ada.page.wait_for_url("**?sort=name")
    expect(row.nth(2)).to_have_attribute("data-id", "run10")  # as letters go
    table.get_by_role("button", name="Run", exact=True).click()
    expect(row.first).to_have_attribute("data-id", "run99")
    ada.at("runs-search").fill("run 22")
    expect(row).to_have_count(12)  # 22, 122 and 220 to 229
