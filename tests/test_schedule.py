"""The clock of the local broker: when it fires, what it says, and what it does when nobody listens."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import UTC, datetime

import pytest

from functions.shared import wire
from functions.shared.events import ScheduleTicked
from knative.local import schedule
from knative.local.eventing import Event
from knative.local.manifests import Manifests, PingSource

NOON = datetime(2026, 11, 23, 3, 0, 30, tzinfo=UTC)  # noon in Seoul


def ping(cron: str, timezone: str = "UTC") -> PingSource:
    """The committed PingSource on another clock."""
    committed = Manifests.load().all(PingSource)["recover"]
    return committed.model_copy(
        update={"spec": committed.spec.model_copy(update={"schedule": cron, "timezone": timezone})}
    )


@pytest.mark.parametrize(
    ("cron", "timezone", "first", "second"),
    [
        ("* * * * *", "UTC", "2026-11-23T03:01:00+00:00", "2026-11-23T03:02:00+00:00"),
        ("0 13 * * *", "Asia/Seoul", "2026-11-23T13:00:00+09:00", "2026-11-24T13:00:00+09:00"),
        ("0 13 * * *", "UTC", "2026-11-23T13:00:00+00:00", "2026-11-24T13:00:00+00:00"),
        ("*/20 3-4 * * *", "UTC", "2026-11-23T03:20:00+00:00", "2026-11-23T03:40:00+00:00"),
        ("0 0 1,15 * 1", "UTC", "2026-11-30T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),  # Mondays, the 1st, the 15th
    ],
)
def test_it_fires_by_the_clock_of_its_time_zone(cron: str, timezone: str, first: str, second: str) -> None:
    found = itertools.islice(schedule.times(ping(cron, timezone), NOON), 2)
    assert [moment.isoformat() for moment in found] == [first, second]


def test_what_it_says_is_an_event_of_the_catalogue() -> None:
    attributes, data = schedule.tick(ping("* * * * *"))
    assert attributes["schedule"] == "recover"  # the extension that recover's Trigger filters by
    event = wire.parse(Event(attributes, data).to_http(), data)
    assert event.data == ScheduleTicked(schedule="recover")
    assert event.source == "/apis/v1/namespaces/growbin-events/pingsources/recover"
    assert schedule.tick(ping("* * * * *"))[0]["id"] != attributes["id"]


def test_what_may_have_been_slept_through_is_said_once_after_the_start() -> None:
    """A night or a Monday may have passed; the minute of `recover` comes anyway. Nothing is said before the wait."""
    for cron, early in (("10 3 * * *", 1), ("40 3 * * 1", 1), ("* * * * *", 0), ("0 * * * *", 0)):
        waits: list[float] = []
        sent: list[int] = []

        async def send(attributes: dict[str, str], data: bytes) -> bool:
            sent.append(len(waits))  # noqa: B023
            return True

        async def sleep(seconds: float) -> None:
            waits.append(seconds)  # noqa: B023
            if len(waits) > early + 1:  # noqa: B023
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            asyncio.run(schedule.run(ping(cron), send, sleep))
        assert sent == list(range(1, early + 2)), cron
        assert (waits[0] == schedule.AFTER_START) == bool(early)


def test_a_tick_is_tried_again_and_then_lost() -> None:
    """The waits of a PingSource; the next tick comes all the same, as a new event."""
    waits: list[float] = []
    sent: list[str] = []

    async def send(attributes: dict[str, str], data: bytes) -> bool:
        assert json.loads(data) == {"schedule": "recover"}
        sent.append(attributes["id"])
        return len(sent) > 6

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 7:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(schedule.run(ping("* * * * *"), send, sleep))
    assert tuple(waits[1:6]) == schedule.RETRIES
    assert 0 < waits[0] <= 60
    assert waits[6] - waits[0] == pytest.approx(60, abs=1)  # the clock itself stood still
    assert [len(list(same)) for _, same in itertools.groupby(sent)] == [6, 1]
