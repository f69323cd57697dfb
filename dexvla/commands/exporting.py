"""`dexvla export`."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from dexvla import console
from dexvla.commands.options import JsonFile
from dexvla.episodes.manifest import find_set
from dexvla.formats import registry
from dexvla.formats.base import Exported
from dexvla.progress import READING


def _formats() -> str:
    return ", ".join(registry.exporters())


def export(
    source: Annotated[
        str, typer.Argument(help="Folder, .hdf5 file, manifest (.json) of a dataset version, or tasks.yaml#task")
    ],
    format_name: Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"One of {_formats()}")],
    out: Annotated[Path, typer.Option(help="New or empty folder for the export")],
    json_file: JsonFile = None,
) -> None:
    """Hand episodes with their labels on to other tools. The export is whole or not there."""
    from dexvla.formats.exporting import check_out, export_episodes, with_labels_of

    registry.exporter(format_name)
    check_out(out)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is half written is removed on the way out
    named = find_set(source)
    with console.bar(READING, total=len(named.paths)) as reading:
        found = with_labels_of(named, on_episode=reading.advance)
    with console.bar("exporting", total=len(found.episodes)) as bar:
        report = export_episodes(
            found.episodes,
            out,
            format_name,
            on_episode=lambda one: bar.advance(one.name),
            warnings=found.warnings,
        )
    console.say(f"{len(report.episodes)} episodes in {out}: {report.files} files, {report.size / 2**20:.1f} MiB")
    if report.loss_db is not None:
        console.say(f"images lost by coding: at worst {report.loss_db:.1f} dB peak signal to noise ratio")
    for text in (*report.warnings, *(line for one in report.episodes for line in _lines(one))):
        console.say(f"note: {text}")
    console.write_json(json_file, report.to_json())


def _lines(one: Exported) -> list[str]:
    return [f"{one.name}: {text}" for text in one.warnings]
