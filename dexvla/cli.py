"""The command `dexvla`. Each command turns its flags into a spec and hands it to the room that does the work.

What a user did wrong is one line on standard error and exit status 1 (2 for flags that cannot be read). A command is
imported when it is run and heavy rooms inside it, so that `--help` is quick.
"""

import sys
from collections.abc import Mapping
from typing import Annotated, ClassVar

import typer

import dexvla
from dexvla.commands.lazy import Lazy, LazyCommands
from dexvla.errors import UserError
from dexvla.threads import share_cores


class Commands(LazyCommands):
    lazy: ClassVar[Mapping[str, Lazy]] = {
        "record": Lazy(
            "dexvla.commands.data:record",
            "Record scripted demonstrations on a simulated robot, one HDF5 file an episode.",
        ),
        "check": Lazy(
            "dexvla.commands.data:check",
            "Look episode files through: structure, lengths, dtypes, NaN, labels, images. Exit status 1 on any error.",
        ),
        "stats": Lazy("dexvla.commands.data:stats", "Normalisation statistics of a set of episodes."),
        "import": Lazy(
            "dexvla.commands.importing:import_",
            "Import data of other tools (ACT, ALOHA, DexVLA, ...) as episode files. Exit status 1 if nothing was "
            "imported.",
        ),
        "export": Lazy(
            "dexvla.commands.exporting:export",
            "Hand episodes with their labels on to other tools. The export is whole or not there.",
        ),
        "edit": Lazy(
            "dexvla.commands.editing:edit",
            "Make new episodes of steps of others: trim, cut, drop rest, split, join, rename. The sources stay as they "
            "are.",
        ),
        "init-model": Lazy(
            "dexvla.commands.models:init_model",
            "Make a small local base model with tokenizer and processor, in the layout of Qwen2-VL-2B-Instruct.",
        ),
        "train": Lazy(
            "dexvla.commands.training:train",
            "Train stage 1, 2 or 3 from a spec file, from flags, or both. Ctrl-C saves a checkpoint and stops.",
        ),
        "eval": Lazy(
            "dexvla.commands.policies:evaluate",
            "Evaluate closed loop in the simulator, or open loop on recorded episodes (--data).",
        ),
        "serve": Lazy(
            "dexvla.commands.policies:serve", "Serve a policy over openpi's websocket protocol until Ctrl-C."
        ),
        "convert": Lazy(
            "dexvla.commands.models:convert",
            "Convert upstream checkpoints, Qwen2-VL models and ScaleDP files into ours, or ours into upstream's "
            "layout.",
        ),
    }


app = typer.Typer(
    name="dexvla",
    cls=Commands,
    help="Record, check, train, evaluate and serve DexVLA policies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(dexvla.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it")] = False,
) -> None: ...


def main() -> None:
    """Entry point: errors of the user become one line, everything else keeps its traceback. Whoever follows the command
    (dexvla.progress) is told either."""
    share_cores()
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        message = " ".join(getattr(error, "format_message", error.__str__)().split())
        if not message:  # bare `dexvla`: the help was printed
            sys.exit(2)
        _fail(message, 2, error)
    except UserError as error:
        _fail(" ".join(str(error).split()), 1, error)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe went away: nothing to tell it
        sys.exit(141)
    except OSError as error:
        _fail(f"{error.filename or 'files'}: {error.strerror or error}", 1, error)
    except Exception as error:
        from pydantic import ValidationError  # who failed has imported it

        from dexvla import progress
        from dexvla.spec import first_error

        if isinstance(error, ValidationError):
            _fail(first_error(error), 1, error)
        progress.tell_failure(error)
        raise
    sys.exit(status or 0)


def _fail(message: str, status: int, error: Exception | None = None) -> None:
    """error: what went wrong; None for somebody who stopped the command."""
    if error is not None:
        from dexvla import progress

        progress.tell_failure(error, message)
    print(f"dexvla: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


if __name__ == "__main__":
    main()
