"""Write down who did what, and read it again."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.audit.schemas import AuditIn, AuditOut
from backend.core import paging
from backend.core.db import new_id, utc_now
from backend.core.paging import CursorPage, Order, contains
from backend.core.schemas import Page
from backend.identity.actor import Actor
from backend.tables.audit_entry import AuditEntry


def record(
    db: Session,
    actor: Actor | None,
    action: str,
    subject: str | None = None,
    *,
    at: datetime | None = None,
    entry_id: str | None = None,
    **detail: Any,
) -> None:
    """Add an entry in the transaction of the deed. actor None: the studio itself. at: when it was, if not now.

    entry_id: of an entry that is written later, for whoever asks whether it is (`is_written`).
    """
    db.add(
        AuditEntry(
            id=entry_id or new_id(),
            user_id=actor and actor.id,
            user_name=actor and actor.name,
            action=action,
            subject=subject,
            detail=detail,
            created_at=at or utc_now(),
        )
    )


def entries(db: Session, *, subject: str | None, offset: int, limit: int) -> Page[AuditOut]:
    query = select(AuditEntry)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    total = db.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = db.scalars(query.order_by(AuditEntry.created_at.desc(), AuditEntry.id).offset(offset).limit(limit))
    return Page(items=[AuditOut.model_validate(row) for row in rows], total=total)


def page(db: Session, asked: AuditIn) -> CursorPage[AuditOut]:
    query = select(AuditEntry)
    if asked.subject is not None:
        query = query.where(AuditEntry.subject == asked.subject)
    if asked.user_id is not None:
        query = query.where(AuditEntry.user_id == asked.user_id)
    if asked.action is not None:
        query = query.where(AuditEntry.action.startswith(asked.action, autoescape=True))
    if asked.since is not None:
        query = query.where(AuditEntry.created_at >= asked.since)
    if asked.until is not None:
        query = query.where(AuditEntry.created_at <= asked.until)
    if asked.search:
        query = query.where(contains(AuditEntry.action + " " + func.coalesce(AuditEntry.user_name, ""), asked.search))
    order = Order(name="created", column=AuditEntry.created_at, id=AuditEntry.id, descending=asked.descending)
    narrow = "Name a person, a subject or a time."
    rows, cursor, total = paging.page(db, query, order, cursor=asked.cursor, limit=asked.limit, narrow=narrow)
    return CursorPage(items=[AuditOut.model_validate(row[0]) for row in rows], next=cursor, total=total)


def is_written(db: Session, entry_id: str) -> bool:
    return db.get(AuditEntry, entry_id) is not None
