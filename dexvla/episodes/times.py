"""What a column of time stamps means: seconds, in which unit, or nothing that can be kept. Always told with numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNITS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
_EPOCH = (9e8, 4.2e9)  # seconds since 1970 of the years 1998 to 2103
_RATES = (0.2, 1000.0)  # Hz, of steps that anybody records
_ALIKE = 0.1  # part by which two rates may differ and be the same one
_REGULAR = 0.2  # part of the intervals' middle by which most of them may differ, for a rate to be guessed
_FILM = tuple(whole * 1000 / 1001 for whole in (24, 30, 48, 60, 120))  # Hz, of film and television, to the bit
_SAME_RATE = 2e-4  # part by which a measured rate may differ from them: they lie 1e-3 beside whole ones
_GAP = 10.0  # times the middle interval
_GAP_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Times:
    """seconds: (T,) float64, None where they are left out. said: sentences about it, empty where all is well.

    seconds = (stored - start) * unit. fps: the rate that they show, Hz, None where they show none.
    """

    seconds: NDArray[np.float64] | None
    said: tuple[str, ...] = ()
    start: int | float = 0
    unit: float = 1.0
    fps: float | None = None

    def likewise(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Other stamps of the same clock, in the same seconds."""
        return _scaled(stored, self.start, self.unit)


def judge(stored: NDArray[Any], *, fps: float | None = None, name: str = "timestamp") -> Times:
    """Judge the stamps of the steps, (T,) numbers. fps: the rate that is declared, Hz; it settles what is unclear.

    Seconds stay as they are, wherever they start. Other units become seconds from the first step.
    """
    steps = len(stored)
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        bad = ~np.isfinite(stored)
        return _left_out(
            f"{name}: {int(bad.sum())} of {steps} time stamps are not finite, first at step {int(np.argmax(bad))}"
        )
    if steps < 2:
        return Times(seconds=np.asarray(stored, np.float64))
    # unsigned numbers wrap around, and large whole ones are exact as integers only
    with np.errstate(over="ignore"):
        gaps = np.diff(stored.astype(np.float64)) if stored.dtype.kind == "f" else _differences(stored)
    if not gaps.any():
        return _left_out(f"{name}: all {steps} time stamps are {stored[0]:g}")
    if (gaps < 0).any():
        step = int(np.argmax(gaps < 0)) + 1
        return _left_out(
            f"{name} runs backwards at step {step}, from {float(stored[step - 1]):.10g} to {float(stored[step]):.10g}"
        )
    middle = float(np.median(gaps[gaps > 0]))
    word = _unit(float(stored[0]), middle, fps)
    if word is None:
        return _left_out(
            f"{name}: its steps are {middle:g} apart, which is no rate of {_RATES[0]:g} to {_RATES[1]:g} Hz in any of "
            + ", ".join(_UNITS)
        )
    unit = _UNITS[word]
    start: int | float = 0 if word == "seconds" else stored[0].item()
    seconds = _scaled(stored, start, unit)
    said = list(_about_unit(name, word, stored, seconds, middle * unit))
    rate = 1.0 / (middle * unit)
    if fps is not None and abs(rate / fps - 1) > _ALIKE:
        said.append(
            f"{name}: its steps are {middle * unit:.4g} s apart, {rate:.4g} Hz, but fps says {fps:g} Hz; "
            "both are kept as they are, one of them is wrong"
        )
    said += _about_gaps(name, gaps * unit, middle * unit)
    return Times(seconds=seconds, said=tuple(said), start=start, unit=unit, fps=_regular(gaps * unit, rate))


def exact_rate(measured: float) -> float:
    """Hz; the rate of film or television that a measured one is (30000/1001 of 29.97), to the bit; else the same."""
    return next((rate for rate in _FILM if abs(measured / rate - 1) <= _SAME_RATE), measured)


def guess_told(fps: float) -> str:
    """What is said of a rate that the stamps gave."""
    return f"fps: {fps:g} Hz, guessed from the time stamps; the file itself does not say it"


