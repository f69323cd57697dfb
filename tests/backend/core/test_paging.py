"""Lists a page at a time, on both databases."""

import base64
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import case, select, text
from sqlalchemy.orm import Session

from backend.core.db import Database, new_id, utc_now
from backend.core.errors import InvalidError, TooMuchError
from backend.core.paging import Order, limited, page
from backend.core.roles import Role
from backend.tables.audit_entry import AuditEntry
from backend.tables.dataset import Dataset
from tests.support.people import SignIn

ORDERS = ("created_at", "user_name", "action")


def fill(db: Session, count: int = 17) -> None:
    rng, now = random.Random(0), utc_now()
    for _ in range(count):
        moment = now - timedelta(seconds=rng.randrange(4))
        name = rng.choice(["ada", "bob", None])
        db.add(AuditEntry(id=new_id(), created_at=moment, user_name=name, action=rng.choice(["a.b", "a.c"]), detail={}))
    db.flush()


def order(name: str, *, descending: bool) -> Order:
    column = getattr(AuditEntry, name)
    nullable = name == "user_name"
    return Order(name=name, column=column, id=AuditEntry.id, descending=descending, nullable=nullable)


def walk(db: Session, by: Order, *, limit: int) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        rows, cursor, total = page(db, select(AuditEntry), by, cursor=cursor, limit=limit, narrow="")
        assert (total is None) == bool(found)
        found += [row[0].id for row in rows]
        if cursor is None:
            return found


@pytest.mark.parametrize("descending", [False, True])
def test_pages_hold_every_row_once_in_order(database: Database, descending: bool) -> None:
    with database.transaction() as db:
        fill(db)
        for name in ORDERS:
            by = order(name, descending=descending)
            rows = list(db.scalars(select(AuditEntry)))
            rows.sort(key=lambda one: (getattr(one, name) or "", one.id), reverse=descending)
            rows.sort(key=lambda one: getattr(one, name) is None)
            assert walk(db, by, limit=4) == walk(db, by, limit=100) == [one.id for one in rows]


def test_what_is_added_on_top_meanwhile_moves_nothing(database: Database) -> None:
    with database.transaction() as db:
        fill(db)
        by = order("created_at", descending=True)
        before = walk(db, by, limit=100)
        _, cursor, _ = page(db, select(AuditEntry), by, cursor=None, limit=6, narrow="")
        db.add(AuditEntry(id=new_id(), created_at=utc_now() + timedelta(hours=1), action="new", detail={}))
        rows, _, _ = page(db, select(AuditEntry), by, cursor=cursor, limit=100, narrow="")
        assert [row[0].id for row in rows] == before[6:]


@pytest.mark.parametrize("descending", [False, True])
def test_groups_come_ahead_in_either_direction_and_equal_ones_are_sorted_again(
    database: Database, descending: bool
) -> None:
    with database.transaction() as db:
        fill(db)
        by = Order(
            name="action",
            column=AuditEntry.action,
            id=AuditEntry.id,
            descending=descending,
            ahead=case((AuditEntry.user_name == "bob", 0), else_=1),
            then=AuditEntry.created_at,
        )
        rows = list(db.scalars(select(AuditEntry)))
        rows.sort(key=lambda one: (one.action, one.created_at, one.id), reverse=descending)
        rows.sort(key=lambda one: one.user_name != "bob")
        assert walk(db, by, limit=2) == walk(db, by, limit=100) == [one.id for one in rows]


def cursor_of(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    ["", "!", "nonsense", cursor_of(), cursor_of("created_at"), cursor_of("created_at", False, [7, "x"]),
     cursor_of("created_at", False, ["yesterday", "x"]), cursor_of("created_at", False, ["2026-01-01T00:00:00", "x"]),
     cursor_of("created_at", False, [None, "x"]), cursor_of("created_at", True, ["2026-01-01T00:00:00+00:00", "x"]),
     cursor_of("created_at", False, []), cursor_of("created_at", False, ["2026-01-01T00:00:00+00:00"]),
     cursor_of("created_at", False, 7), cursor_of("user_name", False, ["ada", "x"]), "ä", "A" * 1999],
)  # fmt: skip
def test_a_cursor_of_something_else_is_refused_in_words(tmp_path: Path, cursor: str) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    with database.transaction(write=False) as db, pytest.raises(InvalidError, match="leave it out to begin anew"):
        page(db, select(AuditEntry), order("created_at", descending=False), cursor=cursor, limit=5, narrow="")


