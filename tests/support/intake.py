"""Files into a studio's dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.intake.accept import accept
from backend.studio.context import Studio
from backend.tables.episode import EpisodeSource
from dexvla.episodes.format import EpisodeData

MakeData = Callable[..., EpisodeData]


def take(studio: Studio, dataset_id: str, file: Path, **given: Any) -> str:
    return accept(studio, dataset_id=dataset_id, file=file, source=EpisodeSource.UPLOADED, **given).episode_id


def stored_files(studio: Studio) -> list[Path]:
    return [path for path in studio.settings.folder.episodes.rglob("*") if path.is_file()]
