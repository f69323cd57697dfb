"""A studio under test and the person in front of it."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.support.paths import ROOT
from tests.support.processes import READY

PASSWORD = "correct horse battery"
JOB_MS = 600_000  # a job gives way to everything else on a busy machine

expect.set_options(timeout=30_000)  # a busy machine is slow, not wrong


@contextmanager
def running_studio(data: Path) -> Iterator[str]:
    """`studio up` on a free port; yields the address that it prints. Stopped as with Ctrl-C, and must end in order."""
    environment = {**os.environ, "STUDIO_DATA": str(data), "STUDIO_PORT": "0"}
    command = [sys.executable, "-m", "worker.cli", "up"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = next((line for line in process.stdout if line.startswith(READY)), "").removeprefix(READY).strip()
        assert address, "the studio did not start"
        try:
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0  # a busy machine is slow, not wrong


def upload(context: BrowserContext, base: str, dataset: str, file: Path) -> str:
    """Send an episode file as the person of `context`, as a stream: Playwright would copy a large one several times."""
    cookies = "; ".join(f"{one.get('name')}={one.get('value')}" for one in context.cookies())
    headers = {"Origin": base, "Cookie": cookies, "Content-Length": str(file.stat().st_size)}
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=600)
    with file.open("rb") as content:
        connection.request("POST", f"/api/datasets/{dataset}/episodes?name={file.name}", content, headers)
        answer = connection.getresponse()
        text = answer.read()
    connection.close()
    assert answer.status == 201, text
    found: str = json.loads(text)["episode"]["id"]
    return found


class Person:
    """Somebody at the page, who does not accept errors in the browser's console. windowed: the browser has a window
    and the page its size."""

    def __init__(self, browser: Browser, address: str, screenshots: Path | None, *, windowed: bool = False) -> None:
        self.base = address.split("/setup")[0].rstrip("/")
        self.context: BrowserContext = browser.new_context(
            viewport=None if windowed else {"width": 1366, "height": 768},
            no_viewport=windowed,
            accept_downloads=True,
            color_scheme="light",
        )
        self.context.set_default_timeout(30_000)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self._screenshots = screenshots
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._listen)

    def _listen(self, message: Any) -> None:
        if message.type == "error" and "status of 401" not in message.text:
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    def was_refused(self, status: int, path: str) -> None:
        """What the server refused on purpose, which browsers report as errors; path: its end."""
        refused = [one for one in self.complaints if f"status of {status}" in one and one.endswith(path)]
        assert refused, f"nothing that ends in {path} was answered with {status}"
        self.complaints = [one for one in self.complaints if one not in refused]

    def at(self, testid: str) -> Locator:
        return self.page.get_by_test_id(testid)

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)

    def get(self, path: str) -> Any:
        """What the API says to this person."""
        answer = self.context.request.get(f"{self.base}/api{path}")
        assert answer.ok, f"{path}: {answer.status} {answer.text()}"
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Ask the API for something, as the page does."""
        answer = self.context.request.post(f"{self.base}/api{path}", data=body, headers={"Origin": self.base})
        assert answer.ok, f"{path}: {answer.status} {answer.text()}"
        return answer.json()

    def upload(self, dataset: str, file: Path) -> str:
        """Put an episode into a dataset; returns its id."""
        return upload(self.context, self.base, dataset, file)

    def wait_for(self, job: dict[str, Any]) -> None:
        """Wait for a job that the API gave to be done."""
        for _ in range(JOB_MS // 500):
            job = self.get(f"/jobs/{job['id']}")
            if job["state"] not in {"queued", "running"}:
                break
            self.page.wait_for_timeout(500)
        assert job["state"] == "done", job

    def sign_up(self, address: str) -> None:
        """The first account, from the address that a new studio prints."""
        self.page.goto(address)
        self.at("account-name").fill("ada")
        self.at("account-password").fill(PASSWORD)
        self.at("account-submit").click()
        expect(self.at("first-steps")).to_be_visible()

    def choose(self, field: str, option: str) -> None:
        """Pick an entry of a select by its visible text."""
        self.at(field).click()
        self.page.get_by_role("option", name=option).first.click()

    def fill(self, field: str, value: object) -> None:
        """Type into a field and leave it."""
        self.at(field).fill(str(value))
        self.at(field).press("Tab")

    def fits_a_phone(self) -> None:
        """What is too wide for a phone has become narrower (charts follow the window a frame later) and nothing sticks
        out."""
        self.page.set_viewport_size({"width": 390, "height": 844})
        for _ in range(100):
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            if wide <= 390:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the page is {wide} pixels wide on a phone")

    def job_is_done(self, within: Locator | None = None) -> None:
        """Wait for the job that is shown (inside `within`) to be done."""
        state = (within or self.page).get_by_test_id("job-state").first
        expect(state).to_have_attribute("data-state", "done", timeout=JOB_MS)

    def evaluation_is_done(self) -> dict[str, Any]:
        """Wait for the evaluation whose page is open; returns it."""
        path = f"/evaluations/{self.page.url.rpartition('/')[2]}"
        for _ in range(JOB_MS // 1000):
            found: dict[str, Any] = self.get(path)
            if found["job"]["state"] not in {"queued", "running"}:
                break
            self.page.wait_for_timeout(1000)
        assert found["job"]["state"] == "done", found["job"]
        return found

    def look(self, name: str) -> None:
        """A screenshot of the page in light and in dark, if people asked for some."""
        if self._screenshots is None:
            return
        for scheme in ("dark", "light"):
            self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            self.page.wait_for_timeout(400)
            self.page.screenshot(path=self._screenshots / f"{name}-{scheme}.png")


def train_tiny(person: Person, dataset_id: str) -> None:
    """A version of the dataset, a tiny base model and the run "cube" of four steps on them."""
    person.wait_for(person.post("/models/tiny", {"name": "Tiny"}))
    version = person.post(f"/datasets/{dataset_id}/versions", {"include_unlabelled": True})
    (base,) = person.get("/models")
    run = {
        "name": "cube",
        "stage": 2,
        "preset": "tiny",
        "base_model_id": base["id"],
        "sources": [{"version_id": version["id"]}],
        "fields": {"steps": 4, "batch_size": 2, "save_every": 4},
    }
    person.wait_for(person.post("/runs", run)["job"])
