"""Taking access away takes all of it: sessions, API tokens, links and, at once, open sockets."""

from sqlalchemy.orm import Session

from backend.accounts.schemas import AccessEnded
from backend.core.db import after_commit
from backend.identity import repository
from backend.studio.context import Studio
from backend.tables.user import User


def end_access(db: Session, studio: Studio, user: User, *, keep: str | None = None) -> AccessEnded:
    """End every session of a person but `keep` (a hash), every token, and every unused link of or for them.

    A link that they made lets somebody in in their name, and one for a new password lets in whoever has it.
    """
    ended = AccessEnded(
        sessions=repository.end_sessions(db, user.id, keep=keep),
        tokens=repository.end_tokens(db, user.id),
        links=repository.end_links(db, user.id),
    )
    recheck_sockets(db, studio, user.id)
    return ended


def recheck_sockets(db: Session, studio: Studio, user_id: str) -> None:
    """When this transaction is there to be read, whoever holds sockets of that person looks whether they still may."""
    after_commit(db, lambda: studio.access_watch.announce(studio.broker, user_id))
