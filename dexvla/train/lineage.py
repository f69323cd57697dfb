"""What a checkpoint has seen: its own episodes, and those of every run that it grew out of."""

import json
from pathlib import Path
from typing import Any

from dexvla.errors import CheckpointError
from dexvla.spec import TrainSpec, seen_episodes, seen_seeds
from dexvla.train.runs import CHECKPOINT_MANIFEST, resolve_checkpoint


def spec_sources(spec: TrainSpec) -> list[Path]:
    """The checkpoints that a run starts from: stage 3's, and a pretrained expert's."""
    named = [spec.init_from if spec.stage == 3 else None, spec.pretrained_expert]
    sources = []
    for name in named:
        if name is not None and Path(name).is_dir():
            try:
                sources.append(resolve_checkpoint(name))
            except CheckpointError:  # a released expert is a folder of weights without a history
                continue
    return sources


def before(sources: list[Path]) -> dict[str, Any]:
    """earlier_episodes and earlier_seeds: what the checkpoints `sources` were trained on, theirs before included."""
    episodes: set[str] = set()
    seeds: set[tuple[str, int]] = set()
    for source in sources:
        manifest = read_lineage(source)
        episodes |= seen_episodes(manifest) or set()
        seeds |= seen_seeds(manifest)
    return {"earlier_episodes": sorted(episodes), "earlier_seeds": sorted(seeds)}


def read_lineage(checkpoint: Path) -> dict[str, Any]:
    """The manifest of a checkpoint; empty where there is none, as in files of other programs."""
    path = checkpoint / CHECKPOINT_MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
