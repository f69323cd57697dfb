"""A recording as a robot: it shows what was recorded and moves on by one step whenever it is told to act.

For dry runs of a policy without simulator or hardware: the policy sees real observations and what it commands is kept.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.reader import Episode, load_episode, open_episode
from dexvla.errors import RobotError
from dexvla.robots.base import Frame, Observation, RobotInfo
from dexvla.spec import CameraSpec

_DEFAULT_HZ = 50.0  # of files that do not say: ALOHA's rate


class ReplayRobot:
    """Plays an episode file of any dimensions and cameras.

    path: the file; raises EpisodeError if it is not an episode. loop: start over after the last step, the clock going
    on; otherwise acting beyond the end raises RobotError. Limits are infinite: a file does not tell them.
    """

    def __init__(self, *, path: str | os.PathLike[str], loop: bool = False) -> None:
        self.path = Path(path)
        self.loop = loop
        with open_episode(self.path) as episode:
            self._steps = episode.steps
            self._instruction = episode.instruction
            state_dim, action_dim = episode.qpos.shape[1], episode.action.shape[1]
            self._info = RobotInfo(
                name="replay",
                joint_names=tuple(f"joint_{i}" for i in range(state_dim)),
                action_names=tuple(f"action_{i}" for i in range(action_dim)),
                action_low=np.full(action_dim, -np.inf, np.float32),
                action_high=np.full(action_dim, np.inf, np.float32),
                control_hz=episode.attributes.fps or _DEFAULT_HZ,
                simulated=episode.sim,
                cameras=tuple(
                    CameraSpec(name=name, height=size[0], width=size[1])
                    for name in episode.cameras
                    for size in (episode.frame_size(name),)
                ),
            )
        self._episode: Episode | None = None
        self._actions: list[NDArray[np.float32]] = []

    @property
    def info(self) -> RobotInfo:
        return self._info

    @property
    def instruction(self) -> str:
        return self._instruction

    @property
    def steps(self) -> int:
        """Steps of the recording."""
        return self._steps

    @property
    def finished(self) -> bool:
        """True when every recorded step has been acted on; never with `loop`."""
        return not self.loop and len(self._actions) >= self._steps

    @property
    def actions(self) -> NDArray[np.float32]:
        """(n, A) every action received since `connect`, to compare with the recorded ones."""
        return np.array(self._actions, np.float32).reshape(-1, len(self._info.action_names))

    def connect(self) -> None:
        """Open the file at its first step. Raises EpisodeError if it cannot be read any more."""
        if self._episode is None:
            self._episode = load_episode(self.path)
            self._actions = []

    def observe(self, *, images: bool = True) -> Observation:
        """The recorded state and frames of the present step; after the end those of the last one."""
        episode = self._connected()
        rounds, step = divmod(len(self._actions), self._steps)
        if self.finished:
            rounds, step = 0, self._steps - 1
        # Seconds since the first step: a recording's clock may have started anywhere.
        rate = self._info.control_hz
        recorded = episode.timestamp
        zero = float(recorded[0]) if recorded is not None else 0.0
        shift = rounds * self._steps / rate - zero
        time = (float(recorded[step]) if recorded is not None else step / rate) + shift
        frames = {}
        if images:
            for camera in episode.cameras:
                taken = episode.image_timestamp(camera)
                frames[camera] = Frame(
                    image=episode.frame(camera, step), time=time if taken is None else float(taken[step]) + shift
                )
        return Observation(time=time, qpos=episode.qpos[step], qvel=episode.qvel[step], frames=frames)

    def act(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep `action` (A,) and go on to the next step; returns it as float32."""
        self._connected()
        if self.finished:
            raise RobotError(f"{self.path} has ended after {self._steps} steps")
        array = np.asarray(action, np.float32)
        expected = self._info.action_low.shape
        if array.shape != expected:
            raise RobotError(f"the recording takes actions of shape {expected}, got {array.shape}")
        if not np.isfinite(array).all():
            raise RobotError("the recording refuses an action with NaN or infinity")
        self._actions.append(array.copy())
        return array.copy()

    def disconnect(self) -> None:
        """Close the file; `actions` stay readable."""
        if self._episode is not None:
            self._episode.close()
            self._episode = None

    def _connected(self) -> Episode:
        if self._episode is None:
            raise RobotError("the recording is not connected; call connect() first")
        return self._episode
