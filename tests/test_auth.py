"""auth: guests, accounts and sessions, and what a thief, a guesser or an empty Redis gets: nothing."""

from __future__ import annotations

import secrets
import socket
import time
import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from flask import Flask
from psycopg.rows import dict_row
from werkzeug.test import TestResponse

from functions.auth.guessing import Guessing
from functions.auth.passwords import Passwords
from functions.auth.routes import create
from functions.auth.sessions import Owner, Sessions, Used
from functions.auth.settings import Settings
from functions.shared import messages
from functions.shared.http import Problem
from functions.shared.memory import Away, Memory
from functions.shared.tokens import Signer
from tests.waiting import PATIENCE, until

PASSWORD = "버리기 전에 씻어요"
GRACE = 2.0  # of 50 threads the last may be a second late


@pytest.fixture(scope="module")
def own_redis_url(redis_url: str) -> str:
    """A database of the server that may be flushed."""
    return redis_url.rpartition("/")[0] + "/6"


@pytest.fixture(scope="module")
def settings(database_url: str, own_redis_url: str, keys: Path) -> Settings:
    return Settings(
        database_url=database_url,
        redis_url=own_redis_url,
        jwt_private_key_file=keys / "private.pem",
        jwt_public_keys_dir=keys / "public",
        rate_limit_per_minute=100_000,
        bcrypt_cost=4,
        refresh_grace_seconds=GRACE,
        pool_size=8,
    )


@pytest.fixture(scope="module")
def app(settings: Settings) -> Flask:
    return create(settings)


@pytest.fixture
def memory(own_redis_url: str) -> Iterator[Memory]:
    memory = Memory(own_redis_url)
    yield memory
    memory.close()


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(database_url, row_factory=dict_row, autocommit=True) as connection:
        yield connection


