"""Before an account is given another password, or deleted, its owner says the password once more."""

from __future__ import annotations

import uuid

from functions.auth.guessing import Guessing
from functions.auth.passwords import Passwords
from functions.shared import http
from functions.shared.http import Problem
from functions.shared.postgres import Database


def confirm(
    db: Database, guessing: Guessing, user_id: uuid.UUID, password: str | None, *, address: str, field: str = "password"
) -> str | None:
    """The kept hash that `password` of user `user_id` was found to fit, None for a guest, who has none to say.

    Problems: 401 `unknown_user`, 422 where an account's password is missing (fault of `field`), 403 `wrong_password`,
    429 `too_many_attempts`. Away without Redis. Nothing is locked: who goes on to change the account does so only
    where its hash is still this one.
    """
    query = "SELECT password_hash FROM users u LEFT JOIN accounts a ON a.user_id = u.id WHERE u.id = %(id)s"
    found = db.read(query, {"id": user_id})
    if not found:
        raise http.unknown_user()
    kept = found[0]["password_hash"]
    if kept is None:
        return None
    if password is None:
        raise http.invalid(field, "missing")
    mine = guessing.attempt(address=address, account=f"user:{user_id}")  # strangers, who know the e-mail, use up others
    if not Passwords().match(password, kept):
        raise Problem(403, "wrong_password")
    guessing.right(mine)
    return str(kept)
