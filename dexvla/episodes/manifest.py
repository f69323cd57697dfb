"""From files to the data of a run: a manifest that lists episodes by identity and embeds their labels."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dexvla.episodes.facts import EpisodeFacts
from dexvla.episodes.finding import find_episodes, is_episode_file
from dexvla.episodes.format import control_token_in
from dexvla.episodes.known import KnownEpisodes, Motion
from dexvla.episodes.learnable import learnable
from dexvla.episodes.reader import Episode
from dexvla.episodes.segments import first_steps
from dexvla.errors import EpisodeError, UserError
from dexvla.files import write_json
from dexvla.mappings import read_yaml
from dexvla.spec import CameraSpec, DatasetManifest, EpisodeEntry, Stretch, TaskEntry, first_error
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
    known: KnownEpisodes | None = None,
    on_episode: Callable[[int, int], Any] | None = None,
) -> tuple[DatasetManifest, list[Motion]]:
    """The manifest, and (action, qpos) of each episode for the statistics.

    known: what was read before is not read again (None: every file is). Raises EpisodeError if episodes differ in
    dimensions, lack a camera, mix render profiles or rates, or are others than the set's entries list. What the entries
    say of instruction, labels and steps goes before the files. `cameras` overrides the set's own; without either, all
    episodes must have the same cameras.
    """
    known = known or KnownEpisodes(None)
    wanted = tuple(cameras) if cameras is not None else episodes.cameras
    exact = wanted is None
    entries: list[EpisodeEntry] = []
    motions: list[Motion] = []
    first: EpisodeFacts | None = None
    for index, path in enumerate(episodes.paths):
        facts = known.facts(path)
        if wanted is None:
            wanted = tuple(camera.name for camera in facts.cameras)
        _check_cameras(path, facts, wanted, exact=exact)
        listed = None if episodes.entries is None else episodes.entries[index]
        entry = _entry(path, facts, wanted, episodes.episode_len, relative_to, listed)
        if first is None:
            first = facts
        else:
            _check_like_first(path, facts, entry, first, entries[0], episodes.paths[0])
        entries.append(entry)
        motions.append(known.motion(path, facts, entry.steps))
        if on_episode is not None:
            on_episode(index + 1, len(episodes.paths))
    assert wanted is not None
    assert first is not None
    manifest = DatasetManifest(
        name=episodes.name,
        cameras=wanted,
        action_dim=first.action_dim,
        state_dim=first.state_dim,
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


def as_listed(entry: EpisodeEntry, known: KnownEpisodes) -> EpisodeEntry:
    """The entry, its path being absolute, with today's identity among its names.

    Raises EpisodeError if its file holds another episode by now.
    """
    facts = known.facts(Path(entry.path))
    if not any(facts.names.is_called(name) for name in (entry.identity, *entry.aliases)):
        raise EpisodeError(f"{entry.path}: another episode than was listed; put the listed file back, or start anew")
    if entry.content.startswith(IDENTITY_VERSION):
        return entry
    return entry.model_copy(update={"aliases": (facts.identity,)})


def camera_spec(episode: Episode, name: str) -> CameraSpec:
    """A camera of the episode and the size of its images. Raises EpisodeError for a name or size out of bounds."""
    return _camera_spec(episode.path, name, episode.frame_size(name))


def _camera_spec(path: Path, name: str, size: tuple[int, int]) -> CameraSpec:
    try:
        return CameraSpec(name=name, height=size[0], width=size[1])
    except ValidationError as error:
        raise EpisodeError(f"{path}: camera {name!r}: {first_error(error)}") from error


def _entry(
    path: Path,
    facts: EpisodeFacts,
    cameras: tuple[str, ...],
    episode_len: int | None,
    relative_to: Path | None,
    listed: EpisodeEntry | None,
) -> EpisodeEntry:
    steps = listed.steps if listed is not None else min(facts.steps, episode_len or facts.steps)
    place = os.path.realpath(path)
    if relative_to is not None and Path(place).is_relative_to(relative_to.resolve()):
        place = os.fspath(Path(place).relative_to(relative_to.resolve()))
    specs = _cameras(path, facts, cameras, steps)
    if listed is not None:
        if not facts.names.is_called(listed.identity) or steps > facts.steps:
            raise EpisodeError(
                f"{path}: another episode than the manifest lists, its motion or images differ; "
                "put the listed file back, or name the folder instead of the manifest"
            )
        # an older list keeps its word for the episode, by which it was split into training and held out
        alias = facts.former if listed.identity == facts.identity else facts.identity
        known = {"path": place, "cameras": specs, "aliases": (alias,)}
        entry = listed.model_copy(update={**known, "learn": listed.learn or _learnable(facts, steps)})
    else:
        entry = _new_entry(path, facts, place, steps, specs)
    texts = (segment.text for segment in (*entry.substeps, *entry.plan))
    for text in (entry.instruction, *entry.paraphrases, *texts):
        if wrong := control_token_in(text):
            raise EpisodeError(f"{path}: the instruction or a label holds {wrong}")
    return entry


def _cameras(path: Path, facts: EpisodeFacts, wanted: tuple[str, ...], steps: int) -> tuple[CameraSpec, ...]:
    """Raises EpisodeError where a size, or one of the first `steps` images, is none."""
    seen = {camera.name: camera for camera in facts.cameras}
    specs = []
    for camera in (seen[name] for name in wanted):
        if camera.height is None or camera.width is None:
            raise EpisodeError(f"{path}: {camera.problem}")
        specs.append(_camera_spec(path, camera.name, (camera.height, camera.width)))
    for camera in facts.cameras:
        if camera.name in wanted and camera.torn is not None and camera.torn < steps:
            raise EpisodeError(
                f"{path}: camera {camera.name}, step {camera.torn}: not a whole JPEG (ff d8 .. ff d9); "
                "run `dexvla check` on it"
            )
    return tuple(specs)


def _learnable(facts: EpisodeFacts, steps: int) -> tuple[Stretch, ...]:
    sources = facts.step_source
    return learnable(None if sources is None else sources[:steps], steps=steps, jumps=facts.jumps)


def _new_entry(
    path: Path, facts: EpisodeFacts, place: str, steps: int, cameras: tuple[CameraSpec, ...]
) -> EpisodeEntry:
    if facts.instruction is None:
        raise EpisodeError(f"{path}: {facts.wordless}; give one when it is imported (--instruction)")
    try:
        return EpisodeEntry(
            path=place,
            identity=facts.identity,
            aliases=(facts.former,),
            steps=steps,
            cameras=cameras,
            sim=facts.sim,
            fps=facts.fps,
            robot=facts.robot,
            success=facts.success,
            task=facts.task,
            seed=facts.seed,
            render_profile=facts.render_profile,
            instruction=facts.instruction,
            paraphrases=facts.paraphrases,
            substeps=() if facts.substeps is None else first_steps(facts.substeps, steps),
            label_source=facts.label_source,
            learn=_learnable(facts, steps),
        )
    except ValidationError as error:
        raise EpisodeError(f"{path}: {first_error(error)}") from error


def _check_cameras(path: Path, facts: EpisodeFacts, wanted: tuple[str, ...], *, exact: bool) -> None:
    there = [camera.name for camera in facts.cameras]
    missing = [name for name in wanted if name not in there]
    extra = [name for name in there if name not in wanted] if exact else []
    if missing or extra:
        raise EpisodeError(
            f"{path}: cameras {', '.join(there)}; expected {', '.join(wanted)}. "
            "Name the cameras to use, or leave this episode out"
        )


def _check_like_first(
    path: Path,
    facts: EpisodeFacts,
    entry: EpisodeEntry,
    first: EpisodeFacts,
    first_entry: EpisodeEntry,
    first_path: Path,
) -> None:
    pairs = [
        ("action dimension", facts.action_dim, first.action_dim),
        ("state dimension", facts.state_dim, first.state_dim),
        ("render profile", entry.render_profile, first_entry.render_profile),
        ("rate in Hz", entry.fps, first_entry.fps),
    ]
    for name, found, expected in pairs:
        unknown = name.startswith("rate") and None in (found, expected)
        if found != expected and not unknown:
            raise EpisodeError(
                f"{path}: {name} {found}, but {first_path} has {expected}; episodes of one run must agree"
            )
