"""The task of a recording or an evaluation, as options of `dexvla record` and `dexvla eval`."""

from dexvla.spec import AlohaTask, TaskChoice


def task_options(choice: TaskChoice) -> list[str]:
    """Options of pick_colour are given to that task alone: the others refuse them."""
    task = ["--task", choice.task.value]
    if choice.task is not AlohaTask.PICK_COLOUR:
        return task
    pick = choice.pick
    swapped = ["--swapped"] if pick.swapped else []
    return [*task, "--level", pick.level.value, "--split", pick.split.value, *swapped]
