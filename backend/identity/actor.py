"""Who asks."""

from dataclasses import dataclass

from backend.core.roles import Role


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who asks."""

    id: str
    name: str
    role: Role
