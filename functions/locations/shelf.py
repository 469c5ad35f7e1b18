"""Centres of the API, kept in Redis for a day by square of one degree, and long after for when the API is down.

A square is some 90 by 111 km: a question about 5 km reads one to four of them, some dozen rows instead of the country,
and Redis learns no more of where somebody stands than that. All squares are filled by one refresh, since the API cannot
be asked for a place.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from functions.locations import gathering, nearby
from functions.locations.api import LATER, Api, SourceFailed
from functions.locations.centre import Centre
from functions.shared import telemetry
from functions.shared.memory import Away, Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds for which an answer is as good as new, and for which it is kept for want of a better one.
FRESH_SECONDS, KEEP_SECONDS = 24 * 3600, 90 * 24 * 3600

#: Seconds that whoever has nothing yet waits for the refresh of another one, and after which its lock is free again.
PATIENCE_SECONDS, LOCK_SECONDS = 12.0, 20

#: Beside the squares.
_ABOUT = "about"
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

log = telemetry.logger("locations")


class NothingKnown(Exception):
    """The API has never answered, and does not now; `retry` says after how many seconds to ask again."""

    def __init__(self, retry: int) -> None:
        super().__init__("no answer yet from the API of centres")
        self.retry = retry


@dataclass(frozen=True, slots=True)
class Found:
    """Centres (of the squares asked for, or all), where they are from, and the time as of which they are (seconds
    since 1970)."""

    centres: list[Centre]
    origin: str
    at: float
    fresh_seconds: float

    def fresh(self, now: float) -> bool:
        return now - self.at < self.fresh_seconds


class Shelf:
    """What `api` said, in `memory` and, as far as this process fetched it, here. `clock` in seconds since 1970."""

    def __init__(self, api: Api, memory: Memory, clock: Callable[[], float] = time.time) -> None:
        self._api, self._memory, self._clock = api, memory, clock
        whose = hashlib.sha256(f"{api.url} {api.sample}".encode()).hexdigest()[:12]
        self._key = f"places:{whose}"
        self._own: Found | None = None
        self._refreshing = threading.Lock()
        self._rest_until = 0.0

    def read(self, tiles: frozenset[str] | None) -> Found:
        """The centres of these squares (None: all), refreshed where they are a day old. Only one of all callers asks
        the API; the others get what is kept, however old. NothingKnown where nothing is."""
        kept = self._kept(tiles)
        if kept and kept.fresh(self._clock()):
            return kept
        with self._alone() as chosen:
            if chosen:
                again = self._kept(tiles)  # the one before us may just have done it
                if not again or not again.fresh(self._clock()):
                    self._refresh()
        kept = self._kept(tiles) or (None if chosen else self._awaited(tiles))
        if kept is None:
            raise NothingKnown(self._resting())
        return kept

    def _kept(self, tiles: frozenset[str] | None) -> Found | None:
        """From Redis, or where that has nothing, from what this process fetched itself."""
        own = self._own
        try:
            raw = self._memory.ask(lambda server: self._fields(server, tiles))
            about = json.loads(raw.pop(_ABOUT))
            found = [Centre.from_document(one) for text in raw.values() for one in json.loads(text)]
            return Found(found, about["origin"], about["at"], about["fresh"])
        except (Away, KeyError, TypeError, ValueError):
            if own is None or tiles is None:
                return own
        inside = [one for one in own.centres if nearby.tile(one.latitude, one.longitude) in tiles]
        return Found(inside, own.origin, own.at, own.fresh_seconds)

    def _fields(self, server: redis.Redis, tiles: frozenset[str] | None) -> dict[str, bytes]:
        if tiles is None:
            everything: Any = server.hgetall(self._key)
            return {name.decode(): value for name, value in everything.items()}
        wanted = [_ABOUT, *sorted(tiles)]
        values: Any = server.hmget(self._key, wanted)
        return {name: value for name, value in zip(wanted, values, strict=True) if value is not None}

    def _refresh(self) -> None:
        """Ask the API for everything and keep it; where that fails, leave it alone for a while."""
        try:
            rows, sample = self._api.rows()
        except SourceFailed as failure:
            log.warning("centres were not refreshed", why=str(failure), again_in=failure.rest)
            self._rest(failure.rest)
            return
        gathered = gathering.gather(rows)
        if not gathered.centres and (self._kept(None) or rows):
            log.warning("centres were not refreshed", why="no usable row", rows=len(rows))
            self._rest(LATER)
            return
        log.info(
            "centres refreshed", rows=gathered.read, centres=len(gathered.centres), dropped=len(gathered.dropped),
        )  # fmt: skip
        fresh = FRESH_SECONDS if gathered.centres else LATER
        self._own = Found(gathered.centres, "sample" if sample else "api", self._clock(), fresh)
        with suppress(Away):
            self._memory.ask(self._keep)

    def _keep(self, server: redis.Redis) -> None:
        own = self._own
        assert own is not None
        squares: dict[str, list[dict[str, Any]]] = {}
        for one in own.centres:
            squares.setdefault(nearby.tile(one.latitude, one.longitude), []).append(one.document())
        about = {"origin": own.origin, "at": own.at, "fresh": own.fresh_seconds}
        fields = {name: json.dumps(value, ensure_ascii=False) for name, value in [(_ABOUT, about), *squares.items()]}
        with server.pipeline(transaction=True) as pipe:
            pipe.delete(self._key)
            pipe.hset(self._key, mapping=fields)  # type: ignore[arg-type, unused-ignore]
            pipe.expire(self._key, KEEP_SECONDS)
            pipe.execute()

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """True for the one caller, of all processes, who may ask the API now. Without Redis: of this process."""
        if time.monotonic() < self._rest_until or not self._refreshing.acquire(blocking=False):
            yield False
            return
        try:
            token = secrets.token_hex(8)
            try:
                chosen = self._memory.ask(lambda server: self._lock(server, token))
            except Away:
                yield True
                return
            try:
                yield chosen
            finally:
                if chosen:
                    with suppress(Away):
                        self._memory.ask(lambda server: server.eval(_RELEASE, 1, f"{self._key}:lock", token))
        finally:
            self._refreshing.release()

    def _lock(self, server: redis.Redis, token: str) -> bool:
        if server.exists(f"{self._key}:rest"):
            return False
        return bool(server.set(f"{self._key}:lock", token, nx=True, ex=LOCK_SECONDS))

    def _rest(self, seconds: int) -> None:
        """Nobody asks the API for so long: a dead one must not cost every request its timeout."""
        self._rest_until = time.monotonic() + seconds
        with suppress(Away):
            self._memory.ask(lambda server: server.set(f"{self._key}:rest", "", ex=seconds))

    def _resting(self) -> int:
        """Seconds until the API may be asked again, at least one."""
        here, everywhere = self._rest_until - time.monotonic(), 0
        with suppress(Away):
            everywhere = int(self._memory.ask(lambda server: server.ttl(f"{self._key}:rest")))  # type: ignore[arg-type, unused-ignore]
        return max(1, round(here), everywhere)

    def _awaited(self, tiles: frozenset[str] | None) -> Found | None:
        """What another one fetches just now, where there is one."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self._somebody_asks():
            time.sleep(0.05)
            if kept := self._kept(tiles):
                return kept
        return self._kept(tiles)

    def _somebody_asks(self) -> bool:
        if self._refreshing.locked():
            return True
        try:
            return bool(self._memory.ask(lambda server: server.exists(f"{self._key}:lock")))
        except Away:
            return False
