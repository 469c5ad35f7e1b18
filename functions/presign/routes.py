"""Gives out one upload address, and with it the analysis id: it is in the object key and is every event's subject."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import flask
from flask import Flask
from flask.typing import ResponseReturnValue
from psycopg.errors import ForeignKeyViolation

from functions.presign.settings import Settings
from functions.presign.signing import Presigner
from functions.shared import http, naming, outbox, telemetry
from functions.shared.events import Event, UploadPresigned
from functions.shared.outbox import Broker
from functions.shared.postgres import Database
from functions.shared.tokens import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Body of POST /uploads: what kind of photo will come."""

    content_type: Literal["image/jpeg", "image/png", "image/webp", "image/heic"]


def create(settings: Settings) -> Flask:
    """The app of `presign`. Nothing connects before the first request."""
    db = Database(settings.database_url, pool_size=settings.pool_size)
    broker = Broker(settings.broker_url)
    presigner = Presigner(
        endpoint=settings.s3_public_endpoint,
        bucket=settings.s3_bucket,
        region=settings.s3_region,
        access_key=settings.aws_access_key_id,
        secret_key=settings.aws_secret_access_key,
    )
    app = http.create_app("presign", db=db, verifier=Verifier(settings.jwt_public_keys_dir))

    @app.post("/api/v1/waste/uploads")
    def upload() -> ResponseReturnValue:
        """201 {id, key, upload: {url, fields}, expires_at}: post the photo there, then ask for its analysis."""
        user_id, wish = http.user(), http.body(Upload)
        analysis_id = uuid.uuid4()
        key = naming.upload_key(analysis_id, wish.content_type)
        event = _announcement(analysis_id, key)
        try:
            with db.transaction() as tx:
                tx.execute(
                    """INSERT INTO analyses (id, user_id, status, key, content_type, correlation_id)
                       VALUES (%s, %s, 'presigned', %s, %s, %s)""",
                    (analysis_id, user_id, key, wish.content_type, event.correlation_id),
                )
                outbox.append(tx, event)
        except ForeignKeyViolation as error:
            raise http.unknown_user() from error
        form = presigner.form(key, wish.content_type)
        with telemetry.context(analysis_id=str(analysis_id)):
            broker.post(event)
        answer = flask.jsonify(
            id=str(analysis_id),
            key=key,
            upload={"url": form.url, "fields": form.fields},
            expires_at=form.expires_at.isoformat(),
        )
        return answer, 201

    return app


def _announcement(analysis_id: uuid.UUID, key: str) -> Event[UploadPresigned]:
    here = naming.source("presign")
    return Event(
        id=naming.child_id(here, str(analysis_id), UploadPresigned.TYPE),
        source=here,
        subject=str(analysis_id),
        data=UploadPresigned(key=key),
        time=datetime.now(UTC),
        correlation_id=telemetry.correlation_id(),
        traceparent=http.traceparent(),
    )
