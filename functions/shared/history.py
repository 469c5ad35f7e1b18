"""The analyses a citizen asked for, page by page: the same history in `waste` and in `users`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypedDict

from functions.shared.api import Id, Time
from functions.shared.http import Text, Whole
from functions.shared.outward import Grade, Links, Named, Outcome, Place, Round, Status, grade, links, place
from functions.shared.postgres import Tx

#: Microseconds since 1970 and the id of the last analysis that was shown: everything of that form is a cursor.
_CURSOR = r"[0-9]{1,16}\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_EPOCH, _TICK = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Query of the history."""

    limit: Annotated[int, Whole(1, 50)] = 20
    cursor: Annotated[str, Text(1, 60, pattern=_CURSOR)] | None = None


class Entry(TypedDict):
    """An analysis as a line of the history; `grade` is that of its present guide."""

    id: Id
    status: Status
    outcome: Outcome | None
    round: Round
    question: str | None
    item: Named | None
    destination: Place | None
    grade: Grade | None
    created_at: Time
    updated_at: Time
    links: Links


class History(TypedDict):
    """A page of the history, newest first; `next` is the cursor of the page after it."""

    analyses: list[Entry]
    next: str | None


def page(tx: Tx, user_id: uuid.UUID, limit: int, cursor: str | None, locale: str) -> tuple[list[Entry], str | None]:
    """One page of the analyses a citizen asked for, newest first, and the cursor of the next page (None at the end)."""
    before = _position(cursor) if cursor else (None, None)
    rows = tx.execute(
        """SELECT a.id, a.status, a.outcome, a.round, a.question, a.created_at, a.updated_at, n.item_id, i.name_ko,
                  i.name_en, g.content->>'destination' AS destination, p.grade
           FROM analyses a
           LEFT JOIN identifications n ON n.analysis_id = a.id AND n.round = a.round
           LEFT JOIN items i ON i.id = n.item_id
           LEFT JOIN guides g ON g.analysis_id = a.id AND g.round = a.round
           LEFT JOIN proofs p ON p.analysis_id = a.id AND p.round = a.round AND p.status = 'graded'
           WHERE a.user_id = %s AND a.requested_at IS NOT NULL
             AND (%s::timestamptz IS NULL OR (a.created_at, a.id) < (%s::timestamptz, %s::uuid))
           ORDER BY a.created_at DESC, a.id DESC LIMIT %s""",
        (user_id, before[0], before[0], before[1], limit + 1),
    ).fetchall()
    entries: list[Entry] = [
        {
            "id": str(row["id"]),
            "status": row["status"],
            "outcome": row["outcome"],
            "round": row["round"],
            "question": row["question"],
            "item": {"id": row["item_id"], "name": row[f"name_{locale}"] or row["item_id"]} if row["item_id"] else None,
            "destination": place(row["destination"], None, locale),
            "grade": grade(row["grade"], locale),
            "created_at": row["created_at"].isoformat(),
            "updated_at": row["updated_at"].isoformat(),
            "links": links(row["id"]),
        }
        for row in rows[:limit]
    ]
    last = rows[limit - 1] if len(rows) > limit else None
    return entries, _cursor(last["created_at"], last["id"]) if last else None


def _cursor(created_at: datetime, analysis_id: uuid.UUID) -> str:
    return f"{(created_at - _EPOCH) // _TICK}.{analysis_id}"


def _position(cursor: str) -> tuple[datetime, uuid.UUID]:
    ticks, _, analysis_id = cursor.partition(".")
    return _EPOCH + int(ticks) * _TICK, uuid.UUID(analysis_id)
