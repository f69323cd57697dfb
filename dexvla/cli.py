"""The command `dexvla`. Each command turns its flags into a spec and hands it to the room that does the work.

What a user did wrong is one line on standard error and exit status 1 (2 for flags that cannot be read). Heavy rooms
are imported inside the commands, so that `--help` is quick.
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

import dexvla
from dexvla import console
from dexvla.cli_convert import convert
from dexvla.episodes.manifest import build_manifest, find_set, first_error
from dexvla.errors import UserError
from dexvla.spec import (
    ALOHA_CAMERAS,
    PRESETS,
    AlohaTask,
    CameraSpec,
    EpisodeOutcome,
    EvalSpec,
    RecordSpec,
    RenderProfile,
    TrainSpec,
    with_preset,
)
from dexvla.threads import share_cores
from dexvla.train.configs import AccelerateConfig, accelerate_config

app = typer.Typer(
    name="dexvla",
    help="Record, check, train, evaluate and serve DexVLA policies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _json_target(path: Path | None) -> Path | None:
    """With "-" standard output belongs to the JSON alone; a file is tried before the work, not after hours of it."""
    if path is not None and str(path) == "-":
        console.keep_stdout_for_json()
    elif path is not None:
        console.try_folder(path.parent)
    return path


def _folder(path: Path | None) -> Path | None:
    if path is not None:
        console.try_folder(path)
    return path


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", callback=_json_target, help="Write the result as JSON to this file; - for stdout"),
]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu or cuda:NUMBER")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(dexvla.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it")] = False,
) -> None: ...


@app.command()
def record(
    out: Annotated[Path, typer.Option(help="Folder for episode_N.hdf5; existing episodes are kept")],
    robot: Annotated[str, typer.Option(help="Robot driver")] = "aloha_sim",
    task: Annotated[AlohaTask, typer.Option(help="Task of the simulated robot")] = AlohaTask.TRANSFER_CUBE,
    episodes: Annotated[int, typer.Option(help="Number of seeds to run")] = 5,
    seed: Annotated[int, typer.Option(help="First seed: seeds SEED .. SEED + EPISODES - 1 are run")] = 0,
    cameras: Annotated[str, typer.Option(help="Cameras, comma separated")] = ",".join(ALOHA_CAMERAS),
    height: Annotated[int, typer.Option(help="Rows of a picture, pixels")] = 480,
    width: Annotated[int, typer.Option(help="Columns of a picture, pixels")] = 640,
    render: Annotated[RenderProfile, typer.Option(help="Render profile, stored in each episode")] = RenderProfile.FAST,
    jpeg_quality: Annotated[int, typer.Option(help="JPEG quality, 1 .. 100")] = 90,
    keep_failures: Annotated[bool, typer.Option(help="Also keep episodes in which the expert failed")] = False,
    json_file: JsonFile = None,
) -> None:
    """Record scripted demonstrations on a simulated robot, one HDF5 file an episode."""
    from dexvla.robots.record import record as run_recording

    spec = RecordSpec(
        robot=robot,
        task=task,
        episodes=episodes,
        seed=seed,
        cameras=tuple(CameraSpec(name=name, height=height, width=width) for name in _names(cameras)),
        render=render,
        jpeg_quality=jpeg_quality,
        keep_failures=keep_failures,
    )
    with console.bar("recording", total=episodes) as bar:
        result = run_recording(spec, out, on_episode=lambda progress: bar.set(progress.done, progress.note))
    console.say(f"{len(result.kept)} of {episodes} episodes kept in {out}, {len(result.failed)} failed")
    if result.failed and not keep_failures:
        console.say(f"dropped seeds: {', '.join(map(str, result.failed))}")
    console.write_json(json_file, result.to_json())


@app.command()
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


@app.command()
def stats(
    source: Annotated[str, typer.Argument(help="Folder, .hdf5 file, or tasks.yaml#task")],
    json_file: JsonFile = None,
) -> None:
    """Normalisation statistics of a set of episodes."""
    from dexvla.episodes.statistics import norm_stats

    manifest, motions = build_manifest(find_set(source))
    result = norm_stats(motions)
    console.stats_table(manifest, result)
    console.write_json(json_file, result.model_dump(mode="json"))


@app.command("init-model")
def init_model(
    directory: Annotated[Path, typer.Argument(help="Folder to make; must not exist or be empty")],
    preset: Annotated[str, typer.Option(help="Size of the model")] = "tiny",
    seed: Annotated[int, typer.Option(help="Seed of the random weights")] = 0,
) -> None:
    """Make a small local base model with tokenizer and processor, in the layout of Qwen2-VL-2B-Instruct."""
    from dexvla.model.init_model import init_model as make

    make(directory, preset=preset, seed=seed)
    console.say(f"base model {preset} written to {directory}")


@app.command()
def train(
    spec_file: Annotated[Path | None, typer.Argument(metavar="[SPEC.yaml]", help="Run spec; flags override it")] = None,
    stage: Annotated[
        int | None, typer.Option(help="1: expert alone, many robots; 2: backbone + expert; 3: the target task")
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"Fills what is not given: {', '.join(PRESETS)}")] = None,
    data: Annotated[list[str] | None, typer.Option(help="Folder or tasks.yaml#task; may be given again")] = None,
    init_from: Annotated[
        str | None, typer.Option("--from", help="Stage 2: base model; stage 3: checkpoint or run folder")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Folder of the run")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples per process and accumulation step")] = None,
    device: Annotated[str | None, typer.Option(help="auto or cpu")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any field of the spec, e.g. optim.eps=1e-7"),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run's last checkpoint")] = False,
    dry_run: Annotated[bool, typer.Option(help="Look at data, model, disk and memory, and stop")] = False,
    print_spec: Annotated[bool, typer.Option(help="Print the whole spec as YAML and stop")] = False,
    print_accelerate_config: Annotated[
        AccelerateConfig | None, typer.Option(help="Print where accelerate's configuration file is and stop")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Train stage 1, 2 or 3 from a spec file, from flags, or both. Ctrl-C saves a checkpoint and stops."""
    if print_accelerate_config is not None:
        typer.echo(str(accelerate_config(print_accelerate_config)))
        return
    flags: dict[str, Any] = {
        "stage": stage,
        "preset": preset,
        "data": None if data is None else [{"path": path} for path in data],
        "init_from": init_from,
        "output_dir": out,
        "steps": steps,
        "batch_size": batch_size,
        "device": device,
    }
    spec = _train_spec(spec_file, flags, setting or [], resume=resume)
    if print_spec:
        typer.echo(console.as_yaml(spec.model_dump(mode="json")))
        return
    from dexvla.train.loop import plan
    from dexvla.train.loop import train as run_training

    if dry_run:
        found = plan(spec)
        console.preflight_lines(found)
        console.write_json(json_file, found.to_json())
        if not found.ok:
            raise UserError(found.errors[0])
        return
    with console.train_display(spec.steps) as display, console.stop_on_signal() as stop:
        result = run_training(spec, resume=resume, stop=stop, on_progress=display, on_preflight=console.preflight_notes)
    console.say(f"checkpoint: {result.checkpoint}")
    if result.best is not None:
        console.say(f"lowest validation loss: {result.best}")
    console.write_json(
        json_file,
        {
            "run": str(result.run),
            "checkpoint": str(result.checkpoint),
            "best": None if result.best is None else str(result.best),
            "step": result.step,
            "interrupted": result.interrupted,
            "metrics": result.metrics,
        },
    )
    if result.interrupted:
        console.say(f"stopped at step {result.step} of {spec.steps}; go on with --resume")
        raise typer.Exit(130)


