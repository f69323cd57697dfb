"""Policy servers on free ports of the loopback, with a real checkpoint or a policy whose pace a test decides."""

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dexvla.act.base import ActionChunk, PolicyInput, PolicyMetadata
from dexvla.act.server import PolicyServer, ServedPolicy
from dexvla.spec import CameraSpec, Initialisation, NormStats, PolicySpec, ScaleDPSpec

PATIENCE_S = 30.0
CAMERAS = (CameraSpec(name="cam_high", height=56, width=84), CameraSpec(name="cam_left_wrist", height=56, width=56))


@dataclass
class Running:
    """A server in a thread. `error` is what `run` raised, once the thread has ended."""

    server: PolicyServer
    listening: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    error: BaseException | None = None

    def health(self) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url.replace("ws://", "http://") + "/healthz", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def running_server(load: Callable[[], ServedPolicy], *, wait_ready: bool = True, **options: Any) -> Iterator[Running]:
    def on_listening(url: str) -> None:
        state.url = url
        state.listening.set()

    def run() -> None:
        try:
            asyncio.run(server.run())
        except Exception as error:
            state.error = error
        finally:
            state.ended.set()

    server = PolicyServer(load, port=0, on_listening=on_listening, on_ready=lambda url: state.ready.set(), **options)
    state = Running(server)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert state.listening.wait(PATIENCE_S)
        if wait_ready:
            assert state.ready.wait(PATIENCE_S)
        yield state
    finally:
        server.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


class PacedPolicy:
    """Answers the mean colour of its images, when the test lets it: `started` tells, `go` releases."""

    def __init__(self) -> None:
        self.started, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.answered = 0
        self.failure: Exception | None = None
        self.metadata = PolicyMetadata(
            cameras=CAMERAS, action_dim=2, state_dim=3, chunk_size=4, fps=50, robot="paced", checkpoint="paced"
        )

    def session(self, seed: int) -> "PacedPolicy":
        return self

    def warm_up(self) -> None: ...

    def reset(self, seed: int) -> None: ...

    def close(self) -> None: ...

    def infer(self, observation: PolicyInput) -> ActionChunk:
        self.started.release()
        assert self.go.acquire(timeout=PATIENCE_S)
        if self.failure is not None:
            raise self.failure
        self.answered += 1
        value = np.mean([image.mean() for image in observation.images.values()])
        actions = np.full((4, 2), value, np.float32)
        return ActionChunk(actions=actions, normalised=actions / 255, reasoning="Wait.", infer_ms=1.0)


@pytest.fixture
def paced() -> Iterator[PacedPolicy]:
    policy = PacedPolicy()
    yield policy
    policy.go.release(100)


def grey(level: int, *, state_dim: int = 3, instruction: str = "pick up the cube") -> PolicyInput:
    """An observation whose images are all `level`."""
    images = {camera.name: np.full((camera.height, camera.width, 3), level, np.uint8) for camera in CAMERAS}
    return PolicyInput(images=images, state=np.zeros(state_dim, np.float32), instruction=instruction)


@pytest.fixture
def make_observation() -> Callable[..., PolicyInput]:
    return grey


@pytest.fixture
def run_server() -> Callable[..., Any]:
    return running_server


# --- a real checkpoint --------------------------------------------------------------------------------------

STATS = NormStats(
    action_mean=(0.0,) * 3,
    action_std=(1.0,) * 3,
    action_min=(-1.0, 0.0, 10.0),
    action_max=(1.0, 0.5, 30.0),
    qpos_mean=(0.0, 1.0, 2.0, 3.0),
    qpos_std=(1.0, 1.0, 0.5, 0.01),
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained policy for two cameras, 4 state and 3 action values, chunks of 6, saved to disk."""
    from dexvla.model import new_policy, save_policy
    from dexvla.model.init_model import init_model

    folder = tmp_path_factory.mktemp("policy")
    init_model(folder / "base")
    spec = PolicySpec(
        expert=ScaleDPSpec(depth=2, width=64, heads=4, combine_width=64),
        action_dim=3,
        state_dim=4,
        chunk_size=6,
        cameras=CAMERAS,
        recorded_cameras=tuple(CameraSpec(name=camera.name, height=120, width=160) for camera in CAMERAS),
        robot="aloha_sim",
        fps=50,
    )
    model = new_policy(folder / "base", spec, initialisation=Initialisation.UPSTREAM, norm_stats=STATS)
    save_policy(model, folder / "tiny-step-7", manifest={"run": "test"})
    return folder / "tiny-step-7"
