"""From files to the data of a run: a manifest that lists episodes by identity and embeds their labels."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from dexvla.episodes.finding import find_episodes, is_episode_file
from dexvla.episodes.format import control_token_in
from dexvla.episodes.identity import Identity, episode_identities
from dexvla.episodes.learnable import learnable
from dexvla.episodes.reader import Episode, open_episode
from dexvla.errors import EpisodeError, UserError
from dexvla.files import write_json
from dexvla.mappings import read_yaml
from dexvla.spec import CameraSpec, DatasetManifest, EpisodeEntry, Segment, Stretch, TaskEntry, first_error
from dexvla.spec.data import IDENTITY_VERSION


@dataclass(frozen=True, kw_only=True)
class EpisodeSet:
    """Episode files that belong together, before anything was read.

    episode_len: steps used of each at most; cameras: the model's order, or None for those that the files have.
    weights: one per path, how often its samples are drawn (None: all alike). stats_paths: the episodes that the
    normalisation statistics are taken from (None: the set's own). entries: one per path, what a manifest lists of it,
    labels included (None: as the files say).
    """

    name: str
    paths: tuple[Path, ...]
    weights: tuple[float, ...] | None = None
    stats_paths: tuple[Path, ...] | None = None
    cameras: tuple[str, ...] | None = None
    episode_len: int | None = None
    entries: tuple[EpisodeEntry, ...] | None = None


def run_length(labels: Sequence[str]) -> tuple[Segment, ...]:
    """One text a step, (T,) -> segments that cover 0..T without gap."""
    segments, position = [], 0
    for text, group in groupby(labels):
        end = position + len(list(group))
        segments.append(Segment(start=position, end=end, text=text))
        position = end
    return tuple(segments)


def per_step(segments: Sequence[Segment]) -> list[str]:
    """Segments -> one text a step."""
    return [segment.text for segment in segments for _ in range(segment.end - segment.start)]


_LATER = ("paraphrases", "plan", "learn")  # fields that older manifests do not have


def manifest_hash(manifest: DatasetManifest) -> str:
    """sha256 (hex) of what the manifest says about the data; where the files lie does not count.

    A field that came later counts where it says something: manifests from before it keep their hash.
    """
    value = manifest.model_dump(mode="json")
    for entry in value["episodes"]:
        del entry["path"], entry["aliases"]  # other words for what `identity` says
        for name in _LATER:
            if not entry[name]:
                del entry[name]
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def find_set(source: str) -> EpisodeSet:
    """The episodes that `source` names: a folder, one .hdf5 (or .h5) file, a manifest (.json), or tasks.yaml#entry.

    Relative paths of a tasks.yaml or a manifest count from its own folder. Raises UserError if there is no such thing.
    """
    name, _, entry = source.partition("#")
    path = Path(name)
    if entry or path.suffix in {".yaml", ".yml"}:
        return _task_set(path, entry)
    is_episode = is_episode_file(path)
    if path.is_dir() or not (is_episode or path.suffix == ".json"):
        return EpisodeSet(name=path.resolve().name, paths=tuple(find_episodes(path)))
    if not path.is_file():
        raise EpisodeError(f"{path}: no such file")
    if is_episode:
        return EpisodeSet(name=path.stem, paths=(path,))
    manifest = load_manifest(path)
    return EpisodeSet(
        name=manifest.name,
        paths=tuple(path.parent / listed.path for listed in manifest.episodes),
        cameras=manifest.cameras,
        entries=manifest.episodes,
    )


def _task_set(path: Path, entry: str) -> EpisodeSet:
    try:
        tasks = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tasks, dict):
        raise UserError(f"{path}: expected a table of task names, found {type(tasks).__name__}")
    if entry not in tasks:
        known = ", ".join(map(str, tasks)) or "none"
        raise UserError(f"{path}: no task {entry!r}; write {path.name}#TASK with one of: {known}")
    try:
        task = TaskEntry.model_validate(tasks[entry])
    except ValidationError as error:
        raise UserError(f"{path}#{entry}: {first_error(error)}") from error
    paths: list[Path] = []
    weights: list[float] = []
    for number, folder in enumerate(task.dataset_dir):
        found = _matching(path.parent / folder, task.name_filter)
        paths += found
        weights += [task.sample_weights[number] if task.sample_weights else 1.0] * len(found)
    if not paths:
        raise UserError(f"{path}#{entry}: name_filter {task.name_filter!r} leaves no episode; loosen it")
    stats = None
    if task.stats_dir is not None:
        stats = tuple(file for folder in task.stats_dir for file in find_episodes(path.parent / folder))
    return EpisodeSet(
        name=entry,
        paths=tuple(paths),
        weights=tuple(weights) if task.sample_weights else None,
        stats_paths=stats,
        cameras=task.camera_names,
        episode_len=task.episode_len,
    )


def _matching(folder: Path, expression: str | None) -> list[Path]:
    found = find_episodes(folder)
    return [file for file in found if re.search(expression or "", str(file.relative_to(folder)))]


def build_manifest(
    episodes: EpisodeSet,
    *,
    cameras: Sequence[str] | None = None,
    relative_to: Path | None = None,
    on_episode: Callable[[int, int], Any] | None = None,
) -> tuple[DatasetManifest, list[tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """Read every episode once; returns the manifest and (action, qpos) of each, for the statistics.

    Raises EpisodeError if episodes differ in dimensions, lack a camera, mix render profiles or rates, or are others
    than the set's entries list. What the entries say of instruction, labels and steps goes before the files.
    `cameras` overrides the set's own; without either, all episodes must have the same cameras.
    """
    wanted = tuple(cameras) if cameras is not None else episodes.cameras
    entries: list[EpisodeEntry] = []
    motions: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for index, path in enumerate(episodes.paths):
        with open_episode(path) as episode:
            if wanted is None:
                wanted = episode.cameras
                fixed = False
            else:
                fixed = cameras is not None or episodes.cameras is not None
            _check_cameras(episode, wanted, exact=not fixed)
            listed = None if episodes.entries is None else episodes.entries[index]
            entry = _entry(episode, wanted, episodes.episode_len, relative_to, listed)
            if entries:
                _check_like_first(episode, entry, entries[0], motions[0], episodes.paths[0])
            motions.append((episode.action[: entry.steps], episode.qpos[: entry.steps]))
        entries.append(entry)
        if on_episode is not None:
            on_episode(index + 1, len(episodes.paths))
    assert wanted is not None
    manifest = DatasetManifest(
        name=episodes.name,
        cameras=wanted,
        action_dim=motions[0][0].shape[1],
        state_dim=motions[0][1].shape[1],
        episodes=tuple(entries),
    )
    return manifest, motions


def save_manifest(path: Path, manifest: DatasetManifest) -> None:
    write_json(path, manifest.model_dump(mode="json"))


def load_manifest(path: Path) -> DatasetManifest:
    """Read a manifest file. Raises UserError if it is missing or damaged."""
    try:
        return DatasetManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise UserError(f"{path}: not a dataset manifest: {first_error(error)}") from error


def with_content(entry: EpisodeEntry) -> EpisodeEntry:
    """The entry with today's identity among its names; one of an older list is read for it, its path being absolute.

    Raises EpisodeError if its file holds another episode.
    """
    if entry.content.startswith(IDENTITY_VERSION):
        return entry
    with open_episode(entry.path) as episode:
        identity = episode_identities(episode)
    if not identity.is_called(entry.identity):
        raise EpisodeError(f"{entry.path}: another episode than was listed; put the listed file back, or start anew")
    return entry.model_copy(update={"aliases": (identity.value,)})


def camera_spec(episode: Episode, name: str) -> CameraSpec:
    """A camera of the episode and the size of its images. Raises EpisodeError for a name or size out of bounds."""
    height, width = episode.frame_size(name)
    try:
        return CameraSpec(name=name, height=height, width=width)
    except ValidationError as error:
        raise EpisodeError(f"{episode.path}: camera {name!r}: {first_error(error)}") from error


def _entry(
    episode: Episode,
    cameras: tuple[str, ...],
    episode_len: int | None,
    relative_to: Path | None,
    listed: EpisodeEntry | None,
) -> EpisodeEntry:
    for name, array in (("action", episode.action), ("qpos", episode.qpos)):
        if not np.isfinite(array).all():
            raise EpisodeError(f"{episode.path}: {name} holds a value that is not finite; run `dexvla check` on it")
    steps = listed.steps if listed is not None else min(episode.steps, episode_len or episode.steps)
    path = episode.path.resolve()
    if relative_to is not None and path.is_relative_to(relative_to.resolve()):
        path = path.relative_to(relative_to.resolve())
    specs = tuple(camera_spec(episode, name) for name in cameras)

    def check_row(camera: str, step: int, row: bytes) -> None:
        whole = row.startswith(b"\xff\xd8") and row.endswith(b"\xff\xd9")
        if camera in cameras and step < steps and not whole:
            raise EpisodeError(
                f"{episode.path}: camera {camera}, step {step}: not a whole JPEG (ff d8 .. ff d9); "
                "run `dexvla check` on it"
            )

    identity = episode_identities(episode, on_row=check_row)
    if listed is not None:
        if not identity.is_called(listed.identity) or steps > episode.steps:
            raise EpisodeError(
                f"{episode.path}: another episode than the manifest lists, its motion or images differ; "
                "put the listed file back, or name the folder instead of the manifest"
            )
        # an older list keeps its word for the episode, by which it was split into training and held out
        alias = identity.former if listed.identity == identity.value else identity.value
        known = {"path": os.fspath(path), "cameras": specs, "aliases": (alias,)}
        entry = listed.model_copy(update={**known, "learn": listed.learn or _learnable(episode, steps)})
    else:
        entry = _new_entry(episode, os.fspath(path), identity, steps, specs)
    texts = (segment.text for segment in (*entry.substeps, *entry.plan))
    for text in (entry.instruction, *entry.paraphrases, *texts):
        if wrong := control_token_in(text):
            raise EpisodeError(f"{episode.path}: the instruction or a label holds {wrong}")
    return entry


def _learnable(episode: Episode, steps: int) -> tuple[Stretch, ...]:
    sources = None if episode.step_source is None else episode.step_source[:steps]
    jumps = () if episode.lineage is None else episode.lineage.jumps_at
    return learnable(sources, steps=steps, jumps=jumps)


def _new_entry(
    episode: Episode, path: str, identity: Identity, steps: int, cameras: tuple[CameraSpec, ...]
) -> EpisodeEntry:
    labels = episode.substep_reasonings
    try:
        return EpisodeEntry(
            path=path,
            identity=identity.value,
            aliases=(identity.former,),
            steps=steps,
            cameras=cameras,
            sim=episode.sim,
            fps=episode.attributes.fps,
            robot=episode.attributes.robot,
            success=episode.attributes.success,
            task=episode.attributes.task,
            seed=episode.attributes.seed,
            render_profile=episode.attributes.render_profile,
            instruction=episode.instruction,
            paraphrases=episode.paraphrases,
            substeps=() if labels is None else run_length(labels[:steps]),
            label_source=episode.label_source,
            learn=_learnable(episode, steps),
        )
    except ValidationError as error:
        raise EpisodeError(f"{episode.path}: {first_error(error)}") from error


def _check_cameras(episode: Episode, wanted: tuple[str, ...], *, exact: bool) -> None:
    missing = [name for name in wanted if name not in episode.cameras]
    extra = [name for name in episode.cameras if name not in wanted] if exact else []
    if missing or extra:
        raise EpisodeError(
            f"{episode.path}: cameras {', '.join(episode.cameras)}; expected {', '.join(wanted)}. "
            "Name the cameras to use, or leave this episode out"
        )


def _check_like_first(
    episode: Episode,
    entry: EpisodeEntry,
    first: EpisodeEntry,
    motion: tuple[NDArray[np.float32], NDArray[np.float32]],
    first_path: Path,
) -> None:
    pairs = [
        ("action dimension", episode.action.shape[1], motion[0].shape[1]),
        ("state dimension", episode.qpos.shape[1], motion[1].shape[1]),
        ("render profile", entry.render_profile, first.render_profile),
        ("rate in Hz", entry.fps, first.fps),
    ]
    for name, found, expected in pairs:
        unknown = name.startswith("rate") and None in (found, expected)
        if found != expected and not unknown:
            raise EpisodeError(
                f"{episode.path}: {name} {found}, but {first_path} has {expected}; episodes of one run must agree"
            )
