"""Input that no client of ours sends is a 4xx in words, wherever it goes in."""

import json
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.core.errors import MAX_FIELD_ERRORS, InvalidError
from backend.core.settings import Settings
from backend.labels.dataset.formats import KnownEpisode, read
from backend.tables.document import Tier
from backend.web.screening import MAX_DEPTH, MAX_PATH, fault_in_json
from tests.support.live_studio import LiveStudio, live_studio
from tests.support.people import SignIn

pytestmark = pytest.mark.slow

PREFERENCES = "/api/me/preferences/annotator"
JSON = {"Content-Type": "application/json"}


def nested(levels: int) -> bytes:
    """So many objects in one another."""
    return b'{"value":' + b'{"a":' * (levels - 1) + b"1" + b"}" * levels


BODIES = {
    "900 levels": (nested(900), "64 levels"),
    "one level too many": (nested(MAX_DEPTH + 1), "64 levels"),
    "100 000 levels": (b"[" * 100_000, "64 levels"),
    "half a character": (b'{"value":{"a":"\\ud800"}}', "half a character"),
    "halves in the wrong order": (b'{"value":{"a":"\\udc00\\ud83d"}}', "half a character"),
    "half a character in a name": (b'{"value":{"\\udfff":1}}', "half a character"),
    "half a character as bytes": (b'{"value":{"a":"\xed\xa0\x80"}}', "UTF-8"),
    "half a character behind a byte order mark": (b'\xef\xbb\xbf{"value":{"a":"\\ud800"}}', "half a character"),
    "NUL, written out": (b'{"value":{"a":"\\u0000"}}', "NUL"),
    "UTF-16": ('{"value":{}}'.encode("utf-16-le"), "NUL"),
    "Latin-1": (b'{"value":{"a":"\xe4"}}', "UTF-8"),
    "NaN": (b'{"value":{"a":NaN}}', "NaN"),
    "-Infinity": (b'{"value":{"a":-Infinity}}', "Infinity"),
    "a number beyond a double": (b'{"value":{"a":1e400}}', "double"),
    "a number beyond 64 bits": (b'{"value":{"a":9223372036854775808}}', "64 bits"),
    "a number of 5 000 digits": (b'{"value":{"a":' + b"9" * 5000 + b"}}", "64 bits"),
}


