"""What time settles: photos that came unannounced, photos and answers that never came, a model that stays away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from functions.recover import ending
from functions.recover.deadline import until
from functions.recover.reemit import WINDOW_DAYS
from functions.shared import lifecycle, naming, outbox, proofs
from functions.shared.events import AnalysisExpired, Event, Payload, ProofRefused, UploadStored
from functions.shared.lifecycle import Superseded
from functions.shared.objects import Objects
from functions.shared.outbox import Broker
from functions.shared.postgres import Database

HERE = naming.source("recover")

#: A form to upload lives 5 minutes (presign); 10 more for what was still on its way.
UPLOAD_TIME = timedelta(minutes=15)
#: An upload address that nobody ever used, and a model that never came back, are given up after a day.
UNUSED, GIVEN_UP = timedelta(days=1), timedelta(days=1)
BATCH = 100
#: At most so many looks into the store a tick.
LOOKS = 1000


def uploads(db: Database, objects: Objects, broker: Broker, after_seconds: int, ends: float) -> tuple[int, int]:
    """Requested, and the store never said that the photo came: look ourselves. (announced, expired)

    An analysis waits for its photo, a proof for its own. An announcement that was heard and led to nothing is made
    again, the n-th time `after_seconds` · n after the one before. While one is not acknowledged it is an event like any
    other: `reemit` cares for it. Which are looked at first is left to chance, so that none hides another for ever.
    """
    with db.transaction() as tx:
        waiting = tx.execute(
            """SELECT w.*, said.times
               FROM (SELECT id, NULL::uuid AS proof_id, key, created_at, correlation_id,
                            coalesce(requested_at, updated_at) AS since
                     FROM analyses WHERE status = 'requested'
                     UNION ALL
                     SELECT a.id, p.id, p.key, p.created_at, a.correlation_id, p.requested_at
                     FROM proofs p JOIN analyses a ON a.id = p.analysis_id WHERE p.status = 'requested') w
               CROSS JOIN LATERAL (
                   SELECT count(*) AS times, max(e.created_at) AS last,
                          bool_and(e.created_at < now() - make_interval(days => %(window)s)
                                   OR EXISTS (SELECT 1 FROM claims c WHERE c.event_source = e.source
                                              AND c.event_id = e.id AND c.state IN ('done', 'dead'))) AS settled
                   FROM analysis_events e
                   WHERE e.analysis_id = w.id AND e.source = %(here)s AND e.type = %(type)s
                     AND e.data ->> 'key' = w.key) said
               WHERE w.since < now() - make_interval(secs => %(after)s)
                 AND (said.times = 0
                      OR (said.settled AND said.last < now() - make_interval(secs => %(after)s * said.times)))
               ORDER BY random() LIMIT %(limit)s""",
            {
                "window": WINDOW_DAYS,
                "here": HERE,
                "type": UploadStored.TYPE,
                "after": after_seconds,
                "limit": LOOKS,
            },
        ).fetchall()
    announced = expired = 0
    for one in until(ends, waiting):
        stat = objects.head(one["key"])
        if stat is not None:
            data = UploadStored(key=one["key"], size=stat.size, etag=stat.etag)
            announced += _announce(db, broker, _event(one, _step(one, f"stored:{stat.etag}:{one['times']}"), data))
        elif one["created_at"] < datetime.now(UTC) - UPLOAD_TIME:
            expired += _never_came(db, broker, one)
    return announced, expired


def unanswered(db: Database, broker: Broker, answer_days: int, ends: float) -> int:
    """Nobody came back: no photo for a day, or no answer to our question for `answer_days`. How many expired."""
    expired = 0
    for status, reason, age in (
        ("presigned", "no_photo", UNUSED),
        ("needs_answer", "no_answer", timedelta(days=answer_days)),
    ):
        with db.transaction() as tx:
            old = tx.execute(
                """SELECT id, correlation_id FROM analyses WHERE status = %s AND updated_at < now() - %s::interval
                   ORDER BY updated_at LIMIT %s""",
                (status, age, BATCH),
            ).fetchall()
        expired += sum(_expire(db, broker, analysis, status, reason) for analysis in until(ends, old))
    return expired


def unused(db: Database, ends: float) -> int:
    """Addresses for an after-photo that nobody used for a day lead nowhere any more. How many; nobody is told, because
    nobody had asked."""
    with db.transaction() as tx:
        old = tx.execute(
            """SELECT id FROM proofs WHERE status = 'presigned' AND created_at < now() - %s::interval
               ORDER BY created_at LIMIT %s""",
            (UNUSED, BATCH),
        ).fetchall()
    closed = 0
    for proof in until(ends, old):
        with db.transaction() as tx:
            closed += proofs.refuse(tx, proof["id"], "no_photo", "unused", frm={"presigned"})
    return closed


def model_gone(db: Database, broker: Broker, ends: float) -> int:
    """Parked for a day: the citizen is told that it did not work, instead of nothing. How many ended."""
    with db.transaction() as tx:
        rows = tx.execute(
            """SELECT e.*, c.consumer FROM claims c
               JOIN analysis_events e ON e.source = c.event_source AND e.id = c.event_id
               WHERE c.state = 'parked' AND c.created_at < now() - %s::interval
               ORDER BY c.created_at LIMIT %s FOR UPDATE OF c SKIP LOCKED""",
            (GIVEN_UP, BATCH),
        ).fetchall()
        events = []
        for row in until(ends, rows):
            tx.execute(
                """UPDATE claims SET state = 'done', outcome = 'rejected', finished_at = now(), next_attempt_at = NULL
                   WHERE consumer = %s AND event_source = %s AND event_id = %s""",
                (row["consumer"], row["source"], row["id"]),
            )
            waiting = ending.waiting(tx, outbox.event_of(row))
            told = waiting.end(tx, "model_unavailable", row["consumer"]) if waiting else None
            if told:
                events.append(_event({**row, "id": row["analysis_id"]}, f"given up:{row['id']}", told))
                outbox.append(tx, events[-1])
    for event in until(ends, events):
        broker.post(event)
    return len(events)


def _announce(db: Database, broker: Broker, event: Event[Payload]) -> bool:
    try:
        with db.transaction() as tx:
            outbox.append(tx, event)
    except LookupError:  # the citizen left just now
        return False
    broker.post(event)
    return True


def _expire(db: Database, broker: Broker, analysis: dict[str, Any], status: str, reason: str) -> bool:
    event = _event(analysis, f"expired:{status}", AnalysisExpired(reason=reason))
    try:
        with db.transaction() as tx:
            lifecycle.advance(tx, analysis["id"], frm={status}, to="expired")
            outbox.append(tx, event)
    except Superseded:
        return False
    broker.post(event)
    return True


def _never_came(db: Database, broker: Broker, waiting: dict[str, Any]) -> bool:
    if waiting["proof_id"] is None:
        return _expire(db, broker, waiting, "requested", "no_photo")
    said = ProofRefused(proof_id=str(waiting["proof_id"]), reason="no_photo")
    event = _event(waiting, _step(waiting, "refused"), said)
    with db.transaction() as tx:
        refused = proofs.refuse(tx, waiting["proof_id"], "no_photo", "", frm={"requested"})
        if refused:
            outbox.append(tx, event)
    if refused:
        broker.post(event)
    return refused


def _step(waiting: dict[str, Any], step: str) -> str:
    """The step of an analysis, or of one of its proofs."""
    return f"{waiting['proof_id']}:{step}" if waiting["proof_id"] else step


def _event(analysis: dict[str, Any], step: str, data: Payload) -> Event[Payload]:
    """What `recover` says of an analysis: saying it twice is saying it once."""
    return Event(
        id=naming.child_id(HERE, str(analysis["id"]), step),
        source=HERE,
        subject=str(analysis["id"]),
        data=data,
        time=datetime.now(UTC),
        correlation_id=analysis["correlation_id"],
    )
