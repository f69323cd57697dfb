"""In: robomimic and LIBERO, one HDF5 file with data/demo_N, and what our own export adds to it."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.entries import H5PY_ERRORS, Entries, first_line
from dexvla.episodes.finding import natural_key
from dexvla.episodes.format import LabelSource, StepSource
from dexvla.episodes.segments import run_length
from dexvla.formats.base import FormatError, Guess, GuessAbout, SourceCamera, SourceEpisode
from dexvla.formats.hdf5_files import any_looks_like, asked, camera_of, episode_files, joined, opened, text_of, texts_of
from dexvla.formats.robomimic_out import FACTS, IMAGE, IMAGE_TIMES
from dexvla.formats.stored import facts_read, names_read, rate_guessed
from dexvla.spec import ImportProfile

_ACTION = "actions"
_NUMBERED = re.compile(r"demo_\d+", re.ASCII)
# state, the first of which all entries are there: ours, LIBERO's, robosuite's, and whatever holds the joints
_STATES = (
    ("qpos",),
    ("joint_states", "gripper_states"),
    ("robot0_joint_pos", "robot0_gripper_qpos"),
    ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos"),
    ("ee_states", "gripper_states"),
    ("state",),
)
_LIBERO_CAMERAS = ("agentview_rgb", "eye_in_hand_rgb")
_ENDINGS = (IMAGE, "_rgb")


class RobomimicImporter:
    name = "robomimic"
    title = "robomimic and LIBERO (data/demo_N)"

    def recognises(self, source: Path) -> bool:
        return any_looks_like(source, lambda file: bool(_demos(file)))

    def episodes(self, source: Path) -> Sequence[str]:
        found = []
        for path in episode_files(source):
            prefix = "" if source.is_file() else f"{path.relative_to(source).as_posix()}/"
            found += [f"{prefix}{demo}" for demo in _listed(path)]
        if not found:
            raise FormatError(f"{source}: no file with data/demo_0, data/demo_1 ...; expected robomimic's layout")
        return found

    @contextmanager
    def open(self, source: Path, name: str, profile: ImportProfile) -> Iterator[SourceEpisode]:
        inner, _, demo = name.rpartition("/")
        path = source if source.is_file() else source / inner
        with opened(path, f"data/{demo}") as entries:
            yield _episode(entries, demo, name, profile)


def _listed(path: Path) -> list[str]:
    """Raises FormatError for a file that cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            return _demos(file)
    except H5PY_ERRORS as error:
        raise FormatError(f"{path}: cannot be read as HDF5 ({first_line(error)}); copy it again") from error


def _demos(file: h5py.File) -> list[str]:
    """Names of the demonstrations; no link is followed."""
    data = file["data"] if isinstance(file.get("data", getlink=True), h5py.HardLink) else None
    if not isinstance(data, h5py.Group):
        return []
    groups = [name for name in data if isinstance(data.get(name, getlink=True), h5py.HardLink)]
    groups = [name for name in groups if isinstance(data[name], h5py.Group)]
    demos = {name for name in groups if _ACTION in list(data[name])}
    if demos:  # one that broke off before its actions is refused with the reason, not passed over
        demos |= {name for name in groups if _NUMBERED.fullmatch(name)}
    return sorted(demos, key=lambda name: natural_key(Path(name)))


