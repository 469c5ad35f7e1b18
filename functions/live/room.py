"""How many sockets there may be at once: a socket holds a thread."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Full(Exception):
    """There is no room for another socket."""


class Room:
    """At most `most` sockets of this process, at most `each` of them of one citizen."""

    def __init__(self, most: int, each: int) -> None:
        self._each = each
        self._free = threading.BoundedSemaphore(most)
        self._taken = Counter[uuid.UUID]()
        self._guard = threading.Lock()

    @contextmanager
    def socket(self) -> Iterator[None]:
        """Inside, one socket more is there. Full where that is one too many."""
        if not self._free.acquire(blocking=False):
            raise Full("all are taken")
        try:
            yield
        finally:
            self._free.release()

    @contextmanager
    def citizen(self, user_id: uuid.UUID) -> Iterator[None]:
        """Inside, the socket is this citizen's. Full where they have as many as one may."""
        with self._guard:
            if self._taken[user_id] >= self._each:
                raise Full("one citizen has too many")
            self._taken[user_id] += 1
        try:
            yield
        finally:
            with self._guard:
                self._taken[user_id] -= 1
                if not self._taken[user_id]:
                    del self._taken[user_id]
