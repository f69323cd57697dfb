"""The folder of a run: what pruning keeps is what resuming needs."""

from pathlib import Path

from dexvla.spec import step_name
from dexvla.train.runs import CHECKPOINT_MANIFEST, Run, steps_of


def save(folder: Path, step: int) -> None:
    (folder / step_name(step)).mkdir(parents=True)
    (folder / step_name(step) / CHECKPOINT_MANIFEST).write_text("{}")


def test_a_state_without_its_checkpoint_does_not_push_out_the_one_to_resume(tmp_path: Path) -> None:
    """Killed between the two files of step 30, resumed from 20, stopped at 25."""
    run = Run(tmp_path)
    for folder, steps in ((run.checkpoints, (10, 20, 25)), (run.states, (20, 30, 25))):
        for step in steps:
            save(folder, step)
    run.prune(keep=2)
    assert steps_of(run.checkpoints) == [20, 25]
    assert steps_of(run.states) == [25]
    assert run.resumable_step() == 25


def test_the_state_stays_if_the_newest_checkpoint_is_no_place_to_go_on_from(tmp_path: Path) -> None:
    run = Run(tmp_path)
    save(run.checkpoints, 10)
    save(run.states, 10)
    save(run.checkpoints, 20)
    run.prune(keep=2)
    assert run.resumable_step() == 10
