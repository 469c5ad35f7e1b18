"""Accounts in the database: a user with an e-mail address and a password.

The lock of the account's row puts logins and changes of the password in order: who logs in does so by the hash that is
still there when the session opens.
"""

from __future__ import annotations

import unicodedata
import uuid
from dataclasses import dataclass

from psycopg.errors import UniqueViolation

from functions.shared import http
from functions.shared.http import Problem
from functions.shared.postgres import Database, Tx

#: Something, an @, and something with a dot in it. Whether mail arrives there is not asked.
EMAIL = r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+"
EMAIL_LONGEST = 254


@dataclass(frozen=True, slots=True)
class Account:
    """Who has this e-mail address, and what is kept of the password."""

    user_id: uuid.UUID
    password_hash: str


def comparable(email: str) -> str:
    """An e-mail address as it is kept and compared: NFC, lower case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email).lower())


def find(db: Database, email: str) -> Account | None:
    """The account with this (comparable) e-mail address."""
    rows = db.read("SELECT user_id, password_hash FROM accounts WHERE email = %(email)s", {"email": email})
    return Account(**rows[0]) if rows else None


def hold(tx: Tx, user_id: uuid.UUID, password_hash: str | None) -> bool:
    """True if the user's account still has that very hash (None: if there still is no account). Nothing changes it
    before `tx` ends; that no account is made meanwhile takes the lock of the user."""
    row = tx.execute("SELECT password_hash FROM accounts WHERE user_id = %s FOR UPDATE", (user_id,)).fetchone()
    return (row["password_hash"] if row else None) == password_hash


def make(tx: Tx, user_id: uuid.UUID | None, email: str, password_hash: str) -> uuid.UUID:
    """Give user `user_id`, a guest, an account, or make a new user with one. The user.

    Problems: 401 `unknown_user`, 409 `already_account`, 409 `email_taken`.
    """
    if user_id is None:
        user_id = uuid.uuid4()
        tx.execute("INSERT INTO users (id, kind) VALUES (%s, 'account')", (user_id,))
    else:
        row = tx.execute("SELECT kind FROM users WHERE id = %s FOR UPDATE", (user_id,)).fetchone()
        if row is None:
            raise http.unknown_user()
        if row["kind"] == "account":
            raise Problem(409, "already_account")
        tx.execute("UPDATE users SET kind = 'account' WHERE id = %s", (user_id,))
    try:
        tx.execute(
            "INSERT INTO accounts (user_id, email, password_hash) VALUES (%s, %s, %s)", (user_id, email, password_hash)
        )
    except UniqueViolation as error:
        raise Problem(409, "email_taken") from error
    return user_id


def replace_hash(tx: Tx, user_id: uuid.UUID, password_hash: str) -> None:
    """Keep another hash of the same password (another cost)."""
    tx.execute("UPDATE accounts SET password_hash = %s WHERE user_id = %s", (password_hash, user_id))


def change_password(tx: Tx, user_id: uuid.UUID, password_hash: str) -> None:
    """Keep the hash of a new password, and when it was changed."""
    tx.execute(
        "UPDATE accounts SET password_hash = %s, changed_at = now() WHERE user_id = %s", (password_hash, user_id)
    )
