"""Segments are types in Python; what lies in the database is the JSON that it has always been."""

import json
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from backend.tables.segment import LabelSegment, LabelSegments, ProposalSegment, ProposalSegments, Provenance

LABELS = (
    LabelSegment(0, 5, "Reach", Provenance.HUMAN),
    LabelSegment(5, 24, "抓住", Provenance.MACHINE_EDITED, "vision", 0.5),
)
STORED = """[
    {"start": 0, "end": 5, "text": "Reach", "provenance": "human", "source": null, "confidence": null},
    {"start": 5, "end": 24, "text": "抓住", "provenance": "machine_edited", "source": "vision", "confidence": 0.5}
]"""


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()])
def test_labels_are_stored_as_before(dialect: Any) -> None:
    kind = LabelSegments()
    written = kind.process_bind_param(LABELS, dialect)
    assert json.dumps(written) == json.dumps(json.loads(STORED)), "names, and their order, too"
    assert kind.process_result_value(json.loads(STORED), dialect) == LABELS


def test_rows_of_older_studios_are_read() -> None:
    stored = [{"end": 24, "start": 0, "text": "Reach", "provenance": "scripted"}]
    found = LabelSegments().process_result_value(stored, sqlite.dialect())
    assert found == (LabelSegment(0, 24, "Reach", Provenance.SCRIPTED, None, None),)
    assert found[0].provenance is Provenance.SCRIPTED


def test_proposals_are_stored_as_before() -> None:
    kind, proposed = ProposalSegments(), (ProposalSegment(0, 24, "Reach", 0.95),)
    stored = [{"start": 0, "end": 24, "text": "Reach", "confidence": 0.95}]
    assert json.dumps(kind.process_bind_param(proposed, sqlite.dialect())) == json.dumps(stored)
    assert kind.process_result_value(stored, sqlite.dialect()) == proposed
