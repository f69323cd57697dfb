"""pick_colour: scenes, splits, the rule of success and the expert."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import AlohaSim, pick_colour
from dexvla.robots.aloha_sim.experts import ExpertStep, ScriptedExpert
from dexvla.robots.aloha_sim.live import LiveAlohaSim
from dexvla.robots.aloha_sim.options import AlohaTask, PickColourOptions, PickLevel, PickSplit
from dexvla.robots.aloha_sim.pick_colour import PickScene, draw_scene, in_held_out_cell
from dexvla.robots.base import TaskOutcome
from dexvla.robots.record import record
from dexvla.robots.registry import chosen
from dexvla.spec import CameraSpec, EvalSpec, RecordSpec

pytestmark = [pytest.mark.clockless, pytest.mark.slow]

PICK = AlohaTask.PICK_COLOUR
TABLE = (CameraSpec(name="cam_table", height=112, width=112),)
SEEDS = range(200)
LEVELS = pytest.mark.parametrize("level", list(PickLevel))


def scenes(level: PickLevel, split: PickSplit = PickSplit.ANY, *, swapped: bool = False) -> list[PickScene]:
    options = PickColourOptions(level=level, split=split, swapped=swapped)
    return [draw_scene(seed, options) for seed in SEEDS]


def picker(
    level: PickLevel = PickLevel.SPOTS, *, swapped: bool = False, cameras: tuple[CameraSpec, ...] = ()
) -> AlohaSim:
    robot = AlohaSim(task=PICK, cameras=cameras, pick=PickColourOptions(level=level, swapped=swapped))
    robot.connect()
    return robot


@pytest.fixture
def robot() -> Iterator[AlohaSim]:
    robot = picker()
    yield robot
    robot.disconnect()


def plan(robot: AlohaSim, seed: int) -> list[ExpertStep]:
    robot.reset(seed)
    return ScriptedExpert(PICK, seed).plan(robot)


def drawn(robot: AlohaSim) -> PickScene:
    scene = robot.pick
    assert scene is not None
    return scene


def cubes(robot: AlohaSim) -> dict[str, np.ndarray]:
    """Where the cubes on the table are now, (3,) metres each."""
    return {colour: robot.data.body(pick_colour.cube(colour)).xpos.copy() for colour in drawn(robot).places}


# --- scenes ---------------------------------------------------------------------------------------------------


@LEVELS
def test_a_scene_belongs_to_its_seed(level: PickLevel) -> None:
    robots = [picker(level), picker(level)]
    for seed in (7, 3, 7):
        for robot in robots:
            robot.reset(seed)
        assert robots[0].instruction == robots[1].instruction
        assert np.array_equal(robots[0].data.qpos, robots[1].data.qpos)
        places = {colour: tuple(place[:2]) for colour, place in cubes(robots[0]).items()}
        assert places == drawn(robots[0]).places, "the cubes lie where the scene says"
    assert len({str(scene) for scene in scenes(level)}) > len(SEEDS) // 4


@LEVELS
@pytest.mark.parametrize("split", list(PickSplit))
def test_every_colour_is_named_on_either_side_and_the_instruction_says_no_other(
    level: PickLevel, split: PickSplit
) -> None:
    found = scenes(level, split)
    assert {scene.named for scene in found} == set(pick_colour.COLOURS)
    left = np.mean([scene.places[scene.named][1] > scene.places[scene.other][1] for scene in found])
    assert 0.35 < left < 0.65, "the colour alone must not give the place away"
    for scene in found:
        assert len(scene.places) == (3 if level is PickLevel.ANYWHERE else 2)
        assert {scene.named, scene.other} < set(scene.places) or {scene.named, scene.other} == set(scene.places)
        said = {colour for colour in pick_colour.COLOURS if colour in scene.instruction}
        assert said == {scene.named}


def test_cubes_lie_where_the_level_says() -> None:
    spots = {place for scene in scenes(PickLevel.SPOTS) for place in scene.places.values()}
    assert spots == {(0.10, 0.42), (0.10, 0.58)}
    jitter = np.array([place for scene in scenes(PickLevel.JITTER) for place in scene.places.values()])
    away = np.abs(jitter[:, None] - np.array(sorted(spots))).max(axis=2).min(axis=1)
    assert 0.025 < away.max() <= 0.03
    anywhere = np.array([place for scene in scenes(PickLevel.ANYWHERE) for place in scene.places.values()])
    np.testing.assert_allclose(np.ptp(anywhere, axis=0), [0.2, 0.24], atol=0.01)


@pytest.mark.parametrize("level", [PickLevel.JITTER, PickLevel.ANYWHERE])
@pytest.mark.parametrize("swapped", [False, True])
def test_held_out_places_are_a_fifth_and_never_named_in_training(level: PickLevel, swapped: bool) -> None:
    def held_out(split: PickSplit) -> list[bool]:
        return [in_held_out_cell(np.array(s.places[s.named])) for s in scenes(level, split, swapped=swapped)]

    assert not any(held_out(PickSplit.TRAINING))
    assert all(held_out(PickSplit.HELD_OUT))
    assert 0.1 < np.mean(held_out(PickSplit.ANY)) < 0.3


def test_phrasings_of_training_are_never_heard_in_the_held_out_split() -> None:
    heard = {
        split: {scene.instruction.replace(scene.named, "{}") for scene in scenes(PickLevel.SPOTS, split)}
        for split in PickSplit
    }
    assert (len(heard[PickSplit.TRAINING]), len(heard[PickSplit.HELD_OUT])) == (8, 3)
    assert not heard[PickSplit.TRAINING] & heard[PickSplit.HELD_OUT]
    assert heard[PickSplit.ANY] == heard[PickSplit.TRAINING]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused_here_too(robot: AlohaSim, seed: int) -> None:
    with pytest.raises(RobotError, match="seed"):
        robot.reset(seed)


def test_options_for_a_task_that_has_none_are_refused() -> None:
    jitter = PickColourOptions(level=PickLevel.JITTER)
    options = jitter.model_dump(mode="json")
    with pytest.raises(RobotError, match="options of pick_colour; insertion has none"):
        chosen("aloha_sim", RecordSpec(task=AlohaTask.INSERTION, options=options))
    with pytest.raises(RobotError, match="swapped is an option of pick_colour; transfer_cube has none"):
        chosen("aloha_sim", EvalSpec(checkpoint="x", options={"swapped": True}))
    with pytest.raises(RobotError, match=r"pick_colour: level.*'moon'"):
        chosen("aloha_sim", RecordSpec(task=PICK, options={"level": "moon"}))
    with pytest.raises(RobotError, match="no task 'juggle'; it has transfer_cube, insertion, pick_colour"):
        chosen("aloha_sim", RecordSpec(task="juggle"))
    assert chosen("aloha_sim", RecordSpec(task=PICK, options={"level": "jitter"})).options == options


def test_specs_of_earlier_versions_are_read() -> None:
    """Their one task with options had a field of its own, which was written for the other tasks, too."""
    plain, jitter = (PickColourOptions(level=level).model_dump(mode="json") for level in ("spots", "jitter"))
    old = {"robot": "aloha_sim", "task": "pick_colour", "pick": jitter, "recovery": None, "episodes": 3, "seed": 5}
    assert RecordSpec.model_validate(old) == RecordSpec(task=PICK, options=jitter, episodes=3, seed=5)
    assert EvalSpec.model_validate({"checkpoint": "x", "task": "insertion", "pick": plain}).options == {}
    assert chosen("aloha_sim", RecordSpec.model_validate({"task": "transfer_cube", "pick": plain})).options == {}
    strange = RecordSpec.model_validate({"task": "insertion", "pick": jitter})
    with pytest.raises(RobotError, match="insertion has none"):
        chosen("aloha_sim", strange)
    with pytest.raises(ValueError, match="pick: expected the options of pick_colour by name, found 3"):
        RecordSpec.model_validate({"task": "pick_colour", "pick": 3})


@LEVELS
def test_swapped_names_the_other_cube_in_the_very_same_image(level: PickLevel) -> None:
    plain, swapped = (picker(level, swapped=swapped, cameras=TABLE) for swapped in (False, True))
    for seed in range(3):
        images = [robot.reset(seed).frames["cam_table"].image for robot in (plain, swapped)]
        assert np.array_equal(images[0], images[1])
        one, other = drawn(plain), drawn(swapped)
        assert (one.named, one.other) == (other.other, other.named)
        assert plain.instruction.replace(one.named, other.named) == swapped.instruction
    plain.disconnect()
    swapped.disconnect()


def test_the_table_camera_shows_each_cube_at_its_place() -> None:
    """In the image the arm's side is up and the left arm's left: from a cube's pixels follows its place within a few
    millimetres, which is what the camera is for."""
    robot = picker(PickLevel.ANYWHERE, cameras=TABLE)
    pixels, metres = [], []
    for seed in range(20):
        image = robot.reset(seed).frames["cam_table"].image.astype(float)
        for colour, place in drawn(robot).places.items():
            seen = np.argwhere(_pixels_of(colour, image))
            assert len(seen) > 60, f"seed {seed}: {len(seen)} pixels of the {colour} cube"
            pixels.append(seen.mean(axis=0))
            metres.append(place)
    robot.disconnect()
    rows, columns = np.array(pixels).T
    assert np.corrcoef(rows, [x for x, _ in metres])[0, 1] < -0.95
    assert np.corrcoef(columns, [y for _, y in metres])[0, 1] < -0.95
    # Perspective is a ratio of linear terms; a quadratic fit comes near enough.
    terms = np.stack([np.ones_like(rows), rows, columns, rows**2, columns**2, rows * columns], axis=1)
    fitted = terms @ np.linalg.lstsq(terms, np.array(metres), rcond=None)[0]
    assert np.linalg.norm(fitted - metres, axis=1).mean() < 0.004


def _pixels_of(colour: str, image: np.ndarray) -> np.ndarray:
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return np.asarray(
        {
            "red": (red > 100) & (green < 0.45 * red) & (blue < 0.45 * red),
            "green": (green > 90) & (red < 0.45 * green) & (blue < 0.6 * green),
            "blue": (blue > 100) & (red < 0.45 * blue) & (green < 0.5 * blue),
            "yellow": (red > 110) & (green > 0.75 * red) & (blue < 0.45 * red),
        }[colour]
    )


def test_the_live_robot_shows_the_same_scene() -> None:
    options = PickColourOptions(level=PickLevel.ANYWHERE)
    live = LiveAlohaSim(task=PICK, cameras=TABLE, pick=options)
    plain = AlohaSim(task=PICK, cameras=TABLE, pick=options)
    live.connect()
    plain.connect()
    try:
        for seed in (4, 9):
            shown, rendered = live.reset(seed), plain.reset(seed)
            assert live.instruction == plain.instruction
            assert np.array_equal(shown.frames["cam_table"].image, rendered.frames["cam_table"].image)
    finally:
        live.disconnect()
        plain.disconnect()


# --- the rule -------------------------------------------------------------------------------------------------


def test_lifting_the_named_cube_is_success_and_held(robot: AlohaSim) -> None:
    steps = plan(robot, 0)
    assert robot.outcome() == TaskOutcome(reward=0.0, success=False, held=False, wrong=False)
    rewards = []
    for step in steps:
        robot.act(step.action)
        rewards.append(robot.outcome().reward)
        if rewards[-1] == 2.0:
            height = cubes(robot)[drawn(robot).named][2]
            assert height >= pick_colour.REST + pick_colour.LIFTED
    assert robot.outcome() == TaskOutcome(reward=2.0, success=True, held=True, wrong=False)
    assert rewards.index(1.0) < rewards.index(2.0)
    assert (robot.max_reward, robot.max_steps) == (2.0, 250)


def test_lifting_another_cube_first_is_a_failure_for_good(robot: AlohaSim) -> None:
    """The wrong cube is lifted and put back, then the named one is lifted: still a failure, until the next reset."""
    swapped = picker(swapped=True)
    there = [step.action for step in plan(swapped, 5)]
    swapped.disconnect()
    named_way = [step.action for step in plan(robot, 5)]
    for action in there:
        robot.act(action)
        assert not robot.outcome().success
    assert robot.outcome() == TaskOutcome(reward=0.0, success=False, held=False, wrong=True)
    for action in [*reversed(there), *named_way]:
        robot.act(action)
    heights = {colour: place[2] for colour, place in cubes(robot).items()}
    assert heights[drawn(robot).named] > 0.1, "the named cube is up in the end"
    assert heights[drawn(robot).other] < 0.03, "and the other one down"
    assert robot.outcome() == TaskOutcome(reward=0.0, success=False, held=False, wrong=True)
    robot.reset(5)
    assert robot.outcome().wrong is False


def test_what_comes_after_success_is_not_wrong_but_no_longer_held(robot: AlohaSim) -> None:
    for step in plan(robot, 1):
        robot.act(step.action)
    dropping = robot.observe().qpos.copy()
    dropping[13] = 1.0
    for _ in range(60):
        robot.act(dropping)
    assert robot.outcome() == TaskOutcome(reward=0.0, success=True, held=False, wrong=False)


# --- the expert -----------------------------------------------------------------------------------------------


@LEVELS
@pytest.mark.parametrize("swapped", [False, True])
def test_the_expert_lifts_the_named_cube_and_disturbs_no_other(level: PickLevel, swapped: bool) -> None:
    robot = picker(level, swapped=swapped)
    for seed in range(12):
        steps = plan(robot, seed)
        before = cubes(robot)
        for step in steps:
            robot.act(step.action)
        assert robot.outcome() == TaskOutcome(reward=2.0, success=True, held=True, wrong=False)
        moved = {colour: np.linalg.norm(place - before[colour]) for colour, place in cubes(robot).items()}
        assert moved.pop(drawn(robot).named) > 0.08
        assert max(moved.values()) < 0.01
    robot.disconnect()


def test_the_plan_names_the_colour_stays_smooth_and_leaves_the_left_arm_alone(robot: AlohaSim) -> None:
    info = robot.info
    lengths, boundaries = [], []
    for seed in range(20):
        start = robot.reset(seed).qpos
        steps = plan(robot, seed)
        named = drawn(robot).named
        segments = [(text, len(list(group))) for text, group in groupby(step.substep for step in steps)]
        assert [text for text, _ in segments] == [
            f"Reach for the {named} cube",
            f"Lower the gripper over the {named} cube",
            f"Close the gripper on the {named} cube",
            f"Lift the {named} cube",
        ]
        actions = np.array([step.action for step in steps])
        assert (actions[:, :7] == actions[0, :7]).all(), "constant to the bit: noise would be blown up by normalisation"
        np.testing.assert_allclose(actions[0, :7], start[:7], atol=1e-6)
        assert (actions >= info.action_low).all()
        assert (actions <= info.action_high).all()
        assert (np.abs(np.diff(actions[:, 7:13], axis=0)) * info.control_hz).max() < np.pi
        lengths.append(len(steps))
        boundaries.append(segments[0][1])
    assert min(lengths) >= 110
    assert max(lengths) <= 170
    assert np.ptp(boundaries) >= 10, "the time alone must not tell the phase"


def test_recordings_of_the_same_seed_differ_by_the_options_alone(tmp_path: Path) -> None:
    """A demonstration of the swapped scene begins with the same image and goes for the other cube."""
    from dexvla.episodes.reader import open_episode

    found = []
    for swapped in (False, True):
        options = PickColourOptions(level=PickLevel.JITTER, split=PickSplit.TRAINING, swapped=swapped)
        spec = RecordSpec(task=PICK, pick=options, episodes=1, seed=40, cameras=TABLE)
        result = record(spec, tmp_path / str(swapped))
        assert (result.kept, result.held) == ((40,), 1)
        with open_episode(result.paths[0]) as episode:
            found.append((episode.instruction, episode.frame("cam_table", 0), episode.action[-1]))
    (told, image, last), (other_told, other_image, other_last) = found
    assert told != other_told
    assert np.array_equal(image, other_image)
    assert abs(last[7] - other_last[7]) > 0.2, "the waist turns to the other side"
