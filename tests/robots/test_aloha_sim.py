"""The driver: states, actions, images and errors as a user of the robot meets them."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import AlohaSim, gl, scene
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.tasks import object_poses
from dexvla.robots.base import TaskRobot
from dexvla.spec import ALOHA_SIM_CAMERAS, ALOHA_SIM_JOINTS, CameraSpec, RenderProfile

pytestmark = pytest.mark.clockless

SMALL = tuple(CameraSpec(name=name, height=120, width=160) for name in ("cam_high", "cam_left_wrist"))


def wave(robot: AlohaSim, steps: int) -> None:
    """Swing the left waist, so that states and images change."""
    start = robot.observe(images=False).qpos
    for step in range(steps):
        action = start.copy()
        action[0] += 0.3 * np.sin(step / 10)
        action[6] = 1.0
        robot.act(action)


def test_it_is_a_task_robot_that_knows_its_limits_before_it_is_connected() -> None:
    robot = AlohaSim(cameras=())
    assert isinstance(robot, TaskRobot)
    info = robot.info
    assert len(info.joint_names) == len(info.action_names) == 14
    assert info.joint_names[6] == "left_gripper"
    assert info.control_hz == 50.0
    assert (info.action_low < info.action_high).all()
    with pytest.raises(RobotError, match="not connected"):
        robot.observe()


def test_limits_are_those_of_the_scenes_actuators(blind_robot: AlohaSim) -> None:
    arms = [i for i in range(16) if i % 8 < 6]
    joints = [i for i in range(14) if i % 7 < 6]
    limits = blind_robot.model.actuator_ctrlrange
    np.testing.assert_allclose(blind_robot.info.action_low[joints], limits[arms, 0], rtol=1e-6)
    np.testing.assert_allclose(blind_robot.info.action_high[joints], limits[arms, 1], rtol=1e-6)


def test_a_step_is_a_fiftieth_of_a_second(blind_robot: AlohaSim) -> None:
    assert blind_robot.reset(0).time == 0.0
    wave(blind_robot, 50)
    assert blind_robot.observe().time == pytest.approx(1.0)


def test_state_is_in_alohas_order_and_units(blind_robot: AlohaSim) -> None:
    start = blind_robot.reset(0)
    np.testing.assert_allclose(start.qpos[:6], [0, -0.96, 1.16, 0, -0.3, 0], atol=1e-6)
    assert start.qpos[6] == pytest.approx(0.0998, abs=1e-3)
    assert start.qpos.dtype == start.qvel.dtype == np.float32
    action = start.qpos.copy()
    action[6], action[7] = 1.0, 0.2  # left gripper opens, right waist turns
    for _ in range(10):
        blind_robot.act(action)
    moving = blind_robot.observe()
    assert moving.qvel[6] > 0.5
    assert moving.qvel[7] > 0.01
    for _ in range(90):
        blind_robot.act(action)
    end = blind_robot.observe()
    assert end.qpos[6] > 0.9
    assert end.qpos[13] == pytest.approx(0.1, abs=0.02)
    assert end.qpos[7] > 0.1
    assert abs(end.qpos[0]) < 0.01


def test_the_same_seed_is_the_same_scene_to_the_last_bit(blind_robot: AlohaSim) -> None:
    poses = []
    for seed in (5, 6, 5):
        blind_robot.reset(seed)
        wave(blind_robot, 30)
        poses.append((blind_robot.data.qpos.copy(), blind_robot.data.qvel.copy()))
    assert np.array_equal(poses[0][0], poses[2][0])
    assert np.array_equal(poses[0][1], poses[2][1])
    assert not np.array_equal(poses[0][0], poses[1][0])


def test_objects_start_inside_the_published_ranges(blind_robot: AlohaSim) -> None:
    starts = []
    for seed in range(200):
        blind_robot.reset(seed)
        starts.append(blind_robot.data.qpos[16:].copy())
    starts = np.array(starts)
    x_ranges = {AlohaTask.TRANSFER_CUBE: [(0.0, 0.2)], AlohaTask.INSERTION: [(0.1, 0.2), (-0.2, -0.1)]}
    for index, (low, high) in enumerate(x_ranges[blind_robot.task]):
        x, y = starts[:, 7 * index], starts[:, 7 * index + 1]
        assert low <= x.min() < low + 0.02
        assert high - 0.02 < x.max() <= high
        assert 0.4 <= y.min() < 0.42
        assert 0.58 < y.max() <= 0.6


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(blind_robot: AlohaSim, seed: int) -> None:
    with pytest.raises(RobotError, match="seed"):
        blind_robot.reset(seed)


def test_act_clips_to_the_limits_and_says_what_it_sent(blind_robot: AlohaSim) -> None:
    sent = blind_robot.act(np.full(14, 100.0, np.float32))
    assert sent.dtype == np.float32
    assert np.array_equal(sent, blind_robot.info.action_high)
    inside = np.linspace(0, 0.5, 14)
    np.testing.assert_allclose(blind_robot.act(inside), inside, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_action_is_refused_and_nothing_moves(blind_robot: AlohaSim, value: float) -> None:
    before = blind_robot.data.qpos.copy()
    action = np.zeros(14, np.float32)
    action[8] = value
    with pytest.raises(RobotError, match="right_shoulder"):
        blind_robot.act(action)
    assert np.array_equal(blind_robot.data.qpos, before)
    assert blind_robot.observe().time == 0.0


@pytest.mark.parametrize("shape", [(13,), (16,), (1, 14), ()])
def test_an_action_of_another_shape_is_refused(blind_robot: AlohaSim, shape: tuple[int, ...]) -> None:
    with pytest.raises(RobotError, match=r"\(14,\)"):
        blind_robot.act(np.zeros(shape, np.float32))


def test_disconnect_may_be_called_twice_and_connect_again() -> None:
    robot = AlohaSim(cameras=SMALL)
    robot.connect()
    first = robot.observe().frames["cam_high"].image
    robot.disconnect()
    robot.disconnect()
    robot.connect()
    assert np.array_equal(robot.observe().frames["cam_high"].image, first)
    robot.disconnect()


# --- images -------------------------------------------------------------------------------------------------


def test_images_have_the_asked_sizes_and_are_the_same_for_the_same_state() -> None:
    cameras = (
        CameraSpec(name="cam_high", height=48, width=64),
        CameraSpec(name="cam_front", height=100, width=80),
        CameraSpec(name="cam_left_pillar", height=600, width=800),
    )
    robot = AlohaSim(cameras=cameras)
    robot.connect()
    images = []
    for seed in (1, 2, 1):
        robot.reset(seed)
        wave(robot, 20)
        frames = robot.observe().frames
        assert {name: frame.image.shape for name, frame in frames.items()} == {
            camera.name: (camera.height, camera.width, 3) for camera in cameras
        }
        assert all(frame.time == pytest.approx(0.4) for frame in frames.values())
        images.append({name: frame.image for name, frame in frames.items()})
    robot.disconnect()
    for camera in cameras:
        assert np.array_equal(images[0][camera.name], images[2][camera.name])
    assert not np.array_equal(images[0]["cam_high"], images[1]["cam_high"])


def test_the_top_camera_is_right_side_up_and_not_mirrored() -> None:
    """The red cube lies in the right half (positive x) and moves up in the image as its y grows."""
    robot = AlohaSim(cameras=(CameraSpec(name="cam_high"),))
    robot.connect()
    rows, heights, columns, sides = [], [], [], []
    for seed in range(8):
        robot.reset(seed)
        x, y = robot.data.qpos[16:18]
        image = robot.observe().frames["cam_high"].image.astype(int)
        red = (image[..., 0] > 120) & (image[..., 1] < 80) & (image[..., 2] < 80)
        assert red.sum() > 50
        row, column = np.argwhere(red).mean(axis=0)
        rows.append(row)
        columns.append(column)
        heights.append(y)
        sides.append(x)
    robot.disconnect()
    assert np.corrcoef(rows, heights)[0, 1] < -0.98
    assert np.corrcoef(columns, sides)[0, 1] > 0.98


def test_the_middle_camera_shows_peg_and_socket_wherever_they_start() -> None:
    """Whole and at their places: what is outside of the image no policy can learn to grasp."""
    camera = CameraSpec(name="cam_middle", height=112, width=112)
    robot = AlohaSim(task=AlohaTask.INSERTION, cameras=(camera,))
    robot.connect()
    seen: dict[str, list[NDArray[np.float64]]] = {"peg": [], "socket": []}
    lie: dict[str, list[NDArray[np.float64]]] = {"peg": [], "socket": []}
    for seed in range(20):
        image = robot.reset(seed).frames["cam_middle"].image.astype(int)
        red, green, blue = image[..., 0], image[..., 1], image[..., 2]
        masks = {"peg": (red > 120) & (blue < 80), "socket": (blue > 120) & (red < 80)}
        places = object_poses(AlohaTask.INSERTION, seed).reshape(-1, 7)[:, :2]
        for name, place in zip(("peg", "socket"), places, strict=True):
            where = np.argwhere(masks[name] & (green < 80))
            assert len(where) > 60, f"seed {seed}: {len(where)} pixels of the {name}"
            assert where.min() > 0, f"seed {seed}: the {name} is cut off"
            assert where.max() < 111, f"seed {seed}: the {name} is cut off"
            seen[name].append(where.mean(axis=0))
            lie[name].append(place)
    robot.disconnect()
    for name in seen:
        (rows, columns), (sides, depths) = np.array(seen[name]).T, np.array(lie[name]).T
        assert np.corrcoef(rows, depths)[0, 1] < -0.98
        assert np.corrcoef(columns, sides)[0, 1] > 0.98


def test_a_wrist_camera_follows_its_own_arm() -> None:
    robot = AlohaSim(cameras=tuple(CameraSpec(name=n, height=60, width=80) for n in ("cam_left_wrist", "cam_high")))
    robot.connect()
    start = robot.observe()
    action = start.qpos.copy()
    action[6] = 1.0  # the left gripper opens: its own camera sees that
    for _ in range(60):
        robot.act(action)
    end = robot.observe()
    robot.disconnect()
    change = np.abs(end.frames["cam_left_wrist"].image.astype(int) - start.frames["cam_left_wrist"].image).max(axis=2)
    assert (change > 30).mean() > 0.05


def test_the_profiles_differ_in_pixels_and_show_the_same_scene() -> None:
    images = []
    for profile in RenderProfile:
        robot = AlohaSim(cameras=(CameraSpec(name="cam_high"),), render=profile)
        robot.connect()
        images.append(robot.reset(4).frames["cam_high"].image.astype(int))
        robot.disconnect()
    difference = np.abs(images[0] - images[1])
    assert (difference > 0).mean() > 0.001
    assert difference.mean() < 10


def test_an_unknown_or_doubled_camera_is_refused_with_the_known_names() -> None:
    with pytest.raises(RobotError, match=r"no camera 'cam_low'; it has cam_high, .*cam_right_pillar"):
        AlohaSim(cameras=(CameraSpec(name="cam_low"),))
    with pytest.raises(RobotError, match="twice"):
        AlohaSim(cameras=(CameraSpec(name="cam_high"), CameraSpec(name="cam_high", height=64)))


# --- what is missing on a machine -------------------------------------------------------------------------------


def test_missing_scene_files_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RobotError, match="`robot` extra"):
        AlohaSim(cameras=()).connect()


def test_a_fresh_program_renders_without_any_setting_and_ends_silently() -> None:
    """Also when it forgets to disconnect: the OpenGL context must be freed before EGL is shut down."""
    program = (
        "from dexvla.robots.aloha_sim import AlohaSim\n"
        "robot = AlohaSim()\n"
        "robot.connect()\n"
        "print(robot.observe().frames['cam_high'].image.mean() > 10)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.strip() == "True"
    assert run.stderr == ""


@pytest.mark.skipif(not gl.osmesa_works(), reason="OSMesa (Debian: libosmesa6) is not installed")
def test_osmesa_renders_too() -> None:
    program = (
        "from dexvla.robots.aloha_sim import AlohaSim\n"
        "robot = AlohaSim()\n"
        "robot.connect()\n"
        "print(robot.observe().frames['cam_high'].image.mean() > 10)\n"
    )
    # MuJoCo, loaded by other tests, has fixed PyOpenGL's platform in this process.
    environment = {key: value for key, value in os.environ.items() if key != "PYOPENGL_PLATFORM"}
    environment["MUJOCO_GL"] = "osmesa"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert run.stdout.strip() == "True", run.stderr[-2000:]


def test_gripper_scale_is_alohas() -> None:
    assert scene.normalise_gripper(0.05800) == pytest.approx(1.0)
    assert scene.normalise_gripper(0.01844) == pytest.approx(0.0)
    assert scene.denormalise_gripper(scene.normalise_gripper(0.03)) == pytest.approx(0.03)


def test_what_is_known_without_loading_it_is_true() -> None:
    assert set(ALOHA_SIM_CAMERAS) == set(scene.CAMERAS)
    assert len(scene.JOINT_NAMES) == ALOHA_SIM_JOINTS
