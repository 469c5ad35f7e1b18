"""A memory that may forget: JSON values in Redis under exact keys. Nothing breaks when it is down, it is only slower.

Keys are digests of everything the value depends on, never of something similar: a wrong hit would be wrong advice.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any

from functions.shared import metrics
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
        kind = key.partition(":")[0]
        try:
            raw: Any = self._memory.ask(lambda server: server.get(key))
            value = None if raw is None else json.loads(raw)
        except Away:
            metrics.CACHE.add(kind=kind, result="away")
            return None
        except (TypeError, ValueError):
            value = None
        metrics.CACHE.add(kind=kind, result="miss" if value is None else "hit")
        return value

    def put(self, key: str, value: Any, seconds: int) -> None:
        """Keep a JSON value for `seconds`."""
        with suppress(Away):
            self._memory.ask(lambda server: server.set(key, json.dumps(value, ensure_ascii=False), ex=seconds))

    def close(self) -> None:
        self._memory.close()
