"""The warm process: it has imported what looking at a file needs, and forks a process for each file.

    python -m backend.intake.warm

Standard input is a socket of the process that started it (`backend.intake.child`), with which it ends. A message is the
name of a module, with four descriptors: a line to who asks, and the standard input, output and error of the process to
be forked. That one runs `main` of the module, which confines it before it looks at anything, and ends: none serves two
files. What it is to do it reads itself, so that nothing of a file is ever in the memory that later ones inherit.

On the line we say its pid, then its exit status, as subprocess does. They say a byte to have it killed with all that it
started, and close the line when they need it no more, which kills it too. Until then it is not waited for, so that its
pid is nobody else's.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass

from backend.intake import broken, confine, examine, inspect  # noqa: F401  # what is imported here no file waits for

_LONGEST = 256  # bytes of a message
_IDLE_SECONDS = 600  # without a file; whoever has one then starts another warm process
_ENDED_BY_US = {signal.SIGKILL, signal.SIGXCPU}


@dataclass
class _Forked:
    pid: int
    pidfd: int
    line: int
    over: bool = False
    let_go: bool = False

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)  # it may have no session of its own yet
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def say(self, number: int) -> None:
        with suppress(OSError):  # nobody listens any more: the line says so next
            os.write(self.line, str(number).encode())


class Warm:
    """Descriptors are numbers here: an object would close its own in the forked process, where it is another's."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests: socket.socket | None = requests
        self._forked: dict[int, _Forked] = {}  # by line and by pidfd
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)

    def serve(self) -> None:
        """Until whoever started us is gone, or has had nothing to do for long."""
        while self._requests is not None or self._forked:
            events = self._poll.poll(None if self._forked else _IDLE_SECONDS * 1000)
            if not events:
                return
            descriptor = events[0][0]  # one at a time: after it the number may be another descriptor's
            if (one := self._forked.get(descriptor)) is None:
                self._answer()
            elif descriptor == one.line:
                self._hear(one)
            else:
                self._over(one)

    def _answer(self) -> None:
        assert self._requests is not None
        module, given, _, _ = socket.recv_fds(self._requests, _LONGEST, 4)
        if not module:
            self._take_no_more()
            return
        us = os.getpid()
        pid = os.fork()
        if not pid:
            _be(module.decode(), given, us)
        for descriptor in given[1:]:
            os.close(descriptor)
        one = _Forked(pid=pid, pidfd=os.pidfd_open(pid), line=given[0])
        for descriptor in (one.line, one.pidfd):
            self._forked[descriptor] = one
            self._poll.register(descriptor, select.POLLIN)
        one.say(pid)

    def _take_no_more(self) -> None:
        if self._requests is not None:
            self._poll.unregister(self._requests)
            self._requests.close()
            self._requests = None

    def _hear(self, one: _Forked) -> None:
        try:
            one.let_go = not os.read(one.line, _LONGEST)
        except ConnectionResetError:
            one.let_go = True
        one.kill()
        if one.let_go:
            self._forget(one.line)
            if one.over:
                os.waitpid(one.pid, 0)

    def _over(self, one: _Forked) -> None:
        ended = os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        one.over = True
        self._forget(one.pidfd)
        if one.let_go:
            os.waitpid(one.pid, 0)
            return
        crashed = ended.si_code != os.CLD_EXITED
        one.say(-ended.si_status if crashed else ended.si_status)
        if crashed and ended.si_status not in _ENDED_BY_US:
            self._take_no_more()  # a file that crashes its reader may be guessing addresses: the next finds other ones

    def _forget(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._forked[descriptor]
        os.close(descriptor)


def _be(module: str, given: list[int], parent: int) -> None:
    """The forked process, to its end."""
    try:
        os.setsid()
        confine.die_with_parent(parent)
        for number, descriptor in enumerate(given[1:]):
            os.dup2(descriptor, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        importlib.import_module(module).main()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"{len(threads)} threads: a fork may hang, and takes no user namespace"
    confine.code()  # found out once
    gc.freeze()  # what is here stays shared
    Warm(socket.socket(fileno=0)).serve()


if __name__ == "__main__":
    main()
