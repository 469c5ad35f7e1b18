"""Dead letters: what the broker gave up on is kept with its bytes, said to the citizen, and can be sent again."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import urllib3
from psycopg.types.json import Jsonb

from functions.recover import ending, owed
from functions.recover.owed import Duty
from functions.shared import metrics, naming, outbox, telemetry, wire
from functions.shared.events import Event, Payload, Undecodable
from functions.shared.postgres import Database, Tx

log = telemetry.logger("recover")

#: What the broker adds to a dead letter (the subscriber's address, its last answer); not sent again.
DESTINATION, ERROR_CODE = "knativeerrordest", "knativeerrorcode"


@dataclass(frozen=True, slots=True)
class Letter:
    """An event as it came back: attributes without their `ce-`, bytes untouched; `event` where it can be read."""

    consumer: str
    attributes: dict[str, str]
    body: bytes
    event: Event[Payload] | None

    @property
    def source(self) -> str:
        return self.attributes.get("source", "unknown")

    @property
    def id(self) -> str:
        return self.attributes.get("id") or hashlib.sha256(self.body).hexdigest()


def read(headers: Mapping[str, str], body: bytes, duties: list[Duty]) -> Letter:
    """What came to /dead-letters. Never fails: poison is what this is for."""
    lower = {name.lower(): value for name, value in headers.items()}
    attributes = {name[3:]: value for name, value in lower.items() if name.startswith("ce-")}
    attributes |= {name: lower[name] for name in ("content-type", "traceparent") if name in lower}
    try:
        event = wire.parse(headers, body)
    except Undecodable:
        event = None
    if event is not None:  # a structured event has its attributes in the body
        attributes |= {"id": event.id, "source": event.source, "type": event.type, "subject": event.subject}
    return Letter(_consumer(attributes, duties), attributes, body, event)


def keep(db: Database, letter: Letter, duties: list[Duty]) -> Event[Payload] | None:
    """Store the letter once, mark the claim dead, end whatever waited for it (ending.py); the event that tells so.

    Nothing is kept of ticks and warm-up calls, nor where the work is done or somebody is still at it. What the analysis
    never said, or what nobody waits for, is kept, but harms nobody.
    """
    type_ = letter.attributes.get("type", "")
    watched = {duty.type for duty in owed.owed(duties)}
    if type_ not in watched and any(duty.type == type_ for duty in duties):
        log.warning("dead letter dropped: nothing is owed", type=type_, consumer=letter.consumer)
        return None
    with db.transaction() as tx:
        analysis = _analysis(tx, letter)
        if not _bury(tx, letter, analysis):
            log.info("dead letter dropped: the work is done or under way", id=letter.id, consumer=letter.consumer)
            return None
        tx.execute(
            """INSERT INTO dead_letters (consumer, event_source, event_id, analysis_id, attributes, body, error_code)
               VALUES (%s, %s, %s, %s, %s, %s, %s)
               ON CONFLICT (consumer, event_source, event_id) DO UPDATE
                  SET attributes = excluded.attributes, body = excluded.body, error_code = excluded.error_code,
                      replayed_at = NULL""",
            (
                letter.consumer,
                letter.source,
                letter.id,
                analysis and analysis["id"],
                Jsonb(letter.attributes),
                letter.body,
                letter.attributes.get(ERROR_CODE),
            ),
        )
        ended = _end(tx, letter, analysis) if analysis else None
    metrics.DEAD_LETTERS.add(consumer=letter.consumer)
    log.warning("dead letter kept", id=letter.id, type=type_, consumer=letter.consumer)
    return ended


def replay(db: Database, broker_url: str, which: str) -> list[str]:
    """Send again dead letter number `which`, or all of analysis `which`; one sentence for each.

    A dead claim is free again, and what its consumer ended (ending.py) stands where it stood. LookupError where there
    is no such dead letter.
    """
    column = "analysis_id" if "-" in which else "id"
    sentences = []
    with db.transaction() as tx:
        letters = tx.execute(
            f"SELECT * FROM dead_letters WHERE {column}::text = %s ORDER BY id FOR UPDATE",  # noqa: S608
            (which,),
        ).fetchall()
        if not letters:
            raise LookupError(f"there is no dead letter of {which}")
        for letter in letters:
            _revive(tx, letter)
    for letter in letters:
        sent = _send(broker_url, letter["attributes"], letter["body"])
        how = "sent again" if sent else "not sent, the broker does not answer; recover will send it when it can"
        type_ = letter["attributes"].get("type", "unknown type")
        sentences.append(f"dead letter {letter['id']} ({type_} for {letter['consumer']}): {how}")
    return sentences


def _consumer(attributes: Mapping[str, str], duties: list[Duty]) -> str:
    """Whose failure it was: by the subscriber's address, or by the type where that names no function."""
    named = owed.function_of(attributes.get(DESTINATION, ""))
    if any(duty.consumer == named for duty in duties):
        return named
    consumers = {duty.consumer for duty in duties if duty.type == attributes.get("type")}
    return consumers.pop() if len(consumers) == 1 else named or "unknown"


