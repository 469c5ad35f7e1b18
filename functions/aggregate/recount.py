"""Everything counted once more and held against what is stored. Reads only: what differs is printed, not mended.

The city's days are left out: they keep what belonged to citizens who have left, so they need not equal anything.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from functions.aggregate import counting, lessons
from functions.shared.events import GuidanceGenerated, ProofGraded
from functions.shared.postgres import Database, Tx


@dataclass
class Comparison:
    """How much was compared, a sentence for each difference, and the events that `aggregate` may still finish; one that
    `recover` no longer says again (after seven days) is on no way any more."""

    citizens: int = 0
    days: int = 0
    lessons: int = 0
    differences: list[str] = field(default_factory=list)
    on_their_way: int = 0


def compare(db: Database) -> Comparison:
    """Of one moment: whatever is counted meanwhile is not seen."""
    found = Comparison()
    with db.transaction() as tx:
        tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        users = tx.execute("SELECT id FROM users ORDER BY id").fetchall()
        for user in users:
            _user(tx, user["id"], found)
        found.on_their_way = _unfinished(tx)
    return found


def _user(tx: Tx, user_id: uuid.UUID, found: Comparison) -> None:
    given = counting.grades(tx, user_id)
    days, stored_days = counting.count(tx, user_id, given), counting.stored(tx, user_id)
    follow = {lesson.id: lesson for lesson in lessons.follow(user_id, given)}
    stored = {lesson.id: lesson for lesson in lessons.stored(tx, user_id)}
    found.citizens += 1
    found.days += len(days.keys() | stored_days.keys())
    found.lessons += len(follow.keys() | stored.keys())
    found.differences += _different(f"citizen {user_id}, day", stored_days, days)
    found.differences += _different(f"citizen {user_id}, lesson", stored, follow)


def _different(what: str, stored: Mapping[Any, Any], counted: Mapping[Any, Any]) -> Iterator[str]:
    for key in sorted(stored.keys() | counted.keys(), key=str):
        if stored.get(key) != counted.get(key):
            yield f"{what} {key}: stored {stored.get(key, 'nothing')}, counted {counted.get(key, 'nothing')}"


def _unfinished(tx: Tx) -> int:
    row = tx.execute(
        """SELECT count(*) AS n FROM analysis_events e
           WHERE e.type = ANY(%s) AND e.created_at > now() - interval '7 days' AND NOT EXISTS (
               SELECT 1 FROM claims c WHERE c.consumer = 'aggregate' AND c.event_source = e.source
               AND c.event_id = e.id AND c.state = 'done')""",
        ([GuidanceGenerated.TYPE, ProofGraded.TYPE],),
    ).fetchone()
    return row["n"] if row else 0
