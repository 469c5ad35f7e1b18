"""What may follow a guide: show the result to be graded, contest the grade, ask more."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import flask
from flask import Blueprint
from flask.typing import ResponseReturnValue

from functions.shared import http
from functions.shared.events import Event, Payload
from functions.shared.postgres import Database
from functions.waste import analyses, proofs, questions, shown
from functions.waste.proofs import Dispute, Verify
from functions.waste.questions import Ask


def blueprint(db: Database, post: Callable[[Event[Payload] | None], None]) -> Blueprint:
    """The three doors; `post` tells the broker, where there is something to tell."""
    here = Blueprint("afterwards", __name__, url_prefix="/api/v1/waste/analyses/<uuid:analysis_id>")

    @here.post("/verify")
    def verify(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """202 {id, proof, links}: the after-photo is being graded (or has been: the same key is the same proof)."""
        proof_id, event = proofs.verify(db, http.user(), analysis_id, http.body(Verify))
        post(event)
        with db.transaction() as tx:
            proof = next(p for p in shown.proofs(tx, analysis_id, http.locale()) if p["id"] == str(proof_id))
        links = analyses.links(analysis_id)
        return flask.jsonify(id=str(analysis_id), proof=proof, links=links), 202, {"Location": links["self"]}

    @here.post("/dispute")
    def dispute(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """201 {proof_id, reason, created_at}: kept beside the grade for an operator to read."""
        return flask.jsonify(shown.dispute(proofs.dispute(db, http.user(), analysis_id, http.body(Dispute)))), 201

    @here.post("/questions")
    def question(analysis_id: uuid.UUID) -> ResponseReturnValue:
        """202 {id, question, links}: the answer will stand in the thread of the analysis."""
        question_id, event = questions.ask(db, http.user(), analysis_id, http.body(Ask))
        post(event)
        with db.transaction() as tx:
            asked = next(q for q in shown.questions(tx, analysis_id) if q["id"] == question_id)
        links = analyses.links(analysis_id)
        return flask.jsonify(id=str(analysis_id), question=asked, links=links), 202, {"Location": links["self"]}

    return here
