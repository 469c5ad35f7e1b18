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

from functions.shared import api, history, http, outward, telemetry
from functions.shared.api import Pattern, operation
from functions.shared.budget import Budget
from functions.shared.edge import Edge
from functions.shared.embeddings import Embedder
from functions.shared.events import Event, Payload
from functions.shared.history import History, Page
from functions.shared.http import Problem, Whole
from functions.shared.lifecycle import RUNNING
from functions.shared.outbox import Broker
from functions.shared.postgres import Database
from functions.shared.revocations import Revocations
from functions.shared.search import Rulebook
from functions.shared.tokens import Verifier
from functions.waste import afterwards, analyses, answers, lookup, view
from functions.waste.analyses import Accepted, Analyze, Answer, Correction
from functions.waste.answers import Analysis
from functions.waste.settings import Settings

#: A citizen does not wait longer for meaning: the other signals answer alone.
EMBEDDING_SECONDS = 1.5

#: States of a proof or a question that something will still come of.
OPEN = {"requested", "ingested", "asked"}

_IDEMPOTENCY_KEY = r"[\x21-\x7e]{1,200}"

TOLD = api.Answer(answers.Accepted, ("Location",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Query of one analysis: an earlier round instead of the present one."""

    round: Annotated[int, Whole(1, 1000)] | None = None


def create(settings: Settings) -> Flask:
    """The app of `waste`. Nothing connects before the first request."""
    edge = Edge(settings)
    budget = Budget(edge.memory, per_user=settings.model_daily_per_user, usd=settings.model_daily_usd)
    db = Database(settings.database_url, pool_size=settings.pool_size)
    broker = Broker(settings.broker_url)
    access = (settings.openai_base_url, settings.openai_api_key, settings.embedding_model)
    rulebook = Rulebook(db, Embedder(*access, timeout=EMBEDDING_SECONDS))
    app = http.create_app(
        "waste",
        db=db,
        edge=edge,
        verifier=Verifier(settings.jwt_public_keys_dir, Revocations(edge.memory)),
    )

    def post(event: Event[Payload] | None) -> None:
        """To the broker now, or by `recover` where that fails."""
        if event:
            with telemetry.context(analysis_id=event.subject, correlation_id=event.correlation_id):
                broker.post(event)

    def tell(accepted: Accepted) -> ResponseReturnValue:
        """202 with the links."""
        post(accepted.event)
        links = outward.links(accepted.id)
        told: answers.Accepted = {
            "id": str(accepted.id),
            "status": accepted.status,
            "round": accepted.round,
            "links": links,
        }
        return flask.jsonify(told), 202, {"Location": links["self"]}

    @app.post("/api/v1/waste/analyze")
    @operation(
        answers={202: TOLD},
        body=Analyze,
        headers={"Idempotency-Key": Annotated[str, Pattern(_IDEMPOTENCY_KEY)]},
        spends=True,
        problems={
            401: ("unknown_user",),
            403: ("consent_required",),
            404: ("unknown_key",),
            409: ("upload_expired", "already_requested"),
            422: ("bad_idempotency_key", "idempotency_mismatch"),
        },
    )
    def analyze() -> ResponseReturnValue:
        """Ask for the analysis of an uploaded photo. An Idempotency-Key makes it safe to ask again."""
        user_id, wish = http.user(), http.body(Analyze)
        with budget.spending(user_id) as spend:
            accepted = analyses.request(db, user_id, wish, _idempotency_key(), spend)
        return tell(accepted)

    @app.get("/api/v1/waste/analyses/<uuid:analysis_id>")
    @operation(
        answers={200: api.Answer(Analysis, maybe=("Retry-After",))},
        query=Round,
        problems={404: ("analysis_not_found",)},
    )
    def one(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """Read an analysis as it stands. `Retry-After` comes with it while it, a proof or a question is worked on."""
        user_id, wanted = http.user(), http.query(Round)
        with db.transaction() as tx:
            row = analyses.own(tx, user_id, analysis_id)
            round_ = wanted.round or row["round"]
            if round_ > row["round"]:
                raise Problem(404, "analysis_not_found")
            document = view.analysis(tx, row, round_, http.locale())
        open_ = [one for one in (*document["proofs"], *document["questions"]) if one["status"] in OPEN]
        return flask.jsonify(document), 200, {"Retry-After": "1"} if open_ or row["status"] in RUNNING else {}

    @app.get("/api/v1/waste/analyses")
    @operation(answers={200: History}, query=Page)
    def mine() -> ResponseReturnValue:
        """List the citizen's analyses, newest first. `next` is the cursor of the following page, or null."""
        user_id, page = http.user(), http.query(Page)
        with db.transaction() as tx:
            entries, cursor = history.page(tx, user_id, page.limit, page.cursor, http.locale())
        return flask.jsonify(analyses=entries, next=cursor)

    @app.post("/api/v1/waste/analyses/<uuid:analysis_id>/answer")
    @operation(
        answers={202: TOLD},
        body=Answer,
        spends=True,
        problems={
            401: ("unknown_user",),
            403: ("consent_required",),
            404: ("analysis_not_found",),
            409: ("not_waiting",),
            422: ("unknown_option",),
        },
    )
    def answer(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """Answer the clarifying question; the guide is then made."""
        user_id, wish = http.user(), http.body(Answer)
        with budget.spending(user_id) as spend:
            accepted = analyses.answer(db, user_id, analysis_id, wish, spend)
        return tell(accepted)

    @app.post("/api/v1/waste/analyses/<uuid:analysis_id>/correction")
    @operation(
        answers={202: TOLD},
        body=Correction,
        spends=True,
        problems={
            401: ("unknown_user",),
            403: ("consent_required",),
            404: ("analysis_not_found",),
            409: ("not_correctable",),
            422: ("correction_unclear", "unknown_candidate", "same_item", "words_not_found"),
        },
    )
    def correction(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """Say what it really is. The guide is made again for that, or one more question is asked."""
        user_id, wish = http.user(), http.body(Correction)
        with budget.spending(user_id) as spend:
            accepted = analyses.correct(db, rulebook, user_id, analysis_id, wish, spend=spend)
        return tell(accepted)

    app.register_blueprint(afterwards.blueprint(db, budget, post))
    app.register_blueprint(lookup.blueprint(rulebook))
    return app


def _idempotency_key() -> str | None:
    given = request.headers.get("Idempotency-Key")
    if given is not None and not re.fullmatch(_IDEMPOTENCY_KEY, given):
        raise Problem(422, "bad_idempotency_key")
    return given
