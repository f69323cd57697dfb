"""DAgger in the simulator: a policy acts, the expert takes over when it strays, and only the correction is learnt."""

from pathlib import Path

import numpy as np
import pytest

from dexvla.act.policy import CheckpointPolicy
from dexvla.demo import demo_checkpoint
from dexvla.episodes.check import check_episodes
from dexvla.episodes.format import StepSource
from dexvla.episodes.manifest import build_manifest, find_set
from dexvla.episodes.reader import open_episode
from dexvla.evaluate.corrections import Correction, StrayDetector, collect_corrections
from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions, PickLevel
from dexvla.robots.base import TaskOutcome

pytestmark = pytest.mark.slow

FULL = np.full(14, 0.35, np.float32)


def outcome(reward: float) -> TaskOutcome:
    return TaskOutcome(reward=reward, success=False, held=False)


def strayed(detector: StrayDetector, *steps: tuple[np.ndarray, float]) -> list[str | None]:
    return [detector.strayed(qpos, outcome(reward)) for qpos, reward in steps]


def gripper(value: float) -> np.ndarray:
    qpos = FULL.copy()
    qpos[13] = value
    return qpos


def test_a_gripper_that_closes_on_nothing_is_noticed_and_one_that_starts_closed_is_not() -> None:
    detector = StrayDetector(patience=1000)
    assert strayed(detector, *[(gripper(0.0), 0.0)] * 50) == [None] * 50
    assert strayed(detector, (gripper(0.9), 0.0), *[(gripper(0.0), 0.0)] * 14) == [None] * 15
    assert strayed(detector, (gripper(0.0), 0.0)) == ["a gripper is closed on nothing"]
    assert strayed(detector, (gripper(0.35), 0.0)) == [None], "it has something"


def test_a_lost_object_and_a_standstill_are_noticed() -> None:
    assert strayed(StrayDetector(patience=1000), (FULL, 2.0), *[(FULL, 0.0)] * 15)[-1] == "an object was lost"
    still = StrayDetector(patience=100)
    assert strayed(still, *[(FULL, 0.0)] * 99, (FULL, 1.0), *[(FULL, 1.0)] * 99) == [None] * 199
    assert strayed(still, (FULL, 1.0)) == ["no progress"]


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Correction]]:
    """The demo policy on scenes that it was not trained for: cubes anywhere."""
    folder, found = tmp_path_factory.mktemp("corrections"), []
    policy = CheckpointPolicy.load(demo_checkpoint(), device="cpu")
    robot = AlohaSim(
        task=AlohaTask.PICK_COLOUR,
        cameras=policy.metadata.recorded_cameras,
        pick=PickColourOptions(level=PickLevel.ANYWHERE),
    )
    robot.connect()
    collect_corrections(policy, robot, range(700_000, 700_004), folder, on_episode=found.append)
    robot.disconnect()
    policy.close()
    return folder, found


def test_the_expert_ends_what_the_policy_cannot(corrected: tuple[Path, list[Correction]]) -> None:
    folder, found = corrected
    saved = [one for one in found if one.data is not None]
    assert len(saved) >= 1, [one.why for one in found]
    assert all(one.success and one.why for one in saved)
    assert len(list(folder.glob("*.hdf5"))) == len(saved)
    assert check_episodes(sorted(folder.glob("*.hdf5"))).ok


def test_only_the_correction_is_learnt(corrected: tuple[Path, list[Correction]]) -> None:
    folder, _ = corrected
    manifest, _ = build_manifest(find_set(str(folder)))
    for entry in manifest.episodes:
        with open_episode(entry.path) as episode:
            sources = episode.step_source
            assert sources is not None
            first = sources.index(StepSource.SCRIPTED)
            assert set(sources[:first]) == {StepSource.POLICY}
            assert set(sources[first:]) == {StepSource.SCRIPTED}
            assert episode.timestamp is not None
            np.testing.assert_allclose(np.diff(episode.timestamp), 0.02, atol=1e-9)
        assert [(stretch.start, stretch.end) for stretch in entry.learn] == [(first, entry.steps)]
        assert entry.success
