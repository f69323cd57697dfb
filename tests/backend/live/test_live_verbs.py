"""POST /api/live/{robot}/...: what pages ask a robot host to do, and what a checkpoint of the studio does under a page.
Real processes: the API, the robot host of the simulated ALOHA, the broker."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection

from backend.checkpoints.files import checkpoint_folder
from backend.core.settings import Settings
from backend.live.demo import demo
from backend.tables.audit_entry import AuditEntry
from backend.tables.checkpoint import Checkpoint
from backend.tables.job import Job, JobKind, JobState
from backend.tables.run import Run
from dexvla.live.messages import LiveState, Mode
from tests.support.live_studio import LiveStudio, live_studio, next_state
from tests.support.robot_hosts import robot_host, until
from tests.support.tiny_policies import tiny_checkpoint

pytestmark = pytest.mark.waiting

URL = "/api/live/aloha-sim"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, broker_url: str) -> Iterator[LiveStudio]:
    settings = Settings(data=tmp_path_factory.mktemp("verbs") / "studio", redis_url=broker_url)
    with live_studio(settings) as live, robot_host(settings):
        live.cookie("operator")
        until(lambda: _holds(live), 60)
        yield live


def _holds(live: LiveStudio) -> bool:
    robots = live.request("GET", "/api/robots", who="operator")[1]
    return any(one["name"] == "aloha-sim" and one["status"].get("state") == "holding" for one in robots)


def test_verbs_are_carried_out_by_the_host_refused_in_words_and_written_down(live: LiveStudio) -> None:
    status, answer = live.request("POST", f"{URL}/resume", who="operator")
    assert status == 409
    assert answer["error"]["code"] == "conflict"
    assert "aloha-sim" in answer["error"]["message"]
    status, answer = live.request("POST", f"{URL}/pause", who="operator")
    assert status in {200, 409}
    for body, word in (
        ({"instruction": "lift it"}, "exactly one"),
        ({"instruction": "lift it", "demo": True, "url": "ws://127.0.0.1:1"}, "exactly one"),
        ({"instruction": "lift it", "path": "/etc"}, "path"),
        ({"instruction": "lift it", "url": "http://127.0.0.1"}, "url"),
        ({"instruction": "lift it", "url": "ws://127.0.0.1:1"}, "policy servers: none. STUDIO_POLICY_SERVERS lists"),
        ({"instruction": "lift it", "checkpoint_id": "none"}, "no such checkpoint"),
        ({"demo": True, "instruction": " "}, "empty"),
    ):
        status, answer = live.request("POST", f"{URL}/rollout", body, who="operator")
        assert status == 422, (body, answer)
        assert word in json.dumps(answer), (body, answer)
    status, answer = live.request("POST", f"{URL}/record", {"dataset_id": "x", "instruction": "y"}, who="operator")
    assert status == 422
    assert "dataset_id" in answer["error"]["fields"]
    status, answer = live.request("POST", "/api/live/nobody/pause", who="operator")
    assert status == 404


@pytest.fixture(scope="module")
def checkpoint(live: LiveStudio, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Id and folder of an untrained policy for the simulated ALOHA, as one of the studio's checkpoints."""
    with live.parts.db.transaction() as db:
        job = Job(kind=JobKind.TRAIN, title="run", payload={}, state=JobState.DONE)
        db.add(job)
        db.flush()
        run = Run(name="tiny", stage=2, spec={}, sources=[], job_id=job.id)
        db.add(run)
        db.flush()
        row = Checkpoint(
            run_id=run.id, step=7, stage=2, attempt=1, sha256="0" * 64, size_bytes=1, files=[], archive_sha256="0" * 64
        )
        db.add(row)
        db.flush()
        found, folder = row.id, checkpoint_folder(live.parts, row)
    folder.parent.mkdir(parents=True)
    tiny_checkpoint(tmp_path_factory.mktemp("policy")).rename(folder)
    return found, folder


