"""A step back that would drop something is refused before it changes anything."""

from alembic import op
from sqlalchemy import text

from dexvla.errors import UserError


def refuse_loss(revision: str, *losses: tuple[str, str, str]) -> None:
    """losses: (table, SQL condition of the rows that would lose something, what it is in words).

    Raises UserError that names each with its count. The caller's transaction takes back the steps before this one.
    """
    connection = op.get_bind()
    found = []
    for table, condition, words in losses:
        count = connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {condition}"))
        if count:
            found.append(f"{words} ({count})")
    if found:
        raise UserError(
            f"an older studio has no place for what this database holds: {', '.join(found)}. Nothing was changed: it "
            f"still has its tables, from before the step back to those below revision {revision}. Restore the backup "
            "from before the upgrade with the older version, or stay with this one"
        )


def filled(column: str) -> str:
    """Condition: the JSON column holds something else than an empty list or object."""
    return f"CAST({column} AS text) NOT IN ('[]', '{{}}', 'null')"