@dataclass
class Client:
    """An app somewhere: what it was told last, and how it asks."""

    app: Flask
    address: str
    token: str = ""
    refresh_token: str = ""
    user_id: str = ""

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        sent = {"X-Forwarded-For": self.address, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        return self.app.test_client().open(f"/api/v1/auth/{path}", method=method, json=body, headers=sent)

    def adopt(self, answer: TestResponse) -> Client:
        """Go on with the session that came."""
        assert answer.status_code in (200, 201), answer.data
        session = told(answer)
        assert set(session) == {"user_id", "kind", "token", "expires_in", "refresh_token", "refresh_expires_in"}
        assert (session["expires_in"], session["refresh_expires_in"]) == (900, 604800)
        self.token, self.refresh_token, self.user_id = session["token"], session["refresh_token"], session["user_id"]
        return self

    def refresh(self, token: str | None = None, **more: str) -> TestResponse:
        return self("POST", "refresh", {"refresh_token": token or self.refresh_token, **more})

    def login(self, email: str, password: str = PASSWORD) -> TestResponse:
        return self("POST", "login", {"email": email, "password": password})

    @property
    def welcome(self) -> bool:
        """Whether the access token is believed."""
        answer = self("GET", "me")
        assert answer.status_code in (200, 401)
        return answer.status_code == 200


@pytest.fixture
def new_client(app: Flask) -> Callable[[], Client]:
    """Each from an address of its own, so that nobody is held up by another's wrong passwords."""
    return lambda: Client(app, ".".join(map(str, (10, *uuid.uuid4().bytes[:3]))))


@pytest.fixture
def guest(new_client: Callable[[], Client]) -> Client:
    client = new_client()
    return client.adopt(client("POST", "guest"))


@pytest.fixture
def email() -> str:
    return f"kim-{uuid.uuid4().hex[:10]}@example.com"


@pytest.fixture
def account(new_client: Callable[[], Client], email: str) -> Client:
    client = new_client()
    return client.adopt(client("POST", "signup", {"email": email, "password": PASSWORD}))


def told(answer: TestResponse) -> dict[str, Any]:
    assert isinstance(answer.json, dict)
    return answer.json


def code(answer: TestResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json", answer.data
    return answer.status_code, told(answer)["code"]


# --- passwords


def test_a_password_of_73_bytes_is_not_its_first_72(new_client: Callable[[], Client], email: str) -> None:
    client, long = new_client(), "가" * 24 + "a"
    assert len(long.encode()) == 73
    client.adopt(client("POST", "signup", {"email": email, "password": long}))
    assert code(client.login(email, long[:-1])) == (401, "wrong_credentials")
    assert code(client.login(email, long[:-1] + "b")) == (401, "wrong_credentials")
    assert client.login(email, long).status_code == 200


@pytest.mark.parametrize(("one", "other"), [("pass\0word", "pass\0wort"), ("a" * 72, "a" * 73), ("a" * 127, "a" * 128)])
def test_no_byte_and_no_length_shortens_a_password(one: str, other: str) -> None:
    passwords = Passwords(4)
    kept = passwords.hashed(one)
    assert passwords.match(one, kept)
    assert not passwords.match(other, kept)


def test_the_same_syllables_are_the_same_password_from_every_keyboard(account: Client, email: str) -> None:
    letters = unicodedata.normalize("NFD", PASSWORD)
    assert letters != PASSWORD
    assert account.login(email, letters).status_code == 200


def test_every_hash_has_its_own_salt_and_the_password_is_not_in_it() -> None:
    one, other = (Passwords(4).hashed(PASSWORD) for _ in range(2))
    assert one != other
    assert one.startswith("$2b$04$")
    assert PASSWORD not in one


def test_who_is_unknown_waits_as_long_as_who_is_known() -> None:
    passwords = Passwords(9)  # some 30 ms
    kept = passwords.hashed(PASSWORD)

    def milliseconds(kept: str | None) -> float:
        begun = time.process_time()
        assert not passwords.match("wrong", kept)
        return (time.process_time() - begun) * 1000

    pairs = [(milliseconds(kept), milliseconds(None)) for _ in range(10)]  # in turn: a machine's speed changes
    known, unknown = map(min, zip(*pairs, strict=True))
    assert 0.6 < known / unknown < 1.7, (known, unknown)


def test_a_hash_of_another_cost_is_made_anew_at_the_next_login(
    app: Flask, settings: Settings, account: Client, email: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    dearer = Client(create(replace(settings, bcrypt_cost=5)), account.address)
    assert dearer.login(email).status_code == 200
    row = db.execute("SELECT password_hash FROM accounts WHERE email = %s", (email,)).fetchone()
    assert row is not None
    assert row["password_hash"].startswith("$2b$05$")
    assert account.login(email).status_code == 200, "and back"


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"email": "kim@example.com", "password": "짧아요"}, {"password": "short"}),
        ({"email": "kim@example.com", "password": " " * 10}, {"password": "short"}),
        ({"email": "kim@example.com", "password": unicodedata.normalize("NFD", "한글로")}, {"password": "short"}),
        ({"email": "kim@example.com", "password": "a" * 129}, {"password": "long"}),
        ({"email": "kim@example", "password": PASSWORD}, {"email": "email"}),
        ({"email": "kim @example.com", "password": PASSWORD}, {"email": "email"}),
        ({"email": "a@" + "b" * 250 + ".kr", "password": PASSWORD}, {"email": "long"}),
        ({"email": "kim@example.com"}, {"password": "missing"}),
        ({"email": 7, "password": True, "admin": True}, {"admin": "unknown", "email": "type", "password": "type"}),
    ],
    ids=str,
)
def test_what_cannot_be_an_account_is_refused_field_by_field(
    new_client: Callable[[], Client], body: dict[str, Any], faults: dict[str, str]
) -> None:
    answer = new_client()("POST", "signup", body)
    assert code(answer) == (422, "invalid_request")
    assert {fault["field"]: fault["code"] for fault in told(answer)["problems"]} == faults


# --- becoming an account


