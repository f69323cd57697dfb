"""The parts that the tests are run in, and the marks of a file: known before it is imported, so that a run loads what
it needs and nothing else."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT

# A file has the marks of its folder, the deepest one here. Where clocks are the rule, one without says `clockless`
# itself: `pytestmark = pytest.mark.clockless`. Marks that a folder does not give stand in the file, too.
# waiting: for other processes (a studio, a browser, jobs) most of its time.
# slow: minutes of a processor in all. In other folders, files that take more than ten seconds of one say it themselves.
FOLDERS = {
    "act": {"clocked"},
    "robots": {"clocked"},
    "worker/robot": {"clocked"},
    "worker/supervise": {"clocked"},
    "kill": {"clocked", "kill", "waiting"},
    "e2e": {"clocked", "browser", "waiting"},
    "worker/jobs": {"slow", "waiting"},
    "worker/admin/backup": {"slow"},
    "cli": {"slow"},
    "formats": {"slow"},
    "learning": {"slow"},
    "model": {"slow"},
    "parity": {"slow"},
    "train": {"slow"},
}
# part: the marks that keep a file out of it, and those of which it needs one
PARTS: dict[str, tuple[set[str], set[str]]] = {
    "computing": ({"clocked", "waiting"}, set()),
    "waiting": ({"clocked"}, {"waiting"}),
    "clocked": (set(), {"clocked"}),
    "fast": ({"clocked", "waiting", "slow", "download"}, set()),
}
_OWN = re.compile(r"^pytestmark = .*?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"pytest\.mark\.(\w+)")


@cache
def marks_of(file: Path) -> frozenset[str]:
    """Of every test in it."""
    try:
        folder = file.parent.relative_to(ROOT / "tests")
    except ValueError:
        return frozenset()
    given = next((FOLDERS[str(one)] for one in (folder, *folder.parents) if str(one) in FOLDERS), set())
    own = {mark for line in _OWN.findall(file.read_text(encoding="utf-8")) for mark in _MARK.findall(line)}
    return frozenset(given | own) - ({"clocked"} if "clockless" in own else set())


def belongs(marks: frozenset[str], part: str) -> bool:
    """Whether a test with these marks is run in it."""
    without, one_of = PARTS[part]
    return not marks & without and (not one_of or bool(marks & one_of))


def left_out(files: Mapping[Path, frozenset[str]]) -> str:
    """One line for the end of a fast run, from the files that were not run and their marks."""
    words = {
        "clocked": "with a clock of their own",
        "waiting": "that wait for a browser, a studio or jobs",
        "slow": "that take long",
        "download": "that need downloaded packages",
    }
    counts = {mark: sum(mark in marks for marks in files.values()) for mark in words}
    said = ", ".join(f"{count} {words[mark]}" for mark, count in counts.items() if count)
    return f"{len(files)} files are left out ({said}; some are several of these); make test runs everything"
