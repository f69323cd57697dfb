"""What the API answers when something is wrong: one shape, with what was found, what was expected and what to do.

{"error": {"code": "not_found", "message": "...", "fields": {"steps": "..."}, "detail": {...}}}
"""

import errno
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DatabaseError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from backend.core.db import is_full
from dexvla.errors import UserError

if TYPE_CHECKING:  # a quarter of a second, and only the application answers with it
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DISK_FULL = (
    "The disk is full. Nothing was changed; free some space and try again. Deleting checkpoints, runs and episodes "
    "still works."
)
_ASK = "Ask the administrator of the machine; its log says which file."
_DISK_FAULTS = {
    errno.EROFS: f"The disk of the data folder can only be read at the moment. {_ASK}",
    errno.EACCES: f"The studio may not use a file of its data folder: permissions were changed. {_ASK}",
    errno.EPERM: f"The studio may not use a file of its data folder: permissions were changed. {_ASK}",
    errno.EIO: f"The disk of the data folder fails (input/output error). {_ASK}",
    errno.ESTALE: f"The data folder is not connected any more. {_ASK}",
    errno.EMFILE: "The studio has too many files open at the moment; try again in a moment.",
    errno.ENFILE: "The machine has too many files open at the moment; try again in a moment.",
}
_DATABASE_FAULTS = {
    "readonly database": _DISK_FAULTS[errno.EROFS],
    "read-only transaction": "The database can only be read at the moment; ask the administrator of the machine.",
    "unable to open database file": _DISK_FAULTS[errno.EACCES],
    "disk i/o error": _DISK_FAULTS[errno.EIO],
    "malformed": "The database is damaged. Stop the studio and put back a backup (studio restore).",
    "not a database": "The database is damaged. Stop the studio and put back a backup (studio restore).",
}
_log = structlog.get_logger(__name__)


