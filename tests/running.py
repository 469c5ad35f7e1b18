"""A running system from a test's side: what is where, what the database and the queues hold, time passed on."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import requests
from psycopg.rows import dict_row

from functions.recover import owed
from functions.shared import wire
from functions.shared.events import Event, ScheduleTicked
from knative.local.run import LocalCluster
from tests.standin import Standin

PIPELINES = Path(__file__).parents[1] / "pipelines"


class Running:
    """One `LocalCluster`."""

    def __init__(self, local: LocalCluster) -> None:
        self.local = local
        run = local.run
        self.gateway: str = run["gateway"]
        self.ingress: str = run["ingress"]
        self.activator: str = run["activator"]
        self.model = Standin(run["model"])

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What the database answers."""
        with psycopg.connect(self.local.run["database_url"], row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def number(self, query: str, *values: object) -> int:
        """The one integer the database answers."""
        (row,) = self.rows(query, *values)
        return int(next(iter(row.values())))

    def waiting(self) -> int:
        """Events in all queues: ready or with a dispatcher."""
        queues = requests.get(self.ingress + "stats", timeout=30).json()["queues"]
        return sum(queue["ready"] + queue["in_flight"] for queue in queues.values())

    def await_quiet(self, within: float = 60.0) -> None:
        """Return when every queue is empty; AssertionError when they are not in time."""
        deadline = time.monotonic() + within
        while True:
            try:
                waiting: object = self.waiting()
            except (requests.RequestException, KeyError) as error:
                waiting = error
            if waiting == 0:
                return
            assert time.monotonic() < deadline, f"still in the queues: {waiting}"
            time.sleep(0.3)

    def tick(self) -> None:
        """A minute passes: the schedule of `recover` fires."""
        event = Event(
            id=str(uuid.uuid4()), source="/tests/clock", subject="", data=ScheduleTicked(schedule="recover"),
            time=datetime.now(UTC), correlation_id="clock",
        )  # fmt: skip
        headers, body = wire.to_http(event)
        requests.post(self.ingress, data=body, headers={**headers, "ce-schedule": "recover"}, timeout=30)

    def unacknowledged(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Events of these analyses that a consumer owes a finished claim."""
        duties = owed.owed(owed.duties(PIPELINES))
        return self.rows(
            """SELECT o.consumer, e.type, e.analysis_id, c.state FROM analysis_events e
               JOIN unnest(%s::text[], %s::text[]) AS o(type, consumer) ON o.type = e.type
               LEFT JOIN claims c ON c.consumer = o.consumer AND c.event_source = e.source AND c.event_id = e.id
               WHERE e.analysis_id = ANY(%s) AND c.state IS DISTINCT FROM 'done'""",
            [duty.type for duty in duties], [duty.consumer for duty in duties], [uuid.UUID(id_) for id_ in ids],
        )  # fmt: skip
