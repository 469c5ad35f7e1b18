"""Who is asking: what every route of `users` starts with."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from functions.shared import http
from functions.shared.postgres import Database, Tx

#: What every route of a citizen may answer whose token outlived them.
GONE = {401: ("unknown_user",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Query, or body, of what takes none."""


@contextmanager
def citizen(db: Database) -> Iterator[tuple[Tx, uuid.UUID]]:
    """Whose token came with the request, and a transaction. Problem 401 where they are gone."""
    user_id = http.user()
    with db.transaction() as tx:
        if tx.execute("SELECT 1 FROM users WHERE id = %s", (user_id,)).fetchone() is None:
            raise http.unknown_user()
        yield tx, user_id
