"""The citizen themselves: profile, history, everything we keep of them as a file, and leaving."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime

import flask
from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from functions.shared import history, http, leaving, revocations, telemetry
from functions.shared.api import Answer, operation
from functions.shared.history import History, Page
from functions.shared.http import Problem
from functions.shared.memory import Away, Memory
from functions.shared.postgres import Database, Tx
from functions.shared.tokens import Verifier
from functions.users import export, profile
from functions.users.citizen import GONE, Nothing, citizen
from functions.users.exported import Export
from functions.users.profile import Change, Profile

#: Who deletes an account must have given its password so many seconds ago at most.
RECENT_SECONDS = 300

log = telemetry.logger("users")


def blueprint(db: Database, memory: Memory, verifier: Verifier) -> Blueprint:
    """Everything right below /api/v1/users/me."""
    here = Blueprint("me", __name__, url_prefix="/api/v1/users/me")

    @here.get("")
    @operation(answers={200: Profile}, problems=GONE)
    def me() -> ResponseReturnValue:
        """Read the profile."""
        with citizen(db) as (tx, user_id):
            http.query(Nothing)
            return flask.jsonify(profile.read(tx, user_id))

    @here.patch("")
    @operation(answers={200: Profile}, body=Change, problems=GONE)
    def change() -> ResponseReturnValue:
        """Change what is named of the profile and leave the rest (RFC 7396). It answers like GET."""
        with citizen(db) as (tx, user_id):
            wish = http.body(Change)
            profile.change(tx, user_id, wish, request.get_json().keys())
            return flask.jsonify(profile.read(tx, user_id))

    @here.get("/history")
    @operation(answers={200: History}, query=Page, problems=GONE)
    def past() -> ResponseReturnValue:
        """List the citizen's analyses, newest first: the same pages as GET /api/v1/waste/analyses."""
        with citizen(db) as (tx, user_id):
            page = http.query(Page)
            entries, cursor = history.page(tx, user_id, page.limit, page.cursor, http.locale())
            return flask.jsonify(analyses=entries, next=cursor)

    @here.get("/export")
    @operation(answers={200: Answer(Export, ("Content-Disposition",))}, problems=GONE)
    def everything() -> ResponseReturnValue:
        """Download all that we keep of the citizen, as one JSON file."""
        with citizen(db) as (_, user_id):
            http.query(Nothing)
        now = datetime.now(UTC)
        disposition = f'attachment; filename="growbin-export-{now:%Y-%m-%d}.json"'
        return flask.Response(
            export.document(db, user_id, now),
            content_type="application/json",
            headers={"Content-Disposition": disposition},
        )

    @here.delete("")
    @operation(answers={204: None}, body=Nothing | None, problems={**GONE, 403: ("recent_login_required",)})
    def leave() -> ResponseReturnValue:
        """Leave: nothing is kept of the citizen any more. Their photos are deleted within minutes.

        Of an account the password must just have been given (403 `recent_login_required`).
        """
        with citizen(db) as (tx, user_id):
            if request.get_data():
                http.body(Nothing)
            kind = profile.read(tx, user_id)["kind"]
        if kind == "account" and not _just_signed_in(verifier):
            raise Problem(403, "recent_login_required")
        with db.transaction() as tx:
            left = leaving.leave(tx, user_id, if_still=lambda: _be_still(tx, user_id, kind))
        if not left:
            raise http.unknown_user()
        try:
            revocations.end_all(memory, user_id)
        except Away:  # nobody is left whom their tokens could speak for
            log.warning("a citizen has left, their tokens are good until they expire")
        log.info("a citizen has left", kind=kind)
        return "", 204

    return here


def _be_still(tx: Tx, user_id: uuid.UUID, kind: str) -> None:
    """Problem 403 where the guest has just become an account."""
    if profile.read(tx, user_id)["kind"] != kind:
        raise Problem(403, "recent_login_required")


def _just_signed_in(verifier: Verifier) -> bool:
    """Whether the request's token, which was verified before, came from a password given just now."""
    given = request.authorization
    assert given is not None
    at = verifier.claims(given.token or "").signed_in_at
    return at is not None and time.time() - at <= RECENT_SECONDS
