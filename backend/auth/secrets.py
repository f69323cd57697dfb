"""Passwords (argon2id), tokens, the setup token, and a brake on guessing."""

import hashlib
import os
import secrets
import threading
import time
from collections import deque
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dexvla.files import atomic_file

_hasher = PasswordHasher()
_NOBODY = _hasher.hash("nobody has this password")


def new_token() -> str:
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """sha256 (hex). Tokens are random and long, so a slow hash adds nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def hash_password(password: str) -> str:
    return _hasher.hash(password)


def password_matches(password: str, stored: str | None) -> bool:
    """Takes as long for a name that does not exist (stored None) as for one that does."""
    try:
        return _hasher.verify(stored or _NOBODY, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def setup_token(folder: Path) -> str:
    """The one-time token of the setup link, made on first use, readable by the studio's user alone."""
    file = folder / "setup-token"
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        with atomic_file(file, overwrite=False) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(new_token(), encoding="ascii")
        return file.read_text(encoding="ascii").strip()


def is_setup_token(folder: Path, token: str) -> bool:
    return secrets.compare_digest(setup_token(folder).encode(), token.encode())


def forget_setup_token(folder: Path) -> None:
    (folder / "setup-token").unlink(missing_ok=True)


class Brake:
    """At most `tries` failures in `seconds` for a key, counted in this process."""

    def __init__(self, *, tries: int, seconds: float) -> None:
        self._tries, self._seconds = tries, seconds
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def wait_seconds(self, key: str) -> float:
        """How long `key` has to wait before the next try; 0 if it may try now."""
        with self._lock:
            failures = self._recent(key)
            return 0.0 if len(failures) < self._tries else failures[0] + self._seconds - time.monotonic()

    def failed(self, key: str) -> None:
        with self._lock:
            self._recent(key).append(time.monotonic())

    def _recent(self, key: str) -> deque[float]:
        if len(self._failures) > 10_000:
            self._failures.clear()
        failures = self._failures.setdefault(key, deque(maxlen=self._tries))
        while failures and failures[0] < time.monotonic() - self._seconds:
            failures.popleft()
        return failures


def ensure_secret(file: Path) -> str:
    """A secret that processes of this studio share, made once, mode 0600."""
    if not file.exists():
        try:
            with atomic_file(file, overwrite=False) as temporary:
                os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
                temporary.write_text(new_token(), encoding="ascii")
        except FileExistsError:
            pass  # another process was faster: its secret counts
    return file.read_text(encoding="ascii").strip()
