"""Files of a store as parts of a download: read range by range, while they are sent."""

from backend.core.downloads import Part
from backend.store.base import Store, Stored


def stored_part(store: Store, file: Stored) -> Part:
    return Part(size=file.size, read=lambda start, end: store.read(file.key, start, end))
