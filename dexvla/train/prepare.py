"""Before a run: its data as one manifest, its split, its statistics, and the policy it starts from."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dexvla.data.action_space import check_action_space, delta_sums
from dexvla.data.statistics import action_stats, norm_stats
from dexvla.episodes.known import KnownEpisodes, Motion
from dexvla.episodes.manifest import EpisodeSet, as_listed, build_manifest, find_set, load_manifest, save_manifest
from dexvla.episodes.sums import Sums, together
from dexvla.errors import CheckpointError, UserError
from dexvla.files import write_json
from dexvla.model import DexVLA, load_policy
from dexvla.model.checkpoint import new_policy, read_spec
from dexvla.model.pretrained import load_expert_weights
from dexvla.model.pretrainer_files import is_pretrainer, load_trunk
from dexvla.model.report import LoadReport
from dexvla.spec import (
    AUGMENTED_CROP,
    EXPERT_SIZES,
    ActionKind,
    ActionSpace,
    CameraSpec,
    DatasetManifest,
    EpisodeEntry,
    Fusion,
    NormStats,
    PolicySpec,
    Precision,
    TrainSpec,
    default_chunk,
)
from dexvla.train.runs import Run, resolve_checkpoint

DEFAULT_IMAGE = (240, 320)


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The data of a run. sources: its training episodes in groups that are drawn alike; held_out: never trained on.

    weights: one per group. stats: over the training episodes of all sources, of actions in `action_space`.
    """

    manifest: DatasetManifest
    sources: tuple[tuple[EpisodeEntry, ...], ...]
    weights: tuple[float, ...]
    held_out: tuple[EpisodeEntry, ...]
    stats: NormStats
    action_space: ActionSpace

    @property
    def train(self) -> tuple[EpisodeEntry, ...]:
        return tuple(entry for source in self.sources for entry in source)


def prepare_data(spec: TrainSpec, *, on_episode: Callable[[int, int], Any] | None = None) -> RunData:
    """Look at every episode of the run's sources; a file that is known (dexvla.episodes.known) is not read again.

    Raises UserError for data that cannot be trained on together.
    """
    known = KnownEpisodes.usual()
    sources: list[tuple[EpisodeEntry, ...]] = []
    weights: list[float] = []
    motions: dict[str, Motion] = {}
    manifests: list[DatasetManifest] = []
    named: list[Motion] = []  # of the folders that a task names for its statistics
    own: list[bool] = []  # per source: its own episodes count for the statistics
    for source in spec.data:
        episodes = find_set(source.path)
        manifest, motion = build_manifest(episodes, cameras=spec.cameras, known=known, on_episode=on_episode)
        manifests.append(manifest)
        _same_shape(manifest, manifests[0], source.path, spec.data[0].path)
        motions |= {entry.path: one for entry, one in zip(manifest.episodes, motion, strict=True)}
        for weight, entries in _by_weight(episodes, manifest):
            sources.append(entries)
            weights.append(source.weight * weight)
            own.append(episodes.stats_paths is None)
        if episodes.stats_paths is not None:
            named += _stats_motions(episodes, manifest, known)
    _no_repeats(sources)
    held = {entry.identity for episodes in sources for entry in held_out(episodes, spec.validation_fraction, spec.seed)}
    training = tuple(tuple(entry for entry in episodes if entry.identity not in held) for episodes in sources)
    if not all(training):
        folder = Path(sources[training.index(())][0].path).parent
        raise UserError(
            f"{folder}: no episode is left to train on after validation_fraction {spec.validation_fraction}"
        )
    counted = [motions[entry.path] for entries, mine in zip(training, own, strict=True) if mine for entry in entries]
    whole = manifests[0].model_copy(
        update={"name": spec.name, "episodes": tuple(entry for episodes in sources for entry in episodes)}
    )
    stats, space = _statistics(spec, whole, counted + named)
    return RunData(
        manifest=whole,
        sources=training,
        weights=tuple(weights),
        held_out=tuple(entry for entry in whole.episodes if entry.identity in held),
        stats=stats,
        action_space=space,
    )


def _statistics(spec: TrainSpec, manifest: DatasetManifest, motions: list[Motion]) -> tuple[NormStats, ActionSpace]:
    """Of the actions as the policy will predict them, and how that is."""
    stats = norm_stats(motions)
    if spec.stage < 3:
        space, chunk = spec.action_space or ActionSpace(), spec.chunk_size or default_chunk(spec.expert)
    else:
        assert spec.init_from is not None
        trained = read_spec(resolve_checkpoint(spec.init_from))
        space, chunk = trained.action_space, trained.chunk_size
    check_action_space(space, action_dim=manifest.action_dim, state_dim=manifest.state_dim)
    if space.kind is ActionKind.DELTA:  # differences keep the statistics of positions, as upstream trains them
        stats = stats.model_copy(update=action_stats(together(_deltas(one, space, chunk) for one in motions)))
    return stats, space


