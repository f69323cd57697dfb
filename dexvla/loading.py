"""Loading large libraries without waiting for the garbage collector."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Around the imports of torch, transformers or the API in a command that goes on for long after them.

    They make objects by the hundred thousand and nearly no garbage, and the collector looks through all of them again
    and again: a quarter of the time that a training takes to begin, a third of the API's.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
