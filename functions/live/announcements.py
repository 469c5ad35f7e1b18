"""Who waits for news of which analysis, and the one connection of this process on which PostgreSQL announces them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import psycopg

from functions.shared import naming, telemetry

log = telemetry.logger("live")


class Wakeable(Protocol):
    """A `threading.Event` will do."""

    def set(self) -> None: ...


class Announcements:
    """Wakes those who follow an analysis whenever an event of it was committed.

    Listening starts with the first follower. When the connection breaks it is made anew, and everybody is woken once,
    because something may have been said in between. A wake-up carries no news: the follower looks into the table.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._followers: dict[str, set[Wakeable]] = {}
        self._guard = threading.Lock()
        self._listener: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def closing(self) -> bool:
        """True once the process is going down: followers should let go."""
        return self._closing.is_set()

    @contextmanager
    def follow(self, analysis_id: str, wake: Wakeable) -> Iterator[None]:
        """Inside, `wake` is set after every event of the analysis."""
        with self._guard:
            self._followers.setdefault(analysis_id, set()).add(wake)
            if self._listener is None:
                self._listener = threading.Thread(target=self._listen, name="announcements", daemon=True)
                self._listener.start()
        try:
            yield
        finally:
            with self._guard:
                self._followers[analysis_id].discard(wake)
                if not self._followers[analysis_id]:
                    del self._followers[analysis_id]

    def close(self) -> None:
        """Stop listening and wake everybody, so that they see `closing`."""
        self._closing.set()
        self._wake(None)

    def _listen(self) -> None:
        pause = 0.1
        while not self._closing.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {naming.EVENTS_CHANNEL}")
                    self._wake(None)
                    pause = 0.1
                    while not self._closing.is_set():
                        for notice in connection.notifies(timeout=5.0):
                            self._wake(notice.payload.partition(":")[0])
            except psycopg.Error as error:
                log.warning("not listening", error=str(error), again_in=pause)
                self._closing.wait(pause)
                pause = min(pause * 2, 5.0)

    def _wake(self, analysis_id: str | None) -> None:
        with self._guard:
            known = self._followers
            woken = [w for ws in known.values() for w in ws] if analysis_id is None else [*known.get(analysis_id, ())]
        for wake in woken:
            wake.set()
