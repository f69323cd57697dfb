"""Accounts from the command line, by whoever may read the data folder."""

from datetime import timedelta

from backend.accounts.schemas import UserOut
from backend.audit.service import record
from backend.core.db import Database, database_now
from backend.core.settings import Settings
from backend.identity import repository
from backend.identity.secrets import new_token, token_hash
from backend.tables.link import Link
from dexvla.errors import UserError


def database_of(settings: Settings) -> Database:
    """Raises UserError where no studio's data is."""
    if settings.database_url is None and not settings.folder.database.is_file():
        raise UserError(f"{settings.data}: no studio's data is there; name its folder with --data or STUDIO_DATA")
    return Database(settings.sql_url)


def all_users(settings: Settings) -> list[UserOut]:
    with database_of(settings).transaction(write=False) as db:
        return [UserOut.model_validate(user) for user in repository.users(db)]


def reset_link(settings: Settings, name: str) -> str:
    """A link that sets a new password once, within an hour. Raises UserError for an unknown name."""
    token = new_token()
    with database_of(settings).transaction() as db:
        user = repository.user_by_name(db, name)
        if user is None:
            known = ", ".join(person.name for person in repository.users(db)) or "nobody"
            raise UserError(f"there is no account {name!r}; there is: {known}")
        if user.disabled:
            raise UserError(f"the account {user.name!r} is disabled; an administrator enables it in the page first")
        repository.end_resets(db, user.id)  # a newer link voids those before it
        expires = database_now(db) + timedelta(hours=1)
        db.add(Link(token_sha256=token_hash(token), user_id=user.id, created_by=user.id, expires_at=expires))
        record(db, None, "user.reset", user.id, name=user.name, by="command line")
    base = settings.public_url or f"http://{settings.host}:{settings.port}"
    return f"{base}/link?token={token}"
