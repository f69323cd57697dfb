"""`dexvla edit`: new episode files of steps of others."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dexvla import console
from dexvla.commands.options import JsonFile, comma_separated
from dexvla.errors import UserError
from dexvla.mappings import read_mapping
from dexvla.spec import Edit, EditPlan, PlannedEdit

_Renames = Annotated[
    list[str] | None,
    typer.Option("--rename-camera", metavar="OLD=NEW", help="New name of a camera; may be given again"),
]
_Dimensions = Annotated[
    list[str] | None,
    typer.Option(
        "--rename-dimension",
        metavar="OLD=NEW",
        help="New name of a dimension of state and action, by its name or number; may be given again",
    ),
]
_SHOWN_PIECES = 4
_TOLD = 200  # times that progress is told


def edit(
    files: Annotated[
        list[str] | None, typer.Argument(help="Episode files, folders, or tasks.yaml#task", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the new files; nothing is overwritten")] = None,
    keep: Annotated[str | None, typer.Option(metavar="FIRST..LAST", help="Keep these steps (from 0, both)")] = None,
    cut: Annotated[str | None, typer.Option(metavar="FIRST..LAST", help="Leave these steps out")] = None,
    trim_idle: Annotated[bool, typer.Option("--trim-idle", help="Leave rest at both ends out, by motion")] = False,
    drop_idle: Annotated[bool, typer.Option("--drop-idle", help="Leave all rest out, by motion")] = False,
    split_at: Annotated[
        str | None, typer.Option(metavar="STEPS", help="First steps of the second and later parts: 100,200")
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="Make one of all files, in the order in which they are named")
    ] = False,
    rename_camera: _Renames = None,
    rename_dimension: _Dimensions = None,
    instruction: Annotated[str | None, typer.Option(help="Instruction of the new episodes")] = None,
    outcome: Annotated[
        Literal["success", "failure", "unknown"] | None, typer.Option(help="How the new episodes ended")
    ] = None,
    plan_file: Annotated[
        Path | None,
        typer.Option(
            "--plan", metavar="FILE", help="Edits as --dry-run --json wrote them, instead of all of the above"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be made")] = False,
    json_file: JsonFile = None,
) -> None:
    """Make new episodes of steps of others: trim, cut, drop rest, split, join, rename. The sources stay as they are."""
    from dexvla.editing.many import plan_edits, write_edits

    if out is None and not dry_run:
        raise UserError("--out is missing: name a folder for the new files, or look first with --dry-run")
    asked = {"--keep": keep, "--cut": cut, "--trim-idle": trim_idle, "--drop-idle": drop_idle, "--split-at": split_at,
             "--join": join}  # fmt: skip
    given = [flag for flag, value in asked.items() if value]
    changes: dict[str, Any] = {
        name: value
        for name, value in {
            "cameras": _renames("--rename-camera", rename_camera),
            "dimensions": _renames("--rename-dimension", rename_dimension),
            "instruction": instruction,
            "outcome": outcome,
        }.items()
        if value
    }
    skipped: list[dict[str, str]] = []
    if plan_file is not None:
        if files or given or changes:
            raise UserError("--plan says everything about the edits; leave files and other flags out")
        edits = _read_plan(plan_file)
    else:
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)} are several edits; ask for one, then edit what it made")
        if not given and not changes:
            raise UserError(f"nothing to do; give one of {', '.join(asked)}, a new name, --instruction or --outcome")
        edits = _plan(files or [], given[0] if given else "", asked, changes, skipped)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is half written is removed on the way out
    planned = plan_edits(edits, out or Path())
    if not dry_run and planned:
        frames = sum(one.what.edit.steps for one in planned)
        with console.bar("editing", total=len(planned)) as bar:
            told = [0]

            def on_frame() -> None:
                told[0] += 1
                if told[0] % max(1, frames // _TOLD) == 0:
                    bar.set(bar.done, f"{told[0]} frames")

            write_edits(planned, on_frame=on_frame, on_episode=lambda one: bar.advance(one.file.name))
    for one in planned:
        where = one.file.name if dry_run else one.file
        console.say(f"{', '.join(one.what.sources)} -> {where}: {_words(one.what.edit)}")
        for text in one.notes:
            console.say(f"  note: {text}")
    for left in skipped:
        console.say(f"left as it is: {left['source']}: {left['reason']}")
    console.write_json(
        json_file,
        {
            "written": not dry_run,
            "edits": [one.to_json(written=not dry_run) for one in planned],
            "skipped": skipped,
        },
    )
    if not planned:
        raise UserError(f"nothing was edited; {skipped[0]['source']}: {skipped[0]['reason']}")


def _plan(
    files: Sequence[str], how: str, asked: dict[str, Any], changes: dict[str, Any], skipped: list[dict[str, str]]
) -> list[PlannedEdit]:
    """skipped: gets the files of which nothing can be dropped."""
    from dexvla.editing import plans
    from dexvla.episodes.manifest import find_set
    from dexvla.episodes.reader import open_episode
    from dexvla.formats.exporting import episode_names

    paths = [path for name in files for path in find_set(name).paths]
    if not paths:
        raise UserError("no episode file is named; give files or folders")
    found: list[PlannedEdit] = []
    steps = []
    for path, name in zip(paths, episode_names(paths), strict=True):
        with open_episode(path) as episode:
            steps.append(episode.steps)
            try:
                edits: Sequence[Edit] = ()
                match how:
                    case "--keep":
                        edits = [plans.keep(episode.steps, *_range("--keep", asked[how], episode.steps))]
                    case "--cut":
                        edits = [plans.cut(episode.steps, *_range("--cut", asked[how], episode.steps))]
                    case "--trim-idle" | "--drop-idle":
                        idle = plans.idle_runs(episode.qpos, episode.attributes.fps, ends_only=how == "--trim-idle")
                        if not idle:
                            skipped.append({"source": str(path), "reason": "there is no rest to be left out"})
                            continue
                        edits = [plans.without(episode.steps, idle)]
                    case "--split-at":
                        edits = plans.split(episode.steps, _steps(asked[how]))
                    case "--join":
                        continue
                    case _:
                        edits = [plans.rename(episode.steps)]
            except UserError as error:
                raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
        found += [
            PlannedEdit(
                sources=(str(path.absolute()),),
                name=name if len(edits) == 1 else f"{name}_{number}",
                edit=_with(one, changes),
            )
            for number, one in enumerate(edits, 1)
        ]
    if how == "--join":
        sources = tuple(str(path.absolute()) for path in paths)
        name = f"{episode_names(paths)[0]}_joined"
        found = [PlannedEdit(sources=sources, name=name, edit=_with(plans.join(steps), changes))]
    return found


def _with(edit: Edit, changes: dict[str, Any]) -> Edit:
    return Edit.model_validate({**edit.model_dump(), **changes})


def _read_plan(path: Path) -> list[PlannedEdit]:
    listed = read_mapping(path, "edits as --dry-run --json writes them").get("edits")
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise UserError(f"{path}: expected a list of edits under `edits`, with one at least")
    fields = PlannedEdit.model_fields
    return list(
        EditPlan.model_validate(
            {"edits": [{name: value for name, value in one.items() if name in fields} for one in listed]}
        ).edits
    )


def _range(flag: str, text: str, steps: int) -> tuple[int, int]:
    """10..200 -> (10, 200); an open end is the episode's."""
    first, dots, last = text.partition("..")
    try:
        if not dots:
            raise ValueError
        return int(first or 0), int(last or steps - 1)
    except ValueError:
        raise UserError(f"{flag} {text}: expected the first and the last step, as in 10..200, 10.. or ..200") from None


def _steps(text: str) -> list[int]:
    try:
        return [int(part) for part in comma_separated(text)]
    except ValueError:
        raise UserError(f"--split-at {text}: expected steps, comma separated, as in 100,200") from None


def _renames(flag: str, given: Sequence[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given or ():
        old, equals, new = (part.strip() for part in text.partition("="))
        if not (old and equals and new) or old in found:
            raise UserError(f"{flag} {text}: expected OLD=NEW, each old name once")
        found[old] = new
    return found


def _words(edit: Edit) -> str:
    """ "190 steps (10..199)" """
    parts = [f"{piece.start}..{piece.end - 1}" for piece in edit.pieces[:_SHOWN_PIECES]]
    more = f" and {len(edit.pieces) - _SHOWN_PIECES} more" if len(edit.pieces) > _SHOWN_PIECES else ""
    return f"{edit.steps} steps ({', '.join(parts)}{more})"
