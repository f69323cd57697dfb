"""`dexvla eval` and `dexvla serve`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from dexvla import console
from dexvla.commands.options import Device, JsonFile, Level, Split, Swapped, writable_folder
from dexvla.episodes.manifest import find_set
from dexvla.errors import UserError
from dexvla.spec import AlohaTask, EpisodeOutcome, EvalSpec, PickColourOptions, PickLevel, PickSplit, RenderProfile


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint directory, run's folder (its newest), or: demo")],
    robot: Annotated[str, typer.Option(help="Robot that sets up and judges its task")] = "aloha_sim",
    task: Annotated[AlohaTask, typer.Option(help="Task of the simulated robot")] = AlohaTask.TRANSFER_CUBE,
    level: Level = PickLevel.SPOTS,
    split: Split = PickSplit.ANY,
    swapped: Swapped = False,
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
    videos: Annotated[
        Path | None, typer.Option(callback=writable_folder, help="Folder for an mp4 of every episode")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Open loop on this folder or tasks.yaml#task instead")] = None,
    held_out: Annotated[bool, typer.Option(help="Open loop: only episodes that were not trained on")] = False,
    stride: Annotated[int, typer.Option(help="Open loop: steps between predictions")] = 16,
    plots: Annotated[
        Path | None, typer.Option(callback=writable_folder, help="Open loop: folder for a picture of every episode")
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
        pick=PickColourOptions(level=level, split=split, swapped=swapped),
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
        on_listening=lambda address: console.say(f"loading {path.name}"),
        on_ready=lambda address: console.say(f"serving on {address}"),
    )
