"""`dexvla record`, `check` and `stats`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dexvla import console
from dexvla.commands import flags
from dexvla.commands.options import JsonFile, comma_separated
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.errors import UserError
from dexvla.spec import ALOHA_CAMERAS, CameraSpec, RecordSpec, RecoveryOptions

_RECOVERY = RecordSpec.model_fields["recovery"]


@flags.ready
@flags.flags_of(RecoveryOptions, before="With --recovery: ")
@flags.flags_of(RecordSpec, tasks=True)
def record(
    out: Annotated[Path, typer.Option(help="Folder for episode_N.hdf5; existing episodes are kept")],
    spec_file: flags.SpecFile = None,
    robot_options: flags.RobotOptions = None,
    option: flags.TaskOptions = None,
    cameras: Annotated[str | None, typer.Option(help=f"Comma separated (default {','.join(ALOHA_CAMERAS)})")] = None,
    height: Annotated[int | None, typer.Option(help="Rows of an image, pixels (default 480)")] = None,
    width: Annotated[int | None, typer.Option(help="Columns of an image, pixels (default 640)")] = None,
    recovery: Annotated[bool, typer.Option("--recovery", help=f"{_RECOVERY.description}; with these options")] = False,
    json_file: JsonFile = None,
    **given: Any,
) -> None:
    """Record scripted demonstrations on a simulated robot, one HDF5 file an episode."""
    from dexvla.robots.record import record as run_recording
    from dexvla.robots.registry import options_file

    fields = flags.spec_file(spec_file)
    mishaps = flags.part_of(given, RecoveryOptions.model_fields)
    if mishaps and not recovery:
        raise UserError(
            f"--{next(iter(mishaps)).replace('_', '-')} is an option of --recovery; add that, or leave it out"
        )
    if recovery:
        there = fields.get("recovery") or {}
        if not isinstance(there, dict):
            raise UserError(f"recovery in {spec_file}: expected its options by name, found {there!r}")
        fields["recovery"] = {**there, **mishaps}
    fields |= flags.part_of(given, RecordSpec.model_fields)
    if cameras is not None or height is not None or width is not None:
        size = {name: value for name, value in (("height", height), ("width", width)) if value is not None}
        before = {
            camera.name: camera.model_dump() for camera in map(CameraSpec.model_validate, fields.get("cameras") or [])
        }
        names = (before or ALOHA_CAMERAS) if cameras is None else comma_separated(cameras)
        fields["cameras"] = [{**before.get(name, {}), "name": name, **size} for name in names]
    if robot_options is not None:
        fields["robot_options"] = options_file(robot_options)
    spec = RecordSpec.model_validate(fields)
    spec = spec.model_copy(update={"options": flags.task_options(spec.options, given, option)})
    with console.bar("recording", total=spec.episodes) as bar:
        result = run_recording(spec, out, on_episode=lambda progress: bar.set(progress.done, progress.note))
    console.say(f"{len(result.kept)} of {spec.episodes} episodes kept in {out}, {len(result.failed)} failed")
    if result.failed and not spec.keep_failures:
        console.say(f"dropped seeds: {', '.join(map(str, result.failed))}")
    console.write_json(json_file, result.to_json())


def check(
    paths: Annotated[list[str], typer.Argument(help="Folders, .hdf5 files, or tasks.yaml#task")],
    quick: Annotated[bool, typer.Option(help="Decode about 25 frames a camera instead of all")] = False,
    json_file: JsonFile = None,
) -> None:
    """Look episode files through: structure, lengths, dtypes, NaN, labels, images. Exit status 1 on any error."""
    from dexvla.episodes.check import check_episodes

    files = [file for path in paths for file in find_set(path).paths]
    with console.bar("checking", total=len(files)) as bar:
        report = check_episodes(files, every_frame=not quick, on_file=lambda file: bar.advance(Path(file.path).name))
    console.check_table(report)
    console.write_json(json_file, report.to_json())
    if not report.ok:
        bad = sum(not file.ok for file in report.files)
        raise UserError(
            f"{bad} of {len(report.files)} files have errors"
            + ("" if not report.errors else f"; files do not fit together: {report.errors[0]}")
        )


def stats(
    source: Annotated[str, typer.Argument(help="Folder, .hdf5 file, or tasks.yaml#task")],
    json_file: JsonFile = None,
) -> None:
    """Normalisation statistics of a set of episodes."""
    from dexvla.data.statistics import norm_stats
    from dexvla.episodes.known import KnownEpisodes

    manifest, motions = build_manifest(find_set(source), known=KnownEpisodes.usual())
    result = norm_stats(motions)
    console.stats_table(manifest, result)
    console.write_json(json_file, result.model_dump(mode="json"))
