"""One episode of a source of another tool as a person sees it before anything is imported: what it holds, what the
profile makes of it, and what of that is a guess. No frame is decoded but the first, the middle and the last.
"""

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dexvla.episodes.jpeg import decode_jpeg, encode_jpeg
from dexvla.errors import EpisodeError, UserError
from dexvla.formats.base import ODD, GuessAbout, SourceCamera, SourceEpisode
from dexvla.formats.importing import OpenedSource, finite_steps, folder_of, odd, source_of
from dexvla.formats.shaping import Shaped, instruction_of, is_turned, shape, stream_of, turned_frame
from dexvla.spec import CameraProfile, ImportProfile

_POINTS = 120  # of a curve
_DIMENSIONS = 64  # that are drawn
_SIDE = 320  # pixels of a frame's longer side
_FRAME_SECONDS = 8.0  # for those of a camera whose frames must be gone through
_SEGMENTS = 200
_NOT_LOOKED_AT = "not looked at"
_UNKNOWN = "?"  # stands for an instruction that nobody gave yet

Plain = Callable[[str], str]


def shown(opened: OpenedSource, name: str, profile: ImportProfile, plain: Plain) -> dict[str, Any]:
    """What is in the episode. plain: a text as people may read it. Raises UserError for one that cannot be opened."""
    where = source_of(opened.source, name)
    try:
        with opened.importer.open(opened.source, name, profile) as episode:
            return _shown(episode, opened, name, profile, plain)
    except ODD as error:
        raise error if isinstance(error, UserError) else odd(where, error) from error


def _shown(
    episode: SourceEpisode, opened: OpenedSource, name: str, profile: ImportProfile, plain: Plain
) -> dict[str, Any]:
    folder = folder_of(opened.source, name)
    steps, refusals = _whole_steps(episode, profile)
    shaped, refusal = _shaped(episode, profile, folder=folder, steps=steps)
    refusals += [refusal] if refusal else []
    warnings, guesses = (episode.warnings, episode.guesses) if shaped is None else (shaped.warnings, shaped.guesses)
    colours_guessed = {key for guess in guesses if guess.about is GuessAbout.COLOURS for key in guess.cameras}
    cameras = [
        {**_camera(camera, key, episode.steps, profile, plain), "colours_guessed": key in colours_guessed}
        for key, camera in episode.cameras.items()
    ]
    refusals += [] if profile.keep_good_steps else _unreadable(cameras)
    return {
        "episode": name,
        "steps": episode.steps,
        "kept_steps": 0 if shaped is None else len(shaped.data.action),
        "folder": folder,
        "cameras": cameras,
        "state": _matrix(episode.qpos, episode.state_names),
        "action": _matrix(episode.action, episode.action_names),
        "kept_state": None if shaped is None else _matrix(shaped.data.qpos, ()),
        "kept_action": None if shaped is None else _matrix(shaped.data.action, ()),
        "base_dimensions": 0 if episode.base_action is None else episode.base_action.shape[1],
        "instruction": _instruction(episode, profile, folder),
        "times": _times(episode, profile, shaped),
        "labels": _labels(episode, shaped),
        "robot": profile.robot or episode.robot,
        "success": episode.success,
        "warnings": [plain(text) for text in warnings],
        "guesses": [plain(guess.text) for guess in guesses],
        "guessed": sorted({guess.about for guess in guesses}),
        "refusals": [plain(text) for text in refusals],
    }


def _whole_steps(episode: SourceEpisode, profile: ImportProfile) -> tuple[int, list[str]]:
    """Steps before a broken tail, and why the episode would be refused for it."""
    try:
        steps, why = finite_steps(episode)
    except UserError as error:
        return episode.steps, [str(error)]
    if episode.broken_from is not None and episode.broken_from < steps:
        steps, why = episode.broken_from, f"steps {episode.broken_from} to {episode.steps - 1} are broken"
    if steps == episode.steps or (profile.keep_good_steps and steps):
        return steps, []
    offer = f"; steps 0..{steps - 1} can be kept" if steps else ""
    return steps or episode.steps, [why + offer]


def _shaped(
    episode: SourceEpisode, profile: ImportProfile, *, folder: str, steps: int
) -> tuple[Shaped | None, str | None]:
    """What the profile makes of it, and why it cannot as it stands: then only with an instruction, or not at all."""
    try:
        return shape(episode, profile, folder=folder, steps=steps), None
    except (EpisodeError, UserError) as error:
        why = str(error)
    with suppress(EpisodeError, UserError):
        given = profile.model_copy(update={"instruction": _UNKNOWN, "instruction_from": "text"})
        return shape(episode, given, folder=folder, steps=steps), why
    return None, why


def _instruction(episode: SourceEpisode, profile: ImportProfile, folder: str) -> dict[str, Any]:
    """found_in: file, folder, table or text; None where there is none."""
    own = [" ".join(text.split())[:1000] for text in episode.instructions if text.strip()]
    found: dict[str, Any] = {"text": None, "found_in": None, "paraphrases": [], "in_file": own[:20]}
    with suppress(UserError):
        text, others, place = instruction_of(episode, profile, folder=folder)
        found |= {"text": text[:1000], "found_in": place, "paraphrases": [one[:1000] for one in others[:20]]}
    return found


