"""A citizen's days: what was asked and how it was graded, counted anew from what happened, never added to.

The sources only ever grow (a guide stays, a grade stays), so whoever counts last counts right: an event that comes
twice, late or out of order changes nothing. One counts for a citizen at a time; see `lock`.

A grade speaks of the item its guide was of. Once there is a guide of a later round (the citizen said it is something
else), it counts for nothing: no sum, no item, no lesson; only that it was there is kept (`corrected`).
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from psycopg.types.json import Jsonb

from functions.shared.postgres import Tx


@dataclass(frozen=True, slots=True)
class Grade:
    """A graded proof, with the thing and its destination ("" where municipalities differ) as its guide had them.

    `missed`: the phases in which a step was not done, each once: three steps of one phase are one miss.
    `day`: of the grade, in Seoul. `corrected`: there is a guide of a later round, so it counts for nothing.
    """

    proof_id: uuid.UUID
    at: datetime
    day: date
    grade: str
    score: int
    item_id: str
    destination: str
    missed: list[str]
    corrected: bool = False

    @property
    def right(self) -> bool:
        """상: everything that could be seen was done."""
        return self.grade == "high"


@dataclass(frozen=True, slots=True)
class Kind:
    """The grades of one item that had to go to one destination."""

    graded: int
    right: int
    missed: dict[str, int]


@dataclass(frozen=True, slots=True)
class Day:
    """One day of one citizen; `kinds` by (item, destination)."""

    analyses: int
    high: int
    middle: int
    low: int
    score_sum: int
    corrected: int = 0
    kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)


NOTHING = Day(0, 0, 0, 0, 0)


def lock(tx: Tx, user_id: uuid.UUID) -> bool:
    """Nobody else counts for this citizen until the transaction ends; what is read after this is all there is. The
    citizen stays that long, too; False where they have left."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('aggregate ' || %s::text, 0))", (user_id,))
    return stays(tx, user_id)


def stays(tx: Tx, user_id: uuid.UUID) -> bool:
    """The citizen is there, and does not leave before the transaction ends."""
    return tx.execute("SELECT 1 FROM users WHERE id = %s FOR KEY SHARE", (user_id,)).fetchone() is not None


def grades(tx: Tx, user_id: uuid.UUID) -> list[Grade]:
    """Every grade the citizen ever got, in the order they were given."""
    rows = tx.execute(
        """SELECT p.id AS proof_id, p.finished_at AS at, (p.finished_at AT TIME ZONE 'Asia/Seoul')::date AS day,
                  p.grade, p.score, g.item_id, coalesce(g.content->>'destination', '') AS destination,
                  ARRAY(SELECT DISTINCT v->>'phase' FROM jsonb_array_elements(p.verdicts) v
                        WHERE v->>'verdict' = 'not_done' ORDER BY 1) AS missed,
                  EXISTS (SELECT 1 FROM guides l WHERE l.analysis_id = p.analysis_id AND l.round > p.round) AS corrected
           FROM proofs p JOIN guides g ON g.analysis_id = p.analysis_id AND g.round = p.round
           WHERE p.user_id = %s AND p.status = 'graded' ORDER BY p.finished_at, p.id""",
        (user_id,),
    ).fetchall()
    return [Grade(**row) for row in rows]


def count(tx: Tx, user_id: uuid.UUID, given: Iterable[Grade], days: Collection[date] | None = None) -> dict[date, Day]:
    """These days (all, where none are named) as they are, from the analyses and the `given` grades; empty days are
    left out.

    An analysis counts once it has a guide. Its present state would not do: a correction takes a completed analysis back
    to work, and could make it fail, without anybody hearing of it here.
    """
    asked = tx.execute(
        """SELECT (requested_at AT TIME ZONE 'Asia/Seoul')::date AS day, count(*) AS n FROM analyses a
           WHERE user_id = %(user)s AND requested_at IS NOT NULL
             AND (%(days)s::date[] IS NULL OR (requested_at AT TIME ZONE 'Asia/Seoul')::date = ANY(%(days)s))
             AND EXISTS (SELECT 1 FROM guides g WHERE g.analysis_id = a.id)
           GROUP BY 1""",
        {"user": user_id, "days": None if days is None else list(days)},
    ).fetchall()
    analyses = {row["day"]: row["n"] for row in asked}
    graded: dict[date, list[Grade]] = {}
    for grade in given:
        if days is None or grade.day in days:
            graded.setdefault(grade.day, []).append(grade)
    return {day: _day(analyses.get(day, 0), graded.get(day, [])) for day in sorted(analyses.keys() | graded.keys())}