@pytest.mark.parametrize("body", BODIES)
def test_odd_bodies(client: SignIn, body: str) -> None:
    content, word = BODIES[body]
    answer = client("viewer").put(PREFERENCES, content=content, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert word in answer.json()["error"]["message"]
    assert client("viewer").get(PREFERENCES).json() == {"value": {}}


@pytest.mark.parametrize(
    "value",
    [
        {"a": "\\ud800"},  # a backslash and letters
        {"a": "\U0001f600 NaN Infinity \u202eabc"},
        {"a": 2**63 - 1, "b": -(2**63), "c": 1e308, "d": "9" * 400},
        {"a": '[[[["' * 40},
    ],
)
def test_what_only_looks_odd_is_kept(client: SignIn, value: dict[str, Any]) -> None:
    assert client("viewer").put(PREFERENCES, json={"value": value}).status_code == 200
    assert client("viewer").get(PREFERENCES).json() == {"value": value}


def test_as_deep_as_is_allowed_is_stored_and_read(client: SignIn) -> None:
    content = nested(MAX_DEPTH)
    assert client("viewer").put(PREFERENCES, content=content, headers=JSON).status_code == 200
    assert client("viewer").get(PREFERENCES).json() == json.loads(content)


def test_brackets_in_texts_that_do_not_end_count_for_nothing() -> None:
    """And each byte is looked at once: with a second look at each this would take minutes."""
    assert fault_in_json(b'"' + b'\\"[' * 200_000) is None
    assert fault_in_json(b'["' + b"[" * 1000 + b'"]') is None
    assert fault_in_json(b'["a"]' + b"]" * 1000 + b"[" * 1000) is None


def test_answers_name_at_most_twenty_fields(client: SignIn) -> None:
    """However many are wrong, and however long their names are."""
    operator = client("operator")
    unknown = {f"field {number} {'x' * 300}": 1 for number in range(3000)}
    for path, body in (
        ("/api/auth/tokens", {f"k{number}": 1 for number in range(400)}),
        ("/api/datasets", {"name": "n", **unknown}),
        ("/api/datasets/0/work/assign", {"user_id": None, "episode_ids": [{"x": 1}] * 2000}),
    ):
        answer = operator.post(path, json=body)
        assert answer.status_code == 422, (path, answer.text[:300])
        error = answer.json()["error"]
        assert len(error["fields"]) <= MAX_FIELD_ERRORS, path
        assert len(answer.content) < 20_000, path
    few = operator.post("/api/datasets", json={"name": "n", **{f"k{number}": 1 for number in range(20)}})
    assert len(few.json()["error"]["fields"]) == 20


def test_bodies_are_as_large_as_their_route_needs(client: SignIn, anonymous: TestClient) -> None:
    large = anonymous.post("/api/auth/login", json={"name": "a", "password": "x" * 9000})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
    pieces = (b'{"name":"' + b"x" * 1000 for _ in range(20))
    assert anonymous.post("/api/auth/login", content=pieces, headers=JSON).status_code == 413
    operator = client("operator")
    assert operator.post("/api/datasets", json={"name": "x" * 3_000_000}).status_code == 413
    dataset = operator.post("/api/datasets", json={"name": "n"}).json()["id"]
    labels = {"format": "csv", "content": "text\n" + "x" * 3_000_000}
    assert operator.post(f"/api/datasets/{dataset}/labels", json=labels).status_code == 422
    assert operator.post(f"/api/datasets/{dataset}/episodes", content=b"x" * 3_000_000).status_code == 422


TABLES = {
    "a cell": "episode,start_step,end_step,text\n0,0,1," + "x" * 131_073,
    "the first line": "text" + "x" * 131_073 + "\n",
    "a quote that does not end": 'text\n"' + "x" * 140_000,
    "no column": "\n\n\n",
    "NUL": "te\0xt\n1",
    "too many cells": "text\n" + "a," * 5000,
    "a number beyond all": "episode,start_step,end_step,text\n0,0," + "9" * 300 + ",a",
    "seconds beyond all": "episode,start_seconds,end_seconds,text\n0,0,1e999,a",
}


@pytest.mark.parametrize("form", ["csv", "elan", "json"])
@pytest.mark.parametrize("table", TABLES)
def test_odd_files_of_labels(client: SignIn, table: str, form: str) -> None:
    dataset = client("operator").post("/api/datasets", json={"name": "n"}).json()["id"]
    body = {"format": form, "content": TABLES[table]}
    answer = client("operator").post(f"/api/datasets/{dataset}/labels", json=body)
    assert answer.status_code in {400, 422}, answer.text
    if (form, table) in {("csv", "a cell"), ("csv", "the first line")}:
        line = 2 if table == "a cell" else 1
        assert f"Line {line} is not CSV: field larger than field limit" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("form", "row"), [("csv", "{},0,1,a\n"), ("elan", "substep\t\t0\t0.1\t0.1\ta\tepisode_{}\n")], ids=["csv", "elan"]
)
def test_more_rows_than_an_episode_has_steps_are_not_kept(form: str, row: str) -> None:
    """A file of 20 MB took minutes and gigabytes before anything was said: its first fault ends it now."""
    known = [KnownEpisode(number=0, steps=12, fps=10.0)]
    head = "episode,start_step,end_step,text\n" if form == "csv" else ""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidError, match=r"Line 1[34]: episode 0 has 12 steps and more segments"):
            read(head + row.format(0) * 200_000, form, Tier.SUBSTEP, known, None)
        with pytest.raises(InvalidError, match=r"Line [12] is about episode 7"):
            read(head + row.format(7) * 200_000, form, Tier.SUBSTEP, known, None)
        assert tracemalloc.get_traced_memory()[1] < 60 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "labels",
    [
        '{"episodes":' * 500,
        '{"episodes":[{"number":0,"fps":NaN,"segments":[{"start":0,"end":1,"text":"a"}]}]}',
        '{"episodes":[{"number":1e30,"segments":[{"start":0,"end":1,"text":"a"}]}]}',
        '{"episodes":[{"number":' + "9" * 30 + ',"segments":[{"start":0,"end":1,"text":"a"}]}]}',
        '{"episodes":[{"number":0,"segments":[{"start":0,"end":1,"text":"\\ud800"}]}]}',
        '{"episodes":[{"number":0,"segments":[{"start":0,"end":1,"text":"a","source":"\\u0000"}]}]}',
    ],
)
def test_odd_json_of_labels(client: SignIn, labels: str) -> None:
    dataset = client("operator").post("/api/datasets", json={"name": "n"}).json()["id"]
    body = {"format": "json", "content": labels}
    assert client("operator").post(f"/api/datasets/{dataset}/labels", json=body).status_code == 422


ADDRESSES = [
    "/api/datasets/%00",
    "/api/datasets/%ff%fe",
    "/api/datasets/%ed%a0%80",
    "/api/datasets/..%2f..%2f..%2fetc%2fpasswd",
    "/api/audit?subject=%00",
    "/api/audit?offset=99999999999999999999999",
    "/api/audit?offset=" + "9" * 5000,
    "/api/episodes/x/frames/cam/" + "9" * 30,
    "/api/episodes/x/pack?start=" + "9" * 30,
    "/api/jobs/x/log?offset=" + "9" * 30,
    "/%00",
    "/" + "a" * 300,
    "/" + "a" * (MAX_PATH + 1),
    "/assets/%00",
    "/assets/" + "a" * 300,
    "/api/links?token=%ed%a0%80",
    "/api/links?token=%00",
]


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: address[:40])
def test_odd_addresses(client: SignIn, address: str) -> None:
    answer = client("admin").get(address)
    assert answer.status_code < 500 or "not built" in answer.text, answer.text
    assert answer.status_code >= 400 or address == "/" + "a" * 300  # an address of the page, whose router says so


