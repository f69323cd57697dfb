"""Who signs in to a studio under test."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from backend.core.roles import Role
from backend.identity.secrets import hash_password

PASSWORD = "correct horse battery"
PASSWORD_HASH = hash_password(PASSWORD)

# The fixture `client`: client("operator") is a browser that somebody of that role is signed in with.
SignIn = Callable[[Role | str], TestClient]
