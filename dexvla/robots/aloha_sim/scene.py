"""The joint-controlled ALOHA scenes of gym-aloha, and the conversions between MuJoCo's state and ALOHA's vectors.

ALOHA's vectors have 14 entries: six joints of the left arm (radians), the left gripper (0 closed, 1 open), then the
same of the right arm. MuJoCo has two mirrored fingers in each gripper (metres), so 16 robot entries.

Sources: scene files, start pose and gripper range are those of the PyPI package gym-aloha 0.1.5.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import pick_colour
from dexvla.robots.aloha_sim.gl import load_mujoco
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.spec import CameraSpec, RenderProfile

CONTROL_HZ = 50.0
PHYSICS_STEPS = 10  # of 0.002 s in a control step

ARM_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
JOINT_NAMES = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in (*ARM_JOINTS, "gripper"))

# Finger travel that counts as closed and open, metres (gym-aloha: PUPPET_GRIPPER_POSITION_CLOSE and _OPEN).
FINGER_CLOSED = 0.01844
FINGER_OPEN = 0.05800

# Joint limits of the scene's actuators, radians; a gripper's limits are the ends of its normalised scale. The fingers'
# own actuators stop a little inside them, at 0.065 and 0.975.
_ARM_LOW = (-3.14158, -1.85005, -1.76278, -3.14158, -1.8675, -3.14158, 0.0)
_ARM_HIGH = (3.14158, 1.25664, 1.6057, 3.14158, 2.23402, 3.14158, 1.0)
ACTION_LOW: NDArray[np.float32] = np.array(_ARM_LOW * 2, np.float32)
ACTION_HIGH: NDArray[np.float32] = np.array(_ARM_HIGH * 2, np.float32)

# For commands in real time: the joint velocity of ViperX's data sheet, pi rad/s, and braking from it within 60 ms. A
# gripper opens or closes in an eighth of a second.
MAX_VELOCITY: NDArray[np.float32] = np.array(([np.pi] * 6 + [8.0]) * 2, np.float32)
MAX_ACCELERATION: NDArray[np.float32] = np.array(([60.0] * 6 + [400.0]) * 2, np.float32)

_ARM_START = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0, 0.02239, -0.02239)
START_POSE: NDArray[np.float64] = np.array(_ARM_START * 2)

SCENE_FILES = {
    AlohaTask.TRANSFER_CUBE: "bimanual_viperx_transfer_cube.xml",
    AlohaTask.INSERTION: "bimanual_viperx_insertion.xml",
    AlohaTask.PICK_COLOUR: "bimanual_viperx_transfer_cube.xml",  # and see pick_colour.build
}

# Our names for the cameras of scene.xml and of the arms.
CAMERAS = {
    "cam_high": "top",
    "cam_table": "table_close",
    "cam_middle": "middle_close",
    "cam_left_wrist": "left_wrist",
    "cam_right_wrist": "right_wrist",
    "cam_angle": "angle",
    "cam_front": "front_close",
    "cam_left_pillar": "left_pillar",
    "cam_right_pillar": "right_pillar",
}


@dataclass(frozen=True)
class _Camera:
    """A camera that we add to the scene. Metres; degrees."""

    position: tuple[float, float, float]
    looks_at: tuple[float, float, float]
    fovy: float


# So close that 112 x 112 pixels show a thing's place to a few millimetres, and from where grippers hide little:
# the right arm's part of the table from above the left gripper; where both arms work, from the near side of the table.
_OURS = {
    "cam_table": _Camera(position=(-0.22, 0.5, 0.55), looks_at=(0.11, 0.5, 0.04), fovy=30.0),
    "cam_middle": _Camera(position=(0.0, 0.2, 0.8), looks_at=(0.0, 0.5, 0.1), fovy=42.0),
}


# For people alone: lit, with shadows, and in no recording. Policies are shown the cameras above, whose pixels stay as
# they were when demonstrations were recorded.
OVERVIEW = CameraSpec(name="overview", height=540, width=960)
_OVERVIEW = _Camera(position=(0.0, -0.5, 0.84), looks_at=(0.0, 0.5, 0.12), fovy=38.0)


def check_cameras(cameras: tuple[CameraSpec, ...]) -> None:
    """Raise RobotError for a camera the scene does not have, or one named twice."""
    names = [camera.name for camera in cameras]
    for name in names:
        if name not in CAMERAS:
            raise RobotError(f"aloha_sim has no camera {name!r}; it has {', '.join(CAMERAS)}")
        if names.count(name) > 1:
            raise RobotError(f"camera {name!r} is asked for twice")


def assets_folder() -> Path:
    """The folder of gym-aloha's scene files. gym_aloha itself is not imported: it would load dm_control."""
    spec = importlib.util.find_spec("gym_aloha")
    if spec is None or not spec.submodule_search_locations:
        raise RobotError("the scene files of the simulated ALOHA come with gym-aloha; install the `robot` extra")
    folder = Path(spec.submodule_search_locations[0]) / "assets"
    if not folder.is_dir():
        raise RobotError(f"gym-aloha is installed without its scene files ({folder}); reinstall the `robot` extra")
    return folder


