"""The training loop: one for all stages, on accelerate. A stage is a preset of the spec, not code of its own.

Losses are means over the global batch: sums are divided by the number of labelled tokens and of action elements over
all processes and accumulation steps. Sample order, noise and augmentation are functions of (seed, place) alone.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

import dexvla
from dexvla.episodes.cache import PictureCache
from dexvla.episodes.manifest import manifest_hash
from dexvla.errors import UserError
from dexvla.files import write_json
from dexvla.model import DexVLA
from dexvla.model.checkpoint import save_policy
from dexvla.spec import EpisodeEntry, Precision, TrainSpec
from dexvla.train.data import EpisodeSamples, SampleSettings
from dexvla.train.lora import add_lora, plain_state_dict
from dexvla.train.optim import learning_rate, make_optimizer
from dexvla.train.preflight import Preflight, preflight
from dexvla.train.prepare import RunData, load_data, prepare_data, prepare_policy, save_data
from dexvla.train.runs import MetricsLog, Run, step_name
from dexvla.train.sampling import MicroBatches, SampleOrder
from dexvla.train.state import MovingAverage, load_state, save_state, trained_parameters
from dexvla.train.validation import validate, validation_places

# Fields that may change when a run is resumed: none of them changes what a step computes.
_FREE_ON_RESUME = {
    "steps",
    "log_every",
    "save_every",
    "keep_checkpoints",
    "validation_samples",
    "validation_max_tokens",
    "workers",
    "picture_cache",
    "device",
}
_PRECISION = {
    Precision.FLOAT32: "float32 weights and compute",
    Precision.BF16: "float32 weights, bfloat16 compute (autocast)",
    Precision.BF16_PURE: "bfloat16 weights and compute",
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the loop reports. seconds_left: estimate from the last steps, None before the second one."""

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
    # num_processes etc. come from the environment that `accelerate launch` sets; alone it is one process
    accelerator = Accelerator(
        mixed_precision="bf16" if spec.precision is Precision.BF16 else "no", cpu=spec.device == "cpu" or None
    )
    main = accelerator.is_main_process
    on_progress(Progress(what="reading episodes", step=0, steps=spec.steps))
    if resume:
        _same_run(spec, run)
        data = load_data(run)
    else:
        data = prepare_data(spec)
    on_progress(Progress(what="loading the model", step=0, steps=spec.steps))
    policy, report = prepare_policy(spec, data)
    make_trainable(policy, spec)
    found = preflight(spec, data, policy)
    if not found.ok:
        raise UserError(found.errors[0])
    if main:
        on_preflight(found)
    with run.locked() if main else nullcontext():
        if main:
            run.sweep()
            if not resume:
                save_data(run, data)
            write_json(run.preflight_file, found.to_json())
            write_json(run.spec_file, spec.model_dump(mode="json"))
        accelerator.wait_for_everyone()
        with _disk_full_is_clear(run.path):
            return _Loop(spec, run, data, policy, report, accelerator, stop, on_progress).run()


