"""Robots of plug-ins in the API: which there are, demonstrations of their tasks, what they refuse."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from backend.datasets.jobs import RecordPayload
from backend.robots import kinds
from backend.robots.host_client import HostClient
from backend.studio.context import Studio
from backend.tables.job import Job
from tests.support.people import SignIn
from tests.support.plugged_in import plug_in


@pytest.fixture
def plugged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plug_in(tmp_path / "site", monkeypatch)
    kinds.kinds.cache_clear()
    yield
    kinds.kinds.cache_clear()


@pytest.fixture
def operator(client: SignIn) -> TestClient:
    return client("operator")


@pytest.mark.usefixtures("plugged_in")
def test_a_plugged_in_robot_is_offered_beside_ours_with_the_fields_of_its_tasks(operator: TestClient) -> None:
    ours, plugged = operator.get("/api/robots/kinds").json()
    assert (ours["name"], ours["recovers"]) == ("aloha_sim", True)
    assert [task["name"] for task in ours["tasks"]] == ["transfer_cube", "insertion", "pick_colour"]
    assert (plugged["name"], plugged["title"], plugged["recovers"]) == ("bench_arm", "bench arm", False)
    (task,) = plugged["tasks"]
    assert [(field["name"], field["kind"]) for field in task["fields"]] == [
        ("colour", "choice"),
        ("distance", "number"),
    ]


@pytest.mark.usefixtures("plugged_in")
def test_its_demonstrations_are_recorded_with_its_own_cameras_and_options(studio: Studio, operator: TestClient) -> None:
    asked = {"robot": "bench_arm", "task": "reach", "options": {"colour": "blue"}, "name": "Bench: reach"}
    job = operator.post("/api/datasets/demo", json=asked)
    assert job.status_code == 202, job.text
    with studio.db.transaction(write=False) as db:
        spec = RecordPayload.model_validate(db.get_one(Job, job.json()["id"]).payload).spec
    assert (spec.robot, spec.task, spec.options) == ("bench_arm", "reach", {"colour": "blue", "distance": 0.15})
    assert [camera.name for camera in spec.cameras] == ["cam_top"]
    for wrong, field in (
        ({"options": {"distance": 1}}, "options"),
        ({"options": {"level": "spots"}}, "options"),
        ({"task": "insertion"}, "task"),
        ({"recovery": {}}, "recovery"),
    ):
        refused = operator.post("/api/datasets/demo", json=asked | wrong)
        assert (refused.status_code, list(refused.json()["error"]["fields"])) == (422, [field]), refused.text


def test_a_host_of_an_earlier_version_does_not_say_which_tasks_it_has(
    studio: Studio, operator: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Earlier(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(405)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Earlier) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = HostClient(name="arm", address=f"127.0.0.1:{server.server_port}", token="x")
        monkeypatch.setattr("backend.live.service.host_of", lambda studio, robot: (None, host))
        answer = operator.get("/api/live/arm/tasks")
        server.shutdown()
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"tasks": [], "arms": 2}


def test_a_robot_that_is_not_installed_is_refused_by_name(operator: TestClient) -> None:
    refused = operator.post("/api/datasets/demo", json={"robot": "bench_arm"})
    assert refused.status_code == 422
    assert "nknown robot 'bench_arm'" in refused.json()["error"]["message"]
