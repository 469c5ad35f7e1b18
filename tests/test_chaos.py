"""Two hundred analyses in flight while everything is killed once: none is lost, none is done twice.

The test prints its integers. Model calls may exceed two an analysis only by repairs, by calls that were not answered in
time (each a counted failure of its claim), and by the calls in hand when something that holds or stores an answer was
killed: at most one for each claim held then.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import psycopg
import pytest
import requests

from tests.bench import photo
from tests.citizen import Citizen
from tests.conftest import whole_system
from tests.running import Running

pytestmark = pytest.mark.unmeasured

ANALYSES = 200
ITEMS = ("투명 페트병", "유리병", "우유팩", "택배 상자", "통조림 캔", "과자 봉지", "영수증", "칫솔")

#: Each function that has to do with an analysis and each part once, in this order, one a second, while analyses are in
#: flight.
EACH = (
    "ingest", "waste", "recover", "identify", "auth", "eventing", "live", "generate", "web", "rabbitmq", "retrieve",
    "redis", "aggregate", "presign", "postgres",
)  # fmt: skip

#: And the others, and some once more, however little is left to do.
VICTIMS = (*EACH, "grade", "users", "identify", "generate", "serving")

#: Killing one of these can lose a call of those to the model that was already counted but not yet stored.
BOTH = ["identify", "generate"]
HOLDERS = {"identify": ["identify"], "generate": ["generate"], "postgres": BOTH, "serving": BOTH}


@pytest.fixture(scope="module")
def doomed() -> Iterator[Running]:
    """A system of its own to be killed."""
    with whole_system("doomed", 29000) as running:
        yield running


async def storm(doomed: Running) -> tuple[list[str], list[dict[str, Any]], int, list[int]]:
    """Submit all, kill everything meanwhile: ids, last states, claims held at the kills that can lose a call, and how
    many analyses were in flight at each kill (-1 where the database did not say)."""
    held, in_flight = set[tuple[Any, ...]](), list[int]()
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        citizen = await Citizen(doomed.gateway, http, patience=90).sign_in()
        gate = asyncio.Semaphore(8)

        async def upload(number: int) -> tuple[str, str]:
            async with gate:
                return await citizen.upload(photo(number))

        uploaded = await asyncio.gather(*(upload(number) for number in range(ANALYSES)))

        async def ask(number: int, key: str) -> str:
            question = f"{ITEMS[number % len(ITEMS)]} 어떻게 버려요? ({number}번째 질문)"
            headers = {"Idempotency-Key": str(uuid.uuid4())}
            answer = await citizen.call("POST", "/api/v1/waste/analyze", {"key": key, "question": question}, headers)
            return str(answer["id"])

        asking = asyncio.gather(*(ask(number, key) for number, (_, key) in enumerate(uploaded)))
        while not await asyncio.to_thread(running, doomed):  # `waste` may be at zero: the storm waits for its first
            await asyncio.sleep(0.2)
        for victim in VICTIMS:
            await asyncio.sleep(1)
            in_flight.append(await asyncio.to_thread(running, doomed))
            if victim not in HOLDERS:
                await asyncio.to_thread(kill, doomed, victim)
                continue
            # A call is lost only while somebody holds the claim it was made under; the killed leave theirs behind.
            held |= await asyncio.to_thread(claims, doomed, HOLDERS[victim])
            await asyncio.to_thread(kill, doomed, victim)
            await asyncio.sleep(1.5 if victim == "postgres" else 0)
            while await asyncio.to_thread(running, doomed) < 0:
                await asyncio.sleep(0.2)
            held |= await asyncio.to_thread(claims, doomed, HOLDERS[victim])
        ids = await asking
        ticking = asyncio.create_task(ticks(doomed))
        states = await asyncio.gather(*(citizen.outcome(id_, within=300, every=2) for id_ in ids))
        ticking.cancel()
    return ids, states, len(held), in_flight


def running(doomed: Running) -> int:
    try:
        return doomed.number(
            "SELECT count(*) FROM analyses WHERE status IN ('requested', 'ingested', 'identified', 'retrieved')"
        )
    except psycopg.OperationalError:
        return -1


def claims(doomed: Running, consumers: list[str]) -> set[tuple[Any, ...]]:
    """What they work on, or were killed over; each attempt once."""
    query = """SELECT consumer, event_source, event_id, attempts FROM claims
               WHERE state = 'running' AND consumer = ANY(%s)"""
    return {tuple(row.values()) for row in doomed.rows(query, consumers)}


def kill(doomed: Running, victim: str) -> None:
    """SIGKILL, as soon as there is a process to kill: a function may be at zero, or on its way back."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if doomed.local.kill(victim):
                return
        with contextlib.suppress(requests.RequestException):
            wake = {"Host": f"{victim}.growbin.svc.cluster.local"}
            requests.get(f"{doomed.activator}/healthz", headers=wake, timeout=2)
    raise AssertionError(f"{victim} had no process to kill")


async def ticks(doomed: Running) -> None:
    while True:
        await asyncio.sleep(10)
        try:
            await asyncio.to_thread(doomed.tick)
        except OSError as error:
            print(f"no tick: {error}")


def test_nothing_is_lost_and_nothing_is_repeated(
    doomed: Running, record_property: Callable[[str, object], None]
) -> None:
    before = doomed.model.counts()["chat"]
    ids, states, lost_at_most, in_flight = asyncio.run(storm(doomed))
    doomed.await_quiet()
    calls = doomed.model.counts()["chat"] - before
    uuids = [uuid.UUID(id_) for id_ in ids]
    repairs = doomed.number("SELECT count(*) FROM model_calls WHERE purpose LIKE '%%repair%%' AND round > 0")
    unanswered = doomed.number("SELECT coalesce(sum(model_failures), 0) FROM claims WHERE analysis_id = ANY(%s)", uuids)
    twice = doomed.rows(
        "SELECT analysis_id, type, count(*) FROM analysis_events WHERE analysis_id = ANY(%s)"
        " GROUP BY 1, 2 HAVING count(*) > 1",
        uuids,
    )
    effects = {
        table: doomed.number(f"SELECT count(*) FROM {table} WHERE analysis_id = ANY(%s)", uuids)
        for table in ("photos", "identifications", "retrievals", "guides")
    }
    record_property(
        "figures",
        f"analyses {len(set(ids))}, completed {sum(s['status'] == 'completed' for s in states)}, "
        f"effects {effects}, repeated {len(twice)}, dead letters "
        f"{doomed.number('SELECT count(*) FROM dead_letters')}, model calls {calls} = 2 × {len(ids)} + "
        f"{calls - 2 * len(ids)} (repairs {repairs}, not answered in time {unanswered}, "
        f"in hand at kills ≤ {lost_at_most}); "
        f"kills {len(in_flight)}, analyses in flight at each {in_flight}",
    )
    assert len(set(ids)) == ANALYSES
    assert len(in_flight) == len(VICTIMS)
    assert max(in_flight) >= ANALYSES * 3 // 4  # the first may be done before the last is accepted
    assert 0 not in in_flight[: len(EACH)]
    assert [state["status"] for state in states if state["status"] != "completed"] == []
    assert [state["outcome"] for state in states if state["outcome"] != "guide"] == []
    assert twice == []
    assert effects == dict.fromkeys(effects, ANALYSES)
    assert doomed.unacknowledged(ids) == []
    assert doomed.number("SELECT count(*) FROM dead_letters") == 0
    assert calls <= 2 * ANALYSES + repairs + unanswered + lost_at_most
