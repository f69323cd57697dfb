"""Stage 1's data: the sources of a run grouped by embodiment, each with its own split and statistics."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dexvla.episodes.manifest import EpisodeSet, find_set
from dexvla.episodes.reader import open_episode
from dexvla.errors import UserError
from dexvla.files import write_json
from dexvla.spec import ActionSpace, CameraSpec, DataSource, EmbodimentSpec, TrainSpec
from dexvla.train.prepare import DEFAULT_IMAGE, RunData, load_data, prepare_data, save_data
from dexvla.train.runs import Run

EmbodimentData = dict[str, RunData]  # by name, in the order of the heads
_Kind = tuple[int, int, tuple[str, ...], str | None]  # action and state dimension, cameras, robot


def prepare_embodiments(spec: TrainSpec) -> EmbodimentData:
    """Read every episode once. Raises UserError for data that cannot be trained on.

    Sources with the same `embodiment` belong together and must agree in dimensions, cameras and action space. Those
    without one are grouped by dimensions, cameras and robot, and named after robot and dimensions.
    """
    groups: dict[str, list[int]] = {}
    names = _names([_kind(find_set(source.path), spec.cameras) for source in spec.data])
    for number, source in enumerate(spec.data):
        groups.setdefault(source.embodiment or names[number], []).append(number)
    data = {}
    for name, numbers in groups.items():
        sources = tuple(spec.data[number] for number in numbers)
        data[name] = prepare_data(
            spec.model_copy(update={"data": sources, "action_space": _action_space(name, sources, spec)})
        )
    seen: dict[str, str] = {}
    for name, one in data.items():
        for entry in one.manifest.episodes:
            if entry.content in seen:
                raise UserError(f"{entry.path}: the same episode in the embodiments {seen[entry.content]} and {name}")
            seen[entry.content] = name
    return data


def _action_space(name: str, sources: Sequence[DataSource], spec: TrainSpec) -> ActionSpace:
    spaces = [source.action_space or spec.action_space or ActionSpace() for source in sources]
    for source, space in zip(sources, spaces, strict=True):
        if space != spaces[0]:
            raise UserError(
                f"{source.path}: action_space {space}, but {sources[0].path} has {spaces[0]}; "
                f"the sources of the embodiment {name} must agree"
            )
    return spaces[0]


def save_embodiments(run: Run, data: EmbodimentData) -> None:
    for name, one in data.items():
        save_data(run.of_embodiment(name), one)
    write_json(run.embodiments_file, list(data))


def load_embodiments(run: Run) -> EmbodimentData:
    """The data as it was when the run began; files that are gone raise UserError."""
    names = json.loads(run.embodiments_file.read_text(encoding="utf-8"))
    return {name: load_data(run.of_embodiment(name)) for name in names}


def embodiment_spec(name: str, data: RunData, spec: TrainSpec) -> EmbodimentSpec:
    height, width = spec.image_height or DEFAULT_IMAGE[0], spec.image_width or DEFAULT_IMAGE[1]
    first = data.manifest.episodes[0]
    return EmbodimentSpec(
        name=name,
        action_dim=data.manifest.action_dim,
        state_dim=data.manifest.state_dim,
        action_space=data.action_space,
        cameras=tuple(CameraSpec(name=camera, height=height, width=width) for camera in data.manifest.cameras),
        recorded_cameras=first.cameras,
        robot=first.robot,
        fps=first.fps,
    )


def _kind(episodes: EpisodeSet, cameras: tuple[str, ...] | None) -> _Kind:
    """What the first episode of a source says; whether the others agree is checked when they are read."""
    with open_episode(Path(episodes.paths[0])) as episode:
        return (
            episode.action.shape[1],
            episode.qpos.shape[1],
            cameras or episodes.cameras or tuple(episode.cameras),
            episode.attributes.robot,
        )


def _names(kinds: Sequence[_Kind]) -> list[str]:
    """A name for each source; the same for sources of the same kind."""
    given: dict[_Kind, str] = {}
    used: Counter[str] = Counter()
    for kind in kinds:
        if kind not in given:
            robot = re.sub(r"[^A-Za-z0-9_\-]", "_", kind[3] or "robot")
            name = f"{robot}-{kind[0]}-{kind[1]}"
            used[name] += 1
            given[kind] = name if used[name] == 1 else f"{name}-{used[name]}"
    return [given[kind] for kind in kinds]
