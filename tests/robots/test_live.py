"""The live robot for real: its renderer works beside the control loop, dies, hangs, and ends with its parent."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import AlohaSim, live
from dexvla.robots.aloha_sim.experts import ScriptedExpert
from dexvla.robots.aloha_sim.live import LiveAlohaSim
from dexvla.robots.aloha_sim.live_memory import RendererConfig, SharedScene, make_memory
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.base import Frame, Observation, TaskRobot
from dexvla.robots.registry import make_robot
from dexvla.spec import ALOHA_CAMERAS, CameraSpec, RenderProfile
from tests.support.processes import alive, cpu_seconds

SMALL = tuple(CameraSpec(name=name, height=48, width=64) for name in ALOHA_CAMERAS)


@pytest.fixture
def robot() -> Iterator[LiveAlohaSim]:
    robot = LiveAlohaSim(cameras=SMALL, frame_rate=50.0)
    robot.connect()
    yield robot
    robot.disconnect()


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def drive(robot: LiveAlohaSim, steps: int) -> list[Observation]:
    """Swing the left waist at 50 Hz by the wall clock."""
    start = robot.observe(images=False).qpos
    seen = []
    begin = time.monotonic()
    for step in range(steps):
        time.sleep(max(0.0, begin + step / 50 - time.monotonic()))
        action = start.copy()
        action[0] = start[0] + 0.4 * np.sin(step / 12)
        robot.act(action)
        seen.append(robot.observe())
    return seen


def test_three_seconds_with_three_full_cameras() -> None:
    robot = make_robot("aloha_sim_live")
    assert isinstance(robot, LiveAlohaSim)
    assert isinstance(robot, TaskRobot)
    robot.connect()
    try:
        robot.reset(3)
        begin = time.monotonic()
        seen = drive(robot, 150)
        took = time.monotonic() - begin
        deadline = begin + 120
        while time.monotonic() < deadline and min(len(fresh(seen, name)) for name in ALOHA_CAMERAS) < 6:
            seen += drive(robot, 50)  # a busy machine draws slowly
        assert robot.camera_fault is None
    finally:
        robot.disconnect()
    assert took < 20.0, "physics and loop, which do not wait for frames, take a hundredth of this beside the pauses"
    np.testing.assert_allclose([s.time for s in seen], np.arange(1, len(seen) + 1) * 0.02, atol=1e-9)
    for name in ALOHA_CAMERAS:
        frames = [s.frames[name] for s in seen]
        assert all(frame.image.shape == (480, 640, 3) for frame in frames)
        assert all(frame.time <= s.time + 1e-9 for frame, s in zip(frames, seen, strict=True))
        times = [frame.time for frame in frames]
        assert times == sorted(times)
        frames = fresh(seen, name)
        assert len(frames) >= 6
        if name != "cam_right_wrist":  # the right arm stands still
            assert len({frame.image.tobytes() for frame in frames}) >= len(frames) - 1


def fresh(seen: list[Observation], camera: str) -> list[Frame]:
    """The frames of a camera, each once."""
    frames = [one.frames[camera] for one in seen]
    return [frames[0]] + [after for before, after in itertools.pairwise(frames) if after.time > before.time]


def test_a_frame_shows_the_scene_of_its_own_time() -> None:
    """The same seed and actions in the plain robot give, at the frame's time, the same pixels."""
    camera = (CameraSpec(name="cam_high", height=96, width=128),)
    live_robot = LiveAlohaSim(cameras=camera, task=AlohaTask.INSERTION, render=RenderProfile.FULL)
    live_robot.connect()
    frame = live_robot.reset(8).frames["cam_high"]
    plain = AlohaSim(cameras=camera, task=AlohaTask.INSERTION, render=RenderProfile.FULL)
    plain.connect()
    frames = {0.0: plain.reset(8).frames["cam_high"].image}
    assert frame.time == 0.0
    assert np.array_equal(frame.image, frames[0.0])
    compared = {0.0}
    for number, step in enumerate(ScriptedExpert(AlohaTask.INSERTION, 8).plan(live_robot)[:60]):
        live_robot.act(step.action)
        plain.act(step.action)
        frames[round(plain.data.time, 6)] = plain.observe().frames["cam_high"].image
        if number % 10 == 9:
            newest = max(compared)
            assert wait_until(lambda newest=newest: live_robot.observe().frames["cam_high"].time > newest)
        frame = live_robot.observe().frames["cam_high"]
        assert np.array_equal(frame.image, frames[round(frame.time, 6)])
        compared.add(frame.time)
        time.sleep(0.02)
    live_robot.disconnect()
    plain.disconnect()
    assert len(compared) > 3


