"""Which topics of a recording are state, action and cameras, and the episode that they make."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.jpeg import jpeg_size
from dexvla.formats.bags import Bag
from dexvla.formats.base import FormatError, Guess, GuessAbout, SourceCamera, SourceEpisode
from dexvla.formats.messages import image_of, is_depth, is_image, numbers_of, stamp_of, velocities_of
from dexvla.formats.resampling import Steps, resample
from dexvla.spec import ImportProfile

_JOINTS = ("JointState", "JointStates", "JointTrajectory", "Float32MultiArray", "Float64MultiArray")
_ACTION = re.compile(r"action|command|cmd|leader|master|target|goal|desired|reference", re.I)
_STATE = re.compile(r"state|follower|puppet|slave|qpos|position|feedback|joint", re.I)
_SINCE_1970 = 10**17  # ns; smaller times count from the start of a computer or a simulation
_EARLIEST, _LATEST = -0.05, 1.0  # s by which a message may be recorded after its header's time


@dataclass
class _Series:
    """Messages of one topic: recorded and stamped at (ns), and, of motion, what they say.

    part: the field that holds motion, "" for that of the type; None for images. names: of its dimensions.
    """

    part: str | None = None
    recorded: list[int] = field(default_factory=list)
    stamped: list[int] = field(default_factory=list)
    values: list[NDArray[np.float32]] = field(default_factory=list)
    speeds: list[NDArray[np.float32]] = field(default_factory=list)
    names: tuple[str, ...] = ()


def episode_of(bag: Bag, name: str, profile: ImportProfile) -> SourceEpisode:
    """The episode in a recording. Goes through it once here and once for each camera. Raises FormatError."""
    guesses: list[Guess] = []
    warnings: list[str] = []
    states = _entries(bag, profile.state_entry) or _guess(bag, GuessAbout.STATE, guesses)
    actions = _entries(bag, profile.action_entry) or _guess(bag, GuessAbout.ACTION, guesses)
    cameras, first = _cameras(bag, warnings)
    series = {topic: _Series() for topic in cameras}
    motion = {entry: _Series(part=text) for entry, (_, text) in {**states, **actions}.items()}
    topics = {entry: topic for entry, (topic, _) in {**states, **actions}.items()}
    _collect(bag, series, motion, topics)
    times = _times(bag, {**series, **motion}, warnings)
    clock = min(cameras, key=lambda topic: len(times[topic]))
    steps = resample(times, clock)
    if not len(steps.ticks):
        raise FormatError(
            f"{bag.path}: its topics were never recorded at the same time ({_spans(times)}); name others, or leave it "
            "out"
        )
    _tell(steps, clock, guesses, warnings)
    for topic, encoding in bag.unread.items():
        warnings.append(f"{topic} is encoded as {encoding or 'nothing named'}, which is not read, and was left out")
    qpos = _joined(motion, states, steps)
    same = states.keys() == actions.keys()
    if same:
        guesses.append(Guess(GuessAbout.ACTION, "action is the state of the next step, since both are the same topics"))
    action = np.concatenate([qpos[1:], qpos[-1:]]) if same else _joined(motion, actions, steps)
    return SourceEpisode(
        name=name,
        action=action,
        qpos=qpos,
        qvel=_velocities(motion, states, steps),
        cameras={topic: _camera(bag, topic, steps.nearest[topic], first[topic]) for topic in cameras},
        timestamp=(steps.ticks - steps.ticks[0]) / 1e9,
        fps=steps.fps,
        fps_guessed=True,
        host_timestamp=steps.ticks / 1e9 if steps.ticks[0] > _SINCE_1970 else None,
        state_names=_names(motion, states),
        action_names=_names(motion, actions),
        warnings=(*bag.warnings, *warnings),
        guesses=tuple(guesses),
    )


# --- which topics -----------------------------------------------------------------------------------------


def _entries(bag: Bag, text: str | None) -> dict[str, tuple[str, str]]:
    """What a profile names, in its order: (topic, field or "")."""
    found = {}
    for entry in (part.strip() for part in (text or "").split(",")):
        if not entry:
            continue
        topic = max((name for name in bag.topics if entry == name or entry.startswith(f"{name}.")), key=len, default="")
        if not topic:
            raise FormatError(f"{bag.path}: no topic {entry}; it has {_known(bag)}")
        found[entry] = topic, entry[len(topic) + 1 :]
    return found


def _guess(bag: Bag, what: GuessAbout, guesses: list[Guess]) -> dict[str, tuple[str, str]]:
    joints = sorted(topic for topic, kind in bag.topics.items() if re.split(r"[./]", kind)[-1] in _JOINTS)
    actions = [topic for topic in joints if _ACTION.search(topic)]
    states = [topic for topic in joints if topic not in actions and _STATE.search(topic)]
    found = actions if what is GuessAbout.ACTION else states
    if not found:
        raise FormatError(
            f"{bag.path}: no topic looks like the {what}; say which with {what}_entry (for actions that nobody "
            f"recorded: the topics of the state, whose next step is then the action). It has {_known(bag)}{_told(bag)}"
        )
    guesses.append(Guess(what, f"{what} is {', '.join(found)}, by the name"))
    return {topic: (topic, "") for topic in found}


def _told(bag: Bag) -> str:
    """What was noticed of the recording so far, which may be why something is missing in it."""
    return "".join(f"; {text}" for text in bag.warnings)


def _known(bag: Bag) -> str:
    shown = [f"{topic} ({kind or 'no type'})" for topic, kind in sorted(bag.topics.items())]
    return ", ".join(shown[:20]) + (" ..." if len(shown) > 20 else "") or "none that can be read"


def _cameras(bag: Bag, warnings: list[str]) -> tuple[list[str], dict[str, bytes | NDArray[np.uint8]]]:
    """Topics of colour images, each with its first one."""
    waiting = {topic for topic, kind in bag.topics.items() if is_image(kind)}
    for topic in sorted(waiting):
        beside = f"{topic}/compressed"
        if beside in waiting:
            waiting.discard(topic)
            warnings.append(f"{topic} holds the same images as {beside} and was left out")
    first: dict[str, bytes | NDArray[np.uint8]] = {}
    stream = bag.messages(set(waiting)) if waiting else iter(())
    for topic, _, message in stream:
        if topic not in waiting:
            continue
        waiting.discard(topic)
        if "depth" in topic.lower() or is_depth(message):
            warnings.append(f"{topic} holds distances, not colours, and was left out")
        else:
            first[topic] = _image(bag, topic, 0, message)
        if not waiting:
            break
    if not first:
        raise FormatError(f"{bag.path}: no topic with colour images; it has {_known(bag)}{_told(bag)}")
    if len(first) > bounds.MAX_CAMERAS:
        raise FormatError(f"{bag.path}: {len(first)} topics of images, expected at most {bounds.MAX_CAMERAS}")
    return sorted(first), first


# --- reading ----------------------------------------------------------------------------------------------


def _collect(bag: Bag, cameras: dict[str, _Series], motion: dict[str, _Series], topics: dict[str, str]) -> None:
    """Go through all messages once: times of all, numbers of motion."""
    of: dict[str, list[_Series]] = {topic: [series] for topic, series in cameras.items()}
    for entry, series in motion.items():
        of.setdefault(topics[entry], []).append(series)
    values = 0
    for topic, time, message in bag.messages(of.keys()):
        stamp = stamp_of(message)
        for series in of[topic]:
            series.recorded.append(time)
            series.stamped.append(stamp or 0)
            if series.part is None:
                continue
            try:
                _append(series, message)
            except (ValueError, ArithmeticError, AttributeError, TypeError) as error:
                raise FormatError(
                    f"{bag.path}: {topic}, message {len(series.recorded) - 1}: {error}; name another entry"
                ) from error
            values += len(series.values[-1])
        if len(of[topic][0].recorded) > bounds.MAX_STEPS or values > bounds.MAX_VALUES:
            raise FormatError(f"{bag.path}: more messages of {topic} than an episode may have steps; cut it into parts")
    for name, series in {**cameras, **motion}.items():
        if not series.recorded:
            raise FormatError(f"{bag.path}: {name} has no messages; name another topic or leave the recording out")


def _append(series: _Series, message: Any) -> None:
    names, values = numbers_of(message, series.part or "")
    order: list[int] | None = None
    if not series.values:
        series.names = names if len(names) == len(values) else ()
    elif len(values) != len(series.values[0]):
        raise ValueError(f"{len(values)} values, expected {len(series.values[0])} as in the first one")
    elif series.names and names != series.names:
        if sorted(names) != sorted(series.names):
            raise ValueError(f"it names {', '.join(names)}, the first one {', '.join(series.names)}")
        order = [names.index(name) for name in series.names]
    with np.errstate(over="ignore"):
        row, fast = np.asarray(values, np.float32), np.asarray(_speeds(series, message), np.float32)
    if not values or not np.isfinite(row).all():
        raise ValueError("no numbers" if not values else "a value that is not finite or no float32")
    series.values.append(row if order is None else row[order])
    if len(fast) == len(values) and np.isfinite(fast).all():
        series.speeds.append(fast if order is None else fast[order])


def _speeds(series: _Series, message: Any) -> list[float]:
    return [] if series.part else velocities_of(message)


def _times(bag: Bag, series: dict[str, _Series], warnings: list[str]) -> dict[str, NDArray[np.int64]]:
    """When the messages of each topic were taken, ns: by their headers, or, where those are missing, wrong or of
    another clock, by the recorder."""
    for name, one in series.items():
        if not all(0 <= time < 2**63 for time in (*one.recorded, *(stamp or 0 for stamp in one.stamped))):
            raise FormatError(f"{bag.path}: times of {name} are none of this world; record or convert it again")
    stamped = all(all(one.stamped) and _fits(one) for one in series.values())
    if not stamped:
        warnings.append("times are those of the recorder: not all messages carry a time of their own that fits it")
    times = {}
    for name, one in series.items():
        times[name] = np.asarray(one.stamped if stamped else one.recorded, np.int64)
        if (np.diff(times[name]) < 0).any():
            raise FormatError(f"{bag.path}: messages of {name} are not in the order of their times; sort it first")
    return times


def _fits(series: _Series) -> bool:
    late = (np.asarray(series.recorded, np.int64) - np.asarray(series.stamped, np.int64)) / 1e9
    rising = (np.diff(np.asarray(series.stamped, np.int64)) >= 0).all()
    return bool(rising and _EARLIEST <= float(np.median(late)) <= _LATEST)


def _tell(steps: Steps, clock: str, guesses: list[Guess], warnings: list[str]) -> None:
    topic, error = max(steps.errors.items(), key=lambda one: one[1])
    rate = f"{steps.fps:.2f} Hz" if steps.fps else "one step"
    text = f"the clock of all is that of {clock}, {rate}, the camera with the fewest images"
    guesses.append(Guess(GuessAbout.TIMES, text))
    if steps.fps:
        text = f"fps: {steps.fps:g} Hz, the middle of the distances between the images of {clock}"
        guesses.append(Guess(GuessAbout.FPS, text))
    if error > 0:
        warnings.append(
            f"resampled to the clock of {clock}: the message nearest to each step was taken, up to {error * 1000:.1f} "
            f"ms away ({topic})"
        )


def _spans(times: dict[str, NDArray[np.int64]]) -> str:
    start = min(int(stamps[0]) for stamps in times.values())
    return ", ".join(
        f"{topic} from {(int(stamps[0]) - start) / 1e9:.1f} to {(int(stamps[-1]) - start) / 1e9:.1f} s"
        for topic, stamps in times.items()
    )


def _joined(motion: dict[str, _Series], entries: dict[str, Any], steps: Steps) -> NDArray[np.float32]:
    return np.concatenate([np.stack(motion[name].values)[steps.nearest[name]] for name in entries], axis=1)


def _velocities(motion: dict[str, _Series], entries: dict[str, Any], steps: Steps) -> NDArray[np.float32] | None:
    if any(len(motion[name].speeds) != len(motion[name].values) for name in entries):
        return None
    return np.concatenate([np.stack(motion[name].speeds)[steps.nearest[name]] for name in entries], axis=1)


def _names(motion: dict[str, _Series], entries: dict[str, Any]) -> tuple[str, ...]:
    """Of all dimensions; those of several topics begin with their topic. Nothing where one has none."""
    parts = [motion[name].names for name in entries]
    if not all(parts):
        return ()
    if len(parts) == 1:
        return parts[0]
    return tuple(f"{entry}/{name}" for entry in entries for name in motion[entry].names)


# --- cameras ----------------------------------------------------------------------------------------------


def _camera(bag: Bag, topic: str, places: NDArray[np.int64], first: bytes | NDArray[np.uint8]) -> SourceCamera:
    """`places`: (T,), rising: which of the topic's messages is the frame of each step."""
    height, width = jpeg_size(first) if isinstance(first, bytes) else first.shape[:2]
    return SourceCamera(frames=frames_of(bag, topic, places), jpeg=isinstance(first, bytes), height=height, width=width)


