"""What became of it all: a guide or a grade has its citizen's days and lessons counted anew; once a night what was
missed, the city, and the reports of the last whole week where there are none yet; once a week the reports.

Nothing is ever added to. Everything may be done twice, late or in any order, and gives what one full count would give
(`python -m functions.aggregate recount`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Self, TypeVar

from functions.aggregate import city, counting, lessons, reports
from functions.aggregate.settings import Settings
from functions.shared import telemetry
from functions.shared.config import load
from functions.shared.events import Event, GuidanceGenerated, ProofGraded, ScheduleTicked
from functions.shared.function import Done, Retry
from functions.shared.lifecycle import Superseded
from functions.shared.postgres import Database, Tx
from functions.shared.regions import KOREA

#: Seconds a tick has, of the 60 its Trigger allows; what is left then is done when the broker brings the tick again.
TICK_SECONDS = 40.0
#: Number of the advisory lock that keeps ticks apart ("aggregat" in ASCII).
LOCK = 0x6167677265676174

log = telemetry.logger("aggregate")
T = TypeVar("T")


@dataclass
class Deps:
    """The database is all it needs."""

    db: Database

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        settings = load(Settings, environ)
        return cls(Database(settings.database_url, pool_size=settings.pool_size))

    def ping(self) -> None:
        self.db.ping()

    def close(self) -> None:
        self.db.close()


def handle(event: Event[Any], deps: Deps) -> Done:
    """Nothing is said in reply. Retry where the event came before its row, or a tick is not through yet."""
    if not isinstance(event.data, ScheduleTicked):
        return Done(save=lambda tx: _count_anew(tx, event))
    with deps.db.transaction() as tx:
        row = tx.execute("SELECT pg_try_advisory_xact_lock(%s) AS mine", (LOCK,)).fetchone()
        if not (row and row["mine"]):
            log.info("tick skipped: another one is at work")
        else:
            ends = time.monotonic() + TICK_SECONDS
            if event.data.schedule == "nightly":
                _nightly(deps.db, ends)
            _weekly(deps.db, reports.week_before(event.time.astimezone(KOREA).date()), ends)
    return Done()


def count_user(tx: Tx, user_id: uuid.UUID, days: Collection[date]) -> bool:
    """Count these days of a citizen anew, and all their lessons; whoever else counts for them waits. False where they
    have left."""
    if not counting.lock(tx, user_id):
        return False
    given = counting.grades(tx, user_id)
    counting.store(tx, user_id, days, counting.count(tx, user_id, given, days))
    lessons.store(tx, user_id, lessons.follow(user_id, given))
    return True


def _count_anew(tx: Tx, event: Event[GuidanceGenerated] | Event[ProofGraded]) -> None:
    """The days that the analysis of the event bears on: the one it was asked for, and those it was graded (a guide may
    be a correction, after which its grades no longer count)."""
    row = tx.execute("SELECT user_id FROM analyses WHERE id = %s", (event.subject,)).fetchone()
    if row is None:
        raise Superseded(f"analysis {event.subject} is gone with its citizen")
    if isinstance(event.data, ProofGraded):
        there = tx.execute("SELECT 1 FROM proofs WHERE id = %s AND status = 'graded'", (event.data.proof_id,))
    else:
        there = tx.execute("SELECT 1 FROM guides WHERE id = %s", (event.data.guide_id,))
    if there.fetchone() is None:
        raise Retry(f"{event.type} came before what it speaks of")
    days = tx.execute(
        """SELECT (requested_at AT TIME ZONE 'Asia/Seoul')::date AS day FROM analyses WHERE id = %(id)s
           UNION SELECT (finished_at AT TIME ZONE 'Asia/Seoul')::date FROM proofs
                 WHERE analysis_id = %(id)s AND status = 'graded'""",
        {"id": event.subject},
    ).fetchall()
    if not count_user(tx, row["user_id"], {row["day"] for row in days if row["day"]}):
        raise Superseded(f"the citizen of analysis {event.subject} has left")


def _nightly(db: Database, ends: float) -> None:
    with db.transaction() as tx:
        missed = _missed(tx)
    _each(ends, sorted(missed.items()), _count_missed, db)
    with db.transaction() as tx:
        days = city.due(tx)
    _each(ends, days, city.count, db)
    log.info("nightly", citizens=len(missed), city_days=len(days))


def _weekly(db: Database, week: date, ends: float) -> None:
    with db.transaction() as tx:
        due = reports.due(tx, week)
    _each(ends, due, lambda tx, user_id: reports.make(tx, user_id, week), db)
    log.info("weekly", week=week.isoformat(), reports=len(due))


def _count_missed(tx: Tx, one: tuple[uuid.UUID, set[date]]) -> None:
    if not count_user(tx, *one):
        log.info("not counted: the citizen has left meanwhile")


def _missed(tx: Tx) -> dict[uuid.UUID, set[date]]:
    """Days, however old, that were not counted since a guide or a grade (or just after: its transaction may not have
    been visible). Mostly those of yesterday, once more; a day whose event was lost is among them."""
    rows = tx.execute(
        """WITH guided AS (SELECT analysis_id, max(created_at) AS at FROM guides GROUP BY analysis_id),
                s AS (
               SELECT a.user_id, (a.requested_at AT TIME ZONE 'Asia/Seoul')::date AS day, g.at
               FROM guided g JOIN analyses a ON a.id = g.analysis_id
               UNION ALL
               SELECT p.user_id, (p.finished_at AT TIME ZONE 'Asia/Seoul')::date, greatest(p.finished_at, g.at)
               FROM proofs p JOIN guided g ON g.analysis_id = p.analysis_id WHERE p.status = 'graded'
           )
           SELECT DISTINCT s.user_id, s.day FROM s
           LEFT JOIN user_days d ON d.user_id = s.user_id AND d.day = s.day
           WHERE s.day IS NOT NULL AND (d.day IS NULL OR d.counted_at < s.at + interval '10 minutes')"""
    ).fetchall()
    days: dict[uuid.UUID, set[date]] = {}
    for row in rows:
        days.setdefault(row["user_id"], set()).add(row["day"])
    return days


def _each(ends: float, items: Sequence[T], do: Callable[[Tx, T], None], db: Database) -> None:
    """Do it for each, in a transaction of its own. Retry where the time is over before all are done."""
    for n, item in enumerate(items):
        if time.monotonic() > ends:
            raise Retry(f"{len(items) - n} of {len(items)} left")
        with db.transaction() as tx:
            do(tx, item)
