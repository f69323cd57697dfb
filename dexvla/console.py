"""What the command line shows: progress bars, tables, JSON files. Progress goes to stderr, results to stdout.

With the environment variable DEXVLA_PROGRESS=FILE all progress is also appended to FILE (dexvla.progress). That is how
another program follows a command.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from dexvla import progress
from dexvla.errors import UserError
from dexvla.files import write_json as write_json_file
from dexvla.spec import ClosedLoopReport, DatasetManifest, NormStats, OpenLoopReport
from dexvla.spec.survey import Survey

if TYPE_CHECKING:
    from dexvla.episodes.check import CheckReport
    from dexvla.train.loop import Progress as TrainProgress
    from dexvla.train.preflight import Preflight

_out = Console()
_err = Console(stderr=True)
_LOG_SECONDS = 10.0  # how often a log that is not a terminal gets a line
_FOLLOW_SECONDS = 0.2  # how often DEXVLA_PROGRESS gets a line from a training, which may do hundreds of steps a second


def say(text: str) -> None:
    _out.print(text, markup=False, highlight=False, soft_wrap=True)


def keep_stdout_for_json() -> None:
    """From here on tables and lines go to standard error."""
    global _out
    _out = _err


def try_folder(folder: Path) -> None:
    """Make the folder if need be and see that it can be written. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error


def write_json(path: Path | None, value: Any) -> None:
    """Write to a file, atomically, or to standard output for "-"; nothing for None."""
    if path is None:
        return
    if str(path) == "-":
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        return
    try:
        write_json_file(path, value)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def as_yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip()


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def follow(what: str, done: int, total: int, note: str = "") -> None:
    """Tell whoever follows the command; of several processes only the first one does."""
    if _first_process():
        progress.tell(progress.ProgressLine(what=what, done=done, total=total, note=note))


class Bar:
    """A progress bar; on anything but a terminal a plain line every few seconds."""

    def __init__(self, progress: Progress, task: TaskID, name: str, total: int) -> None:
        self._progress, self._task, self._name, self._total = progress, task, name, total
        self._done, self._printed = 0, 0.0

    def expect(self, total: int) -> None:
        """How many parts there are, where that was not known at the beginning."""
        if total != self._total:
            self._total = total
            self._progress.update(self._task, total=total)

    def advance(self, note: str = "") -> None:
        self.set(self._done + 1, note)

    def set(self, done: int, note: str = "") -> None:
        self._done = done
        self._progress.update(self._task, completed=done, note=note)
        follow(self._name, done, self._total, note)
        if not _err.is_terminal and (time.monotonic() - self._printed > _LOG_SECONDS or done == self._total):
            self._printed = time.monotonic()
            line = f"{self._name} {done}/{self._total} {note}".rstrip()
            _err.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def bar(name: str, *, total: int) -> Iterator[Bar]:
    """A bar of `total` parts with the time that is left, estimated."""
    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[note]}", markup=False),
    ]
    follow(name, 0, total)
    with Progress(*columns, console=_err, disable=not _err.is_terminal) as progress:
        yield _Estimating(progress, progress.add_task(name, total=total, note="", left=""), name, total)


class _Estimating(Bar):
    """Estimates from the mean duration of the parts so far: rich's own estimate forgets slow, rare parts."""

    def __init__(self, progress: Progress, task: TaskID, name: str, total: int) -> None:
        super().__init__(progress, task, name, total)
        self._started = time.monotonic()

    def set(self, done: int, note: str = "") -> None:
        if done:
            left = (time.monotonic() - self._started) / done * (self._total - done)
            self._progress.update(self._task, left=f"{duration(left)} left" if done < self._total else "")
        super().set(done, note)


