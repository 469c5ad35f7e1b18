"""A photo that is there and asked for → clean copies, hashes, and no trace of where it was taken.

The request and the store's event come in either order, or twice: whichever finds both the request and the photo does
the work, the others have nothing to do. Where the store's event never comes, `recover` says it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from functions.ingest.photo import BadPhoto, check_size, clean
from functions.ingest.settings import Settings
from functions.shared import lifecycle, naming
from functions.shared.config import load
from functions.shared.events import AnalysisRequested, Event, PhotoIngested, UploadStored
from functions.shared.function import Done, Rejected, Retry
from functions.shared.objects import Changed, Missing, Objects
from functions.shared.postgres import Database, Tx


@dataclass
class Deps:
    """The database and the object store."""

    db: Database
    objects: Objects

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        settings = load(Settings, environ)
        return cls(
            db=Database(settings.database_url, pool_size=settings.pool_size),
            objects=Objects(
                endpoint=settings.s3_endpoint,
                region=settings.s3_region,
                bucket=settings.s3_bucket,
                access_key=settings.aws_access_key_id,
                secret_key=settings.aws_secret_access_key,
            ),
        )

    def ping(self) -> None:
        self.db.ping()
        self.objects.ping()

    def close(self) -> None:
        self.db.close()


def handle(event: Event[UploadStored | AnalysisRequested], deps: Deps) -> Done:
    """`photo.v1.ingested`, or nothing while the request or the photo is missing. Rejected("bad_photo", why)."""
    with deps.db.transaction() as tx:
        analysis = tx.execute("SELECT status, key FROM analyses WHERE id = %s", (event.subject,)).fetchone()
    if analysis is None or analysis["status"] != "requested":
        return Done()
    key: str = analysis["key"]
    body = _fetch(deps.objects, key)
    if body is None:
        return Done()
    try:
        photo = clean(body)
    except BadPhoto as error:
        raise Rejected("bad_photo", error.why) from error

    kept_key, model_key = (naming.photo_key(uuid.UUID(event.subject), size) for size in ("kept", "model"))
    deps.objects.put(kept_key, photo.kept, "image/jpeg")
    deps.objects.put(model_key, photo.model, "image/jpeg")
    photo_id = naming.child_id(naming.source("ingest"), event.subject, "photo:before")

    def save(tx: Tx) -> None:
        lifecycle.advance(tx, event.subject, frm={"requested"}, to="ingested")
        tx.execute(
            """INSERT INTO photos
                   (id, analysis_id, user_id, kind, kept_key, model_key, sha256, phash, width, height, bytes)
               SELECT %(id)s, a.id, a.user_id, 'before', %(kept_key)s, %(model_key)s, %(sha256)s, %(phash)s,
                      %(width)s, %(height)s, %(bytes)s
               FROM analyses a WHERE a.id = %(analysis)s""",
            {
                "id": photo_id,
                "analysis": event.subject,
                "kept_key": kept_key,
                "model_key": model_key,
                "sha256": photo.sha256,
                "phash": photo.phash,
                "width": photo.width,
                "height": photo.height,
                "bytes": len(body),
            },
        )

    return Done(
        PhotoIngested(photo_id=photo_id, sha256=photo.sha256, width=photo.width, height=photo.height),
        save=save,
        after=lambda: deps.objects.delete([key]),
    )


def _fetch(objects: Objects, key: str) -> bytes | None:
    """The bytes that HEAD described, or None where there are none (yet, or any more)."""
    stat = objects.head(key)
    if stat is None:
        return None
    try:
        check_size(stat.size)
    except BadPhoto as error:
        raise Rejected("bad_photo", error.why) from error
    try:
        body = objects.get(key, etag=stat.etag)
    except Missing:
        return None
    except Changed as error:
        raise Retry(f"{key} was written again while it was being read") from error
    if len(body) != stat.size:
        raise Retry(f"{key}: {len(body)} of {stat.size} bytes arrived")
    return body
