"""Once a minute: whatever was lost, parked, forgotten or kept too long. Everything it does may be done twice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Self

from functions.recover import deadletters, expiry, guests, owed, photos, reemit, standing
from functions.recover.deadline import left
from functions.recover.owed import Duty
from functions.recover.settings import Settings
from functions.recover.standing import Standing
from functions.shared import metrics, telemetry
from functions.shared.config import load
from functions.shared.events import Event, ScheduleTicked
from functions.shared.function import Done
from functions.shared.objects import Objects
from functions.shared.outbox import Broker
from functions.shared.postgres import Database, Tx, Unavailable

#: A tick that waited longer than this in a queue is not done: the next one is here already.
STALE = timedelta(seconds=50)
#: Seconds a tick has; after them it starts nothing new. The next one comes after 60.
TICK_SECONDS = 40.0
#: Number of the advisory lock that keeps ticks apart ("recover" in ASCII, shortened to 63 bits).
LOCK = 0x7265636F766572

log = telemetry.logger("recover")


@dataclass
class Deps:
    """The database, the broker, the object store, and who owes what."""

    db: Database
    broker: Broker
    objects: Objects
    settings: Settings

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        settings = load(Settings, environ)
        return cls(
            db=Database(settings.database_url, pool_size=settings.pool_size),
            broker=Broker(settings.broker_url),
            objects=Objects(
                endpoint=settings.s3_endpoint,
                region=settings.s3_region,
                bucket=settings.s3_bucket,
                access_key=settings.aws_access_key_id,
                secret_key=settings.aws_secret_access_key,
            ),
            settings=settings,
        )

    @cached_property
    def duties(self) -> list[Duty]:
        return owed.duties(self.settings.pipelines_dir)

    @cached_property
    def standing(self) -> Standing:
        return Standing(owed.owed(self.duties), self.settings.recover_after_seconds, self.settings.model_daily_usd)

    def ping(self) -> None:
        self.db.ping()

    def close(self) -> None:
        self.db.close()


def handle(event: Event[ScheduleTicked], deps: Deps) -> Done:
    """One tick; of several at once only one does anything. The counts are logged as one line, also when they are 0."""
    if datetime.now(UTC) - event.time > STALE:
        log.info("stale tick skipped", of=event.time.isoformat())
        return Done()
    with deps.db.transaction() as tx:
        if not _alone(tx):
            log.info("tick skipped: another one is at work")
            return Done()
        log.info("tick", **_tick(deps), **standing.look(tx))
        if metrics.on():
            deps.standing.tell(tx)
    return Done()


def dead_letter(headers: Mapping[str, str], body: bytes, deps: Deps) -> int:
    """POST /dead-letters: the HTTP status to answer. 503 where it could not be kept (its event is owed, and comes
    back)."""
    letter = deadletters.read(headers, body, deps.duties)
    try:
        failed = deadletters.keep(deps.db, letter, deps.duties)
    except Unavailable as error:
        log.warning("dead letter not kept", error=str(error))
        return 503
    if failed is not None:
        deps.broker.post(failed)
    return 204


def _tick(deps: Deps) -> dict[str, int]:
    ends = time.monotonic() + TICK_SECONDS
    db, broker, objects, settings = deps.db, deps.broker, deps.objects, deps.settings
    counts = {
        "parked": reemit.parked(db, broker, ends),
        "lost": reemit.lost(db, broker, owed.owed(deps.duties), settings.recover_after_seconds, ends),
        "expired": expiry.unanswered(db, broker, settings.answer_days, ends) + expiry.unused(db, ends),
        "given_up": expiry.model_gone(db, broker, ends),
        "guests_deleted": guests.idle(db, ends),
    }
    try:
        counts["announced"], no_photo = expiry.uploads(db, objects, broker, settings.recover_after_seconds, ends)
        counts["expired"] += no_photo
        counts["abandoned_deleted"] = photos.abandoned(db, objects, ends)
        counts["photos_deleted"] = photos.expired(db, objects, settings.photo_days, ends)
        counts["leftovers_deleted"] = photos.leftovers(db, objects, ends)
        counts["orphans_deleted"] = photos.orphans(db, objects, ends)
    except Unavailable as error:  # the events above must not wait for the object store
        log.warning("tick incomplete", error=str(error))
    if not left(ends):
        log.warning("tick cut short: the rest is for the next one")
    return counts


def _alone(tx: Tx) -> bool:
    row = tx.execute("SELECT pg_try_advisory_xact_lock(%s) AS mine", (LOCK,)).fetchone()
    return bool(row and row["mine"])
