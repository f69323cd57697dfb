"""Give up, for good, what looking at a foreign file does not need: other files, the network, memory and time.

Landlock (Linux 5.13 and later) takes away all files but those to be read and written and the program's own, from its
fourth version TCP too, and from its sixth signals to other processes. A network namespace of its own is taken where the
kernel allows it. The limits on resources hold everywhere.
"""

import ctypes
import os
import resource
import signal
import struct
import sysconfig
from contextlib import suppress
from functools import cache
from pathlib import Path

import backend
import dexvla

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_RULE_PATH_BENEATH = 1
# rights to files, in the order of the kernel's header (linux/landlock.h)
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_FILE = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TCP = 0b11  # bind, connect
_OUTSIDE = 0b11  # abstract sockets of other processes, and signals to them


def leave_network() -> bool:
    """Into a network namespace without any way out. False where the kernel or a container forbids it.

    To be called before there are threads: only a process of one thread may take a user namespace.
    """
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    return bool(unshare(_CLONE_NEWNET) == 0 or unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


def die_with_parent(parent: int) -> None:
    """Killed as soon as the thread that started this process ends, however it ends; now, where `parent` is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def limit(*, memory_bytes: int, cpu_seconds: int | None, file_bytes: int, threads: bool = False) -> None:
    """A write past file_bytes fails with EFBIG (Python ignores SIGXFSZ), the CPU limit ends in SIGXCPU.

    cpu_seconds None: `allow_seconds` says it, again and again. threads: libraries may begin some, as those of tables
    and videos do.
    """
    limits = [
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ]
    if cpu_seconds is not None:
        limits.append((resource.RLIMIT_CPU, cpu_seconds))
    if not threads:
        limits.append((resource.RLIMIT_NPROC, 0))
    for what, most in limits:
        with suppress(ValueError, OSError):  # an administrator's own limit may be lower, and cannot be raised
            resource.setrlimit(what, (most, most))


def allow_seconds(seconds: int) -> None:
    """So much computing from now on, after which SIGXCPU ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(used.ru_utime + used.ru_stime) + seconds
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (wanted if most < 0 else min(wanted, most), most))


def keep_only(*, readable: Path, writable: Path | None) -> bool:
    """From here on only these two, files or folders that must exist, and Python's code can be opened.

    In a folder that is writable files and folders may be made, renamed and removed. False where the kernel has no
    Landlock.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = (1 << {1: 13, 2: 14}.get(version, 15)) - 1
    allowed = _READ_FILE | _WRITE_FILE | (_TRUNCATE if version >= 3 else 0)
    handled = (rights, *((_TCP,) if version >= 4 else ()), *((_OUTSIDE,) if version >= 6 else ()))
    attributes = struct.pack(f"{len(handled)}Q", *handled)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    rules = [(readable, _READ_FILE | (_READ_DIR if readable.is_dir() else 0))]
    if writable is not None:
        within = _READ_DIR | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_FILE
        rules.append((writable, allowed | (within if writable.is_dir() else 0)))
    rules += [(folder, _EXECUTE | _READ_FILE | _READ_DIR) for folder in code()]
    for path, wanted in rules:
        descriptor = os.open(path, os.O_PATH)
        rule = struct.pack("=Qi", wanted, descriptor)
        if libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0):
            raise OSError(ctypes.get_errno(), "landlock_add_rule failed")
        os.close(descriptor)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self failed")
    os.close(ruleset)
    return True


@cache
def code() -> set[Path]:
    """Folders that modules and libraries may still be loaded from, late: not those around them, which may hold data."""
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    places |= {"/usr/lib", "/usr/lib64", "/lib", "/lib64", *backend.__path__, *dexvla.__path__}
    return {Path(place) for place in places if Path(place).is_dir()}
