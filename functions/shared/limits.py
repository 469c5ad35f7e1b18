"""How often somebody may ask: a true sliding window. In no stretch of a window's length are there more than `limit`.

The times of the last accepted requests are a list in Redis; one script on Redis's own clock reads and writes it, so any
number of processes count together. A refused request is not counted: who goes on asking is let in again all the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from functions.shared.memory import Memory

WINDOW_SECONDS = 60.0

# A clock that is set back must not open the window: time never runs backwards within one list.
SCRIPT = """
local key, limit, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local newest = tonumber(redis.call('LINDEX', key, -1) or 0)
if newest > now then now = newest end
local oldest = tonumber(redis.call('LINDEX', key, 0) or now)
while oldest < now - window do
  redis.call('LPOP', key)
  oldest = tonumber(redis.call('LINDEX', key, 0) or now)
end
local used = redis.call('LLEN', key)
local admitted = 0
if used < limit then
  admitted = 1
  used = used + 1
  redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil(window / 1000) + 1000)
end
return {admitted, used, string.format('%.0f', oldest + window - now), string.format('%.0f', now)}
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands after a request: `remaining` more at once; in `reset` seconds (rounded up) one more.

    `at`: the request's time on Redis's clock, in microseconds.
    """

    admitted: bool
    limit: int
    remaining: int
    reset: int
    at: int


class Limits:
    """At most `limit` requests in any `window` seconds for each of whom is counted."""

    def __init__(self, memory: Memory, limit: int, window: float = WINDOW_SECONDS) -> None:
        self._memory, self._limit, self._window = memory, limit, int(window * 1_000_000)

    def count(self, who: str) -> Standing:
        """Admit and count a request of `who`, or say that it is one too many. Away without Redis."""
        answer = self._memory.ask(
            lambda client: client.register_script(SCRIPT)([f"limit:{who}"], [self._limit, self._window])
        )
        admitted, used, wait, at = (int(value) for value in cast("list[bytes | int]", answer))
        reset = max(1, math.ceil(wait / 1_000_000))
        return Standing(bool(admitted), self._limit, max(0, self._limit - used), reset, at)
