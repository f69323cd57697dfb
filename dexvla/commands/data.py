"""`dexvla record`, `check` and `stats`."""

from pathlib import Path
from typing import Annotated

import typer

from dexvla import console
from dexvla.commands.options import JsonFile, Level, Split, Swapped, comma_separated
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.errors import UserError
from dexvla.spec import (
    ALOHA_CAMERAS,
    AlohaTask,
    CameraSpec,
    PickColourOptions,
    PickLevel,
    PickSplit,
    RecordSpec,
    RecoveryOptions,
    RenderProfile,
)

_RECOVERY = RecordSpec.model_fields["recovery"]


def _described(name: str) -> str:
    """Help of an option of --recovery: the specification's own words and default."""
    field = RecoveryOptions.model_fields[name]
    return f"With --recovery: {field.description} (default {field.default})"


def record(
    out: Annotated[Path, typer.Option(help="Folder for episode_N.hdf5; existing episodes are kept")],
    robot: Annotated[str, typer.Option(help="Robot driver")] = "aloha_sim",
    task: Annotated[AlohaTask, typer.Option(help="Task of the simulated robot")] = AlohaTask.TRANSFER_CUBE,
    episodes: Annotated[int, typer.Option(help="Number of seeds to run")] = 5,
    level: Level = PickLevel.SPOTS,
    split: Split = PickSplit.ANY,
    swapped: Swapped = False,
    seed: Annotated[int, typer.Option(help="First seed: seeds SEED .. SEED + EPISODES - 1 are run")] = 0,
    cameras: Annotated[str, typer.Option(help="Cameras, comma separated")] = ",".join(ALOHA_CAMERAS),
    height: Annotated[int, typer.Option(help="Rows of a picture, pixels")] = 480,
    width: Annotated[int, typer.Option(help="Columns of a picture, pixels")] = 640,
    render: Annotated[RenderProfile, typer.Option(help="Render profile, stored in each episode")] = RenderProfile.FAST,
    jpeg_quality: Annotated[int, typer.Option(help="JPEG quality, 1 .. 100")] = 90,
    keep_failures: Annotated[bool, typer.Option(help="Also keep episodes in which the expert failed")] = False,
    recovery: Annotated[bool, typer.Option("--recovery", help=f"{_RECOVERY.description}; with these options")] = False,
    push: Annotated[float | None, typer.Option(help=_described("push"))] = None,
    miss: Annotated[float | None, typer.Option(help=_described("miss"))] = None,
    slip: Annotated[float | None, typer.Option(help=_described("slip"))] = None,
    wide_start: Annotated[float | None, typer.Option(help=_described("wide_start"))] = None,
    fastest: Annotated[float | None, typer.Option(help=_described("fastest"))] = None,
    noise: Annotated[float | None, typer.Option(help=_described("noise"))] = None,
    json_file: JsonFile = None,
) -> None:
    """Record scripted demonstrations on a simulated robot, one HDF5 file an episode."""
    from dexvla.robots.record import record as run_recording

    given = {"push": push, "miss": miss, "slip": slip, "wide_start": wide_start, "fastest": fastest, "noise": noise}
    given = {name: value for name, value in given.items() if value is not None}
    if given and not recovery:
        raise UserError(
            f"--{next(iter(given)).replace('_', '-')} is an option of --recovery; add that, or leave it out"
        )
    spec = RecordSpec(
        robot=robot,
        task=task,
        pick=PickColourOptions(level=level, split=split, swapped=swapped),
        episodes=episodes,
        seed=seed,
        cameras=tuple(CameraSpec(name=name, height=height, width=width) for name in comma_separated(cameras)),
        render=render,
        jpeg_quality=jpeg_quality,
        keep_failures=keep_failures,
        recovery=RecoveryOptions.model_validate(given) if recovery else None,
    )
    with console.bar("recording", total=episodes) as bar:
        result = run_recording(spec, out, on_episode=lambda progress: bar.set(progress.done, progress.note))
    console.say(f"{len(result.kept)} of {episodes} episodes kept in {out}, {len(result.failed)} failed")
    if result.failed and not keep_failures:
        console.say(f"dropped seeds: {', '.join(map(str, result.failed))}")
    console.write_json(json_file, result.to_json())


def check(
    paths: Annotated[list[str], typer.Argument(help="Folders, .hdf5 files, or tasks.yaml#task")],
    quick: Annotated[bool, typer.Option(help="Decode about 25 frames a camera instead of all")] = False,
    json_file: JsonFile = None,
) -> None:
    """Look episode files through: structure, lengths, dtypes, NaN, labels, pictures. Exit status 1 on any error."""
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

    manifest, motions = build_manifest(find_set(source))
    result = norm_stats(motions)
    console.stats_table(manifest, result)
    console.write_json(json_file, result.model_dump(mode="json"))
