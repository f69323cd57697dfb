"""A control loop that records at 50 Hz: python recording_process.py JOURNAL. Says when it took each step."""

import sys
import time
from pathlib import Path

import numpy as np

from dexvla.episodes.format import EpisodeAttributes, StepSource
from dexvla.recording.journal import RecordingHead
from dexvla.recording.recorder import EpisodeRecorder, RecordedStep

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def main(journal: Path, cameras: tuple[str, ...] = CAMERAS, height: int = 480, width: int = 640) -> None:
    attributes = EpisodeAttributes(sim=True, robot="aloha_sim", fps=50.0)
    head = RecordingHead(instruction="Go.", attributes=attributes, cameras=cameras, state_dim=14, action_dim=14)
    x = np.linspace(0, 255, width * height * 3, dtype=np.float32).reshape(height, width, 3)
    images = [np.roll(x, 31 * shift, axis=1).astype(np.uint8) for shift in range(8)]
    recorder = EpisodeRecorder(journal, head)
    begin = due = time.monotonic()
    step = 0
    while True:
        now = time.monotonic()
        time.sleep(max(0.0, due - now))
        due += 0.02
        qpos = np.full(14, step, np.float32)
        recorder.add(
            RecordedStep(
                time=0.02 * step,
                host_time=time.time(),
                source=StepSource.SCRIPTED,
                qpos=qpos,
                qvel=qpos,
                action=qpos,
                action_sent=qpos,
                frames={name: (0.06 * (step // 3), images[step // 3 % 8]) for name in cameras},
            )
        )
        sys.stdout.write(f"{step} {time.monotonic() - begin:.4f}\n")
        sys.stdout.flush()
        step += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
