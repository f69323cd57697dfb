"""What a page keeps for a person: theirs alone, small, on SQLite and PostgreSQL alike."""

from tests.support.people import SignIn

PATH = "/api/me/preferences/annotator"


def test_kept_for_each_person(client: SignIn) -> None:
    ada, bob = client("viewer"), client("annotator")
    assert ada.get(PATH).json() == {"value": {}}
    mine = {"keys": {"cut": ["K"]}, "lagMs": 180}
    assert ada.put(PATH, json={"value": mine}).json() == {"value": mine}
    assert ada.put(PATH, json={"value": {"lagMs": 0}}).status_code == 200
    assert ada.get(PATH).json() == {"value": {"lagMs": 0}}
    assert bob.get(PATH).json() == {"value": {}}


def test_refuses_what_is_no_preferences(client: SignIn) -> None:
    ada = client("viewer")
    for body in ({"value": "x"}, {"value": {"keys": "x" * 40_000}}, {}, {"value": {}, "more": 1}):
        assert ada.put(PATH, json=body).status_code == 422, str(body)[:60]
    assert ada.put("/api/me/preferences/other", json={"value": {}}).status_code == 422
    assert ada.get(PATH).json() == {"value": {}}
