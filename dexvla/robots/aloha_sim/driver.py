"""The simulated ALOHA as a `TaskRobot`: 14 joints in, 14 joints and images out, 50 steps a simulated second."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import pick_colour, scene, tasks
from dexvla.robots.aloha_sim.gl import load_mujoco
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions
from dexvla.robots.aloha_sim.render import SceneRenderer
from dexvla.robots.base import Frame, Observation, RobotInfo, TaskOutcome
from dexvla.spec import ALOHA_CAMERAS, CameraSpec, RenderProfile

DEFAULT_CAMERAS = tuple(CameraSpec(name=name) for name in ALOHA_CAMERAS)


def robot_info(cameras: tuple[CameraSpec, ...]) -> RobotInfo:
    return RobotInfo(
        name="aloha_sim",
        joint_names=scene.JOINT_NAMES,
        action_names=scene.JOINT_NAMES,
        action_low=scene.ACTION_LOW,
        action_high=scene.ACTION_HIGH,
        control_hz=scene.CONTROL_HZ,
        simulated=True,
        cameras=cameras,
        max_velocity=scene.MAX_VELOCITY,
        max_acceleration=scene.MAX_ACCELERATION,
    )


class AlohaSim:
    """Two ViperX arms, a table and the objects of one task.

    task: which scene and which rule of success. pick: what pick_colour draws from. cameras: what `observe` renders, in
    any size; without cameras no OpenGL is needed. render: see `RenderProfile`. Raises RobotError for a camera that the
    scene does not have.

    The same seed and the same actions give the same states and, on one machine, the same pixels.
    """

    def __init__(
        self,
        *,
        task: AlohaTask = AlohaTask.TRANSFER_CUBE,
        cameras: tuple[CameraSpec, ...] = DEFAULT_CAMERAS,
        render: RenderProfile = RenderProfile.FAST,
        pick: PickColourOptions | None = None,
    ) -> None:
        scene.check_cameras(cameras)
        self._task = AlohaTask(task)
        self._pick_options = pick or PickColourOptions()
        self._pick: pick_colour.PickScene | None = None
        if self._task is AlohaTask.PICK_COLOUR:  # that of `connect`, so that there is an instruction from the start
            self._pick = pick_colour.draw_scene(0, self._pick_options)
        self._profile = RenderProfile(render)
        self._info = robot_info(cameras)
        self._model: Any = None
        self._data: Any = None
        self._renderer: SceneRenderer | None = None
        self._judge = tasks.Judge(self._task)

    @property
    def info(self) -> RobotInfo:
        return self._info

    @property
    def task(self) -> AlohaTask:
        return self._task

    @property
    def render_profile(self) -> RenderProfile:
        return self._profile

    @property
    def instruction(self) -> str:
        """Of the scene since the last reset."""
        return tasks.INSTRUCTIONS[self._task] if self._pick is None else self._pick.instruction

    @property
    def pick(self) -> pick_colour.PickScene | None:
        """The scene of pick_colour since the last reset; None for the other tasks."""
        return self._pick

    @property
    def scene_attributes(self) -> Mapping[str, str | float | bool]:
        """What tells episodes of pick_colour apart: options, the named colour and the other one that could be."""
        scene, options = self._pick, self._pick_options
        if scene is None:
            return {}
        return {
            "level": options.level.value,
            "split": options.split.value,
            "swapped": options.swapped,
            "named_colour": scene.named,
            "other_colour": scene.other,
        }

    @property
    def max_steps(self) -> int:
        return tasks.max_steps(self._task)

    @property
    def max_reward(self) -> float:
        return tasks.max_reward(self._task)

    @property
    def model(self) -> Any:
        """The compiled mujoco.MjModel. Raises RobotError before `connect`."""
        self._connected()
        return self._model

    @property
    def data(self) -> Any:
        """The mujoco.MjData of the scene: to read, never to write. Raises RobotError before `connect`."""
        self._connected()
        return self._data

    def connect(self) -> None:
        """Build the scene and put it into the start state of seed 0. Connecting twice does nothing."""
        if self._model is not None:
            return
        mujoco = load_mujoco(rendering=bool(self._info.cameras))
        model = scene.load_model(self._task, cameras=self._info.cameras, profile=self._profile)
        if self._info.cameras:
            self._renderer = SceneRenderer(model, self._info.cameras, self._profile)
        self._model, self._data = model, mujoco.MjData(model)
        self._place(seed=0)

    def reset(self, seed: int, *, images: bool = True) -> Observation:
        """Arms to the start pose, objects where `seed` puts them, clock to zero. Without `images`, as in `observe`."""
        self._connected()
        self._place(seed)
        return self.observe(images=images)

    def _place(self, seed: int) -> None:
        mujoco = load_mujoco(rendering=False)
        model, data = self._model, self._data
        if self._task is AlohaTask.PICK_COLOUR:
            self._pick = pick_colour.draw_scene(tasks.check_seed(seed), self._pick_options)
            poses = pick_colour.poses(self._pick)
        else:
            poses = tasks.object_poses(self._task, seed)
        mujoco.mj_resetData(model, data)
        data.qpos[: len(scene.START_POSE)] = scene.START_POSE
        data.qpos[-len(poses) :] = poses
        data.ctrl[:] = scene.START_POSE
        # Without actuation, as dm_control resets: its first solution warm-starts the solver, and with it the
        # trajectories of gym-aloha are met to the last bit.
        flags = model.opt.disableflags
        model.opt.disableflags = flags | mujoco.mjtDisableBit.mjDSBL_ACTUATION
        mujoco.mj_forward(model, data)
        model.opt.disableflags = flags
        self._judge = tasks.Judge(self._task, self._pick)

    def adopt(self, other: "AlohaSim") -> None:
        """Go on where `other` is, to the last bit. Both are connected, with the same task and objects."""
        self._connected()
        other._connected()
        if other.task is not self._task or other.model.nq != self._model.nq:
            raise RobotError(f"a scene of {self._task} cannot go on where one of {other.task} is")
        mujoco = load_mujoco(rendering=False)
        what = mujoco.mjtState.mjSTATE_INTEGRATION
        state = np.empty(mujoco.mj_stateSize(other._model, what))
        mujoco.mj_getState(other._model, other._data, state, what)
        mujoco.mj_setState(self._model, self._data, state, what)
        mujoco.mj_step1(self._model, self._data)  # `act` completes the step that is begun here
        self._judge, self._pick = other._judge, other._pick

    def observe(self, *, images: bool = True) -> Observation:
        """The present state; with `images` every camera of `info.cameras` is rendered."""
        self._connected()
        data = self._data
        frames = {}
        if images and self._renderer is not None:
            for camera in self._info.cameras:
                frames[camera.name] = Frame(image=self._renderer.render(data, camera.name), time=float(data.time))
        return Observation(
            time=float(data.time),
            qpos=scene.joint_positions(data.qpos),
            qvel=scene.joint_velocities(data.qvel),
            frames=frames,
        )

    def act(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Hold `action` (14,) for one control step, 0.02 s. Returns it as clipped to the limits of `info`."""
        self._connected()
        sent = clip_action(action, self._info)
        mujoco = load_mujoco(rendering=False)
        model, data = self._model, self._data
        data.ctrl[:] = scene.controls(sent)
        # `data` holds the first half of the coming step already; afterwards it is completed again, so that contacts,
        # and with them the reward, belong to the state after the step and not to the one before.
        mujoco.mj_step2(model, data)
        mujoco.mj_step(model, data, scene.PHYSICS_STEPS - 1)
        mujoco.mj_step1(model, data)
        self._judge.look(model, data)
        return sent

    def shove(self, body: str, offset: NDArray[np.float64]) -> None:
        """Move an object, a body with a free joint, by `offset` (2,), metres in x and y, before the coming step.

        A disturbance from outside: no arm does it. Raises RobotError for a body that cannot be moved.
        """
        self._connected()
        mujoco = load_mujoco(rendering=False)
        model, data = self._model, self._data
        number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, body)
        joint = -1 if number < 0 else int(model.body_jntadr[number])
        if joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
            raise RobotError(f"the scene of {self._task} has no object {body!r} that can be shoved")
        place, speed = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
        data.qpos[place : place + 2] += offset
        data.qvel[speed : speed + 2] = 0.0
        mujoco.mj_step1(model, data)  # `act` completes the step that is begun here

    def outcome(self) -> TaskOutcome:
        """Reward and `held` of the last step; `success` once any step has had the full reward."""
        self._connected()
        return self._judge.outcome

    def disconnect(self) -> None:
        """Free the scene and its OpenGL contexts."""
        if self._renderer is not None:
            self._renderer.close()
        self._model = self._data = self._renderer = None

    def _connected(self) -> None:
        if self._model is None:
            raise RobotError("the simulated robot is not connected; call connect() first")


def clip_action(action: NDArray[np.float32], info: RobotInfo) -> NDArray[np.float32]:
    """`action` (A,) within the limits of `info`, float32. Raises RobotError for a wrong shape or a non-finite value."""
    array = np.asarray(action)
    expected = info.action_low.shape
    if array.shape != expected:
        raise RobotError(f"{info.name} takes actions of shape {expected}, got {array.shape}")
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise RobotError(f"{info.name} takes actions of real numbers, got {array.dtype}")
    if not np.isfinite(array).all():
        wrong = [info.action_names[i] for i in np.flatnonzero(~np.isfinite(array))]
        raise RobotError(f"{info.name} refuses an action with NaN or infinity, in {', '.join(wrong)}")
    return np.clip(array.astype(np.float32), info.action_low, info.action_high)
