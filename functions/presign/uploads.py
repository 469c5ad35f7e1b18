"""What an upload address is given out for: a new analysis, or a proof of one that has its guide."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from psycopg.errors import ForeignKeyViolation

from functions.shared import http, naming, outbox, proofs, telemetry
from functions.shared.events import Event, ProofPresigned, UploadPresigned
from functions.shared.http import Problem
from functions.shared.postgres import Database, Tx

P = TypeVar("P", UploadPresigned, ProofPresigned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Body of POST /uploads: what kind of photo will come; `after`: the analysis whose result it will show."""

    content_type: Literal["image/jpeg", "image/png", "image/webp", "image/heic"]
    after: uuid.UUID | None = None


def for_analysis(db: Database, user_id: uuid.UUID, content_type: str) -> Event[UploadPresigned]:
    """A new analysis waits for its photo; the event that wakes the functions it will need."""
    analysis_id = uuid.uuid4()
    key = naming.upload_key(analysis_id, content_type)
    event = _announcement(analysis_id, UploadPresigned.TYPE, UploadPresigned(key=key), telemetry.correlation_id())
    try:
        with db.transaction() as tx:
            tx.execute(
                """INSERT INTO analyses (id, user_id, status, key, content_type, correlation_id)
                   VALUES (%s, %s, 'presigned', %s, %s, %s)""",
                (analysis_id, user_id, event.data.key, content_type, event.correlation_id),
            )
            outbox.append(tx, event)
    except ForeignKeyViolation as error:
        raise http.unknown_user() from error
    return event


def for_proof(
    db: Database, user_id: uuid.UUID, analysis_id: uuid.UUID, content_type: str
) -> tuple[dict[str, Any], Event[ProofPresigned]]:
    """The next attempt to prove that the guide of `analysis_id` was followed: its row of `proofs`, and the event that
    wakes `grade`."""
    with db.transaction() as tx:
        row = _own(tx, user_id, analysis_id)
        if (why := proofs.obstacle(tx, row)) is not None:
            raise Problem(409, why, members={"id": str(row["id"])})
        last = tx.execute("SELECT max(attempt) AS n FROM proofs WHERE analysis_id = %s", (row["id"],)).fetchone()
        attempt = ((last and last["n"]) or 0) + 1
        made = tx.execute(
            """INSERT INTO proofs (id, analysis_id, user_id, attempt, status, key, content_type)
               VALUES (%s, %s, %s, %s, 'presigned', %s, %s) RETURNING *""",
            (
                naming.child_id(naming.source("presign"), str(row["id"]), f"proof:{attempt}"),
                row["id"],
                user_id,
                attempt,
                naming.upload_key(row["id"], content_type, attempt),
                content_type,
            ),
        ).fetchone()
        assert made is not None
        said = ProofPresigned(key=made["key"])
        event = _announcement(row["id"], f"{said.TYPE}:{attempt}", said, row["correlation_id"])
        outbox.append(tx, event)
        return made, event


def _own(tx: Tx, user_id: uuid.UUID, analysis_id: uuid.UUID) -> dict[str, Any]:
    """The user's analysis, locked, so that two attempts at once are numbered one after the other."""
    row = tx.execute(
        "SELECT * FROM analyses WHERE id = %s AND user_id = %s FOR NO KEY UPDATE", (analysis_id, user_id)
    ).fetchone()
    if row is None:
        raise Problem(404, "analysis_not_found")
    return row


def _announcement(analysis_id: uuid.UUID, step: str, said: P, correlation_id: str) -> Event[P]:
    here = naming.source("presign")
    return Event(
        id=naming.child_id(here, str(analysis_id), step),
        source=here,
        subject=str(analysis_id),
        data=said,
        time=datetime.now(UTC),
        correlation_id=correlation_id,
        traceparent=http.traceparent(correlation_id),
    )
