"""Closed-loop evaluation on the real simulator, with a policy that is the scripted expert and one that is not."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from dexvla.act.base import ActionChunk, PolicyInput, PolicyMetadata
from dexvla.errors import RobotError
from dexvla.evaluate.closed_loop import evaluate_closed_loop
from dexvla.evaluate.intervals import rate
from dexvla.evaluate.outcomes import OUTCOMES, OutcomeLog, read_outcomes
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.experts import ScriptedExpert
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions, PickLevel
from dexvla.spec import CameraSpec, ClosedLoopReport, EpisodeOutcome, EvalSpec

pytestmark = pytest.mark.slow

CAMERA = CameraSpec(name="cam_high", height=48, width=64)


class Expert:
    """Answers the expert's plan in chunks; for seeds in `fails` it stands still."""

    def __init__(self, robot: AlohaSim, *, fails: tuple[int, ...] = (), action_dim: int = 14) -> None:
        self._robot, self._fails = robot, fails
        self.asked: list[int] = []
        self.metadata = PolicyMetadata(
            cameras=(CAMERA,), action_dim=action_dim, state_dim=14, chunk_size=20, fps=50, checkpoint="expert"
        )

    def reset(self, seed: int) -> None:
        self._plan = None if seed in self._fails else ScriptedExpert(AlohaTask.TRANSFER_CUBE, seed).plan(self._robot)
        self._step = 0

    def close(self) -> None: ...

    def infer(self, observation: PolicyInput) -> ActionChunk:
        assert observation.images["cam_high"].shape == (48, 64, 3)
        step, self._step = self._step, self._step + 16
        self.asked.append(step)
        if self._plan is None:
            actions = np.repeat(observation.state[None], 20, axis=0)
            return ActionChunk(actions=actions, normalised=actions, reasoning="Stand still", infer_ms=1.0)
        rows = [self._plan[min(step + i, len(self._plan) - 1)] for i in range(20)]
        actions = np.stack([row.action for row in rows])
        return ActionChunk(actions=actions, normalised=actions, reasoning=rows[0].substep, infer_ms=1.0)


