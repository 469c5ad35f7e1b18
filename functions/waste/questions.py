"""Further questions about a guide: a thread of at most ten, answered one by one by the pipeline."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Annotated

from functions.shared import naming, outbox
from functions.shared.budget import Spend
from functions.shared.events import Event, Payload, QuestionAsked
from functions.shared.http import Problem, Text
from functions.shared.outward import links
from functions.shared.postgres import Database
from functions.waste.analyses import consented, deed, locked

#: So many an analysis; those that we failed to answer do not count, but there are no more numbers than that.
MOST, MOST_NUMBERS = 10, 99


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Body of POST …/questions: the citizen's own words."""

    text: Annotated[str, Text(1, 500)]


def ask(
    db: Database, user_id: uuid.UUID, analysis_id: uuid.UUID, wish: Ask, spend: Spend
) -> tuple[str, Event[Payload] | None]:
    """Put a question about the present guide: its id, and the event to post.

    Asked again while it waits for its answer (a second tap, a lost reply) it is the same question, and nothing is said.
    """
    with db.transaction() as tx:
        consented(tx, user_id)
        analysis = locked(tx, user_id, analysis_id)
        if (analysis["status"], analysis["outcome"]) != ("completed", "guide"):
            raise Problem(409, "no_guide", members={"state": analysis["status"], "links": links(analysis_id)})
        thread = tx.execute("SELECT * FROM questions WHERE analysis_id = %s ORDER BY n", (analysis_id,)).fetchall()
        last = thread[-1] if thread else None
        if last and (last["status"], last["text"], last["round"]) == ("asked", wish.text, analysis["round"]):
            return str(last["id"]), None
        if sum(question["status"] != "failed" for question in thread) >= MOST or len(thread) >= MOST_NUMBERS:
            raise Problem(409, "too_many_questions", members={"links": links(analysis_id)})
        n = len(thread) + 1
        id_ = naming.child_id(naming.source("waste"), str(analysis_id), f"question:{n}")
        spend(tx, 1)
        tx.execute(
            "INSERT INTO questions (id, analysis_id, n, round, text) VALUES (%s, %s, %s, %s, %s)",
            (id_, analysis_id, n, analysis["round"], wish.text),
        )
        event = deed(analysis, f"question:{n}", QuestionAsked(question_id=id_))
        outbox.append(tx, event)
        return id_, event
