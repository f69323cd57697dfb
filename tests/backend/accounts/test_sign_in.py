"""Guessing passwords: bounded work, slowed down, and nobody can keep another person out."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from backend.accounts import signing_in
from backend.core.errors import TooManyError
from backend.identity import hashing as hashing_module
from backend.identity import secrets
from backend.identity.hashing import PasswordHashing
from backend.identity.rate_limit import (
    ATTACK,
    TRIES_PER_ADDRESS,
    TRIES_PER_PAIR,
    TRIES_PER_PAIR_UNDER_ATTACK,
    Devices,
    SignInRateLimiter,
    network_of,
)
from backend.identity.secrets import hash_password
from backend.studio.context import Studio
from backend.tables.user import User
from tests.support.application import browser_of
from tests.support.people import PASSWORD, PASSWORD_HASH, SignIn

LOGIN = "/api/auth/login"


def browser_at(app: FastAPI, address: str) -> TestClient:
    """Somebody else's browser, at that address."""
    return browser_of(app, headers={"Origin": "http://127.0.0.1:8000"}, client=(address, 50_000))


def test_who_guesses_keeps_nobody_out(app: FastAPI, client: SignIn) -> None:
    """Not from another address, and not even from the same one on a device that was signed in before."""
    owner = client("operator")  # signed in from "testclient"
    guesser = browser_at(app, "203.0.113.7")
    guess = {"name": "Operator", "password": "guess"}
    codes = [guesser.post(LOGIN, json=guess).status_code for _ in range(TRIES_PER_PAIR + 1)]
    assert codes == [403] * TRIES_PER_PAIR + [429]
    right = {"name": "operator", "password": PASSWORD}
    refused = guesser.post(LOGIN, json=right)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 301
    assert browser_at(app, "203.0.113.8").post(LOGIN, json=right).status_code == 200
    beside = browser_at(app, "203.0.113.7")
    beside.cookies.set(Devices.COOKIE, owner.cookies[Devices.COOKIE])
    assert beside.post(LOGIN, json=right).status_code == 200


def test_a_name_that_many_addresses_guess_at_stays_open(app: FastAPI, client: SignIn) -> None:
    client("operator")
    guess = {"name": "operator", "password": "guess"}
    for number in range(ATTACK):
        assert browser_at(app, f"198.51.100.{number}").post(LOGIN, json=guess).status_code == 403
    elsewhere = browser_at(app, "192.0.2.1")
    codes = [elsewhere.post(LOGIN, json=guess).status_code for _ in range(TRIES_PER_PAIR_UNDER_ATTACK + 1)]
    assert codes == [403] * TRIES_PER_PAIR_UNDER_ATTACK + [429]
    right = {"name": "operator", "password": PASSWORD}
    assert browser_at(app, "192.0.2.2").post(LOGIN, json=right).status_code == 200


def test_an_address_that_tries_many_names_is_slowed_down(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_nobody", lambda: PASSWORD_HASH)  # eighty real ones take eight seconds
    guesser = browser_at(app, "203.0.113.7")
    codes = [
        guesser.post(LOGIN, json={"name": f"name{number}", "password": "guess"}).status_code
        for number in range(TRIES_PER_ADDRESS + 1)
    ]
    assert codes == [403] * TRIES_PER_ADDRESS + [429]


def test_those_who_sign_in_are_not_counted(app: FastAPI, client: SignIn) -> None:
    client("viewer")
    shared = {"name": "viewer", "password": PASSWORD}
    for _ in range(TRIES_PER_PAIR + 2):
        assert browser_at(app, "203.0.113.7").post(LOGIN, json=shared).status_code == 200


def test_who_cannot_be_let_in_for_a_locked_database_has_guessed_nothing(
    app: FastAPI, client: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client("viewer")
    right = {"name": "viewer", "password": PASSWORD}
    browser = browser_at(app, "203.0.113.7")
    with monkeypatch.context() as patched:
        patched.setattr(signing_in, "_sign_in", _locked)
        assert {browser.post(LOGIN, json=right).status_code for _ in range(TRIES_PER_PAIR + 1)} == {503}
    assert browser.post(LOGIN, json=right).status_code == 200


def _locked(*_: object) -> None:
    raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))


def test_a_device_counts_for_the_name_that_signed_in_on_it(app: FastAPI, client: SignIn, tmp_path: Path) -> None:
    devices = Devices(tmp_path)
    cookie = devices.cookie("Ada")
    assert devices.device(cookie, "ada") == cookie.partition(".")[0]
    for wrong in (None, "", ".", "x", cookie + "0", cookie.replace(".", ""), "\xff.\xff"):
        assert devices.device(wrong, "ada") is None
    assert devices.device(cookie, "bob") is None
    client("viewer")
    guesser = browser_at(app, "203.0.113.7")
    guesser.cookies.set(Devices.COOKIE, client("annotator").cookies[Devices.COOKIE])
    guess = {"name": "viewer", "password": "guess"}
    codes = {guesser.post(LOGIN, json=guess).status_code for _ in range(TRIES_PER_PAIR + 1)}
    assert codes == {403, 429}


def test_tries_at_once_are_all_counted() -> None:
    """However many begin before the first one's password has been looked at."""
    limiter = SignInRateLimiter()
    passed = 0
    for _ in range(25):
        try:
            limiter.sign_in("ada", "203.0.113.7", None)
            passed += 1
        except TooManyError:
            pass
    assert passed == TRIES_PER_PAIR