def duration(seconds: float) -> str:
    """75 -> 1:15, 3700 -> 1:01:40."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def train_display(steps: int) -> Iterator[Callable[["TrainProgress"], None]]:
    """Shows the reports of a training: step, losses, time left. Silent in all processes but the first."""
    quiet = not _first_process()
    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    ]
    with Progress(*columns, console=_err, disable=quiet or not _err.is_terminal) as progress:
        task = progress.add_task("starting", total=steps, note="")
        printed, followed = (-_LOG_SECONDS, ""), (-_FOLLOW_SECONDS, "")  # when last, and what it was at

        def show(report: "TrainProgress") -> None:
            nonlocal printed, followed
            metrics = report.metrics or {}
            parts = [f"{name} {metrics[key]:.4f}" for name, key in _SHOWN if key in metrics]
            if "samples_per_second" in metrics:
                parts.append(f"{metrics['samples_per_second']:.1f} samples/s")
            if report.seconds_left:
                parts.append(f"{duration(report.seconds_left)} left")
            note = "  ".join(parts)
            progress.update(task, description=report.what, completed=report.step, note=note)
            if (
                time.monotonic() - followed[0] > _FOLLOW_SECONDS
                or report.what != followed[1]
                or report.step == report.steps
            ):
                followed = (time.monotonic(), report.what)
                follow(report.what, report.step, report.steps, note)
            due = time.monotonic() - printed[0] > _LOG_SECONDS or report.what != printed[1]
            if not quiet and not _err.is_terminal and (due or report.step == report.steps):
                printed = (time.monotonic(), report.what)
                line = f"{report.what} {report.step}/{report.steps}  {note}".rstrip()
                _err.print(line, markup=False, highlight=False, soft_wrap=True)

        yield show


_SHOWN = (("loss", "loss"), ("action", "action_loss"), ("reasoning", "llm_loss"))


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """The first SIGINT or SIGTERM asks the work to stop in order; a second SIGINT stops at once."""
    asked = [False]

    def handle(number: int, frame: Any) -> None:
        if asked[0] and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked[0] = True
        # not by way of sys.stderr: this may interrupt one of its own writes, and a writer that is entered again raises
        with suppress(OSError):
            os.write(2, b"stopping: saving a checkpoint first (Ctrl-C again stops at once)\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def note(text: str) -> None:
    """What a person should know, beside what is shown of the progress."""
    _err.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)


def preflight_notes(report: "Preflight") -> None:
    for each in report.notes:
        note(each)


def _memory_line(what: str, parts: dict[str, int]) -> str:
    listed = ", ".join(f"{name} {size / 2**30:.2f} GiB" for name, size in parts.items())
    return f"{what}: about {sum(parts.values()) / 2**30:.2f} GiB ({listed})"


def preflight_lines(report: "Preflight") -> None:
    for error in report.errors:
        say(f"error: {error}")
    for note in report.notes:
        say(f"note: {note}")
    several = report.launch.processes > 1 or report.launch.sharded
    say(_memory_line(f"memory of each of {report.launch.words()}" if several else "memory", report.memory))
    if several:
        say(_memory_line("main memory of a machine", report.main_memory))
    say(f"disk: {report.disk_needed / 2**30:.2f} GiB of {report.disk_free / 2**30:.0f} GiB free")


def check_table(report: "CheckReport") -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("file", "steps", "action", "state", "cameras", "labelled", "result"):
        left = column in {"file", "result"}
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    folder = os.path.commonpath([Path(file.path).parent for file in report.files])
    say(f"in {folder}:")
    for file in report.files:
        verdict = "[green]ok[/]" if file.ok else f"[red]{len(file.errors)} errors[/]"
        if file.warnings:
            verdict += f", {len(file.warnings)} notes"
        table.add_row(
            os.path.relpath(file.path, folder),
            *(str(value) if value is not None else "-" for value in (file.steps, file.action_dim, file.state_dim)),
            str(len(file.cameras) or "-"),
            f"{file.label_coverage:.0%}",
            verdict,
        )
    _out.print(table)
    for cameras in {tuple(sorted(file.cameras.items())): None for file in report.files if file.cameras}:
        say("cameras: " + ", ".join(f"{name} {height}x{width}" for name, (height, width) in cameras))
    for file in report.files:
        for message in file.errors:
            say(f"error: {file.path}: {message}")
        for message in file.warnings:
            say(f"note: {file.path}: {message}")
    for message in report.errors:
        say(f"error: {message}")
    for message in report.warnings:
        say(f"note: {message}")
    if report.survey is not None:
        _survey_words(report.survey, [file.path for file in report.surveyed])


def _survey_words(survey: Survey, paths: Sequence[str]) -> None:
    for outlier in survey.outliers:
        where = "" if outlier.step is None else f", step {outlier.step}"
        say(f"stands out ({outlier.kind}): {paths[outlier.episode]}{where}: {outlier.text}")
    for pair in survey.near_duplicates:
        say(f"nearly the same motion: {paths[pair.first]} and {paths[pair.second]}")


def stats_table(manifest: DatasetManifest, stats: NormStats) -> None:
    say(f"{manifest.name}: {len(manifest.episodes)} episodes, {stats.steps} steps")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "mean", "std", "min", "max"):
        table.add_column(column, justify="right" if column else "left")
    actions = zip(stats.action_mean, stats.action_std, stats.action_min, stats.action_max, strict=True)
    for number, values in enumerate(actions):
        table.add_row(f"action {number}", *(f"{value:.4f}" for value in values))
    for number, pair in enumerate(zip(stats.qpos_mean, stats.qpos_std, strict=True)):
        table.add_row(f"qpos {number}", *(f"{value:.4f}" for value in pair), "", "")
    _out.print(table)


def conversion(report: dict[str, Any], target: Path) -> None:
    """What a conversion took over, what it made up and what it left out; long lists are cut, --json has them whole."""
    say(f"{report['source']} -> {target}: {report['tensors']} tensors, {report['parameters']:,} parameters")
    for part, count in report["loaded"].items():
        say(f"  loaded    {part}: {count} tensors")
    for title, entries in (("fresh", report["fresh"]), ("left out", report["left_out"])):
        reasons: dict[str, list[str]] = {}
        for name, reason in entries.items():
            reasons.setdefault(reason, []).append(name)
        for reason, names in reasons.items():
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            say(f"  {title:<9} {', '.join(names[:3])}{more}: {reason}")
    for note in report["notes"]:
        say(f"  note      {note}")


def closed_loop_table(report: ClosedLoopReport) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("seed", "success", "held", "reward", "steps", "last reasoning"):
        table.add_column(column, justify="right" if column in {"seed", "reward", "steps"} else "left")
    for episode in report.episodes:
        held = "-" if episode.held is None else "yes" if episode.held else "no"
        said = episode.reasoning[-1].text if episode.reasoning else ""
        table.add_row(
            str(episode.seed), "yes" if episode.success else "no", held, f"{episode.reward:g}", str(episode.steps), said
        )
    _out.print(table)
    low, high = report.interval
    say(f"success {report.success_rate:.1%} (95 % interval {low:.1%} to {high:.1%}) of {len(report.episodes)} episodes")
    if report.held is not None:
        say(f"held    {report.held.rate:.1%} (95 % interval {report.held.low:.1%} to {report.held.high:.1%})")
    if report.wrong is not None:
        wrong = report.wrong
        say(f"wrong   {wrong.rate:.1%} (95 % interval {wrong.low:.1%} to {wrong.high:.1%}) lifted another object")
    say(f"mean best reward {report.mean_reward:.2f} of {report.max_reward:g}")
    if report.seeds_seen_in_training:
        say(f"careful: seeds used by training demonstrations: {', '.join(map(str, report.seeds_seen_in_training))}")


def open_loop_table(report: OpenLoopReport) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("dimension", "mean error", "of range"):
        table.add_column(column, justify="left" if column == "dimension" else "right")
    for name, error, part in zip(report.action_names, report.error, report.error_of_range, strict=True):
        table.add_row(name, f"{error:.4f}", f"{part:.1%}")
    _out.print(table)
    at = ", ".join(f"{value:.1%} at step {step}" for step, value in report.error_at.items())
    say(f"{report.predictions} predictions over {len(report.episodes)} episodes; error of range: {at}")
    if report.reasoning_match is not None:
        say(f"reasoning equals the label in {report.reasoning_match:.1%} of the predictions")
