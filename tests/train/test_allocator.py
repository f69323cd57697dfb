"""Memory is kept between steps."""

import platform
import subprocess
import sys

import pytest

_COUNT = """
import resource, torch
from dexvla.train.allocator import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(4, 1 << 20).add(1)  # two tensors of 16 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
assert keep_memory()
faults()
print(usual, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_large_tensors_are_not_mapped_anew() -> None:
    """Before, each of their pages is touched for the first time every time, unless pages are huge."""
    done = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert kept < 200
    assert kept < usual / 2
