"""A local stand-in for a vision-language model's server: real HTTP, OpenAI's chat completions."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

Answer = tuple[int, bytes]


@dataclass
class VisionServer:
    """answer: from the request's body to status and body; `said` makes an ordinary one. requests: (path, headers,
    body) of all that came."""

    url: str
    answer: Callable[[dict[str, Any]], Answer]
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)


def said(content: str | None) -> Answer:
    message = {"role": "assistant", "content": content}
    answer = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return 200, json.dumps(answer).encode()


def images(body: dict[str, Any]) -> list[Image.Image]:
    """Of a request, decoded."""
    parts = body["messages"][1]["content"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


@contextmanager
def vision_server(answer: Callable[[dict[str, Any]], Answer]) -> Iterator[VisionServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append((self.path, dict(self.headers), body))
            status, content = server.answer(body)
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", content.decode())
                content = b""
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server = VisionServer(url=f"http://127.0.0.1:{listening.server_address[1]}/v1", answer=answer)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.let_go.set()
        listening.shutdown()
        listening.server_close()
        thread.join()
