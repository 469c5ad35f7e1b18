"""PingSources: an event for the Broker whenever a cron expression says so.

A machine that is off at night would never see the night. What fires once a day or more rarely is therefore also said
once soon after the start: its consumers must bear a tick too many anyway.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

from functions.shared import telemetry
from functions.shared.naming import PING_TYPE
from knative.local.manifests import PingSource

#: PingSource's own patience with its sink: waits in seconds between attempts; after the last the tick is lost.
RETRIES = (0.1, 0.2, 0.4, 0.8, 1.6)
#: From this time between two ticks on, one may have been slept through; so many seconds after the start it is said.
RARE, AFTER_START = timedelta(hours=12), 10.0

log = telemetry.logger("schedule")


def times(ping: PingSource, after: datetime) -> Iterator[datetime]:
    """When it fires, from `after` on."""
    return iter(CronSim(ping.spec.schedule, after.astimezone(ZoneInfo(ping.spec.timezone))))


def tick(ping: PingSource) -> tuple[dict[str, str], bytes]:
    """Attributes and data of one event of `ping`, as Knative makes it."""
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"/apis/v1/namespaces/{ping.metadata.namespace}/pingsources/{ping.name}",
        "type": PING_TYPE,
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": ping.spec.content_type,
    }
    extensions = ping.spec.ce_overrides["extensions"] if ping.spec.ce_overrides else {}
    return attributes | extensions, ping.spec.data.encode()


async def run(
    ping: PingSource,
    send: Callable[[dict[str, str], bytes], Awaitable[bool]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """For ever. A minute that passes while the machine sleeps is not made up for; see above for a day or a week."""
    if rare(ping):
        await sleep(AFTER_START)
        await _say(ping, send, sleep)
    moment = datetime.now(UTC)
    while True:
        now = datetime.now(UTC)
        moment = next(times(ping, max(moment, now)))  # never the same one twice, should a sleep end too early
        await sleep((moment - now).total_seconds())
        await _say(ping, send, sleep)


def rare(ping: PingSource) -> bool:
    """Whether it fires once a day or more rarely."""
    first, second = islice(times(ping, datetime.now(UTC)), 2)
    return second - first >= RARE


async def _say(
    ping: PingSource,
    send: Callable[[dict[str, str], bytes], Awaitable[bool]],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    attributes, data = tick(ping)
    for wait in (*RETRIES, None):
        if await send(attributes, data):
            break
        if wait is None:
            log.warning("a tick was lost", schedule=ping.name)
        else:
            await sleep(wait)
