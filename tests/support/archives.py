"""Archives that the studio makes, unpacked as on any Python that it supports."""

import tarfile
from pathlib import Path


def unpack(archive: Path, folder: Path) -> None:
    """Refuses members that would leave `folder`, where Python can: extractall's `filter` came with 3.11.4, and Debian's
    3.11.2 knows neither it nor this attribute."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder)
