"""The store that the settings name."""

from backend.core.settings import Settings
from backend.store.base import Store
from backend.store.folder import FolderStore


def open_store(settings: Settings) -> Store:
    """Asks nothing of it yet."""
    place = settings.store_place
    if place is None:
        return FolderStore(settings.data)
    from backend.store.cache import Cache
    from backend.store.s3 import S3Store

    cache = Cache(settings.folder.store_cache, limit=int(settings.cache_gb * 2**30))
    return S3Store(place, cache)