def test_a_guest_who_becomes_an_account_stays_the_same_user(
    guest: Client, email: str, new_client: Callable[[], Client], db: psycopg.Connection[dict[str, Any]]
) -> None:
    assert guest("POST", "consent", {"granted": True}).status_code == 200
    db.execute(
        """INSERT INTO analyses (id, user_id, key, status, content_type, correlation_id)
           VALUES (%s, %s, %s, 'requested', 'image/png', 'x')""",
        (uuid.uuid4(), guest.user_id, f"uploads/{uuid.uuid4()}"),
    )
    before = replace(guest)
    guest.adopt(guest("POST", "signup", {"email": email, "password": PASSWORD}))
    assert guest.user_id == before.user_id
    assert told(guest("GET", "me")) == {"user_id": before.user_id, "kind": "account", "consent": True}
    assert not before.welcome, "what the guest held opens no account"
    assert code(before.refresh()) == (401, "bad_refresh")
    elsewhere = new_client()
    elsewhere.adopt(elsewhere.login(email.upper()))
    assert elsewhere.user_id == before.user_id
    kept = db.execute("SELECT count(*) AS n FROM analyses WHERE user_id = %s", (elsewhere.user_id,)).fetchone()
    assert kept == {"n": 1}


def test_a_guests_session_never_becomes_an_accounts(
    guest: Client, email: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    """As it stands when Redis went away between the commit of a sign-up and the end of the guest's sessions."""
    db.execute("UPDATE users SET kind = 'account' WHERE id = %s", (guest.user_id,))
    db.execute(
        "INSERT INTO accounts (user_id, email, password_hash) VALUES (%s, %s, %s)",
        (guest.user_id, email, Passwords(4).hashed(PASSWORD)),
    )
    assert code(guest.refresh()) == (401, "bad_refresh")
    before = guest.user_id
    assert guest.adopt(guest.login(email)).user_id == before
    assert guest.adopt(guest.refresh()).welcome


def test_an_address_has_one_account(account: Client, guest: Client, email: str) -> None:
    wish = {"email": f"  {email.upper()} ", "password": PASSWORD}
    refused = guest("POST", "signup", wish)
    assert code(refused) == (409, "email_taken")
    assert told(refused)["title"] == "이미 가입된 이메일이에요"
    assert told(guest("GET", "me"))["kind"] == "guest", "nothing happened to the guest"
    assert code(account("POST", "signup", {"email": "x" + email, "password": PASSWORD})) == (409, "already_account")
    assert code(guest("POST", "signup", wish, Authorization="Bearer a.b.c")) == (401, "bad_token")


def test_of_twenty_who_want_one_address_at_once_one_gets_it(new_client: Callable[[], Client], email: str) -> None:
    wish = {"email": email, "password": PASSWORD}
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda client: client("POST", "signup", wish), [new_client() for _ in range(20)]))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}


# --- sessions


def test_a_session_is_renewed(guest: Client) -> None:
    before = replace(guest)
    for _ in range(3):
        guest.adopt(guest.refresh())
        assert guest.welcome
    assert guest.user_id == before.user_id
    assert guest.refresh_token != before.refresh_token
    assert before.welcome, "an access token lives on: it is short"


def test_fifty_refreshes_of_one_token_leave_one_living_successor(guest: Client, settings: Settings) -> None:
    guest.app = create(replace(settings, refresh_grace_seconds=PATIENCE))  # however long fifty take
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: guest.refresh(), range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 49}
    assert {code(answer) for answer in answers if answer.status_code == 409} == {(409, "refresh_used")}
    (won,) = (answer for answer in answers if answer.status_code == 200)
    guest.adopt(won)
    assert guest.adopt(guest.refresh()).welcome


def test_an_answer_that_was_lost_comes_again(guest: Client, own_redis_url: str) -> None:
    mine = secrets.token_urlsafe(32)
    assert guest.refresh(next=mine).status_code == 200, "and nobody hears it"
    time.sleep(GRACE + 0.1)
    with ThreadPoolExecutor(10) as pool:
        answers = [told(answer) for answer in pool.map(lambda _: guest.refresh(next=mine), range(10))]
    assert {answer["refresh_token"] for answer in answers} == {guest.refresh_token[:24] + mine}, "one living successor"
    assert len({answer["token"] for answer in answers}) == 10
    family = redis.Redis.from_url(own_redis_url, decode_responses=True).hgetall(
        f"auth:family:{guest.refresh_token[:24]}"
    )
    assert not any(mine in value for value in family.values())
    before = replace(guest)
    guest.adopt(guest.refresh(next=mine))
    assert guest.welcome
    assert guest.adopt(guest.refresh()).welcome
    assert code(before.refresh(next=mine)) == (401, "bad_refresh"), "once its successor was used it is a replay"
    assert code(guest.refresh()) == (401, "bad_refresh")


