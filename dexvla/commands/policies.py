"""`dexvla eval` and `dexvla serve`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from dexvla import console
from dexvla.commands import flags
from dexvla.commands.options import Device, JsonFile, writable_folder
from dexvla.episodes.manifest import find_set
from dexvla.errors import UserError
from dexvla.loading import quick_imports
from dexvla.progress import READING
from dexvla.spec import EpisodeOutcome, EvalSpec, RenderProfile


@flags.ready
@flags.flags_of(EvalSpec, leave_out={"checkpoint", "video"}, tasks=True)
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint directory, run's folder (its newest), or: demo")],
    spec_file: flags.SpecFile = None,
    robot_options: flags.RobotOptions = None,
    option: flags.TaskOptions = None,
    videos: Annotated[
        Path | None, typer.Option(callback=writable_folder, help="Folder for an mp4 of every episode")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Open loop on this folder or tasks.yaml#task instead")] = None,
    held_out: Annotated[bool, typer.Option(help="Open loop: only episodes that were not trained on")] = False,
    stride: Annotated[int, typer.Option(help="Open loop: steps between predictions")] = 16,
    plots: Annotated[
        Path | None, typer.Option(callback=writable_folder, help="Open loop: folder for a plot of every episode")
    ] = None,
    details: Annotated[
        Path | None,
        typer.Option(
            callback=writable_folder,
            help="Folder for what a page draws: episode-NNN.json of each episode (open loop), episodes.jsonl with "
            "each outcome as soon as it is known (closed loop)",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Closed loop: go on where an evaluation into the same --details was interrupted")
    ] = False,
    json_file: JsonFile = None,
    **given: Any,
) -> None:
    """Evaluate closed loop in the simulator, or open loop on recorded episodes (--data)."""
    from dexvla.train.runs import resolve_checkpoint

    path = resolve_checkpoint(checkpoint)  # before torch is loaded: a wrong path is told at once
    with quick_imports():
        from dexvla.evaluate.run import closed_loop, open_loop
    from dexvla.robots.registry import chosen, options_file

    if data is None and (held_out or plots is not None):
        raise UserError("--held-out and --plots belong to open loop; name the episodes with --data")
    if resume and (data is not None or details is None):
        raise UserError("--resume belongs to closed loop and needs the --details of the interrupted evaluation")
    if data is not None and videos is not None:
        raise UserError("--videos belongs to closed loop; with --data there is no robot to film (--plots draws)")
    if data is not None:
        source = find_set(data)
        with ExitStack() as bars:
            bar = bars.enter_context(console.bar(READING, total=len(source.paths)))

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
                device=given["device"] or EvalSpec.model_fields["device"].default,
                max_new_tokens=given["max_new_tokens"] or EvalSpec.model_fields["max_new_tokens"].default,
                inference_steps=given["inference_steps"],
                on_read=lambda done, total: bar.set(done),
                on_start=start_replay,
                on_episode=lambda episode: bar.advance(Path(episode.path).name),
            )
        console.open_loop_table(open_report)
        console.write_json(json_file, open_report.model_dump(mode="json"))
        return
    fields = flags.spec_file(spec_file) | flags.part_of(given, EvalSpec.model_fields)
    fields |= {"checkpoint": str(path), "video": videos is not None}
    if robot_options is not None:
        fields["robot_options"] = options_file(robot_options)
    spec = EvalSpec.model_validate(fields)
    spec = spec.model_copy(update={"options": flags.task_options(spec.options, given, option)})
    spec = chosen(spec.robot, spec)
    done: list[str] = []

    def episode_done(outcome: EpisodeOutcome) -> None:
        done.append(f"seed {outcome.seed}: {'success' if outcome.success else 'failure'}")
        bar.set(len(done), done[-1])

    with console.bar("evaluating", total=spec.episodes) as bar:
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


def serve(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint directory, run's folder (its newest), or: demo")],
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one")] = 8000,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key that clients must send")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest reasoning, tokens")] = 64,
    inference_steps: Annotated[int | None, typer.Option(help="DDIM steps")] = None,
    default_prompt: Annotated[str | None, typer.Option(help="Instruction for clients that send none")] = None,
    robot: Annotated[
        str | None, typer.Option(help="Robot that will ask: refuse a checkpoint that does not fit it, before it loads")
    ] = None,
    robot_options: flags.RobotOptions = None,
    device: Device = "auto",
) -> None:
    """Serve a policy over openpi's websocket protocol until Ctrl-C."""
    import os

    from dexvla.train.runs import resolve_checkpoint

    path = resolve_checkpoint(checkpoint)
    if robot is not None:
        _check_fit(path, robot, robot_options)
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
        on_listening=lambda address: console.say(f"loading {path.name}"),
        on_ready=lambda address: console.say(f"serving on {address}"),
    )


def _check_fit(checkpoint: Path, robot: str, robot_options: Path | None) -> None:
    """Raise RobotError unless the robot has the dimensions and cameras of the checkpoint. Nothing is connected."""
    from dexvla.evaluate.closed_loop import fits
    from dexvla.model.checkpoint import read_spec
    from dexvla.robots.registry import make_robot, make_task_robot, options_file, read_options, robot_kind
    from dexvla.spec import TaskChoice

    policy = read_spec(checkpoint)
    kind, options = robot_kind(robot), options_file(robot_options)
    if kind.tasks is None:
        info = make_robot(robot, **read_options(robot, kind.make, options)).info
    else:  # a simulator has whichever cameras it is asked for, if its scene has them
        cameras, render = policy.cameras, RenderProfile.FAST
        info = make_task_robot(robot, TaskChoice(), cameras=cameras, render=render, options=options)[0].info
    fits(
        info,
        action_dim=policy.action_dim,
        state_dim=policy.state_dim,
        cameras=tuple(camera.name for camera in policy.cameras),
    )