def _times(episode: SourceEpisode, profile: ImportProfile, shaped: Shaped | None) -> dict[str, Any]:
    """fps_from: file, profile, or guess; None where nobody says it. file_fps: what the source states."""
    fps = None if shaped is None else shaped.data.attributes.fps
    stated = None if episode.fps_guessed else episode.fps
    source = "guess" if shaped is not None and shaped.data.attributes.fps_guessed else "file"
    if profile.fps is not None and fps == profile.fps and (stated is None or profile.fps_from == "profile"):
        source = "profile"
    seconds = None if not fps or shaped is None else len(shaped.data.action) / fps
    return {
        "stamps": episode.timestamp is not None,
        "file_fps": stated,
        "fps": fps,
        "fps_from": None if fps is None else source,
        "seconds": seconds,
        "said": [] if shaped is None else list(shaped.about_times),
    }


def _labels(episode: SourceEpisode, shaped: Shaped | None) -> dict[str, Any] | None:
    if episode.substeps is None:
        return None
    segments = [{"start": one.start, "end": one.end, "text": one.text[:400]} for one in episode.substeps]
    source = None if shaped is None else shaped.data.label_source
    return {"segments": segments[:_SEGMENTS], "count": len(segments), "source": None if source is None else str(source)}


def _matrix(values: NDArray[np.float32], names: Sequence[str]) -> dict[str, Any]:
    """names: empty where the source has none that fit. Curves of the first dimensions, thinned out."""
    steps, count = values.shape
    picked = np.unique(np.linspace(0, steps - 1, min(_POINTS, steps)).round().astype(int))
    finite = np.where(np.isfinite(values), values, np.nan)
    dimensions = []
    for index in range(min(count, _DIMENSIONS)):
        column = finite[:, index]
        known = column[np.isfinite(column)]
        dimensions.append(
            {
                "index": index,
                "name": names[index][:64] if len(names) == count else "",
                "low": float(known.min()) if len(known) else None,
                "high": float(known.max()) if len(known) else None,
                "curve": [float(f"{value:.4g}") if np.isfinite(value) else None for value in column[picked].tolist()],
            }
        )
    return {"count": count, "steps": picked.tolist(), "dimensions": dimensions}


# --- frames -------------------------------------------------------------------------------------------------------


def _unreadable(cameras: Sequence[dict[str, Any]]) -> list[str]:
    """Why the episode would be refused for a frame that is shown."""
    broken = [
        (one["source"], each["step"])
        for one in cameras
        for each in one["frames"]
        if each["image"] is None and not (each["problem"] or "").startswith(_NOT_LOOKED_AT)
    ]
    return [
        f"the frame of {name} at step {step} cannot be read; keep the steps before a broken end (--keep-good-steps)"
        for name, step in broken[:1]
    ]


def _camera(camera: SourceCamera, name: str, steps: int, profile: ImportProfile, plain: Plain) -> dict[str, Any]:
    """Each frame twice: as the profile has it, and with red and blue swapped."""
    said = next((one for one in profile.cameras or () if one.source == name), CameraProfile(source=name))
    stream = stream_of(camera, said, profile)
    turned = is_turned(camera, said, profile)
    frames = []
    for step, frame in _frames(camera, steps):
        if isinstance(frame, str):
            frames.append({"step": step, "problem": plain(frame), "image": None, "swapped": None})
            continue
        image, other = _image(frame, turned=turned, swapped=stream.swapped)
        frames.append({"step": step, "problem": None, "image": image, "swapped": other})
    return {
        "source": name,
        "height": camera.height,
        "width": camera.width,
        "jpeg": camera.jpeg,
        "bgr": stream.swapped,
        "turned": turned,
        "frames": frames,
    }


def _frames(camera: SourceCamera, steps: int) -> Iterator[tuple[int, bytes | NDArray[np.uint8] | str]]:
    """The first, the middle and the last; a text says why one cannot be had."""
    wanted = sorted({0, steps // 2, steps - 1})
    if camera.frame is not None:
        for step in wanted:
            try:
                yield step, camera.frame(step)
            except (*ODD, OSError, StopIteration) as error:
                yield step, str(error) or type(error).__name__
        return
    deadline = time.monotonic() + _FRAME_SECONDS
    step = -1
    try:
        for step, frame in enumerate(camera.frames()):
            if step in wanted:
                wanted.remove(step)
                yield step, frame
            if not wanted:
                return
            if time.monotonic() > deadline:
                break
    except (*ODD, OSError) as error:
        yield step + 1, str(error) or type(error).__name__
        return
    for left in wanted:
        yield left, f"{_NOT_LOOKED_AT}: the {step + 1} frames before it took too long to go through"


def _image(frame: bytes | NDArray[np.uint8], *, turned: bool, swapped: bool) -> tuple[str | None, str | None]:
    """As JPEG in base64: as the profile has it, and with red and blue the other way round."""
    try:
        pixels = turned_frame(frame) if turned else decode_jpeg(frame) if isinstance(frame, bytes) else frame
    except ValueError:
        return None, None
    small = Image.fromarray(np.ascontiguousarray(pixels))
    small.thumbnail((_SIDE, _SIDE))
    seen = np.asarray(small)
    one, other = (base64.b64encode(encode_jpeg(each)).decode() for each in (seen, seen[..., ::-1]))
    return (other, one) if swapped else (one, other)
