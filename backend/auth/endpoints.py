"""/api/auth, /api/users, /api/invitations, /api/links, /api/settings."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from backend.access import Admin, Db, Parts, Viewer, actor_of
from backend.auth import service
from backend.auth.schemas import (
    InvitationIn,
    InvitationOut,
    LinkAccept,
    LinkInfo,
    LinkOut,
    LoginIn,
    Me,
    NewToken,
    PasswordIn,
    SetupIn,
    StudioSettings,
    StudioSettingsPatch,
    TokenIn,
    TokenOut,
    UserOut,
    UserPatch,
)

router = APIRouter(prefix="/api", tags=["auth"])


@router.get("/auth/me")
def get_me(request: Request, db: Db) -> Me:
    return service.me(db, actor_of(request))


@router.post("/auth/setup", status_code=201)
def set_up(request: Request, response: Response, db: Db, studio: Parts, body: SetupIn) -> Me:
    """Make the first administrator with the token of the setup link, and sign in."""
    return service.set_up(db, studio, request, response, body)


@router.post("/auth/login")
def log_in(request: Request, response: Response, db: Db, studio: Parts, body: LoginIn) -> Me:
    return service.log_in(db, studio, request, response, body)


@router.post("/auth/logout", status_code=204)
def log_out(request: Request, response: Response, db: Db) -> None:
    service.log_out(db, request, response)


@router.post("/auth/password", status_code=204)
def change_password(request: Request, db: Db, me: Viewer, body: PasswordIn) -> None:
    """Signs out the person's other browsers."""
    service.change_password(db, request, me, body)


@router.get("/auth/tokens")
def list_tokens(db: Db, me: Viewer) -> list[TokenOut]:
    return service.tokens(db, me)


@router.post("/auth/tokens", status_code=201)
def create_token(db: Db, me: Viewer, body: TokenIn) -> NewToken:
    return service.create_token(db, me, body)


@router.delete("/auth/tokens/{token_id}", status_code=204)
def revoke_token(db: Db, me: Viewer, token_id: str) -> None:
    service.revoke_token(db, me, token_id)


@router.get("/users")
def list_users(db: Db, me: Admin) -> list[UserOut]:
    return service.users(db)


@router.patch("/users/{user_id}")
def change_user(db: Db, me: Admin, user_id: str, body: UserPatch) -> UserOut:
    return service.change_user(db, me, user_id, body)


@router.post("/users/{user_id}/reset", status_code=201)
def reset_password(request: Request, db: Db, me: Admin, studio: Parts, user_id: str) -> LinkOut:
    """A one-time link with which the person sets a new password."""
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


@router.get("/links")
def get_link(db: Db, token: Annotated[str, Query(max_length=128)]) -> LinkInfo:
    return service.link(db, token)


@router.post("/links", status_code=201)
def accept_link(request: Request, response: Response, db: Db, studio: Parts, body: LinkAccept) -> Me:
    """Make the account, or set the password, and sign in."""
    return service.accept(db, studio, request, response, body)


@router.get("/settings")
def get_settings(db: Db, me: Admin, studio: Parts) -> StudioSettings:
    return service.settings(db, studio)


@router.patch("/settings")
def change_settings(db: Db, me: Admin, studio: Parts, body: StudioSettingsPatch) -> StudioSettings:
    return service.change_settings(db, studio, me, body)