# --- over real sockets: heads that no client library would send ------------------------------------------------------


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, broker_url: str) -> Iterator[LiveStudio]:
    settings = Settings(data=tmp_path_factory.mktemp("odd") / "studio", redis_url=broker_url)
    with live_studio(settings) as live:
        live.cookie("viewer")
        yield live


def said(live: LiveStudio, head: bytes) -> bytes:
    """The answer to a request of these bytes, up to its end or the connection's."""
    with socket.create_connection(("127.0.0.1", live.port), 30) as connection:
        connection.sendall(head)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer


HOST = b"Host: 127.0.0.1\r\n"
HEADS = {
    "Host: [x": b"Host: [x\r\n",
    "Host: a b": b"Host: a b\r\n",
    "Host of bytes": b"Host: \xff\xfe\r\n",
    "Host with a user": b"Host: a@127.0.0.1\r\n",
    "Host with a path": b"Host: 127.0.0.1/x\r\n",
    "Host with a port beyond all": b"Host: 127.0.0.1:99999999\r\n",
    "two Hosts": HOST + b"Host: evil.example\r\n",
    "odd cookie": HOST + b'Cookie: studio_session="\\\xff\x80; =; ;;=\xff\r\n',
    "odd Authorization": HOST + b"Authorization: Bearer dvs_\xff\xfe\xed\xa0\x80\r\n",
    "Authorization alone": HOST + b"Authorization: Bearer\r\n",
    "odd Origin": HOST + b"Origin: http://[x\r\n",
    "odd Range": HOST + b"Range: bytes=9-1,,a-,-\r\n",
    "odd If-None-Match": HOST + b"If-None-Match: \xff\r\n",
    "odd forwarding": HOST + b"X-Forwarded-For: [x, \xff\r\nX-Forwarded-Proto: \xff\r\n",
    "unknown charset": HOST + b"Content-Type: application/json; charset=klingon\r\n",
    "odd content type": HOST + b"Content-Type: ;;;=/json\xff\r\n",
}
BODY = b'{"name":"a","password":"b"}'
WRONG_HOSTS = {"Host: [x", "Host: a b", "Host of bytes", "Host with a user", "Host with a path", "two Hosts"}


@pytest.mark.parametrize("head", HEADS)
def test_odd_heads(live: LiveStudio, head: str) -> None:
    cookie = b"Cookie: " + live.cookie("viewer").encode() + b"\r\n"
    for line, body in ((b"GET /api/datasets", b""), (b"GET /", b""), (b"POST /api/auth/login", BODY)):
        length = b"Content-Length: %d\r\n" % len(body)
        mine = b"" if b"ookie" in HEADS[head] else cookie
        answer = said(live, line + b" HTTP/1.1\r\nConnection: close\r\n" + mine + HEADS[head] + length + b"\r\n" + body)
        status = int(answer.split(b" ", 2)[1])
        assert 200 <= status < 500 or b"not built" in answer, (line, answer[:300])
        if head in WRONG_HOSTS:
            assert status == 400, (line, answer[:300])


def test_an_odd_host_opens_no_socket(live: LiveStudio) -> None:
    key = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4\r\n"
    for path in (b"/api/events", b"/api/live/aloha-sim/state"):
        answer = said(live, b"GET " + path + b" HTTP/1.1\r\nHost: [x\r\n" + key + b"\r\n")
        assert answer.split(b" ", 2)[1] in {b"400", b"403"}, answer[:200]


def test_every_number_that_is_asked_for_has_bounds(app: FastAPI) -> None:
    """Of 64 bits at most, or the database would say no in its own way."""
    schema = app.openapi()
    unbounded: list[str] = []
    seen: set[str] = set()

    def look(node: Any, where: str) -> None:
        if isinstance(node, list):
            for one in node:
                look(one, where)
        elif isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in seen:
                seen.add(name)
                look(schema["components"]["schemas"][name], name)
            low = node.get("minimum", node.get("exclusiveMinimum"))
            high = node.get("maximum", node.get("exclusiveMaximum"))
            wide = low is None or high is None or low < -(2**63) or high > 2**63 - 1
            if node.get("type") == "integer" and "enum" not in node and "const" not in node and wide:
                unbounded.append(where)
            for key, one in node.items():
                look(one, f"{where}.{key}")

    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                look(parameter["schema"], f"{method} {path} {parameter['name']}")
            look(operation.get("requestBody", {}), f"{method} {path}")
    assert unbounded == []


def test_settings_of_the_environment_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names a user"):
        Settings(data=tmp_path, public_url="https://ada:secret@studio.example")
