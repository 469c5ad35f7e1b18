"""What a citizen's history says of them: statistics, lessons with their quiz, weekly reports. The rest is in me.py."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

import flask
from flask import Flask
from flask.typing import ResponseReturnValue

from functions.shared import http
from functions.shared.api import operation
from functions.shared.edge import Edge
from functions.shared.postgres import Database
from functions.shared.regions import KOREA
from functions.shared.revocations import Revocations
from functions.shared.search import Rulebook
from functions.shared.tokens import Verifier
from functions.users import answers, me, stats
from functions.users.citizen import GONE, Nothing, citizen
from functions.users.lessons import Answers, Lessons
from functions.users.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Query of the statistics."""

    period: answers.Period = "month"


def create(settings: Settings) -> Flask:
    """The app of `users`. Nothing connects before the first request."""
    edge = Edge(settings)
    db = Database(settings.database_url, pool_size=settings.pool_size)
    lessons = Lessons(db, Rulebook(db, None))  # rules are looked up by item: no question, no embedding
    verifier = Verifier(settings.jwt_public_keys_dir, Revocations(edge.memory))
    app = http.create_app("users", db=db, edge=edge, verifier=verifier)

    @app.get("/api/v1/users/me/stats")
    @operation(answers={200: answers.Stats}, query=Period, problems=GONE)
    def statistics() -> ResponseReturnValue:
        """Read the statistics of a period. It ends today, in Korea; a week has 7 days, a month 30, a year 365."""
        with citizen(db) as (tx, user_id):
            period, today = http.query(Period).period, datetime.now(KOREA).date()
            return flask.jsonify(stats.stats(tx, user_id, period, today, http.locale()))

    @app.get("/api/v1/users/me/reports")
    @operation(answers={200: answers.Reports}, problems=GONE)
    def reports() -> ResponseReturnValue:
        """List the weekly reports, newest first."""
        with citizen(db) as (tx, user_id):
            http.query(Nothing)
            return flask.jsonify(reports=stats.reports(tx, user_id, http.locale()))

    @app.get("/api/v1/users/me/lessons")
    @operation(answers={200: answers.AllLessons}, problems=GONE)
    def all_lessons() -> ResponseReturnValue:
        """List what is still to be learned, each with its rule and its quiz."""
        with citizen(db) as (_, user_id):
            http.query(Nothing)
        return flask.jsonify(lessons.read(user_id, http.locale()))

    @app.post("/api/v1/users/me/lessons/<uuid:lesson_id>/answers")
    @operation(
        answers={201: answers.QuizResult},
        body=Answers,
        problems={**GONE, 404: ("lesson_not_found",), 422: ("quiz_incomplete", "unknown_option")},
    )
    def take(lesson_id: uuid.UUID) -> ResponseReturnValue:
        """Take the quiz of a lesson: one option for each question. The answer says which are right, and why."""
        with citizen(db) as (_, user_id):
            given = http.body(Answers)
        return flask.jsonify(lessons.answer(user_id, lesson_id, given, http.locale())), 201

    app.register_blueprint(me.blueprint(db, edge.memory, verifier))
    return app
