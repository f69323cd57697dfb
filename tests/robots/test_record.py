"""Recording: the files that come out, what is dropped, and what happens when they cannot be written."""

import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from dexvla.data.statistics import norm_stats
from dexvla.episodes.check import check_episodes
from dexvla.episodes.format import StepSource
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import open_episode
from dexvla.errors import RobotError, UserError
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.demonstrations import apply, demonstrate, prepare
from dexvla.robots.aloha_sim.experts import ExpertStep, ScriptedExpert
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.recovery import AGAIN
from dexvla.robots.record import RecordProgress, record
from dexvla.spec import CameraSpec, PaddedActions, RecordSpec, RecoveryOptions, RenderProfile
from dexvla.train.data import EpisodeReader, SampleSettings

pytestmark = [pytest.mark.slow, pytest.mark.clockless]

TINY = (CameraSpec(name="cam_high", height=48, width=64),)


def spec(**changes: object) -> RecordSpec:
    return RecordSpec.model_validate({"episodes": 1, "cameras": TINY} | changes)


@pytest.fixture
def short_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the expert after 10 steps, long before success."""
    whole = ScriptedExpert.plan
    monkeypatch.setattr(ScriptedExpert, "plan", lambda self, robot: whole(self, robot)[:10])


@pytest.mark.parametrize("task", list(AlohaTask))
def test_a_recorded_episode_is_complete_and_replays_to_the_same_states(tmp_path: Path, task: AlohaTask) -> None:
    cameras = tuple(CameraSpec(name=name, height=48, width=64) for name in ("cam_high", "cam_right_wrist"))
    result = record(spec(task=task, seed=21, cameras=cameras), tmp_path / "new" / "folder")
    assert result.kept == (21,)
    assert result.failed == ()
    assert result.held == 1
    assert result.paths == (tmp_path / "new" / "folder" / "episode_0.hdf5",)
    assert check_episodes(list(result.paths)).ok

    robot = AlohaSim(task=task, cameras=cameras)
    robot.connect()
    robot.reset(21)
    with open_episode(result.paths[0]) as episode:
        facts = episode.attributes
        assert (facts.sim, facts.robot, facts.task, facts.fps) == (True, "aloha_sim", task.value, 50.0)
        assert (facts.success, facts.held, facts.seed, facts.reward) == (True, True, 21, robot.max_reward)
        if task is AlohaTask.PICK_COLOUR:
            scene = robot.pick
            assert scene is not None
            with h5py.File(result.paths[0]) as file:
                stored = [file.attrs[name] for name in ("level", "split", "swapped", "named_colour", "other_colour")]
            assert stored == ["spots", "any", False, scene.named, scene.other]
        assert facts.render_profile == RenderProfile.FAST
        assert episode.cameras == ("cam_high", "cam_right_wrist")
        assert episode.instruction == robot.instruction
        assert episode.label_source == "scripted"
        assert len(list(groupby(episode.substep_reasonings or ()))) >= 4
        assert episode.action_sent is not None
        assert episode.timestamp is not None
        np.testing.assert_allclose(episode.timestamp, np.arange(episode.steps) * 0.02, atol=1e-9)
        for step in range(episode.steps):
            seen = robot.observe(images=step % 50 == 0)
            assert np.array_equal(seen.qpos, episode.qpos[step]), "the state of a step is the one before its action"
            assert np.array_equal(seen.qvel, episode.qvel[step])
            for name, frame in seen.frames.items():
                taken = episode.image_timestamp(name)
                assert taken is not None
                assert taken[step] == pytest.approx(frame.time)
                difference = np.abs(episode.frame(name, step).astype(int) - frame.image)
                assert difference.mean() < 6, "the JPEG of this step's frame"
            sent = robot.act(episode.action[step])
            assert np.array_equal(sent, episode.action_sent[step])
    robot.disconnect()


def test_a_demonstration_with_recoveries_says_what_is_to_be_learnt(tmp_path: Path) -> None:
    """Actions without the noise that was executed; steps of mishaps are marked, and no chunk reaches into them."""
    recovery = RecoveryOptions(push=1, miss=1, slip=1, wide_start=1)
    result = record(spec(task=AlohaTask.PICK_COLOUR, seed=30, recovery=recovery), tmp_path)
    assert result.kept == (30,)
    assert check_episodes(list(result.paths)).ok
    robot = AlohaSim(task=AlohaTask.PICK_COLOUR, cameras=TINY)
    robot.connect()
    demonstration = demonstrate(robot, 30, recovery)
    prepare(robot, 30, demonstration.before)
    with h5py.File(result.paths[0]) as file:
        assert file.attrs["mishaps"] == ", ".join(demonstration.mishaps)
        assert sorted(demonstration.mishaps) == ["miss", "push", "slip"]
        assert file.attrs["wide_start"]
        assert file.attrs["execution_noise"] == recovery.noise
    with open_episode(result.paths[0]) as episode:
        assert episode.timestamp is not None
        assert episode.timestamp[0] == 0.0
        assert episode.action_sent is not None
        assert 0.001 < np.abs(episode.action_sent - episode.action)[:, 7:13].mean() < 0.01
        assert AGAIN in (episode.substep_reasonings or ())
        sources = episode.step_source
        assert sources is not None
        for step, moment in enumerate(demonstration.moments):
            seen = robot.observe(images=step % 50 == 0)
            assert np.array_equal(seen.qpos, episode.qpos[step])
            for name, frame in seen.frames.items():
                assert np.abs(episode.frame(name, step).astype(int) - frame.image).mean() < 6
            assert np.array_equal(moment.action, episode.action[step])
            assert np.array_equal(apply(robot, moment), episode.action_sent[step])
    robot.disconnect()

    manifest, motions = build_manifest(find_set(str(tmp_path)))
    (entry,) = manifest.episodes
    assert len(entry.learn) >= 3
    assert 0 < entry.samples == sum(source is StepSource.SCRIPTED for source in sources) < entry.steps
    samples = EpisodeReaderOfMotion(
        entries=manifest.episodes,
        root=tmp_path,
        stats=norm_stats(motions),
        settings=SampleSettings(
            cameras=(),
            chunk_size=20,
            diffusion_steps=10,
            use_reasoning=True,
            padded_actions=PaddedActions.REPEAT_LAST,
            augment=False,
            seed=0,
        ),
    )
    assert len(samples) == entry.samples
    for index in range(len(samples)):
        _, step = samples.locate(index)
        following = sources[step : step + 20]
        assert sources[step] is StepSource.SCRIPTED
        wanted = next((n for n, source in enumerate(following) if source is not StepSource.SCRIPTED), len(following))
        assert int((~samples[index, index]["is_pad"]).sum()) == wanted


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--miss", "1"), r"--miss is an option of --recovery; add that, or leave it out"),
        (("--wide-start", "0.5"), r"--wide-start is an option of --recovery"),
        (("--recovery", "--slip", "2"), r"slip.*less than or equal to 1"),
    ],
)
def test_options_of_recoveries_are_checked_before_anything_is_recorded(
    tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    command = [sys.executable, "-m", "dexvla.cli", "record", "--out", str(tmp_path / "out"), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert re.search(complaint, " ".join(run.stderr.split())), run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()


class EpisodeReaderOfMotion(EpisodeReader):
    """Samples without images and words."""

    def inputs(self, images: list[NDArray[np.uint8]], instruction: str, reasoning: str | None) -> dict[str, Any]:
        return {}


@pytest.mark.usefixtures("short_expert")
def test_failures_are_dropped_and_counted(tmp_path: Path) -> None:
    seen: list[RecordProgress] = []
    result = record(spec(episodes=2, seed=5), tmp_path, on_episode=seen.append)
    assert result.kept == ()
    assert result.failed == (5, 6)
    assert list(tmp_path.iterdir()) == []
    assert [(p.done, p.total, p.seed, p.success, p.path) for p in seen] == [
        (1, 2, 5, False, None),
        (2, 2, 6, False, None),
    ]
    assert seen[0].note == "seed 5 failed, dropped"


@pytest.mark.usefixtures("short_expert")
def test_failures_are_kept_on_request_and_say_so(tmp_path: Path) -> None:
    result = record(spec(seed=5, keep_failures=True), tmp_path)
    assert result.kept == result.failed == (5,)
    with open_episode(tmp_path / "episode_0.hdf5") as episode:
        assert episode.attributes.success is False
        assert episode.attributes.held is False
        assert episode.attributes.reward == 0.0
        assert episode.steps == 10


def test_a_failing_seed_leaves_no_gap_in_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ScriptedExpert.plan

    def plan(self: ScriptedExpert, robot: AlohaSim) -> list[ExpertStep]:
        return whole(self, robot)[: 10 if self.seed == 1 else None]

    monkeypatch.setattr(ScriptedExpert, "plan", plan)
    result = record(spec(episodes=3), tmp_path)
    assert result.kept == (0, 2)
    assert result.failed == (1,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episode_0.hdf5", "episode_1.hdf5"]
    with open_episode(tmp_path / "episode_1.hdf5") as episode:
        assert episode.attributes.seed == 2


@pytest.mark.usefixtures("short_expert")
def test_numbers_go_on_after_the_highest_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "episode_7.hdf5").write_bytes(b"somebody's data")
    (tmp_path / "episode_x.hdf5").write_bytes(b"")
    (tmp_path / "notes_900.hdf5").write_bytes(b"")
    result = record(spec(episodes=2, keep_failures=True), tmp_path)
    assert [path.name for path in result.paths] == ["episode_8.hdf5", "episode_9.hdf5"]
    assert (tmp_path / "episode_7.hdf5").read_bytes() == b"somebody's data"


@pytest.mark.usefixtures("short_expert")
def test_a_number_that_another_recorder_took_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    def other_recorder(progress: RecordProgress) -> None:
        if progress.done == 1:
            (tmp_path / "episode_1.hdf5").write_bytes(b"somebody's data")
            (tmp_path / "episode_4.hdf5").write_bytes(b"somebody's data")

    result = record(spec(episodes=3, keep_failures=True), tmp_path, on_episode=other_recorder)
    assert [path.name for path in result.paths] == ["episode_0.hdf5", "episode_5.hdf5", "episode_6.hdf5"]
    assert (tmp_path / "episode_1.hdf5").read_bytes() == b"somebody's data"
    with open_episode(tmp_path / "episode_5.hdf5") as episode:
        assert episode.attributes.seed == 1


@pytest.mark.usefixtures("short_expert")
def test_the_render_profile_is_stored_and_changes_the_images(tmp_path: Path) -> None:
    images = []
    for profile in RenderProfile:
        folder = tmp_path / profile
        record(spec(keep_failures=True, render=profile), folder)
        with open_episode(folder / "episode_0.hdf5") as episode:
            assert episode.attributes.render_profile == profile
            images.append(episode.frame("cam_high", 0).astype(int))
    assert np.abs(images[0] - images[1]).max() > 20


def test_a_robot_without_an_expert_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match=r"unknown robot 'panda'"):
        record(spec(robot="panda"), tmp_path)


def test_a_place_that_cannot_be_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot record into .*file"):
        record(spec(), tmp_path / "file")


def test_a_full_disk_ends_in_one_line_and_no_half_file(tmp_path: Path) -> None:
    """The system's limit on the size of a file stands in for the full disk; it needs a process of its own."""
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pathlib import Path
from dexvla.errors import UserError
from dexvla.robots.aloha_sim.experts import ScriptedExpert
from dexvla.robots.record import record
from dexvla.spec import CameraSpec, RecordSpec
whole = ScriptedExpert.plan
ScriptedExpert.plan = lambda self, robot: whole(self, robot)[:10]
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
spec = RecordSpec(episodes=1, keep_failures=True, cameras=(CameraSpec(name="cam_high", height=48, width=64),))
try:
    record(spec, Path({str(tmp_path)!r}))
except UserError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    lines = run.stdout.strip().splitlines()
    assert len(lines) == 1
    assert re.match(r"cannot write .*episode_0\.hdf5: .*large", lines[0])
    assert list(tmp_path.iterdir()) == []
