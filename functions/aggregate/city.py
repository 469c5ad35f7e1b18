"""The city's days: everybody's together, with nobody in them.

A day is counted anew when one of its citizens' days was. Who leaves takes their own days along, but not their part of
the city's: sums only ever grow while everybody is there, so a day whose sums would fall has lost somebody and stays as
it was. (What a remaining citizen adds to such a day is then missing, until it outweighs what left.) A grade that no
longer counts because its item was corrected is still one that was given: it moves to `corrected`, the sum stays.

What a day's few citizens threw away would be those citizens' data: items, destinations and steps are kept only where at
least `TOGETHER` were graded that day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from psycopg.types.json import Jsonb

from functions.shared.postgres import Tx

#: So many graded citizens make a day's items nobody's in particular.
TOGETHER = 5


def due(tx: Tx) -> list[date]:
    """Days of which a citizen's day was counted since (or just before: its transaction may not have been visible)."""
    rows = tx.execute(
        """SELECT d.day FROM user_days d LEFT JOIN city_days c ON c.day = d.day
           WHERE c.day IS NULL OR d.counted_at > c.counted_at - interval '10 minutes' GROUP BY d.day ORDER BY d.day"""
    ).fetchall()
    return [row["day"] for row in rows]


def count(tx: Tx, day: date) -> None:
    """Write the city's row of that day."""
    now = _sums(tx, day)
    before = tx.execute("SELECT * FROM city_days WHERE day = %s FOR UPDATE", (day,)).fetchone()
    if before and _fell(before, now):
        tx.execute("UPDATE city_days SET counted_at = clock_timestamp() WHERE day = %s", (day,))
        return
    tx.execute(
        """INSERT INTO city_days
               (day, users, analyses, high, middle, low, corrected, destinations, items, missed, counted_at)
           VALUES (%(day)s, %(users)s, %(analyses)s, %(high)s, %(middle)s, %(low)s, %(corrected)s, %(destinations)s,
                   %(items)s, %(missed)s, clock_timestamp())
           ON CONFLICT (day) DO UPDATE
              SET users = excluded.users, analyses = excluded.analyses, high = excluded.high,
                  middle = excluded.middle, low = excluded.low, corrected = excluded.corrected,
                  destinations = excluded.destinations, items = excluded.items, missed = excluded.missed,
                  counted_at = excluded.counted_at""",
        {**now, "day": day},
    )


def _sums(tx: Tx, day: date) -> dict[str, Any]:
    sums = tx.execute(
        """SELECT count(*) AS users, coalesce(sum(analyses), 0) AS analyses, coalesce(sum(high), 0) AS high,
                  coalesce(sum(middle), 0) AS middle, coalesce(sum(low), 0) AS low,
                  coalesce(sum(corrected), 0) AS corrected
           FROM user_days WHERE day = %s""",
        (day,),
    ).fetchone()
    kinds = tx.execute(
        "SELECT user_id, item_id, destination, graded, right_ones, missed FROM user_day_items WHERE day = %s", (day,)
    ).fetchall()
    if len({kind["user_id"] for kind in kinds}) < TOGETHER:
        kinds = []
    return {
        **(sums or {}),
        "destinations": Jsonb(_by(kinds, "destination")),
        "items": Jsonb(_by(kinds, "item_id")),
        "missed": Jsonb(_missed(kinds)),
    }


def _fell(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    graded = [sum(row[grade] for grade in ("high", "middle", "low", "corrected")) for row in (before, now)]
    return graded[1] < graded[0] or any(now[name] < before[name] for name in ("users", "analyses"))


def _by(kinds: Iterable[Mapping[str, Any]], name: str) -> dict[str, dict[str, int]]:
    summed: dict[str, dict[str, int]] = {}
    for kind in kinds:
        of = summed.setdefault(kind[name], {"graded": 0, "right": 0})
        of["graded"] += kind["graded"]
        of["right"] += kind["right_ones"]
    return summed


def _missed(kinds: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    summed: dict[str, int] = {}
    for kind in kinds:
        for phase, times in kind["missed"].items():
            summed[phase] = summed.get(phase, 0) + times
    return summed
