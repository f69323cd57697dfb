"""/api/me/preferences: how a person likes a page to be."""

from fastapi import APIRouter

from backend.access.dependencies import Db, Viewer
from backend.preferences import service
from backend.preferences.schemas import PreferencesIn, PreferencesOut, PreferencesPage

router = APIRouter(prefix="/api/me/preferences", tags=["preferences"])


@router.get("/{page}")
def get_preferences(db: Db, me: Viewer, page: PreferencesPage) -> PreferencesOut:
    return service.preferences(db, me, page)


@router.put("/{page}")
def keep_preferences(db: Db, me: Viewer, page: PreferencesPage, body: PreferencesIn) -> PreferencesOut:
    return service.keep(db, me, page, body)
