"""The scripts of recipes/ that label data: the same scene has the same words, however it came to be recorded."""

import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from dexvla.robots.aloha_sim import AlohaSim
from dexvla.robots.aloha_sim.demonstrations import apply, demonstrate, prepare
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.spec import EpisodeEntry, RecoveryOptions
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

FOLDER = ROOT / "recipes" / "recovery"


@pytest.fixture
def recovery() -> Iterator[tuple[ModuleType, ModuleType]]:
    """recipes/recovery/manifests.py and corrections.py."""
    sys.path.insert(0, str(FOLDER))
    try:
        import corrections
        import manifests

        yield manifests, corrections
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("manifests", "corrections"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize("task", [AlohaTask.TRANSFER_CUBE, AlohaTask.INSERTION])
def test_corrections_have_the_labels_that_demonstrations_have(
    recovery: tuple[ModuleType, ModuleType], task: AlohaTask
) -> None:
    """Also where a gripper has just closed, which shows over several steps only."""
    manifests, corrections = recovery
    robot = AlohaSim(task=task, cameras=())
    robot.connect()
    shown = demonstrate(robot, 3, RecoveryOptions())
    moments = shown.moments
    entry = EpisodeEntry(path="episode_0.hdf5", identity="v2:0", steps=len(moments), sim=True, instruction="x", seed=3)
    seen = manifests.replayed(robot, entry, np.stack([moment.action for moment in moments]))
    expected = [manifests.label(moment.substep, step) for moment, step in zip(moments, seen, strict=True)]
    prepare(robot, 3, shown.before)
    label, found = corrections.labeller(robot), []
    for moment in moments:
        found.append(label(moment))
        apply(robot, moment)
    robot.disconnect()
    assert found == expected
    grasping = [text for text in expected if text.startswith("Grasp")]
    assert any(" at x " in text for text in grasping)
    assert any(" at x " not in text for text in grasping), "nothing was held"
