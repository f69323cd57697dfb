"""Names that people tell things apart by, and the address under which browsers reach the studio."""

import pytest
from pydantic import TypeAdapter, ValidationError

from backend.core.address import public_address
from backend.core.schemas import Name
from backend.core.settings import Settings
from tests.support.people import SignIn

NAME: TypeAdapter[str] = TypeAdapter(Name)


@pytest.mark.parametrize(
    "text",
    [
        "cube\u202egnp.exe",  # turns the direction
        "\u2066cube\u2069",
        "cube\u200f",
        "cu\u200bbe",  # takes no room
        "cu\u200dbe",
        "cu\u00adbe",
        "\ufeffcube",
        "\u3164",  # looks empty
        "\u2800",
        "\u200b",
        " ",
        "\u00a0",
        "\u0301cube",
        "cube\x00",
        "cube\x1b[31m",
        "cube\x85\x9b31m",
        "\ue000",
    ],
)
def test_names_are_all_to_be_seen(text: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("  Fold the   shirt\n", "Fold the shirt"),
        ("e\u0301tape", "\u00e9tape"),
        ("مكعب", "مكعب"),
        ("立方体 3", "立方体 3"),
        ("cube \U0001f9ca", "cube \U0001f9ca"),
    ],
)
def test_names_of_all_scripts(text: str, name: str) -> None:
    assert NAME.validate_python(text) == name


def test_every_name_that_is_given_is_looked_at(client: SignIn) -> None:
    """People, tokens, datasets, models, runs, labels: a name that turns its line's direction is in none of them."""
    odd = "cube\u202egnp"
    admin = client("admin")
    dataset = admin.post("/api/datasets", json={"name": "  Cubes "}).json()
    assert dataset["name"] == "Cubes"
    token = admin.post("/api/invitations", json={"role": "viewer"}).json()["url"].partition("token=")[2]
    for path, body in (
        ("/api/auth/tokens", {"name": odd}),
        ("/api/datasets", {"name": odd}),
        ("/api/datasets/demo", {"name": odd}),
        ("/api/models", {"name": odd, "candidate_id": "x"}),
        ("/api/models/tiny", {"name": odd}),
        ("/api/runs", {"name": odd}),
        ("/api/links", {"token": token, "name": odd, "password": "long enough"}),
    ):
        answer = admin.post(path, json=body)
        assert answer.status_code == 422, (path, answer.text)
        assert "name" in answer.json()["error"]["fields"], (path, answer.text)
    assert admin.patch(f"/api/datasets/{dataset['id']}", json={"name": odd}).status_code == 422


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("https://Studio.Example.org/", "https://studio.example.org"),
        ("https://studio.example.org:443", "https://studio.example.org"),
        ("http://studio.example.org:8000", "http://studio.example.org:8000"),
        ("http://[::1]:80/", "http://[::1]"),
        ("http://10.0.0.7", "http://10.0.0.7"),
    ],
)
def test_public_addresses(given: str, address: str) -> None:
    assert public_address(given) == address
    assert Settings(public_url=given).public_url == address


WRONG = {
    "https://ada:secret@studio.example": "names a user",
    "https://ada@studio.example": "names a user",
    "https://@studio.example": "names a user",
    "https://studio.example/lab": "has the path '/lab'",
    "https://studio.example/?a": "a query or a fragment",
    "https://studio.example#a": "a query or a fragment",
    "studio.example": "does not begin with http",
    "ftp://studio.example": "does not begin with http",
    "https://": "not a host name",
    "https://a b": "not a host name",
    "https://[x": "not an address",
    "https://studio.example:99999": "not an address",
    "https://studio\u202e.example": "not a host name",
    "https://*": "not a host name",
}


@pytest.mark.parametrize("address", WRONG)
def test_wrong_public_addresses_are_refused_in_words(client: SignIn, address: str) -> None:
    """In the page and from the environment alike, and a password in one is not repeated."""
    answer = client("admin").patch("/api/settings", json={"public_url": address})
    assert answer.status_code == 422
    message = answer.json()["error"]["fields"]["public_url"]
    assert WRONG[address] in message
    assert "secret" not in message
    with pytest.raises(ValidationError, match="public_url"):
        Settings(public_url=address)
