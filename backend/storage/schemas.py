"""The disk, and files and rows that do not belong together."""

from backend.core.schemas import Out


class StrayOut(Out):
    """Files of a kind that no row of the database knows. names: the first of them, with what is in them. adoptable: of
    this kind some may get rows again."""

    kind: str
    count: int
    size_bytes: int
    names: list[str]
    adoptable: bool


class StorageOut(Out):
    """free_bytes of the data folder's disk; disk: "ok", or what is wrong. strays: what no row knows, empty kinds left
    out; missing: rows whose files are gone, the first of missing_count. forgotten: what the database lost, seen at the
    last start. busy: strays are being adopted. note: what became of the last adoption."""

    free_bytes: int
    disk: str
    strays: list[StrayOut]
    missing: list[str]
    missing_count: int
    forgotten: str | None
    busy: bool
    note: str | None