def _episode(entries: Entries, demo: str, name: str, profile: ImportProfile) -> SourceEpisode:
    base, group = f"data/{demo}", entries.file[f"data/{demo}"]
    facts, data = _facts(group.attrs), _facts(entries.file["data"].attrs)
    action = joined(entries, [_below(base, one) for one in asked(profile.action_entry)] or [f"{base}/{_ACTION}"])
    state = [_below(base, one) for one in asked(profile.state_entry)] or _state(entries, base)
    qpos = joined(entries, state, steps=len(action))
    guesses, warnings = [], []
    if len(qpos) == len(action) - 1 > 0:
        warnings.append(f"{base}/{_ACTION} has {len(action)} rows, {state[0]} {len(qpos)}; the last action is left out")
        action = action[:-1]
    if not profile.state_entry and state != [f"{base}/obs/qpos"]:
        guesses.append(Guess(GuessAbout.STATE, f"state is {', '.join(state)}"))
    found, cameras, turned = _cameras(entries, base, len(action))
    if profile.colours is None and (rows := [name for name, camera in cameras.items() if camera.jpeg]):
        text = (
            f"colours of {', '.join(rows)}: read as ordinary JPEG; look at a frame: red has to be red "
            "(else --colours bgr)"
        )
        guesses.append(Guess(GuessAbout.COLOURS, text, tuple(rows)))
    told = {camera.source for camera in profile.cameras or () if camera.turned is not None}
    turned = [camera for camera in turned if profile.turned is None and camera not in told]
    if turned:
        text = f"frames of {', '.join(turned)} are turned by 180 degrees: LIBERO's simulator renders them upside down"
        guesses.append(Guess(GuessAbout.TURNED, text, tuple(turned)))
    if len(qpos) < len(action):
        raise entries.unfit(f"{state[0]} has {len(qpos)} rows, {base}/{_ACTION} has {len(action)}")
    if (longest := max(int(entries.dataset(one).shape[0]) for one in state)) > len(action):
        warnings.append(f"{longest - len(action)} observations after the last action are left out")
    ours = _ours(entries, base)
    warnings += _left_out(entries, base, [*found, *(name.rpartition("/")[2] for name in state), "qvel"])
    texts = entries.strings(f"{base}/substep_reasonings") if entries.has(f"{base}/substep_reasonings") else None
    velocity = f"{base}/obs/qvel"

    def clock(name: str) -> NDArray[Any] | None:
        full = f"{base}/{name}"
        return entries.optional(lambda: entries.column(full, len(action))) if entries.has(full) else None

    def beside(name: str) -> NDArray[np.float32] | None:
        return joined(entries, [f"{base}/{name}"]) if entries.has(f"{base}/{name}") else None

    cameras = {
        name: replace(camera, timestamp=clock(f"{IMAGE_TIMES}/{name}")) if ours else camera
        for name, camera in cameras.items()
    }
    return SourceEpisode(
        name=name,
        action=action,
        qpos=qpos,
        cameras=cameras,
        qvel=joined(entries, [velocity])[: len(action)] if entries.has(velocity) else None,
        timestamp=clock("timestamp"),
        fps=_rate(facts, data),
        fps_guessed=rate_guessed(ours),
        instructions=_instructions(entries, base, facts, data),
        substeps=run_length(texts) if texts is not None and len(texts) == len(action) else None,
        success=_success(entries, base, facts),
        robot=text_of(facts.get("robot")),
        state_names=() if profile.state_entry else names_read(ours, "state_names"),
        action_names=() if profile.action_entry else names_read(ours, "action_names"),
        joint_positions=beside("joint_positions"),
        action_sent=beside("action_sent"),
        host_timestamp=clock("host_timestamp"),
        step_source=_sources(entries, f"{base}/step_source", len(action)),
        warnings=(*warnings, *entries.warnings),
        guesses=tuple(guesses),
        **{
            "label_source": LabelSource.IMPORTED,
            "sim": bool(facts.get("sim", True)),
            "task": text_of(facts.get("task")),
            "seed": int(facts["seed"]) if isinstance(facts.get("seed"), (int, np.integer)) else None,
            "render_profile": text_of(facts.get("render_profile")),
            **facts_read(ours, len(action)),
        },
    )


def _ours(entries: Entries, base: str) -> dict[str, Any]:
    """What our own export says beside what robomimic reads."""
    name = f"{base}/{FACTS}"
    texts = entries.optional(lambda: entries.strings(name)) if entries.has(name) else None
    return _json(texts[0]) if texts else {}


def _sources(entries: Entries, name: str, steps: int) -> tuple[StepSource, ...] | None:
    """Who commanded each step, where our own export says it."""
    if not entries.has(name):
        return None
    known = list(StepSource)
    numbers = entries.optional(lambda: entries.column(name, steps))
    if numbers is None or not all(0 <= int(number) < len(known) for number in numbers):
        return None
    return tuple(known[int(number)] for number in numbers)


