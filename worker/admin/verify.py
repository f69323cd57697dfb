"""`studio verify`: is everything there, and does it belong together? `studio up` looks at the same when it starts."""

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
from dexvla.errors import UserError

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


def verify(settings: Settings, *, adopt: bool, lose: bool, as_json: bool) -> bool:
    """Print what is wrong; returns whether anything (still) is. Raises UserError.

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
        return bool(missing or lost or any(strays.values()))
    finally:
        studio.close()


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
