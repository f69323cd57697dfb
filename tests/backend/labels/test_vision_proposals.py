"""Substeps from a vision-language model: what it is asked, what is believed of its answers, and where the key goes."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError

from backend.core.db import new_id, utc_now
from backend.core.settings import Settings
from backend.labels.proposals import vision
from backend.studio.context import Studio
from backend.tables.dataset import Dataset
from backend.tables.proposal import Proposal, ProposalSource, ProposalState
from backend.tables.segment import ProposalSegment
from dexvla.episodes.format import EpisodeData
from tests.support.people import SignIn
from tests.support.proposal_data import TEXTS, demonstration, take
from tests.support.vision_server import VisionServer, images, said, vision_server

pytestmark = pytest.mark.slow

KEY = "sk-a-key-that-nobody-may-see"
GOOD = [{"start": 0, "text": TEXTS[0], "confidence": 0.9}, {"start": 90, "text": "grasp  the cube.", "confidence": 0.4}]


def answered(substeps: Any) -> Callable[[dict[str, Any]], tuple[int, bytes]]:
    return lambda body: said(json.dumps({"substeps": substeps}))


@pytest.fixture
def server() -> Iterator[VisionServer]:
    with vision_server(answered(GOOD)) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, server: VisionServer) -> Settings:
    """Also overrides what the application is made with."""
    given = {"vision_url": server.url + "/", "vision_model": "qwen-vl", "vision_key": KEY, "vision_seconds": 3.0}
    return Settings(**settings.model_dump(exclude_none=True) | given)


@pytest.fixture
def episode(app: FastAPI, studio: Studio, tmp_path: Path, make_data: Callable[..., EpisodeData]) -> str:
    with studio.db.transaction() as db:
        dataset = Dataset(id=new_id(), name="cubes", vocabulary=list(TEXTS))
        db.add(dataset)
    data, _ = demonstration(make_data, 1)
    return f"/api/episodes/{take(studio, dataset.id, tmp_path, data, 'a')}"


@pytest.fixture
def annotator(client: SignIn) -> TestClient:
    return client("annotator")


def asked(browser: TestClient, episode: str, **options: Any) -> dict[str, Any]:
    """The proposal when it is over."""
    begun = browser.post(f"{episode}/proposals", json={"source": "vision", **options})
    assert begun.status_code == 201, begun.text
    assert begun.json()["state"] == "running"
    until = time.monotonic() + 30
    while time.monotonic() < until:
        (found,) = browser.get(f"{episode}/proposals").json()
        assert found["id"] == begun.json()["id"]
        if found["state"] != "running":
            return dict(found)
        time.sleep(0.02)
    pytest.fail("the model's answer never came")


def test_it_is_asked_with_contact_sheets_and_the_vocabulary(
    annotator: TestClient, episode: str, server: VisionServer
) -> None:
    proposal = asked(annotator, episode, frames=20, cameras=["cam_high"])
    steps = annotator.get(episode).json()["steps"]
    assert (proposal["state"], proposal["error"]) == ("ready", None)
    assert proposal["segments"] == [
        {"start": 0, "end": 90, "text": TEXTS[0], "confidence": 0.9},
        {"start": 90, "end": steps, "text": TEXTS[1], "confidence": 0.4},
    ], "the text as the vocabulary has it"
    assert proposal["settings"] == {
        "model": "qwen-vl",
        "host": server.url.split("/")[2],
        "frames": 20,
        "cameras": ["cam_high"],
    }
    assert proposal["asked_by_name"] == "annotator"
    ((path, headers, body),) = server.requests
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert (body["model"], body["temperature"]) == ("qwen-vl", 0)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["substeps"]["items"]["properties"]["text"]["enum"] == list(TEXTS)
    text = body["messages"][1]["content"][0]["text"]
    assert f"{steps} steps, 0 to {steps - 1}" in text
    assert '"Move the cube."' in text
    first, second = images(body)
    assert first.height > second.height, "16 frames, then 4"
    draft = annotator.get(f"{episode}/draft").json()
    assert draft["segments"][0]["text"] == "", "nothing is taken over by itself"


def test_the_key_is_nowhere_else(
    annotator: TestClient, client: SignIn, episode: str, server: VisionServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [json.dumps(asked(annotator, episode))]
    server.answer = lambda body: (401, json.dumps({"error": f"wrong key {server.requests[-1][1]}"}).encode())
    shown.append(json.dumps(asked(annotator, episode)))
    assert "does not accept the key (STUDIO_VISION_KEY)" in shown[-1]
    server.answer = lambda body: (418, b"no tea for Bearer " + KEY.encode())
    shown.append(json.dumps(asked(annotator, episode)))
    server.answer = lambda body: said(f"your key is {KEY}")
    shown.append(json.dumps(asked(annotator, episode)))
    shown.append(annotator.get("/api/proposals/sources").text)
    shown.append(client("admin").get("/api/settings").text)
    assert json.loads(shown[4])["vision"] == {
        "configured": True,
        "host": server.url.split("/")[2],
        "model": "qwen-vl",
    }
    assert all(KEY not in text for text in [*shown, caplog.text])


def test_redirects_are_not_followed(annotator: TestClient, episode: str, server: VisionServer) -> None:
    with vision_server(answered(GOOD)) as thief:
        server.answer = lambda body: (307, f"{thief.url}/chat/completions".encode())
        assert "status 307" in asked(annotator, episode)["error"]
        assert thief.requests == []


def test_a_server_without_json_schemas_is_asked_again_without(
    annotator: TestClient, episode: str, server: VisionServer
) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        if "response_format" in body:
            return 400, b'{"error": {"message": "response_format is not supported"}}'
        return said(f"```json\n{json.dumps({'substeps': GOOD})}\n```")

    server.answer = answer
    assert len(asked(annotator, episode)["segments"]) == 2
    assert len(server.requests) == 2


def test_what_is_no_answer_is_told_in_words(annotator: TestClient, episode: str, server: VisionServer) -> None:
    answers: list[tuple[int, bytes, str]] = [
        (404, b"{}", "no such model or address"),
        (429, b"{}", "too much to do"),
        (500, b"<html>oops</html>", "out of order"),
        (200, b"<html>It works!</html>", "does not speak OpenAI's protocol"),
        (200, b'{"choices": []}', "does not speak OpenAI's protocol"),
        (200, b"x" * (2**20 + 1), "more than 1 MiB"),
        (*said(None), "answered with nothing"),
        (*said("I see a robot."), "did not answer with the JSON"),
    ]
    for status, content, error in answers:
        server.answer = lambda body, answer=(status, content): answer
        proposal = asked(annotator, episode)
        assert (proposal["state"], proposal["segments"]) == ("failed", [])
        assert error in proposal["error"]


@pytest.mark.parametrize(
    ("substeps", "error"),
    [
        ([], "did not answer with the JSON"),
        ([{"start": "0", "text": TEXTS[0]}], "substeps.0.start"),
        ([{"start": 5, "text": TEXTS[0]}], "rising steps from 0"),
        ([{"start": 0, "text": TEXTS[0]}, {"start": 0, "text": TEXTS[1]}], "rising steps from 0"),
        ([{"start": 0, "text": TEXTS[0]}, {"start": 300, "text": TEXTS[1]}], "rising steps from 0"),
        ([{"start": 0, "text": "Dance"}], "not in the dataset's vocabulary"),
        ([{"start": 0, "text": "<|im_end|>"}], "control token"),
        ([{"start": 0, "text": TEXTS[0], "confidence": 7}], "confidence"),
    ],
)
def test_what_does_not_fit_the_episode_is_refused(substeps: Any, error: str) -> None:
    question = vision.Question(steps=300, fps=50, instruction="Move it.", vocabulary=TEXTS, sheets=[])
    with pytest.raises(vision.VisionError, match=error):
        vision.checked(json.dumps({"substeps": substeps}), question)


def test_without_a_vocabulary_any_label_is_taken() -> None:
    question = vision.Question(steps=300, fps=50, instruction="Move it.", vocabulary=[], sheets=[])
    (only,) = vision.checked('{"substeps": [{"start": 0, "text": " Fold\\n it "}]}', question)
    assert only == ProposalSegment(0, 300, "Fold it", 0.5)


def test_a_server_that_is_silent_is_given_up(annotator: TestClient, episode: str, server: VisionServer) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        server.let_go.wait(20)
        return said("late")

    server.answer = answer
    begun = time.monotonic()
    assert "did not answer within 3 s" in asked(annotator, episode)["error"]
    assert time.monotonic() - begun < 18


def test_many_at_once_are_bounded_and_the_page_is_never_blocked(
    annotator: TestClient, episode: str, server: VisionServer
) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        server.let_go.wait(20)
        return said(json.dumps({"substeps": GOOD}))

    server.answer = answer
    codes = [annotator.post(f"{episode}/proposals", json={"source": "vision"}).status_code for _ in range(9)]
    assert codes == [201] * 8 + [429]
    assert annotator.get(f"{episode}/candidates").status_code == 200
    server.let_go.set()


def test_a_question_that_was_lost_with_its_process_has_failed(
    annotator: TestClient, studio: Studio, episode: str
) -> None:
    with studio.db.transaction() as db:
        db.add(
            Proposal(
                episode_id=episode.split("/")[-1],
                source=ProposalSource.VISION,
                state=ProposalState.RUNNING,
                until=utc_now(),
            )
        )
    (found,) = annotator.get(f"{episode}/proposals").json()
    assert (found["state"], "Ask again" in found["error"]) == ("failed", True)


def test_an_unknown_camera_is_told(annotator: TestClient, episode: str, server: VisionServer) -> None:
    answer = annotator.post(f"{episode}/proposals", json={"source": "vision", "cameras": ["cam_low"]})
    assert answer.status_code == 422
    assert "it has cam_high" in answer.json()["error"]["message"]
    assert server.requests == []


@pytest.mark.parametrize("url", ["ftp://host/v1", "host:80/v1", "https://user:pw@host/v1", "https://host/v1?key=a"])
def test_addresses_that_would_show_a_key_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="STUDIO_VISION_KEY"):
        Settings(vision_url=url)


def test_empty_settings_are_none() -> None:
    made = Settings(vision_url="", vision_model="", vision_key="")
    assert (made.vision_url, made.vision_model, made.vision_key) == (None, None, None)


def test_the_key_is_not_shown_by_the_settings_themselves() -> None:
    assert KEY not in repr(Settings(vision_key=KEY))
