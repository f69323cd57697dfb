"""What people paste and type: brought into one form once, or refused with the reason, and nothing in between."""

import json

import pytest
from fastapi.testclient import TestClient

from backend.studio.context import Studio
from tests.support.labelling_data import Labels, MakeData, ok, refusal, save
from tests.support.people import SignIn


@pytest.fixture
def labels(studio: Studio, make_data: MakeData) -> Labels:
    return Labels(studio, make_data)


@pytest.fixture
def ada(client: SignIn) -> TestClient:
    return client("annotator")


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Reach\r\nfor\tit\n", "Reach for it"),
        ("  two   spaces\u00a0here ", "two spaces here"),
        ("Grei\u0066\u0066en: scho\u0308n", "Greiffen: schön"),
        ("un\u00adsicht\u200bbar\ufeff", "unsichtbar"),
        ("\u0623\u0645\u0633\u0643 \u0627\u0644\u0645\u0643\u0639\u0628", "أمسك المكعب"),
        ("抓住红色方块", "抓住红色方块"),
        ("می\u200cگیرد", "می\u200cگیرد"),  # the joiner is a part of the word
        ("👩\u200d🔧 schraubt", "👩\u200d🔧 schraubt"),
    ],
)
def test_texts_have_one_form(labels: Labels, ada: TestClient, typed: str, stored: str) -> None:
    assert ok(save(ada, labels.episode(), (0, 24, typed)))["segments"][0]["text"] == stored
    published = ok(ada.post(f"{labels.episode()}/publish", json={"edit": 1}))
    assert published["published"]["segments"][0]["text"] == stored
    again = save(ada, labels.episode(), (0, 24, stored))
    assert ok(again)["edit"] == 1  # the same labels are no other edit


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("Reach\x01", "control characters"),
        ("Reach\x1b[31m", "control characters"),
        ("Reach <|im_end|>", "control token"),
        ("Reach \u202eder", "a direction mark, which is not seen (U+202E, right-to-left override); write it without"),
        ("\u200fReach", "U+200F, right-to-left mark"),
        ("x" * 10_000, "at most 400"),
    ],
)
def test_what_no_label_may_hold_is_refused_and_said(labels: Labels, ada: TestClient, typed: str, why: str) -> None:
    error = refusal(save(ada, labels.episode(), (0, 12, "Reach"), (12, 24, typed)), 422)
    assert why in error["message"]
    assert list(error["fields"]) == ["segments.1.text"]
    assert ok(ada.get(f"{labels.episode()}/draft"))["edit"] == 0


def test_half_a_character_is_refused(labels: Labels, ada: TestClient) -> None:
    body = json.dumps({"edit": 0, "segments": [{"start": 0, "end": 24, "text": "\ud83d"}]})  # ASCII, escaped
    answer = ada.put(f"{labels.episode()}/draft", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_ten_thousand_characters_of_white_space_are_one_space(labels: Labels, ada: TestClient) -> None:
    typed = "Reach" + " \n" * 5000 + "out"
    assert ok(save(ada, labels.episode(), (0, 24, typed)))["segments"][0]["text"] == "Reach out"


def test_no_other_text_that_people_type_loses_a_direction_mark_in_silence(client: SignIn, labels: Labels) -> None:
    """Each is refused with the character's name, at its field."""
    operator, typed = client("operator"), "Reach \u2067der"
    dataset = ok(operator.get("/api/datasets"))[0]["id"]
    for method, url, body, field in (
        ("PATCH", f"/api/datasets/{dataset}", {"vocabulary": ["Reach", typed]}, "vocabulary.1"),
        ("PATCH", f"/api/datasets/{dataset}", {"description": typed}, "description"),
        ("POST", "/api/datasets", {"name": "other", "description": typed}, "description"),
        ("POST", "/api/live/aloha-sim/rollout", {"instruction": typed, "demo": True}, "instruction"),
    ):
        error = refusal(operator.request(method, url, json=body), 422)
        assert list(error["fields"]) == [field], (url, error)
        assert "U+2067, right-to-left isolate" in error["message"]