def test_the_limiter_forgets_the_oldest_and_keeps_who_guesses_now() -> None:
    limiter = SignInRateLimiter(keys=10)
    for _ in range(TRIES_PER_PAIR):
        limiter.attempt({"guesser": TRIES_PER_PAIR})
    for number in range(100):
        with pytest.raises(TooManyError):
            limiter.attempt({"guesser": TRIES_PER_PAIR})
        limiter.attempt({f"other {number}": TRIES_PER_PAIR})
    assert len(limiter._tries) <= 10


def test_neighbours_in_an_ipv6_network_are_one() -> None:
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::1") != network_of("2001:db8:1:2::1")
    assert network_of("::ffff:203.0.113.7") == "203.0.113.7"
    assert network_of(None) == network_of("testclient") == "elsewhere"


def test_as_much_work_for_a_name_that_does_not_exist(
    app: FastAPI, client: SignIn, anonymous: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash for each try, whether the name exists, does not, or is disabled; and the same answer."""
    assert hash_password("x").startswith("$argon2id$v=19$m=65536,t=3,p=4$"), "64 MiB: tests sign in with cheaper ones"
    client("viewer")
    client("annotator")
    with studio.db.transaction() as db:
        db.scalars(select(User).where(User.name == "annotator")).one().disabled = True
    hashed: list[str | None] = []
    real = hashing_module.password_matches
    monkeypatch.setattr(
        hashing_module, "password_matches", lambda password, stored: hashed.append(stored) or real(password, stored)
    )
    tries = [("viewer", "guess"), ("nobody", "guess"), ("annotator", PASSWORD)]
    answers = [anonymous.post(LOGIN, json={"name": name, "password": word}) for name, word in tries]
    assert len(hashed) == 3
    assert {(answer.status_code, answer.text) for answer in answers} == {(403, answers[0].text)}


def test_few_hashes_are_computed_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told at once, places are kept for known people, and none is taken by one caller alone."""
    release, busy, together = threading.Event(), threading.Semaphore(0), []

    def slow(password: str) -> str:
        together.append(password)
        busy.release()
        release.wait(30)
        return password

    monkeypatch.setattr(hashing_module, "hash_password", slow)

    async def ask() -> None:
        hashing = PasswordHashing(at_once=1, waiting=4, reserved=1, per_caller=3)
        tasks = [asyncio.ensure_future(hashing.hash("a", caller="guesser")) for _ in range(3)]
        await asyncio.to_thread(busy.acquire)
        with pytest.raises(TooManyError) as greedy:
            await hashing.hash("a", caller="guesser")
        assert greedy.value.retry_seconds == 1
        tasks.append(asyncio.ensure_future(hashing.hash("b", caller="other")))
        await asyncio.sleep(0)
        with pytest.raises(TooManyError):
            await hashing.hash("c", caller="third")
        tasks.append(asyncio.ensure_future(hashing.hash("d", caller="device", known=True)))
        await asyncio.sleep(0)
        assert together == ["a"]
        gone = tasks.pop(1)  # leaves before its turn: its place is free again
        gone.cancel()
        await asyncio.wait({gone})
        tasks.append(asyncio.ensure_future(hashing.hash("e", caller="fourth", known=True)))
        release.set()
        assert await asyncio.gather(*tasks) == ["a", "a", "b", "d", "e"]
        hashing.close()

    asyncio.run(ask())
    assert sorted(together) == ["a", "a", "b", "d", "e"]


def test_no_transaction_is_open_while_a_password_is_hashed(
    app: FastAPI, client: SignIn, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signing in, changing a password, the setup link and links: others write while each is hashed."""
    admin = client("admin")
    wrote: list[str] = []

    def write_meanwhile() -> None:
        with studio.db.transaction() as db:
            db.add(User(name=f"other{len(wrote)}", password_hash="x", role="viewer"))
        wrote.append(threading.current_thread().name)

    for name in ("hash_password", "password_matches"):
        real = getattr(hashing_module, name)

        def beside(*arguments: object, real: object = real) -> object:
            with ThreadPoolExecutor(1) as other:
                other.submit(write_meanwhile).result(10)
            return real(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(hashing_module, name, beside)
    token = admin.post("/api/invitations", json={"role": "viewer"}).json()["url"].partition("token=")[2]
    joined = browser_at(app, "203.0.113.7").post(
        "/api/links", json={"token": token, "name": "grace", "password": PASSWORD}
    )
    assert joined.status_code == 201
    right = {"name": "grace", "password": PASSWORD}
    assert browser_at(app, "203.0.113.7").post(LOGIN, json=right).status_code == 200
    change = {"current": PASSWORD, "new": "another password"}
    assert admin.post("/api/auth/password", json=change).status_code == 200
    assert len(wrote) == 4


def test_guessing_the_password_of_an_open_browser_is_slowed_down(client: SignIn) -> None:
    viewer = client("viewer")
    body = {"current": "guess", "new": "another password"}
    codes = [viewer.post("/api/auth/password", json=body).status_code for _ in range(TRIES_PER_PAIR + 1)]
    assert codes == [422] * TRIES_PER_PAIR + [429]