def test_a_checkpoint_of_the_studio_acts_under_a_watching_page(live: LiveStudio, checkpoint: tuple[str, Path]) -> None:
    """From the page's request to chunks, all through the API; who may not is refused; the audit log names who did."""
    asked = {"checkpoint_id": checkpoint[0], "instruction": "Pick up the red cube"}
    for who in ("viewer", "annotator"):
        live.cookie(who)
        assert live.request("POST", f"{URL}/rollout", asked, who=who)[0] == 403
    with (
        live.socket("control?page=watching", "operator") as control,
        live.socket("state", "viewer") as states,
        Pulses(control, states) as page,
    ):
        status, answer = live.request("POST", f"{URL}/rollout", asked, who="operator")
        assert status == 200, answer
        assert (answer["mode"], answer["policy"]["checkpoint_id"]) == ("policy", checkpoint[0])
        until(lambda: page.state is not None and page.state.policy is not None and page.state.policy.chunks > 0, 90)
        status, answer = live.request("POST", f"{URL}/instruction", {"instruction": "the blue one"}, who="operator")
        assert (status, answer["policy"]["instruction"]) == (200, "the blue one")
        status, answer = live.request("POST", f"{URL}/scene", {"task": "transfer_cube", "seed": 1}, who="operator")
        assert status == 409, "something commands the robot"
        assert live.request("POST", f"{URL}/end", who="operator")[0] == 200
        until(lambda: page.state is not None and page.state.mode is Mode.IDLE)
    with live.parts.db.transaction(write=False) as db:
        written = db.query(AuditEntry).filter(AuditEntry.action.like("live.%")).order_by(AuditEntry.created_at)
        actions = {entry.action: entry for entry in written}
        assert actions["live.rollout"].detail["checkpoint_id"] == checkpoint[0]
        assert "path" not in actions["live.rollout"].detail
        assert actions["live.instruction"].detail == {"instruction": "the blue one"}
        assert {entry.user_name for entry in actions.values()} == {"operator"}


def test_a_checkpoint_of_other_dimensions_is_refused_before_the_robot_hears_of_it(
    live: LiveStudio, checkpoint: tuple[str, Path]
) -> None:
    file = checkpoint[1] / "config.json"
    config = file.read_text()
    changed = json.loads(config)
    changed["policy"] |= {"action_dim": 10, "state_dim": 7}
    file.write_text(json.dumps(changed))
    try:
        asked = {"checkpoint_id": checkpoint[0], "instruction": "Pick up the red cube"}
        status, answer = live.request("POST", f"{URL}/rollout", asked, who="operator")
    finally:
        file.write_text(config)
    assert status == 422
    assert "trained with 10 and 7" in answer["error"]["fields"]["checkpoint_id"]


class Pulses:
    """A page that watches: pulses every 40 ms by the newest epoch, and keeps the newest state."""

    def __init__(self, control: ClientConnection, states: ClientConnection) -> None:
        self.state: LiveState | None = None
        self._ended = threading.Event()
        self._control, self._states = control, states
        self._threads = [threading.Thread(target=self._pulse), threading.Thread(target=self._look)]

    def __enter__(self) -> "Pulses":
        for thread in self._threads:
            thread.start()
        until(lambda: self.state is not None and self.state.holder is not None)
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _pulse(self) -> None:
        seq = 0
        while not self._ended.wait(0.04):
            seq += 1
            epoch = 0 if self.state is None else self.state.status.epoch
            pulse = {"type": "pulse", "seq": seq, "sent": 1000 * time.monotonic(), "epoch": epoch}
            self._control.send(json.dumps(pulse))
            self._control.recv(timeout=5)

    def _look(self) -> None:
        while not self._ended.is_set():
            self.state = next_state(self._states)


def test_the_demo_says_what_it_was_trained_to_do(live: LiveStudio, tmp_path: Path) -> None:
    assert live.request("GET", "/api/live/demo", who="viewer")[0] == 200
    assert demo(tmp_path).available is False
    (tmp_path / "config.json").write_text("{}")
    assert demo(tmp_path).model_dump() == {"available": True, "task": None, "options": {}, "instructions": []}
    said = {"task": "pick_colour", "level": "spots", "instructions": ["Pick up the red cube", "Pick up the blue cube"]}
    (tmp_path / "manifest.json").write_text(json.dumps({"run": "x", "demo": said}))
    level = said.pop("level")
    assert demo(tmp_path).model_dump() == {"available": True, "options": {"level": level}, **said}
    (tmp_path / "manifest.json").write_text('{"demo": {"task": 3}}')
    assert demo(tmp_path).task is None
