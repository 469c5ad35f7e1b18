"""Everything for which a password is said: becoming an account, logging in, another password, leaving.

Passwords are hashed before a transaction begins, and what was true then is looked at again inside it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Annotated

import flask
from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from functions.auth import accounts
from functions.auth.accounts import EMAIL, EMAIL_LONGEST, Account
from functions.auth.answers import SignedIn
from functions.auth.confirming import confirm
from functions.auth.guessing import Guessing
from functions.auth.passwords import LONGEST, SHORTEST, Passwords, normalised
from functions.auth.sessions import Owner, Sessions
from functions.shared import http
from functions.shared.api import operation
from functions.shared.edge import Edge
from functions.shared.http import Problem, Text
from functions.shared.leaving import leave
from functions.shared.postgres import Database, Tx
from functions.shared.revocations import end_all

Email = Annotated[str, Text(3, EMAIL_LONGEST, pattern=EMAIL, wrong="email")]
NewPassword = Annotated[str, Text(SHORTEST, LONGEST, trim=False, pattern=r"[\s\S]*\S[\s\S]*", wrong="short")]
Password = Annotated[str, Text(1, LONGEST, trim=False)]

TRIED = {429: ("too_many_attempts",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signup:
    """Body of POST /signup."""

    email: Email
    password: NewPassword


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Body of POST /login."""

    email: Email
    password: Password


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Body of POST /password."""

    old: Password
    new: NewPassword


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Body of DELETE /account, which may be missing: a guest has no password."""

    password: Password | None = None


def blueprint(db: Database, edge: Edge, sessions: Sessions, guessing: Guessing, passwords: Passwords) -> Blueprint:
    """These routes."""
    routes = Blueprint("credentials", __name__, url_prefix="/api/v1/auth")

    @routes.post("/signup")
    @operation(
        answers={201: SignedIn},
        body=Signup,
        problems={401: ("unknown_user",), 409: ("email_taken", "already_account"), **TRIED},
        access="optional",
    )
    def signup() -> ResponseReturnValue:
        """Become an account: the guest whose token came with it, with all their history, or a new user.

        What the guest was given before is refused from now on: whoever has it is not who knows the password.
        """
        user_id = http.user() if request.authorization else None
        wish = http.body(Signup)
        email, chosen = accounts.comparable(wish.email), _acceptable(wish.password, "password")
        guessing.attempt(address=edge.address())
        password_hash = passwords.hashed(chosen)
        with db.transaction() as tx:
            user_id = accounts.make(tx, user_id, email, password_hash)
        # Not before the commit: a guest whose session had ended for nothing could never come back; an account logs in.
        return flask.jsonify(sessions.restart(user_id).told()), 201

    @routes.post("/login")
    @operation(answers={200: SignedIn}, body=Login, problems={401: ("wrong_credentials",), **TRIED}, access="public")
    def login() -> ResponseReturnValue:
        """Log in. Who is unknown, and whose password is wrong, are answered alike."""
        given = http.body(Login)
        email = accounts.comparable(given.email)
        mine = guessing.attempt(address=edge.address(), account=email)
        at = sessions.now()
        account = _known(passwords, accounts.find(db, email), given.password)
        fresh = passwords.hashed(given.password) if passwords.outdated(account.password_hash) else None
        with db.transaction() as tx:
            if not accounts.hold(tx, account.user_id, account.password_hash):
                raise _wrong_credentials()
            if fresh:
                accounts.replace_hash(tx, account.user_id, fresh)
            session = sessions.open(Owner(account.user_id, "account"), at)
        guessing.right(mine)
        return flask.jsonify(session.told())

    @routes.post("/password")
    @operation(
        answers={200: SignedIn},
        body=Change,
        problems={401: ("unknown_user",), 403: ("wrong_password",), 409: ("no_password",), **TRIED},
    )
    def password() -> ResponseReturnValue:
        """Change the password. Every session of the user ends; the answer is the one to go on with."""
        user_id, wish = http.user(), http.body(Change)
        chosen = _acceptable(wish.new, "new")
        kept = confirm(db, guessing, user_id, wish.old, address=edge.address())
        if kept is None:
            raise Problem(409, "no_password")
        fresh = passwords.hashed(chosen)
        with db.transaction() as tx:
            if not accounts.hold(tx, user_id, kept):
                raise Problem(403, "wrong_password")
            accounts.change_password(tx, user_id, fresh)
            session = sessions.restart(user_id)  # before the commit: no new password while old sessions live on
        return flask.jsonify(session.told())

    @routes.delete("/account")
    @operation(
        answers={204: None},
        body=Leave | None,
        problems={401: ("unknown_user",), 403: ("wrong_password",), **TRIED},
    )
    def account() -> ResponseReturnValue:
        """Leave, as a guest or an account: everything of the user's is deleted. The photos follow within minutes."""
        user_id = http.user()
        wish = http.body(Leave) if request.get_data() else Leave()
        kept = confirm(db, guessing, user_id, wish.password, address=edge.address())
        with db.transaction() as tx:
            leave(tx, user_id, if_still=lambda: _unchanged(tx, user_id, kept))
            end_all(edge.memory, user_id)
        return "", 204

    return routes


def _acceptable(password: str, field: str) -> str:
    """A new password; problem 422 where it was long enough only in single letters (ㅎㅏㄴ is one character: 한)."""
    if len(normalised(password)) < SHORTEST:
        raise http.invalid(field, "short", least=SHORTEST)
    return password


def _unchanged(tx: Tx, user_id: uuid.UUID, kept: str | None) -> None:
    """Problem 403 unless `kept`, to which the password fitted, is still the user's hash (None: still a guest's)."""
    if not accounts.hold(tx, user_id, kept):
        raise Problem(403, "wrong_password")


def _known(passwords: Passwords, account: Account | None, password: str) -> Account:
    if not passwords.match(password, account.password_hash if account else None) or account is None:
        raise _wrong_credentials()
    return account


def _wrong_credentials() -> Problem:
    return Problem(401, "wrong_credentials", headers={"WWW-Authenticate": "Bearer"})
