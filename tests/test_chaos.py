"""Two hundred analyses in flight while everything is killed once: none is lost, none is done twice.

The test prints its integers. Model calls may exceed two an analysis only by repairs, by calls that were not answered in
time (each a counted failure of its claim), and by the calls in hand when something that holds or stores an answer was
killed: at most one for each attempt that was under way then and did not come to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


#: What every claim went through, and when: a claim's own row tells only of its last attempt.
LOG = """
CREATE TABLE attempts_log (
    consumer text, event_source text, event_id text, attempt int, state text,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION log_attempt() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO attempts_log VALUES (NEW.consumer, NEW.event_source, NEW.event_id, NEW.attempts, NEW.state);
    RETURN NULL;
END $$;
CREATE TRIGGER log_attempt AFTER INSERT OR UPDATE ON claims FOR EACH ROW EXECUTE FUNCTION log_attempt();
"""

#: Attempts of consumers %s that had begun before %s, had not ended before %s, and did not end well. One whose holder
#: was killed ends when somebody takes the claim over.
CUT_SHORT = """
WITH spans AS (
    SELECT consumer, event_id, attempt, state, at,
           lead(state) OVER claim AS then_state, coalesce(lead(at) OVER claim, 'infinity') AS until
    FROM attempts_log WHERE consumer = ANY(%s)
    WINDOW claim AS (PARTITION BY consumer, event_source, event_id ORDER BY at))
SELECT consumer, event_id, attempt FROM spans
WHERE state = 'running' AND at <= to_timestamp(%s) AND until >= to_timestamp(%s) AND then_state <> 'done'
"""


@pytest.fixture(scope="module")
def doomed() -> Iterator[Running]:
    """A system of its own to be killed."""
    with whole_system("doomed", 29000) as running:
        with psycopg.connect(running.local.run["database_url"], autocommit=True) as connection:
            connection.execute(LOG)
        yield running


@dataclass(frozen=True)
class Kill:
    """Of whom, between which two times (seconds since 1970), and how many analyses were in flight (-1: unknown)."""

    victim: str
    since: float
    until: float
    in_flight: int


async def storm(doomed: Running) -> tuple[list[str], list[dict[str, Any]], list[Kill]]:
    """Submit all, kill everything meanwhile: ids, last states, and the kills."""
    kills = list[Kill]()
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
            in_flight = await asyncio.to_thread(running, doomed)
            since = await asyncio.to_thread(kill, doomed, victim)
            await asyncio.sleep(1.5 if victim == "postgres" else 0)
            while victim == "postgres" and await asyncio.to_thread(running, doomed) < 0:
                await asyncio.sleep(0.2)
            kills.append(Kill(victim, since, time.time(), in_flight))
        ids = await asking
        ticking = asyncio.create_task(ticks(doomed))
        states = await asyncio.gather(*(citizen.outcome(id_, within=300, every=2) for id_ in ids))
        ticking.cancel()
    return ids, states, kills


def running(doomed: Running) -> int:
    try:
        return doomed.number(
            "SELECT count(*) FROM analyses WHERE status IN ('requested', 'ingested', 'identified', 'retrieved')"
        )
    except psycopg.OperationalError:
        return -1


def cut_short(doomed: Running, kills: list[Kill]) -> set[tuple[Any, ...]]:
    """Attempts that were under way at a kill which can lose their call to the model, and did not come to their end."""
    found = set[tuple[Any, ...]]()
    for one in kills:
        if consumers := HOLDERS.get(one.victim):
            found |= {tuple(row.values()) for row in doomed.rows(CUT_SHORT, consumers, one.until, one.since)}
    return found


def kill(doomed: Running, victim: str) -> float:
    """SIGKILL, as soon as there is a process to kill: a function may be at zero, or on its way back. Answers when."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = time.time()
        with contextlib.suppress(OSError):
            if doomed.local.kill(victim):
                return now
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
    ids, states, kills = asyncio.run(storm(doomed))
    doomed.await_quiet()
    calls = doomed.model.counts()["chat"] - before
    uuids, in_flight = [uuid.UUID(id_) for id_ in ids], [one.in_flight for one in kills]
    lost_at_most = len(cut_short(doomed, kills))
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
