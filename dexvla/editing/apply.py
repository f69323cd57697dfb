"""Make the new episode of an edit: one frame in memory at a time, JPEG rows byte for byte, whole or not there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.editing.carrying import carry
from dexvla.episodes.identity import episode_identity
from dexvla.episodes.reader import Episode, load_episode
from dexvla.episodes.streaming import CameraStream, stream_episode
from dexvla.errors import EpisodeError
from dexvla.spec import Edit, Piece


@dataclass(frozen=True, kw_only=True)
class Edited:
    """file: the new episode. notes: what was left out or is worth a look, in full sentences."""

    file: Path
    steps: int
    notes: tuple[str, ...]


def check_edit(sources: Sequence[Path], edit: Edit) -> tuple[str, ...]:
    """The notes that `apply_edit` would give; nothing is written. Raises as it does, but for frames."""
    with ExitStack() as opened:
        episodes = [opened.enter_context(load_episode(path)) for path in sources]
        notes = carry(episodes, edit, [""] * len(episodes))[1]
        _cameras(episodes, edit, lambda: None)
    return notes


def apply_edit(
    sources: Sequence[Path],
    edit: Edit,
    target: Path,
    *,
    identities: Sequence[str] | None = None,
    on_frame: Callable[[], Any] = lambda: None,
) -> Edited:
    """Write the episode that `edit` makes of `sources` to `target`, which must not exist.

    identities: of the sources, where somebody knows them; otherwise every source is hashed first. on_frame: called for
    each frame that was read, of JPEG rows twice. Raises EpisodeError for sources that do not fit together or to the
    edit and for frames that cannot be read, EpisodeExistsError, OSError for a full disk; nothing stays behind.
    """
    with ExitStack() as opened:
        episodes = [opened.enter_context(load_episode(path)) for path in sources]
        if identities is None:
            carry(episodes, edit, [""] * len(episodes))  # refused before all is hashed
            identities = [episode_identity(one) for one in episodes]
        data, notes = carry(episodes, edit, identities)
        stream_episode(target, data, _cameras(episodes, edit, on_frame))
    return Edited(file=target, steps=edit.steps, notes=notes)


def _cameras(episodes: Sequence[Episode], edit: Edit, on_frame: Callable[[], Any]) -> dict[str, CameraStream]:
    first = edit.pieces[0]
    used = list(dict.fromkeys(piece.source for piece in edit.pieces))
    found = {}
    for camera in episodes[first.source].cameras:
        kinds = {number: _kind(episodes[number], camera, _first_step(edit, number)) for number in used}
        other = next((number for number in used if kinds[number] != kinds[first.source]), None)
        if other is not None:
            raise EpisodeError(
                f"{episodes[other].path}: camera {camera} holds {_words(kinds[other])}, that of "
                f"{episodes[first.source].path} {_words(kinds[first.source])}; what is joined must agree"
            )
        jpeg, swapped, height, width = kinds[first.source]
        found[edit.cameras.get(camera, camera)] = CameraStream(
            frames=_Frames(episodes, edit.pieces, camera, on_frame),
            jpeg=jpeg,
            height=height,
            width=width,
            swapped=swapped,
        )
    return found


def _first_step(edit: Edit, source: int) -> int:
    return next(piece.start for piece in edit.pieces if piece.source == source)


def _kind(episode: Episode, camera: str, step: int) -> tuple[bool, bool, int, int]:
    """(JPEG rows, red and blue swapped in them, height, width)"""
    jpeg = episode.is_jpeg(camera)
    return (jpeg, jpeg and episode.is_swapped(camera), *episode.frame_size(camera, step))


def _words(kind: tuple[bool, bool, int, int]) -> str:
    jpeg, swapped, height, width = kind
    what = f"JPEG rows{' with red and blue swapped' if swapped else ''}" if jpeg else "pixels"
    return f"{what} of {height} x {width}"


class _Frames:
    """Called, it gives the stored frames of a camera in the order of the pieces."""

    def __init__(
        self, episodes: Sequence[Episode], pieces: Sequence[Piece], camera: str, on_frame: Callable[[], Any]
    ) -> None:
        self._episodes, self._pieces, self._camera, self._on_frame = episodes, pieces, camera, on_frame

    def __call__(self) -> Iterator[bytes | NDArray[np.uint8]]:
        for piece in self._pieces:
            episode = self._episodes[piece.source]
            jpeg = episode.is_jpeg(self._camera)
            for step in range(piece.start, piece.end):
                stored = episode.stored_frame(self._camera, step)
                yield stored.tobytes().rstrip(b"\0") if jpeg else stored
                self._on_frame()
