"""What happened to an analysis after event n: the same facts that polling `GET …/analyses/{id}` gives."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from functions.shared import naming
from functions.shared.lifecycle import TERMINAL
from functions.shared.postgres import Database


@dataclass(frozen=True, slots=True)
class News:
    """`status` now, and the `messages` that led there: {n, stage, at, status} with `round` where the event has one.

    `open`: a proof is being graded or a question answered, though the analysis itself has ended.
    """

    status: str
    open: bool
    messages: list[dict[str, Any]]

    @property
    def final(self) -> bool:
        return self.status in TERMINAL and not self.open


def news(db: Database, user_id: uuid.UUID, analysis_id: uuid.UUID, after: int) -> News | None:
    """Events numbered above `after`, oldest first; None for an analysis that is not the user's.

    One statement, so that a final status never comes without the events before it.
    """
    with db.transaction() as tx:
        rows = tx.execute(
            """SELECT a.status,
                      EXISTS (SELECT 1 FROM proofs p WHERE p.analysis_id = a.id
                              AND p.status IN ('requested', 'ingested'))
                      OR EXISTS (SELECT 1 FROM questions q WHERE q.analysis_id = a.id AND q.status = 'asked') AS open,
                      e.n, e.type, e.created_at, e.data->'round' AS round
               FROM analyses a LEFT JOIN analysis_events e ON e.analysis_id = a.id AND e.n > %s
               WHERE a.id = %s AND a.user_id = %s ORDER BY e.n""",
            (after, analysis_id, user_id),
        ).fetchall()
    if not rows:
        return None
    return News(rows[0]["status"], rows[0]["open"], [_message(row) for row in rows if row["n"] is not None])


def _message(row: dict[str, Any]) -> dict[str, Any]:
    message = {
        "n": row["n"],
        "stage": naming.stage(row["type"]),
        "at": row["created_at"].isoformat(),
        "status": row["status"],
    }
    return message if row["round"] is None else {**message, "round": row["round"]}
