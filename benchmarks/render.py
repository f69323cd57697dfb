"""What the simulated ALOHA costs: physics, planning, one frame per profile and size, and the live loop.

    python benchmarks/render.py [--json FILE] [--pictures N] [--seconds S]

Frames are timed over a moving scene, cameras in turn. The live loop runs at 50 Hz with three cameras at 480x640:
lateness is how long after its due time a tick began, age how old the frames of an observation were.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dexvla.files import write_json
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.experts import ScriptedExpert
from dexvla.robots.aloha_sim.live import LiveAlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.spec import ALOHA_CAMERAS, CameraSpec, RenderProfile

SIZES = ((120, 160), (240, 320), (480, 640))


def cameras(height: int, width: int) -> tuple[CameraSpec, ...]:
    return tuple(CameraSpec(name=name, height=height, width=width) for name in ALOHA_CAMERAS)


def spread(milliseconds: list[float]) -> dict[str, float]:
    p50, p99, most = np.percentile(milliseconds, [50, 99, 100])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(most), 3)}


def timed(function: Callable[[], Any]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def physics(task: AlohaTask) -> dict[str, Any]:
    robot = AlohaSim(task=task, cameras=())
    robot.connect()
    robot.reset(0)
    ScriptedExpert(task, 0).plan(robot)  # the first one loads mink
    plans, steps = [], []
    for seed in range(5):
        robot.reset(seed)
        start = time.perf_counter()
        plan = ScriptedExpert(task, seed).plan(robot)
        plans.append((time.perf_counter() - start) * 1e3)
        for step in plan:
            steps.append(timed(lambda action=step.action: robot.act(action)))  # type: ignore[misc]
    robot.disconnect()
    return {"act_ms": spread(steps), "plan_ms": spread(plans)}


def frames(profile: RenderProfile, height: int, width: int, count: int) -> dict[str, float]:
    robot = AlohaSim(cameras=cameras(height, width), render=profile)
    robot.connect()
    robot.reset(0)
    plan = ScriptedExpert(robot.task, 0).plan(robot)
    robot.observe()
    taken = []
    for index in range(-(-count // len(ALOHA_CAMERAS))):
        robot.act(plan[index % len(plan)].action)
        taken.append(timed(robot.observe) / len(ALOHA_CAMERAS))
    robot.disconnect()
    return spread(taken)


def live(seconds: float) -> dict[str, Any]:
    robot = LiveAlohaSim(cameras=cameras(480, 640))
    robot.connect()
    seen = robot.reset(0)
    plan = ScriptedExpert(robot.task, 0).plan(robot)
    newest = {name: frame.time for name, frame in seen.frames.items()}
    count = dict.fromkeys(newest, 0)
    late, work, ages = [], [], []
    period = 1 / robot.info.control_hz
    ticks = round(seconds / period)
    begin = time.perf_counter() + period
    for tick in range(ticks):
        due = begin + tick * period
        time.sleep(max(0.0, due - time.perf_counter()))
        started = time.perf_counter()
        late.append((started - due) * 1e3)
        robot.act(plan[tick % len(plan)].action)
        seen = robot.observe()
        work.append((time.perf_counter() - started) * 1e3)
        for name, frame in seen.frames.items():
            ages.append((seen.time - frame.time) * 1e3)
            count[name] += frame.time > newest[name]
            newest[name] = frame.time
    fault = robot.camera_fault
    robot.disconnect()
    return {
        "seconds": ticks * period,
        "lateness_ms": spread(late),
        "work_ms": spread(work),
        "frame_age_ms": spread(ages),
        "frames_per_second": {name: round(number / (ticks * period), 1) for name, number in count.items()},
        "camera_fault": fault,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--pictures", type=int, default=90, help="frames per profile and size (default 90)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the live loop (default 10)")
    arguments = parser.parse_args()

    row = "{:<34} {:>9} {:>9} {:>9}".format
    report: dict[str, Any] = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}
    print(row("milliseconds", "p50", "p99", "max"))
    report["physics"] = {}
    for task in AlohaTask:
        report["physics"][task.value] = figures = physics(task)
        print(row(f"{task}: act", *figures["act_ms"].values()))
        print(row(f"{task}: expert's plan", *figures["plan_ms"].values()))
    report["gl"] = os.environ.get("MUJOCO_GL", "")
    report["python"] = platform.python_version()
    report["frame_ms"] = {}
    for profile in RenderProfile:
        for height, width in SIZES:
            figures = frames(profile, height, width, arguments.pictures)
            report["frame_ms"][f"{profile.value} {height}x{width}"] = figures
            print(row(f"frame: {profile} {height}x{width}", *figures.values()))
    report["live"] = figures = live(arguments.seconds)
    for name in ("lateness_ms", "work_ms", "frame_age_ms"):
        print(row(f"live loop: {name[:-3].replace('_', ' ')}", *figures[name].values()))
    rates = ", ".join(f"{name} {rate}" for name, rate in figures["frames_per_second"].items())
    print(f"live loop: frames a second: {rates}" + (f"; {figures['camera_fault']}" * bool(figures["camera_fault"])))
    if arguments.json is not None:
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