def _deltas(motion: Motion, space: ActionSpace, chunk_size: int) -> Sums:
    name = f"delta|{','.join(map(str, space.absolute))}|{chunk_size}"
    return motion.kept(
        name, lambda action, qpos: delta_sums(action, qpos, sim=motion.sim, space=space, chunk_size=chunk_size)
    )


def _by_weight(episodes: EpisodeSet, manifest: DatasetManifest) -> list[tuple[float, tuple[EpisodeEntry, ...]]]:
    """The episodes of one data source in groups that are drawn alike."""
    weights = episodes.weights or (1.0,) * len(manifest.episodes)
    pairs = list(zip(weights, manifest.episodes, strict=True))
    return [(value, tuple(entry for weight, entry in pairs if weight == value)) for value in sorted(set(weights))]


def _stats_motions(episodes: EpisodeSet, manifest: DatasetManifest, known: KnownEpisodes) -> list[Motion]:
    """Of the folders that a task names for its statistics."""
    assert episodes.stats_paths is not None
    found: list[Motion] = []
    for path in episodes.stats_paths:
        facts = known.facts(path)
        if (facts.action_dim, facts.state_dim) != (manifest.action_dim, manifest.state_dim):
            raise UserError(
                f"{path}: {facts.action_dim} action and {facts.state_dim} state dimensions; it is named for the "
                f"statistics of {episodes.name}, which has {manifest.action_dim} and {manifest.state_dim}"
            )
        found.append(known.motion(path, facts, min(facts.steps, episodes.episode_len or facts.steps)))
    return found


def held_out(episodes: tuple[EpisodeEntry, ...], fraction: float, seed: int) -> list[EpisodeEntry]:
    """The episodes kept from training: chosen by identity, so that adding episodes moves as few as possible."""
    ranked = sorted(episodes, key=lambda entry: hashlib.sha256(f"{seed}:{entry.identity}".encode()).digest())
    return ranked[: round(fraction * len(ranked))]


def save_data(run: Run, data: RunData) -> None:
    save_manifest(run.dataset_file, data.manifest)
    split = {
        "train": [[entry.identity for entry in episodes] for episodes in data.sources],
        "held_out": [entry.identity for entry in data.held_out],
        "weights": data.weights,
        "norm_stats": data.stats.model_dump(mode="json"),
        "action_space": data.action_space.model_dump(mode="json"),
    }
    write_json(run.split_file, split)


def load_data(run: Run) -> RunData:
    """The data of a run as it was when the run began; files that are gone, or are others by now, raise UserError."""
    manifest = load_manifest(run.dataset_file)
    gone = [entry.path for entry in manifest.episodes if not Path(entry.path).is_file()]
    if gone:
        raise UserError(f"{gone[0]}: an episode of this run is gone ({len(gone)} in all); put it back to resume")
    known = KnownEpisodes.usual()
    manifest = manifest.model_copy(update={"episodes": tuple(as_listed(entry, known) for entry in manifest.episodes)})
    split = json.loads(run.split_file.read_text(encoding="utf-8"))
    by_identity = {entry.identity: entry for entry in manifest.episodes}
    return RunData(
        manifest=manifest,
        sources=tuple(tuple(by_identity[identity] for identity in episodes) for episodes in split["train"]),
        weights=tuple(split["weights"]),
        held_out=tuple(by_identity[identity] for identity in split["held_out"]),
        stats=NormStats.model_validate(split["norm_stats"]),
        action_space=ActionSpace.model_validate(split.get("action_space", {})),  # older runs: positions
    )