@app.command("eval")
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint directory, or a run's folder (its newest checkpoint)")],
    robot: Annotated[str, typer.Option(help="Robot that sets up and judges its task")] = "aloha_sim",
    task: Annotated[AlohaTask, typer.Option(help="Task of the simulated robot")] = AlohaTask.TRANSFER_CUBE,
    episodes: Annotated[int, typer.Option(help="Number of seeds")] = 10,
    seed: Annotated[int, typer.Option(help="First seed; take seeds that no demonstration used")] = 1000,
    max_steps: Annotated[int | None, typer.Option(help="Longest roll-out, steps")] = None,
    execute_steps: Annotated[
        int | None, typer.Option(help="Actions of a chunk executed before asking again; default 16")
    ] = None,
    inference_steps: Annotated[int | None, typer.Option(help="DDIM steps")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest reasoning, tokens")] = 64,
    instruction: Annotated[str | None, typer.Option(help="Instead of the task's own")] = None,
    render: Annotated[RenderProfile | None, typer.Option(help="Default: as the training pictures")] = None,
    videos: Annotated[Path | None, typer.Option(callback=_folder, help="Folder for an mp4 of every episode")] = None,
    data: Annotated[str | None, typer.Option(help="Open loop on this folder or tasks.yaml#task instead")] = None,
    held_out: Annotated[bool, typer.Option(help="Open loop: only episodes that were not trained on")] = False,
    stride: Annotated[int, typer.Option(help="Open loop: steps between predictions")] = 16,
    plots: Annotated[
        Path | None, typer.Option(callback=_folder, help="Open loop: folder for a picture of every episode")
    ] = None,
    details: Annotated[
        Path | None,
        typer.Option(
            callback=_folder,
            help="Folder for what a page draws: episode-NNN.json of each episode (open loop), episodes.jsonl with "
            "each outcome as soon as it is known (closed loop)",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Closed loop: go on where an evaluation into the same --details was interrupted")
    ] = False,
    device: Device = "auto",
    json_file: JsonFile = None,
) -> None:
    """Evaluate closed loop in the simulator, or open loop on recorded episodes (--data)."""
    from dexvla.train.runs import resolve_checkpoint

    path = resolve_checkpoint(checkpoint)  # before torch is loaded: a wrong path is told at once
    from dexvla.evaluate.run import closed_loop, open_loop

    if data is None and (held_out or plots is not None):
        raise UserError("--held-out and --plots belong to open loop; name the episodes with --data")
    if resume and (data is not None or details is None):
        raise UserError("--resume belongs to closed loop and needs the --details of the interrupted evaluation")
    if data is not None and videos is not None:
        raise UserError("--videos belongs to closed loop; with --data there is no robot to film (--plots draws)")
    if data is not None:
        source = find_set(data)
        with ExitStack() as bars:
            bar = bars.enter_context(console.bar("reading", total=len(source.paths)))

            def start_replay(episodes: int) -> None:
                nonlocal bar
                bars.close()  # one bar at a time
                bar = bars.enter_context(console.bar("replaying", total=episodes))

            open_report = open_loop(
                path,
                source,
                held_out_only=held_out,
                stride=stride,
                plots=plots,
                details=details,
                device=device,
                max_new_tokens=max_new_tokens,
                inference_steps=inference_steps,
                on_read=lambda done, total: bar.set(done),
                on_start=start_replay,
                on_episode=lambda episode: bar.advance(Path(episode.path).name),
            )
        console.open_loop_table(open_report)
        console.write_json(json_file, open_report.model_dump(mode="json"))
        return
    spec = EvalSpec(
        checkpoint=str(path),
        robot=robot,
        task=task,
        episodes=episodes,
        seed=seed,
        max_steps=max_steps,
        execute_steps=execute_steps,
        inference_steps=inference_steps,
        max_new_tokens=max_new_tokens,
        instruction=instruction,
        render=render,
        video=videos is not None,
        device=device,
    )
    done: list[str] = []

    def episode_done(outcome: EpisodeOutcome) -> None:
        done.append(f"seed {outcome.seed}: {'success' if outcome.success else 'failure'}")
        bar.set(len(done), done[-1])

    with console.bar("evaluating", total=episodes) as bar:
        report = closed_loop(
            spec,
            videos=videos,
            details=details,
            resume=resume,
            on_episode=episode_done,
            on_step=lambda seed, step, steps: bar.set(len(done), f"seed {seed}: step {step} of {steps}"),
        )
    console.closed_loop_table(report)
    console.write_json(json_file, report.model_dump(mode="json"))


@app.command()
def serve(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint directory, or a run's folder (its newest checkpoint)")],
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one")] = 8000,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key that clients must send")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest reasoning, tokens")] = 64,
    inference_steps: Annotated[int | None, typer.Option(help="DDIM steps")] = None,
    default_prompt: Annotated[str | None, typer.Option(help="Instruction for clients that send none")] = None,
    device: Device = "auto",
) -> None:
    """Serve a policy over openpi's websocket protocol until Ctrl-C."""
    import os

    from dexvla.train.runs import resolve_checkpoint

    path = resolve_checkpoint(checkpoint)
    from dexvla.act.server import serve as run_server

    api_key = None
    if api_key_env is not None:
        api_key = os.environ.get(api_key_env)
        if not api_key:
            raise UserError(f"the environment variable {api_key_env} is empty or not set; put the key into it")
    run_server(
        path,
        host=host,
        port=port,
        api_key=api_key,
        device=device,
        max_new_tokens=max_new_tokens,
        inference_steps=inference_steps,
        default_prompt=default_prompt,
        on_ready=lambda address: console.say(f"serving on {address}"),
    )


