"""The training loop: one for all stages, on accelerate. What a stage has of its own is its task.

Losses are means over the global batch: sums are divided by the number of labelled tokens and of action elements over
all processes and accumulation steps. Sample order, noise and augmentation are functions of (seed, place) alone.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

import dexvla
from dexvla.data.cache import ImageCache
from dexvla.episodes.manifest import manifest_hash
from dexvla.errors import UserError
from dexvla.files import write_json
from dexvla.spec import TrainSpec, step_name
from dexvla.train.engine import launch_of
from dexvla.train.engines import make_accelerator, make_engine
from dexvla.train.guards import disk_full_is_clear, no_memory_is_clear
from dexvla.train.launch import Launch
from dexvla.train.lineage import before, spec_sources
from dexvla.train.optim import learning_rate
from dexvla.train.preflight import Preflight, preflight
from dexvla.train.resuming import check_same_run
from dexvla.train.runs import MetricsLog, Run
from dexvla.train.sampling import MicroBatches, SampleOrder
from dexvla.train.sharded import check_sharded
from dexvla.train.spikes import MOST_IN_A_ROW, Spikes, Verdict
from dexvla.train.stages import kept_data, new_task, read_data
from dexvla.train.state import read_recent, save_state
from dexvla.train.trainer_task import TrainerTask

_COUNTED = {"spikes", "skipped"}
_NAMED = 8  # samples of a batch that is named


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the loop reports. seconds_left: estimate from the last steps, None before the first one is done."""

    what: str
    step: int
    steps: int
    seconds_left: float | None = None
    metrics: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """checkpoint: the newest one; best: that with the lowest validation loss, None without validation.

    interrupted: stopped on request before the last step; the run can be resumed.
    """

    run: Path
    checkpoint: Path
    best: Path | None
    step: int
    interrupted: bool
    metrics: dict[str, float]


def train(
    spec: TrainSpec,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], Any] = lambda progress: None,
    on_preflight: Callable[[Preflight], Any] = lambda report: None,
    on_note: Callable[[str], Any] = lambda text: None,
) -> TrainResult:
    """Run `spec` to its last step, or until `stop()`: then a checkpoint is written and the result says interrupted.

    Raises UserError for input that cannot be trained on, before anything is written; also for a folder that holds a
    run already (pass resume=True) or that another trainer works in.
    """
    run = Run(spec.output_dir)
    if not resume and run.spec_file.exists():
        raise UserError(f"{run.path}: holds a run already; resume it, or choose another output folder")
    if resume and not run.spec_file.exists():
        raise UserError(f"{run.path}: holds no run to resume")
    accelerator = make_accelerator(spec)
    main = accelerator.is_main_process
    on_progress(Progress(what="reading episodes", step=0, steps=spec.steps))
    if resume:
        check_same_run(spec, run)
        data = kept_data(spec, run)
    else:
        data = read_data(spec)
    on_progress(Progress(what="loading the model", step=0, steps=spec.steps))
    task = new_task(spec, data)
    found = preflight(task, launch_of(accelerator))
    if not found.ok:
        raise UserError(found.errors[0])
    if main:
        on_preflight(found)
    with run.locked() if main else nullcontext(), disk_full_is_clear(run.path), no_memory_is_clear(task, found):
        if main:
            if not resume and run.spec_file.exists():  # another training came first while this one was loading
                raise UserError(f"{run.path}: holds a run already; resume it, or choose another output folder")
            run.sweep()
            if not resume:
                task.save_data(run)
            write_json(run.preflight_file, found.to_json())
            write_json(run.spec_file, spec.model_dump(mode="json"))
        accelerator.wait_for_everyone()
        return _Loop(run, task, accelerator, stop, on_progress, on_note).run()


