"""Where an export may go is the administrator's word: names in the page, no place of this machine in it."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.core.settings import Settings
from backend.exports.landing import land
from backend.exports.schemas import DestinationKind, DestinationOut
from backend.studio.context import Studio
from backend.tables.export import Export
from dexvla.errors import UserError
from tests.support.labelling_data import Labels, MakeData, ok, refusal
from tests.support.people import SignIn

S3 = {"url": "s3://lab-data/exports", "key": "me", "secret": "not-to-be-told"}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "handover").mkdir()
    given = {"export_roots": (tmp_path / "handover",), "export_targets": {"lab": S3}}
    found = Settings.model_validate({**settings.model_dump(), **given})
    found.folder.prepare()
    return found


def test_places_have_names_and_others_are_refused(
    client: SignIn, studio: Studio, make_data: MakeData, settings: Settings
) -> None:
    labels, browser = Labels(studio, make_data), client("operator")
    shown = browser.get("/api/exports/destinations")
    assert [(one["kind"], one["name"]) for one in ok(shown)] == [
        ("archive", None),
        ("folder", "handover"),
        ("s3", "lab"),
    ]
    assert "not-to-be-told" not in shown.text + repr(settings) + settings.export_targets["lab"].model_dump_json()
    for wrong in (
        {"kind": "folder", "name": "/etc"},
        {"kind": "s3", "name": "handover"},
        {"kind": "archive", "name": "x"},
    ):
        answer = browser.post(f"{labels.url}/exports", json={"format": "csv", "destination": wrong})
        assert "destination" in refusal(answer, 422)["fields"], answer.text
    made = ok(
        browser.post(
            f"{labels.url}/exports", json={"format": "csv", "destination": {"kind": "folder", "name": "handover"}}
        )
    )
    assert made["destination"] == {"kind": "folder", "name": "handover", "landed": None}


def test_a_folder_that_went_away_is_told_and_one_that_is_full_of_others_is_left_alone(
    studio: Studio, tmp_path: Path
) -> None:
    row, made = Export(id="a" * 32, name="cubes"), tmp_path / "made"
    made.mkdir()
    (made / "one.csv").write_text("1")
    where = DestinationOut(kind=DestinationKind.FOLDER, name="handover")
    root = tmp_path / "handover"
    (root / "cubes").mkdir()
    root.chmod(0o755)
    assert land(studio, row, where, made) == "cubes-aaaaaaaa"
    assert (root / "cubes-aaaaaaaa" / "one.csv").stat().st_mode & 0o777 == 0o644
    assert land(studio, row, where, made) == "cubes-aaaaaaaa", "a second try finds it"
    assert sorted(path.name for path in root.iterdir()) == ["cubes", "cubes-aaaaaaaa"]
    (root / "cubes").rmdir()
    root.rename(tmp_path / "away")
    with pytest.raises(UserError, match="the folder 'handover' for exports is not there"):
        land(studio, row, where, made)
    with pytest.raises(UserError, match="not among this worker's STUDIO_EXPORT_TARGETS"):
        land(studio, row, DestinationOut(kind=DestinationKind.S3, name="other"), made)


def test_places_of_the_environment_are_json_and_empty_ones_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_EXPORT_TARGETS", json.dumps({"lab": S3}))
    assert Settings().export_targets["lab"].url == S3["url"]
    monkeypatch.setenv("STUDIO_EXPORT_TARGETS", "")  # as Compose hands it over where nobody said any
    assert Settings().export_targets == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"export_targets": "lab=s3://b"}, "expected JSON, each place by its name"),
        ({"store": "https://example.org/bucket"}, r"STUDIO_STORE: expected s3://BUCKET"),
        ({"store": "s3://bucket/x", "store_key": "me"}, "belong together"),
        ({"store": "s3://bucket/../x"}, "without empty parts"),
        ({"export_roots": "/a/out:/b/out"}, "two are called 'out'"),
        ({"export_targets": {"lab": {"url": "s3://b"}}}, "expected s3://BUCKET"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        Settings.model_validate(given)
    assert "not-to-be-told" not in str(caught.value)
