"""Redis, as a server that may be away: a question is answered quickly or not at all.

What follows from "not at all" differs (a cache is only slower, a login is refused), so it is the caller's to say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from functions.shared import telemetry

T = TypeVar("T")

#: After a failure Redis is left alone for so many seconds: a dead server must not cost every request its timeout.
REST_SECONDS = 2.0

log = telemetry.logger("memory")


class Away(Exception):
    """Redis did not answer, or was left alone because it just did not; or it did not do what it was asked to."""


class Memory:
    """Redis at `url`, connected on first use; `timeout` in seconds for every answer, `rest` after a failure."""

    def __init__(self, url: str, *, timeout: float = 0.3, rest: float = REST_SECONDS) -> None:
        self._url, self._timeout, self._rest = url, timeout, rest
        self._resting_until = 0.0

    def ask(self, command: Callable[[redis.Redis], T]) -> T:
        """What `command` answers, given the client. Away where Redis is not there."""
        if time.monotonic() < self._resting_until:
            raise Away("resting")
        try:
            return command(self._redis)
        except redis.ResponseError as error:  # it is there and does not do this (no memory, a replica): do go on asking
            log.warning("redis refused", error=str(error))
            raise Away(str(error)) from error
        except redis.RedisError as error:
            self._resting_until = time.monotonic() + self._rest
            log.warning("redis unavailable", error=str(error))
            raise Away(str(error)) from error

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