def test_who_does_not_know_what_was_chosen_is_a_thief_as_ever(guest: Client) -> None:
    thief = replace(guest)
    guest.adopt(guest.refresh(next=secrets.token_urlsafe(32)))
    assert code(thief.refresh(next=secrets.token_urlsafe(32))) == (409, "refresh_used")
    assert code(thief.refresh()) == (409, "refresh_used")
    time.sleep(GRACE + 0.1)
    assert code(thief.refresh(next=secrets.token_urlsafe(32))) == (401, "bad_refresh")
    assert code(guest.refresh()) == (401, "bad_refresh")


def test_a_token_is_not_its_own_successor_nor_anything_else(guest: Client) -> None:
    for chosen, fault in ((guest.refresh_token[24:], "characters"), ("*" * 43, "characters"), ("x" * 42, "short")):
        answer = guest.refresh(next=chosen)
        assert code(answer) == (422, "invalid_request")
        assert [(one["field"], one["code"]) for one in told(answer)["problems"]] == [("next", fault)]
    assert guest.adopt(guest.refresh()).welcome


def test_a_replay_ends_the_family_and_nothing_else(account: Client, email: str) -> None:
    thief, other = replace(account), replace(account)
    other.adopt(other.login(email))
    account.adopt(account.refresh())
    assert code(thief.refresh()) == (409, "refresh_used"), "at once it may have been the same app"
    account.adopt(account.refresh())
    assert code(thief.refresh()) == (401, "bad_refresh"), "two tokens back it may not"
    assert code(account.refresh()) == (401, "bad_refresh"), "nobody knows which of the two was the thief"
    assert other.adopt(other.refresh()).welcome, "another session of the same user goes on"


def test_the_last_token_is_a_replay_too_after_the_grace(guest: Client) -> None:
    thief = replace(guest)
    guest.adopt(guest.refresh())
    time.sleep(GRACE + 0.1)
    assert code(thief.refresh()) == (401, "bad_refresh")
    assert code(guest.refresh()) == (401, "bad_refresh")


def test_a_token_of_a_family_that_was_made_up_ends_it(guest: Client) -> None:
    assert code(guest.refresh(guest.refresh_token[:-1] + "-")) == (401, "bad_refresh")
    assert code(guest.refresh()) == (401, "bad_refresh")


@pytest.mark.parametrize("token", ["x", "x" * 67, "../" * 20, "*" * 67, "é" * 67])
def test_no_other_text_is_a_refresh_token(guest: Client, token: str) -> None:
    assert code(guest.refresh(token)) == (401, "bad_refresh")


def test_neither_token_passes_for_the_other(guest: Client) -> None:
    assert code(guest("GET", "me", Authorization=f"Bearer {guest.refresh_token}")) == (401, "bad_token")
    assert guest.refresh(guest.token).status_code in (401, 422)


def test_redis_does_not_know_the_tokens_it_keeps(guest: Client, own_redis_url: str) -> None:
    server = redis.Redis.from_url(own_redis_url, decode_responses=True)
    family = f"auth:family:{guest.refresh_token[:24]}"
    assert server.hget(family, "user") == guest.user_id
    secret = guest.refresh_token[24:]
    assert not any(secret in value for value in server.hgetall(family).values())
    assert 604800 - 60 < server.ttl(family) <= 604800
    server.expire(family, 0)
    assert code(guest.refresh()) == (401, "bad_refresh"), "after a week"


def test_logging_out_ends_this_session(account: Client, email: str) -> None:
    other = replace(account)
    other.adopt(other.login(email))
    assert account("POST", "logout", {"refresh_token": account.refresh_token}).status_code == 204
    assert not account.welcome
    assert code(account.refresh()) == (401, "bad_refresh")
    assert code(account("POST", "logout")) == (401, "bad_token")
    assert other.welcome
    assert other.adopt(other.refresh()).welcome


