"""`dexvla ...` as it is typed, in a process of its own or in this one."""

import io
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from dexvla.cli import main

Done = subprocess.CompletedProcess[str]


def typed(*arguments: object, cwd: Path) -> Done:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "dexvla.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=400)


def dexvla(*arguments: object, cwd: Path) -> Done:
    """The command in this process: loading torch takes longer than most of what is asked of it here."""
    words, out, err = ["dexvla", *map(str, arguments)], io.StringIO(), io.StringIO()
    with chdir(cwd), pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            main()
    return subprocess.CompletedProcess(words, end.value.code, out.getvalue(), err.getvalue())