def test_success_held_seeds_and_videos_are_reported(tmp_path: Path) -> None:
    robot = AlohaSim(cameras=(CAMERA,))
    robot.connect()
    try:
        policy = Expert(robot, fails=(501,))
        spec = EvalSpec(checkpoint="expert", episodes=2, seed=500)
        report = evaluate_closed_loop(
            spec, policy=policy, robot=robot, videos=tmp_path, trained_seeds=frozenset({3, 501})
        )
    finally:
        robot.disconnect()
    good, bad = report.episodes
    assert (good.seed, good.success, good.held, good.reward) == (500, True, True, 4.0)
    assert (bad.seed, bad.success, bad.held, bad.reward) == (501, False, False, 0.0)
    assert good.steps < bad.steps == 400, "an episode that is decided ends early"
    assert report.success_rate == 0.5
    assert report.interval[0] < 0.5 < report.interval[1]
    assert report.seeds_seen_in_training == (501,)
    assert [said.step % 16 for said in good.reasoning] == [0] * len(good.reasoning)
    assert good.reasoning[0].text == "Reach for the red cube with the right arm"
    assert len(good.reasoning) >= 4
    assert good.video is not None
    assert atoms(tmp_path / good.video)[:3] == ["ftyp", "moov", "free"], "the index is in front: a page can seek"
    with av.open(str(tmp_path / good.video)) as video:
        assert (video.streams.video[0].codec_context.name, video.streams.video[0].pix_fmt) == ("h264", "yuv420p")
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == -(-good.steps // 2)
    assert np.abs(frames[0].astype(int) - frames[-1].astype(int)).max() > 50, "the image moves"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed_500.mp4", "seed_501.mp4"]


def atoms(path: Path) -> list[str]:
    """The boxes of an mp4 file, in order."""
    data, position, found = path.read_bytes(), 0, []
    while position < len(data):
        found.append(data[position + 4 : position + 8].decode())
        position += int.from_bytes(data[position : position + 4], "big")
    return found


def test_an_interrupted_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    """The second run asks the policy for the missing seed alone, and reports what one run would have."""
    robot = AlohaSim(cameras=(CAMERA,))
    robot.connect()
    spec = EvalSpec(checkpoint="expert", episodes=2, seed=500, max_steps=40)

    def go(*, resume: bool, sha256: str = "a", until: int | None = None) -> tuple[ClosedLoopReport | None, int]:
        policy = Expert(robot)
        log = OutcomeLog(tmp_path, spec, checkpoint_sha256=sha256, resume=resume, videos=tmp_path)

        def keep(outcome: EpisodeOutcome) -> None:
            log.add(outcome)
            if outcome.seed == until:
                raise KeyboardInterrupt

        try:
            report = evaluate_closed_loop(
                spec, policy=policy, robot=robot, videos=tmp_path, finished=log.finished, on_episode=keep
            )
        except KeyboardInterrupt:
            return None, len(policy.asked)
        return report, len(policy.asked)

    try:
        whole, asked = go(resume=False)
        assert go(resume=False, until=500) == (None, asked // 2)
        with (tmp_path / OUTCOMES).open("a") as file:
            file.write('{"seed": 501, "succ')  # killed while it wrote
        report, again = go(resume=True)
        assert again == asked // 2
        assert whole is not None
        assert report is not None
        assert [(e.seed, e.success, e.reward, e.steps, e.reasoning) for e in report.episodes] == [
            (e.seed, e.success, e.reward, e.steps, e.reasoning) for e in whole.episodes
        ]
        assert read_outcomes(tmp_path / OUTCOMES) == list(report.episodes)
        assert go(resume=True)[1] == 0
        assert go(resume=True, sha256="b")[1] == asked, "another checkpoint"
        (tmp_path / "seed_501.mp4").unlink()
        assert go(resume=True, sha256="b")[1] == asked // 2, "its video is gone"
    finally:
        robot.disconnect()


def test_a_policy_that_does_not_fit_the_robot_is_refused() -> None:
    robot = AlohaSim(cameras=(CAMERA,))
    with pytest.raises(RobotError, match="aloha_sim has 14 actions, the checkpoint was trained with 10"):
        evaluate_closed_loop(EvalSpec(checkpoint="x"), policy=Expert(robot, action_dim=10), robot=robot)
    blind = AlohaSim(cameras=())
    with pytest.raises(RobotError, match="aloha_sim has no camera cam_high"):
        evaluate_closed_loop(EvalSpec(checkpoint="x"), policy=Expert(blind), robot=blind)


def test_the_interval_is_wilsons() -> None:
    """Figures of Wilson's interval from Brown, Cai and DasGupta (2001)."""
    result = rate(8, 10)
    assert (result.low, result.high) == pytest.approx((0.4901, 0.9433), abs=1e-3)
    assert rate(0, 10).low == 0
    assert rate(10, 10).high == pytest.approx(1)


class Instructed(Expert):
    """Lifts the cube that its instruction names, and no other; it remembers what it was told."""

    def __init__(self, robot: AlohaSim) -> None:
        super().__init__(robot)
        self.metadata = PolicyMetadata(
            cameras=(CAMERA,), action_dim=14, state_dim=14, chunk_size=20, fps=50, checkpoint="instructed"
        )
        self.told: dict[int, str] = {}

    def reset(self, seed: int) -> None:
        self._plan, self._step, self._seed = None, 0, seed

    def infer(self, observation: PolicyInput) -> ActionChunk:
        if self._plan is None:
            self.told[self._seed] = observation.instruction
            scene = self._robot.pick
            assert scene is not None
            colour = next(name for name in scene.places if name in observation.instruction)
            obeyed = replace(scene, named=colour)
            stage = SimpleNamespace(task=self._robot.task, pick=obeyed, model=self._robot.model, data=self._robot.data)
            self._plan = ScriptedExpert(AlohaTask.PICK_COLOUR, self._seed).plan(stage)
        return super().infer(observation)


def test_each_seed_has_its_own_instruction_and_lifting_another_cube_counts_as_wrong() -> None:
    """A policy that obeys succeeds on plain and swapped scenes; told the same for all seeds, it lifts the wrong cube
    where that is on the table and not meant."""
    told: dict[bool, dict[int, str]] = {}
    for swapped in (False, True):
        robot = AlohaSim(
            task=AlohaTask.PICK_COLOUR,
            cameras=(CAMERA,),
            pick=PickColourOptions(level=PickLevel.JITTER, swapped=swapped),
        )
        robot.connect()
        policy = Instructed(robot)
        spec = EvalSpec(checkpoint="instructed", task=AlohaTask.PICK_COLOUR, episodes=4, seed=700)
        report = evaluate_closed_loop(spec, policy=policy, robot=robot)
        told[swapped] = policy.told
        assert report.success_rate == 1.0
        assert report.wrong is not None
        assert (report.wrong.successes, report.wrong.trials) == (0, 4)
        for seed, instruction in policy.told.items():
            robot.reset(seed)
            assert instruction == robot.instruction
        robot.reset(700)
        scene = robot.pick
        assert scene is not None
        other = spec.model_copy(update={"episodes": 1, "instruction": f"Pick up the {scene.other} cube"})
        wrong = evaluate_closed_loop(other, policy=policy, robot=robot)
        robot.disconnect()
        assert wrong.success_rate == 0.0
        assert wrong.wrong is not None
        assert wrong.wrong.rate == 1.0
        (episode,) = wrong.episodes
        assert (episode.wrong, episode.held) == (True, False)
        assert episode.steps < 200, "an episode that is decided ends early"
        assert episode.reward == 0.0
    assert all(told[False][seed] != told[True][seed] for seed in told[False])
