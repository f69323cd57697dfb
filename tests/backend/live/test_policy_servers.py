"""A robot host connects to no policy server but those that the administrator listed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.core.settings import Settings
from tests.support.people import SignIn

LISTED = "gpu-1:8001, 10.0.0.7:*,[fe80::1]:8001  Policies.example:443"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("ws://gpu-1:8001", True),
        ("wss://GPU-1:8001/policy", True),
        ("ws://gpu-1:8002", False),
        ("ws://gpu-1", False),
        ("ws://gpu-1.evil.example:8001", False),
        ("ws://evil.example:8001/gpu-1:8001", False),
        ("ws://gpu-1:8001@evil.example:8001", False),
        ("ws://10.0.0.7:9", True),
        ("ws://10.0.0.71:9", False),
        ("ws://[fe80::1]:8001", True),
        ("ws://[fe80::2]:8001", False),
        ("wss://policies.example", True),
        ("ws://policies.example", False),
        ("ws://169.254.169.254", False),
        ("ws://127.0.0.1:6379", False),
        ("ws://gpu-1:99999", False),
        ("ws://[", False),
    ],
)
def test_only_what_is_listed_is_connected_to(
    url: str, allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_POLICY_SERVERS", LISTED)
    assert Settings(data=tmp_path).allows_policy_server(url) is allowed
    monkeypatch.setenv("STUDIO_POLICY_SERVERS", "")
    assert not Settings(data=tmp_path).allows_policy_server(url)


@pytest.mark.parametrize("listed", ["gpu-1", "ws://gpu-1:8001", "*:8001", "gpu-1:x", "gpu-1:8001/path"])
def test_an_entry_that_is_no_address_is_refused_at_the_start(listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_POLICY_SERVERS", listed)
    with pytest.raises(ValidationError, match="is not a policy server; expected HOST:PORT"):
        Settings()


def test_operators_see_which_are_allowed(settings: Settings, client: SignIn) -> None:
    assert client("operator").get("/api/live/policy-servers").json() == {"servers": ["gpu-1:8001", "10.0.0.7:*"]}
    assert client("annotator").get("/api/live/policy-servers").status_code == 403


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"policy_servers": ("gpu-1:8001", "10.0.0.7:*")})