def test_nobody_ends_anothers_session(guest: Client, account: Client) -> None:
    assert guest("POST", "logout", {"refresh_token": account.refresh_token}).status_code == 204
    assert account.adopt(account.refresh()).welcome


def test_a_flushed_redis_lets_nobody_in(account: Client, guest: Client, email: str, own_redis_url: str) -> None:
    redis.Redis.from_url(own_redis_url).flushdb()
    for client in (account, guest):
        assert not client.welcome
        assert code(client.refresh()) == (401, "bad_refresh")
        assert not client.welcome
    assert account.adopt(account.login(email)).welcome


# --- another password, and leaving


def test_another_password_ends_every_other_session(account: Client, email: str) -> None:
    other, before = replace(account), replace(account)
    other.adopt(other.login(email))
    fresh = "새 비밀번호예요!"
    account.adopt(account("POST", "password", {"old": PASSWORD, "new": fresh}))
    assert account.adopt(account.refresh()).welcome
    for ended in (other, before):
        assert not ended.welcome
        assert code(ended.refresh()) == (401, "bad_refresh")
    assert code(other.login(email)) == (401, "wrong_credentials")
    assert other.adopt(other.login(email, fresh)).welcome


def test_who_does_not_know_the_password_changes_nothing(account: Client, guest: Client, email: str) -> None:
    wish = {"old": "틀린 비밀번호", "new": "새 비밀번호예요!"}
    assert code(account("POST", "password", wish)) == (403, "wrong_password")
    assert code(account("POST", "password", {**wish, "old": PASSWORD, "new": "짧아요"})) == (422, "invalid_request")
    assert code(account("DELETE", "account")) == (422, "invalid_request")
    assert code(account("DELETE", "account", {"password": "틀린 비밀번호"})) == (403, "wrong_password")
    assert account.welcome
    assert account.login(email).status_code == 200
    assert code(guest("POST", "password", wish)) == (409, "no_password")


def test_a_login_that_overlaps_a_change_of_the_password_does_not_survive_it(
    account: Client, email: str, settings: Settings, memory: Memory, keys: Path
) -> None:
    """The hash was found right, then the password changed, and only then the session opens."""
    sessions = Sessions(memory, Signer(keys / "private.pem"), grace=GRACE)
    at = sessions.now()
    account.adopt(account("POST", "password", {"old": PASSWORD, "new": "새 비밀번호예요!"}))
    late = sessions.open(Owner(uuid.UUID(account.user_id), "account"), at)
    thief = replace(account, token=late.token, refresh_token=late.refresh_token)
    assert not thief.welcome
    assert code(thief.refresh()) == (401, "bad_refresh")
    assert account.welcome


