"""/api/auth, /api/users, /api/invitations, /api/links, /api/settings."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from backend.access.dependencies import Admin, Db, Parts, Viewer, actor_of
from backend.accounts import service, signing_in
from backend.accounts.schemas import (
    AccessEnded,
    InvitationIn,
    InvitationOut,
    LinkAccept,
    LinkInfo,
    LinkOut,
    LoginIn,
    Me,
    NewToken,
    PasswordIn,
    ResetOut,
    SetupIn,
    StudioSettings,
    StudioSettingsPatch,
    TokenIn,
    TokenOut,
    UserOut,
    UserPatch,
)

router = APIRouter(prefix="/api", tags=["auth"], max_body_size=8 * 1024)


@router.get("/auth/me")
def get_me(request: Request, db: Db) -> Me:
    return service.me(db, actor_of(request))


@router.post("/auth/setup", status_code=201)
async def set_up(request: Request, response: Response, studio: Parts, body: SetupIn) -> Me:
    """Make the first administrator with the token of the setup link, and sign in."""
    return await signing_in.set_up(studio, request, response, body)


@router.post("/auth/login")
async def log_in(request: Request, response: Response, studio: Parts, body: LoginIn) -> Me:
    """429 with Retry-After where too many tries failed, or too many people sign in at this moment."""
    return await signing_in.log_in(studio, request, response, body)


@router.post("/auth/logout", status_code=204)
def log_out(request: Request, response: Response, db: Db, studio: Parts) -> None:
    signing_in.log_out(db, studio, request, response)


@router.post("/auth/password")
async def change_password(request: Request, me: Viewer, studio: Parts, body: PasswordIn) -> AccessEnded:
    """Ends the person's other sessions, all their API tokens, and the links they made that nobody has used."""
    return await signing_in.change_password(studio, request, me, body)


@router.get("/auth/tokens")
def list_tokens(db: Db, me: Viewer) -> list[TokenOut]:
    return service.tokens(db, me)


@router.post("/auth/tokens", status_code=201)
def create_token(request: Request, db: Db, me: Viewer, body: TokenIn) -> NewToken:
    """For whoever signed in with a password; a token makes no others."""
    return service.create_token(db, request, me, body)


@router.delete("/auth/tokens/{token_id}", status_code=204)
def revoke_token(db: Db, me: Viewer, studio: Parts, token_id: str) -> None:
    service.revoke_token(db, studio, me, token_id)


@router.get("/users")
def list_users(db: Db, me: Admin) -> list[UserOut]:
    return service.users(db)


@router.patch("/users/{user_id}")
def change_user(db: Db, me: Admin, studio: Parts, user_id: str, body: UserPatch) -> UserOut:
    """Disabling ends sessions, API tokens, open sockets, and the links that the person made."""
    return service.change_user(db, studio, me, user_id, body)


@router.post("/users/{user_id}/reset", status_code=201)
def reset_password(request: Request, db: Db, me: Admin, studio: Parts, user_id: str) -> LinkOut:
    """A one-time link with which the person sets a new password; it voids earlier ones."""
    return service.reset_password(db, studio, request, me, user_id)


@router.get("/invitations")
def list_invitations(db: Db, me: Admin) -> list[InvitationOut]:
    return service.invitations(db)


@router.post("/invitations", status_code=201)
def invite(request: Request, db: Db, me: Admin, studio: Parts, body: InvitationIn) -> LinkOut:
    return service.invite(db, studio, request, me, body)


@router.delete("/invitations/{invitation_id}", status_code=204)
def withdraw_invitation(db: Db, me: Admin, invitation_id: str) -> None:
    service.withdraw(db, me, invitation_id)


@router.get("/resets")
def list_resets(db: Db, me: Admin) -> list[ResetOut]:
    """Links for a new password that nobody has used yet."""
    return service.resets(db)


@router.delete("/resets/{reset_id}", status_code=204)
def withdraw_reset(db: Db, me: Admin, reset_id: str) -> None:
    service.withdraw_reset(db, me, reset_id)


@router.get("/links")
def get_link(db: Db, token: Annotated[str, Query(max_length=128)]) -> LinkInfo:
    return signing_in.link(db, token)


@router.post("/links", status_code=201)
async def accept_link(request: Request, response: Response, studio: Parts, body: LinkAccept) -> Me:
    """Make the account, or set the password, and sign in. A new password ends all that the old one opened."""
    return await signing_in.accept(studio, request, response, body)


@router.get("/settings")
def get_settings(db: Db, me: Admin, studio: Parts) -> StudioSettings:
    return service.settings(db, studio)


@router.patch("/settings")
def change_settings(db: Db, me: Admin, studio: Parts, body: StudioSettingsPatch) -> StudioSettings:
    return service.change_settings(db, studio, me, body)
