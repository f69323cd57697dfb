"""Out: contact sheets, a few dozen frames of each episode side by side, as JPEG."""

from collections.abc import Callable, Sequence
from pathlib import Path

from dexvla.episodes.contact_sheet import contact_sheets, even_steps
from dexvla.formats.base import Exported, ExportEpisode
from dexvla.formats.outgoing import outgoing

_FRAMES = 32  # of an episode: two sheets


class SheetsExporter:
    """<name>_1.jpg, <name>_2.jpg: evenly spread steps, all cameras, and the first step of each substep."""

    name = "sheets"
    title = "Contact sheets (JPEG)"

    def export(
        self, episodes: Sequence[ExportEpisode], out: Path, *, on_episode: Callable[[Exported], None]
    ) -> tuple[str, ...]:
        for episode in episodes:
            files = []
            with outgoing(episode) as going:
                starts = [segment.start for segment in going.substeps][:_FRAMES]
                steps = sorted({*even_steps(going.file.steps, max(_FRAMES - len(starts), 2)), *starts})
                for number, sheet in enumerate(contact_sheets(going.file, going.file.cameras, steps), 1):
                    files.append(f"{episode.name}_{number}.jpg")
                    (out / files[-1]).write_bytes(sheet.jpeg)
            on_episode(Exported(name=episode.name, files=tuple(files)))
        return ()


SHEETS = SheetsExporter()
