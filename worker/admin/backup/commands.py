"""`studio backup` and `studio restore`, as `studio` lists them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from dexvla.errors import UserError
from dexvla.files import write_json

Json = Annotated[Path | None, typer.Option("--json", help="Write what was done there, for programs")]


def add_to(app: typer.Typer) -> None:
    app.command()(backup)
    app.command()(restore)


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of backups, best on another disk")],
    data: Annotated[Path | None, typer.Option(help="Data folder; default STUDIO_DATA, or ./data")] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Remove all but the newest N snapshots afterwards")] = None,
    prune_only: Annotated[bool, typer.Option("--prune-only", help="Only remove what --keep says; no backup")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Only read everything in DIR and compare the sums")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only list the snapshots in DIR")] = False,
    json_file: Json = None,
) -> None:
    """Back up database and files while the studio works; what DIR has already is not copied again."""
    from backend.core.settings import Settings
    from worker.admin.backup.make import backup as run

    if sum((prune_only, verify, show)) > 1:
        raise UserError("--prune-only, --verify and --list are three things; give one of them")
    if show:
        _list(folder, json_file)
    elif verify:
        _verify(folder, json_file)
    elif prune_only:
        _prune(folder, keep, json_file)
    else:
        settings = Settings() if data is None else Settings(data=data)
        with _progress("backing up") as on_bytes:
            made = run(settings, folder, keep=keep, on_bytes=on_bytes)
        _write(json_file, made)
        typer.echo(
            f"{made.snapshot}: {made.files} files ({_size(made.bytes)}) and {made.rows} rows in {made.folder}; "
            f"{made.new_files} new ({_size(made.new_bytes)}), {made.seconds:.1f} s"
        )
        if made.removed:
            typer.echo(f"removed: {', '.join(made.removed)}")
        if made.outside:
            _warn(f"not in the backup, since they lie outside of the data folder: models {', '.join(made.outside)}")
        for note in made.notes:
            _warn(note)
        for entry in made.missing:
            _warn(f"{entry.what}: {entry.path} {entry.why}")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `studio backup` was given")],
    to: Annotated[
        Path | None, typer.Option("--to", "--data", help="Data folder to make; default STUDIO_DATA, or ./data")
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option(help="Which one, see `studio backup DIR --list`; default newest")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put aside what is in the data folder now")] = False,
    sign_out: Annotated[
        bool, typer.Option("--sign-out", help="End the snapshot's sessions, tokens and links; passwords stay")
    ] = False,
    leave_out_damaged: Annotated[
        bool, typer.Option("--leave-out-damaged", help="Restore the others where files of the backup are damaged")
    ] = False,
    json_file: Json = None,
) -> None:
    """Restore a backup into an empty or new data folder; the studio must be stopped."""
    from backend.core.settings import Settings
    from worker.admin.backup.restore import restore as run

    settings = Settings() if to is None else Settings(data=to)
    with _progress("restoring") as on_bytes:
        done = run(
            settings,
            folder,
            snapshot=snapshot,
            replace=replace,
            sign_out=sign_out,
            leave_out_damaged=leave_out_damaged,
            on_bytes=on_bytes,
        )
    _write(json_file, done)
    typer.echo(
        f"{done.snapshot} of {done.made_at}: {done.files} files ({_size(done.bytes)}) and {done.rows} rows are in "
        f"{done.data}; {done.seconds:.1f} s"
    )
    if done.revision != done.migrated_to:
        typer.echo(f"the database was brought from revision {done.revision} to {done.migrated_to}")
    if done.aside:
        typer.echo(f"what was there before: {', '.join(done.aside)}; remove it when you do not need it any more")
    for path in done.left_out:
        _warn(f"left out, since it is damaged in the backup: {path}")
    for text in done.missing:
        _warn(f"was not in the backup: {text}")


def _list(folder: Path, json_file: Path | None) -> None:
    from worker.admin.backup.store import Store

    store = Store.at(folder)
    found = []
    for name in store.names():
        try:
            one = store.load(name)[1]
        except UserError as error:
            found.append({"snapshot": name, "error": str(error)})
            _warn(str(error))
            continue
        facts = {"files": len(one.files), "bytes": sum(entry.size for entry in one.files)}
        found.append(
            {"snapshot": name, "made_at": one.made_at, "version": one.version, "revision": one.revision} | facts
        )
        typer.echo(f"{name}  {facts['files']:>7} files  {_size(facts['bytes']):>10}  revision {one.revision}")
    if json_file is not None:
        write_json(json_file, found)


def _verify(folder: Path, json_file: Path | None) -> None:
    from worker.admin.backup.make import verify

    found = verify(folder)
    _write(json_file, found)
    if found.damaged:
        for name, files in found.damaged.items():
            for path, why in sorted(files.items()):
                _warn(f"{name}: {path} {why}")
        raise UserError(f"{len(found.damaged)} of {len(found.snapshots)} snapshots are damaged; see above")
    typer.echo(
        f"{len(found.snapshots)} snapshots, {found.objects} objects ({_size(found.bytes)}): all of them are what their "
        f"sums say; {found.seconds:.1f} s"
    )


def _prune(folder: Path, keep: int | None, json_file: Path | None) -> None:
    from worker.admin.backup.store import Store

    if keep is None:
        raise UserError("--prune-only needs --keep N: how many of the newest snapshots stay")
    store = Store.at(folder)
    with store.locked():
        store.clear()
        gone = store.prune(keep=keep)
    if json_file is not None:
        write_json(json_file, {"removed": gone, "snapshots": store.names()})
    typer.echo(f"removed: {', '.join(gone) or 'nothing'}; {len(store.names())} snapshots are left")


def _write(target: Path | None, result: BaseModel) -> None:
    if target is not None:
        write_json(target, result.model_dump(mode="json"))


def _warn(text: str) -> None:
    typer.echo(text, err=True)


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int], object]]:
    """How much was read, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

    columns = (SpinnerColumn(), TextColumn(what), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda count: progress.advance(task, count)
