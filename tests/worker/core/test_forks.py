"""Children that begin as forks: what they have of their parent, and what they must not have."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

BEGIN = """
import json, os, signal, sqlite3, subprocess, sys, threading, time
from contextlib import nullcontext
from tests.support import forked
from worker.core.forks import begin
from worker.core.processes import die_with_parent

forked.parent["was"] = "here"
signal.signal(signal.SIGTERM, lambda *_: None)
leaks, kept = open("leaks", "w"), open("kept", "w")

def run(*arguments, **options):
    with open("said", "ab") as output:
        return begin([sys.executable, "-m", "tests.support.forked", *arguments],
                     environment={**os.environ, "ONLY": "the child's"}, before=die_with_parent(signal.SIGTERM),
                     output=output.fileno(), fds=(kept.fileno(),), session=True, **options)
"""


def script(folder: Path, program: str) -> Any:
    """What the program prints, in JSON. It runs in a process of its own: this one has threads."""
    whole = BEGIN + textwrap.dedent(program)
    found = subprocess.run(
        [sys.executable, "-c", whole],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def said(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "said").read_text().splitlines()[-1])
    return told


def test_a_fork_is_as_a_new_process_but_for_what_it_has_imported(tmp_path: Path) -> None:
    assert script(tmp_path, "print(json.dumps(run('tell', 'two').wait(60)))") == 3
    told = said(tmp_path)
    assert told["forked"]
    assert told["arguments"] == ["tell", "two"]
    assert told["environment"]["ONLY"] == "the child's"
    assert told["terminate"], "the parent's handler is forgotten"
    assert told["blocked"] == []
    assert told["session"]
    assert "tests.support.forked tell" in told["title"]
    files = {Path(place).name for place in told["descriptors"].values()}
    assert {"null", "said", "kept"} <= files
    assert "leaks" not in files


@pytest.mark.parametrize(
    "unsound",
    [
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "base = sqlite3.connect('studio.db'); base.execute('CREATE TABLE one (two)')",
        "run = lambda *arguments, begin=run: begin(*arguments, fork=False)",
    ],
    ids=["threads", "an open database", "asked for"],
)
def test_where_a_fork_is_not_sound_it_has_an_interpreter_of_its_own(tmp_path: Path, unsound: str) -> None:
    assert script(tmp_path, f"{unsound}\nprint(json.dumps(run('tell').wait(60)), flush=True)\nos._exit(0)") == 3
    told = said(tmp_path)
    assert not told["forked"]
    assert told["environment"]["ONLY"] == "the child's"
    assert told["session"]


def test_what_somebody_set_for_other_programs_stays(tmp_path: Path) -> None:
    program = """
    from worker.core.forks import one_thread
    name, found = "OPENBLAS_NUM_THREADS", []
    for given in ("3", None):
        os.environ.pop(name, None)
        if given:
            os.environ[name] = given
        with one_thread():
            found.append(os.environ[name])
        found.append(os.environ.get(name))
    with one_thread():
        import numpy
    found.append(len(os.listdir("/proc/self/task")))
    print(json.dumps(found))
    """
    assert script(tmp_path, program) == ["1", "3", "1", None, 1]


def test_it_is_waited_for_and_ended_as_any_child(tmp_path: Path) -> None:
    program = """
    child = run("sleep")
    assert child.poll() is None
    try:
        child.wait(0.05)
    except subprocess.TimeoutExpired:
        late = True
    child.terminate()
    ended = child.wait(60)
    child.terminate()
    child.kill()
    print(json.dumps([late, ended, child.poll(), child.returncode]))
    """
    ended = -signal.SIGTERM
    assert script(tmp_path, program) == [True, ended, ended, ended]


def test_what_breaks_in_it_stands_in_its_log(tmp_path: Path) -> None:
    assert script(tmp_path, "print(json.dumps(run('fail').wait(60)))") == 1
    assert "RuntimeError: it broke" in (tmp_path / "said").read_text()
