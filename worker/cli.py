"""The command `studio`: start everything, or one part of it; accounts without the page.

What a user did wrong is one line on standard error and exit status 1.
"""

import errno
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

import dexvla
from dexvla.errors import UserError
from worker.admin.backup import commands as backup_commands

if TYPE_CHECKING:  # a robot's machine has no studio
    from backend.core.settings import Settings

app = typer.Typer(
    name="studio",
    help="Run DexVLA Studio: the page, its workers and robots.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
_PRIVATE = 0o077  # what a studio makes (episodes, labels, checkpoints, secrets) is its account's alone
user_app = typer.Typer(help="Accounts, without the page.", no_args_is_help=True)
app.add_typer(user_app, name="user")
store_app = typer.Typer(help="Where episodes, checkpoints and exports are kept.", no_args_is_help=True)
app.add_typer(store_app, name="store")
backup_commands.add_to(app)

Data = Annotated[Path | None, typer.Option(help="Data folder; default STUDIO_DATA, or ./data")]
Host = Annotated[str | None, typer.Option(help="Address to listen on; default STUDIO_HOST, or 127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="Port; default STUDIO_PORT, or 8000; 0 takes a free one")]


def _settings(*, finish: bool = False, **given: object) -> "Settings":
    """finish: a restore that was interrupted is finished first; otherwise it is refused to work on its data."""
    from backend.core.settings import Settings

    settings = Settings.model_validate({name: value for name, value in given.items() if value is not None})
    if settings.folder.restoring.exists():
        from worker.admin.backup.switch import finish_here, refuse_interrupted

        if finish:
            finish_here(settings)
        else:
            refuse_interrupted(settings.folder)
    return settings


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(dexvla.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it")] = False,
) -> None:
    os.umask(_PRIVATE)  # of every command and of all that it starts


@app.command()
def up(data: Data = None, host: Host = None, port: Port = None) -> None:
    """Start everything on this machine: database, broker, API and page, a worker, the simulated robot."""
    from worker.core.forks import one_thread

    with one_thread():
        from worker.supervise.up import up as run

    run(_settings(finish=True, data=data, host=host, port=port))


@app.command()
def api(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    fd: Annotated[int | None, typer.Option(hidden=True, help="Listen on this inherited socket")] = None,
) -> None:
    """Serve the API and the page; one process of a studio does, a second one is refused.

    The database must be migrated (`studio migrate`), the broker running.
    """
    from worker.supervise.api import serve

    serve(_settings(data=data, host=host, port=port), fd=fd)


@app.command(hidden=True)
def application(
    fd: Annotated[int, typer.Option(help="The unix socket to listen on, inherited from the gateway")],
    ready: Annotated[int, typer.Option(help="A pipe that is told when it answers")],
) -> None:
    """What `studio api` starts behind its port."""
    from backend.core.settings import Settings
    from worker.supervise.application import serve

    serve(Settings(), fd=fd, ready=ready)


@app.command()
def migrate(
    data: Data = None,
    to: Annotated[str | None, typer.Option(help="A revision, also an older one, for an older studio")] = None,
) -> None:
    """Bring the database to the tables of this version."""
    from sqlalchemy.exc import OperationalError

    from backend.core.db import Database
    from backend.migrations.migrate import downgrade
    from backend.migrations.migrate import migrate as run

    settings = _settings(finish=True, data=data)
    if settings.database_url is None:
        settings.folder.prepare()
    database = Database(settings.sql_url)
    try:
        if to is None:
            run(database)
        else:
            downgrade(database, to)
    except OperationalError as error:
        raise UserError(f"the database cannot be used: {' '.join(str(error.orig).split())}") from error


@app.command()
def worker(
    data: Data = None,
    queues: Annotated[str, typer.Option(help="Which jobs to take: train, light, or both")] = "train,light",
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Jobs at once of each queue; default one training and two others"),
    ] = None,
) -> None:
    """Run jobs: recordings, trainings, evaluations. One training at a time; start one a GPU machine."""
    from worker.supervise.worker import run_worker

    names = tuple(part.strip() for part in queues.split(",") if part.strip())
    run_worker(_settings(data=data), queues=names, concurrency=concurrency)


@app.command()
def robot(
    data: Data = None,
    robot: Annotated[str, typer.Option(help="Robot, by the name under which it is registered")] = "aloha_sim_live",
    options: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML or JSON file with what the robot is made with")
    ] = None,
    task: Annotated[str, typer.Option(help="A simulated robot's first scene; default: its first task")] = "",
    name: Annotated[
        str | None, typer.Option(help="Name of the robot, as the page shows it; default: as it is registered")
    ] = None,
    port: Annotated[int, typer.Option(help="Port for the API; 0 takes a free one")] = 0,
    studio: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="STUDIO_URL", help="The studio's address, from another machine"),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="STUDIO_ROBOT_KEY", help="With --studio: what `studio robot-key NAME` printed there"),
    ] = None,
) -> None:
    """Own a robot: control loop, stop, cameras. Without --robot the simulated ALOHA."""
    from dexvla.robots.registry import options_file
    from worker.robot.plugged import DEFAULT_ROBOT

    shown, given = name or ("aloha-sim" if robot == DEFAULT_ROBOT else robot), options_file(options)
    if studio:
        from worker.robot import elsewhere

        if not key:
            raise UserError(f"--studio needs --key, or STUDIO_ROBOT_KEY: what `studio robot-key {shown}` prints there")
        elsewhere.run(
            studio=studio,
            key=key,
            data=data or Path(os.environ.get("STUDIO_DATA") or "data"),
            name=shown,
            port=port,
            robot=robot,
            options=given,
            task=task,
            address=os.environ.get("STUDIO_ROBOT_ADDRESS") or None,
            servers=os.environ.get("STUDIO_POLICY_SERVERS", ""),
        )
        return
    from worker.supervise.robot_host import run

    run(_settings(data=data), name=shown, port=port, robot=robot, options=given, task=task)