def stored(tx: Tx, user_id: uuid.UUID, days: Collection[date] | None = None) -> dict[date, Day]:
    """These days (all, where none are named) as they were last counted."""
    values = {"user": user_id, "days": None if days is None else list(days)}
    items = tx.execute(
        """SELECT * FROM user_day_items
           WHERE user_id = %(user)s AND (%(days)s::date[] IS NULL OR day = ANY(%(days)s))""",
        values,
    ).fetchall()
    kinds: dict[date, dict[tuple[str, str], Kind]] = {}
    for row in items:
        kind = Kind(row["graded"], row["right_ones"], row["missed"])
        kinds.setdefault(row["day"], {})[row["item_id"], row["destination"]] = kind
    rows = tx.execute(
        """SELECT day, analyses, high, middle, low, score_sum, corrected FROM user_days
           WHERE user_id = %(user)s AND (%(days)s::date[] IS NULL OR day = ANY(%(days)s)) ORDER BY day""",
        values,
    ).fetchall()
    return {
        row["day"]: Day(
            row["analyses"],
            row["high"],
            row["middle"],
            row["low"],
            row["score_sum"],
            row["corrected"],
            kinds.get(row["day"], {}),
        )
        for row in rows
    }


def store(tx: Tx, user_id: uuid.UUID, days: Collection[date], counted: Mapping[date, Day]) -> None:
    """Keep what was counted of `days`; a day with nothing in it has no row. Call it under the `lock`."""
    before = stored(tx, user_id, days)
    for day in days:
        now = counted.get(day)
        if now is None:
            tx.execute("DELETE FROM user_days WHERE user_id = %s AND day = %s", (user_id, day))
            continue
        tx.execute(
            """INSERT INTO user_days (user_id, day, analyses, high, middle, low, score_sum, corrected, counted_at)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
               ON CONFLICT (user_id, day) DO UPDATE
                  SET analyses = excluded.analyses, high = excluded.high, middle = excluded.middle,
                      low = excluded.low, score_sum = excluded.score_sum, corrected = excluded.corrected,
                      counted_at = excluded.counted_at""",
            (user_id, day, now.analyses, now.high, now.middle, now.low, now.score_sum, now.corrected),
        )
        if before.get(day, NOTHING).kinds != now.kinds:
            _store_kinds(tx, user_id, day, now.kinds)


def _store_kinds(tx: Tx, user_id: uuid.UUID, day: date, kinds: Mapping[tuple[str, str], Kind]) -> None:
    tx.execute("DELETE FROM user_day_items WHERE user_id = %s AND day = %s", (user_id, day))
    for (item_id, destination), kind in kinds.items():
        tx.execute(
            """INSERT INTO user_day_items (user_id, day, item_id, destination, graded, right_ones, missed)
               VALUES (%s, %s, %s, %s, %s, %s, %s)""",
            (user_id, day, item_id, destination, kind.graded, kind.right, Jsonb(kind.missed)),
        )


def _day(analyses: int, every: list[Grade]) -> Day:
    graded = [grade for grade in every if not grade.corrected]
    given = Counter(grade.grade for grade in graded)
    kinds: dict[tuple[str, str], list[Grade]] = {}
    for grade in graded:
        kinds.setdefault((grade.item_id, grade.destination), []).append(grade)
    return Day(
        analyses=analyses,
        high=given["high"],
        middle=given["middle"],
        low=given["low"],
        score_sum=sum(grade.score for grade in graded),
        corrected=len(every) - len(graded),
        kinds={
            key: Kind(len(of), sum(grade.right for grade in of), dict(Counter(p for grade in of for p in grade.missed)))
            for key, of in kinds.items()
        },
    )