def frames_of(bag: Bag, topic: str, places: NDArray[np.int64]) -> Callable[[], Iterator[bytes | NDArray[np.uint8]]]:
    def frames() -> Iterator[bytes | NDArray[np.uint8]]:
        step = 0
        size: tuple[bool, int, int] | None = None
        for number, (_, _, message) in enumerate(bag.messages({topic})):
            if step == len(places):
                return
            if places[step] != number:
                continue
            image = _image(bag, topic, number, message)
            here = (isinstance(image, bytes), *(jpeg_size(image) if isinstance(image, bytes) else image.shape[:2]))
            if size is not None and here != size:
                raise FormatError(
                    f"{bag.path}: {topic}, message {number} is {here[1]} x {here[2]}, expected {size[1]} x {size[2]} "
                    "and the same kind of image as before"
                )
            size = here
            while step < len(places) and places[step] == number:  # one image may be the nearest of several steps
                yield image
                step += 1
        if step < len(places):
            raise FormatError(f"{bag.path}: {topic} has images for {step} steps, expected {len(places)}")

    return frames


def _image(bag: Bag, topic: str, number: int, message: Any) -> bytes | NDArray[np.uint8]:
    try:
        return image_of(message)
    except (ValueError, ArithmeticError, AttributeError, TypeError) as error:
        raise FormatError(f"{bag.path}: {topic}, message {number}: {error}; leave the topic or the file out") from error
