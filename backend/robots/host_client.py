"""The HTTP client to a robot host: short requests with short timeouts, in the caller's thread.

Stop and re-arming have a wire of their own (backend.robots.stopping)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from backend.core.errors import ApiError, ConflictError, InvalidError, NotFoundError, UnavailableError
from dexvla.live.status import HostStatus

_SECONDS = 2.0
_MAX_ANSWER = 32 * 2**20
M = TypeVar("M", bound=BaseModel)

# A connection for each request, straight to the host whatever proxy is set; hosts speak plain HTTP, so no certificates.
_http = httpx.Client(trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0))


class HostAwayError(UnavailableError):
    """The robot host gave no proper answer."""


class UnknownRequestError(UnavailableError):
    """The robot host knows no such request: it is of an earlier version."""


_ERRORS: dict[int, type[ApiError]] = {
    404: NotFoundError,
    405: UnknownRequestError,
    409: ConflictError,
    422: InvalidError,
}


@dataclass(frozen=True, kw_only=True)
class HostClient:
    """A robot host at `address` (host:port)."""

    name: str
    address: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def stop(self, request: BaseModel) -> HostStatus:
        return self.ask("POST", "/stop", HostStatus, request)

    def arm(self, request: BaseModel) -> HostStatus:
        return self.ask("POST", "/arm", HostStatus, request)

    def state(self) -> HostStatus:
        return self.ask("GET", "/state", HostStatus)

    def frame(self, camera: str) -> bytes:
        """JPEG of the newest frame. Raises UnavailableError if the camera gives none."""
        # the path has the name that hosts of every version know
        return self._ask("GET", f"/picture/{quote(camera, safe='')}")

    def ask(
        self,
        method: str,
        path: str,
        answer: type[M],
        request: BaseModel | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = _SECONDS,
    ) -> M:
        """seconds: how long the host may take. Raises HostAwayError, or what the host says is wrong as an ApiError."""
        content = self._ask(method, path, request, headers=headers, seconds=seconds)
        try:
            return answer.model_validate_json(content)
        except ValidationError as error:
            raise HostAwayError(
                f"What answers in the place of the robot host of {self.name} is not one: restart the host."
            ) from error

    def _ask(
        self,
        method: str,
        path: str,
        request: BaseModel | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = _SECONDS,
    ) -> bytes:
        own = {**self.headers, "Content-Type": "application/json", **(headers or {})}
        response = _http.stream(
            method,
            f"http://{self.address}{path}",
            content=None if request is None else request.model_dump_json(),
            headers=own,
            timeout=httpx.Timeout(seconds, connect=_SECONDS),
        )
        content = bytearray()
        try:
            with response as answer:
                for piece in answer.iter_bytes():
                    content += piece
                    if len(content) > _MAX_ANSWER:
                        raise httpx.DecodingError("longer than any answer of a host")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise HostAwayError(f"The robot host of {self.name} does not answer ({self.address}).") from error
        if answer.status_code != 200:
            raise _ERRORS.get(answer.status_code, UnavailableError)(f"{self.name}: {_reason(content)}")
        return bytes(content)


def _reason(content: bytes | bytearray) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return "the robot host answered with an error"
