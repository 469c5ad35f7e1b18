"""What may follow a guide: show the result to be graded, contest the grade, ask more."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import flask
from flask import Blueprint
from flask.typing import ResponseReturnValue

from functions.shared import api, http, outward
from functions.shared.api import operation
from functions.shared.budget import Budget
from functions.shared.events import Event, Payload
from functions.shared.postgres import Database
from functions.waste import answers, proofs, questions, shown
from functions.waste.proofs import Dispute, Verify
from functions.waste.questions import Ask


def blueprint(db: Database, budget: Budget, post: Callable[[Event[Payload] | None], None]) -> Blueprint:
    """The three doors; `post` tells the broker, where there is something to tell."""
    here = Blueprint("afterwards", __name__, url_prefix="/api/v1/waste/analyses/<uuid:analysis_id>")

    @here.post("/verify")
    @operation(
        answers={202: api.Answer(answers.Verifying, ("Location",))},
        body=Verify,
        spends=True,
        problems={
            401: ("unknown_user",),
            403: ("consent_required",),
            404: ("analysis_not_found", "unknown_key"),
            409: ("upload_expired", "already_verifying", "not_verifiable", "already_graded", "too_many_proofs"),
            422: ("unknown_step",),
        },
    )
    def verify(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """Have an uploaded after-photo graded. The same key again is the same proof."""
        user_id, wish = http.user(), http.body(Verify)
        with budget.spending(user_id) as spend:
            proof_id, event = proofs.verify(db, user_id, analysis_id, wish, spend)
        post(event)
        with db.transaction() as tx:
            proof = next(p for p in shown.proofs(tx, analysis_id, http.locale()) if p["id"] == str(proof_id))
        links = outward.links(analysis_id)
        told: answers.Verifying = {"id": str(analysis_id), "proof": proof, "links": links}
        return flask.jsonify(told), 202, {"Location": links["self"]}

    @here.post("/dispute")
    @operation(
        answers={201: answers.Contested},
        body=Dispute,
        problems={404: ("analysis_not_found",), 409: ("nothing_to_dispute", "already_disputed")},
    )
    def dispute(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """Contest a grade or a refusal. It is kept beside the grade for an operator to read."""
        return flask.jsonify(shown.dispute(proofs.dispute(db, http.user(), analysis_id, http.body(Dispute)))), 201

    @here.post("/questions")
    @operation(
        answers={202: api.Answer(answers.Asked, ("Location",))},
        body=Ask,
        spends=True,
        problems={
            401: ("unknown_user",),
            403: ("consent_required",),
            404: ("analysis_not_found",),
            409: ("no_guide", "too_many_questions"),
        },
    )
    def question(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """Ask more about the present guide. The answer will stand in the thread of the analysis."""
        user_id, wish = http.user(), http.body(Ask)
        with budget.spending(user_id) as spend:
            question_id, event = questions.ask(db, user_id, analysis_id, wish, spend)
        post(event)
        with db.transaction() as tx:
            asked = next(q for q in shown.questions(tx, analysis_id) if q["id"] == question_id)
        links = outward.links(analysis_id)
        told: answers.Asked = {"id": str(analysis_id), "question": asked, "links": links}
        return flask.jsonify(told), 202, {"Location": links["self"]}

    return here