app.command()(convert)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _train_spec(file: Path | None, flags: dict[str, Any], settings: list[str], *, resume: bool) -> TrainSpec:
    """Spec file (resuming: else the run's own), then flags, then --set, over the preset."""
    import yaml

    fields: dict[str, Any] = {}
    if file is not None:
        try:
            loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(loaded, dict):
            raise UserError(f"{file}: expected the fields of a run, found {type(loaded).__name__}")
        fields = loaded
    elif resume and flags["output_dir"] is not None and (Path(flags["output_dir"]) / "run.json").is_file():
        fields = json.loads((Path(flags["output_dir"]) / "run.json").read_text(encoding="utf-8"))
    fields |= {name: value for name, value in flags.items() if value is not None}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator:
            raise UserError(f"--set {setting}: expected FIELD=VALUE")
        *groups, last = name.strip().split(".")
        target = fields
        for group in groups:
            target = target.setdefault(group, {})
            if not isinstance(target, dict):
                raise UserError(f"--set {setting}: {group} is not a group of fields")
        try:
            target[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting}: the value is not YAML: {' '.join(str(error).split())}") from error
    return with_preset(fields)


def main() -> None:
    """Entry point: errors of the user become one line, everything else keeps its traceback."""
    share_cores()
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        message = " ".join(getattr(error, "format_message", error.__str__)().split())
        if not message:  # bare `dexvla`: the help was printed
            sys.exit(2)
        _fail(message, 2)
    except ValidationError as error:
        _fail(first_error(error), 1)
    except UserError as error:
        _fail(" ".join(str(error).split()), 1)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away: nothing to tell it
        sys.exit(141)
    except OSError as error:
        _fail(f"{error.filename or 'files'}: {error.strerror or error}", 1)
    sys.exit(status or 0)


def _fail(message: str, status: int) -> None:
    print(f"dexvla: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


if __name__ == "__main__":
    main()
