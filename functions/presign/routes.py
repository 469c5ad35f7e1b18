"""Gives out addresses in the object store: one to upload a photo to, and those at which a citizen sees their photos.

With the first upload address comes the analysis id: it is in the object key and is every event's subject.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import flask
from flask import Flask
from flask.typing import ResponseReturnValue

from functions.presign import uploads
from functions.presign.answers import Granted, Photos
from functions.presign.settings import Settings
from functions.presign.signing import LIFETIME, Presigner
from functions.presign.uploads import Upload
from functions.shared import http, telemetry
from functions.shared.api import operation
from functions.shared.edge import Edge
from functions.shared.events import Event, ProofPresigned, UploadPresigned
from functions.shared.http import Problem
from functions.shared.outbox import Broker
from functions.shared.postgres import Database
from functions.shared.revocations import Revocations
from functions.shared.tokens import Verifier


def create(settings: Settings) -> Flask:
    """The app of `presign`. Nothing connects before the first request."""
    edge = Edge(settings)
    db = Database(settings.database_url, pool_size=settings.pool_size)
    broker = Broker(settings.broker_url)
    presigner = Presigner(
        endpoint=settings.s3_public_endpoint,
        bucket=settings.s3_bucket,
        region=settings.s3_region,
        access_key=settings.aws_access_key_id,
        secret_key=settings.aws_secret_access_key,
    )
    verifier = Verifier(settings.jwt_public_keys_dir, Revocations(edge.memory))
    app = http.create_app("presign", db=db, edge=edge, verifier=verifier)

    def granted(analysis_id: str, key: str, content_type: str) -> Granted:
        form = presigner.form(key, content_type)
        return {
            "id": analysis_id,
            "key": key,
            "upload": {"url": form.url, "fields": form.fields},
            "expires_at": form.expires_at.isoformat(),
        }

    @app.post("/api/v1/waste/uploads")
    @operation(
        answers={201: Granted},
        body=Upload,
        problems={
            401: ("unknown_user",),
            404: ("analysis_not_found",),
            409: ("not_verifiable", "already_graded", "too_many_proofs", "too_many_addresses"),
        },
    )
    def upload() -> ResponseReturnValue:
        """Get an address to upload a photo to. Post the photo there as a form, then ask for its analysis.

        With `after` it is the photo of a result: then ask to verify it.
        """
        user_id, wish = http.user(), http.body(Upload)
        proof: dict[str, Any] | None = None
        event: Event[UploadPresigned] | Event[ProofPresigned]
        if wish.after is None:
            event = uploads.for_analysis(db, user_id, wish.content_type)
        else:
            proof, event = uploads.for_proof(db, user_id, wish.after, wish.content_type)
        with telemetry.context(analysis_id=event.subject):
            broker.post(event)
        answer = granted(event.subject, event.data.key, wish.content_type)
        if proof:
            answer["proof_id"], answer["attempt"] = str(proof["id"]), proof["attempt"]
        return flask.jsonify(answer), 201

    @app.get("/api/v1/waste/analyses/<uuid:analysis_id>/photos")
    @operation(answers={200: Photos}, problems={404: ("analysis_not_found",)})
    def photos(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """Get addresses at which the citizen sees the photos we keep of an analysis."""
        user_id = http.user()
        until = (datetime.now(UTC) + LIFETIME).replace(microsecond=0)
        with db.transaction() as tx:
            kept = tx.execute(
                """SELECT p.proof_id, p.kept_key FROM analyses a
                   LEFT JOIN photos p ON p.analysis_id = a.id AND p.deleted_at IS NULL
                   WHERE a.id = %s AND a.user_id = %s ORDER BY p.created_at""",
                (analysis_id, user_id),
            ).fetchall()
        if not kept:
            raise Problem(404, "analysis_not_found")
        urls = {row["proof_id"]: presigner.view(row["kept_key"]) for row in kept if row["kept_key"]}
        before = urls.pop(None, None)
        after = {str(proof_id): url for proof_id, url in urls.items()}
        found: Photos = {"before": before, "after": after, "expires_at": until.isoformat()}
        return flask.jsonify(found)

    return app
