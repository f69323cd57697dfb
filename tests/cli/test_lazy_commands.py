"""The list of commands is quick and says what the commands say of themselves."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from dexvla.cli import Commands
from dexvla.commands.lazy import Lazy


@pytest.mark.parametrize("lazy", Commands.lazy.values(), ids=Commands.lazy)
def test_the_list_says_what_the_command_says(lazy: Lazy) -> None:
    module, _, function = lazy.place.partition(":")
    described = inspect.getdoc(getattr(import_module(module), function)) or ""
    assert " ".join(described.split("\n\n")[0].split()) == lazy.summary


def test_help_imports_no_command() -> None:
    code = (
        "import sys; sys.argv = ['dexvla', '--help']\n"
        "from dexvla.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'numpy', 'pydantic', 'dexvla.spec', 'dexvla.commands.data'} & set(sys.modules)))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "init-model" in said
    assert said.splitlines()[-1] == "[]"
