"""Files that stay open while samples are drawn from all over a dataset: a number that does not grow with it."""

import resource
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_MOST = 512  # a file that is opened anew costs as much as the rest of a small sample
_SHARE = 4  # of what the process may open at all: others hold files too
_Key = TypeVar("_Key", bound=Hashable)
_Opened = TypeVar("_Opened")


def most_handles() -> int:
    """How many file handles a set of samples may hold in this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(8, min(_MOST, soft // _SHARE))


class OpenFiles(Generic[_Key, _Opened]):
    """Those that were asked for last, `most` of them. close: what is done with one that goes."""

    def __init__(self, most: int, *, close: Callable[[_Opened], object] = lambda opened: None) -> None:
        self._most, self._close = max(1, most), close
        self._open: OrderedDict[_Key, _Opened] = OrderedDict()

    def get(self, key: _Key, opened: Callable[[], _Opened]) -> _Opened:
        """What is open under `key`, or what `opened` opens now."""
        if key not in self._open:
            if len(self._open) >= self._most:
                self._close(self._open.popitem(last=False)[1])
            self._open[key] = opened()
        self._open.move_to_end(key)
        return self._open[key]
