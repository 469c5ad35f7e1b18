"""Exactly-once effects over an at-least-once broker: who works on an event, who has finished it, what waits.

One row per (consumer, event). The holder works under a lease; its attempt number is the fencing token, so a holder
whose lease ran out can no longer finish. A finished claim is the acknowledgement that `recover` looks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from functions.shared.events import Event, Payload
from functions.shared.postgres import Tx

#: Longer than the slowest honest step (two model calls of 10 s), shorter than every Trigger's total backoff (50.8 s).
LEASE_SECONDS = 30

#: So many failed model calls are retried; then the work is parked: an outage must not burn the broker's retries.
MODEL_FAILURES_BEFORE_PARKING = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one event until the lease ends. `attempt` counts from 1 and fences late finishers.

    `correlation_id` is the analysis's own: an event of the object store does not know it.
    """

    consumer: str
    source: str
    id: str
    attempt: int
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Held:
    """No claim was given: `running` elsewhere, `parked` for later, `done` (with its reply's number), or `dead`."""

    state: str
    reply_n: int | None = None
    reply_claimed: bool = False


class LeaseLost(Exception):
    """Somebody else took the work over; nothing of ours may be stored."""


class Vanished(Exception):
    """The claim went with its analysis, because the citizen left: nothing is to be done any more, and nobody told."""


def claim(tx: Tx, consumer: str, event: Event[Payload]) -> Claim | Held:
    """Take the event for `consumer`, or say who holds it.

    The analysis is locked first: one that is just being deleted counts as gone, it does not break the claim.
    """
    taken = tx.execute(
        """INSERT INTO claims AS c (consumer, event_source, event_id, analysis_id, state, lease_until)
           VALUES (%(consumer)s, %(source)s, %(id)s,
                   (SELECT a.id FROM analyses a WHERE a.id = %(subject)s::uuid FOR KEY SHARE),
                   'running', now() + make_interval(secs => %(lease)s))
           ON CONFLICT (consumer, event_source, event_id) DO UPDATE
              SET state = 'running', attempts = c.attempts + 1, next_attempt_at = NULL,
                  lease_until = now() + make_interval(secs => %(lease)s)
            WHERE c.state = 'released'
               OR (c.state = 'running' AND c.lease_until < now())
               OR (c.state = 'parked' AND c.next_attempt_at <= now())
           RETURNING attempts, (SELECT a.correlation_id FROM analyses a WHERE a.id = c.analysis_id)""",
        {
            "consumer": consumer,
            "source": event.source,
            "id": event.id,
            "subject": event.subject,
            "lease": LEASE_SECONDS,
        },
    ).fetchone()
    if taken:
        return Claim(
            consumer, event.source, event.id, taken["attempts"], taken["correlation_id"] or event.correlation_id
        )
    held = tx.execute(
        """SELECT c.state, c.reply_n,
                  EXISTS (SELECT 1 FROM analysis_events e
                          JOIN claims k ON k.event_source = e.source AND k.event_id = e.id
                          WHERE e.analysis_id = c.analysis_id AND e.n = c.reply_n) AS reply_claimed
           FROM claims c WHERE c.consumer = %s AND c.event_source = %s AND c.event_id = %s""",
        (consumer, event.source, event.id),
    ).fetchone()
    return Held(**held) if held else Held("running")


def finish(tx: Tx, mine: Claim, outcome: str, reply_n: int | None = None) -> None:
    """Acknowledge: `outcome` is event, nothing, superseded or rejected. LeaseLost where the claim is no longer ours,
    Vanished where it is no longer anybody's; so everywhere below."""
    _update(tx, mine, "state = 'done', finished_at = now(), error = NULL, outcome = %s, reply_n = %s", outcome, reply_n)


def release(tx: Tx, mine: Claim, error: str) -> None:
    """Give the work back at once: the broker's next attempt may take it."""
    _update(tx, mine, "state = 'released', error = %s", error)


def release_or_park(tx: Tx, mine: Claim, error: str, park_seconds: float) -> bool:
    """The model failed: give the work back twice, then park it (True) with growing patience.

    Parked for park_seconds · 2^k, ten times park_seconds at most; `recover` re-emits the event when it is due.
    """
    row = tx.execute(
        """UPDATE claims SET model_failures = model_failures + 1, error = %(error)s,
                  state = CASE WHEN model_failures >= %(patience)s THEN 'parked' ELSE 'released' END,
                  next_attempt_at = CASE WHEN model_failures >= %(patience)s THEN now() + make_interval(secs =>
                      least(%(park)s * power(2, least(model_failures - %(patience)s, 10)), %(park)s * 10)) END
           WHERE consumer = %(consumer)s AND event_source = %(source)s AND event_id = %(id)s
             AND state = 'running' AND attempts = %(attempt)s
           RETURNING state""",
        {
            "error": error,
            "patience": MODEL_FAILURES_BEFORE_PARKING,
            "park": park_seconds,
            "consumer": mine.consumer,
            "source": mine.source,
            "id": mine.id,
            "attempt": mine.attempt,
        },
    ).fetchone()
    if row is None:
        raise _lost(tx, mine)
    return bool(row["state"] == "parked")


def _update(tx: Tx, mine: Claim, assignment: str, *values: object) -> None:
    found = tx.execute(
        f"UPDATE claims SET {assignment} WHERE consumer = %s AND event_source = %s AND event_id = %s"  # noqa: S608
        " AND state = 'running' AND attempts = %s",
        (*values, mine.consumer, mine.source, mine.id, mine.attempt),
    )
    if found.rowcount != 1:
        raise _lost(tx, mine)


def _lost(tx: Tx, mine: Claim) -> LeaseLost | Vanished:
    row = tx.execute(
        "SELECT 1 FROM claims WHERE consumer = %s AND event_source = %s AND event_id = %s",
        (mine.consumer, mine.source, mine.id),
    ).fetchone()
    if row is None:
        return Vanished(f"what {mine.id} speaks of is gone with its citizen")
    return LeaseLost(f"{mine.consumer} lost the lease on {mine.id}")