def _analysis(tx: Tx, letter: Letter) -> dict[str, Any] | None:
    return tx.execute(
        "SELECT id, correlation_id, last_n FROM analyses WHERE id = %s::uuid FOR UPDATE",
        (_uuid(letter.attributes.get("subject", "")),),
    ).fetchone()


def _said(tx: Tx, analysis_id: uuid.UUID | None, source: str, id_: str) -> Event[Payload] | None:
    """The event as the analysis said it, whatever the bytes that came back look like."""
    row = tx.execute(
        "SELECT * FROM analysis_events WHERE analysis_id = %s AND source = %s AND id = %s", (analysis_id, source, id_)
    ).fetchone()
    return outbox.event_of(row) if row else None


def _bury(tx: Tx, letter: Letter, analysis: dict[str, Any] | None) -> bool:
    """The claim is dead; False where it is done, parked, or held by somebody at this moment."""
    row = tx.execute(
        """INSERT INTO claims (consumer, event_source, event_id, analysis_id, state, attempts, lease_until, error)
           VALUES (%(consumer)s, %(source)s, %(id)s, %(analysis)s, 'dead', 0, now(), %(error)s)
           ON CONFLICT (consumer, event_source, event_id) DO UPDATE
              SET state = 'dead', error = coalesce(claims.error, excluded.error)
            WHERE claims.state IN ('released', 'dead') OR (claims.state = 'running' AND claims.lease_until < now())
           RETURNING state""",
        {
            "consumer": letter.consumer,
            "source": letter.source,
            "id": letter.id,
            "analysis": analysis and analysis["id"],
            "error": f"given up by the broker, last answer {letter.attributes.get(ERROR_CODE, 'unknown')}",
        },
    ).fetchone()
    return row is not None


def _end(tx: Tx, letter: Letter, analysis: dict[str, Any]) -> Event[Payload] | None:
    said = _said(tx, analysis["id"], letter.source, letter.id)
    waiting = ending.waiting(tx, said) if said else None
    told = waiting.end(tx, "internal", letter.consumer) if waiting else None
    if told is None:
        return None
    event = Event(
        id=naming.child_id(letter.source, letter.id, f"recover:failed:{analysis['last_n']}"),
        source=naming.source("recover"),
        subject=str(analysis["id"]),
        data=told,
        time=datetime.now(UTC),
        correlation_id=analysis["correlation_id"],
        traceparent=letter.event.traceparent if letter.event else None,
    )
    outbox.append(tx, event)
    return event


def _revive(tx: Tx, letter: dict[str, Any]) -> None:
    tx.execute("SELECT 1 FROM analyses WHERE id = %s FOR UPDATE", (letter["analysis_id"],))
    revived = tx.execute(
        """UPDATE claims SET state = 'released', lease_until = now(), error = NULL
           WHERE consumer = %s AND event_source = %s AND event_id = %s AND state = 'dead'""",
        (letter["consumer"], letter["event_source"], letter["event_id"]),
    )
    said = _said(tx, letter["analysis_id"], letter["event_source"], letter["event_id"])
    if revived.rowcount and said and (waiting := ending.waiting(tx, said)):
        waiting.revive(tx, letter["consumer"])
    tx.execute("UPDATE dead_letters SET replayed_at = now() WHERE id = %s", (letter["id"],))


def _send(broker_url: str, attributes: Mapping[str, str], body: bytes) -> bool:
    plain = ("content-type", "traceparent", DESTINATION, ERROR_CODE, "knativeerrordata")
    headers = {f"ce-{name}": value for name, value in attributes.items() if name not in plain}
    headers |= {name: attributes[name] for name in ("content-type", "traceparent") if name in attributes}
    try:
        status = urllib3.request("POST", broker_url, body=body, headers=headers, timeout=5.0, retries=False).status
    except urllib3.exceptions.HTTPError:
        return False
    return status == 202


def is_id(text: str) -> bool:
    """Whether `text` may name a dead letter (a number) or an analysis (a UUID)."""
    return text.isdecimal() or _uuid(text) is not None


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
