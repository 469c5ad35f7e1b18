"""Passwords are not guessed here: so many tries for one account, and from one address, in a quarter of an hour.

A try is counted before the password is looked at, so tries at the same moment are no way around; one that was right is
taken back. Nothing tells an account that exists from one that does not.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from dataclasses import dataclass
from typing import cast

import redis

from functions.shared.http import Problem
from functions.shared.memory import Memory

PER_ACCOUNT, PER_ADDRESS, WINDOW_SECONDS = 10, 100, 900.0

# For each key: a sorted set of the times of the last tries. Counts the try in all of them or in none.
_TRY = """
local time = redis.call('TIME')
local now, window, wait = time[1] * 1000000 + time[2], tonumber(ARGV[2]), 0
for n, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - window))
  if redis.call('ZCARD', key) >= tonumber(ARGV[2 + n]) then
    wait = math.max(wait, redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] + window - now)
  end
end
if wait > 0 then return string.format('%.0f', wait) end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, string.format('%.0f', now), ARGV[1])
  redis.call('PEXPIRE', key, math.ceil(window / 1000) + 1000)
end
return '0'
"""


@dataclass(frozen=True, slots=True)
class Try:
    """One try that was let through."""

    keys: tuple[str, ...]
    id: str


class Guessing:
    """Counts tries in `memory`."""

    def __init__(
        self,
        memory: Memory,
        *,
        per_account: int = PER_ACCOUNT,
        per_address: int = PER_ADDRESS,
        window: float = WINDOW_SECONDS,
    ) -> None:
        self._memory, self._window = memory, int(window * 1_000_000)
        self._most = {"account": per_account, "address": per_address}

    def attempt(self, *, address: str, account: str | None = None) -> Try:
        """Count a try from `address`, at the password of `account` if any: an e-mail, or who has already signed in.

        Problem 429 `too_many_attempts`, with Retry-After, where it is one too many. Away without Redis.
        """
        counted = {"address": address} | ({"account": account} if account is not None else {})
        keys = tuple(_key(kind, whose) for kind, whose in counted.items())
        most = [self._most[kind] for kind in counted]
        mine = Try(keys, uuid.uuid4().hex)
        answer = self._memory.ask(
            lambda server: server.register_script(_TRY)(keys, [mine.id, str(self._window), *map(str, most)])
        )
        if wait := math.ceil(int(cast(bytes, answer)) / 1_000_000):
            minutes = math.ceil(wait / 60)
            raise Problem(429, "too_many_attempts", headers={"Retry-After": str(wait)}, minutes=minutes)
        return mine

    def right(self, mine: Try) -> None:
        """The password was right: the account's wrong tries are forgotten, and this one of the address."""
        address, *accounts = mine.keys

        def forget(server: redis.Redis) -> None:
            server.zrem(address, mine.id)
            if accounts:
                server.delete(*accounts)

        self._memory.ask(forget)


def _key(kind: str, whose: str) -> str:
    return f"auth:tries:{kind}:{hashlib.sha256(whose.encode()).hexdigest()}"
