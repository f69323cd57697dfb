"""The command `dexvla`. Each command turns its flags into a spec and hands it to the room that does the work.

What a user did wrong is one line on standard error and exit status 1 (2 for flags that cannot be read). Heavy rooms
are imported inside the commands, so that `--help` is quick.
"""

import sys
from typing import Annotated

import typer
from pydantic import ValidationError

import dexvla
from dexvla import progress
from dexvla.commands import data, editing, exporting, importing, models, policies, training
from dexvla.errors import UserError
from dexvla.spec import first_error
from dexvla.threads import share_cores

app = typer.Typer(
    name="dexvla",
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


app.command()(data.record)
app.command()(data.check)
app.command()(data.stats)
app.command("import")(importing.import_)
app.command()(exporting.export)
app.command()(editing.edit)
app.command("init-model")(models.init_model)
app.command()(training.train)
app.command("eval")(policies.evaluate)
app.command()(policies.serve)
app.command()(models.convert)


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
    except ValidationError as error:
        _fail(first_error(error), 1, error)
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
        progress.tell_failure(error)
        raise
    sys.exit(status or 0)


def _fail(message: str, status: int, error: Exception | None = None) -> None:
    """error: what went wrong; None for somebody who stopped the command."""
    if error is not None:
        progress.tell_failure(error, message)
    print(f"dexvla: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


if __name__ == "__main__":
    main()
