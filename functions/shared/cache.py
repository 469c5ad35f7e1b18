"""A memory that may forget: JSON values in Redis under exact keys. Nothing breaks when it is down, it is only slower.

Keys are digests of everything the value depends on, never of something similar: a wrong hit would be wrong advice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from functions.shared import telemetry

#: After a failure Redis is left alone for so many seconds: a dead cache must not cost every request its timeout.
REST_SECONDS = 5.0

log = telemetry.logger("cache")


def key(kind: str, **parts: Any) -> str:
    """`kind:<sha256>` over all `parts` (JSON values) by name: equal where every part is equal, and only there."""
    exact = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"{kind}:{hashlib.sha256(exact.encode()).hexdigest()}"


class Cache:
    """Redis at `url`, connected on first use; `timeout` in seconds for every answer."""

    def __init__(self, url: str, *, timeout: float = 0.3) -> None:
        self._url, self._timeout = url, timeout
        self._resting_until = 0.0

    def get(self, key: str) -> Any | None:
        """The value stored under `key`, or None where there is none (or no Redis, or no sense in it)."""
        raw = self._ask(lambda: self._redis.get(key))
        try:
            return None if raw is None else json.loads(raw)
        except (TypeError, ValueError):
            return None

    def put(self, key: str, value: Any, seconds: int) -> None:
        """Keep a JSON value for `seconds`."""
        self._ask(lambda: self._redis.set(key, json.dumps(value, ensure_ascii=False), ex=seconds))

    def close(self) -> None:
        self._redis.close()

    @cached_property
    def _redis(self) -> redis.Redis:
        return redis.Redis.from_url(
            self._url,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def _ask(self, command: Callable[[], Any]) -> Any | None:
        if time.monotonic() < self._resting_until:
            return None
        try:
            return command()
        except redis.RedisError as error:
            self._resting_until = time.monotonic() + REST_SECONDS
            log.warning("cache unavailable", error=str(error))
            return None
