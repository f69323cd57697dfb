"""What a policy is to those who act with it, in this process or behind a wire. Torch-free.

H, W: rows and columns of an image; S: entries of the state; T: actions in a chunk; A: entries of an action.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dexvla.errors import UserError
from dexvla.spec import CameraSpec, PolicySpec, Spec


class PolicyInputError(UserError):
    """An observation that is not what the policy was trained on."""


class PolicyMetadata(Spec):
    """What a policy expects and gives, as its checkpoint tells it."""

    cameras: tuple[CameraSpec, ...] = Field(
        min_length=1, description="Cameras in the order of the prompt, with the size that images are resized to"
    )
    recorded_cameras: tuple[CameraSpec, ...] = Field(
        (), description="The same cameras with the size of the training images before they were resized"
    )
    action_dim: int = Field(ge=1)
    state_dim: int = Field(ge=1)
    chunk_size: int = Field(ge=1, description="Actions in a chunk, steps")
    fps: float | None = Field(None, gt=0, description="Control rate of the training data, Hz")
    robot: str | None = Field(None, description="Robot that the training data came from")
    render_profile: str | None = Field(None, description="Render profile of the training images, if simulated")
    checkpoint: str = Field(description="Name of the checkpoint")
    checkpoint_sha256: str | None = Field(None, description="sha256 over the checkpoint's files")

    @classmethod
    def of(cls, spec: PolicySpec, *, checkpoint: str, checkpoint_sha256: str | None = None) -> "PolicyMetadata":
        """Raises ValidationError (a ValueError) for a policy without cameras, which cannot act."""
        return cls(
            cameras=spec.cameras,
            recorded_cameras=spec.recorded_cameras,
            action_dim=spec.action_dim,
            state_dim=spec.state_dim,
            chunk_size=spec.chunk_size,
            fps=spec.fps,
            robot=spec.robot,
            render_profile=spec.render_profile,
            checkpoint=checkpoint,
            checkpoint_sha256=checkpoint_sha256,
        )

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)


@dataclass(frozen=True, kw_only=True)
class PolicyInput:
    """What a policy sees at one step.

    images: by camera name, (H, W, 3) uint8 RGB of any size. state: (S,) in the robot's units (radians, metres,
    grippers 0 closed .. 1 open). reasoning: the substep reasoning to act on; None lets the policy write it.
    """

    images: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.floating[Any]]
    instruction: str
    reasoning: str | None = None


@dataclass(frozen=True, kw_only=True)
class ActionChunk:
    """What a policy answers: action i belongs to the step of the observation + i.

    actions: (T, A) float32 in the robot's units. normalised: (T, A) float32, the same as the model gave them.
    reasoning: the substep reasoning that the actions follow. infer_ms: time of the inference, milliseconds.
    """

    actions: NDArray[np.float32]
    normalised: NDArray[np.float32]
    reasoning: str
    infer_ms: float


@runtime_checkable
class Policy(Protocol):
    """A policy, local or remote. Use it from one thread."""

    @property
    def metadata(self) -> PolicyMetadata: ...

    def infer(self, observation: PolicyInput, *, on_reasoning: Callable[[str], None] | None = None) -> ActionChunk:
        """The chunk for one observation. Raises PolicyInputError where the observation does not fit.

        on_reasoning: called with the reasoning so far each time that it has grown; it must not wait.
        """
        ...

    def reset(self, seed: int) -> None:
        """Start a roll-out: from here on, the same observations give the same chunks for the same seed."""
        ...

    def close(self) -> None:
        """Let go of connections and weights. May be called twice."""
        ...


def check_seed(seed: int) -> int:
    """Returns the seed; raises PolicyInputError unless it is a whole number of 0 .. 2^63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= int(seed) < 2**63:
        raise PolicyInputError(f"seed is {seed!r}, expected a whole number of 0 .. 2^63 - 1")
    return int(seed)


def check_input(observation: PolicyInput, metadata: PolicyMetadata) -> PolicyInput:
    """Compare an observation with what the policy was trained on.

    Returns it with the images in the order of the prompt and the state as float32; raises PolicyInputError that
    says what was found and what was expected.
    """
    _check_cameras(observation.images, metadata)
    if not isinstance(observation.instruction, str) or not observation.instruction.strip():
        raise PolicyInputError(
            f"instruction is {observation.instruction!r}, expected a sentence that says what to do; give one"
        )
    if observation.reasoning is not None and not isinstance(observation.reasoning, str):
        raise PolicyInputError(f"reasoning is a {type(observation.reasoning).__name__}, expected text or None")
    return PolicyInput(
        images={name: observation.images[name] for name in metadata.camera_names},
        state=_checked_state(observation.state, metadata.state_dim),
        instruction=observation.instruction,
        reasoning=observation.reasoning,
    )


def _check_cameras(images: Mapping[str, NDArray[np.uint8]], metadata: PolicyMetadata) -> None:
    expected = metadata.camera_names
    if set(images) != set(expected):
        missing = [name for name in expected if name not in images]
        extra = sorted(str(name) for name in images if name not in expected)
        parts = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"not expected: {', '.join(extra)}"] * bool(extra)
        raise PolicyInputError(
            f"cameras found: {', '.join(sorted(map(str, images))) or 'none'}; the policy was trained with: "
            f"{', '.join(expected)} ({'; '.join(parts)}); rename or leave out cameras until the names match"
        )
    for name in expected:
        image = images[name]
        if not isinstance(image, np.ndarray):
            raise PolicyInputError(f"image of {name} is a {type(image).__name__}, expected an array (H, W, 3) of uint8")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.dtype != np.uint8:
            raise PolicyInputError(
                f"image of {name} is {image.shape} of {image.dtype}, expected (H, W, 3) of uint8, RGB"
            )


def _checked_state(state: Any, state_dim: int) -> NDArray[np.float32]:
    if not isinstance(state, np.ndarray) or state.dtype.kind not in "fiu":
        kind = f"array of {state.dtype}" if isinstance(state, np.ndarray) else type(state).__name__
        raise PolicyInputError(f"state is a {kind}, expected an array of {state_dim} numbers")
    if state.shape != (state_dim,):
        raise PolicyInputError(f"state has the shape {state.shape}, the policy was trained with ({state_dim},)")
    with np.errstate(over="ignore"):
        values = state.astype(np.float32)
    if not np.isfinite(values).all():
        where = ", ".join(str(i) for i in np.flatnonzero(~np.isfinite(values)))
        raise PolicyInputError(f"state has non-finite values at {where} (counted from 0), expected numbers")
    return values
