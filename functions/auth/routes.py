"""Who somebody is: guests and sessions, and whether photos may go to the model provider. Passwords: credentials.py.

Whoever shows who they are, as a guest too, gets a session (functions/auth/sessions.py). All that opens, renews or ends
one needs Redis and answers 503 without it.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from typing import Annotated, Any

import flask
from flask import Flask, request
from flask.typing import ResponseReturnValue

from functions.auth import credentials
from functions.auth.answers import Person, PublicKeys, SignedIn
from functions.auth.guessing import Guessing
from functions.auth.passwords import Passwords
from functions.auth.sessions import SECRET, Gone, Owner, Sessions, Used
from functions.auth.settings import Settings
from functions.shared import http, tokens
from functions.shared.api import Answer, operation
from functions.shared.edge import Edge
from functions.shared.http import Problem, Text
from functions.shared.limits import Limits
from functions.shared.postgres import Database
from functions.shared.revocations import Revocations
from functions.shared.tokens import Signer, Verifier

#: Outsiders may keep our public keys for so many seconds; a key is announced for longer before it signs.
JWKS_SECONDS = 300

HOUR = 3600.0

RefreshToken = Annotated[str, Text(1, 200)]
Secret = Annotated[str, Text(SECRET, SECRET, pattern=rf"[A-Za-z0-9_-]{{{SECRET}}}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """Body of POST /consent: may photos be sent to the model provider?"""

    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """Body of POST /refresh. `next`: 32 new random bytes (base64url), the last 43 characters of the next refresh token.

    Who keeps it before asking can ask again after a lost answer.
    """

    refresh_token: RefreshToken
    next: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logout:
    """Body of POST /logout, which may be missing. Without the refresh token the session can still be renewed."""

    refresh_token: RefreshToken | None = None


def create(settings: Settings) -> Flask:
    """The app of `auth`. Nothing connects before the first request."""
    edge = Edge(settings)
    db = Database(settings.database_url, pool_size=settings.pool_size)
    signer = Signer(settings.jwt_private_key_file)
    verifier = Verifier(settings.jwt_public_keys_dir, Revocations(edge.memory))
    sessions = Sessions(edge.memory, signer, grace=settings.refresh_grace_seconds)
    guessing = Guessing(edge.memory, per_account=settings.tries_per_account, per_address=settings.tries_per_address)
    newcomers = Limits(edge.memory, settings.guests_per_hour, HOUR)
    app = http.create_app("auth", db=db, edge=edge, verifier=verifier, ping=signer.ping)
    app.register_blueprint(credentials.blueprint(db, edge, sessions, guessing, Passwords(settings.bcrypt_cost)))

    @app.post("/api/v1/auth/guest")
    @operation(answers={201: SignedIn}, problems={429: ("too_many_guests",)}, access="public")
    def guest() -> ResponseReturnValue:
        """Become a guest: a new user nobody knows anything about, and a session.

        From one internet address that works only a number of times an hour.
        """
        standing = newcomers.count(f"guest:{edge.address()}")
        if not standing.admitted:
            minutes = math.ceil(standing.reset / 60)
            raise Problem(429, "too_many_guests", headers={"Retry-After": str(standing.reset)}, minutes=minutes)
        user_id = uuid.uuid4()
        session = sessions.open(Owner(user_id, "guest"), sessions.now())
        with db.transaction() as tx:
            tx.execute("INSERT INTO users (id, kind) VALUES (%s, 'guest')", (user_id,))
        return flask.jsonify(session.told()), 201

    @app.post("/api/v1/auth/refresh")
    @operation(
        answers={200: SignedIn},
        body=Refresh,
        problems={401: ("bad_refresh", "unknown_user"), 409: ("refresh_used",)},
        access="public",
    )
    def refresh() -> ResponseReturnValue:
        """Renew a session with its refresh token, which is good for one use.

        A used token is 409 `refresh_used` for some seconds; after that its use ends the whole session. With the `next`
        of its first use it may be used again, until the next token is: the answer is the same next token.
        """
        return flask.jsonify(_renewed(db, sessions, http.body(Refresh)))

    @app.post("/api/v1/auth/logout")
    @operation(answers={204: None}, body=Logout | None)
    def logout() -> ResponseReturnValue:
        """Log out. The access token is refused from now on, and so is all that its refresh token would have led to."""
        user_id = http.user()
        wish = http.body(Logout) if request.get_data() else Logout()
        if wish.refresh_token:
            sessions.close(wish.refresh_token, user_id)
        if request.authorization and request.authorization.token:
            claims = verifier.claims(request.authorization.token)
            sessions.revoke(claims.jti, claims.expires_at)
        return "", 204

    @app.get("/api/v1/auth/me")
    @operation(answers={200: Person}, problems={401: ("unknown_user",)})
    def me() -> ResponseReturnValue:
        """Read whom the token speaks for."""
        user_id = http.user()
        with db.transaction() as tx:
            row = tx.execute("SELECT id, kind, consent_at FROM users WHERE id = %s", (user_id,)).fetchone()
        return _person(row)

    @app.post("/api/v1/auth/consent")
    @operation(answers={200: Person}, body=Consent, problems={401: ("unknown_user",)})
    def consent() -> ResponseReturnValue:
        """Give or withdraw the consent that photos go to the model provider. Nothing is analysed without it."""
        user_id, wish = http.user(), http.body(Consent)
        with db.transaction() as tx:
            row = tx.execute(
                """UPDATE users SET consent_at = CASE WHEN %s THEN coalesce(consent_at, now()) END
                   WHERE id = %s RETURNING id, kind, consent_at""",
                (wish.granted, user_id),
            ).fetchone()
        return _person(row)

    @app.get("/api/v1/auth/jwks")
    @operation(answers={200: Answer(PublicKeys, ("Cache-Control",))}, access="public")
    def jwks() -> ResponseReturnValue:
        """Get the public keys with which anybody can verify our access tokens (RFC 7517)."""
        response = flask.jsonify(tokens.jwks(settings.jwt_public_keys_dir))
        response.headers["Cache-Control"] = f"public, max-age={JWKS_SECONDS}"
        return response

    return app


def _renewed(db: Database, sessions: Sessions, wish: Refresh) -> SignedIn:
    if wish.next and wish.refresh_token.endswith(wish.next):
        raise http.invalid("next", "characters")
    try:
        owner = sessions.owner(wish.refresh_token)
        user = db.read("SELECT kind FROM users WHERE id = %(id)s", {"id": owner.user_id})
        if not user:
            raise http.unknown_user()
        if user[0]["kind"] != owner.kind:  # of the guest before the sign-up: Redis was away when it should have ended
            raise Gone
        return sessions.renew(wish.refresh_token, owner, wish.next).told()
    except Used as error:
        raise Problem(409, "refresh_used") from error
    except Gone as error:
        raise Problem(401, "bad_refresh", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}) from error


def _person(row: dict[str, Any] | None) -> ResponseReturnValue:
    if row is None:
        raise http.unknown_user()
    person: Person = {"user_id": str(row["id"]), "kind": row["kind"], "consent": row["consent_at"] is not None}
    return flask.jsonify(person)