def _facts(attributes: h5py.AttributeManager) -> dict[str, Any]:
    return {name: bounds.read_attribute(attributes, name) for name in attributes}


def _below(base: str, name: str) -> str:
    return f"{base}/{name}" if name.startswith("obs/") or "/" in name or name == _ACTION else f"{base}/obs/{name}"


def _state(entries: Entries, base: str) -> list[str]:
    for names in _STATES:
        full = [f"{base}/obs/{name}" for name in names]
        if all(entries.has(name) for name in full):
            return full
    raise entries.unfit(
        f"{base}/obs has none of the usual states; {entries.beside(f'{base}/obs/qpos')}: name those that are the state "
        "(--state-entry)"
    )


def _cameras(entries: Entries, base: str, steps: int) -> tuple[list[str], dict[str, SourceCamera], list[str]]:
    """Names of the observations that are images, the cameras, and those of them that stand on their heads."""
    observations = entries.file.get(f"{base}/obs")
    if not isinstance(observations, h5py.Group):
        raise entries.unfit(f"{base}/obs is missing, which holds states and images; {entries.beside(f'{base}/obs')}")
    names, found, turned = [], {}, []
    for name in observations:
        item = observations[name]
        if not isinstance(item, h5py.Dataset) or not _is_camera(name, item):
            continue
        plain = name
        for ending in _ENDINGS:
            plain = plain.removesuffix(ending)
        libero = name in _LIBERO_CAMERAS
        names.append(name)
        found[plain] = replace(camera_of(entries, f"{base}/obs/{name}", steps), upside_down=libero)
        if libero:
            turned.append(plain)
    if not found:
        raise entries.unfit(
            f"{base}/obs holds no images, uint8 (T, height, width, 3); {entries.beside(f'{base}/obs/image')}: render "
            "them first (robomimic's dataset_states_to_obs)"
        )
    return names, found, turned


def _is_camera(name: str, item: h5py.Dataset) -> bool:
    """Pixels, or, where the name says that they are images, rows of bytes."""
    if item.dtype == np.uint8 and item.ndim == 4:
        return 3 in (item.shape[1], item.shape[3])
    return name.endswith(("image", "rgb")) and (item.ndim == 1 or (item.ndim == 2 and item.dtype.itemsize == 1))


def _left_out(entries: Entries, base: str, used: Sequence[str]) -> list[str]:
    """What is told of observations that nothing was made of; images of the next step aside, which repeat these."""
    observations = entries.file[f"{base}/obs"]
    left = [name for name in observations if name not in used]
    told = f"observations that an episode of ours has no place for are left out: {', '.join(left[:12])}"
    return [told] if left else []


def _instructions(entries: Entries, base: str, facts: dict[str, Any], data: dict[str, Any]) -> tuple[str, ...]:
    problem = _json(data.get("problem_info"))
    texts = [text for said in (facts, problem) for text in texts_of(said.get("language_instruction"))]
    if entries.has(f"{base}/paraphrases"):
        texts = texts[:1] + entries.strings(f"{base}/paraphrases")
    return tuple(dict.fromkeys(texts))


def _rate(facts: dict[str, Any], data: dict[str, Any]) -> float | None:
    settings = _json(data.get("env_args")).get("env_kwargs")
    rate = facts.get("fps", settings.get("control_freq") if isinstance(settings, dict) else None)
    return float(rate) if isinstance(rate, (int, float, np.integer, np.floating)) and 0 < rate < 10_000 else None


def _success(entries: Entries, base: str, facts: dict[str, Any]) -> bool | None:
    if isinstance(facts.get("success"), (bool, np.bool_)):
        return bool(facts["success"])
    if "episode" in facts or not entries.has(f"{base}/rewards"):  # our own file, of which nobody said
        return None
    rewards = joined(entries, [f"{base}/rewards"])
    return True if (rewards > 0).any() else None


def _json(value: Any) -> dict[str, Any]:
    try:
        found = json.loads(text_of(value) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


ROBOMIMIC = RobomimicImporter()
