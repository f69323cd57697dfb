"""Kept on the server, so that they are the same at every desk."""

from sqlalchemy.orm import Session

from backend.identity.actor import Actor
from backend.preferences.schemas import PreferencesIn, PreferencesOut, PreferencesPage
from backend.tables.preferences import Preferences
from backend.tables.user import User


def preferences(db: Session, me: Actor, page: PreferencesPage) -> PreferencesOut:
    row = db.get(Preferences, (me.id, page.value))
    return PreferencesOut(value={} if row is None else row.value)


def keep(db: Session, me: Actor, page: PreferencesPage, body: PreferencesIn) -> PreferencesOut:
    db.get(User, me.id, with_for_update=True)  # of two first saves at once the second finds the first one's row
    row = db.get(Preferences, (me.id, page.value))
    if row is None:
        db.add(Preferences(user_id=me.id, page=page.value, value=body.value))
    else:
        row.value = body.value
    return PreferencesOut(value=body.value)
