"""What a citizen's history says of them: statistics, lessons with their quiz, weekly reports."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import flask
from flask import Flask
from flask.typing import ResponseReturnValue

from functions.shared import http
from functions.shared.postgres import Database, Tx
from functions.shared.regions import KOREA
from functions.shared.search import Rulebook
from functions.shared.tokens import Verifier
from functions.users import stats
from functions.users.lessons import Answers, Lessons
from functions.users.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Query of the statistics."""

    period: Literal["week", "month", "year", "all"] = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Query of what takes none."""


def create(settings: Settings) -> Flask:
    """The app of `users`. Nothing connects before the first request."""
    db = Database(settings.database_url, pool_size=settings.pool_size)
    lessons = Lessons(db, Rulebook(db, None))  # rules are looked up by item: no question, no embedding
    app = http.create_app("users", db=db, verifier=Verifier(settings.jwt_public_keys_dir))

    @contextmanager
    def citizen() -> Iterator[tuple[Tx, uuid.UUID]]:
        """Whose token came with the request. Problem 401 where they are gone."""
        user_id = http.user()
        with db.transaction() as tx:
            if tx.execute("SELECT 1 FROM users WHERE id = %s", (user_id,)).fetchone() is None:
                raise http.unknown_user()
            yield tx, user_id

    @app.get("/api/v1/users/me/stats")
    def statistics() -> ResponseReturnValue:
        """Counts, accuracy, streak, days, destinations, items and steps of a period."""
        with citizen() as (tx, user_id):
            period, today = http.query(Period).period, datetime.now(KOREA).date()
            return flask.jsonify(stats.stats(tx, user_id, period, today, http.locale()))

    @app.get("/api/v1/users/me/reports")
    def reports() -> ResponseReturnValue:
        """{reports}: the weekly reports, newest first."""
        with citizen() as (tx, user_id):
            http.query(Nothing)
            return flask.jsonify(reports=stats.reports(tx, user_id, http.locale()))

    @app.get("/api/v1/users/me/lessons")
    def all_lessons() -> ResponseReturnValue:
        """{lessons, learned}: what is still to be learned, each with its rule and its quiz."""
        with citizen() as (_, user_id):
            http.query(Nothing)
        return flask.jsonify(lessons.read(user_id, http.locale()))

    @app.post("/api/v1/users/me/lessons/<uuid:lesson_id>/answers")
    def answers(lesson_id: uuid.UUID) -> ResponseReturnValue:
        """201: the quiz of a lesson was taken; which answers are right, and why."""
        with citizen() as (_, user_id):
            given = http.body(Answers)
        return flask.jsonify(lessons.answer(user_id, lesson_id, given, http.locale())), 201

    return app
