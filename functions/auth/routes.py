"""Guests get a token, say whether their photos may go to the model provider, and can look at what we keep of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import flask
from flask import Flask
from flask.typing import ResponseReturnValue

from functions.auth.settings import Settings
from functions.shared import http
from functions.shared.postgres import Database
from functions.shared.tokens import Signer, Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """Body of POST /consent: may photos be sent to the model provider?"""

    granted: bool


def create(settings: Settings) -> Flask:
    """The app of `auth`. Nothing connects before the first request."""
    db = Database(settings.database_url, pool_size=settings.pool_size)
    signer = Signer(settings.jwt_private_key_file)
    verifier = Verifier(settings.jwt_public_keys_dir)
    app = http.create_app("auth", db=db, verifier=verifier, ping=signer.ping)

    @app.post("/api/v1/auth/guest")
    def guest() -> ResponseReturnValue:
        """201 {token, user_id, expires_in}: a new user nobody knows anything about, good for 30 days."""
        user_id = uuid.uuid4()
        issued = signer.issue(user_id)
        with db.transaction() as tx:
            tx.execute("INSERT INTO users (id, kind) VALUES (%s, 'guest')", (user_id,))
        return flask.jsonify(token=issued.token, user_id=str(user_id), expires_in=issued.expires_in), 201

    @app.get("/api/v1/auth/me")
    def me() -> ResponseReturnValue:
        """{user_id, kind, consent}."""
        user_id = http.user()
        with db.transaction() as tx:
            row = tx.execute("SELECT id, kind, consent_at FROM users WHERE id = %s", (user_id,)).fetchone()
        return _person(row)

    @app.post("/api/v1/auth/consent")
    def consent() -> ResponseReturnValue:
        """Keep or withdraw the consent; the time it was first given is kept. Answers like GET /me."""
        user_id, wish = http.user(), http.body(Consent)
        with db.transaction() as tx:
            row = tx.execute(
                """UPDATE users SET consent_at = CASE WHEN %s THEN coalesce(consent_at, now()) END
                   WHERE id = %s RETURNING id, kind, consent_at""",
                (wish.granted, user_id),
            ).fetchone()
        return _person(row)

    return app


def _person(row: dict[str, object] | None) -> ResponseReturnValue:
    if row is None:
        raise http.unknown_user()
    return flask.jsonify(user_id=str(row["id"]), kind=row["kind"], consent=row["consent_at"] is not None)
