"""What stops a publication and what is only warned about, each of its kind; found over a dataset, too."""

import pytest
from fastapi.testclient import TestClient

from backend.labels.core.checks import UsualRange, blocking, successors, warnings
from backend.labels.core.findings import FindingCode
from backend.labels.core.settings import Labelling
from backend.studio.context import Studio
from backend.tables.segment import LabelSegment, Provenance
from tests.support.labelling_data import Labels, MakeData, ok, refusal, save
from tests.support.people import SignIn


def segments(*parts: tuple[int, str], provenance: Provenance = Provenance.HUMAN) -> list[LabelSegment]:
    """(length in steps, text), one after another."""
    found, position = [], 0
    for steps, text in parts:
        found.append(LabelSegment(position, position + steps, text, provenance))
        position += steps
    return found


def codes(found: list[LabelSegment], usual: UsualRange) -> list[tuple[FindingCode, int]]:
    return [(one.code, one.start) for one in warnings(found, usual)]


def test_what_stops_labels() -> None:
    assert blocking(segments((10, "a"), (14, "b")), 24) == []
    proposed = segments((24, "a"), provenance=Provenance.PROPOSED)
    assert [one.code for one in blocking(proposed, 24)] == [FindingCode.UNREVIEWED]
    broken = segments((10, ""), (10, "a\x07"))
    found = [one.code for one in blocking(broken, 24)]
    assert found == [FindingCode.LENGTH, FindingCode.BLANK, FindingCode.CHARACTERS]


def test_lengths_in_seconds() -> None:
    usual = UsualRange(labelling=Labelling(), fps=50.0)
    found = codes(segments((24, "a"), (25, "b"), (750, "c"), (751, "d")), usual)
    assert found == [(FindingCode.SHORT, 0), (FindingCode.LONG, 799)]
    assert codes(segments((1, "a")), UsualRange(labelling=Labelling())) == []  # no rate, no seconds


def test_spelling_against_the_vocabulary() -> None:
    usual = UsualRange(labelling=Labelling(), vocabulary=["Grasp the sleeve", "Fold"])
    found = warnings(segments((50, "Grasp the sleeve"), (50, "grasp the sleve"), (50, "Wave")), usual)
    assert [(one.code, one.meant) for one in found] == [
        (FindingCode.NEAR_DUPLICATE, "Grasp the sleeve"),
        (FindingCode.OUT_OF_VOCABULARY, None),
    ]


def test_neighbours_and_order() -> None:
    template = UsualRange(labelling=Labelling(template=["Reach", "Grasp", "Lift"]))
    found = codes(segments((9, "Reach"), (9, "Lift"), (9, "Grasp"), (9, "Grasp")), template)
    assert found == [(FindingCode.UNUSUAL_ORDER, 18), (FindingCode.SAME_NEIGHBOUR, 27)]
    learnt = UsualRange(labelling=Labelling(), successors=successors([["Reach", "Grasp", "Lift"]] * 5))
    assert codes(segments((9, "Reach"), (9, "Lift")), learnt) == [(FindingCode.UNUSUAL_ORDER, 9)]
    assert codes(segments((9, "Reach"), (9, "Grasp")), learnt) == []
    few = UsualRange(labelling=Labelling(), successors=successors([["Reach", "Grasp", "Lift"]] * 4))
    assert codes(segments((9, "Reach"), (9, "Lift")), few) == []


@pytest.fixture
def ada(client: SignIn) -> TestClient:
    return client("annotator")


def test_a_draft_says_what_is_wrong_with_it(studio: Studio, make_data: MakeData, ada: TestClient) -> None:
    labels = Labels(studio, make_data, proposals=[(0, 12, "Reach"), (12, 24, "Lift")])
    found = ok(ada.get(f"{labels.episode()}/draft/check"))
    assert found["blocking"] == []
    assert {one["code"] for one in found["warnings"]} == {"short", "not_looked_at"}
    published = ok(ada.post(f"{labels.episode()}/publish", json={"edit": 0, "looked_at": True}))["published"]
    assert [one["provenance"] for one in published["segments"]] == ["scripted", "scripted"]


def test_proposals_are_not_published_before_somebody_looked(
    studio: Studio, make_data: MakeData, ada: TestClient, client: SignIn
) -> None:
    labels = Labels(studio, make_data)
    applied = ok(client("operator").post(f"{labels.url}/template", json={"texts": ["Reach", "Lift"]}))
    assert applied["changed"] == 1
    draft = ok(ada.get(f"{labels.episode()}/draft"))
    parts = draft["segments"]
    assert {(one["provenance"], one["source"]) for one in parts} == {("proposed", "template")}
    error = refusal(ada.post(f"{labels.episode()}/publish", json={"edit": 1}), 422)
    assert "proposals that nobody has looked at: steps 0 to 11, steps 12 to 23" in error["message"]
    accepted = [{**one, "provenance": "machine_accepted", "confidence": 0.5} for one in parts]
    saved = ok(ada.put(f"{labels.episode()}/draft", json={"edit": 1, "segments": accepted}))
    assert saved["segments"][0]["confidence"] == 0.5
    ok(ada.post(f"{labels.episode()}/publish", json={"edit": 2}))


def test_finding_segments(studio: Studio, make_data: MakeData, ada: TestClient, client: SignIn) -> None:
    labels = Labels(studio, make_data, 3)
    save(ada, labels.episode(0), (0, 4, "Reach"), (4, 24, "Lift the cube"))
    save(client("operator"), labels.episode(1), (0, 12, "Reach"), (12, 24, "Reach"))

    def find(**query: object) -> list[tuple[int, int]]:
        page = ok(ada.get(f"{labels.url}/segments", params=query))
        assert page["total"] == len(page["items"])
        return [(one["number"], one["index"]) for one in page["items"]]

    assert find(text="LIFT") == [(0, 1)]
    assert find(text="lift", exact=True) == []
    assert find(max_steps=4) == [(0, 0)]
    assert find(min_steps=12, max_steps=12) == [(1, 0), (1, 1)]
    assert find(warning="same_neighbour") == [(1, 1)]
    me = ok(ada.get("/api/auth/me"))["user"]["id"]
    assert find(annotator=me) == [(0, 0), (0, 1)]
    assert find(provenance="imported") == []
    assert find(state="in_progress", text="Reach") == [(0, 0), (1, 0), (1, 1)]
    page = ok(ada.get(f"{labels.url}/segments", params={"offset": 1, "limit": 2}))
    assert (page["total"], [(one["number"], one["index"]) for one in page["items"]]) == (4, [(0, 1), (1, 0)])
