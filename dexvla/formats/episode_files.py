"""Our own episode files with the labels that people gave them: motion and frames bit for bit, as they are stored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from dexvla.episodes.labelled import EpisodeLabels, with_labels
from dexvla.episodes.overlay import Stretch
from dexvla.errors import EpisodeError
from dexvla.formats.base import Exported, ExportEpisode, FormatError

_AT_ONCE = 2**20  # bytes


class EpisodesExporter:
    """<name>.hdf5: the file with its labels in it."""

    name = "episodes"
    title = "Our own episode files with their labels (HDF5)"

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        for episode in episodes:
            labels = EpisodeLabels(
                instruction=episode.instruction,
                success=episode.success,
                substeps=episode.substeps,
                source=episode.label_source,
                paraphrases=episode.paraphrases,
            )
            try:
                stretches = with_labels(episode.path, labels)
            except EpisodeError as error:
                raise FormatError(str(error)) from error
            with episode.path.open("rb") as below, (out / f"{episode.name}.hdf5").open("xb") as file:
                for one in stretches:
                    _copy(one, below, file)
            on_episode(Exported(name=episode.name, files=(f"{episode.name}.hdf5",)))
        return ()


def _copy(one: Stretch, below: BinaryIO, file: BinaryIO) -> None:
    if one.data is not None:
        file.write(one.data)
        return
    below.seek(one.offset)
    left = one.size
    while left:
        part = below.read(min(left, _AT_ONCE))
        if not part:
            raise FormatError(f"{below.name}: became shorter while it was read; export again")
        file.write(part)
        left -= len(part)


EPISODES = EpisodesExporter()
