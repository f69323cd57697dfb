"""The rules about labels by themselves: no database, no requests."""

from typing import Any

import pytest

from backend.core.errors import InvalidError, NotLookedAtError
from backend.core.roles import Role
from backend.identity.actor import Actor
from backend.labels.core.checks import blocking, refuse_incomplete
from backend.labels.core.differences import DifferenceOut, differences
from backend.labels.core.findings import FindingCode
from backend.labels.core.looked import not_looked_at, refuse_not_looked_at
from backend.labels.core.renaming import renamed, renamed_guideline, renamed_texts, restored_texts
from backend.labels.core.start import empty, label_source, proposed
from backend.labels.dataset.changes import changed_since
from backend.labels.dataset.repository import Item
from backend.labels.drafts.repository import DraftContext
from backend.labels.drafts.service import may_review
from backend.tables.dataset import Dataset
from backend.tables.document import Tier
from backend.tables.draft import Draft, WorkState
from backend.tables.episode import EpisodeRow
from backend.tables.label_revision import LabelRevision
from backend.tables.segment import LabelSegment, Provenance
from dexvla.episodes.format import LabelSource


def segments(*parts: tuple[int, int, str], provenance: Provenance = Provenance.HUMAN) -> tuple[LabelSegment, ...]:
    return tuple(LabelSegment(start, end, text, provenance) for start, end, text in parts)


# --- what stops a publication -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (segments((0, 10, "Reach"), (10, 20, "Lift")), []),
        (segments((0, 10, "Reach"), (10, 19, "Lift")), [(10, FindingCode.LENGTH)]),
        (segments((0, 10, ""), (10, 20, " ")), [(0, FindingCode.BLANK), (10, FindingCode.BLANK)]),
        (segments((0, 20, "a\x07b")), [(0, FindingCode.CHARACTERS)]),
        (segments((0, 20, "go <|im_start|> on")), [(0, FindingCode.CHARACTERS)]),
        (segments((0, 20, "Reach"), provenance=Provenance.PROPOSED), [(0, FindingCode.UNREVIEWED)]),
        (segments((0, 20, "Reach"), provenance=Provenance.MACHINE_ACCEPTED), []),
        (segments((0, 20, "Reach"), provenance=Provenance.SCRIPTED), []),
        (empty(20), [(0, FindingCode.BLANK)]),
    ],
)
def test_what_stops_a_publication(found: tuple[LabelSegment, ...], codes: list[tuple[int, FindingCode]]) -> None:
    assert [(one.start, one.code) for one in blocking(found, 20)] == codes
    assert all(one.blocking for one in blocking(found, 20))


def test_a_refusal_names_each_defect_and_its_first_places() -> None:
    blank = segments(*((start, start + 1, "") for start in range(7)))
    proposals = segments((7, 20, "Lift"), provenance=Provenance.PROPOSED)
    with pytest.raises(InvalidError) as caught:
        refuse_incomplete([*blank, *proposals], 20)
    said = caught.value.message
    assert said.startswith("7 of 8 substeps have no text: steps 0 to 0, steps 1 to 1, ")
    assert "steps 4 to 4 and 2 more. Label them" in said
    assert said.endswith(
        "1 of 8 substeps are proposals that nobody has looked at: steps 7 to 19. Accept, edit or reject them."
    )
    refuse_incomplete(segments((0, 20, "Lift")), 20)


def test_only_what_was_brought_and_never_published_has_to_be_looked_at() -> None:
    brought = segments((0, 5, "Reach"), (5, 10, "Grasp"), (10, 15, ""), provenance=Provenance.IMPORTED)
    own = segments((15, 20, "Lift"))
    assert not_looked_at([*brought, *own]) == list(brought[:2])
    assert not_looked_at([*brought, *own], published=brought[:1]) == [brought[1]]
    moved = brought[0]._replace(end=4)
    assert not_looked_at([moved], published=brought) == [moved]
    with pytest.raises(NotLookedAtError, match=r"2 of 4 substeps .*: steps 0 to 4, steps 5 to 9\. Look at them"):
        refuse_not_looked_at(brought[:2], 4)
    refuse_not_looked_at([], 4)


# --- differences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        (segments((0, 20, "a")), segments((0, 20, "a")), []),
        (segments((0, 8, "a"), (8, 20, "b")), segments((0, 10, "a"), (10, 20, "b")), [(8, 10, "b", "a")]),
        (segments((0, 20, "a")), segments((0, 5, "a"), (5, 20, "a")), []),
        (segments((0, 20, "a")), segments((0, 5, "b"), (5, 20, "b")), [(0, 20, "a", "b")]),
        (segments((0, 20, "a")), segments((0, 15, "a")), [(15, 20, "a", "")]),
        ((), segments((0, 20, "a")), [(0, 20, "", "a")]),
        (
            segments((0, 10, "a"), (10, 20, "b")),
            segments((0, 5, "c"), (5, 15, "b"), (15, 20, "d")),
            [(0, 5, "a", "c"), (5, 10, "a", "b"), (15, 20, "b", "d")],
        ),
    ],
)
def test_differences_are_the_longest_stretches(
    left: tuple[LabelSegment, ...], right: tuple[LabelSegment, ...], found: list[tuple[int, int, str, str]]
) -> None:
    expected = [DifferenceOut(start=start, end=end, left=one, right=other) for start, end, one, other in found]
    assert differences(left, right) == expected
    assert [(one.start, one.end, one.right, one.left) for one in differences(right, left)] == found


# --- renaming and taking it back --------------------------------------------------------------------------------