class _Loop:
    """One attempt at a run, from its last checkpoint (or step 0) to the end or a stop."""

    def __init__(
        self,
        spec: TrainSpec,
        run: Run,
        data: RunData,
        policy: DexVLA,
        report: dict[str, Any],
        accelerator: Accelerator,
        stop: Callable[[], bool],
        on_progress: Callable[[Progress], Any],
    ) -> None:
        self.spec, self._run, self._data, self._report = spec, run, data, report
        self._accelerator, self._stop, self._on_progress = accelerator, stop, on_progress
        self._policy = policy
        if spec.gradient_checkpointing:
            policy.backbone.checkpoint_gradients(True)
        policy.to(accelerator.device)
        self._optimizer = make_optimizer(policy, spec.optim)
        self._average = MovingAverage(policy, spec.ema_decay) if spec.ema_decay is not None else None
        self._step = run.resumable_step()
        if self._step:
            folder = run.states / step_name(self._step)
            load_state(folder, model=policy, optimizer=self._optimizer, average=self._average)
        self._model: nn.Module = accelerator.prepare_model(policy)
        self._places = []
        if data.held_out:
            self._places = validation_places(self._samples(data.held_out, augment=False), spec.validation_samples)

    def run(self) -> TrainResult:
        spec, main = self.spec, self._accelerator.is_main_process
        batches = iter(self._loader())
        log = MetricsLog(self._run, resume_step=self._step) if main else None
        window: list[dict[str, float]] = []
        recent: deque[float] = deque(maxlen=20)
        metrics: dict[str, float] = {}
        interrupted, saved = False, self._step
        self._model.train()
        try:
            while self._step < spec.steps and not interrupted:
                started = time.monotonic()
                values, interrupted = self._optimise(batches)
                self._step += 1
                recent.append(time.monotonic() - started)
                window.append(values)
                left = sum(recent) / len(recent) * (spec.steps - self._step)
                if self._step % spec.log_every == 0 or self._step == spec.steps or interrupted:
                    metrics = {key: sum(value[key] for value in window) / len(window) for key in window[0]}
                    samples = spec.batch_size * spec.grad_accumulation * self._accelerator.num_processes
                    metrics["samples_per_second"] = samples * len(recent) / sum(recent)
                    window.clear()
                    if log is not None:
                        log.write(self._step, metrics)
                if self._step % spec.save_every == 0 or self._step == spec.steps or interrupted:
                    validation = {}
                    if self._places and not interrupted:
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

    def _prepared_pictures(self) -> PictureCache | None:
        """The cache that the spec asks for; each process fills its share of it."""
        if self.spec.picture_cache is None:
            return None
        cache = PictureCache(self.spec.picture_cache)
        started = time.monotonic()

        def report(number: int, total: int) -> None:
            self._say("preparing pictures", (time.monotonic() - started) / number * (total - number), {})

        cache.prepare(
            self._data.train[self._accelerator.process_index :: self._accelerator.num_processes],
            self._policy.spec.cameras,
            root=Path("/"),
            on_episode=report,
        )
        self._accelerator.wait_for_everyone()
        return cache

    def _samples(
        self, entries: tuple[EpisodeEntry, ...], *, augment: bool, pictures: PictureCache | None = None
    ) -> EpisodeSamples:
        spec, policy = self.spec, self._policy
        assert policy.processor is not None
        return EpisodeSamples(
            entries=entries,
            root=Path("/"),
            stats=self._data.stats,
            processor=policy.processor,
            settings=SampleSettings(
                cameras=policy.spec.cameras,
                chunk_size=policy.spec.chunk_size,
                diffusion_steps=policy.spec.diffusion.train_steps,
                use_reasoning=spec.use_reasoning,
                padded_actions=spec.padded_actions,
                augment=augment,
                seed=spec.seed,
            ),
            pictures=pictures,
        )

    def _loader(self) -> DataLoader[Any]:
        spec = self.spec
        samples = self._samples(self._data.train, augment=spec.augment, pictures=self._prepared_pictures())
        order = SampleOrder(
            sizes=[sum(entry.steps for entry in episodes) for episodes in self._data.sources],
            weights=self._data.weights,
            seed=spec.seed,
        )
        return DataLoader(
            samples,
            batch_sampler=MicroBatches(  # type: ignore[arg-type]
                order,
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
        spec, accelerator = self.spec, self._accelerator
        device = accelerator.device
        micro = [
            {key: value.to(device, non_blocking=True) for key, value in next(batches).items()}
            for _ in range(spec.grad_accumulation)
        ]
        tokens = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in micro)
        elements = sum(batch["actions"].numel() for batch in micro)
        totals = torch.tensor([tokens, elements, float(self._stop())], dtype=torch.float32, device=device)
        tokens_everywhere, elements_everywhere, stops = accelerator.reduce(totals, reduction="sum").tolist()
        rate = learning_rate(spec.optim, self._step, spec.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        # dropout is the only other source of chance: keyed by step, so that a resumed run draws the same
        key = np.random.SeedSequence([spec.seed, 5, self._step, accelerator.process_index])
        torch.manual_seed(int(key.generate_state(1)[0]))
        sums = torch.zeros(2, device=device)
        for number, batch in enumerate(micro):
            last = number == len(micro) - 1
            noise, timesteps = batch.pop("noise"), batch.pop("timesteps")
            with nullcontext() if last else accelerator.no_sync(self._model), accelerator.autocast():
                losses = self._model(batch, noise=noise, timesteps=timesteps, keep_logits=False)
                # gradients are averaged over processes, so the share of this one is scaled up by their number
                share = losses.action_loss_sum / elements_everywhere
                share = share + self._policy.spec.llm_loss_weight * losses.llm_loss_sum / tokens_everywhere
                accelerator.backward(share * accelerator.num_processes)
            sums += torch.stack([losses.action_loss_sum.detach().float(), losses.llm_loss_sum.detach().float()])
        action_sum, llm_sum = accelerator.reduce(sums, reduction="sum").tolist()
        action_loss, llm_loss = action_sum / elements_everywhere, llm_sum / tokens_everywhere
        loss = action_loss + self._policy.spec.llm_loss_weight * llm_loss
        if not math.isfinite(loss):
            raise UserError(
                f"the loss became {loss} at step {self._step + 1}; lower learning_rate, or run `dexvla check` on the "
                "data. The last checkpoint is intact"
            )
        norm = accelerator.clip_grad_norm_(self._model.parameters(), spec.optim.max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update(self._policy)
        values = {"loss": loss, "action_loss": action_loss, "llm_loss": llm_loss}
        return {**values, "learning_rate": rate, "grad_norm": float(norm or 0.0)}, stops > 0

    def _validate(self) -> dict[str, float]:
        """On the first process, with the averaged weights if there are any; the others wait."""
        accelerator, values = self._accelerator, {}
        if accelerator.is_main_process:
            with _averaged(self._policy, self._average):
                values = validate(
                    self._policy,
                    self._samples(self._data.held_out, augment=False),
                    self._places,
                    batch_size=self.spec.batch_size,
                    max_new_tokens=self.spec.validation_max_tokens,
                    autocast=accelerator.autocast,
                )
        accelerator.wait_for_everyone()
        return values

    def _save(self, validation: dict[str, float]) -> None:
        accelerator, name = self._accelerator, step_name(self._step)
        if accelerator.is_main_process:
            folder = self._run.states / name
            if not folder.exists():
                save_state(
                    folder, step=self._step, model=self._policy, optimizer=self._optimizer, average=self._average
                )
            if not (self._run.checkpoints / name).exists():
                with _averaged(self._policy, self._average):
                    weights = plain_state_dict(self._policy) if self.spec.lora is not None else None
                    save_policy(
                        self._policy,
                        self._run.checkpoints / name,
                        manifest=self._lineage(validation),
                        state_dict=weights,
                    )
            self._run.prune(keep=self.spec.keep_checkpoints)
        accelerator.wait_for_everyone()

    def _lineage(self, validation: dict[str, float]) -> dict[str, Any]:
        return {
            "step": self._step,
            "stage": self.spec.stage,
            "run": self.spec.model_dump(mode="json"),
            "dataset": manifest_hash(self._data.manifest),
            "episodes": [entry.identity for entry in self._data.train],
            "seeds": sorted({(entry.task, entry.seed) for entry in self._data.train if entry.seed is not None}),
            "held_out": [entry.identity for entry in self._data.held_out],
            "started_from": self._report,
            "validation": validation,
            "precision": _PRECISION[self.spec.precision],
            "dexvla_version": dexvla.__version__,
        }


def plan(spec: TrainSpec) -> Preflight:
    """What `train` would find before it starts, without starting: reads data and model, writes nothing."""
    data = prepare_data(spec)
    policy, _ = prepare_policy(spec, data)
    make_trainable(policy, spec)
    return preflight(spec, data, policy)


def make_trainable(policy: DexVLA, spec: TrainSpec) -> None:
    """Freeze what the spec freezes and put its adapters in, the same ones for the same seed."""
    for name, parameter in policy.named_parameters():
        backbone = name.startswith("backbone.")
        frozen = backbone and (spec.freeze_backbone or (spec.freeze_vision and ".visual." in name))
        parameter.requires_grad_(not frozen)
    if spec.lora is not None:
        torch.manual_seed(spec.seed)
        add_lora(policy, spec.lora)


@contextmanager
def _averaged(policy: DexVLA, average: MovingAverage | None) -> Iterator[None]:
    """The averaged weights in place of the trained ones for the length of the block."""
    if average is None:
        yield
        return
    parameters = trained_parameters(policy)
    kept = {name: value.detach().clone() for name, value in parameters.items()}
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(average.weights[name])
        yield
        for name, value in parameters.items():
            value.copy_(kept[name])


@contextmanager
def _disk_full_is_clear(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder}: writing failed ({error.strerror or error}); free some space and resume. "
            "Checkpoints that were finished before are intact"
        ) from error


def _same_run(spec: TrainSpec, run: Run) -> None:
    before = TrainSpec.model_validate_json(run.spec_file.read_bytes()).model_dump()
    for name, value in spec.model_dump().items():
        if name not in _FREE_ON_RESUME and value != before[name]:
            raise UserError(
                f"{run.path}: cannot resume with {name} = {value!r}, the run began with {before[name]!r}; "
                "start a new run for another setting"
            )