def test_reset_shows_the_new_scene_only(robot: LiveAlohaSim) -> None:
    drive(robot, 25)
    for seed in (1, 2):
        seen = robot.reset(seed)
        assert seen.time == 0.0
        assert set(seen.frames) == set(ALOHA_CAMERAS)
        assert all(frame.time == 0.0 for frame in seen.frames.values())
    with_one = robot.reset(1).frames["cam_high"].image
    assert not np.array_equal(with_one, seen.frames["cam_high"].image)


def test_frames_are_shared_and_therefore_read_only(robot: LiveAlohaSim) -> None:
    with pytest.raises(ValueError, match="read-only"):
        robot.observe().frames["cam_high"].image[:] = 0


def test_a_killed_renderer_is_reported_physics_goes_on_and_cameras_come_back(robot: LiveAlohaSim) -> None:
    robot.reset(0)
    drive(robot, 20)
    pid = robot.renderer_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: robot.camera_fault is not None)
    assert "has ended" in (robot.camera_fault or "")
    before = robot.observe()
    after = drive(robot, 20)[-1]
    assert after.time == pytest.approx(before.time + 0.4)
    assert not np.array_equal(after.qpos, before.qpos)
    assert {n: f.time for n, f in after.frames.items()} == {n: f.time for n, f in before.frames.items()}
    with pytest.raises(RobotError, match="has ended"):
        robot.reset(1)
    robot.restart_cameras()
    now = robot.observe(images=False).time
    assert wait_until(lambda: all(frame.time == now for frame in robot.observe().frames.values()))
    assert robot.camera_fault is None
    assert robot.renderer_pid != pid


def test_a_hanging_renderer_is_reported_and_physics_goes_on(robot: LiveAlohaSim) -> None:
    pid = robot.renderer_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        seen = drive(robot, 10)
        assert seen[-1].time > seen[0].time
        assert wait_until(lambda: robot.camera_fault is not None)
        assert "does not answer" in (robot.camera_fault or "")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert wait_until(lambda: robot.camera_fault is None)


