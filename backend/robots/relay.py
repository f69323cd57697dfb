"""The API's side of the conversation with a robot host: short requests with short timeouts, in the caller's thread."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from backend.errors import UnavailableError
from backend.robots.host import HostStatus

_SECONDS = 2.0
_MAX_ANSWER = 32 * 2**20


class HostAwayError(UnavailableError):
    """The robot host gave no proper answer."""


@dataclass(frozen=True, kw_only=True)
class HostClient:
    """A robot host at `address` (host:port)."""

    name: str
    address: str
    token: str

    def stop(self, request: BaseModel) -> HostStatus:
        return self._status("POST", "/stop", request)

    def arm(self, request: BaseModel) -> HostStatus:
        return self._status("POST", "/arm", request)

    def state(self) -> HostStatus:
        return self._status("GET", "/state")

    def picture(self, camera: str) -> bytes:
        """JPEG. Raises UnavailableError if the camera gives none."""
        return self._ask("GET", f"/picture/{quote(camera, safe='')}")

    def _status(self, method: str, path: str, request: BaseModel | None = None) -> HostStatus:
        try:
            return HostStatus.model_validate_json(self._ask(method, path, request))
        except ValidationError as error:
            raise HostAwayError(f"What answers as the robot host of {self.name} is none: restart it.") from error

    def _ask(self, method: str, path: str, request: BaseModel | None = None) -> bytes:
        connection = http.client.HTTPConnection(self.address, timeout=_SECONDS)
        try:
            body = None if request is None else request.model_dump_json()
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read(_MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise HostAwayError(f"The robot host of {self.name} does not answer ({self.address}).") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise UnavailableError(f"{self.name}: {_reason(content)}")
        return content


def _reason(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return "the robot host answered with an error"