def _left_out(why: str) -> Times:
    return Times(seconds=None, said=(f"{why}; left out",))


def _differences(stored: NDArray[Any]) -> NDArray[np.float64]:
    whole = stored.astype(np.int64) if stored.dtype.kind in "iu" and stored.dtype != np.uint64 else stored
    if whole.dtype == np.uint64:
        later, before = whole[1:], whole[:-1]
        return np.where(later >= before, (later - before).astype(np.float64), -(before - later).astype(np.float64))
    return np.diff(whole).astype(np.float64)


def _unit(first: float, middle: float, fps: float | None) -> str | None:
    """The unit's name. Stamps since 1970 tell it by their size, others by the interval."""
    for word, unit in _UNITS.items():
        if _EPOCH[0] <= first * unit <= _EPOCH[1] and _plausible(middle * unit):
            return word
    fitting = [word for word, unit in _UNITS.items() if _plausible(middle * unit)]
    if fps is not None:
        declared = [word for word in fitting if abs(1.0 / (middle * _UNITS[word]) / fps - 1) <= _ALIKE]
        fitting = declared or fitting
    return fitting[0] if fitting else None


def _plausible(interval: float) -> bool:
    return _RATES[0] * 0.99 <= 1.0 / interval <= _RATES[1] * 1.01


def _about_unit(name: str, word: str, stored: NDArray[Any], seconds: NDArray[np.float64], interval: float) -> list[str]:
    if word != "seconds":
        since = " since 1970" if _EPOCH[0] <= float(stored[0]) * _UNITS[word] <= _EPOCH[1] else ""
        return [
            f"{name} holds {word}{since}, {stored[0].item()} to {stored[-1].item()}; read as seconds from "
            f"the first step, 0 to {seconds[-1]:.6g}, {1 / interval:.4g} Hz"
        ]
    if interval >= 0.9 and bool((stored == np.round(stored)).all()) and float(stored[0]) < _EPOCH[0]:
        return [
            f"{name}: its steps are {interval:g} apart and whole; taken for seconds, {1 / interval:.4g} Hz, but they "
            "may be numbers of steps"
        ]
    return []


def _about_gaps(name: str, gaps: NDArray[np.float64], middle: float) -> list[str]:
    said = []
    wide = gaps > max(_GAP * middle, _GAP_SECONDS)
    if wide.any():
        step = int(np.argmax(wide))
        said.append(
            f"{name}: {int(wide.sum())} gaps, the first of {gaps[step]:.4g} s between steps {step} and {step + 1}, "
            f"where {middle:.4g} s are usual; steps are missing there"
        )
    same = int((gaps == 0).sum())
    if same:
        said.append(f"{name}: {same} of {len(gaps) + 1} time stamps repeat the one before")
    return said


def _regular(gaps: NDArray[np.float64], rate: float) -> float | None:
    """The rate to guess, rounded where the stamps are; None where most intervals differ."""
    if np.mean(np.abs(gaps * rate - 1) <= _REGULAR) < 0.5:
        return None
    usual = gaps[np.abs(gaps * rate - 1) <= _REGULAR]
    exact = 1.0 / float(np.mean(usual))
    uncertain = 2 * float(np.abs(usual * exact - 1).max()) / len(usual)
    if uncertain <= _SAME_RATE and (film := exact_rate(exact)) != exact:
        return film
    whole = round(exact)
    return float(whole) if whole and abs(exact / whole - 1) < 0.02 else round(exact, 3)


def _scaled(stored: NDArray[Any], start: int | float, unit: float) -> NDArray[np.float64]:
    if unit == 1.0 and not start:
        return np.asarray(stored, np.float64)
    if stored.dtype.kind in "iu" and isinstance(start, int):
        whole = np.array([int(value) - start for value in stored.tolist()], np.float64)  # exact, also beyond 2**53
    else:
        whole = stored.astype(np.float64) - start
    return whole / round(1 / unit)  # dividing by 1e9 gives the nearest number, multiplying by 1e-9 does not
