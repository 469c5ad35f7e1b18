"""How the pipeline stands, read from the database: what an operator should look at, and what Prometheus alerts on.

The database knows what no counter of a process knows: what was never begun, and what ended while nobody was counting.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from functions.recover.owed import Duty
from functions.recover.reemit import WINDOW_DAYS
from functions.shared import metrics, spending
from functions.shared.events import (
    AnalysisExpired,
    AnalysisFailed,
    GuidanceGenerated,
    ItemAmbiguous,
    ItemUnmatched,
)
from functions.shared.postgres import Tx

#: What an analysis can end as. `broken` is ours: it failed for a reason of BROKEN; `refused` is the photo's.
OUTCOMES = ("guided", "not_found", "refused", "expired", "broken")
BROKEN = ("internal", "model_unavailable")
#: An event is written so long after its time at most: what is counted once is not looked at again.
SETTLED = timedelta(seconds=60)


def look(tx: Tx) -> dict[str, int]:
    """Dead letters not replayed; analyses, proofs, questions unfinished for an hour."""
    row = tx.execute(
        """SELECT (SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL) AS dead_letters,
                  (SELECT count(*) FROM analyses WHERE status IN ('requested', 'ingested', 'identified', 'retrieved')
                   AND updated_at < now() - interval '1 hour') AS analysis,
                  (SELECT count(*) FROM proofs WHERE status IN ('requested', 'ingested')
                   AND requested_at < now() - interval '1 hour') AS proof,
                  (SELECT count(*) FROM questions WHERE status = 'asked'
                   AND created_at < now() - interval '1 hour') AS question"""
    ).fetchone()
    assert row is not None
    stuck = {what: row[what] for what in ("analysis", "proof", "question")}
    metrics.DEAD_LETTERS_OPEN.set(row["dead_letters"])
    for what, count in stuck.items():
        metrics.STUCK.set(count, what=what)
    return {"dead_letters": row["dead_letters"], "stuck": sum(stuck.values())}


class Standing:
    """What is told from tick to tick; `usd` is what may be spent on the model a day."""

    def __init__(self, owed: list[Duty], after_seconds: int, usd: float) -> None:
        self._owed, self._after, self._usd = owed, after_seconds, usd
        self._counted = datetime.now(UTC) - SETTLED
        for outcome in OUTCOMES:
            metrics.FINISHED.add(0, outcome=outcome)

    def tell(self, tx: Tx) -> None:
        """Bring every gauge up to date, and count what has ended since the last time."""
        self._waiting(tx)
        self._ended(tx)
        metrics.SPENT.set(spending.today(tx)[0])
        metrics.SPENDABLE.set(self._usd)
        metrics.TICKED.set(time.time())

    def _waiting(self, tx: Tx) -> None:
        row = tx.execute(
            """SELECT count(*) FILTER (WHERE age > %(after)s) AS owed, coalesce(max(age), 0)::float AS oldest,
                      (SELECT count(*) FROM claims WHERE state = 'parked') AS parked
               FROM (SELECT extract(epoch FROM clock_timestamp() - e.created_at) AS age
                     FROM analysis_events e
                     JOIN unnest(%(types)s::text[], %(consumers)s::text[]) AS o(type, consumer) ON o.type = e.type
                     WHERE e.created_at > now() - make_interval(days => %(window)s)
                       AND NOT EXISTS (SELECT 1 FROM claims c
                                       WHERE c.consumer = o.consumer AND c.event_source = e.source
                                         AND c.event_id = e.id AND c.state IN ('done', 'dead', 'parked'))) waiting""",
            {
                "after": self._after,
                "types": [duty.type for duty in self._owed],
                "consumers": [duty.consumer for duty in self._owed],
                "window": WINDOW_DAYS,
            },
        ).fetchone()
        assert row is not None
        metrics.OWED.set(row["owed"])
        metrics.OWED_SECONDS.set(max(row["oldest"], 0.0))
        metrics.PARKED.set(row["parked"])

    def _ended(self, tx: Tx) -> None:
        until = datetime.now(UTC) - SETTLED
        rows = tx.execute(
            """SELECT e.type, e.data ->> 'reason' AS reason,
                      CASE WHEN e.data ->> 'round' = '1'
                            AND NOT EXISTS (SELECT 1 FROM analysis_events q
                                            WHERE q.analysis_id = e.analysis_id AND q.type = %(asked)s)
                           THEN extract(epoch FROM e.created_at - a.requested_at)::float END AS seconds
               FROM analysis_events e JOIN analyses a ON a.id = e.analysis_id
               WHERE e.created_at > %(since)s AND e.created_at <= %(until)s AND e.type = ANY(%(types)s)""",
            {
                "asked": ItemAmbiguous.TYPE,
                "since": self._counted,
                "until": until,
                "types": [kind.TYPE for kind in (GuidanceGenerated, ItemUnmatched, AnalysisFailed, AnalysisExpired)],
            },
        ).fetchall()
        for row in rows:
            metrics.FINISHED.add(outcome=_outcome(row["type"], row["reason"]))
            if row["type"] == GuidanceGenerated.TYPE and row["seconds"] is not None:
                metrics.FINISHED_SECONDS.observe(max(row["seconds"], 0.0))
        self._counted = until


def _outcome(type_: str, reason: str | None) -> str:
    if type_ == AnalysisFailed.TYPE:
        return "broken" if reason in BROKEN else "refused"
    return {GuidanceGenerated.TYPE: "guided", ItemUnmatched.TYPE: "not_found"}.get(type_, "expired")
