"""What one address, one connection and one request may have. The figures, and who has used up what."""

import resource
from collections import OrderedDict
from typing import Protocol

from backend.core.settings import Settings

HEAD_SECONDS = 10.0  # from the first byte of a request, or from connecting, to the end of its headers
HEAD_BYTES = 64 * 1024
HEADERS = 200
IDLE_SECONDS = 75.0  # between two requests of a connection
BODY_SECONDS = 20.0  # without a byte of a body that is awaited
BODY_BYTES_PER_SECOND = 512.0  # in the mean, counted after `BODY_SECONDS`
READ_SECONDS = 300.0  # in which who was sent an answer has to take a piece of it

KIB, MIB = 2**10, 2**20
UNSIGNED_BODY = 16 * KIB  # more is read only from somebody who is signed in
_SMALL_BODY = 8 * KIB
_BODY = 2 * MIB
_LISTED_BODY = 8 * MIB  # names and sizes of files that are to be uploaded
_TEXTS_BODY = 64 * MIB  # labels of a whole dataset, brought as a file of text

PER_ADDRESS = 512  # connections; a page has about ten
_ALL = 8192
_RESERVED_FILES = 512  # for what is not a connection
_SMALL = ("/api/auth", "/api/links", "/api/users", "/api/invitations", "/api/settings")


def most_bytes(method: str, path: str, settings: Settings) -> int:
    """The largest body that a request may have."""
    if method in {"GET", "HEAD", "OPTIONS", "DELETE"} or path.startswith(_SMALL):
        return _SMALL_BODY
    if method == "PATCH" and path.startswith("/api/uploads/"):
        return (settings.max_upload_mb + 1) * MIB
    if method == "POST" and path.startswith("/api/datasets/"):
        last = path.rpartition("/")[2]
        if last == "uploads":
            return _LISTED_BODY
        if last == "episodes":  # the application says what is too large in words of its own; nothing is read before
            return (settings.max_upload_mb + 1) * MIB
        if last == "labels":
            return _TEXTS_BODY
    return _BODY


def raise_file_limit() -> int:
    """As many open files as the machine lets this process have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Client(Protocol):
    """A connection, as the register sees it. idle: no request of it is being answered. sending: one is, whose body is
    still coming."""

    @property
    def idle(self) -> bool: ...

    @property
    def sending(self) -> bool: ...

    def evict(self) -> None: ...


class Register:
    """Who is connected, oldest first. Where there is no more room, whoever asks for nothing has to go.

    A connection of ours needs a second file, to the application or to a robot host.
    """

    def __init__(self, files: int, *, per_address: int = PER_ADDRESS) -> None:
        self.per_address = per_address
        self.all = max(16, min(_ALL, (files - _RESERVED_FILES) // 2))
        self._clients: dict[str, OrderedDict[Client, None]] = {}
        self._count = 0

    def admit(self, address: str, client: Client, *, bounded: bool = True) -> bool:
        """False if there is no room. bounded: of one address no more than `per_address`."""
        mine = self._clients.get(address)
        if bounded and mine is not None and len(mine) >= self.per_address and not self._make_room(mine):
            return False
        if self._count >= self.all and not self._make_room(max(self._clients.values(), key=len)):
            return False
        self._clients.setdefault(address, OrderedDict())[client] = None
        self._count += 1
        return True

    def leave(self, address: str, client: Client) -> None:
        """Nothing if it has left already."""
        mine = self._clients.get(address)
        if mine is None or client not in mine:
            return
        del mine[client]
        self._count -= 1
        if not mine:
            del self._clients[address]

    def touch(self, address: str, client: Client) -> None:
        """It asked for something: others have been idle for longer."""
        mine = self._clients.get(address)
        if mine is not None and client in mine:
            mine.move_to_end(client)

    def _make_room(self, clients: "OrderedDict[Client, None]") -> bool:
        least = next((client for client in clients if client.idle), None)
        least = least or next((client for client in clients if client.sending), None)
        if least is None:
            return False
        least.evict()
        return True

    def __len__(self) -> int:
        return self._count
