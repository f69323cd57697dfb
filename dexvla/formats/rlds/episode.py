"""One episode of an RLDS dataset: which feature is what, and its values, texts and frames.

What a feature means is told by its name, which every dataset gives as it likes: what was chosen is told as a guess, and
a profile names it otherwise (`state_entry`, `action_entry`: features below steps or steps/observation, several with
commas).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dexvla.episodes import bounds
from dexvla.episodes.format import LabelSource, StepSource
from dexvla.episodes.jpeg import MAX_PIXELS, jpeg_size
from dexvla.episodes.segments import run_length
from dexvla.formats.base import ODD, FormatError, Guess, GuessAbout, SourceCamera, SourceEpisode
from dexvla.formats.hdf5_files import asked
from dexvla.formats.messages import decode_other
from dexvla.formats.rlds.features import Leaf, texts_of, unpacked, values_of
from dexvla.formats.rlds.layout import Dataset
from dexvla.formats.rlds.names import (
    ACTION_ORDER,
    IMAGE_TIME,
    INSTRUCTIONS,
    KEPT_BOOKS,
    METADATA,
    OBSERVATION,
    OURS,
    OWN,
    RATES,
    STATES,
    STEPS,
    SUBSTEPS,
    TIMES,
    VELOCITY,
)
from dexvla.formats.rlds.wire import Feature
from dexvla.formats.stored import facts_read, names_read, rate_guessed
from dexvla.spec import ImportProfile, Segment


@dataclass
class RldsEpisode:
    """One record while it is read. used: names of the features that were."""

    dataset: Dataset
    where: str
    name: str
    features: Mapping[str, Feature]
    profile: ImportProfile
    warnings: list[str] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def read(self) -> SourceEpisode:
        ours = self._ours()
        action_names = self._action_names()
        action = self._joined(action_names)
        qpos = self._joined(self._state_names())
        steps = len(action)
        if not steps or len(qpos) != steps:
            raise FormatError(f"{self.where}: {len(qpos)} states for {steps} actions; expected as many, at least one")
        if steps > bounds.MAX_STEPS:
            raise FormatError(f"{self.where}: {steps} steps, at most {bounds.MAX_STEPS} are read")
        instructions, substeps = self._language(steps, ours)
        cameras = self._cameras(steps)
        self._look_at_ends(action, steps)
        found = SourceEpisode(
            name=self.name,
            action=action,
            qpos=qpos,
            cameras=cameras,
            qvel=self._own(VELOCITY, steps),
            timestamp=self._times(steps),
            fps=self._rate(ours),
            fps_guessed=rate_guessed(ours),
            instructions=instructions,
            substeps=substeps,
            success=self._success(ours, steps),
            robot=robot if isinstance(robot := ours.get("robot"), str) else None,
            state_names=() if self.profile.state_entry else names_read(ours, "state_names"),
            action_names=() if self.profile.action_entry else names_read(ours, "action_names"),
            joint_positions=self._own(OWN["joint_positions"], steps),
            action_sent=self._own(OWN["action_sent"], steps),
            host_timestamp=self._clock(OWN["host_timestamp"], steps),
            step_source=self._sources(steps),
            guesses=tuple(self.guesses),
            **{"label_source": LabelSource.IMPORTED, **facts_read(ours, steps)},
        )
        self._tell_unused()
        # what is told comes last: the parts above add to it
        return SourceEpisode(**{**vars(found), "warnings": tuple(self.warnings)})

    # --- numbers ----------------------------------------------------------------------------------------

    def _values(self, name: str) -> NDArray[Any]:
        """(T, D) as stored. Raises FormatError."""
        leaf = self.dataset.leaves[name]
        self.used.add(name)
        try:
            values = values_of(leaf, self.features)
        except KeyError as error:
            raise FormatError(
                f"{self.where}: no feature {name}, which features.json declares; leave the episode out"
            ) from error
        except ValueError as error:
            raise FormatError(f"{self.where}: {name} holds {error}; leave the episode out") from error
        if values.shape[1] > bounds.MAX_DIMENSIONS:
            raise FormatError(
                f"{self.where}: {name} has {values.shape[1]} numbers a step, at most {bounds.MAX_DIMENSIONS} are read"
            )
        return values

    def _joined(self, names: Sequence[str]) -> NDArray[np.float32]:
        parts = [self._values(name) for name in names]
        if len({len(part) for part in parts}) > 1:
            lengths = ", ".join(f"{name} {len(part)}" for name, part in zip(names, parts, strict=True))
            raise FormatError(f"{self.where}: features of different lengths: {lengths}; leave the episode out")
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(np.concatenate([part.astype(np.float32) for part in parts], axis=1))

    def _state_names(self) -> list[str]:
        if named := asked(self.profile.state_entry):
            return [self._found(one, "state_entry") for one in named]
        for names in STATES:
            full = [f"{OBSERVATION}/{name}" for name in names]
            if all(self._numeric(name) for name in full):
                if names != ("state",):
                    self.guesses.append(Guess(GuessAbout.STATE, f"state is {', '.join(names)}"))
                return full
        raise FormatError(
            f"{self.where}: none of the usual states; it has {self._listed(OBSERVATION)}: name those that are the "
            "state (--state-entry)"
        )

    def _action_names(self) -> list[str]:
        if named := asked(self.profile.action_entry):
            return [self._found(one, "action_entry") for one in named]
        if self._numeric(f"{STEPS}/action"):
            return [f"{STEPS}/action"]
        for folder in ("action", "action_dict"):
            inner = [name for name in self.dataset.leaves if name.startswith(f"{STEPS}/{folder}/")]
            inner = [name for name in inner if self._numeric(name)]
            for order in ACTION_ORDER:
                full = [f"{STEPS}/{folder}/{name}" for name in order]
                if all(name in inner for name in full):
                    self.guesses.append(Guess(GuessAbout.ACTION, f"action is {', '.join(order)}"))
                    return full
            if inner:
                kinds = ("float", "bool", "double")
                inner = [name for name in inner if self.dataset.leaves[name].dtype.startswith(kinds)] or inner
                text = f"action is {', '.join(name.rpartition('/')[2] for name in inner)}"
                self.guesses.append(Guess(GuessAbout.ACTION, text))
                return inner
        raise FormatError(
            f"{self.where}: no action; it has {self._listed(STEPS)}: name those that are the action (--action-entry)"
        )

    def _numeric(self, name: str) -> bool:
        leaf = self.dataset.leaves.get(name)
        return leaf is not None and leaf.is_numeric and leaf.rank in (1, 2)

    def _found(self, name: str, said_as: str) -> str:
        for full in (name, f"{STEPS}/{name}", f"{OBSERVATION}/{name}", f"{STEPS}/action/{name}"):
            if self._numeric(full):
                return full
        raise FormatError(
            f"{self.where}: no feature of numbers {name!r}, which {said_as} names; it has {self._listed(STEPS)}"
        )

    def _listed(self, below: str) -> str:
        names = [name.removeprefix(f"{below}/") for name in self.dataset.leaves if self._numeric(name)]
        return ", ".join(names[:16]) + (" ..." if len(names) > 16 else "") or "no numbers"

    def _own(self, name: str, steps: int) -> NDArray[np.float32] | None:
        if not self._numeric(name) or name in self.used:
            return None
        with suppress(FormatError):
            values = self._values(name)
            if len(values) == steps:
                return values.astype(np.float32)
        return None

    def _clock(self, name: str, steps: int) -> NDArray[Any] | None:
        """(T,), whole numbers as they are: their unit is told apart later."""
        if not self._numeric(name):
            return None
        values = self._values(name)
        if values.shape != (steps, 1):
            self.warnings.append(f"{name} has shape {values.shape}, expected ({steps}, 1); left out")
            return None
        return values[:, 0].astype(np.int64 if values.dtype.kind in "iu" else np.float64)

    def _times(self, steps: int) -> NDArray[Any] | None:
        for word in TIMES:
            for name in (f"{STEPS}/{word}", f"{OBSERVATION}/{word}"):
                if name not in self.used and self._numeric(name):
                    return self._clock(name, steps)
        return None

    def _sources(self, steps: int) -> tuple[StepSource, ...] | None:
        name, known = OWN["step_source"], list(StepSource)
        if not self._numeric(name):
            return None
        numbers = self._values(name)
        if (
            numbers.shape != (steps, 1)
            or numbers.dtype.kind not in "iu"
            or not ((numbers >= 0) & (numbers < len(known))).all()
        ):
            return None
        return tuple(known[int(number)] for number in numbers[:, 0])

    def _look_at_ends(self, action: NDArray[np.float32], steps: int) -> None:
        if steps > 2 and not action[-1].any() and action[-2].any():
            self.warnings.append(
                "the last action is all zeros: RLDS's last step may be an observation alone; cut it off if it is"
            )
        first = self._flags(f"{STEPS}/is_first")
        if first is not None and len(first) == steps and first[1:].any():
            self.warnings.append(f"is_first is true {int(first.sum())} times: several episodes in one record?")

    def _flags(self, name: str) -> NDArray[np.bool_] | None:
        if not self._numeric(name):
            return None
        with suppress(FormatError):
            return np.asarray(self._values(name)[:, 0] != 0)
        return None

    # --- what is said -----------------------------------------------------------------------------------

    def _texts(self, name: str) -> list[str]:
        leaf = self.dataset.leaves.get(name)
        if leaf is None or name not in self.features:
            return []
        if not (leaf.kind == "text" or leaf.dtype == "string" or name.endswith("/instruction")):
            return []
        self.used.add(name)
        try:
            return texts_of(leaf, self.features[name])
        except ValueError as error:
            self.warnings.append(f"{name} holds {error}; left out")
            return []

    def _language(self, steps: int, ours: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Segment, ...] | None]:
        substeps = None
        for word in SUBSTEPS:
            for name in (f"{STEPS}/{word}", f"{OBSERVATION}/{word}"):
                texts = self._texts(name) if substeps is None else []
                if len(texts) == steps and any(text.strip() for text in texts):
                    substeps = run_length(texts)
        found: list[str] = []
        for word in INSTRUCTIONS:
            for name in (f"{STEPS}/{word}", f"{OBSERVATION}/{word}", f"{METADATA}/{word}", word):
                texts = self._texts(name)
                spoken = Counter(text for text in texts if text.strip())
                found += [text for text, _ in spoken.most_common(1)]
                if len(spoken) > 1 and len(texts) == steps and substeps is None:
                    text = f"{name} changes within the episode: its {len(spoken)} texts are substeps"
                    self.guesses.append(Guess(GuessAbout.LABELS, text))
                    substeps = run_length(texts)
        more = ours.get("paraphrases")
        found += [text for text in more if isinstance(text, str)] if isinstance(more, list) else []
        return tuple(dict.fromkeys(found)), substeps

    def _ours(self) -> Mapping[str, Any]:
        texts = self._texts(f"{METADATA}/{OURS}")
        if not texts:
            return {}
        try:
            found = json.loads(texts[0])
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _rate(self, ours: Mapping[str, Any]) -> float | None:
        """Ours to the bit: a tf.train.Example has no number of more than 32."""
        if isinstance(fps := ours.get("fps"), float | int) and not isinstance(fps, bool) and 0 < fps < 10_000:
            self.used.add(f"{METADATA}/fps")
            return float(fps)
        for word in RATES:
            name = f"{METADATA}/{word}"
            leaf = self.dataset.leaves.get(name)
            if leaf is not None and leaf.is_numeric and name in self.features:
                with suppress(ValueError):
                    values = values_of(leaf, self.features)
                    self.used.add(name)
                    if values.size == 1 and np.isfinite(values).all() and 0 < float(values[0, 0]) < 10_000:
                        return float(values[0, 0])
        return None

    def _success(self, ours: Mapping[str, Any], steps: int) -> bool | None:
        if ours:
            return ours["success"] if isinstance(ours.get("success"), bool) else None
        flags = None
        name = f"{METADATA}/success"
        leaf = self.dataset.leaves.get(name)
        if leaf is not None and leaf.is_numeric and name in self.features:
            with suppress(*ODD):
                self.used.add(name)
                flags = bool(values_of(leaf, self.features)[0, 0])
        if flags is None and self._numeric(f"{STEPS}/reward"):
            with suppress(FormatError):
                rewards = self._values(f"{STEPS}/reward")
                flags = True if len(rewards) == steps and (rewards[-1] > 0).all() else None
                if flags:
                    text = "the episode succeeded: its last reward is positive"
                    self.guesses.append(Guess(GuessAbout.OUTCOME, text))
        return flags

    # --- cameras ----------------------------------------------------------------------------------------

    def _cameras(self, steps: int) -> dict[str, SourceCamera]:
        leaves = [leaf for leaf in self.dataset.leaves.values() if leaf.is_camera and leaf.name.startswith(f"{STEPS}/")]
        last = Counter(leaf.name.rpartition("/")[2] for leaf in leaves)
        found = {}
        for leaf in leaves:
            short = leaf.name.rpartition("/")[2]
            name = short if last[short] == 1 else leaf.name.removeprefix(f"{STEPS}/").replace("/", "_")
            self.used.add(leaf.name)
            if (feature := self.features.get(leaf.name)) is None:
                self.warnings.append(f"camera {name} has no frames in this episode; left out")
                continue
            found[name] = self._camera(leaf, feature, steps, self._clock(IMAGE_TIME + name, steps))
        depth = [leaf.name.rpartition("/")[2] for leaf in self.dataset.leaves.values() if leaf.is_depth]
        if depth:
            self.warnings.append(f"depth or an image without colours is left out: {', '.join(depth[:8])}")
            self.used |= {leaf.name for leaf in self.dataset.leaves.values() if leaf.is_depth}
        if not found:
            raise FormatError(f"{self.where}: no images; expected at least one camera in steps/observation")
        if len(found) > bounds.MAX_CAMERAS:
            raise FormatError(f"{self.where}: {len(found)} cameras, expected at most {bounds.MAX_CAMERAS}")
        return found

    def _camera(self, leaf: Leaf, feature: Feature, steps: int, times: NDArray[np.float64] | None) -> SourceCamera:
        try:
            blobs = feature.blobs()
            if len(blobs) != steps:
                raise ValueError(f"{len(blobs)} frames, expected {steps}")
            first = _pixels(leaf, blobs[0])
            jpeg = isinstance(first, bytes)
            height, width = jpeg_size(first) if isinstance(first, bytes) else first.shape[:2]
        except ValueError as error:
            raise FormatError(f"{self.where}: {leaf.name} holds {error}; leave the episode out") from error

        def frames() -> Iterator[bytes | NDArray[np.uint8]]:
            for step, blob in enumerate(blobs):
                image = _pixels(leaf, blob)
                if isinstance(image, bytes) != jpeg:
                    raise FormatError(f"{leaf.name}, step {step}: JPEG and other images are mixed; convert them to one")
                yield image

        return SourceCamera(frames=frames, jpeg=jpeg, height=int(height), width=int(width), timestamp=times)

    def _tell_unused(self) -> None:
        if self.dataset.missing:
            self.warnings.append(self.dataset.missing)
        left = [
            name.removeprefix(f"{STEPS}/")
            for name in self.dataset.leaves
            if name not in self.used and name.rpartition("/")[2] not in KEPT_BOOKS and "embedding" not in name
        ]
        if left:
            more = f" and {len(left) - 12} more" if len(left) > 12 else ""
            self.warnings.append(
                f"features that an episode of ours has no place for are left out: {', '.join(left[:12])}{more}"
            )


def _pixels(leaf: Leaf, blob: memoryview) -> bytes | NDArray[np.uint8]:
    """JPEG as it is, everything else decoded."""
    if leaf.kind != "image":
        if (size := leaf.shape[0] * leaf.shape[1]) > MAX_PIXELS:  # type: ignore[operator]
            raise ValueError(f"an image that declares {size} pixels, at most {MAX_PIXELS} are read")
        return np.asarray(unpacked(leaf, blob), np.uint8)
    if len(blob) > bounds.MAX_ROW:
        raise ValueError(f"an image of {len(blob)} bytes, at most {bounds.MAX_ROW} are read")
    data = bytes(blob)
    return data if data[:2] == b"\xff\xd8" else decode_other(data)
