"""The append-only list of what every analysis said, and the way to the broker.

A row in `analysis_events` is the truth; posting to the broker's ingress is only the fast path. What is not delivered is
found by its missing claims and re-emitted by `recover`, so a failed post is logged and forgotten.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import urllib3
from psycopg.types.json import Jsonb

from functions.shared import metrics, telemetry, wire
from functions.shared.events import Event, Payload, decode, encode
from functions.shared.postgres import Tx

log = telemetry.logger("outbox")


def append(tx: Tx, event: Event[Payload]) -> int:
    """Write `event` as the next row of its analysis (numbered 1, 2, 3 …) and answer its number.

    The same event (source, id) written twice is one row. LookupError where the analysis does not exist.
    """
    known = tx.execute(
        "SELECT n FROM analysis_events WHERE source = %s AND id = %s", (event.source, event.id)
    ).fetchone()
    if known:
        return int(known["n"])
    row = tx.execute(
        "UPDATE analyses SET last_n = last_n + 1, updated_at = now() WHERE id = %s RETURNING last_n", (event.subject,)
    ).fetchone()
    if row is None:
        raise LookupError(f"no analysis {event.subject}")
    tx.execute(
        """INSERT INTO analysis_events (analysis_id, n, source, id, type, data, correlation_id, traceparent, created_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            event.subject,
            row["last_n"],
            event.source,
            event.id,
            event.type,
            Jsonb(encode(event.data)),
            event.correlation_id,
            event.traceparent,
            event.time,
        ),
    )
    return int(row["last_n"])


def event_of(row: Mapping[str, Any]) -> Event[Payload]:
    """A row of `analysis_events` → the very event it was written from."""
    return Event(
        id=row["id"],
        source=row["source"],
        subject=str(row["analysis_id"]),
        data=decode(row["type"], row["data"]),
        time=row["created_at"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
    )


def load(tx: Tx, analysis_id: str | uuid.UUID, n: int) -> Event[Payload]:
    """Event number `n` of an analysis. LookupError where there is none."""
    row = tx.execute("SELECT * FROM analysis_events WHERE analysis_id = %s AND n = %s", (analysis_id, n)).fetchone()
    if row is None:
        raise LookupError(f"analysis {analysis_id} has no event {n}")
    return event_of(row)


class Broker:
    """The broker's ingress at `url`: POST / answers 202 once the event is safe."""

    def __init__(self, url: str, *, timeout: float = 2.0) -> None:
        self._url = url
        self._http = urllib3.PoolManager(retries=False, timeout=timeout, maxsize=4)

    def post(self, event: Event[Payload]) -> bool:
        """Publish; False (and a log line) where it did not work: `recover` will find the event without claims."""
        headers, body = wire.to_http(event)
        try:
            status = self._http.request("POST", self._url, body=body, headers=headers).status
        except urllib3.exceptions.HTTPError as error:
            log.warning("broker unreachable", event_id=event.id, type=event.type, error=str(error))
            metrics.PUBLISHED.add(outcome="unreachable")
            return False
        metrics.PUBLISHED.add(outcome="accepted" if status == 202 else "refused")
        if status != 202:
            log.warning("broker refused", event_id=event.id, type=event.type, status=status)
        return status == 202