class ApiError(Exception):
    """An answer other than success. `fields` names the inputs that are wrong, by dotted path."""

    status = 400
    code = "bad_request"

    def __init__(
        self,
        message: str,
        *,
        fields: dict[str, str] | None = None,
        detail: Any = None,
        retry_seconds: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """retry_seconds: when it may be tried again, for programs. headers: of the answer, where a protocol wants
        some."""
        super().__init__(message)
        self.headers = headers or {}
        self.message, self.fields, self.detail, self.retry_seconds = message, fields or {}, detail, retry_seconds


class NotSignedInError(ApiError):
    status, code = 401, "not_signed_in"


class ForbiddenError(ApiError):
    status, code = 403, "forbidden"


class NotFoundError(ApiError):
    status, code = 404, "not_found"


class ConflictError(ApiError):
    """Somebody else was faster, or the thing is in use; `detail` holds what stands there now."""

    status, code = 409, "conflict"


class LeasedError(ConflictError):
    """Somebody else, or another window, works on it right now; `detail` holds what stands there now."""

    code = "leased"


class WrongStateError(ConflictError):
    """Not in the state that this needs: `detail` holds what stands there now."""

    code = "wrong_state"


class InvalidError(ApiError):
    status, code = 422, "invalid"


class TooMuchError(InvalidError):
    """A query that would take too long for everybody else; the message says what to narrow."""

    code = "too_much"


class NotLookedAtError(InvalidError):
    """Labels of a machine would be published unseen; somebody has to say that they looked. `detail`: which."""

    code = "not_looked_at"


class TooManyError(ApiError):
    status, code = 429, "too_many"


class UnavailableError(ApiError):
    """A part of the studio (broker, worker, disk) cannot be reached at the moment."""

    status, code = 503, "unavailable"


class DiskFullError(ApiError):
    status, code = 507, "disk_full"


class FilesLeftError(ApiError):
    """What was asked for was done, but files of it are left on the disk."""

    status, code = 500, "files_left"


def _answer(status: int, code: str, message: str, fields: dict[str, str] | None = None, detail: Any = None) -> Any:
    error = {"code": code, "message": message, "fields": fields or {}, "detail": detail}
    return JSONResponse({"error": error}, status_code=status)


MAX_FIELD_ERRORS = 20
_MAX_PLACE, _MAX_COMPLAINT = 200, 500  # characters


def field_errors(error: "ValidationError | RequestValidationError", *, skip: int = 0) -> dict[str, str]:
    """Dotted path -> complaint, the first for each field, of at most MAX_FIELD_ERRORS fields. `skip` leaves out leading
    parts of the path."""
    fields: dict[str, str] = {}
    for item in _complaints(error):
        if len(fields) >= MAX_FIELD_ERRORS:
            break
        place = _short(".".join(_short(str(part), 64) for part in item["loc"][skip:]), _MAX_PLACE)
        fields.setdefault(place, _short(item["msg"].removeprefix("Value error, "), _MAX_COMPLAINT))
    return fields


def _complaints(error: "ValidationError | RequestValidationError") -> Any:
    if isinstance(error, ValidationError):
        return error.errors(include_url=False, include_context=False, include_input=False)
    return error.errors()


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _invalid(fields: dict[str, str]) -> Any:
    more = " (and perhaps more)" if len(fields) >= MAX_FIELD_ERRORS else ""
    return _answer(422, "invalid", "; ".join(f"{k}: {v}" if k else v for k, v in fields.items()) + more, fields)


def install(app: "FastAPI") -> None:
    """Turn every expected error into the shape above. Others stay errors of ours: status 500, with a traceback."""
    from fastapi.exceptions import RequestValidationError

    @app.exception_handler(ApiError)
    def _api(request: Request, error: ApiError) -> Any:
        response = _answer(error.status, error.code, error.message, error.fields, error.detail)
        response.headers.update(error.headers)
        if error.retry_seconds is not None:
            response.headers["Retry-After"] = str(error.retry_seconds)
        return response

    @app.exception_handler(UserError)
    def _user(request: Request, error: UserError) -> Any:
        return _answer(422, "invalid", str(error))

    @app.exception_handler(ValidationError)
    def _pydantic(request: Request, error: ValidationError) -> Any:
        return _invalid(field_errors(error))

    @app.exception_handler(RequestValidationError)
    def _request(request: Request, error: RequestValidationError) -> Any:
        return _invalid(field_errors(error, skip=1))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Any:
        codes = {
            400: "bad_request",
            422: "invalid",
            404: "not_found",
            405: "method_not_allowed",
            413: "too_large",
            416: "range_not_satisfiable",
        }
        response = _answer(error.status_code, codes.get(error.status_code, "error"), str(error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(OSError)
    def _disk(request: Request, error: OSError) -> Any:
        """Whoever changed something before this says so: see backend.core.db.after_commit."""
        if error.errno in _FULL:
            return _answer(507, "disk_full", _DISK_FULL)
        told = _DISK_FAULTS.get(error.errno or 0)
        if told is None:
            raise error
        _log.error("disk.fault", path=request.url.path, error=str(error))
        return _answer(503, "disk_fault", f"{told} Nothing was changed.")

    @app.exception_handler(DatabaseError)
    def _database(request: Request, error: DatabaseError) -> Any:
        """Of SQLite and of PostgreSQL: a full disk, somebody else who writes for long, a server that is away."""
        said = " ".join(str(error.orig).split()).lower()
        if is_full(error) or ("disk i/o error" in said and request.app.state.studio.space.full):
            return _answer(507, "disk_full", _DISK_FULL)
        if "database is locked" in said:
            return _answer(503, "busy", "The database is busy. Nothing was changed; try again in a moment.")
        if error.connection_invalidated or "connect" in said:
            return _answer(503, "database_away", "The database cannot be reached; try again in a moment.")
        told = next((told for words, told in _DATABASE_FAULTS.items() if words in said), None)
        if told is None:
            raise error
        _log.error("database.fault", path=request.url.path, error=said)
        return _answer(503, "database_fault", f"{told} Nothing was changed.")