def load_model(task: AlohaTask, *, cameras: tuple[CameraSpec, ...], profile: RenderProfile) -> Any:
    """Compile the scene of `task` into a mujoco.MjModel whose off-screen buffer fits `cameras`.

    `fast` switches multisampling off here, because MuJoCo reads it when a rendering context is made; shadows and
    reflections are switched off by the renderer.
    """
    load_mujoco(rendering=bool(cameras))
    model = _spec(task, {CAMERAS[name]: camera for name, camera in _OURS.items()}).compile()
    if profile is RenderProfile.FAST:
        model.vis.quality.offsamples = 0
    if cameras:
        model.vis.global_.offheight = max(camera.height for camera in cameras)
        model.vis.global_.offwidth = max(camera.width for camera in cameras)
    return model


def load_overview(task: AlohaTask) -> Any:
    """Compile the scene of `task` as people like to look at it, with the camera `OVERVIEW` alone. Its states are those
    of `load_model`'s; its images cost 32 ms of software rendering."""
    mujoco = load_mujoco()
    spec = _spec(task, {OVERVIEW.name: _OVERVIEW})
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=(0.93, 0.95, 0.97),
        rgb2=(0.62, 0.68, 0.75),
        width=256,
        height=256,
    )
    for light in spec.lights:
        light.active = False
    directional = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    spec.worldbody.add_light(
        pos=(-0.5, -0.6, 2.2), dir=(0.22, 0.45, -1), type=directional, castshadow=True, diffuse=(0.62, 0.60, 0.57)
    )
    spec.worldbody.add_light(
        pos=(0.8, -0.8, 1.5), dir=(-0.5, 0.5, -0.7), type=directional, castshadow=False, diffuse=(0.22, 0.24, 0.27)
    )
    spec.visual.headlight.ambient = (0.34, 0.34, 0.34)
    spec.visual.headlight.diffuse = (0.12, 0.12, 0.12)
    spec.visual.headlight.specular = (0.0, 0.0, 0.0)
    spec.visual.quality.shadowsize = 1024
    spec.visual.quality.offsamples = 0
    spec.visual.map.shadowscale = 0.6
    spec.stat.extent = 1.2  # the light's frustum is this wide: no shadow texels for what nobody sees
    model = spec.compile()
    model.vis.global_.offheight, model.vis.global_.offwidth = OVERVIEW.height, OVERVIEW.width
    return model


def _spec(task: AlohaTask, cameras: Mapping[str, _Camera]) -> Any:
    """The scene's file with cameras of ours, by MuJoCo's name, and with what the task adds."""
    spec = load_mujoco(rendering=False).MjSpec.from_file(str(assets_folder() / SCENE_FILES[task]))
    for name, camera in cameras.items():
        added = spec.worldbody.add_camera(name=name, pos=camera.position, fovy=camera.fovy)
        added.quat = _looking_at(camera.position, camera.looks_at)
    if task is AlohaTask.PICK_COLOUR:
        pick_colour.build(spec)
    return spec


def _looking_at(position: Any, target: Any) -> NDArray[np.float64]:
    """Quaternion wxyz of a camera at `position`, metres, that looks at `target` with its upper edge level."""
    mujoco = load_mujoco(rendering=False)
    back = np.subtract(position, target)
    back /= np.linalg.norm(back)
    right = np.cross((0.0, 0.0, 1.0), back)
    right /= np.linalg.norm(right)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.stack([right, np.cross(back, right), back], axis=1).ravel())
    return quaternion


def normalise_gripper(finger: float) -> float:
    """Finger travel, metres -> 0 closed .. 1 open."""
    return (finger - FINGER_CLOSED) / (FINGER_OPEN - FINGER_CLOSED)


def denormalise_gripper(gripper: float) -> float:
    """0 closed .. 1 open -> finger travel, metres."""
    return gripper * (FINGER_OPEN - FINGER_CLOSED) + FINGER_CLOSED


def joint_positions(qpos: NDArray[np.float64]) -> NDArray[np.float32]:
    """MuJoCo's qpos (nq,) -> ALOHA's (14,): radians, grippers normalised by their left finger."""
    left, right = qpos[:8], qpos[8:16]
    grippers = normalise_gripper(left[6]), normalise_gripper(right[6])
    return np.array([*left[:6], grippers[0], *right[:6], grippers[1]], np.float32)


def joint_velocities(qvel: NDArray[np.float64]) -> NDArray[np.float32]:
    """MuJoCo's qvel (nv,) -> ALOHA's (14,): radians per second, grippers in their normalised scale per second."""
    left, right = qvel[:8], qvel[8:16]
    travel = FINGER_OPEN - FINGER_CLOSED
    return np.array([*left[:6], left[6] / travel, *right[:6], right[6] / travel], np.float32)


def controls(action: NDArray[np.float32]) -> NDArray[np.float64]:
    """ALOHA's action (14,) -> MuJoCo's ctrl (16,): each gripper drives two mirrored fingers."""
    left, right = action[:7].astype(np.float64), action[7:].astype(np.float64)
    fingers = denormalise_gripper(left[6]), denormalise_gripper(right[6])
    return np.array([*left[:6], fingers[0], -fingers[0], *right[:6], fingers[1], -fingers[1]])
