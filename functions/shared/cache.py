"""A memory that may forget: JSON values in Redis under exact keys. Nothing breaks when it is down, it is only slower.

Keys are digests of everything the value depends on, never of something similar: a wrong hit would be wrong advice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import redis

from functions.shared.memory import Away, Memory


def key(kind: str, **parts: Any) -> str:
    """`kind:<sha256>` over all `parts` (JSON values) by name: equal where every part is equal, and only there."""
    exact = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"{kind}:{hashlib.sha256(exact.encode()).hexdigest()}"


class Cache:
    """Redis at `url`, connected on first use; `timeout` in seconds for every answer."""

    def __init__(self, url: str, *, timeout: float = 0.3) -> None:
        self._memory = Memory(url, timeout=timeout, rest=5.0)

    def get(self, key: str) -> Any | None:
        """The value stored under `key`, or None where there is none (or no Redis, or no sense in it)."""
        raw = self._ask(lambda server: server.get(key))
        try:
            return None if raw is None else json.loads(raw)
        except (TypeError, ValueError):
            return None

    def put(self, key: str, value: Any, seconds: int) -> None:
        """Keep a JSON value for `seconds`."""
        self._ask(lambda server: server.set(key, json.dumps(value, ensure_ascii=False), ex=seconds))

    def close(self) -> None:
        self._memory.close()

    def _ask(self, command: Callable[[redis.Redis], Any]) -> Any | None:
        try:
            return self._memory.ask(command)
        except Away:
            return None
