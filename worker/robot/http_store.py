"""The studio as a robot host on another machine reaches it: an address and a key. See dexvla.live.hosting."""

import contextlib
import hashlib
import logging
import os
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from dexvla.errors import UserError
from dexvla.live.hosting import (
    KEY_PREFIX,
    PIECE_BYTES,
    Announcement,
    DatasetFacts,
    HandedIn,
    Handover,
    Received,
    Welcome,
)
from dexvla.live.status import HostStatus
from worker.robot.store import AwayError, FinishedRecording, RefusedError

log = logging.getLogger("studio.robot")

_SECONDS = 20.0  # a studio whose database is locked answers late
_SIGN_SECONDS = 2.0
_WHOLE_SECONDS = 0.5
_LOOKED_AT_SECONDS = 1200.0  # a recording is inspected before it is listed, after those before it
_TRIES = 3  # of a recording of which the studio says that it has another length, or another sum

M = TypeVar("M", bound=BaseModel)


class HttpStore:
    """A `worker.robot.store.Store` over HTTP.

    url: scheme, host, perhaps a port and a path. token_file: where the token is kept that the studio shows when it asks
    this host, so that a host that is started again while the studio is away is found again.
    """

    def __init__(self, url: str, key: str, *, name: str, token_file: Path) -> None:
        """Raises UserError for what is no address or no key; asks nothing yet."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise UserError(f"--studio {url!r}: expected the studio's address, such as https://studio.example.org")
        if not key.startswith(KEY_PREFIX) or not key.isascii() or not key.isprintable():
            raise UserError(
                f"--key (STUDIO_ROBOT_KEY): expected a key that begins with {KEY_PREFIX}; an administrator makes one "
                f"where the studio runs, with: studio robot-key {name}"
            )
        self._token_file = token_file
        self.token = token_file.read_text(encoding="ascii").strip() if token_file.is_file() else None
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/robot-hosts/{quote(name, safe='')}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=_SECONDS,
            follow_redirects=False,
        )

    def announce(self, *, kind: str, address: str, status: HostStatus) -> str:
        try:
            token = self._ask(
                "PUT", "/announcement", Welcome, Announcement(kind=kind, address=address, status=status)
            ).token
        except RefusedError as error:
            raise AwayError(str(error)) from error
        if token != self.token:
            self._keep(token)
        return token

    def withdraw(self, *, address: str) -> None:
        try:
            self._send("DELETE", "/announcement", params={"address": address}, seconds=_SIGN_SECONDS)
        except RefusedError as error:
            raise AwayError(str(error)) from error

    def sign(self, status: HostStatus) -> None:
        with contextlib.suppress(AwayError, RefusedError):
            self._send("PUT", "/sign", status, seconds=_SIGN_SECONDS)

    def unsign(self) -> None:
        """`withdraw` says it."""

    def trouble(self) -> str | None:
        try:
            self._send("GET", "/studio", seconds=_WHOLE_SECONDS)
        except (AwayError, RefusedError):
            return "the studio does not answer"
        return None

    def dataset(self, dataset_id: str) -> DatasetFacts | None:
        try:
            return self._ask("GET", f"/datasets/{quote(dataset_id, safe='')}", DatasetFacts)
        except RefusedError:
            return None

    def hand_in(self, recording: FinishedRecording) -> str:
        """Sends what the studio does not have yet, compares sums, and has it listed."""
        path = f"/recordings/{recording.id}"
        with recording.file.open("rb") as file:
            asked = Handover(
                dataset_id=recording.dataset_id,
                by=recording.by,
                size=os.fstat(file.fileno()).st_size,
                sha256=hashlib.file_digest(file, "sha256").hexdigest(),
            )
            there = self._ask("POST", path, Received, asked).received
            for _ in range(_TRIES):
                try:
                    while there < asked.size:
                        file.seek(there)
                        piece = file.read(PIECE_BYTES)
                        answer = self._send("PATCH", path, piece, params={"offset": there})
                        there = _read(answer, Received).received
                    return self._ask("POST", f"{path}/end", HandedIn, asked, seconds=_LOOKED_AT_SECONDS).episode_id
                except _LengthError as error:
                    log.warning("a recording goes on at byte %d: %s", error.received, error)
                    there = error.received
        raise AwayError("the studio says each time that it has another part of the recording")

    def close(self) -> None:
        self._http.close()

    def _keep(self, token: str) -> None:
        self.token = token
        try:
            with os.fdopen(os.open(self._token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(token)
        except OSError as error:
            log.warning("the studio's token cannot be kept for the next start (%s)", error.strerror)

    def _ask(self, method: str, path: str, answer: type[M], body: BaseModel | None = None, **more: Any) -> M:
        return _read(self._send(method, path, body, **more), answer)

    def _send(
        self,
        method: str,
        path: str,
        body: BaseModel | bytes | None = None,
        *,
        params: dict[str, Any] | None = None,
        seconds: float = _SECONDS,
    ) -> httpx.Response:
        """Raises AwayError, RefusedError, _LengthError."""
        content = body.model_dump_json().encode() if isinstance(body, BaseModel) else body
        kind = "application/json" if isinstance(body, BaseModel) else "application/octet-stream"
        headers = {} if body is None else {"Content-Type": kind}
        try:
            answer = self._http.request(method, path, content=content, headers=headers, params=params, timeout=seconds)
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: the client was closed meanwhile
            raise AwayError(f"the studio does not answer ({error or type(error).__name__})") from error
        if answer.is_success:
            return answer
        message, detail = _error(answer)
        if answer.status_code == 409 and isinstance(detail, dict) and isinstance(detail.get("received"), int):
            raise _LengthError(message, detail["received"])
        if answer.status_code in {404, 422}:
            raise RefusedError(message)
        raise AwayError(message)


class _LengthError(Exception):
    """The studio has `received` bytes of the recording, which is not what was taken for granted."""

    def __init__(self, message: str, received: int) -> None:
        super().__init__(message)
        self.received = received


def _read(answer: httpx.Response, model: type[M]) -> M:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise AwayError("what answers at the studio's address is no studio, or one of another version") from error


def _error(answer: httpx.Response) -> tuple[str, Any]:
    try:
        error = answer.json()["error"]
        return str(error["message"]), error.get("detail")
    except (ValueError, KeyError, TypeError):
        return f"the studio answered with status {answer.status_code}", None
