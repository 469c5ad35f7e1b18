"""The weekly report: what a citizen did in a week, beside the week before. Numbers and codes; `users` has the words."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from functions.aggregate import counting
from functions.shared.postgres import Tx

#: So many items that went wrong are named.
NAMED = 3

WEEK = timedelta(days=7)


def week_before(day: date) -> date:
    """The Monday of the last whole week before that day."""
    return day - timedelta(days=day.weekday()) - WEEK


def due(tx: Tx, week: date) -> list[uuid.UUID]:
    """Who asked for something or was graded in the week of that Monday and has no report of it, or an older one than
    the days it speaks of."""
    rows = tx.execute(
        """SELECT d.user_id FROM user_days d
           LEFT JOIN weekly_reports r ON r.user_id = d.user_id AND r.week = %(week)s
           WHERE d.day >= %(week)s::date - 7 AND d.day < %(week)s::date + 7
           GROUP BY d.user_id, r.made_at
           HAVING max(d.day) >= %(week)s AND (r.made_at IS NULL OR max(d.counted_at) >= r.made_at)
           ORDER BY d.user_id""",
        {"week": week},
    ).fetchall()
    return [row["user_id"] for row in rows]


def make(tx: Tx, user_id: uuid.UUID, week: date) -> None:
    """Keep the report of that week; made again, it is the same one, brought up to date. None of who has left."""
    if not counting.stays(tx, user_id):
        return
    tx.execute(
        """INSERT INTO weekly_reports (user_id, week, content, made_at) VALUES (%s, %s, %s, clock_timestamp())
           ON CONFLICT (user_id, week) DO UPDATE SET content = excluded.content, made_at = excluded.made_at""",
        (user_id, week, Jsonb(_content(tx, user_id, week))),
    )


def _content(tx: Tx, user_id: uuid.UUID, week: date) -> dict[str, Any]:
    this, last = _sums(tx, user_id, week), _sums(tx, user_id, week - WEEK)
    accuracy, before = _accuracy(this), _accuracy(last)
    change = None if accuracy is None or before is None else round(accuracy - before, 3)
    return {
        **this,
        "accuracy": accuracy,
        "change": change,
        "weak_items": _weak(tx, user_id, week),
        "sentence": _sentence(accuracy, change),
    }


def _sums(tx: Tx, user_id: uuid.UUID, week: date) -> dict[str, int]:
    row = tx.execute(
        """SELECT coalesce(sum(analyses), 0)::int AS analyses, coalesce(sum(high), 0)::int AS high,
                  coalesce(sum(middle), 0)::int AS middle, coalesce(sum(low), 0)::int AS low
           FROM user_days WHERE user_id = %s AND day >= %s AND day < %s""",
        (user_id, week, week + WEEK),
    ).fetchone()
    return dict(row or {})


def _accuracy(sums: dict[str, int]) -> float | None:
    graded = sums["high"] + sums["middle"] + sums["low"]
    return round(sums["high"] / graded, 3) if graded else None


def _weak(tx: Tx, user_id: uuid.UUID, week: date) -> list[dict[str, Any]]:
    """Items that went wrong, most often first."""
    return tx.execute(
        """SELECT item_id AS id, sum(graded)::int AS graded, sum(right_ones)::int AS right
           FROM user_day_items WHERE user_id = %s AND day >= %s AND day < %s
           GROUP BY item_id HAVING sum(right_ones) < sum(graded)
           ORDER BY sum(graded) - sum(right_ones) DESC, sum(graded), item_id LIMIT %s""",
        (user_id, week, week + WEEK, NAMED),
    ).fetchall()


def _sentence(accuracy: float | None, change: float | None) -> str:
    """Which sentence says it: a key of messages.json below `report.`."""
    if accuracy is None:
        return "not_graded"
    if accuracy == 1:
        return "all_right"
    if change is None:
        return "first"
    if change == 0:
        return "same"
    return "better" if change > 0 else "worse"
