"""A checkpoint as a policy: physical units in, physical units out.

H, W: rows and columns of an image; S: entries of the state; T: actions in a chunk; A: entries of an action.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from dexvla.act.base import ActionChunk, Policy, PolicyInput, PolicyInputError, PolicyMetadata, check_input, check_seed
from dexvla.data.action_space import from_space
from dexvla.data.normalise import normalise_state, unnormalise_actions
from dexvla.errors import CheckpointError, UserError
from dexvla.model import DexVLA, load_policy
from dexvla.model.processing import Processor, build_inputs, collate
from dexvla.spec import NormStats

__all__ = ["ActionChunk", "CheckpointPolicy", "Policy", "PolicyInput", "PolicyInputError", "PolicyMetadata"]

_WARM_TOKENS = 4  # the first token and those that follow take the same ways every time
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class CheckpointPolicy:
    """A trained checkpoint in this process. Make one with `load`; use it from one thread.

    The noise that denoising starts from is drawn on the CPU, one draw a sample: for a seed, observations and
    weights, every chunk is the same on whatever device, one by one or in batches, up to rounding.
    """

    def __init__(
        self,
        model: DexVLA,
        *,
        checkpoint: str,
        checkpoint_sha256: str | None = None,
        seed: int = 0,
        max_new_tokens: int = 64,
        inference_steps: int | None = None,
    ) -> None:
        self._stats, self._processor = _requirements(model, checkpoint)
        _check_options(model, max_new_tokens, inference_steps)
        self._model = model
        self._max_new_tokens = max_new_tokens
        self._inference_steps = inference_steps
        self._metadata = PolicyMetadata.of(model.spec, checkpoint=checkpoint, checkpoint_sha256=checkpoint_sha256)
        self._generator = torch.Generator()
        self.reset(seed)

    @classmethod
    def load(
        cls,
        checkpoint_dir: str | Path,
        *,
        device: str = "auto",
        dtype: str | None = None,
        seed: int = 0,
        max_new_tokens: int = 64,
        inference_steps: int | None = None,
    ) -> "CheckpointPolicy":
        """Load a checkpoint directory.

        device: auto (a GPU if there is one), cpu, cuda, cuda:1 ... dtype: float32, bfloat16 or float16; default
        bfloat16 on a GPU, float32 elsewhere. max_new_tokens: longest reasoning. inference_steps: DDIM steps, default
        the checkpoint's. Raises CheckpointError where the checkpoint cannot act, UserError for a wrong option.
        """
        directory = Path(checkpoint_dir)
        chosen = _device(device)
        if dtype is not None and dtype not in _DTYPES:
            raise UserError(f"dtype is {dtype!r}, expected one of {', '.join(_DTYPES)}")
        weights = _DTYPES[dtype] if dtype else torch.bfloat16 if chosen.type == "cuda" else torch.float32
        return cls(
            load_policy(directory, dtype=weights, device=chosen),
            checkpoint=directory.resolve().name,
            checkpoint_sha256=checkpoint_hash(directory),
            seed=seed,
            max_new_tokens=max_new_tokens,
            inference_steps=inference_steps,
        )

    @property
    def metadata(self) -> PolicyMetadata:
        return self._metadata

    def session(self, seed: int) -> "CheckpointPolicy":
        """The same weights with a random stream of its own. Sessions take turns; they don't run at once."""
        return CheckpointPolicy(
            self._model,
            checkpoint=self._metadata.checkpoint,
            checkpoint_sha256=self._metadata.checkpoint_sha256,
            seed=seed,
            max_new_tokens=self._max_new_tokens,
            inference_steps=self._inference_steps,
        )

    def reset(self, seed: int) -> None:
        """Start a roll-out: from here on the same observations give the same chunks for the same seed."""
        self._generator.manual_seed(check_seed(seed))

    def warm_up(self) -> None:
        """One inference on grey images, so that the first real one is not slower than the others."""
        cameras = self._metadata.recorded_cameras or self._metadata.cameras
        images = {camera.name: np.full((camera.height, camera.width, 3), 127, np.uint8) for camera in cameras}
        state = np.asarray(self._stats.qpos_mean, dtype=np.float32)
        session = self.session(0)
        session._max_new_tokens = min(_WARM_TOKENS, self._max_new_tokens)
        session.infer(PolicyInput(images=images, state=state, instruction="wait"))

    def infer(self, observation: PolicyInput, *, on_reasoning: Callable[[str], None] | None = None) -> ActionChunk:
        """The chunk for one observation; `infer_batch` says what it raises."""
        tell = None if on_reasoning is None else _Teller(self._processor, on_reasoning)
        return self.infer_batch([observation], on_token=tell)[0]

    def infer_batch(
        self,
        observations: Sequence[PolicyInput],
        *,
        on_token: Callable[[list[list[int]]], None] | None = None,
    ) -> list[ActionChunk]:
        """Chunks for several observations at once; each is told the time of the whole batch. on_token: as in predict.

        Raises PolicyInputError, before any computation, where an observation does not fit the policy, and
        CheckpointError if the model predicts something that is not a number.
        """
        checked = [check_input(observation, self._metadata) for observation in observations]
        shape = (self._metadata.chunk_size, self._metadata.action_dim)
        started = time.perf_counter()
        noise = [torch.randn(shape, generator=self._generator) for _ in checked]
        results: dict[int, tuple[np.ndarray, str]] = {}
        for forced in (False, True):
            chosen = [i for i, item in enumerate(checked) if (item.reasoning is not None) is forced]
            if chosen:
                answers = self._predict([checked[i] for i in chosen], torch.stack([noise[i] for i in chosen]), on_token)
                results.update(zip(chosen, answers, strict=True))
        infer_ms = (time.perf_counter() - started) * 1000
        return [self._chunk(*results[i], item.state, infer_ms) for i, item in enumerate(checked)]

    def close(self) -> None:
        """Weights go when the last session is forgotten; nothing is open."""

    def _predict(
        self,
        items: list[PolicyInput],
        noise_bta: torch.Tensor,
        on_token: Callable[[list[list[int]]], None] | None,
    ) -> list[tuple[np.ndarray, str]]:
        """Normalised actions (T, A) and reasoning of each; all of them force a reasoning or none does."""
        sizes = [(camera.height, camera.width) for camera in self._metadata.cameras]
        samples = []
        for item in items:
            sample = build_inputs(
                self._processor,
                images=list(item.images.values()),
                image_sizes=sizes,
                instruction=item.instruction,
                crop=self._model.spec.centre_crop,
            )
            samples.append({**sample, "states": torch.from_numpy(normalise_state(item.state, self._stats))})
        device = self._model.device
        forced = [item.reasoning for item in items if item.reasoning is not None]
        prediction = self._model.predict(
            {name: value.to(device) for name, value in collate(samples, self._processor).items()},
            noise=noise_bta.to(device),
            max_new_tokens=self._max_new_tokens,
            ddim_steps=self._inference_steps,
            reasoning=forced or None,
            on_token=on_token,
        )
        actions = prediction.actions.float().cpu().numpy()
        texts = forced or prediction.reasoning_text or [""] * len(items)
        return list(zip(actions, texts, strict=True))

    def _chunk(self, normalised: np.ndarray, reasoning: str, state: np.ndarray, infer_ms: float) -> ActionChunk:
        bad = int((~np.isfinite(normalised)).sum())
        if bad:
            raise CheckpointError(
                f"{self._metadata.checkpoint}: {bad} of {normalised.size} predicted values are not numbers; "
                "the weights have diverged, or need another dtype (float32)"
            )
        predicted = unnormalise_actions(normalised, self._stats)
        actions = from_space(predicted, state, self._model.spec.action_space)
        return ActionChunk(actions=actions, normalised=normalised, reasoning=reasoning, infer_ms=infer_ms)


