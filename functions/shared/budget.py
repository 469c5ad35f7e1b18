"""What may be spent on the model: a share a day for each citizen, and a breaker for all of them together.

One unit is one call of the chat model that a request leads to. A day is one in Korea. Whoever spends asks first, inside
the transaction that makes the work, and gets the units back where that transaction fails; a request made before (a lost
reply, a second tap) spends nothing. Nothing is spent while Redis is away.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import cast

from functions.shared import spending, telemetry
from functions.shared.http import Problem
from functions.shared.memory import Away, Memory
from functions.shared.postgres import Tx
from functions.shared.prices import CALL_USD
from functions.shared.regions import KOREA

#: `spend(tx, units)`, before the work is written: problem 429 or 503 where they are not to be had.
Spend = Callable[[Tx, int], None]

#: So old may be what a process knows of all spending; what it grants itself meanwhile, it adds.
LOOK_SECONDS = 2.0
#: A breaker that only fears what is open may close again as soon as that is done.
RECONSIDER_SECONDS = 60

#: {day, used} of a user. Seconds from 1970 in Korea (UTC+9, no summer time) make the day.
CHARGE = """
local units, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local seconds = redis.call('TIME')[1] + 32400
local day = math.floor(seconds / 86400)
local left = (day + 1) * 86400 - seconds
local used = 0
if tonumber(redis.call('HGET', KEYS[1], 'day') or -1) == day then
  used = tonumber(redis.call('HGET', KEYS[1], 'used'))
end
if used + units > limit then return {0, day, left} end
redis.call('HSET', KEYS[1], 'day', day, 'used', used + units)
redis.call('EXPIRE', KEYS[1], left)
return {1, day, left}
"""
REFUND = """
if redis.call('HGET', KEYS[1], 'day') ~= ARGV[2] then return 0 end
return redis.call('HINCRBY', KEYS[1], 'used', -ARGV[1])
"""

log = telemetry.logger("budget")


class Budget:
    """`per_user` units a day for each citizen, `usd` US dollars a day for all."""

    def __init__(self, memory: Memory, *, per_user: int, usd: float) -> None:
        self._memory, self._per_user, self._usd = memory, per_user, usd
        self._looking = threading.Lock()
        self._looked, self._spent, self._open = -LOOK_SECONDS, 0.0, 0.0

    @contextmanager
    def spending(self, user_id: uuid.UUID) -> Iterator[Spend]:
        """What is spent in here is given back when an exception leaves."""
        granted: list[tuple[int, int]] = []

        def spend(tx: Tx, units: int) -> None:
            self._break(tx, units)
            granted.append((units, self._charge(user_id, units)))

        try:
            yield spend
        except BaseException:
            for units, day in granted:
                self._refund(user_id, units, day)
            raise

    def _charge(self, user_id: uuid.UUID, units: int) -> int:
        """Take the units; the day (from 1970) they were taken from. Problem 429 where too few are left, Away."""
        charge = [units, self._per_user]
        answer = self._memory.ask(lambda client: client.register_script(CHARGE)([_key(user_id)], charge))
        granted, day, left = cast("list[int]", answer)
        if not granted:
            renewed = (datetime.now(KOREA) + timedelta(seconds=left)).replace(microsecond=0)
            members = {"limit": self._per_user, "renewed_at": renewed.isoformat()}
            raise Problem(429, "daily_budget", members=members, headers={"Retry-After": str(left)})
        return day

    def _refund(self, user_id: uuid.UUID, units: int, day: int) -> None:
        with suppress(Away):  # a unit too many was counted, until midnight
            self._memory.ask(lambda client: client.register_script(REFUND)([_key(user_id)], [units, day]))

    def _break(self, tx: Tx, units: int) -> None:
        """Problem 503 where all together have spent what there is, or would with what is open."""
        with self._looking:
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                self._spent, self._open = spending.today(tx)
                self._looked = time.monotonic()
            if self._spent + self._open + units * CALL_USD <= self._usd:
                self._open += units * CALL_USD
                return
            spent = self._spent
        log.warning("model budget reached", spent_usd=round(spent, 2), limit_usd=self._usd)
        wait = _until_midnight() if spent >= self._usd else RECONSIDER_SECONDS
        raise Problem(503, "model_budget", headers={"Retry-After": str(wait)})


def _until_midnight() -> int:
    now = datetime.now(KOREA)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight - now).total_seconds()) + 1


def _key(user_id: uuid.UUID) -> str:
    return f"budget:{user_id}"
