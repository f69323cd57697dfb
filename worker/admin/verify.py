"""`studio verify`: is everything there, does it belong together, and is it what it was? `studio up` looks at the first
two when it starts."""

import json
from pathlib import Path

import structlog
import typer
from sqlalchemy.exc import SQLAlchemyError

from backend.core import space
from backend.core.errors import ApiError
from backend.core.settings import Settings
from backend.storage import mark, service
from backend.studio import whereabouts
from backend.studio.context import Studio
from dexvla import console
from dexvla.errors import UserError
from worker.admin.rehash import Rehashed, rehash

_SHOWN = 5
_log = structlog.get_logger(__name__)


def make_room(settings: Settings) -> None:
    """Before the database is opened, for which a full disk has no room: give up the reserve."""
    found = space.Space(settings.folder)
    if found.full:
        found.give_up()


def look_around(settings: Settings) -> list[str]:
    """At a start, when nothing else runs yet: build the reserve, and return what people should know, line by line.

    Raises UserError for settings that name another store than the files are in.
    """
    studio = Studio.open(settings)
    try:
        whereabouts.agree(studio)
        lines = []
        if (lost := mark.look(studio)) is not None:
            lines.append(f"Look here: {lost}")
        away = studio.store.problem(write=True)
        if away is not None:
            lines.append(f"Look here: {away}")
        strays, missing = ({}, []) if away is not None else service.look(studio, fresh_seconds=0)
        if (told := service.sentence(strays)) is not None:
            lines.append(f"{told}: adopt or move to lost/ (home page of an administrator, or `studio verify`)")
            lines += _listed(studio, strays)
        if missing:
            lines.append(f"{_gone(missing)} (`studio verify` lists all; a backup has them)")
        if (disk := studio.space.report()) != "ok":
            lines.append(f"The disk of {settings.data} is {disk}")
        try:
            space.hold(studio.db, settings.folder)
        except (OSError, SQLAlchemyError) as error:
            _log.warning("reserve.failed", error=" ".join(str(error).split())[:200])
        return lines
    finally:
        studio.close()


def verify(
    settings: Settings, *, adopt: bool, lose: bool, as_json: bool, quick: bool = False, rate: float | None = None
) -> int:
    """Print what is wrong; returns the exit status: 1 where anything (still) is, 130 where Ctrl-C ended it early, else
    0. Raises UserError.

    quick: nothing is read again. rate: of reading, MiB a second.

    May run beside a studio: files that were written to within the last minutes are left out.
    """
    if settings.database_url is None:
        if not settings.folder.database.is_file():
            raise UserError(f"{settings.data}: no studio has its data here; name its folder with STUDIO_DATA")
        mark.refuse_damaged(settings.folder.database)
    studio = Studio.open(settings)
    try:
        done = None
        if (away := studio.store.problem(write=True)) is not None:
            raise UserError(away)
        try:
            if adopt:
                done = service.adopt(studio, None)
            elif lose:
                done = service.lose(studio, None)
        except ApiError as error:
            raise UserError(error.message) from error
        strays, missing = service.look(studio)
        lost = mark.forgotten(studio)
        read = None if quick else _read_again(studio, rate)
        if as_json:
            names = {kind: [str(path.relative_to(settings.data)) for path in paths] for kind, paths in strays.items()}
            typer.echo(
                json.dumps(
                    {
                        "done": done,
                        "strays": names,
                        "missing": missing,
                        "forgotten": lost,
                        "disk": studio.space.report(),
                        "read": None if read is None else read.to_json(),
                    }
                )
            )
        else:
            for line in filter(None, (done, lost)):
                typer.echo(line)
            told = service.sentence(strays)
            if told is not None:
                typer.echo(f"{told}: --{service.ADOPT};")
                typer.echo("--lose moves all to lost/, where it is kept for 30 days.")
                for line in _listed(studio, strays):
                    typer.echo(line)
            for row in missing:
                typer.echo(f"{row} is gone")
            if told is None and not missing and lost is None:
                typer.echo("All files have rows, and all rows have files.")
            if read is not None:
                _tell_read(read)
        if read is not None and not read.whole:
            return 130
        return int(bool(missing or lost or any(strays.values()) or (read is not None and read.wrong)))
    finally:
        studio.close()


def _read_again(studio: Studio, rate: float | None) -> Rehashed:
    with console.bar("reading", total=0) as bar:

        def follow(found: Rehashed, what: str) -> None:
            bar.expect(found.total)
            bar.set(found.checked, what)

        return rehash(studio, mib_per_second=rate, on_file=follow)


def _tell_read(read: Rehashed) -> None:
    for line in read.changed:
        typer.echo(f"changed: {line}")
    for line in read.missing:
        typer.echo(f"missing: {line}")
    if not read.whole:
        typer.echo(f"Stopped after {read.checked} of {read.total} files; the others were not looked at.")
    elif not read.wrong:
        typer.echo(f"All {read.total} files ({read.size / 2**20:.0f} MiB) are what they were.")


def _listed(studio: Studio, strays: dict[str, list[Path]]) -> list[str]:
    """The first of each kind, with what is in them."""
    lines = []
    for kind, paths in strays.items():
        lines += [f"  {service.listed(studio, kind, path)}" for path in paths[:_SHOWN]]
        if len(paths) > _SHOWN:
            lines.append(f"  and {service.plural(len(paths) - _SHOWN, kind)} more")
    return lines


def _gone(missing: list[str]) -> str:
    more = f", and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return f"{', '.join(missing[:_SHOWN])}{more} {'is' if len(missing) == 1 else 'are'} gone"