class _Loop:
    """One attempt at a run, from its last checkpoint (or step 0) to the end or a stop."""

    def __init__(
        self,
        run: Run,
        task: TrainerTask,
        accelerator: Accelerator,
        stop: Callable[[], bool],
        on_progress: Callable[[Progress], Any],
        on_note: Callable[[str], Any],
    ) -> None:
        self.spec, self._run, self._task = task.spec, run, task
        self._accelerator, self._stop, self._on_progress, self._on_note = accelerator, stop, on_progress, on_note
        if self.spec.gradient_checkpointing:
            task.checkpoint_gradients()
        self._engine = make_engine(accelerator, task.model, self.spec)
        self._step = run.resumable_step()
        self._spikes = Spikes(self.spec.optim.skip_spikes)
        self._order = SampleOrder(sizes=task.sizes, weights=task.weights, seed=self.spec.seed)
        if self._step:
            self._engine.load(run.states / step_name(self._step))
            self._spikes.restore(read_recent(run.states / step_name(self._step)))

    def run(self) -> TrainResult:
        spec, main = self.spec, self._accelerator.is_main_process
        batches = iter(self._loader())
        log = MetricsLog(self._run, resume_step=self._step) if main else None
        window: list[dict[str, float]] = []
        recent: deque[float] = deque(maxlen=20)
        metrics: dict[str, float] = {}
        interrupted, saved = False, self._step
        self._engine.model.train()
        try:
            while self._step < spec.steps and not interrupted:
                started = time.monotonic()
                values, interrupted = self._optimise(batches)
                self._step += 1
                recent.append(time.monotonic() - started)
                window.append(values)
                left = sum(recent) / len(recent) * (spec.steps - self._step)
                if self._step % spec.log_every == 0 or self._step == spec.steps or interrupted:
                    metrics = _means(window)
                    samples = spec.batch_size * spec.grad_accumulation * self._accelerator.num_processes
                    metrics["samples_per_second"] = samples * len(recent) / sum(recent)
                    window.clear()
                    if log is not None:
                        log.write(self._step, metrics)
                if self._step % spec.save_every == 0 or self._step == spec.steps or interrupted:
                    validation = {}
                    if self._task.held_out and not interrupted:
                        self._say("validating", left, metrics)
                        validation = self._validate()
                        if log is not None:
                            log.write(self._step, validation)
                    self._say("saving a checkpoint", left, metrics)
                    self._save(validation)
                    saved = self._step
                self._say("training", left, metrics)
        finally:
            if log is not None:
                log.close()
        best = self._run.best_step()
        return TrainResult(
            run=self._run.path,
            checkpoint=self._run.checkpoints / step_name(saved),
            best=None if best is None else self._run.checkpoints / step_name(best),
            step=self._step,
            interrupted=interrupted,
            metrics=metrics,
        )

    def _say(self, what: str, left: float, metrics: dict[str, float]) -> None:
        self._on_progress(
            Progress(what=what, step=self._step, steps=self.spec.steps, seconds_left=left, metrics=metrics)
        )

    def _prepared_images(self) -> ImageCache | None:
        """The cache that the spec asks for; each process fills its share of it."""
        if self.spec.picture_cache is None:
            return None
        cache = ImageCache(self.spec.picture_cache)
        started = time.monotonic()

        def report(number: int, total: int) -> None:
            self._say("preparing images", (time.monotonic() - started) / number * (total - number), {})

        mine = slice(self._accelerator.process_index, None, self._accelerator.num_processes)
        for part in self._task.parts():
            cache.prepare(part.data.train[mine], part.cameras, root=Path("/"), on_episode=report)
        self._accelerator.wait_for_everyone()
        return cache

    def _loader(self) -> DataLoader[Any]:
        spec = self.spec
        image_cache = self._prepared_images()
        started = time.monotonic()
        if self._accelerator.is_main_process:
            self._task.prepare_conditions(
                lambda done, total: self._say(
                    "reading what the backbone sees", (time.monotonic() - started) / done * (total - done), {}
                )
            )
        self._accelerator.wait_for_everyone()
        samples = self._task.samples(image_cache)
        return DataLoader(
            samples,
            batch_sampler=MicroBatches(
                self._order,
                batch_size=spec.batch_size,
                accumulation=spec.grad_accumulation,
                process=self._accelerator.process_index,
                processes=self._accelerator.num_processes,
                first_step=self._step,
            ),
            collate_fn=samples.collate,
            num_workers=spec.workers,
            pin_memory=self._accelerator.device.type == "cuda",
            persistent_workers=False,
        )

    def _optimise(self, batches: Iterator[dict[str, torch.Tensor]]) -> tuple[dict[str, float], bool]:
        """One optimiser step; returns its mean losses over the global batch, and whether somebody asked to stop."""
        spec, accelerator, task = self.spec, self._accelerator, self._task
        device = accelerator.device
        micro = [
            {key: value.to(device, non_blocking=True) for key, value in next(batches).items()}
            for _ in range(spec.grad_accumulation)
        ]
        counted = torch.tensor([task.counts(batch) for batch in micro], dtype=torch.float32, device=device).sum(0)
        totals = torch.cat([counted, counted.new_tensor([float(self._stop())])])
        *counts, stops = accelerator.reduce(totals, reduction="sum").tolist()
        rate = learning_rate(spec.optim, self._step, spec.steps)
        self._engine.set_learning_rate(rate)
        # dropout is the only other source of chance: keyed by step, so that a resumed run draws the same
        key = np.random.SeedSequence([spec.seed, 5, self._step, accelerator.process_index])
        torch.manual_seed(int(key.generate_state(1)[0]))
        sums = torch.zeros(len(task.terms), device=device)
        for number, batch in enumerate(micro):
            last = number == len(micro) - 1
            with self._engine.micro_step(last=last), accelerator.autocast():
                found = task.sums(self._engine.model, batch)
                # gradients are averaged over processes, so the share of this one is scaled up by their number
                shares = [
                    term.weight * value / count
                    for term, value, count in zip(task.terms, found, counts, strict=True)
                    if term.weight and count
                ]
                self._engine.backward(torch.stack(shares).sum() * accelerator.num_processes)
            sums += torch.stack([value.detach().float() for value in found])
        everywhere = accelerator.reduce(sums, reduction="sum").tolist()
        means = {
            term.name: value / count for term, value, count in zip(task.terms, everywhere, counts, strict=True) if count
        }
        loss = sum(term.weight * means.get(term.name, 0.0) for term in task.terms)
        norm, taken = self._engine.step(lambda norm: self._spikes.takes(loss, norm))
        verdict = self._spikes.judge(loss, norm)
        self._spikes.remember(loss, norm, taken=taken)
        if not taken:
            self._left_out(loss, norm)
            return {"learning_rate": rate, "skipped": 1.0}, stops > 0
        values = {"loss": loss, **means, "learning_rate": rate, "grad_norm": norm}
        if verdict is Verdict.SPIKE:
            self._tell(f"loss {loss:.4g} and gradient norm {norm:.4g} stand out, on {self._batch()}")
            values["spikes"] = 1.0
        return values, stops > 0

    def _left_out(self, loss: float, norm: float) -> None:
        """Say which step did not go into the weights. Raises UserError where the run should not go on after it."""
        found = f"the loss became {loss:.4g} and the norm of the gradients {norm:.4g}"
        if self.spec.optim.skip_spikes is None:
            remedy = "lower learning_rate, or run `dexvla check` on the data"
            if not self._engine.steps_first:
                remedy += "; --resume --optim.skip-spikes 20 goes on without such steps"
            raise UserError(
                f"{found} at step {self._step + 1}, on {self._batch()}; {remedy}. The last checkpoint is intact"
            )
        if self._spikes.in_a_row >= MOST_IN_A_ROW:
            raise UserError(
                f"{found} at step {self._step + 1}, the {MOST_IN_A_ROW}th in a row that was left out; lower "
                "learning_rate, or run `dexvla check` on the data. The last checkpoint is intact"
            )
        self._tell(f"left out: {found}, on {self._batch()}")

    def _batch(self) -> str:
        """The samples of this step over all processes, for people."""
        size = self.spec.batch_size * self.spec.grad_accumulation * self._accelerator.num_processes
        places = range(self._step * size, (self._step + 1) * size)
        named = [self._task.where(self._order[place]) for place in places[:_NAMED]]
        return ", ".join(named) + (f" and {size - _NAMED} more samples" if size > _NAMED else "")

    def _tell(self, text: str) -> None:
        if self._accelerator.is_main_process:
            self._on_note(f"step {self._step + 1}: {text}")

    def _validate(self) -> dict[str, float]:
        """On the first process, with the averaged weights if there are any; the others wait."""
        accelerator, values = self._accelerator, {}
        with self._engine.averaged():
            if accelerator.is_main_process:
                values = self._task.validate(accelerator.autocast)
        accelerator.wait_for_everyone()
        return values

    def _save(self, validation: dict[str, float]) -> None:
        accelerator, engine, name = self._accelerator, self._engine, step_name(self._step)
        model, main = self._task.model, accelerator.is_main_process
        with engine.whole() as optimizer:
            folder = self._run.states / name
            if main and not folder.exists():
                save_state(
                    folder,
                    step=self._step,
                    model=model,
                    optimizer=optimizer,
                    average=engine.average,
                    recent=self._spikes.to_json(),
                )
            with engine.averaged():
                if main and not (self._run.checkpoints / name).exists():
                    self._task.save(self._run.checkpoints / name, self._lineage(validation))
        if main:
            self._run.prune(keep=self.spec.keep_checkpoints)
        accelerator.wait_for_everyone()

    def _lineage(self, validation: dict[str, float]) -> dict[str, Any]:
        task = self._task
        hashes = {part.name: manifest_hash(part.data.manifest) for part in task.parts()}
        return {
            "step": self._step,
            "stage": self.spec.stage,
            "run": self.spec.model_dump(mode="json"),
            "dataset": hashes.get("", hashes),
            "episodes": [entry.identity for entry in task.train],
            "seeds": sorted({(entry.task, entry.seed) for entry in task.train if entry.seed is not None}),
            **before(spec_sources(self.spec)),
            "held_out": [entry.identity for entry in task.held_out],
            "started_from": task.report,
            "validation": validation,
            "precision": self._engine.precision,
            "dexvla_version": dexvla.__version__,
        }


def plan(spec: TrainSpec, launch: Launch | None = None) -> Preflight:
    """What `train` would find before it starts, without starting: reads data and model, writes nothing.

    launch: how it will be started; None stands for one process.
    """
    if launch is not None and launch.sharded:
        check_sharded(spec)
    return preflight(new_task(spec, read_data(spec)), launch or Launch())


def _means(window: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each value over the steps that have it: not every embodiment is in every step. Of _COUNTED the sum."""
    found = {
        key: [values[key] for values in window if key in values] for key in dict.fromkeys(k for v in window for k in v)
    }
    return {key: sum(values) / (1 if key in _COUNTED else len(values)) for key, values in found.items()}
