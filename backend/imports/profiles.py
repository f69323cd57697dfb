"""Named profiles: what people said about the files of a folder, kept for the next one."""

from urllib.parse import quote

import yaml
from fastapi import Response
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit.service import record
from backend.core.db import utc_now
from backend.core.errors import ConflictError, InvalidError, NotFoundError
from backend.identity.actor import Actor
from backend.imports import repository
from backend.imports.schemas import FileIn, ProfileIn, ProfileOut, ProfilePatch, ReadProfileOut, TableOut
from backend.tables.import_profile import ImportProfileRow
from dexvla.errors import UserError
from dexvla.formats.instructions import table_of
from dexvla.mappings import read_yaml
from dexvla.spec import ImportProfile


def profiles(db: Session) -> list[ProfileOut]:
    """By name."""
    return [_out(row) for row in repository.profiles(db)]


def create(db: Session, me: Actor, body: ProfileIn) -> ProfileOut:
    _refuse_taken(db, body.name)
    row = ImportProfileRow(
        name=body.name,
        key=body.name.casefold(),
        profile=_stored(body.profile),
        created_by_name=me.name,
        changed_at=utc_now(),
        changed_by_name=me.name,
    )
    db.add(row)
    _flush(db)
    record(db, me, "import_profile.create", row.id, name=row.name)
    return _out(row)


def change(db: Session, me: Actor, profile_id: str, body: ProfilePatch) -> ProfileOut:
    row = found(db, profile_id)
    if body.name is not None:
        _refuse_taken(db, body.name, but=row.id)
        row.name, row.key = body.name, body.name.casefold()
    if body.profile is not None:
        row.profile = _stored(body.profile)
    row.changed_at, row.changed_by_name = utc_now(), me.name
    _flush(db)
    record(db, me, "import_profile.change", row.id, name=row.name)
    return _out(row)


def delete(db: Session, me: Actor, profile_id: str) -> None:
    row = found(db, profile_id)
    record(db, me, "import_profile.delete", row.id, name=row.name)
    db.delete(row)


def found(db: Session, profile_id: str) -> ImportProfileRow:
    row = repository.by_id(db, profile_id)
    if row is None:
        raise NotFoundError("There is no such import profile; somebody may have deleted it.")
    return row


def profile_of(row: ImportProfileRow) -> ImportProfile:
    """Raises InvalidError for one that an older studio stored and this one does not understand."""
    try:
        return ImportProfile.model_validate(row.profile)
    except ValidationError as error:
        raise InvalidError(
            f"The profile {row.name!r} is of another version of the studio and does not fit any more "
            f"({error.errors()[0]['msg']}); make it anew."
        ) from error


def as_file(db: Session, profile_id: str) -> Response:
    """YAML, as `dexvla import --profile` takes it."""
    row = found(db, profile_id)
    text = yaml.safe_dump(_stored(profile_of(row)), sort_keys=False, allow_unicode=True)
    name = quote(f"{row.name}.yaml", safe="")
    return Response(
        text,
        media_type="application/yaml",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


def read(body: FileIn) -> ReadProfileOut:
    """A profile out of a file of YAML or JSON, which is YAML too. Raises InvalidError."""
    try:
        fields = read_yaml(body.text.removeprefix("\ufeff"))
    except ValueError as error:
        raise InvalidError(f"{body.name} is not YAML of a profile: {str(error)[:300]}.") from error
    if not isinstance(fields, dict):
        raise InvalidError(f"{body.name} holds {type(fields).__name__}, expected the fields of a profile by name.")
    try:
        return ReadProfileOut(profile=ImportProfile.model_validate(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the profile"
        raise InvalidError(f"{body.name}: {where}: {first['msg']}.") from error


def read_table(body: FileIn) -> TableOut:
    """Raises InvalidError for what is no table of instructions."""
    try:
        return TableOut(table=table_of(body.name, body.text.removeprefix("\ufeff")))
    except UserError as error:
        raise InvalidError(f"{error}.") from error


def _stored(profile: ImportProfile) -> dict[str, object]:
    """What was said alone: a field that is added later has its default then."""
    return profile.model_dump(mode="json", exclude_defaults=True)


def _refuse_taken(db: Session, name: str, *, but: str | None = None) -> None:
    there = repository.by_key(db, name.casefold())
    if there is not None and there.id != but:
        raise ConflictError(f"There is an import profile named {there.name!r} already; choose another name.")


def _flush(db: Session) -> None:
    try:
        db.flush()
    except IntegrityError as error:
        raise ConflictError("Somebody just made an import profile of that name; choose another one.") from error


def _out(row: ImportProfileRow) -> ProfileOut:
    return ProfileOut(
        id=row.id,
        name=row.name,
        profile=profile_of(row),
        created_at=row.created_at,
        created_by_name=row.created_by_name,
        changed_at=row.changed_at,
        changed_by_name=row.changed_by_name,
    )
