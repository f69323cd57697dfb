"""Requests and answers about people."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from backend.core.address import public_address
from backend.core.roles import Role
from backend.core.schemas import In, Name, Out


def _long_enough(value: SecretStr) -> SecretStr:
    if not 10 <= len(value.get_secret_value()) <= 256:
        raise ValueError("a password has 10 to 256 characters")
    return value


UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@\-]{0,63}$")]
NewPassword = Annotated[SecretStr, AfterValidator(_long_enough)]


class UserOut(Out):
    id: str
    name: str
    role: Role
    disabled: bool
    created_at: datetime


class Me(Out):
    """setup_required: no administrator exists yet, the setup link makes one."""

    user: UserOut | None
    setup_required: bool


class SetupIn(In):
    token: str = Field(max_length=128)
    name: UserName
    password: NewPassword


class LoginIn(In):
    name: str = Field(max_length=64)
    password: SecretStr = Field(max_length=256)


class PasswordIn(In):
    current: SecretStr = Field(max_length=256)
    new: NewPassword


class AccessEnded(Out):
    """What was ended with the old password: other browsers' sessions, API tokens, and unused links."""

    sessions: int = 0
    tokens: int = 0
    links: int = 0


class TokenIn(In):
    name: Name = Field(min_length=1, max_length=64)


class TokenOut(Out):
    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


class NewToken(TokenOut):
    token: str = Field(description="Shown once; only its hash is stored. Send it as `Authorization: Bearer ...`")


class UserPatch(In):
    role: Role | None = None
    disabled: bool | None = None


class InvitationIn(In):
    role: Role


class LinkOut(Out):
    """A one-time link made now; the token in it is shown once."""

    id: str
    url: str
    expires_at: datetime


class InvitationOut(Out):
    id: str
    role: Role
    created_at: datetime
    expires_at: datetime
    created_by_name: str


class ResetOut(Out):
    """A link that sets somebody's password, not used yet."""

    id: str
    user_id: str
    user_name: str
    created_at: datetime
    expires_at: datetime
    created_by_name: str


class LinkInfo(Out):
    """What the holder of a link may do with it. name: whose password it sets, for a reset."""

    kind: Literal["invitation", "reset"]
    role: Role | None
    name: str | None


class LinkAccept(In):
    """name: of the new account, for an invitation."""

    token: str = Field(max_length=128)
    name: UserName | None = None
    password: NewPassword


class StudioSettings(Out):
    """public_url may be set here unless the environment sets it; the roots come from the environment alone."""

    public_url: str | None
    public_url_from_environment: bool
    import_roots: list[str]
    model_roots: list[str]
    data: str
    version: str


class StudioSettingsPatch(In):
    public_url: Annotated[str, Field(max_length=300), AfterValidator(public_address)] | None
