"""`studio robot --robot NAME --options FILE`: a robot of a plug-in, driven, staged and commanded by a policy."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.core.settings import Settings
from backend.robots.host_client import HostClient
from dexvla.live.messages import LiveState, Mode, TasksOut
from dexvla.spec import CameraSpec
from tests.support.paths import ROOT
from tests.support.plugged_in import plug_in
from tests.support.robot_hosts import LiveHost, broker, opened, until, watching
from tests.support.tiny_policies import tiny_checkpoint

CAMERA = CameraSpec(name="cam_top", height=48, width=64)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveHost]:
    plug_in(tmp_path / "site", monkeypatch)
    (tmp_path / "place.json").write_text('{"bench": "bench 3"}')
    settings = Settings(data=tmp_path / "studio")
    with opened(settings) as studio, broker(settings):
        environment = os.environ | settings.environment() | {"REDIS_URL": settings.events_url}
        command = [sys.executable, "-m", "worker.cli", "robot", "--robot", "bench_arm", "--name", "bench"]
        command += ["--options", str(tmp_path / "place.json")]
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        try:
            yield LiveHost(studio, process, "bench")
        finally:
            process.kill()
            process.wait()


def test_its_tasks_scenes_driving_and_a_rollout(host: LiveHost, tmp_path: Path) -> None:
    client = HostClient(name="bench", address=host.url("")[5:], token=host.headers["Authorization"][7:])
    (task,) = client.ask("GET", "/live/tasks", TasksOut).tasks
    assert (task.name, [field.name for field in task.fields]) == ("reach", ["colour", "distance"])
    state = host.live()
    assert state.joint_names == ["x", "y", "gripper"]
    assert state.scene is not None
    assert state.scene.instruction == "Reach the red target on the bench 3."

    status, answer = host.post("/live/scene", {"task": "reach", "seed": 4, "options": {"colour": "blue"}})
    assert (status, answer["scene"]["options"]) == (200, {"colour": "blue", "distance": 0.15}), answer
    assert answer["scene"]["instruction"] == "Reach the blue target on the bench 3."
    for bad in ({"task": "insertion"}, {"options": {"level": "spots"}}, {"options": {"distance": 3}}):
        assert host.post("/live/scene", {"task": "reach", "seed": 4, **bad})[0] == 422

    moved = drive(host, {"linear": [0.2, 0.0, 0.0]})
    assert moved.samples is not None
    assert moved.samples.action[-1][0] > 0.05
    assert abs(moved.samples.action[-1][1]) < 1e-3

    camera = CAMERA.model_copy(update={"height": 56, "width": 56})
    checkpoint = tiny_checkpoint(
        tmp_path, action_dim=3, state_dim=3, chunk_size=10, robot="bench_arm", fps=20, cameras=(camera,),
        recorded_cameras=(CAMERA,),
    )  # fmt: skip
    with watching(host):
        asked = {"path": str(checkpoint), "instruction": "Reach it.", "scene": {"task": "reach", "seed": 9}}
        assert host.post("/live/rollout", asked)[0] == 200
        states = host.acts_until(lambda now: now.policy is not None and now.policy.chunks > 1)
        assert states[-1].mode is Mode.POLICY
        assert states[-1].scene is not None
        assert (states[-1].scene.seed, states[-1].scene.options) == (9, {"colour": "red", "distance": 0.15})
    assert host.post("/live/end")[0] == 200


def drive(host: LiveHost, arm: dict[str, list[float]]) -> LiveState:
    """Hold the dead-man until the hand has gone some way; the first state of it."""
    epoch, seq = host.state().epoch, 0
    with host.socket("/live/control", **{"X-Studio-By": "ada", "X-Studio-Session": "a"}) as socket:
        found: list[LiveState] = []

        def gone() -> bool:
            nonlocal seq
            for held in (False, True) if seq == 0 else (True,):
                seq += 1
                message = {"type": "drive", "seq": seq, "sent": time.monotonic() * 1000, "epoch": epoch}
                socket.send(json.dumps(message | {"deadman": held, "evidence_ms": 0, "right": arm}))
            state = host.live()
            found[:] = [state]
            return state.samples is not None and state.samples.action[-1][0] > 0.05

        until(gone)
        return found[0]