def test_disconnect_ends_the_renderer_and_may_be_called_twice() -> None:
    robot = LiveAlohaSim(cameras=SMALL)
    robot.connect()
    pid = robot.renderer_pid
    assert pid is not None
    assert alive(pid)
    descriptors = len(os.listdir("/proc/self/fd"))
    robot.disconnect()
    robot.disconnect()
    assert not alive(pid)
    assert len(os.listdir("/proc/self/fd")) < descriptors
    with pytest.raises(RobotError, match="not connected"):
        robot.observe()
    robot.connect()
    assert set(robot.observe().frames) == set(ALOHA_CAMERAS)
    robot.disconnect()


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_the_renderer_ends_with_its_parent_and_leaves_no_shared_memory(how: str) -> None:
    program = (
        "import time\n"
        "from dexvla.robots.aloha_sim.live import LiveAlohaSim\n"
        "from dexvla.spec import CameraSpec\n"
        "robot = LiveAlohaSim(cameras=(CameraSpec(name='cam_high', height=48, width=64),))\n"
        "robot.connect()\n"
        "print(robot.renderer_pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    before = set(os.listdir("/dev/shm"))
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(signal.SIGKILL if how == "kill" else signal.SIGINT)
    parent.wait(30)
    parent.stdout.close()
    assert wait_until(lambda: not alive(pid))
    named = {name for name in set(os.listdir("/dev/shm")) - before if name.startswith(("psm_", "dexvla"))}
    assert named == set(), "shared memory with a name, which is not another program's"


def test_a_renderer_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = LiveAlohaSim(cameras=SMALL)
    whole = subprocess.Popen

    def without_opengl(*args: object, env: dict[str, str], **options: object) -> object:
        return whole(*args, env=env | {"MUJOCO_GL": "disable"}, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(live.subprocess, "Popen", without_opengl)
    with pytest.raises(RobotError, match="MUJOCO_GL=disable switches rendering off"):
        robot.connect()
    assert robot.renderer_pid is None


def test_without_cameras_there_is_no_renderer() -> None:
    robot = LiveAlohaSim(cameras=())
    robot.connect()
    assert robot.renderer_pid is None
    assert robot.reset(0).frames == {}
    assert robot.camera_fault is None
    robot.disconnect()


def test_neither_states_nor_frames_are_ever_torn() -> None:
    """Writers and readers at full speed: everything read is of one piece and never older than what was read before."""
    camera = CameraSpec(name="cam_high", height=240, width=320)
    config = RendererConfig(
        task=AlohaTask.INSERTION, render=RenderProfile.FAST, cameras=(camera,), frame_rate=1000.0, state_size=2000
    )
    descriptor = make_memory(SharedScene.size(config))
    writer, reader = SharedScene(config, descriptor), SharedScene(config, descriptor)
    os.close(descriptor)
    assert reader.read_frame("cam_high") is None
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            writer.write_state(np.full(2000, float(number)), float(number), number)
            writer.write_frame("cam_high", np.full((240, 320, 3), number % 256, np.uint8), float(number), number)

    thread = threading.Thread(target=write)
    thread.start()
    states, frames = [], []
    try:
        begin = time.monotonic()
        while time.monotonic() < begin + 1.0 or (
            time.monotonic() < begin + 60.0 and min(len(set(states)), len(set(frames))) <= 10
        ):
            state = reader.read_state()
            if state is not None and state.version > 0:
                assert (state.qpos == state.time).all()
                assert state.episode == state.time
                states.append(state.version)
            frame = reader.read_frame("cam_high")
            if frame is not None:
                assert (frame.image == frame.number % 256).all()
                assert frame.time == frame.episode == frame.number
                frames.append(frame.number)
    finally:
        stop.set()
        thread.join()
    assert len(set(states)) > 10
    assert len(set(frames)) > 10
    assert states == sorted(states)
    assert frames == sorted(frames)


def test_only_watched_cameras_are_rendered(robot: LiveAlohaSim) -> None:
    robot.watch(["cam_left_wrist"])
    for _ in range(2):  # what was under way is done then
        comes_up(robot, "cam_left_wrist")
    before = robot.observe().frames
    drive(robot, 30)
    comes_up(robot, "cam_left_wrist")
    assert robot.observe().frames["cam_high"].time == before["cam_high"].time
    robot.watch(())
    drive(robot, 25)
    pid = robot.renderer_pid
    assert pid is not None
    used = cpu_seconds(pid)
    drive(robot, 100)
    assert cpu_seconds(pid) - used < 0.2, "a renderer that nobody watches rests"
    assert robot.camera_fault is None
    robot.watch(ALOHA_CAMERAS)
    for camera in ALOHA_CAMERAS:
        comes_up(robot, camera)


def comes_up(robot: LiveAlohaSim, camera: str) -> None:
    """Wait for a frame of the scene as it is after one more step."""
    now = drive(robot, 1)[-1].time
    assert wait_until(lambda: robot.observe().frames[camera].time >= now)


def test_a_reset_shows_every_camera_again(robot: LiveAlohaSim) -> None:
    robot.watch(())
    seen = robot.reset(3)
    assert set(seen.frames) == set(ALOHA_CAMERAS)
