"""An S3-compatible store: objects under the keys of a data folder, read through a cache of this machine."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store as Client

from backend.core.s3_place import S3Place
from backend.store.base import Listed, StoreAwayError, Stored, StoreDamagedError
from backend.store.cache import Cache, Wanted

_BLOCK = 8 << 20  # of a read: one request, tried again as a whole
_PART = 16 << 20  # of an upload: with 10000 of them, an object has 156 GiB at most
_PARTS_AT_ONCE = 4
_BATCH = 1000  # keys that a server deletes in one request
_PROBE = ".studio-probe"
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")


class S3Store:
    """Each part of an upload is signed with its own sha256, which the server compares; a file that is read is compared
    with the sha256 of the whole before anybody sees it (backend.store.cache)."""

    remote = True

    def __init__(
        self, place: S3Place, cache: Cache, *, settings: str = "STUDIO_STORE_KEY and STUDIO_STORE_SECRET"
    ) -> None:
        """settings: which of them give the keys, for people."""
        self._place, self._cache, self._settings = place, cache, settings
        self.name = place.url if place.endpoint is None else f"{place.url} at {place.endpoint}"
        self._client = _client(place, retries=6, seconds=60)
        self._quick = _client(place, retries=1, seconds=5)

    def put(self, source: Path, file: Stored) -> None:
        self._upload(source, file)
        if file.sha256 is None:
            source.unlink()
        else:
            self._cache.take(source, file.sha256)

    def share(self, source: Path, file: Stored) -> None:
        self._upload(source, file)

    def _upload(self, source: Path, file: Stored) -> None:
        with self._in_words(file.key):
            obstore.put(self._client, file.key, source, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)
            there = int(obstore.head(self._client, file.key)["size"])
        if there != file.size:
            raise StoreDamagedError(f"{file.key}: {there} of {file.size} bytes arrived in {self.name}")

    def path(self, file: Stored) -> Path:
        with _named(file.key):
            return self._cache.file(self._wanted(file))

    def folder(self, name: str, files: Iterable[Stored]) -> Path:
        wanted = {Path(file.key).name: self._wanted(file) for file in files}
        with _named(name):
            return self._cache.folder(name, wanted)

    def _wanted(self, file: Stored) -> Wanted:
        assert file.sha256 is not None, f"{file.key}: without its hash nobody could tell whether it is right"

        def fetch(target: BinaryIO) -> None:
            for block in self.read(file.key, 0, file.size):
                target.write(block)

        return Wanted(sha256=file.sha256, size=file.size, fetch=fetch)

    def read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        for first in range(start, end, _BLOCK):
            last = min(first + _BLOCK, end)
            with self._in_words(key):
                block = bytes(obstore.get_range(self._client, key, start=first, end=last))
            if len(block) != last - first:
                raise StoreDamagedError(f"{key}: shorter than {end} bytes")
            yield block

    def size(self, key: str) -> int | None:
        try:
            with self._in_words(key):
                return int(obstore.head(self._client, key)["size"])
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[Listed]:
        with self._in_words(prefix):
            for chunk in obstore.list(self._client, prefix or None):
                for one in chunk:
                    if one["path"] == _PROBE:
                        continue
                    yield Listed(key=one["path"], size=one["size"], changed_at=one["last_modified"])

    def delete(self, keys: Iterable[str]) -> None:
        left = list(keys)
        for first in range(0, len(left), _BATCH):
            with self._in_words(left[first]):
                obstore.delete(self._client, left[first : first + _BATCH])

    def problem(self, *, write: bool = False) -> str | None:
        try:
            with self._in_words(_PROBE):
                if write:
                    obstore.put(self._quick, _PROBE, b"a studio keeps its files here", use_multipart=False)
                    obstore.delete(self._quick, _PROBE)
                else:
                    next(iter(obstore.list(self._quick, _PROBE, chunk_size=1)), None)
        except StoreAwayError as error:
            return error.message
        except FileNotFoundError:
            return f"{self.name}: there is no such bucket; make it, or mend STUDIO_STORE"
        return None

    @contextmanager
    def _in_words(self, key: str) -> Iterator[None]:
        """The client's errors may hold whole answers of a server: what they come to is said instead."""
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(f"{key} is not in {self.name}") from None
        except (UnauthenticatedError, PermissionDeniedError) as error:
            raise StoreAwayError(
                f"{self.name} does not let the studio in ({_code(error) or 'access denied'}); look at "
                f"{self._settings}, and what they may do there."
            ) from None
        except BaseError as error:
            why = _code(error) or "it does not answer"
            raise StoreAwayError(
                f"{self.name} cannot be used at the moment ({why}). Nothing was changed; try again in a moment."
            ) from None


def _client(place: S3Place, *, retries: int, seconds: float) -> Client:
    given: dict[str, Any] = {} if place.endpoint is None else {"endpoint": place.endpoint}
    if place.key is not None and place.secret is not None:
        given |= {"access_key_id": place.key, "secret_access_key": place.secret.get_secret_value()}
    return Client(
        place.bucket,
        prefix=place.prefix or None,
        region=place.region,
        client_options={
            "allow_http": (place.endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=min(5.0, seconds)),
            "timeout": timedelta(seconds=seconds),
        },
        retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=2 * seconds)},
        **given,
    )


def _code(error: BaseError) -> str | None:
    """The server's own word for it, such as NoSuchBucket."""
    found = _CODE.search(str(error))
    return None if found is None else found[1]


@contextmanager
def _named(key: str) -> Iterator[None]:
    try:
        yield
    except StoreDamagedError as error:
        raise StoreDamagedError(f"{key}: {error}; it is damaged in the store, restore it from a backup") from None
