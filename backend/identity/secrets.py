"""Passwords (argon2id), tokens, and the setup token."""

import hashlib
import os
import secrets
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dexvla.files import atomic_file

_hasher = PasswordHasher()


def new_token() -> str:
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """sha256 (hex). Tokens are random and long, so a slow hash adds nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def hash_password(password: str) -> str:
    """Takes a tenth of a second and 64 MiB: requests go through backend.identity.hashing."""
    return _hasher.hash(password)


@cache
def _nobody() -> str:
    return _hasher.hash("nobody has this password")


def password_matches(password: str, password_hash: str | None) -> bool:
    """Takes as long for a name that does not exist (password_hash None) as for one that does."""
    nobody = _nobody()
    try:
        return _hasher.verify(password_hash or nobody, password) and password_hash is not None
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
