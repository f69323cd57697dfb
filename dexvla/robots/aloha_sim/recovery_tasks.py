"""What the recovering experts do, a task each: look at who holds what, take the next stretch of the way, look again."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dexvla.robots.aloha_sim import pick_colour
from dexvla.robots.aloha_sim.driver import AlohaSim
from dexvla.robots.aloha_sim.experts import CLOSED, OPEN, Hand
from dexvla.robots.aloha_sim.hands import Steps, Thing, together, until
from dexvla.robots.aloha_sim.ik import SIDES
from dexvla.robots.aloha_sim.options import AlohaTask
from dexvla.robots.aloha_sim.recovery import AGAIN, Course

_CUBE = Thing("box", ("red_box",), np.pi / 2)
_PEG = Thing("peg", ("red_peg",), np.pi)
_SOCKET = Thing("socket", ("socket-1", "socket-2", "socket-3", "socket-4"), np.pi)
_TAKEN_WITHIN = 0.03  # metres


def transfer_cube(course: Course) -> Steps:
    """The right arm picks the cube up from above; the left one takes it level, its fingers above and below."""
    hands = course.hands
    meet = np.array([0.0, 0.5, 0.25]) + course.around(0.02, 0.02, 0.02)
    pitch, level = course.angle(63, 4), course.angle(0, 4)
    wait = Hand(meet, level, np.pi / 2, OPEN).moved(x=-0.1)
    texts = ("Reach for the red cube with the right arm", "Grasp the red cube with the right gripper")
    while True:
        if hands.holds("left", _CUBE):
            yield from _release(course)
            if hands.holds("left", _CUBE) and course.robot.outcome().held:
                return
        elif hands.holds("right", _CUBE):
            yield from _hand_over(course, meet, wait)
        elif not hands.rests(_CUBE) and any(hands.touches(side, _CUBE) for side in SIDES):
            yield from _in_between(course, wait)
        else:
            picking = course.pick("right", _CUBE, pitch=pitch, grip=0.012, texts=texts)
            yield from together(picking, course.move("left", wait))


def _hand_over(course: Course, meet: NDArray[np.float64], wait: Hand) -> Steps:
    """The right gripper has the cube; ends when the left one has it too, or nobody."""
    hands = course.hands

    def lost() -> bool:
        return not hands.holds("right", _CUBE)

    course.substeps["right"] = "Bring the cube to the left gripper"
    hand = hands.hand("right")
    # The cube, wherever it is between the fingers, comes to the meeting point.
    held = hand.position - hands.place(_CUBE).position
    goal = Hand(meet + held, hand.pitch, 0.0, CLOSED)
    bring = together(course.straight("right", goal), course.move("left", wait))
    if course.due("slip"):
        yield from _slip(course, "right", bring, course.random.uniform(0.1, 0.6))
        return
    if not (yield from until(bring, lost)) or not (yield from until(course.settle(10), lost)):
        return
    course.substeps["right"] = "Grasp the cube with the left gripper"
    take = Hand(hands.place(_CUBE).position, wait.pitch, wait.roll, OPEN)
    hands.near.update(("left", "right"))
    try:
        if course.due("miss"):
            with course.going_astray():
                short = take.moved(*course.around(0.0, 0.03, 0.03)).moved(x=-course.random.uniform(0.03, 0.05))
                yield from hands.straight("left", short)
                yield from hands.grip("left", CLOSED)
                yield from hands.stay(10)
        else:
            there = yield from until(course.straight("left", take), lost)
            if not there or not (yield from until(course.settle(8), lost)):
                return
            yield from until(course.close("left", _CUBE), lost)
        if not hands.holds("left", _CUBE):
            course.substeps["right"] = ""
            yield from course.open_again("left")
            yield from course.straight("left", wait)
            course.substeps["left"] = ""
    finally:
        hands.near.clear()


def _release(course: Course) -> Steps:
    hands = course.hands
    course.substeps["right"] = "Release the cube from the right gripper"
    hands.near.update(("left", "right"))
    if hands.grippers[1] < OPEN:
        yield from hands.grip("right", OPEN)
        yield from course.settle(14)
    hands.near.clear()
    course.substeps["right"] = "Move the cube away with the left arm"
    left, right = hands.hand("left"), hands.hand("right")
    away = together(course.straight("left", left.moved(x=-0.1)), course.straight("right", right.moved(x=0.1, z=0.03)))
    if (yield from until(away, lambda: not hands.holds("left", _CUBE))):
        yield from course.settle(10)


def _in_between(course: Course, wait: Hand) -> Steps:
    """The cube hangs in fingers that do not hold it: the left ones close if it is theirs, else it is let go."""
    hands = course.hands
    if hands.away("left", _CUBE) < _TAKEN_WITHIN and hands.touches("left", _CUBE):
        course.substeps["right"] = "Grasp the cube with the left gripper"
        yield from course.close("left", _CUBE)
        if hands.holds("left", _CUBE):
            return
    course.substeps["right"] = AGAIN
    yield from together(*(hands.grip(side, OPEN) for side in SIDES), course.settle(10))
    yield from together(course.straight("left", wait), course.settle(15))
    course.substeps["right"] = ""


def _slip(course: Course, side: str, lifting: Steps, part: float) -> Steps:
    """The grip opens on the way, on purpose; sometimes it closes on nothing afterwards."""
    hands = course.hands
    for number, _ in enumerate(lifting):
        yield
        if number >= 40 * part:
            break
    lifting.close()
    with course.going_astray():
        yield from hands.grip(side, course.random.uniform(0.6, 0.85), steps=6)
        yield from hands.stay(12)
        if course.random.random() < 0.5:
            yield from hands.grip(side, CLOSED, steps=8)
        yield from hands.stay(6)


def pick_named(course: Course) -> Steps:
    """The right arm lifts the cube that the instruction names."""
    scene, hands = course.robot.pick, course.hands
    assert scene is not None
    name = f"the {scene.named} cube"
    (cube,) = things(course.robot)
    pitch = course.angle(63, 4)
    texts = (f"Reach for {name}", f"Close the gripper on {name}")
    while True:
        if not hands.holds("right", cube):
            yield from course.pick("right", cube, pitch=pitch, grip=0.012, texts=texts)
            continue
        course.substeps["right"] = f"Lift {name}"
        up = hands.hand("right").moved(*course.around(0.01, 0.01, 0.01)).moved(z=0.12)
        lift = course.straight("right", up)
        if course.due("slip"):
            yield from _slip(course, "right", lift, course.random.uniform(0.2, 0.7))
        elif (yield from until(lift, lambda: not hands.holds("right", cube))):
            yield from course.settle(15)
            if course.robot.outcome().held:
                return


def insertion(course: Course) -> Steps:
    """Each arm lifts its object by the middle; they meet, and the peg is pushed in until it touches the pin."""
    hands = course.hands
    course.joined = _both
    meet = np.array([0.0, 0.5, 0.17]) + course.around(0.02, 0.02, 0.02)
    pitches = {"left": course.angle(63, 3), "right": course.angle(61, 3)}
    apart = 0.2 + course.random.uniform(-0.01, 0.02)
    while True:
        if not (hands.holds("left", _SOCKET) and hands.holds("right", _PEG)):
            yield from together(
                course.pick("left", _SOCKET, pitch=pitches["left"], grip=0.008, texts=_texts("the socket", "left")),
                course.pick("right", _PEG, pitch=pitches["right"], grip=0.015, texts=_texts("the peg", "right")),
            )
            continue
        yield from _meet_and_insert(course, meet, apart)
        if course.robot.outcome().held:
            return


def _meet_and_insert(course: Course, meet: NDArray[np.float64], apart: float) -> Steps:
    """Both are held; ends when one is not, or when the peg was pushed."""
    hands = course.hands

    def lost() -> bool:
        return not (hands.holds("left", _SOCKET) and hands.holds("right", _PEG))

    course.substeps.update(left="", right="Align the peg with the socket")
    beside = np.array([apart, 0.0, 0.0])
    socket_at, peg_at = meet - beside / 2, meet + beside / 2
    align = together(
        course.straight("left", _carrying(course, "left", _SOCKET, socket_at)),
        course.straight("right", _carrying(course, "right", _PEG, peg_at)),
    )
    if course.due("slip"):
        side = "left" if course.random.random() < 0.5 else "right"
        yield from _slip(course, side, align, course.random.uniform(0.15, 0.35))
        return
    if not (yield from until(align, lost)):
        return
    hands.near.update(("left", "right"))
    try:
        if not (yield from until(course.settle(12), lost)):
            return
        # What the lag, a crooked grip and the noise have left between the axes of peg and socket.
        socket = hands.place(_SOCKET)
        right = _carrying(course, "right", _PEG, socket.position + beside, yaw=socket.yaw)
        if not (yield from until(together(course.straight("right", right), course.settle(12)), lost)):
            return
        course.substeps["right"] = "Insert the peg into the socket"
        push = (apart - 0.09) / 2
        left, right = hands.hand("left"), hands.hand("right")
        insert = together(course.straight("left", left.moved(x=push)), course.straight("right", right.moved(x=-push)))
        if (yield from until(insert, lost)):
            yield from until(course.settle(30), lambda: bool(course.robot.outcome().held))
            if not course.robot.outcome().held:
                yield from hands.stay(6)
    finally:
        hands.near.clear()


def _carrying(course: Course, side: str, thing: Thing, goal: NDArray[np.float64], *, yaw: float = 0.0) -> Hand:
    """Where the hand has to be for what it holds to be at `goal`, turned by `yaw`."""
    place, pinch, hand = course.hands.place(thing), course.hands.pinch(side), course.hands.hand(side)
    turn = yaw - place.yaw
    held = pinch[:3] - place.position
    turned = np.array(
        [np.cos(turn) * held[0] - np.sin(turn) * held[1], np.sin(turn) * held[0] + np.cos(turn) * held[1]]
    )
    return Hand(goal + np.array([*turned, held[2]]), hand.pitch, hand.roll, CLOSED, hand.yaw + turn)


def _texts(thing: str, side: str) -> tuple[str, str]:
    return (f"Reach for {thing} with the {side} arm", f"Grasp {thing} with the {side} gripper")


def _both(substeps: Mapping[str, str]) -> str:
    """Two hands at work make one substep, that of the one that is behind; a gripper that has to open comes first."""
    working = [text for text in (substeps["right"], substeps["left"]) if text]
    if AGAIN in working:
        return AGAIN
    if any(text.startswith("Reach") for text in working):
        return working[0] if len(working) == 1 else "Reach for the peg and the socket"
    if any(text.startswith("Grasp") for text in working):
        return "Grasp the peg and the socket"
    return substeps["right"]


def things(robot: AlohaSim) -> tuple[Thing, ...]:
    """What the expert of a robot's task takes into its hands."""
    if robot.task is AlohaTask.TRANSFER_CUBE:
        return (_CUBE,)
    if robot.task is AlohaTask.INSERTION:
        return (_SOCKET, _PEG)
    assert robot.pick is not None
    body = pick_colour.cube(robot.pick.named)
    return (Thing(body, (body,), np.pi / 2),)


SCRIPTS: dict[AlohaTask, Callable[[Course], Steps]] = {
    AlohaTask.TRANSFER_CUBE: transfer_cube,
    AlohaTask.INSERTION: insertion,
    AlohaTask.PICK_COLOUR: pick_named,
}
