"""What all episodes of a LeRobot dataset share: it holds one kind of episodes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dexvla.formats.base import ExportEpisode, FormatError
from dexvla.formats.lerobot.reading import OWN
from dexvla.formats.outgoing import outgoing

_SAME_RATE = 0.01  # part by which rates that were measured may differ


@dataclass(frozen=True)
class Kind:
    """velocity, own, timed, success: whether every episode has velocities, which entries of our own, times of which
    cameras' frames, and whether an outcome. state_names, action_names: where all episodes name them alike."""

    state: int
    action: int
    cameras: tuple[tuple[str, int, int], ...]
    fps: float
    velocity: bool
    own: tuple[str, ...]
    timed: tuple[str, ...]
    success: bool
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    guessed: bool = field(default=False, compare=False)  # the rate

    @property
    def said(self) -> str:
        cameras = ", ".join(f"{name} {height}x{width}" for name, height, width in self.cameras)
        rate = f"{self.fps:g} Hz{' (a guess: it does not say its rate)' if self.guessed else ''}"
        return f"state {self.state}, action {self.action}, {rate}, {cameras}"


def kind_of(episodes: Sequence[ExportEpisode], *, of: str = "a LeRobot dataset") -> Kind:
    """Raises FormatError for episodes that are not of one kind: such a dataset has one rate and one shape."""
    first: Kind | None = None
    velocity, success, own = True, True, set(OWN)
    timed: set[str] | None = None
    joints: set[int] = set()
    names: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
    for episode in episodes:
        with outgoing(episode) as going:
            file = going.file
            found = Kind(
                state=file.qpos.shape[1],
                action=file.action.shape[1],
                cameras=tuple((camera, *file.frame_size(camera)) for camera in file.cameras),
                fps=going.clock.fps,
                velocity=True,
                own=(),
                timed=(),
                success=True,
                guessed=going.clock.guessed,
            )
            there = {camera for camera in file.cameras if file.image_timestamp(camera) is not None}
            timed = there if timed is None else timed & there
            joints |= set() if file.joint_positions is None else {file.joint_positions.shape[1]}
            names.add((file.state_names, file.action_names))
            velocity = velocity and file.has_qvel
            success = success and going.success is not None
            own &= {name for name in OWN if getattr(file, name) is not None}
        if first is None:
            first = found
        elif replace(found, fps=first.fps) != first or abs(found.fps / first.fps - 1) > _SAME_RATE:
            raise FormatError(
                f"{episode.name}: {found.said}, but {episodes[0].name} has {first.said}; {of} holds one kind of "
                "episodes, export them apart"
            )
    if first is None:
        raise FormatError("there are no episodes to export")
    if len(joints) > 1:
        own -= {"joint_positions"}  # of several widths; told with each episode
    alike = names.pop() if len(names) == 1 else ((), ())
    return replace(
        first,
        velocity=velocity,
        own=tuple(name for name in OWN if name in own),
        timed=tuple(sorted(timed or ())),
        success=success,
        state_names=alike[0],
        action_names=alike[1],
    )
