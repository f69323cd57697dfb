"""Scripted experts that recover: they look at every step, go on from whatever state they find, and mishaps befall them.

What an expert does next follows from where the objects are and which gripper holds them, so a shoved object is gone
after, an empty grip opens and tries again, and a dropped object is picked up anew. A mishap is acted out on purpose
(`StepSource.DISTURBANCE`): the hand closes beside its object, or lets it go, or the object is shoved. Noise is added
to what is executed, while the action to learn is the one without it (DART, arXiv 1703.09327).
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes.format import StepSource
from dexvla.errors import RobotError
from dexvla.robots.aloha_sim import pick_colour
from dexvla.robots.aloha_sim.driver import AlohaSim
from dexvla.robots.aloha_sim.experts import CLOSED, OPEN, Hand
from dexvla.robots.aloha_sim.hands import Hands, Place, Steps, Thing, opened, until
from dexvla.robots.aloha_sim.ik import SIDES
from dexvla.spec import RecoveryOptions

AGAIN = "Open the gripper and try again"

_ABOVE = 0.08  # metres over a grasp, from where the hand is lowered
_MOVED = 0.006  # metres; a thing that lies this far from where it was is gone after
_BESIDE = 0.012  # metres; a low hand that is further off is raised before it moves over
_SHOVE = (0.01, 0.03)  # metres
_SHOVE_STEPS = (8, 14)
_WITHIN_REACH = np.array([[-0.23, 0.37], [0.23, 0.63]])  # metres; nothing is shoved further
_CUBES_APART = 0.1  # metres, between the centres of cubes after a shove
_MISSED_BY = (0.025, 0.05)  # metres
_TRIED_WITHIN = 0.12  # metres; a gripper this near an object that is neither open nor holds it has missed it
_WAIT_STEPS = 30  # for the other arm
_FALL_STEPS = 60
_PACE = 0.15  # each movement is up to this part faster or slower than its episode


@dataclass(frozen=True, kw_only=True)
class Shove:
    """A push from outside during one step: `AlohaSim.shove`'s arguments."""

    body: str
    offset: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One control step. action: (14,) what a policy is to learn; sent: (14,) what is executed, with noise.

    shove: what happens to the scene before it.
    """

    action: NDArray[np.float32]
    sent: NDArray[np.float32]
    substep: str
    source: StepSource
    shove: Shove | None = None


@dataclass(frozen=True, kw_only=True)
class Mishaps:
    """What is to befall an episode. Each happens once."""

    push: bool = False
    miss: bool = False
    slip: bool = False

    @classmethod
    def drawn(cls, random: np.random.Generator, options: RecoveryOptions) -> "Mishaps":
        push, miss, slip = random.random(3)
        return cls(push=bool(push < options.push), miss=bool(miss < options.miss), slip=bool(slip < options.slip))


def _own_text(substeps: Mapping[str, str]) -> str:
    """Of two arms' substeps the right one's, unless a gripper has to open."""
    texts = [text for text in (substeps["right"], substeps["left"]) if text]
    return AGAIN if AGAIN in texts else next(iter(texts), "")


@dataclass
class Course:
    """One demonstration under way: what the scripts of the tasks are made of.

    substeps: the substep of each arm. joined: makes one text of them.
    """

    robot: AlohaSim
    random: np.random.Generator
    hands: Hands
    mishaps: Mishaps
    joined: Callable[[Mapping[str, str]], str] = _own_text
    substeps: dict[str, str] = field(default_factory=lambda: dict.fromkeys(SIDES, ""))
    happened: list[str] = field(default_factory=list)
    astray: bool = False
    shoves: Iterator[Shove] = field(default_factory=lambda: iter(()))
    shoving: bool = False
    tried: set[str] = field(default_factory=set)  # sides that have closed on something
    ready: set[str] = field(default_factory=set)  # sides that are about to

    # --- chance -------------------------------------------------------------------------------------------------

    def around(self, *spread: float) -> NDArray[np.float64]:
        return np.array([self.random.uniform(-s, s) for s in spread])

    def angle(self, degrees: float, spread: float) -> float:
        return float(np.deg2rad(degrees + self.random.uniform(-spread, spread)))

    def due(self, name: str) -> bool:
        """Whether a mishap of that name is to happen and has not yet; then it happens now."""
        if name in self.happened or not getattr(self.mishaps, name):
            return False
        self.happened.append(name)
        return True

    @contextmanager
    def going_astray(self) -> Iterator[None]:
        """Steps that nobody is to learn."""
        self.astray = True
        try:
            yield
        finally:
            self.astray = False

    def push(self, thing: Thing) -> None:
        """The thing slides by 1 to 3 cm from the next step on, if there is room."""
        place = self.hands.place(thing).position[:2]
        scene = self.robot.pick
        cubes = [pick_colour.cube(colour) for colour in (scene.places if scene is not None else ())]
        others = [self.robot.data.body(cube).xpos[:2] for cube in cubes if cube != thing.body]
        for _ in range(50):
            angle, distance = self.random.uniform(0, 2 * np.pi), self.random.uniform(*_SHOVE)
            offset = distance * np.array([np.cos(angle), np.sin(angle)])
            within = (place + offset > _WITHIN_REACH[0]).all() and (place + offset < _WITHIN_REACH[1]).all()
            if within and all(np.linalg.norm(place + offset - other) > _CUBES_APART for other in others):
                steps = int(self.random.integers(*_SHOVE_STEPS))
                self.shoves, self.shoving = iter([Shove(body=thing.body, offset=offset / steps)] * steps), True
                return

    # --- movements ----------------------------------------------------------------------------------------------

    def pace(self, side: str, goal: Hand) -> int:
        """Steps of a movement: by its length, and a little at random."""
        return max(4, round(self.hands.steps(side, goal) * self.random.uniform(1 - _PACE, 1 + _PACE)))

    def move(self, side: str, goal: Hand) -> Steps:
        return self.hands.move(side, goal, steps=self.pace(side, goal))

    def straight(self, side: str, goal: Hand) -> Steps:
        return self.hands.straight(side, goal, steps=self.pace(side, goal))

    def settle(self, steps: float) -> Steps:
        return self.hands.stay(max(4.0, steps / self.hands.tempo))

    def close(self, side: str, thing: Thing) -> Steps:
        """Close and wait until the grip is firm, 0.4 s at most."""
        yield from self.hands.grip(side, CLOSED)
        yield from until(self.hands.stay(18), lambda: self.hands.holds(side, thing))
        yield from self.hands.stay(4)

    def open_again(self, side: str) -> Steps:
        self.substeps[side] = AGAIN
        yield from self.hands.grip(side, OPEN, steps=max(8, round(14 / self.hands.tempo)))

    def pick(self, side: str, thing: Thing, *, pitch: float, grip: float, texts: tuple[str, str]) -> Steps:
        """From wherever the hand is until it holds the thing. grip: pinch point above its centre, metres; texts: of
        reaching and grasping."""
        hands = self.hands

        def on(place: Place) -> Hand:
            return Hand(place.position + np.array([0.0, 0.0, grip]), pitch, 0.0, OPEN, place.yaw)

        while not hands.holds(side, thing):
            if not opened(hands.hand(side)) and self._has_tried(side, thing):
                yield from self.open_again(side)
                yield from self._raise(side, thing)
            self.substeps[side] = texts[0]
            place = yield from self._go_over(side, thing, on)
            hands.near.add(side)
            if self.due("miss"):
                with self.going_astray():
                    yield from self._miss(side, on(place))
            else:
                script = self._lower_and_close(side, thing, on(place), texts[1])
                yield from until(script, lambda place=place: self._gone(side, thing, place))  # type: ignore[misc]
            hands.near.discard(side)
            self.ready.discard(side)
        self.substeps[side] = ""

    def _has_tried(self, side: str, thing: Thing) -> bool:
        """Whether a gripper that is not open is so because a grip went wrong, as far as the scene tells."""
        way = self.hands.hand(side).position - self.hands.place(thing).position
        return side in self.tried or float(np.linalg.norm(way)) < _TRIED_WITHIN

    def _lower_and_close(self, side: str, thing: Thing, goal: Hand, grasp: str) -> Steps:
        yield from self.straight(side, goal)
        yield from self.settle(8)
        self.ready.add(side)
        other = next(each for each in SIDES if each != side)
        if self.substeps[other]:  # two arms that reach at the same time close at the same time
            yield from until(self.hands.stay(_WAIT_STEPS), lambda: other in self.ready or not self.substeps[other])
        self.substeps[side] = grasp
        self.tried.add(side)
        yield from self.close(side, thing)

    def _miss(self, side: str, goal: Hand) -> Steps:
        """Close where the fingers have nothing between them: in front of the thing, behind it or to its side."""
        angle, distance = self.random.uniform(0, 2 * np.pi), self.random.uniform(*_MISSED_BY)
        beside = goal.moved(distance * np.cos(angle), distance * np.sin(angle))
        self.tried.add(side)
        yield from self.hands.straight(side, beside.moved(z=_ABOVE / 2))
        yield from self.hands.straight(side, beside)
        yield from self.hands.grip(side, CLOSED)
        yield from self.hands.stay(10)

    def _raise(self, side: str, thing: Thing) -> Steps:
        """Straight up, if the hand is low."""
        hand, low = self.hands.hand(side), self.hands.place(thing).position[2] + _ABOVE
        if hand.position[2] < low:
            yield from self.straight(side, hand.moved(z=low - hand.position[2], gripper=OPEN))

    def _go_over(self, side: str, thing: Thing, on: Callable[[Place], Hand]) -> Generator[None, None, Place]:
        """Above the thing, wherever it goes meanwhile; returns its place."""
        hands, spread = self.hands, self.around(0.015, 0.015, 0.01)
        while True:
            yield from self._comes_to_rest(thing)
            place, hand = hands.place(thing), hands.hand(side)
            goal = on(place).moved(*spread).moved(z=_ABOVE)
            aside = float(np.linalg.norm((goal.position - hand.position)[:2]))
            if hand.position[2] < goal.position[2] - 0.03 and _BESIDE < aside < _TRIED_WITHIN:
                yield from self._raise(side, thing)
                place = hands.place(thing)
                goal = on(place).moved(*spread).moved(z=_ABOVE)
            steps = self.pace(side, goal)
            pushed = int(self.random.uniform(0.2, 0.9) * steps) if self.due("push") else -1
            script = hands.move(side, goal, steps=steps)
            for number, _ in enumerate(script):
                yield
                if number == pushed:
                    self.push(thing)
                if float(np.linalg.norm(hands.place(thing).position - place.position)) > _MOVED:
                    script.close()
                    break
            else:
                if not self.shoving:
                    return place

    def _comes_to_rest(self, thing: Thing) -> Steps:
        """Wait for a thing that falls. Raises RobotError if it never lies on the table."""
        for _ in range(_FALL_STEPS):
            if self.hands.rests(thing):
                return
            yield
        raise RobotError(f"the {thing.body} does not lie on the table, where the expert could pick it up")

    def _gone(self, side: str, thing: Thing, place: Place) -> bool:
        """Whether it lies elsewhere than where the hand goes, and the fingers have not got it."""
        moved = float(np.linalg.norm((self.hands.place(thing).position - place.position)[:2])) > _MOVED
        return moved and self.hands.grippers[SIDES.index(side)] > 0.9 * OPEN
