"""Our own episode files with the labels that people gave them: motion and frames bit for bit, as they are stored."""

from collections.abc import Callable, Sequence
from pathlib import Path

from dexvla.episodes.labelled import EpisodeLabels, write_labelled
from dexvla.errors import EpisodeError
from dexvla.formats.base import Exported, ExportEpisode, FormatError


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
                write_labelled(episode.path, out / f"{episode.name}.hdf5", labels)
            except EpisodeError as error:
                raise FormatError(str(error)) from error
            on_episode(Exported(name=episode.name, files=(f"{episode.name}.hdf5",)))
        return ()


EPISODES = EpisodesExporter()