def prepare_policy(spec: TrainSpec, data: RunData) -> tuple[DexVLA, dict[str, Any]]:
    """The policy that the run starts from, float32 unless the precision is pure bf16, and what was loaded.

    Stage 2: a base model with a fresh expert (or a pretrained one); stage 3: a checkpoint whose dimensions must fit.
    """
    dtype = torch.bfloat16 if spec.precision is Precision.BF16_PURE else torch.float32
    first = data.manifest.episodes[0]
    facts: dict[str, Any] = {
        "fps": first.fps,
        "robot": first.robot,
        "render_profile": first.render_profile,
        "llm_loss_weight": spec.llm_loss_weight,
        "insulate_backbone": spec.insulate_backbone,
        "centre_crop": AUGMENTED_CROP if spec.augment else 1.0,
    }
    if spec.stage == 2:
        assert spec.expert is not None
        height, width = spec.image_height or DEFAULT_IMAGE[0], spec.image_width or DEFAULT_IMAGE[1]
        expert = EXPERT_SIZES[spec.expert]
        wanted = PolicySpec(
            expert=expert,
            action_dim=data.manifest.action_dim,
            state_dim=data.manifest.state_dim,
            chunk_size=spec.chunk_size or default_chunk(spec.expert),
            action_space=spec.action_space or ActionSpace(),
            fusion=spec.fusion or Fusion.FILM,
            cameras=tuple(CameraSpec(name=name, height=height, width=width) for name in data.manifest.cameras),
            recorded_cameras=first.cameras,
            **facts,
        )
        assert spec.init_from is not None
        policy = new_policy(
            Path(spec.init_from), wanted, initialisation=spec.initialisation, seed=spec.seed, norm_stats=data.stats
        )
        report: dict[str, Any] = {"base": spec.init_from}
        if spec.pretrained_expert is not None:
            given = Path(spec.pretrained_expert)
            found = given if given.is_file() else resolve_checkpoint(given)
            report["pretrained_expert"] = _take_expert(policy, spec, found).to_json()
        return policy.to(dtype), report
    assert spec.init_from is not None
    path = resolve_checkpoint(spec.init_from)
    policy = load_policy(path, dtype=dtype)
    _fits(spec, data, policy.spec, path)
    cameras = _cameras(spec, data, policy.spec)
    recorded = {camera.name: camera for camera in first.cameras}
    policy.spec = policy.spec.model_copy(
        update={
            **facts,
            "cameras": cameras,
            "recorded_cameras": tuple(recorded[camera.name] for camera in cameras),
        }
    )
    policy.norm_stats = data.stats
    return policy, {"checkpoint": str(path)}


def _take_expert(policy: DexVLA, spec: TrainSpec, path: Path) -> LoadReport:
    """Stage 1's trunk, or the whole expert of another policy or file."""
    if is_pretrainer(path):
        return load_trunk(policy, path, embodiment=spec.pretrained_embodiment)
    if spec.pretrained_embodiment is not None:
        raise CheckpointError(f"{path}: not a stage-1 checkpoint, so there is no embodiment to choose; leave it out")
    return load_expert_weights(policy, path)


def _fits(spec: TrainSpec, data: RunData, trained: PolicySpec, path: Path) -> None:
    pairs: list[tuple[str, Any, Any]] = [
        ("action dimension of the data", data.manifest.action_dim, trained.action_dim),
        ("state dimension of the data", data.manifest.state_dim, trained.state_dim),
        ("chunk_size", spec.chunk_size or trained.chunk_size, trained.chunk_size),
        ("action_space", spec.action_space or trained.action_space, trained.action_space),
        ("fusion", spec.fusion or trained.fusion, trained.fusion),
        ("expert", EXPERT_SIZES[spec.expert] if spec.expert else trained.expert, trained.expert),
    ]
    for name, found, expected in pairs:
        if found != expected:
            raise CheckpointError(f"{path}: {name} is {found}, the checkpoint was trained with {expected}")


def _cameras(spec: TrainSpec, data: RunData, trained: PolicySpec) -> tuple[CameraSpec, ...]:
    """The checkpoint's order and sizes if the data has the same cameras and the spec names none; else the spec's."""
    sizes = {camera.name: (camera.height, camera.width) for camera in trained.cameras}
    same = spec.cameras is None and set(sizes) == set(data.manifest.cameras)
    if spec.cameras is None and sizes and not same:
        raise CheckpointError(
            f"the checkpoint was trained with cameras {', '.join(sizes)}, the data has "
            f"{', '.join(data.manifest.cameras)}; name `cameras` in the spec to train on others"
        )
    names = tuple(sizes) if same else data.manifest.cameras
    if spec.image_height is not None and spec.image_width is not None:
        sizes = dict.fromkeys(names, (spec.image_height, spec.image_width))
    usual = next(iter(sizes.values()), DEFAULT_IMAGE)
    return tuple(
        CameraSpec(name=name, height=sizes.get(name, usual)[0], width=sizes.get(name, usual)[1]) for name in names
    )


def _same_shape(manifest: DatasetManifest, first: DatasetManifest, path: str, first_path: str) -> None:
    pairs = [
        ("action dimension", manifest.action_dim, first.action_dim),
        ("state dimension", manifest.state_dim, first.state_dim),
        ("cameras", ", ".join(manifest.cameras), ", ".join(first.cameras)),
        ("render profile", manifest.episodes[0].render_profile, first.episodes[0].render_profile),
    ]
    for name, found, expected in pairs:
        if found != expected:
            raise UserError(f"{path}: {name} {found}, but {first_path} has {expected}; the data of a run must agree")


def _no_repeats(sources: list[tuple[EpisodeEntry, ...]]) -> None:
    seen: dict[str, str] = {}
    for entry in (entry for episodes in sources for entry in episodes):
        for name in {entry.identity, entry.content}:
            if name in seen:
                raise UserError(f"{entry.path}: the same episode as {seen[name]}; list each episode once")
            seen[name] = entry.path