class _Teller:
    """Tells the reasoning of the only sample of a batch as it grows."""

    def __init__(self, processor: Processor, tell: Callable[[str], None]) -> None:
        self._processor, self._tell, self._told = processor, tell, ""

    def __call__(self, ids: list[list[int]]) -> None:
        text = self._processor.partial_text(ids[0])
        if text != self._told:
            self._told = text
            self._tell(text)


def checkpoint_hash(directory: Path) -> str | None:
    """sha256 of manifest.json, which lists the sha256 of every other file; None without a manifest."""
    manifest = directory / "manifest.json"
    return hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else None


def _requirements(model: DexVLA, checkpoint: str) -> tuple[NormStats, Processor]:
    """What acting needs beside the weights."""
    spec, stats = model.spec, model.norm_stats
    if not spec.cameras:
        raise CheckpointError(f"{checkpoint}: it does not name its cameras; only a trained checkpoint can act")
    if stats is None:
        raise CheckpointError(f"{checkpoint}: norm_stats.json is missing; without it, actions have no units")
    if (stats.action_dim, stats.state_dim) != (spec.action_dim, spec.state_dim):
        raise CheckpointError(
            f"{checkpoint}: norm_stats.json is for actions of {stats.action_dim} and states of {stats.state_dim} "
            f"values, the policy has {spec.action_dim} and {spec.state_dim}"
        )
    if model.processor is None:
        raise CheckpointError(f"{checkpoint}: the tokenizer and image settings are missing")
    return stats, model.processor


def _check_options(model: DexVLA, max_new_tokens: int, inference_steps: int | None) -> None:
    most = model.spec.diffusion.train_steps
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens is {max_new_tokens}, expected at least 1")
    if inference_steps is not None and not 1 <= inference_steps <= most:
        raise UserError(f"inference_steps is {inference_steps}, expected 1 .. {most}, the steps it was trained with")


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device is {name!r}, expected auto, cpu, cuda or cuda:NUMBER") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name} is not there: torch sees {torch.cuda.device_count()} GPUs; use auto or cpu")
    return device
