"""Pictures that are kept no longer: copies past their time, originals that nobody needs, all of those who have left."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.recover.deadline import left
from functions.shared import naming
from functions.shared.objects import Objects, Stat
from functions.shared.postgres import Database

BATCH = 100
#: Keys the store lists at once.
PAGE = 1000
#: What the name of an upload, a UUID, may go on with.
DIGITS = "0123456789abcdef-"
#: An original that we gave no address for, as far as we know, may still be on its way to get its row.
UNKNOWN = timedelta(days=1)
#: When somebody has left, for so long something of theirs may still reach the store: an upload under way (its form
#: lives 5 minutes), a copy that `ingest` is writing.
ON_THE_WAY = timedelta(minutes=15)
#: A copy that no row knows is there because something broke between the two; nothing of ours takes longer than that.
ORPHANED = timedelta(days=7)
#: The original of what broke on our side (an analysis, a proof) stays as long as somebody may replay it.
REPLAYABLE = timedelta(days=7)


def expired(db: Database, objects: Objects, photo_days: int, ends: float) -> int:
    """Delete the pictures that were kept long enough; hashes and results stay. How many photos."""
    if not left(ends):
        return 0
    with db.transaction() as tx:
        rows = tx.execute(
            """SELECT id, kept_key, model_key FROM photos
               WHERE deleted_at IS NULL AND created_at < now() - make_interval(days => %s)
               ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED""",
            (photo_days, BATCH),
        ).fetchall()
        objects.delete([key for row in rows for key in (row["kept_key"], row["model_key"])])
        tx.execute("UPDATE photos SET deleted_at = now() WHERE id = ANY(%s)", ([row["id"] for row in rows],))
    return len(rows)


def abandoned(db: Database, objects: Objects, ends: float) -> int:
    """Delete the objects of those who have left: at once, and again when nothing can be on its way any more. How many
    keys for the first time."""
    deleted, more = 0, True
    while more and left(ends):
        with db.transaction() as tx:
            rows = tx.execute(
                """SELECT key, deleted_at FROM abandoned_objects
                   WHERE deleted_at IS NULL OR since < now() - %s::interval
                   ORDER BY since LIMIT %s FOR UPDATE SKIP LOCKED""",
                (ON_THE_WAY, PAGE),
            ).fetchall()
            keys = [row["key"] for row in rows]
            objects.delete(keys)
            tx.execute(
                "DELETE FROM abandoned_objects WHERE key = ANY(%s) AND since < now() - %s::interval", (keys, ON_THE_WAY)
            )
            tx.execute("UPDATE abandoned_objects SET deleted_at = now() WHERE key = ANY(%s)", (keys,))
        deleted += sum(row["deleted_at"] is None for row in rows)
        more = len(rows) == PAGE
    return deleted


def orphans(db: Database, objects: Objects, ends: float) -> int:
    """Delete copies that no row knows: of those who have left, should `abandoned` have missed one, or of an ingestion
    that never came to its end. How many.

    There may be millions of copies, nearly all of them in order: a tick looks at one page of them, somewhere. What is
    not named like a copy of ours is left alone.
    """
    if not left(ends):
        return 0
    everything, start = f"{naming.PHOTOS}/", f"{naming.PHOTOS}/{uuid.uuid4()}"
    page = objects.under(everything, PAGE, after=start)
    if len(page) < PAGE:
        page += objects.under(everything, PAGE - len(page))
    now = datetime.now(UTC)
    old = {
        stat.key: analysis
        for stat in page
        if now - stat.modified >= ORPHANED and (analysis := naming.analysis_of_photo(stat.key))
    }
    with db.transaction() as tx:
        rows = tx.execute(
            "SELECT kept_key, model_key FROM photos WHERE analysis_id = ANY(%s) AND deleted_at IS NULL",
            (list(set(old.values())),),
        ).fetchall()
    useless = list(old.keys() - {key for row in rows for key in (row["kept_key"], row["model_key"])})
    objects.delete(useless)
    return len(useless)


def leftovers(db: Database, objects: Objects, ends: float) -> int:
    """Delete originals nobody needs: their copies exist, or they were refused, or what they were for is over. How many.

    Where there are more than the store lists at once, one digit more of their names is looked at, and so on; in any
    order, so that a tick that runs out of time does not always leave out the same.
    """
    deleted, prefixes = 0, [f"{naming.UPLOADS}/"]
    while prefixes and left(ends):
        prefix = prefixes.pop()
        page = objects.under(prefix, PAGE)
        deleted += _sweep(db, objects, page)
        if len(page) == PAGE:
            prefixes += [prefix + digit for digit in random.sample(DIGITS, len(DIGITS))]
    return deleted


def _sweep(db: Database, objects: Objects, page: list[Stat]) -> int:
    found = {stat.key: stat for stat in page}
    owners = _owners(db, list(found))
    now = datetime.now(UTC)

    def needed(key: str) -> bool:
        owner = owners.get(key)
        young = now - found[key].modified
        if owner is None:
            return young < UNKNOWN
        if owner["reason"] == "internal":
            return young < REPLAYABLE
        return owner["status"] in ("presigned", "requested")

    useless = [key for key in found if not needed(key)]
    objects.delete(useless)
    return len(useless)


def _owners(db: Database, keys: list[str]) -> dict[str, dict[str, Any]]:
    """key → the analysis or the proof it was given out for: {key, status, reason}."""
    with db.transaction() as tx:
        rows = tx.execute(
            """SELECT key, status, failure ->> 'reason' AS reason FROM analyses WHERE key = ANY(%(keys)s)
               UNION ALL
               SELECT key, status, reason FROM proofs WHERE key = ANY(%(keys)s)""",
            {"keys": keys},
        ).fetchall()
    return {row["key"]: row for row in rows}
