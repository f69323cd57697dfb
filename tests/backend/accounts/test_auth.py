"""First start, signing in, roles, tokens, invitations, and who may call from where."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from starlette.websockets import WebSocketDisconnect

from backend.core.roles import Role
from backend.core.settings import Settings
from backend.identity.secrets import setup_token
from backend.studio.context import Studio
from backend.tables.audit_entry import AuditEntry
from backend.tables.login_session import LoginSession
from backend.tables.user import User
from tests.support.people import PASSWORD, SignIn


def test_the_setup_link_makes_one_administrator(anonymous: TestClient, studio: Studio) -> None:
    token = setup_token(studio.settings.folder.secrets)
    assert anonymous.get("/api/auth/me").json() == {"user": None, "setup_required": True}
    body = {"token": token, "name": "Ada", "password": PASSWORD}
    assert anonymous.post("/api/auth/setup", json={**body, "token": "guess"}).status_code == 403
    short = anonymous.post("/api/auth/setup", json={**body, "password": "short"})
    assert short.status_code == 422
    assert "10 to 256" in short.json()["error"]["fields"]["password"]
    answer = anonymous.post("/api/auth/setup", json=body)
    assert answer.json()["user"]["role"] == "admin"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert anonymous.get("/api/users").status_code == 200
    assert anonymous.post("/api/auth/setup", json=body).status_code == 409
    assert setup_token(studio.settings.folder.secrets) != token


def test_signing_in_and_out(client: SignIn, anonymous: TestClient, studio: Studio) -> None:
    viewer = client("viewer")
    assert viewer.get("/api/auth/me").json()["user"]["name"] == "viewer"
    wrong = anonymous.post("/api/auth/login", json={"name": "viewer", "password": "wrong"})
    unknown = anonymous.post("/api/auth/login", json={"name": "nobody", "password": "wrong"})
    assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json())
    with studio.db.transaction() as db:
        stored = db.scalars(select(LoginSession.token_sha256)).all()
    assert viewer.cookies["studio_session"] not in stored
    assert viewer.post("/api/auth/logout").status_code == 204
    assert viewer.get("/api/auth/tokens").status_code == 401


def test_guessing_passwords_is_slowed_down(client: SignIn, anonymous: TestClient) -> None:
    client("viewer")
    codes = {anonymous.post("/api/auth/login", json={"name": "viewer", "password": "x"}).status_code for _ in range(11)}
    assert codes == {403, 429}


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("viewer", "/api/auth/tokens", 200),
        ("viewer", "/api/import/candidates", 403),
        ("operator", "/api/users", 403),
        ("admin", "/api/users", 200),
        ("operator", "/api/audit", 403),
        ("admin", "/api/settings", 200),
    ],
)
def test_roles(client: SignIn, anonymous: TestClient, role: str, path: str, status: int) -> None:
    assert anonymous.get(path).status_code == 401
    answer = client(role).get(path)
    assert answer.status_code == status, answer.text


def test_every_endpoint_asks_who_calls(anonymous: TestClient, client: SignIn) -> None:
    """All but health and those that sign people in answer 401 to strangers, whatever they send."""
    client("admin")
    public = {"/api/health", "/api/auth/me", "/api/auth/setup", "/api/auth/login", "/api/auth/logout", "/api/links"}
    schema = anonymous.get("/api/openapi.json").json()
    for path, operations in schema["paths"].items():
        for method in operations:
            if path in public:
                continue
            address = path.replace("{", "").replace("}", "")
            answer = anonymous.request(method.upper(), address, json={} if method in {"post", "put", "patch"} else None)
            assert answer.status_code in {401, 422}, (method, path, answer.status_code)
            if answer.status_code == 422:  # body or parameters are read first; with those right it is 401
                names = " ".join(answer.json()["error"]["fields"])
                assert names, (method, path)


def test_requests_from_elsewhere_are_refused(client: SignIn) -> None:
    operator = client("operator")
    foreign = operator.post("/api/datasets", json={"name": "x"}, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert foreign.json()["error"]["code"] == "foreign_origin"
    assert "evil.example" in foreign.json()["error"]["message"]


def test_a_host_that_is_not_ours_is_named(client: SignIn) -> None:
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    answer = client("operator").post("/api/datasets", json={"name": "x"}, headers=headers)
    assert answer.status_code == 403
    assert "was sent to evil.example, which this studio does not know" in answer.json()["error"]["message"]


def test_behind_a_proxy_the_public_address_counts(client: SignIn) -> None:
    admin = client("admin")
    assert admin.patch("/api/settings", json={"public_url": "https://studio.example/path"}).status_code == 422
    assert admin.patch("/api/settings", json={"public_url": "https://studio.example/"}).status_code == 200
    answer = admin.post("/api/invitations", json={"role": "viewer"}, headers={"Origin": "https://studio.example"})
    assert answer.json()["url"].startswith("https://studio.example/link?token=")


def test_the_socket_asks_too(client: SignIn, anonymous: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, anonymous.websocket_connect("ws://127.0.0.1:8000/api/events"):
        pass
    assert refused.value.code == 4401
    viewer = client("viewer")
    headers = {"Origin": "http://evil.example"}
    with (
        pytest.raises(WebSocketDisconnect) as foreign,
        viewer.websocket_connect("ws://127.0.0.1:8000/api/events", headers=headers),
    ):
        pass
    assert foreign.value.code == 4403
    with viewer.websocket_connect("ws://127.0.0.1:8000/api/events") as socket:
        assert socket.receive_json()["topic"] == "hello"


def test_tokens_act_for_their_owner(client: SignIn, anonymous: TestClient, studio: Studio) -> None:
    made = client("annotator").post("/api/auth/tokens", json={"name": "script"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    anonymous.headers.pop("Origin")
    assert anonymous.get("/api/auth/me", headers=headers).json()["user"]["name"] == "annotator"
    assert anonymous.get("/api/users", headers=headers).status_code == 403
    another = anonymous.post("/api/auth/tokens", json={"name": "left behind"}, headers=headers)
    assert another.status_code == 403, "revoking one that was stolen would leave those it had made"
    assert "cannot make another" in another.json()["error"]["message"]
    listed = client("annotator").get("/api/auth/tokens").json()
    assert [one["name"] for one in listed] == ["script"]
    assert listed[0]["last_used_at"] is not None
    assert "token" not in listed[0]
    assert client("viewer").delete(f"/api/auth/tokens/{made['id']}").status_code == 404
    assert client("annotator").delete(f"/api/auth/tokens/{made['id']}").status_code == 204
    assert anonymous.get("/api/users", headers=headers).status_code == 401


def test_invitations_and_resets(client: SignIn, anonymous: TestClient, studio: Studio) -> None:
    admin = client("admin")
    token = admin.post("/api/invitations", json={"role": "annotator"}).json()["url"].partition("token=")[2]
    info = anonymous.get("/api/links", params={"token": token}).json()
    assert info == {"kind": "invitation", "role": "annotator", "name": None}
    taken = anonymous.post("/api/links", json={"token": token, "name": "Admin", "password": PASSWORD})
    assert taken.status_code == 409
    joined = anonymous.post("/api/links", json={"token": token, "name": "grace", "password": PASSWORD})
    assert joined.json()["user"]["role"] == "annotator"
    again = anonymous.post("/api/links", json={"token": token, "name": "grace2", "password": PASSWORD})
    assert again.status_code == 404
    user_id = joined.json()["user"]["id"]
    reset = admin.post(f"/api/users/{user_id}/reset").json()["url"].partition("token=")[2]
    fresh = TestClient(anonymous.app, base_url="http://127.0.0.1:8000", headers={"Origin": "http://127.0.0.1:8000"})
    assert fresh.post("/api/links", json={"token": reset, "password": "another password"}).status_code == 201
    assert anonymous.get("/api/auth/tokens").status_code == 401  # signed out by the reset
    login = {"name": "grace", "password": PASSWORD}
    assert fresh.post("/api/auth/login", json=login).status_code == 403
    with studio.db.transaction() as db:
        actions = set(db.scalars(select(AuditEntry.action)))
    assert {"user.invite", "auth.join", "user.reset", "auth.reset"} <= actions


def test_the_last_administrator_stays(client: SignIn, studio: Studio) -> None:
    admin = client("admin")
    own = admin.get("/api/auth/me").json()["user"]["id"]
    assert admin.patch(f"/api/users/{own}", json={"role": "viewer"}).status_code == 409
    assert admin.patch(f"/api/users/{own}", json={"disabled": True}).status_code == 409
    client("viewer")
    with studio.db.transaction() as db:
        viewer = db.scalar(select(User).where(User.role == Role.VIEWER))
        assert viewer is not None
    assert admin.patch(f"/api/users/{viewer.id}", json={"disabled": True}).status_code == 200
    assert client("viewer").get("/api/auth/tokens").status_code == 401


def test_health_is_public_and_tells_what_is_down(anonymous: TestClient, settings: Settings) -> None:
    health = anonymous.get("/api/health").json()
    assert (health["status"], health["database"], health["broker"]) == ("ok", "ok", "ok")
    assert (health["workers"], health["robots"]) == (0, 0)


def test_an_unknown_address_of_the_api_is_no_page(anonymous: TestClient) -> None:
    answer = anonymous.get("/api/nothing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
