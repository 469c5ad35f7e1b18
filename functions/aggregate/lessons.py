"""Lessons: an item that a citizen got wrong, until it was right twice in a row. Follows from the grades alone.

A lesson's id derives from the citizen, the item and the grade that opened it, so counting anew finds the same lesson.
What no longer follows (an earlier grade turned up, or the item was corrected) disappears, unless its quiz was
taken: then it is withdrawn, which nobody is shown, and its answers stay. It comes back should the grades say so again.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from functions.aggregate.counting import Grade
from functions.shared import naming
from functions.shared.postgres import Tx

#: So many high grades in a row after the last wrong one, and it is learned.
ENOUGH = 2


@dataclass(frozen=True, slots=True)
class Lesson:
    """A row of `lessons`: `wrong` grades since it was opened, `right_since` the last of them; `missed` by phase."""

    id: uuid.UUID
    item_id: str
    proof_id: uuid.UUID
    wrong: int
    right_since: int
    missed: dict[str, int]
    opened_at: datetime
    learned_at: datetime | None


def follow(user_id: uuid.UUID, grades: Iterable[Grade]) -> list[Lesson]:
    """The lessons that follow from a citizen's grades, which come in the order they were given."""
    by_item: dict[str, list[Grade]] = {}
    for grade in (grade for grade in grades if not grade.corrected):
        by_item.setdefault(grade.item_id, []).append(grade)
    return [lesson for of in by_item.values() for lesson in _of_item(user_id, of)]


def stored(tx: Tx, user_id: uuid.UUID) -> list[Lesson]:
    """The citizen's lessons as they were last counted; withdrawn ones are none."""
    rows = tx.execute(
        """SELECT id, item_id, proof_id, wrong, right_since, missed, opened_at, learned_at
           FROM lessons WHERE user_id = %s AND NOT withdrawn""",
        (user_id,),
    ).fetchall()
    return [Lesson(**row) for row in rows]


def store(tx: Tx, user_id: uuid.UUID, lessons: Sequence[Lesson]) -> None:
    """Keep these lessons and no others. Call it under the lock of counting.py."""
    before = {lesson.id: lesson for lesson in stored(tx, user_id)}
    for lesson in lessons:
        if before.get(lesson.id) != lesson:
            _store(tx, user_id, lesson)
    gone = list(before.keys() - {lesson.id for lesson in lessons})
    if gone:  # first the row's lock: whoever takes the quiz holds it, so an answer is seen here or finds no lesson
        tx.execute("UPDATE lessons SET withdrawn = true WHERE id = ANY(%s)", (gone,))
        tx.execute(
            """DELETE FROM lessons l WHERE id = ANY(%s)
               AND NOT EXISTS (SELECT 1 FROM quiz_answers q WHERE q.lesson_id = l.id)""",
            (gone,),
        )


def _store(tx: Tx, user_id: uuid.UUID, lesson: Lesson) -> None:
    tx.execute(
        """INSERT INTO lessons (id, user_id, item_id, proof_id, wrong, right_since, missed, opened_at, learned_at)
           VALUES (%(id)s, %(user)s, %(item)s, %(proof)s, %(wrong)s, %(right)s, %(missed)s, %(opened)s, %(learned)s)
           ON CONFLICT (id) DO UPDATE
              SET wrong = excluded.wrong, right_since = excluded.right_since, missed = excluded.missed,
                  opened_at = excluded.opened_at, learned_at = excluded.learned_at, withdrawn = false""",
        {
            "id": lesson.id,
            "user": user_id,
            "item": lesson.item_id,
            "proof": lesson.proof_id,
            "wrong": lesson.wrong,
            "right": lesson.right_since,
            "missed": Jsonb(lesson.missed),
            "opened": lesson.opened_at,
            "learned": lesson.learned_at,
        },
    )


def _of_item(user_id: uuid.UUID, grades: Iterable[Grade]) -> Iterable[Lesson]:
    """Grade by grade: the first wrong one opens a lesson, wrong ones add to it, `ENOUGH` right ones in a row end it."""
    since: list[Grade] = []
    for grade in grades:
        if since or not grade.right:
            since.append(grade)
        if len(since) > ENOUGH and all(last.right for last in since[-ENOUGH:]):
            yield _lesson(user_id, since, learned_at=grade.at)
            since = []
    if since:
        yield _lesson(user_id, since)


def _lesson(user_id: uuid.UUID, since: Sequence[Grade], learned_at: datetime | None = None) -> Lesson:
    first = since[0]
    wrong = [n for n, grade in enumerate(since) if not grade.right]
    id_ = naming.child_id(naming.source("aggregate"), f"{user_id}:{first.item_id}", f"lesson:{first.proof_id}")
    return Lesson(
        id=uuid.UUID(id_),
        item_id=first.item_id,
        proof_id=first.proof_id,
        wrong=len(wrong),
        right_since=len(since) - 1 - wrong[-1],
        missed=dict(Counter(phase for grade in since for phase in grade.missed)),
        opened_at=first.at,
        learned_at=learned_at,
    )
