"""What the API answers when something is wrong: one shape, with what was found, what was expected and what to do.

{"error": {"code": "not_found", "message": "...", "fields": {"steps": "..."}, "detail": {...}}}
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from dexvla.errors import UserError


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
    ) -> None:
        """retry_seconds: when it may be tried again, for programs."""
        super().__init__(message)
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


def _answer(status: int, code: str, message: str, fields: dict[str, str] | None = None, detail: Any = None) -> Any:
    error = {"code": code, "message": message, "fields": fields or {}, "detail": detail}
    return JSONResponse({"error": error}, status_code=status)


def field_errors(error: ValidationError | RequestValidationError, *, skip: int = 0) -> dict[str, str]:
    """Dotted path -> complaint, the first for each field. `skip` leaves out leading parts of the path."""
    fields: dict[str, str] = {}
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"][skip:])
        fields.setdefault(place, item["msg"].removeprefix("Value error, "))
    return fields


def install(app: FastAPI) -> None:
    """Turn every expected error into the shape above. Others stay errors of ours: status 500, with a traceback."""

    @app.exception_handler(ApiError)
    def _api(request: Request, error: ApiError) -> Any:
        response = _answer(error.status, error.code, error.message, error.fields, error.detail)
        if error.retry_seconds is not None:
            response.headers["Retry-After"] = str(error.retry_seconds)
        return response

    @app.exception_handler(UserError)
    def _user(request: Request, error: UserError) -> Any:
        return _answer(422, "invalid", str(error))

    @app.exception_handler(ValidationError)
    def _pydantic(request: Request, error: ValidationError) -> Any:
        fields = field_errors(error)
        return _answer(422, "invalid", "; ".join(f"{k}: {v}" if k else v for k, v in fields.items()), fields)

    @app.exception_handler(RequestValidationError)
    def _request(request: Request, error: RequestValidationError) -> Any:
        fields = field_errors(error, skip=1)
        return _answer(422, "invalid", "; ".join(f"{k}: {v}" if k else v for k, v in fields.items()), fields)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Any:
        codes = {404: "not_found", 405: "method_not_allowed", 416: "range_not_satisfiable"}
        response = _answer(error.status_code, codes.get(error.status_code, "error"), str(error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(OSError)
    def _disk(request: Request, error: OSError) -> Any:
        import errno

        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return _answer(507, "disk_full", "The disk is full. Nothing was changed; free some space and try again.")
        raise error

    @app.exception_handler(OperationalError)
    def _database(request: Request, error: OperationalError) -> Any:
        """Of SQLite and of PostgreSQL: a full disk, somebody else who writes for long, a server that is away."""
        said = " ".join(str(error.orig).split()).lower()
        if "disk is full" in said or "disk i/o error" in said or "no space left" in said:
            return _answer(507, "disk_full", "The disk is full. Nothing was changed; free some space and try again.")
        if "database is locked" in said:
            return _answer(503, "busy", "The database is busy. Nothing was changed; try again in a moment.")
        if error.connection_invalidated or "connect" in said:
            return _answer(503, "database_away", "The database cannot be reached; try again in a moment.")
        raise error