def test_a_query_that_takes_too_long_is_stopped_with_what_to_narrow(database: Database) -> None:
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT sum(i) FROM n"
    stopped = pytest.raises(TooMuchError, match=r"0\.2 s and was stopped. Name it")
    with database.transaction(write=False) as db, stopped, limited(db, "Name it.", seconds=0.2):
        db.execute(text(slow))
    with database.transaction() as db:  # the connection is as good as before
        fill(db, 3)
        assert len(walk(db, order("action", descending=False), limit=2)) == 3


LISTS = (
    "/api/datasets/page", "/api/runs/page", "/api/checkpoints/page", "/api/evaluations/page", "/api/audit/page",
    "/api/datasets/{}/episodes/page",
)  # fmt: skip


def test_lists_refuse_what_they_cannot_do(client: SignIn) -> None:
    ada = client(Role.ADMIN)
    dataset = ada.post("/api/datasets", json={"name": "Cubes of 100 %"}).json()["id"]
    for path in (path.format(dataset) for path in LISTS):
        assert ada.get(path).json()["next"] is None
        assert "total" in ada.get(path, params={"search": "cube", "limit": 1}).json()
        for wrong in ({"limit": 0}, {"limit": 501}, {"sort": "colour"}, {"colour": "red"}, {"cursor": "x"}):
            answer = ada.get(path, params=wrong)
            assert answer.status_code == 422, (path, wrong, answer.text)
            assert next(iter(wrong)) in json.dumps(answer.json()["error"]["fields"]), answer.text
    found = ada.get("/api/datasets/page", params={"search": "100 % CUBES"}).json()
    assert [one["id"] for one in found["items"]] == [dataset]
    assert ada.get("/api/datasets/page", params={"search": "100 _"}).json()["items"] == []


def test_every_sort_and_filter_of_a_list_is_one_query(client: SignIn) -> None:
    ada = client(Role.ADMIN)
    dataset = ada.post("/api/datasets", json={"name": "cubes"}).json()["id"]
    when = {"since": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}
    said = {"success": "unknown", "label_state": "draft", "person": "x", "tag": "a"}
    episodes = f"/api/datasets/{dataset}/episodes/page"
    sorts = {
        "/api/datasets/page": ("name", "created"),
        "/api/runs/page": ("active", "name", "stage", "state", "loss", "checkpoints", "created"),
        "/api/checkpoints/page": ("run", "step", "stage", "loss", "success", "size", "created"),
        "/api/evaluations/page": ("active", "run", "result", "created"),
        episodes: ("number", "length", "created", "success", "labels", "instruction", "source", "size"),
    }
    filters: dict[str, dict[str, Any]] = {
        "/api/runs/page": {"stage": 2, "state": ["running", "done"], "over": False, "id": ["x", "y"]},
        "/api/checkpoints/page": {"run_id": "x", "stage": 2, "deleted": True, "id": "x"},
        "/api/evaluations/page": {"kind": "open_loop", "checkpoint_id": "x", "run_id": "x", "state": "done", "id": "x"},
        "/api/audit/page": {"subject": "x", "user_id": "x", "action": "dataset.", **when},
        episodes: {"min_steps": 1, "max_steps": 9, "id": "x", **said, **when},
    }
    for path, names in sorts.items():
        for name in names:
            assert ada.get(path, params={"sort": name, "descending": True}).status_code == 200, (path, name)
    for path, query in filters.items():
        found = ada.get(path, params={"search": "a b", **query})
        nothing = {"items": [], "next": None, "total": 0}
        assert found.json() == nothing | ({"size_bytes": 0} if "checkpoints" in path else {}), (path, found.text)
    turned = ada.get(f"/api/datasets/{dataset}/episodes/page", params={"min_steps": 9, "max_steps": 1})
    assert turned.status_code == 422
    assert "nothing is both" in turned.text


def test_datasets_come_by_name(database: Database) -> None:
    with database.transaction() as db:
        db.add_all([Dataset(name=f"set {number}") for number in (3, 1, 2)])
        db.flush()
        by = Order(name="name", column=Dataset.name, id=Dataset.id)
        rows, _, _ = page(db, select(Dataset), by, cursor=None, limit=2, narrow="")
        assert [row[0].name for row in rows] == ["set 1", "set 2"]
