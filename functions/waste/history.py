"""The analyses a citizen asked for, page by page."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from datetime import datetime
from typing import Any

from functions.shared import http
from functions.shared.postgres import Tx
from functions.waste import shown
from functions.waste.analyses import links
from functions.waste.view import place


def page(
    tx: Tx, user_id: uuid.UUID, limit: int, cursor: str | None, locale: str
) -> tuple[list[dict[str, Any]], str | None]:
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
    entries = [
        {
            "id": str(row["id"]),
            "status": row["status"],
            "outcome": row["outcome"],
            "round": row["round"],
            "question": row["question"],
            "item": {"id": row["item_id"], "name": row[f"name_{locale}"] or row["item_id"]} if row["item_id"] else None,
            "destination": place(row["destination"], None, locale),
            "grade": shown.grade(row["grade"], locale),
            "created_at": row["created_at"].isoformat(),
            "updated_at": row["updated_at"].isoformat(),
            "links": links(row["id"]),
        }
        for row in rows[:limit]
    ]
    last = rows[limit - 1] if len(rows) > limit else None
    return entries, _cursor(last["created_at"], last["id"]) if last else None


def _cursor(created_at: datetime, analysis_id: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(json.dumps([created_at.isoformat(), str(analysis_id)]).encode()).decode()


def _position(cursor: str) -> tuple[datetime, uuid.UUID]:
    try:
        created_at, analysis_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return datetime.fromisoformat(created_at), uuid.UUID(analysis_id)
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise http.Problem(422, "bad_cursor") from error
