"""`dexvla train`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from dexvla import console
from dexvla.commands import flags
from dexvla.commands.options import JsonFile
from dexvla.errors import UserError
from dexvla.loading import quick_imports
from dexvla.mappings import read_mapping
from dexvla.spec import PRESETS, Group, TrainSpec, with_preset
from dexvla.train.configs import AccelerateConfig, accelerate_config
from dexvla.train.launch import read_launch


@flags.ready
@flags.flags_of(TrainSpec, groups=tuple(Group), names={"init_from": "--from", "output_dir": "--out"})
def train(
    spec_file: Annotated[Path | None, typer.Argument(metavar="[SPEC.yaml]", help="Run spec; flags override it")] = None,
    preset: Annotated[str | None, typer.Option(help=f"Fills what is not given: {', '.join(PRESETS)}")] = None,
    data: Annotated[list[str] | None, typer.Option(help="Folder or tasks.yaml#task; may be given again")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any field of the spec, e.g. optim.betas=[0.9,0.98]"),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run's last checkpoint")] = False,
    dry_run: Annotated[bool, typer.Option(help="Look at data, model, disk and memory, and stop")] = False,
    launch: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG",
            help="With --dry-run: accelerate's configuration file that will be used, or zero2[-offload]",
        ),
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="With --dry-run: processes that it will start")] = None,
    print_spec: Annotated[bool, typer.Option(help="Print the whole spec as YAML and stop")] = False,
    print_accelerate_config: Annotated[
        AccelerateConfig | None, typer.Option(help="Print where accelerate's configuration file is and stop")
    ] = None,
    json_file: JsonFile = None,
    **given: Any,
) -> None:
    """Train stage 1, 2 or 3 from a spec file, from flags, or both. Ctrl-C saves a checkpoint and stops."""
    if print_accelerate_config is not None:
        typer.echo(str(accelerate_config(print_accelerate_config)))
        return
    given |= {"preset": preset, "data": None if data is None else [{"path": path} for path in data]}
    spec = train_spec(spec_file, flags.by_path(given), setting or [], resume=resume)
    if print_spec:
        typer.echo(console.as_yaml(spec.model_dump(mode="json")))
        return
    with quick_imports():
        from dexvla.train.loop import plan
        from dexvla.train.loop import train as run_training

    if dry_run:
        found = plan(spec, read_launch(launch, processes))
        console.preflight_lines(found)
        console.write_json(json_file, found.to_json())
        if not found.ok:
            raise UserError(found.errors[0])
        return
    if launch is not None or processes is not None:
        raise UserError("--launch and --processes go with --dry-run; the run itself is started by accelerate launch")
    with console.train_display(spec.steps) as display, console.stop_on_signal() as stop:
        result = run_training(
            spec,
            resume=resume,
            stop=stop,
            on_progress=display,
            on_preflight=console.preflight_notes,
            on_note=console.note,
        )
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


def train_spec(file: Path | None, given: Mapping[str, Any], settings: list[str], *, resume: bool) -> TrainSpec:
    """Spec file (resuming: else the run's own), then `given` (flags by the path of their field), then --set, over the
    preset."""
    import yaml

    fields: dict[str, Any] = {}
    out = given.get("output_dir")
    if file is not None:
        fields = read_mapping(file, "the fields of a run")
    elif resume and out is not None and (Path(out) / "run.json").is_file():
        fields = json.loads((Path(out) / "run.json").read_text(encoding="utf-8"))
    for path, value in given.items():
        if value is not None:
            flags.put(fields, path, value)
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator:
            raise UserError(f"--set {setting}: expected FIELD=VALUE")
        try:
            flags.put(fields, name.strip(), yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise UserError(f"--set {setting}: the value is not YAML: {' '.join(str(error).split())}") from error
        except UserError as error:
            raise UserError(f"--set {error}") from error
    return with_preset(fields)
