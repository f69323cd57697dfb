"""What endpoints ask for: a database session, and a person with a role.

`Db` is one transaction a request: committed before the answer is sent, rolled back on any error. Requests that change
nothing (GET, HEAD) take no write lock.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection
from sqlalchemy.orm import Session

from backend.core.errors import DiskFullError, ForbiddenError, NotSignedInError
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.studio.context import Studio, studio_of


def _session(connection: HTTPConnection) -> Iterator[Session]:
    studio, method = studio_of(connection), connection.scope.get("method", "GET")
    changes = method not in {"GET", "HEAD", "OPTIONS"}
    if changes and method != "DELETE" and not _frees(connection.url.path):
        require_space(studio)
    with studio.db.transaction(write=changes) as session:
        yield session


def require_space(studio: Studio) -> None:
    """Raises DiskFullError on a disk so full that only what frees space is done."""
    if studio.space.freeing_only:
        raise DiskFullError(f"The disk is {studio.space.report()}. Nothing was changed.")


def _needs_space(connection: HTTPConnection) -> None:
    require_space(studio_of(connection))


def _frees(path: str) -> bool:
    """Whether it still works on a full disk whose reserve was touched: signing in, stopping, cancelling, tidying."""
    return path.startswith(("/api/auth/", "/api/robots/", "/api/live/", "/api/storage")) or path.endswith("/cancel")


NeedsSpace = Depends(_needs_space)  # of what writes without `Db`, in transactions of its own
Parts = Annotated[Studio, Depends(studio_of)]
Db = Annotated[Session, Depends(_session, scope="function")]


def actor_of(connection: HTTPConnection) -> Actor | None:
    """Who is signed in, by cookie or token, or None."""
    from backend.access.identify import identify

    cached: Actor | None = getattr(connection.state, "actor", None)
    if cached is None:
        cached = identify(studio_of(connection), connection)
        connection.state.actor = cached
    return cached


def require(role: Role) -> Callable[[HTTPConnection], Actor]:
    """A dependency that lets through who has at least `role`. Works for sockets too."""

    def check(connection: HTTPConnection) -> Actor:
        actor = actor_of(connection)
        if actor is None:
            raise NotSignedInError("Sign in first.")
        if not actor.role.allows(role):
            raise ForbiddenError(f"This needs the role {role.value}; you are {actor.role.value}. Ask an administrator.")
        return actor

    return check


Viewer = Annotated[Actor, Depends(require(Role.VIEWER))]
Annotator = Annotated[Actor, Depends(require(Role.ANNOTATOR))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
Admin = Annotated[Actor, Depends(require(Role.ADMIN))]
