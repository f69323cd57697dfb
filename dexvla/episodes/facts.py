"""What an episode's file is known to be, once it was read as a whole: all that a manifest and statistics need of it."""

import numpy as np

from dexvla.episodes.format import StepSource
from dexvla.episodes.identity import Identity, episode_identities
from dexvla.episodes.reader import Episode
from dexvla.episodes.segments import run_length
from dexvla.episodes.sums import Sums
from dexvla.errors import EpisodeError
from dexvla.spec import Segment, Spec


class SeenCamera(Spec):
    """height and width: None where the header of the first image cannot be read, as `problem` says.

    torn: the first step whose row is not a whole JPEG, if any.
    """

    name: str
    height: int | None = None
    width: int | None = None
    problem: str | None = None
    torn: int | None = None


class MotionSums(Spec):
    """Of all steps that count: action (T, A), qpos (T, S)."""

    action: Sums
    qpos: Sums


class EpisodeFacts(Spec):
    """What the file says, before anything is asked of it. instruction: None where there is none, as `wordless` says.

    substeps: its labels, None without any; sources: who commanded the steps, likewise; jumps: see
    dexvla.episodes.learnable.
    """

    identity: str
    former: str
    steps: int
    sim: bool
    fps: float | None
    robot: str | None
    success: bool | None
    task: str | None
    seed: int | None
    render_profile: str | None
    instruction: str | None
    wordless: str
    paraphrases: tuple[str, ...]
    substeps: tuple[Segment, ...] | None
    label_source: str | None
    sources: tuple[Segment, ...] | None
    jumps: tuple[int, ...]
    cameras: tuple[SeenCamera, ...]
    motion: MotionSums

    @property
    def action_dim(self) -> int:
        return len(self.motion.action.total)

    @property
    def state_dim(self) -> int:
        return len(self.motion.qpos.total)

    @property
    def names(self) -> Identity:
        return Identity(value=self.identity, former=self.former)

    @property
    def step_source(self) -> list[StepSource] | None:
        """(T,)."""
        if self.sources is None:
            return None
        return [StepSource(part.text) for part in self.sources for _ in range(part.end - part.start)]


def read_facts(episode: Episode) -> EpisodeFacts:
    """Read all of an open file, images included. Raises EpisodeError for what nobody could train on."""
    for name, array in (("action", episode.action), ("qpos", episode.qpos)):
        if not np.isfinite(array).all():
            raise EpisodeError(f"{episode.path}: {name} holds a value that is not finite; run `dexvla check` on it")
    torn: dict[str, int] = {}

    def look(camera: str, step: int, row: bytes) -> None:
        if camera not in torn and not (row.startswith(b"\xff\xd8") and row.endswith(b"\xff\xd9")):
            torn[camera] = step

    identity = episode_identities(episode, on_row=look)
    labels, sources = episode.substep_reasonings, episode.step_source
    texts, attributes = episode.wordings.texts, episode.attributes
    return EpisodeFacts(
        identity=identity.value,
        former=identity.former,
        steps=episode.steps,
        sim=episode.sim,
        fps=attributes.fps,
        robot=attributes.robot,
        success=attributes.success,
        task=attributes.task,
        seed=attributes.seed,
        render_profile=attributes.render_profile,
        instruction=texts[0] if texts else None,
        wordless=episode.wordings.problem,
        paraphrases=texts[1:],
        substeps=None if labels is None else run_length(labels),
        label_source=episode.label_source,
        sources=None if sources is None else run_length(sources),
        jumps=() if episode.lineage is None else episode.lineage.jumps_at,
        cameras=tuple(_camera(episode, name, torn.get(name)) for name in episode.cameras),
        motion=MotionSums(action=Sums.of(episode.action), qpos=Sums.of(episode.qpos)),
    )


def _camera(episode: Episode, name: str, torn: int | None) -> SeenCamera:
    try:
        height, width = episode.frame_size(name)
    except EpisodeError as error:
        return SeenCamera(name=name, problem=str(error).removeprefix(f"{episode.path}: "), torn=torn)
    return SeenCamera(name=name, height=height, width=width, torn=torn)
