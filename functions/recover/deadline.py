"""The time a tick has: what does not fit into it is for the next tick."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def left(ends: float) -> bool:
    """Whether there is time to start something new; `ends` is a time of `time.monotonic()`."""
    return time.monotonic() < ends


def until(ends: float, items: Sequence[T]) -> Iterator[T]:
    """`items` one by one, as long as there is time left."""
    for item in items:
        if not left(ends):
            return
        yield item
