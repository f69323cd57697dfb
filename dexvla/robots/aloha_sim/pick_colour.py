"""The task pick_colour: cubes of different colours, the instruction names one, success is to lift that one.

Every scene holds four cubes; those that an episode does not use are parked out of sight, so that MuJoCo's state alone
says what a scene looks like. The mat under the cubes changes its colour from edge to edge: it gives each place a look
of its own, as the clutter of a real table does (docs/decisions/aloha-sim.md).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.robots.aloha_sim.gl import load_mujoco
from dexvla.robots.aloha_sim.options import PickColourOptions, PickLevel, PickSplit

COLOURS = ("red", "green", "blue", "yellow")
_RGBA = {
    "red": (0.9, 0.05, 0.05, 1.0),
    "green": (0.05, 0.75, 0.1, 1.0),
    "blue": (0.05, 0.15, 0.95, 1.0),
    "yellow": (0.95, 0.9, 0.05, 1.0),
}
REST = 0.02  # height of a resting cube's centre, and half its side, metres
LIFTED = 0.03  # metres above that: lifted
MAX_STEPS = 250
MAX_REWARD = 2.0

PHRASES = {
    PickSplit.TRAINING: (
        "Pick up the {} cube",
        "Lift the {} cube",
        "Grab the {} cube",
        "Take the {} cube",
        "Pick the {} cube up",
        "Please pick up the {} cube",
        "Grasp the {} cube and lift it",
        "Use the right arm to pick up the {} cube",
    ),
    PickSplit.HELD_OUT: ("Get the {} cube", "Please lift the {} cube up", "Take the {} cube with the right arm"),
}

# Places on the table, metres in the simulator's frame; the right arm's base stands at x 0.469, y 0.5.
_SPOTS = ((0.10, 0.42), (0.10, 0.58))
_JITTER = 0.03
_LOW, _HIGH = np.array([0.0, 0.38]), np.array([0.2, 0.62])
_APART = 0.12  # between the centres of any two cubes of level `anywhere`: room for the open gripper
_CELL = 0.025
_SHELF = (3.0, 3.0, -0.5)  # out of every camera's sight


def cube(colour: str) -> str:
    """Name of a cube's body, geom and, with `_joint`, free joint."""
    return f"{colour}_cube"


@dataclass(frozen=True, kw_only=True)
class PickScene:
    """One episode's scene. places: (x, y), metres, of each cube that lies on the table, by colour."""

    places: dict[str, tuple[float, float]]
    named: str
    other: str
    instruction: str


def draw_scene(seed: int, options: PickColourOptions) -> PickScene:
    """The scene that belongs to a seed: the same everywhere, because RandomState's stream never changes.

    Both cubes that can be named lie in the cells of the split, so that `swapped` changes nothing but the words.
    """
    random = np.random.RandomState(seed)
    colours = [COLOURS[i] for i in random.permutation(len(COLOURS))]
    first = int(random.randint(2))
    phrase = float(random.random_sample())
    places = _places(random, options)
    named, other = colours[first], colours[1 - first]
    if options.swapped:
        named, other = other, named
    phrases = PHRASES[PickSplit.HELD_OUT if options.split is PickSplit.HELD_OUT else PickSplit.TRAINING]
    return PickScene(
        places={colour: (float(x), float(y)) for colour, (x, y) in zip(colours, places, strict=False)},
        named=named,
        other=other,
        instruction=phrases[int(phrase * len(phrases))].format(named),
    )


def _places(random: np.random.RandomState, options: PickColourOptions) -> NDArray[np.float64]:
    """(n, 2): the two that can be named first."""
    while True:
        if options.level is PickLevel.ANYWHERE:
            places = random.uniform(_LOW, _HIGH, (3, 2))
        else:
            reach = _JITTER if options.level is PickLevel.JITTER else 0.0
            places = np.array(_SPOTS) + random.uniform(-reach, reach, (2, 2))
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(len(places), 1)]
        if gaps.min() < _APART:
            continue
        held_out = [in_held_out_cell(place) for place in places[:2]]
        fits = {PickSplit.ANY: True, PickSplit.TRAINING: not any(held_out), PickSplit.HELD_OUT: all(held_out)}
        if options.level is PickLevel.SPOTS or fits[options.split]:
            return places


def in_held_out_cell(position: NDArray[np.float64]) -> bool:
    """A fifth of the table's cells of 2.5 cm is never used for demonstrations of the split `training`."""
    column, row = (int(np.floor(value / _CELL)) for value in position)
    return (2 * column + row) % 5 == 0


def poses(scene: PickScene) -> NDArray[np.float64]:
    """(28,): position, metres, and quaternion wxyz of every cube, in the order of COLOURS."""
    rows = []
    for index, colour in enumerate(COLOURS):
        if colour in scene.places:
            position = (*scene.places[colour], REST)
        else:
            position = (_SHELF[0] + 0.1 * index, _SHELF[1], _SHELF[2] + REST)
        rows.append([*position, 1.0, 0.0, 0.0, 0.0])
    return np.concatenate(rows)


def build(spec: Any) -> None:
    """Turn the cube-transfer scene (a mujoco.MjSpec) into this task's: its cube goes, four cubes and a mat come."""
    mujoco = load_mujoco(rendering=False)
    for body in list(spec.bodies):
        if body.name == "box":
            spec.delete(body)
    for key in list(spec.keys):
        spec.delete(key)
    _add_mat(spec, mujoco)
    spec.worldbody.add_geom(
        name="shelf", type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.4, 0.1, 0.05), pos=(*_SHELF[:2], _SHELF[2] - 0.05)
    )
    for colour in COLOURS:
        body = spec.worldbody.add_body(name=cube(colour), pos=(0.1, 0.5, REST))
        body.add_joint(name=f"{cube(colour)}_joint", type=mujoco.mjtJoint.mjJNT_FREE, frictionloss=0.01)
        body.explicitinertial = True
        body.mass, body.inertia = 0.05, (0.002, 0.002, 0.002)
        body.ipos, body.iquat = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)  # not set, MuJoCo would take the body's place
        body.add_geom(  # gym-aloha's red cube in all but colour
            name=cube(colour),
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=(REST, REST, REST),
            rgba=_RGBA[colour],
            condim=4,
            friction=(1, 0.005, 0.0001),
            solref=(0.01, 1),
            solimp=(2, 1, 0.01, 0.5, 2),
        )


def _add_mat(spec: Any, mujoco: Any) -> None:
    side = 32
    down, across = np.mgrid[0:side, 0:side] / (side - 1)
    colours = np.stack([60 + 110 * across, 110 - 40 * np.abs(2 * down - 1), 60 + 110 * down], axis=-1)
    texture = spec.add_texture(name="mat", type=mujoco.mjtTexture.mjTEXTURE_2D, width=side, height=side, nchannel=3)
    texture.data = colours.astype(np.uint8).tobytes()
    material = spec.add_material(name="mat", specular=0.0, texuniform=False)
    textures = [""] * len(material.textures)
    textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = "mat"
    material.textures = textures
    spec.worldbody.add_geom(
        name="mat",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(0.24, 0.24, 0.0005),
        pos=(0.1, 0.5, 0.0),
        material="mat",
        contype=0,
        conaffinity=0,
    )


def lifted(data: Any, colour: str) -> bool:
    """Is this cube's centre LIFTED above its rest?"""
    return bool(data.body(cube(colour)).xpos[2] >= REST + LIFTED)
