"""Guests who came and never did anything: their rows would only pile up."""

from __future__ import annotations

from datetime import timedelta

from functions.recover.deadline import left
from functions.shared.postgres import Database

#: By then the refresh token of whoever did not come back (7 days) is worth nothing, so nobody can be this guest again.
IDLE = timedelta(days=8)
BATCH = 1000


def idle(db: Database, ends: float) -> int:
    """Delete guests older than IDLE without a photo, a consent or a word about themselves. How many.

    One who still comes back is a new guest then, and has lost nothing.
    """
    deleted, more = 0, True
    while more and left(ends):
        with db.transaction() as tx:
            found = tx.execute(
                """SELECT id FROM users u
                   WHERE kind = 'guest' AND consent_at IS NULL AND created_at < now() - %s::interval
                     AND nickname IS NULL AND region IS NULL AND housing IS NULL AND language = 'ko'
                     AND NOT EXISTS (SELECT 1 FROM analyses a WHERE a.user_id = u.id)
                   LIMIT %s FOR UPDATE SKIP LOCKED""",
                (IDLE, BATCH),
            ).fetchall()
            # Locked they cannot get an analysis any more; one of just before is seen only by a second look.
            deleted += tx.execute(
                """DELETE FROM users u WHERE id = ANY(%s)
                     AND NOT EXISTS (SELECT 1 FROM analyses a WHERE a.user_id = u.id)""",
                ([row["id"] for row in found],),
            ).rowcount
        more = len(found) == BATCH
    return deleted
