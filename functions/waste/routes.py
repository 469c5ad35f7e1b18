"""The public API of an analysis: ask, look, answer, correct, history.

What may follow a guide is in afterwards.py, items and rules are in lookup.py.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Annotated

import flask
from flask import Flask, request
from flask.typing import ResponseReturnValue

from functions.shared import http, telemetry
from functions.shared.embeddings import Embedder
from functions.shared.events import Event, Payload
from functions.shared.http import Problem, Text, Whole
from functions.shared.lifecycle import RUNNING
from functions.shared.outbox import Broker
from functions.shared.postgres import Database
from functions.shared.search import Rulebook
from functions.shared.tokens import Verifier
from functions.waste import afterwards, analyses, history, lookup, view
from functions.waste.analyses import Accepted, Analyze, Answer, Correction
from functions.waste.settings import Settings

#: A citizen does not wait longer for meaning: the other signals answer alone.
EMBEDDING_SECONDS = 1.5

#: States of a proof or a question that something will still come of.
OPEN = {"requested", "ingested", "asked"}

_IDEMPOTENCY_KEY = re.compile(r"^[\x21-\x7e]{1,200}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Query of the history."""

    limit: Annotated[int, Whole(1, 50)] = 20
    cursor: Annotated[str, Text(1, 200)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Query of one analysis: an earlier round instead of the present one."""

    round: Annotated[int, Whole(1, 1000)] | None = None


def create(settings: Settings) -> Flask:
    """The app of `waste`. Nothing connects before the first request."""
    db = Database(settings.database_url, pool_size=settings.pool_size)
    broker = Broker(settings.broker_url)
    embedder = Embedder(
        settings.openai_base_url, settings.openai_api_key, settings.embedding_model, timeout=EMBEDDING_SECONDS
    )
    rulebook = Rulebook(db, embedder)
    app = http.create_app("waste", db=db, verifier=Verifier(settings.jwt_public_keys_dir))

    def post(event: Event[Payload] | None) -> None:
        """To the broker now, or by `recover` where that fails."""
        if event:
            with telemetry.context(analysis_id=event.subject, correlation_id=event.correlation_id):
                broker.post(event)

    def tell(accepted: Accepted) -> ResponseReturnValue:
        """202 with the links."""
        post(accepted.event)
        links = analyses.links(accepted.id)
        answer = flask.jsonify(id=str(accepted.id), status=accepted.status, round=accepted.round, links=links)
        return answer, 202, {"Location": links["self"]}

    @app.post("/api/v1/waste/analyze")
    def analyze() -> ResponseReturnValue:
        """202: the analysis of an uploaded photo has begun. An Idempotency-Key makes it safe to ask again."""
        return tell(analyses.request(db, http.user(), http.body(Analyze), _idempotency_key()))

    @app.get("/api/v1/waste/analyses/<uuid:analysis_id>")
    def one(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """The analysis as it stands; `Retry-After` while it is being worked on."""
        user_id, wanted = http.user(), http.query(Round)
        with db.transaction() as tx:
            row = analyses.own(tx, user_id, analysis_id)
            round_ = wanted.round or row["round"]
            if round_ > row["round"]:
                raise Problem(404, "analysis_not_found")
            document = view.analysis(tx, row, round_, http.locale())
        open_ = [one for one in document["proofs"] + document["questions"] if one["status"] in OPEN]
        return flask.jsonify(document), 200, {"Retry-After": "1"} if open_ or row["status"] in RUNNING else {}

    @app.get("/api/v1/waste/analyses")
    def mine() -> ResponseReturnValue:
        """{analyses, next}: newest first; `next` is the cursor of the following page, or null."""
        user_id, page = http.user(), http.query(Page)
        with db.transaction() as tx:
            entries, cursor = history.page(tx, user_id, page.limit, page.cursor, http.locale())
        return flask.jsonify(analyses=entries, next=cursor)

    @app.post("/api/v1/waste/analyses/<uuid:analysis_id>/answer")
    def answer(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """202: the clarifying question is answered and the guide is being made."""
        return tell(analyses.answer(db, http.user(), analysis_id, http.body(Answer)))

    @app.post("/api/v1/waste/analyses/<uuid:analysis_id>/correction")
    def correction(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """202: the guide is being made again for what the citizen says it is (or one more question is asked)."""
        return tell(analyses.correct(db, rulebook, http.user(), analysis_id, http.body(Correction)))

    app.register_blueprint(afterwards.blueprint(db, post))
    app.register_blueprint(lookup.blueprint(rulebook))
    return app


def _idempotency_key() -> str | None:
    given = request.headers.get("Idempotency-Key")
    if given is not None and not _IDEMPOTENCY_KEY.match(given):
        raise Problem(422, "bad_idempotency_key")
    return given