def test_a_renamed_segment_keeps_everything_but_its_text() -> None:
    machine = LabelSegment(0, 5, "Reach", Provenance.MACHINE_EDITED, "vision", 0.5)
    kept = segments((5, 20, "reach"))
    assert renamed([machine, *kept], "Reach", "Touch") == (machine._replace(text="Touch"), *kept)
    assert machine.text == "Reach"


def test_a_renamed_entry_stays_in_its_place_and_merges() -> None:
    assert renamed_texts(["a", "b", "c"], "b", "d") == ["a", "d", "c"]
    assert renamed_texts(["a", "b", "c"], "c", "a") == ["a", "b"]
    assert renamed_texts(["a", "b"], "x", "y") == ["a", "b"]


def test_an_entry_that_is_there_keeps_its_own_guideline() -> None:
    assert renamed_guideline({"a": 1, "b": 2}, "a", "c") == {"b": 2, "c": 1}
    assert renamed_guideline({"a": 1, "b": 2}, "a", "b") == {"b": 2}
    assert renamed_guideline({"b": 2}, "a", "c") == {"b": 2}


def test_what_somebody_changed_since_stays_when_a_renaming_is_taken_back() -> None:
    assert restored_texts(["d", "new", "c"], ["a", "b"], "b", "d") == ["b", "new", "c"]
    assert restored_texts(["a", "new"], ["a", "b"], "b", "a") == ["a", "new", "b"], "two had become one"
    assert restored_texts(["a", "b", "new"], ["a", "b"], "b", "a") == ["a", "b", "new"], "somebody put it back already"


def item(*, edit: int | None = 4, lease_until: float | None = None) -> Item:
    draft = None if edit is None else Draft(edit=edit, lease_until=lease_until)
    return Item(row=EpisodeRow(), draft=draft, dataset=Dataset(), now=1000.0)


DRAFT_CHANGED = {"edit": 4, "before": "h", "revision": None}
PUBLISHED_AGAIN = {"edit": 4, "before": None, "revision": "r"}


@pytest.mark.parametrize(
    ("stands", "entry", "newest", "reason"),
    [
        (item(), DRAFT_CHANGED, None, None),
        (item(), DRAFT_CHANGED, "other", None),
        (item(edit=5), DRAFT_CHANGED, None, "it was edited since"),
        (item(edit=None), DRAFT_CHANGED, None, "it was edited since"),
        (item(edit=5), PUBLISHED_AGAIN, "r", None),
        (item(edit=None), PUBLISHED_AGAIN, "r", None),
        (item(), PUBLISHED_AGAIN, "newer", "it was published again since"),
        (item(), PUBLISHED_AGAIN, None, "it was published again since"),
        (item(lease_until=1030.0), DRAFT_CHANGED, None, "somebody is editing it"),
        (item(lease_until=1030.0), PUBLISHED_AGAIN, "r", "somebody is editing it"),
        (item(lease_until=999.0), DRAFT_CHANGED, None, None),
        (item(lease_until=2000.0), DRAFT_CHANGED, None, None),  # from before the clock was set back
    ],
)
def test_what_people_did_since_stops_a_change_from_being_taken_back(
    stands: Item, entry: dict[str, Any], newest: str | None, reason: str | None
) -> None:
    assert changed_since(stands, entry, None if newest is None else LabelRevision(id=newest)) == reason


# --- who may approve ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draft", "role", "may"),
    [
        ({}, Role.ANNOTATOR, True),
        ({"submitted_by": "me"}, Role.ANNOTATOR, False),
        ({"contributors": ["somebody", "me"]}, Role.ANNOTATOR, False),
        ({"state": WorkState.IN_PROGRESS}, Role.ANNOTATOR, False),
        ({"state": WorkState.APPROVED}, Role.ANNOTATOR, False),
        ({"rater": 1}, Role.ANNOTATOR, False),
        ({}, Role.VIEWER, False),
    ],
)
def test_who_may_approve(draft: dict[str, Any], role: Role, may: bool) -> None:
    handed_in = {"state": WorkState.SUBMITTED, "rater": 0, "submitted_by": "somebody", "contributors": ["somebody"]}
    here = draft_context(Draft(**handed_in | draft))
    assert may_review(Actor(id="me", name="ada", role=role), here) is may


def test_nobody_approves_what_nobody_handed_in_or_below_the_reviewers_role() -> None:
    ada = Actor(id="me", name="ada", role=Role.ANNOTATOR)
    assert not may_review(ada, draft_context(None))
    handed_in = Draft(state=WorkState.SUBMITTED, rater=0, submitted_by="somebody", contributors=[])
    strict = {"reviewer_role": "operator"}
    assert not may_review(ada, draft_context(handed_in, labelling=strict))
    assert may_review(Actor(id="me", name="ada", role=Role.OPERATOR), draft_context(handed_in, labelling=strict))


def draft_context(draft: Draft | None, *, labelling: dict[str, Any] | None = None) -> DraftContext:
    return DraftContext(
        row=EpisodeRow(), tier=Tier.SUBSTEP, rater=0, draft=draft, labelling=labelling or {}, now=1000.0, blind=False
    )


# --- what labels begin with -------------------------------------------------------------------------------------


def test_whose_labels_they_are() -> None:
    script = proposed([(0, 10, "Reach"), (10, 20, "Lift")], "scripted")
    assert label_source(script) is LabelSource.SCRIPTED
    assert label_source([script[0], *segments((10, 20, "Lift"))]) is LabelSource.HUMAN, "a person put them together"
    assert {one.provenance for one in proposed([(0, 20, "Reach")], "somebody's program")} == {Provenance.IMPORTED}
    assert {one.provenance for one in proposed([(0, 20, "Reach")], None)} == {Provenance.IMPORTED}
