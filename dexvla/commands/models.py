"""`dexvla init-model` and `dexvla convert`."""

from pathlib import Path
from typing import Annotated

import typer

from dexvla import console
from dexvla.commands.options import comma_separated
from dexvla.loading import quick_imports
from dexvla.spec import DEFAULT_CHUNK, EXPERT_SIZES, CameraSpec, ConvertSpec, Fusion, Initialisation, Layout


def init_model(
    directory: Annotated[Path, typer.Argument(help="Folder to make; must not exist or be empty")],
    preset: Annotated[str, typer.Option(help="Size of the model: tiny or small")] = "tiny",
    seed: Annotated[int, typer.Option(help="Seed of the random weights")] = 0,
    whiten: Annotated[
        str | None,
        typer.Option(
            help="Make the patch embedding from images of these episodes: folder, manifest or tasks.yaml#task"
        ),
    ] = None,
    images: Annotated[int, typer.Option(help="Number of images, for --whiten")] = 300,
    image_height: Annotated[int, typer.Option(help="Rows of the images as trained on, pixels, for --whiten")] = 240,
    image_width: Annotated[int, typer.Option(help="Columns of the images as trained on, for --whiten")] = 320,
    cameras: Annotated[str, typer.Option(help="Cameras, comma separated, for --whiten; default: all")] = "",
) -> None:
    """Make a small local base model with tokenizer and processor, in the layout of Qwen2-VL-2B-Instruct."""
    with quick_imports():
        from dexvla.model.init_model import init_model as make
        from dexvla.model.whitening import ImageSource

    source = None
    if whiten is not None:
        source = ImageSource(
            data=whiten, height=image_height, width=image_width, images=images, cameras=comma_separated(cameras)
        )
    make(directory, preset=preset, seed=seed, whiten_with=source)
    console.say(f"base model {preset} written to {directory}")


def convert(
    source: Annotated[Path, typer.Argument(help="What to convert: a folder, or a ScaleDP file")],
    target: Annotated[Path, typer.Argument(help="Folder to make; must not exist")],
    from_layout: Annotated[Layout | None, typer.Option("--from", help="Layout of the source, into ours")] = None,
    to_layout: Annotated[Layout | None, typer.Option("--to", help="upstream: a checkpoint of ours into it")] = None,
    dtype: Annotated[str, typer.Option(help="stored, float32 or bfloat16")] = "stored",
    base: Annotated[Path | None, typer.Option(help="Base model of an upstream LoRA checkpoint")] = None,
    ema: Annotated[bool, typer.Option(help="Take upstream's moving average, not the last weights")] = False,
    cameras: Annotated[str, typer.Option(help="Cameras of an upstream checkpoint, comma separated, in order")] = "",
    height: Annotated[int, typer.Option(help="Rows of the images it was trained with, pixels")] = 240,
    width: Annotated[int, typer.Option(help="Columns of the images it was trained with, pixels")] = 320,
    expert: Annotated[
        str | None, typer.Option(help=f"Fresh expert on a Qwen2-VL model: {', '.join(EXPERT_SIZES)}")
    ] = None,
    action_dim: Annotated[int | None, typer.Option(help="Values of an action, for --expert")] = None,
    state_dim: Annotated[int | None, typer.Option(help="Values of a state, for --expert")] = None,
    chunk_size: Annotated[int, typer.Option(help="Actions in a chunk, for --expert")] = DEFAULT_CHUNK,
    fusion: Annotated[Fusion, typer.Option(help="For --expert")] = Fusion.FILM,
    initialisation: Annotated[Initialisation, typer.Option(help="For --expert")] = Initialisation.ZERO,
    pretrained_expert: Annotated[
        Path | None, typer.Option(help="ScaleDP file or checkpoint to take the expert of --expert from")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of fresh weights")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON to this file; - for stdout")
    ] = None,
) -> None:
    """Convert upstream checkpoints, Qwen2-VL models and ScaleDP files into ours, or ours into upstream's layout."""
    names = comma_separated(cameras)
    spec = ConvertSpec.model_validate(
        {
            "source": str(source),
            "target": str(target),
            "from_layout": from_layout,
            "to_layout": to_layout,
            "dtype": dtype,
            "base": None if base is None else str(base),
            "ema": ema,
            "cameras": tuple(CameraSpec(name=name, height=height, width=width) for name in names),
            "expert": expert,
            "action_dim": action_dim,
            "state_dim": state_dim,
            "chunk_size": chunk_size,
            "fusion": fusion,
            "initialisation": initialisation,
            "pretrained_expert": None if pretrained_expert is None else str(pretrained_expert),
            "seed": seed,
        }
    )
    with quick_imports():
        from dexvla.model.convert import convert as run_conversion

    report = run_conversion(spec)
    console.conversion(report.to_json(), target)
    console.write_json(json_file, report.to_json())
