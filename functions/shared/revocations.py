"""Tokens that are refused before they expire: signed out, of a user whose sessions were ended, or older than what Redis
remembers.

A list of refused tokens is worth as much as the memory that keeps it. So a sentinel key says since when the list is
complete: whoever finds none sets it to now, and a token issued before it is refused. A flushed Redis lets nobody in.

While Redis is away, a signature and an expiry are all there is: a token that was signed out is then good for what is
left of its fifteen minutes. (Who signs in or refreshes needs Redis and is refused.) The same holds where a Redis
restarts from an older copy of itself and has forgotten the last tokens signed out, or evicts them for want of memory.
A Redis that answers but has no sentinel and takes none (no memory, a replica) is not away: it lets nobody in.

All times are those of Redis, as seconds since 1970; it keeps them as whole microseconds.
"""

from __future__ import annotations

import math
import uuid
from typing import cast

import redis

from functions.shared.memory import Away, Memory

#: Since when the list is complete.
SENTINEL = "auth:complete-since"

#: What was issued to a user before they ended everything is refused, as long as it could live: a refresh token's week
#: and a day.
_ENDED_SECONDS = 8 * 24 * 3600
#: A token is still believed so many seconds after its expiry where clocks differ; its refusal is kept longer.
_MARGIN_SECONDS = 120

_NOW = """
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
"""
_BEGIN = _NOW + "redis.call('SET', KEYS[1], now, 'NX') return {redis.call('GET', KEYS[1]), now}"
_END = _NOW + "redis.call('SET', KEYS[1], now, 'EX', ARGV[1]) return now"


def ended_key(user_id: uuid.UUID) -> str:
    """Where it is kept when a user's sessions were ended."""
    return f"auth:ended:{user_id}"


def microseconds(seconds: float) -> str:
    """A time as Redis keeps it here."""
    return str(round(seconds * 1_000_000))


def end_all(memory: Memory, user_id: uuid.UUID) -> float:
    """Refuse every access and refresh token the user was given until now. The time: tokens issued later are good.

    Away where Redis is not there: nothing was ended.
    """
    ended = memory.ask(lambda server: server.eval(_END, 1, ended_key(user_id), str(_ENDED_SECONDS)))
    return _seconds(cast(bytes, ended))


class Revocations:
    """The list of refused tokens in `memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def refused(self, jti: str, issued_at: float, user_id: uuid.UUID) -> bool:
        """True for a token that may not be believed any more. One exchange with Redis; False where Redis is away."""
        try:
            kept = self._memory.ask(lambda server: server.mget(SENTINEL, _jti_key(jti), ended_key(user_id)))
        except Away:
            return False
        since, signed_out, ended = cast("list[bytes | None]", kept)
        try:
            complete = _seconds(since) if since else self._begin()[0]
        except Away:
            return True
        return signed_out is not None or issued_at < complete or (ended is not None and issued_at <= _seconds(ended))

    def now(self) -> float:
        """The time to write into a token that is issued now: never before the list is complete. Away without Redis."""
        return max(self._begin())

    def revoke(self, jti: str, expires_at: float) -> None:
        """Refuse this one token until it has expired. Away where Redis is not there: it was not revoked."""
        left = math.ceil(expires_at - self.now()) + _MARGIN_SECONDS
        self._memory.ask(lambda server: server.set(_jti_key(jti), 1, ex=max(left, 1)))

    def _begin(self) -> tuple[float, float]:
        def command(server: redis.Redis) -> object:
            return server.eval(_BEGIN, 1, SENTINEL)

        since, now = cast("list[bytes]", self._memory.ask(command))
        return _seconds(since), _seconds(now)


def _jti_key(jti: str) -> str:
    return f"auth:revoked:{jti}"


def _seconds(microseconds: bytes) -> float:
    return int(microseconds) / 1_000_000