@app.command("robot-key")
def robot_key(
    name: Annotated[str, typer.Argument(help="Name of the robot")],
    data: Data = None,
    remove: Annotated[bool, typer.Option("--remove", help="Its key opens nothing any more")] = False,
) -> None:
    """Print a new key for a robot's host on another machine (`studio robot --studio URL --key KEY`).

    The key that the robot had before opens nothing any more.
    """
    from worker.admin.robot_keys import new_key, remove_key

    settings = _settings(data=data)
    if remove:
        remove_key(settings, name)
    else:
        typer.echo(new_key(settings, name))


@app.command()
def verify(
    data: Data = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help='Take episode files without a row into the dataset "Recovered"')
    ] = False,
    lose: Annotated[bool, typer.Option("--lose", help="Move everything without a row to lost/")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Read nothing again, only look what is there")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="Read at most so many MiB a second")] = 200.0,
) -> None:
    """Look for files without rows, rows without files, and a damaged database; and read everything that is kept again:
    is it what it was? Exit status 1 if anything is wrong. Ctrl-C ends the reading with what was found so far."""
    from worker.admin.verify import verify as run

    if adopt and lose:
        raise UserError("--adopt or --lose, not both")
    status = run(_settings(data=data), adopt=adopt, lose=lose, as_json=as_json, quick=quick, rate=rate)
    if status:
        raise typer.Exit(status)


@store_app.command("check")
def check_store(data: Data = None) -> None:
    """Can the store be reached and written, and is it the one that the studio's files are in? Exit status 1 if not."""
    from worker.admin.move_store import check

    typer.echo(check(_settings(data=data)))


@store_app.command("move")
def move_store(
    to: Annotated[str, typer.Option(metavar="STORE", help="s3://BUCKET/PREFIX (STUDIO_STORE_*), or folder")],
    data: Data = None,
    copy_only: Annotated[
        bool, typer.Option("--copy-only", help="Copy ahead while the studio works; a later move copies the rest")
    ] = False,
    free: Annotated[bool, typer.Option("--free", help="Then remove from the data folder what the store has")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
) -> None:
    """Copy all files to another store, read each back, and switch over; goes on where it was interrupted.

    Files in the store that was left stay there.
    """
    from worker.admin.move_store import move, told

    if copy_only and free:
        raise UserError("--copy-only or --free, not both: what is not switched over is still needed")
    moved = move(_settings(data=data), to, copy_only=copy_only, free=free)
    typer.echo(moved.model_dump_json() if as_json else told(moved))
    if moved.damaged:
        raise typer.Exit(1)


@user_app.command("list")
def list_users(
    data: Data = None, as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False
) -> None:
    """Who has an account."""
    from worker.admin.users import all_users

    people = all_users(_settings(data=data))
    if as_json:
        typer.echo(json.dumps([person.model_dump(mode="json") for person in people], indent=2))
        return
    for person in people:
        typer.echo(f"{person.name:<24} {person.role.value}{'  (switched off)' if person.disabled else ''}")


@user_app.command("reset")
def reset_user(
    name: Annotated[str, typer.Argument(help="Whose password is lost")],
    data: Data = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Print a one-time link with which the person sets a new password; also the way back for a lone administrator."""
    from worker.admin.users import reset_link

    typer.echo(reset_link(_settings(data=data, host=host, port=port), name))


_SECRET = re.compile(r"(://)[^\s']*@")  # user and password of an address: they would stay in logs


def main() -> None:
    """Entry point: errors of the user become one line, everything else keeps its traceback."""
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        message = " ".join(getattr(error, "format_message", error.__str__)().split())
        if not message:
            sys.exit(2)
        _fail(message, 2)
    except ValidationError as error:
        first = error.errors()[0]
        said = _SECRET.sub(r"\1***@", first["msg"].removeprefix("Value error, "))
        if not first["loc"]:  # of several settings together: it names them, and passwords may be among them
            _fail(said, 1)
        found = _SECRET.sub(r"\1***@", str(first.get("input")))[:80]
        _fail(f"STUDIO_{str(first['loc'][0]).upper()}: {said}; found {found!r}", 1)
    except UserError as error:
        _fail(" ".join(str(error).split()), 1)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in {"backend", "dexvla", "worker"}:
            raise
        _fail(f"{error.name} is not installed: a robot's machine needs pip install '.[robot]', a studio '.[studio]'", 1)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        _fail("the disk of the data folder is full; free some space, or name another folder with STUDIO_DATA", 1)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    sys.exit(status or 0)


def _fail(message: str, status: int) -> None:
    print(f"studio: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


if __name__ == "__main__":
    main()
