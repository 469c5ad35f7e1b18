"""A further question in the thread of an analysis → its answer (followup.py), from the rules its guide was made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg.types.json import Jsonb

from functions.generate.followup import Answers, Task, reply
from functions.generate.guide import Brief
from functions.shared.conditions import State
from functions.shared.events import Event, QuestionAnswered, QuestionAsked
from functions.shared.function import Done
from functions.shared.lifecycle import Superseded
from functions.shared.postgres import Database, Tx

#: So many earlier questions of the thread, with their answers, are told to the model.
EARLIER = 3


def respond(event: Event[QuestionAsked], db: Database, model: Callable[[], Answers]) -> Done:
    """`question.v1.answered`: the question is answered or declined, or failed where consent was withdrawn. ModelDown
    while the model does not answer."""
    asked = _asked(db, event)
    if asked["consent_at"] is None:  # it may have waited for long: nothing is sent to the provider any more
        return _ended(event, "failed")
    brief = Brief(asked["name"], asked["passages"], asked["text"])
    given = reply(db, model(), Task(event.subject, asked["round"], asked["n"], _data(asked, brief)), brief)
    return _ended(event, given.status, {"text": given.text, "rule_ids": given.rule_ids}, given.made_by)


def _ended(
    event: Event[QuestionAsked],
    status: str,
    answer: dict[str, Any] | None = None,
    made_by: dict[str, Any] | None = None,
) -> Done:
    id_ = event.data.question_id

    def save(tx: Tx) -> None:
        tx.execute("SELECT 1 FROM analyses WHERE id = %s FOR NO KEY UPDATE", (event.subject,))  # always locked first
        stored = tx.execute(
            """UPDATE questions SET status = %s, answer = %s, made_by = %s, answered_at = now()
               WHERE id = %s AND status = 'asked'""",
            (status, answer and Jsonb(answer), made_by and Jsonb(made_by), id_),
        )
        if stored.rowcount != 1:
            raise Superseded(f"question {id_} has its answer")

    return Done(QuestionAnswered(question_id=id_, outcome=status), save)


def _asked(db: Database, event: Event[QuestionAsked]) -> dict[str, Any]:
    """The question, the rules and the guide it is about, and what was asked before about the same guide."""
    with db.transaction() as tx:
        row = tx.execute(
            """SELECT q.status, q.round, q.n, q.text, u.consent_at, i.state, r.item_id, r.passages, g.content,
                      coalesce(t.name_ko, r.item_id) AS name
               FROM questions q
               JOIN analyses a ON a.id = q.analysis_id
               JOIN users u ON u.id = a.user_id
               JOIN identifications i ON i.analysis_id = q.analysis_id AND i.round = q.round
               JOIN retrievals r ON r.analysis_id = q.analysis_id AND r.round = q.round
               JOIN guides g ON g.analysis_id = q.analysis_id AND g.round = q.round
               LEFT JOIN items t ON t.id = r.item_id
               WHERE q.id = %s AND q.analysis_id = %s""",
            (event.data.question_id, event.subject),
        ).fetchone()
        if row is None or row["status"] != "asked":
            raise Superseded(f"question {event.data.question_id} is not waiting for an answer")
        row["earlier"] = tx.execute(
            """SELECT text AS question, answer ->> 'text' AS answer FROM questions
               WHERE analysis_id = %s AND round = %s AND n < %s AND status = 'answered' ORDER BY n DESC LIMIT %s""",
            (event.subject, row["round"], row["n"], EARLIER),
        ).fetchall()
    return row


def _data(asked: dict[str, Any], brief: Brief) -> dict[str, Any]:
    """All the model is told, and all of it is data. Where the citizen lives is not told: the rules allow for it."""
    guide = asked["content"]
    return {
        "item": {"id": asked["item_id"], "name": brief.item},
        "state": State.of(asked["state"]).known(),
        "rules": [{name: rule[name] for name in ("id", "phase", "text", "destination")} for rule in brief.rules],
        "guide": {
            "summary": guide["summary"],
            "steps": [{"phase": step["phase"], "text": step["text"]} for step in guide["steps"]],
        },
        "earlier": asked["earlier"][::-1],
        "question": brief.question,
    }
