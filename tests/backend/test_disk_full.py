"""A database that cannot grow any more: the change is refused in words, what is there can be read."""

from sqlalchemy import Connection, event

from backend.context import Studio
from tests.backend.conftest import SignIn


def test_a_full_disk_is_told_where_something_was_to_be_saved(client: SignIn, studio: Studio) -> None:
    operator = client("operator")
    assert operator.post("/api/datasets", json={"name": "before"}).status_code == 201

    def no_more_pages(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    event.listen(studio.db.engine, "begin", no_more_pages)
    answers = [
        operator.post("/api/datasets", json={"name": f"n{number}", "description": "x" * 4000}) for number in range(8)
    ]
    full = next(answer for answer in answers if answer.status_code != 201)
    assert full.status_code == 507
    assert full.json()["error"]["code"] == "disk_full"
    assert "free some space" in full.json()["error"]["message"]
    names = {one["name"] for one in operator.get("/api/datasets").json()}
    assert names == {"before"} | {f"n{number}" for number, one in enumerate(answers) if one.status_code == 201}
    event.remove(studio.db.engine, "begin", no_more_pages)
    assert operator.post("/api/datasets", json={"name": "after"}).status_code == 201
