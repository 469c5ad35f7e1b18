"""Events that nobody finished, said again: lost on the way, or parked until the model is back.

The claim is the mark: what is said again gets a `released` claim with a fresh lease time, so that no other tick says it
too, and anybody may still take it; who took it before the mark was made keeps it. Posting happens inside the
transaction: a broker that is down leaves no mark.
"""

from __future__ import annotations

import time
from typing import Any

from functions.recover.deadline import until
from functions.recover.owed import Duty
from functions.shared.claims import LEASE_SECONDS
from functions.shared.outbox import Broker, event_of
from functions.shared.postgres import Database, Tx

#: At most so many lost events and so many parked ones a tick: a service that has just come back is not run over.
LOST_LIMIT, PARKED_LIMIT = 100, 50

#: Seconds a tick spends on either: a broker that answers slowly must not keep it from everything else.
PATIENCE = 15.0

#: Older events are history: whatever was wrong with them, nobody is waiting any more.
WINDOW_DAYS = 7


def lost(db: Database, broker: Broker, owed: list[Duty], after_seconds: int, ends: float) -> int:
    """Say again what has had no finished claim for `after_seconds`, as long as there is time; how many."""
    with db.transaction() as tx:
        rows = tx.execute(
            """SELECT e.*, o.consumer
               FROM analysis_events e
               JOIN unnest(%(types)s::text[], %(consumers)s::text[]) AS o(type, consumer) ON o.type = e.type
               LEFT JOIN claims c ON c.consumer = o.consumer AND c.event_source = e.source AND c.event_id = e.id
               WHERE e.created_at BETWEEN now() - make_interval(days => %(window)s)
                                      AND now() - make_interval(secs => %(after)s)
                 AND (c.state IS NULL
                      OR (c.state = 'released' AND c.lease_until < now() + make_interval(secs => %(lease)s - %(after)s))
                      OR (c.state = 'running'
                          AND c.lease_until < now() + make_interval(secs => least(0, %(lease)s - %(after)s))))
               ORDER BY e.created_at LIMIT %(limit)s
               FOR UPDATE OF e SKIP LOCKED""",
            {
                "types": [duty.type for duty in owed],
                "consumers": [duty.consumer for duty in owed],
                "window": WINDOW_DAYS,
                "after": after_seconds,
                "lease": LEASE_SECONDS,
                "limit": LOST_LIMIT,
            },
        ).fetchall()
        return _say(tx, broker, rows, ends)


def parked(db: Database, broker: Broker, ends: float) -> int:
    """Say again what was parked and is due, as long as there is time; how many."""
    with db.transaction() as tx:
        rows = tx.execute(
            """SELECT e.*, c.consumer FROM claims c
               JOIN analysis_events e ON e.source = c.event_source AND e.id = c.event_id
               WHERE c.state = 'parked' AND c.next_attempt_at <= now()
               ORDER BY c.next_attempt_at LIMIT %s
               FOR UPDATE OF c SKIP LOCKED""",
            (PARKED_LIMIT,),
        ).fetchall()
        return _say(tx, broker, rows, ends)


def _say(tx: Tx, broker: Broker, rows: list[dict[str, Any]], ends: float) -> int:
    """Post and mark one after the other, as long as the broker takes them; how many."""
    said = 0
    for row in until(min(ends, time.monotonic() + PATIENCE), rows):
        if not broker.post(event_of(row)):
            break
        _mark(tx, row)
        said += 1
    return said


def _mark(tx: Tx, row: dict[str, Any]) -> None:
    tx.execute(
        """INSERT INTO claims (consumer, event_source, event_id, analysis_id, state, attempts, lease_until)
           VALUES (%(consumer)s, %(source)s, %(id)s, %(analysis_id)s, 'released', 0,
                   now() + make_interval(secs => %(lease)s))
           ON CONFLICT (consumer, event_source, event_id) DO UPDATE
              SET state = 'released', next_attempt_at = NULL, lease_until = excluded.lease_until
            WHERE claims.state = 'released'
               OR (claims.state = 'running' AND claims.lease_until < now())
               OR (claims.state = 'parked' AND claims.next_attempt_at <= now())""",
        {
            "consumer": row["consumer"],
            "source": row["source"],
            "id": row["id"],
            "analysis_id": row["analysis_id"],
            "lease": LEASE_SECONDS,
        },
    )
