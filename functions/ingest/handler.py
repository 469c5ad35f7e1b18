"""A photo that is there and asked for → clean copies, hashes, and no trace of where it was taken.

The request and the store's event come in either order, or twice: whichever finds both the request and the photo does
the work, the others have nothing to do. Where the store's event never comes, `recover` says it. The photo asked about
and the after-photo of a proof are treated alike; what differs is in subject.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from functions.ingest import subject
from functions.ingest.photo import BadPhoto, check_size, clean
from functions.ingest.settings import Settings
from functions.ingest.subject import Occasion
from functions.shared import naming
from functions.shared.config import load
from functions.shared.events import Event
from functions.shared.function import Done, Retry
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


def handle(event: Event[Occasion], deps: Deps) -> Done:
    """`photo.v1.ingested` or `proof.v1.ingested`, or nothing while the request or the photo is missing.

    What is no photo ends its analysis (Rejected "bad_photo"), or its proof (`proof.v1.refused`).
    """
    with deps.db.transaction() as tx:
        waiting = subject.waiting(tx, event)
    if waiting is None:
        return Done()
    try:
        body = _fetch(deps.objects, waiting.key)
        if body is None:
            return Done()
        photo = clean(body)
    except BadPhoto as error:
        return waiting.refuse(error.why)

    which = "before" if waiting.attempt is None else "after"
    kept_key, model_key = (
        naming.photo_key(uuid.UUID(event.subject), size, waiting.attempt) for size in ("kept", "model")
    )
    deps.objects.put(kept_key, photo.kept, "image/jpeg")
    deps.objects.put(model_key, photo.model, "image/jpeg")
    photo_id = naming.child_id(naming.source("ingest"), waiting.proof_id or event.subject, f"photo:{which}")

    def save(tx: Tx) -> None:
        waiting.take(tx)
        tx.execute(
            """INSERT INTO photos
                   (id, analysis_id, user_id, kind, proof_id, kept_key, model_key, sha256, phash, width, height, bytes)
               SELECT %(id)s, a.id, a.user_id, %(kind)s, %(proof)s, %(kept_key)s, %(model_key)s, %(sha256)s, %(phash)s,
                      %(width)s, %(height)s, %(bytes)s
               FROM analyses a WHERE a.id = %(analysis)s""",
            {
                "id": photo_id,
                "analysis": event.subject,
                "kind": which,
                "proof": waiting.proof_id,
                "kept_key": kept_key,
                "model_key": model_key,
                "sha256": photo.sha256,
                "phash": photo.phash,
                "width": photo.width,
                "height": photo.height,
                "bytes": len(body),
            },
        )

    return Done(waiting.told(photo_id, photo), save=save, after=lambda: deps.objects.delete([waiting.key]))


def _fetch(objects: Objects, key: str) -> bytes | None:
    """The bytes that HEAD described, or None where there are none (yet, or any more). BadPhoto by their number."""
    stat = objects.head(key)
    if stat is None:
        return None
    check_size(stat.size)
    try:
        body = objects.get(key, etag=stat.etag)
    except Missing:
        return None
    except Changed as error:
        raise Retry(f"{key} was written again while it was being read") from error
    if len(body) != stat.size:
        raise Retry(f"{key}: {len(body)} of {stat.size} bytes arrived")
    return body
