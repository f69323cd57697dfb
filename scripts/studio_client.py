"""A person without a browser, for scripts and tests that try a studio from outside. Needs nothing but Python, frames
aside."""

import http.client
import json
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROBOT = "aloha-sim"
CAMERAS = {"cam_high", "cam_left_wrist", "cam_right_wrist"}
READY = "Studio ready: "  # and the address: what `studio up` prints then
PASSWORD = "correct horse battery"


class Refused(AssertionError):
    """The studio did not do what it must."""


class StudioClient:
    """Talks to the studio at `address`, the line that it prints when it is ready, setup link or not."""

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        assert parts.hostname is not None
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.token = urllib.parse.parse_qs(parts.query).get("token", [""])[0]
        self.cookie = ""
        self._host, self._port = parts.hostname, parts.port or 80

    def request(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON (bytes of anything else). Raises Refused for a status of 400 and more."""
        headers = {"Origin": self.origin, "Content-Type": "application/json"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status >= 400:
                raise Refused(f"{method} {path}: {answer.status} {content[:500].decode(errors='replace')}")
            self.cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0] or self.cookie
            return json.loads(content) if answer.getheader("Content-Type") == "application/json" else content
        finally:
            connection.close()

    def set_up(self, name: str = "first") -> None:
        """Make the first administrator with the setup link's token and be signed in."""
        if not self.token:
            raise Refused(f"{self.origin} printed no setup link")
        self.request("POST", "/api/auth/setup", {"token": self.token, "name": name, "password": PASSWORD})

    def healthy(self) -> dict[str, Any] | None:
        """What /api/health says once all of it is well."""
        try:
            told: dict[str, Any] = self.request("GET", "/api/health")
        except (OSError, http.client.HTTPException, Refused):  # 503 while the application is being started
            return None
        well = told["status"] == "ok" and told["database"] == "ok" and told["broker"] == "ok"
        return told if well and told["workers"] and told["robots"] else None

    def holding(self) -> dict[str, Any] | None:
        """The simulated robot, once it holds with its cameras. Raises Refused with the reason of a fault."""
        found = [robot for robot in self.request("GET", "/api/robots") if robot["name"] == ROBOT]
        status = found[0]["status"] if found else {"state": "not there"}
        if status["state"] == "fault":
            raise Refused(f"the robot is in fault: {status['reason']}")
        return status if status["state"] == "holding" and not status["camera_fault"] else None

    def job(self, job_id: str) -> dict[str, Any] | None:
        """The job once it is done. Raises Refused if it ended otherwise."""
        job: dict[str, Any] = self.request("GET", f"/api/jobs/{job_id}")
        if job["state"] in {"failed", "cancelled"}:
            log = self.request("GET", f"/api/jobs/{job_id}/log")["text"]
            raise Refused(f"{job['title']}: {job['state']}, {job['cause']}\n{log[-2000:]}")
        return job if job["state"] == "done" else None

    def moving_frames(self, each: int = 10) -> dict[str, int]:
        """Watch every camera through the page's own socket until each has sent `each` frames, newer and newer.

        Returns bytes of the last frame by camera. Needs the package websockets.
        """
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        from dexvla.live.messages import FRAME_HEADER

        url = f"ws://{self._host}:{self._port}/api/live/{ROBOT}/video"
        numbers: dict[str, list[int]] = {name: [] for name in CAMERAS}
        sizes: dict[str, int] = {}
        with connect(
            url, additional_headers={"Cookie": self.cookie}, origin=self.origin, compression=None, max_size=2**24
        ) as socket:
            socket.send(json.dumps({"type": "watch", "cameras": sorted(CAMERAS)}))
            deadline = time.monotonic() + 60
            while min(map(len, numbers.values())) < each:
                try:
                    data = socket.recv(timeout=max(0.1, deadline - time.monotonic()))
                except (TimeoutError, ConnectionClosed) as error:
                    counts = {name: len(found) for name, found in numbers.items()}
                    raise Refused(f"frames ended ({str(error) or 'none came'}) after {counts}") from error
                assert isinstance(data, bytes)
                number, _age, length = FRAME_HEADER.unpack_from(data)
                name = data[FRAME_HEADER.size : FRAME_HEADER.size + length].decode()
                jpeg = data[FRAME_HEADER.size + length :]
                if not (jpeg.startswith(b"\xff\xd8") and jpeg.endswith(b"\xff\xd9")):
                    raise Refused(f"{name}: what came is no whole JPEG")
                if numbers[name] and number <= numbers[name][-1]:
                    raise Refused(f"{name}: frame {number} came after {numbers[name][-1]}")
                numbers[name].append(number)
                sizes[name] = len(jpeg)
                socket.send(json.dumps({"type": "ack", "camera": name, "number": number}))
        return sizes


def family(data: Path) -> list[int]:
    """Processes that were told of this data folder, whoever started them."""
    mark = f"STUDIO_DATA={data}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def until(condition: Callable[[], Any], what: str, *, seconds: float) -> Any:
    """Ask again and again until it is true; returns what it became. Raises Refused."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Refused(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)
    return found
