"""A dataset with real episode files, listed without the sandbox of uploads: labelling tests need many of them."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi.testclient import TestClient

from backend.core.db import new_id, utc_now
from backend.labels.core.start import proposed
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.draft import Draft
from backend.tables.episode import EpisodeRow, EpisodeSource
from dexvla.episodes.format import EpisodeData
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.reader import open_episode
from dexvla.episodes.writer import write_episode

MakeData = Callable[..., EpisodeData]
STEPS = 24


class Labels:
    """A dataset of `count` episodes of STEPS steps at 50 Hz; `ids` in the order of their numbers.

    proposals: substeps that each file brought, as (start, end, text).
    """

    def __init__(
        self, studio: Studio, make_data: MakeData, count: int = 1, *, proposals: Sequence[tuple[int, int, str]] = ()
    ) -> None:
        self.studio = studio
        self.dataset_id = new_id()
        self.ids = [new_id() for _ in range(count)]
        with studio.db.transaction() as db:
            db.add(Dataset(id=self.dataset_id, name=f"cubes {self.dataset_id[:4]}", fps=50.0, next_number=count))
            db.flush()
            for number, episode_id in enumerate(self.ids):
                db.add(self._row(number, episode_id, make_data(seed=number, size=(32, 32), labels=None)))
                db.flush()
                if proposals:
                    segments = proposed(proposals, "scripted")
                    db.add(
                        Draft(
                            episode_id=episode_id, edit=0, segments=segments, instruction="Lift", updated_at=utc_now()
                        )
                    )

    def _row(self, number: int, episode_id: str, data: EpisodeData) -> EpisodeRow:
        path = self.studio.settings.folder.episode(self.dataset_id, episode_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_episode(path, data)
        with open_episode(path) as episode:
            return EpisodeRow(
                id=episode_id,
                dataset_id=self.dataset_id,
                number=number,
                identity=episode_identity(episode),
                steps=episode.steps,
                action_dim=14,
                state_dim=14,
                fps=50.0,
                cameras=[{"name": name, "height": 32, "width": 32} for name in episode.cameras],
                sim=True,
                size_bytes=path.stat().st_size,
                source=EpisodeSource.UPLOADED,
                instruction="Lift",
            )

    @property
    def url(self) -> str:
        return f"/api/datasets/{self.dataset_id}"

    def episode(self, number: int = 0) -> str:
        return f"/api/episodes/{self.ids[number]}"


def save(
    browser: TestClient,
    episode: str,
    *segments: tuple[int, int, str],
    rater: int = 0,
    tier: str = "substep",
    **more: Any,
) -> Any:
    """Save these segments over whatever stands there; `more`: fields of the draft. Returns the response."""
    where = {"rater": rater, "tier": tier}
    if "edit" not in more:
        more["edit"] = browser.get(f"{episode}/draft", params=where).json()["edit"]
    parts = [{"start": start, "end": end, "text": text} for start, end, text in segments]
    return browser.put(f"{episode}/draft", params=where, json={"segments": parts, **more})


def ok(answer: Any) -> Any:
    """The answer's content, if it is one."""
    assert answer.status_code < 300, answer.text
    return answer.json()


def refusal(answer: Any, status: int) -> Any:
    """The error of a refused request."""
    assert answer.status_code == status, answer.text
    return answer.json()["error"]
