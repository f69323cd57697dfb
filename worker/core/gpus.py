"""How many GPUs a worker may use, without loading torch."""

import os
import shutil
import subprocess

_SECONDS = 20


def visible_gpus() -> int:
    """STUDIO_GPUS if it is set, else those of CUDA_VISIBLE_DEVICES, else what nvidia-smi lists."""
    wanted = os.environ.get("STUDIO_GPUS", "")
    if wanted.isdecimal():
        return int(wanted)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    present = _listed()
    if visible is None or not present:
        return present
    names = [name.strip() for name in visible.split(",") if name.strip()]
    if "-1" in names:  # CUDA ignores it and what follows
        names = names[: names.index("-1")]
    return min(present, len(names))


def _listed() -> int:
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        found = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):  # a driver that is not loaded
        return 0
    return sum(line.startswith("GPU ") for line in found.stdout.splitlines())