def test_a_login_by_a_password_that_is_just_being_changed_fails(
    account: Client, email: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    """The old hash can still be read when the login begins, and is gone when its session would open."""
    with ThreadPoolExecutor(1) as pool:
        with db.transaction():
            changed = (Passwords(4).hashed("새 비밀번호예요!"), email)
            db.execute("UPDATE accounts SET password_hash = %s WHERE email = %s", changed)
            login = pool.submit(account.login, email)
            until_somebody_waits(db)
            assert not login.done()
        assert code(login.result(PATIENCE)) == (401, "wrong_credentials")


@pytest.mark.parametrize("kind", ["guest", "account"])
def test_who_leaves_by_what_is_just_being_changed_stays(
    request: pytest.FixtureRequest, kind: str, email: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    """A guest becomes an account, an account gets another password, while the old right to delete it is looked at."""
    client: Client = request.getfixturevalue(kind)
    fresh = "새 비밀번호예요!"
    with ThreadPoolExecutor(1) as pool:
        with db.transaction():
            db.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (client.user_id,))
            leaving = pool.submit(client, "DELETE", "account", {"password": PASSWORD} if kind == "account" else None)
            until_somebody_waits(db)
            db.execute("UPDATE users SET kind = 'account' WHERE id = %s", (client.user_id,))
            db.execute(
                """INSERT INTO accounts (user_id, email, password_hash) VALUES (%s, %s, %s)
                   ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash""",
                (client.user_id, email, Passwords(4).hashed(fresh)),
            )
            assert not leaving.done()
        assert code(leaving.result(PATIENCE)) == (403, "wrong_password")
    assert client.adopt(client.login(email, fresh)).welcome


def until_somebody_waits(db: psycopg.Connection[dict[str, Any]]) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    until(lambda: db.execute(waiting).fetchone())


@pytest.mark.parametrize("kind", ["guest", "account"])
def test_who_leaves_is_gone(
    request: pytest.FixtureRequest, kind: str, email: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    client: Client = request.getfixturevalue(kind)
    answer = client("DELETE", "account", {"password": PASSWORD} if kind == "account" else None)
    assert (answer.status_code, answer.data) == (204, b"")
    assert not client.welcome
    assert code(client.refresh()) == (401, "unknown_user")
    assert db.execute("SELECT 1 FROM users WHERE id = %s", (client.user_id,)).fetchone() is None
    assert code(client.login(email)) == (401, "wrong_credentials")
    again = replace(client, token="")
    again.adopt(again("POST", "signup", {"email": email, "password": PASSWORD}))
    assert again.user_id != client.user_id, "the address is free, and nothing comes back"


# --- guessing


def test_an_account_is_not_guessed(account: Client, email: str, new_client: Callable[[], Client]) -> None:
    with ThreadPoolExecutor(8) as pool:
        guesses = list(pool.map(lambda n: new_client().login(email, f"guess {n:04}"), range(40)))
    assert Counter(code(guess) for guess in guesses) == {(401, "wrong_credentials"): 10, (429, "too_many_attempts"): 30}
    held = account.login(email)
    assert code(held) == (429, "too_many_attempts"), "the right password does not tell either"
    assert 0 < int(held.headers["Retry-After"]) <= 900
    assert "15분 뒤에" in told(held)["detail"]
    assert account.welcome, "who is signed in stays so"
    changed = account("POST", "password", {"old": PASSWORD, "new": PASSWORD})
    assert changed.status_code == 200, "nor is the owner held up by strangers who know the address"


def test_who_took_a_token_does_not_guess_the_password(account: Client) -> None:
    guesses = [account("POST", "password", {"old": f"guess {n:04}", "new": PASSWORD}) for n in range(9)]
    guesses += [account("DELETE", "account", {"password": f"guess {n:04}"}) for n in range(2)]
    assert [guess.status_code for guess in guesses] == [403] * 10 + [429]


def test_guests_do_not_come_by_the_hundred(
    settings: Settings, new_client: Callable[[], Client], db: psycopg.Connection[dict[str, Any]]
) -> None:
    strict = create(replace(settings, guests_per_hour=3))
    crowd = replace(new_client(), app=strict)
    before = db.execute("SELECT count(*) AS n FROM users").fetchone()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: crowd("POST", "guest"), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert code(refused) == (429, "too_many_guests")
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    assert "60분 뒤에" in told(refused)["detail"]
    assert "60 min" in told(crowd("POST", "guest", Accept_Language="en"))["detail"]
    assert before
    assert db.execute("SELECT count(*) AS n FROM users").fetchone() == {"n": before["n"] + 3}
    assert replace(new_client(), app=strict)("POST", "guest").status_code == 201, "from elsewhere"


def test_nobody_learns_which_addresses_have_accounts(account: Client, email: str, new_client: Any) -> None:
    def tried(email: str) -> list[Any]:
        answers = [new_client().login(email, "a wrong one") for _ in range(12)]
        return [{**told(answer), "status": answer.status_code} for answer in answers]

    assert tried(email) == tried(f"nobody-{email}")


def test_an_address_does_not_guess_at_many_accounts(settings: Settings, guest: Client) -> None:
    strict = replace(guest, app=create(replace(settings, tries_per_address=5)))
    answers = [strict.login(f"{uuid.uuid4().hex}@example.com") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    forged = strict("POST", "login", {"email": "a@b.kr", "password": "x"}, X_Forwarded_For=f"1.1.1.1, {strict.address}")
    assert forged.status_code == 429, "what a client writes into the header itself does not count"


def test_who_is_right_is_not_held_up(
    settings: Settings, account: Client, email: str, new_client: Callable[[], Client]
) -> None:
    strict = replace(account, app=create(replace(settings, tries_per_address=3, tries_per_account=3)))
    for password in ("wrong", "wrong", PASSWORD) * 2:
        strict.address = account.address if password == PASSWORD else new_client().address
        assert strict.login(email, password).status_code == (200 if password == PASSWORD else 401)
    strict.address = account.address
    assert [strict.login(email).status_code for _ in range(6)] == [200] * 6


def test_tries_are_forgotten_after_the_window(memory: Memory) -> None:
    guessing, who = Guessing(memory, per_account=2, per_address=9, window=2), uuid.uuid4().hex
    for _ in range(2):
        guessing.attempt(address=who, account=who)
    with pytest.raises(Problem, match="too_many_attempts") as refused:
        guessing.attempt(address=who, account=who)
    assert refused.value.headers == {"Retry-After": "2"}
    guessing.attempt(address=who)
    time.sleep(2.05)
    guessing.attempt(address=who, account=who)


# --- without Redis


@pytest.fixture(params=["refuses", "is silent"])
def dead_redis(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "is silent":
            server.listen(64)
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def test_without_redis_nobody_signs_in_and_who_is_in_goes_on(
    settings: Settings, account: Client, email: str, dead_redis: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    before = db.execute("SELECT count(*) AS n FROM users").fetchone()
    for method, path, body in (
        ("POST", "guest", None),
        ("POST", "signup", {"email": "x" + email, "password": PASSWORD}),
        ("POST", "login", {"email": email, "password": PASSWORD}),
        ("POST", "refresh", {"refresh_token": account.refresh_token}),
        ("POST", "logout", None),
        ("POST", "password", {"old": PASSWORD, "new": "새 비밀번호예요!"}),
        ("DELETE", "account", {"password": PASSWORD}),
    ):
        cut_off = replace(account, app=create(replace(settings, redis_url=dead_redis)))
        if path == "signup":
            cut_off.token = ""
        cut_off.app.test_client().get("/readyz")  # connects to the database
        begun = time.monotonic()
        answer = cut_off(method, path, body)
        took = time.monotonic() - begun
        assert code(answer) == (503, "unavailable"), path
        assert answer.headers["Retry-After"]
        assert took < 2, path
    begun = time.monotonic()
    assert cut_off.welcome
    assert time.monotonic() - begun < 2
    assert db.execute("SELECT count(*) AS n FROM users").fetchone() == before, "nothing half done"
    assert account.login(email).status_code == 200


def test_used_and_away_are_told_apart(memory: Memory, keys: Path) -> None:
    sessions, owner = Sessions(memory, Signer(keys / "private.pem"), grace=60), Owner(uuid.uuid4(), "guest")
    session = sessions.open(owner, sessions.now())
    assert sessions.owner(session.refresh_token) == owner
    sessions.renew(session.refresh_token, owner)
    with pytest.raises(Used):
        sessions.renew(session.refresh_token, owner)
    with pytest.raises(Away):
        Sessions(Memory("redis://127.0.0.1:9/0"), Signer(keys / "private.pem"), grace=60).now()


# --- for outsiders, and for people


def test_the_public_keys_may_be_kept_for_a_while(new_client: Callable[[], Client]) -> None:
    answer = new_client()("GET", "jwks")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    (key,) = told(answer)["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    assert "d" not in key


def test_what_went_wrong_is_said_in_korean(account: Client, email: str, new_client: Callable[[], Client]) -> None:
    wrong = told(new_client().login(email, "아닌데요"))
    assert wrong["title"] == "이메일이나 비밀번호가 맞지 않아요"
    short = told(new_client()("POST", "signup", {"email": "a@b.kr", "password": "짧다"}))
    assert [(fault["field"], fault["detail"]) for fault in short["problems"]] == [("password", "8자 이상 적어 주세요.")]
    english = told(new_client()("POST", "login", {"email": email, "password": "x"}, Accept_Language="en"))
    assert english["title"] == messages.text("problem.wrong_credentials", "en")
