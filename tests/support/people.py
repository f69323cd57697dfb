"""Who signs in to a studio under test."""

from collections.abc import Callable

from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from backend.core.roles import Role

PASSWORD = "correct horse battery"
# A hash says itself how much work it takes: nearly every test signs in, and few are about that.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

# The fixture `client`: client("operator") is a browser that somebody of that role is signed in with.
SignIn = Callable[[Role | str], TestClient]
