"""A citizen's lessons: what the rules say of what went wrong (of the step that was missed most, or else of where the
thing goes), and the quiz, taken as often as they like.

A lesson speaks of the thing as it was when it was graded wrong: its state, where its owner lives, and the rules of
today. `aggregate` opens and ends lessons; here only answers are written.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, cast

from psycopg.types.json import Jsonb

from functions.shared import messages
from functions.shared.conditions import State
from functions.shared.findings import facts, outcome
from functions.shared.http import Problem, Text
from functions.shared.postgres import Database, Tx
from functions.shared.regions import KOREA
from functions.shared.rules import PHASES, Passage, leaf_key
from functions.shared.search import Rulebook
from functions.users import answers as a
from functions.users import bank, quiz
from functions.users.bank import Bank
from functions.users.quiz import Matter, Question, names_the_place

_WORD = re.compile(r"[가-힣]{2,}")
#: Beginnings of words that fit every rule, so that they tell no two apart.
_COMMON = frozenset(
    re.findall(
        r"\S+",
        "주세 세요 해요 하고 넣어 넣으 버려 버리 배출 모아 함께 따로 다른 같은 있으 있어 없으 않아 않으 마세 말고 그대 "
        "그리 모두 먼저 깨끗 종량 재활 쓰레 분리 때는 것은 것이 하지 되지 돼요 안에 밖에 경우 한번 물건 부분",
    )
)

#: So many lessons are shown, those with the most wrong grades first.
MOST = 20
#: More rules than any item has: a lesson leaves none out.
ALL_RULES = 100
#: So many attempts at a quiz are kept, beside the best.
ATTEMPTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The option chosen for one question."""

    question: Annotated[str, Text(1, 40)]
    option: Annotated[str, Text(1, 40)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Body of POST …/answers: each of the three questions once."""

    answers: list[Answer]


class Lessons:
    """Lessons read and answered; what quizzes are made of is kept until the rules or the day change."""

    def __init__(self, database: Database, rulebook: Rulebook) -> None:
        self._database, self._rulebook = database, rulebook
        self._bank: Bank | None = None

    def read(self, user_id: uuid.UUID, locale: str) -> a.AllLessons:
        """What is still to be learned, and how many lessons have been."""
        with self._database.transaction() as tx:
            rows = _rows(tx, user_id)
            learned = tx.execute(
                "SELECT count(*) AS n FROM lessons WHERE user_id = %s AND learned_at IS NOT NULL AND NOT withdrawn",
                (user_id,),
            ).fetchone()
        return {"lessons": [self._shown(row, locale) for row in rows], "learned": learned["n"] if learned else 0}

    def answer(self, user_id: uuid.UUID, lesson_id: uuid.UUID, given: Answers, locale: str) -> a.QuizResult:
        """Check the answers, keep them, and say which are right and why. Problem 404 or 422."""
        with self._database.transaction() as tx:
            rows = _rows(tx, user_id, lesson_id)
        questions = self.quiz(rows[0], self.matter(rows[0], locale), locale) if rows else []
        if not questions:
            raise Problem(404, "lesson_not_found")
        checked = _checked(questions, given.answers)
        right = sum(one["right"] for one in checked)
        with self._database.transaction() as tx:
            _keep(tx, user_id, lesson_id, checked, right)
        return {"right": right, "of": len(questions), "answers": checked}

    def _shown(self, row: Mapping[str, Any], locale: str) -> a.Lesson:
        matter = self.matter(row, locale)
        return {
            "id": str(row["id"]),
            "item": {"id": row["item_id"], "name": row[f"name_{locale}"]},
            "wrong": row["wrong"],
            "right_since": row["right_since"],
            "missed": missed(row["missed"], locale),
            "opened_at": row["opened_at"].isoformat(),
            "rule": _passage(matter.broken if matter else None, locale),
            "mistake": _related(matter, "dont", locale) if matter else None,
            "why": _related(matter, "why", locale) if matter else None,
            "quiz": [
                {
                    "id": question.id,
                    "question": question.text,
                    "options": [{"id": option.id, "text": option.text} for option in question.options],
                }
                for question in self.quiz(row, matter, locale)
            ],
            "taken": {"times": row["times"], "best": row["best"]},
        }

    def matter(self, row: Mapping[str, Any], locale: str) -> Matter | None:
        """What a lesson (a row with its item's names and document, and the state and home of its analysis) is about;
        None where the rules of today have nothing on it."""
        state = State.of(row["state"] or {})
        region, housing = row["region"], row["housing"]
        rules = self._rulebook.rules(row["item_id"], state, region=region, housing=housing, limit=ALL_RULES)
        disposing = [rule for rule in rules if rule.phase == "dispose"]
        if not disposing:
            return None
        likeliest = outcome(row["doc"], facts(state, housing), region, _today()).leaves[0]["to"]
        deciding = [rule for rule in disposing if names_the_place(rule)] or disposing
        deciding.sort(key=lambda rule: not rule.id.endswith(f".{leaf_key(likeliest)}"))
        return Matter(row["item_id"], row[f"name_{locale}"], likeliest, deciding[0], rules, most_missed(row["missed"]))

    def quiz(self, row: Mapping[str, Any], matter: Matter | None, locale: str) -> list[Question]:
        """The questions of a lesson."""
        return quiz.make(str(row["id"]), matter, self._known(), locale) if matter else []

    def _known(self) -> Bank:
        version, today = self._rulebook.index_version(), _today()
        known = self._bank
        if known is None or (known.version, known.on) != (version, today):
            with self._database.transaction() as tx:
                known = self._bank = bank.load(tx, version, today)
        return known


def missed(phases: Mapping[str, int], locale: str) -> list[a.Missed]:
    """Steps that were not done, by phase, most often first."""
    names = {phase: messages.text(f"phase.{phase}", locale) for phase in phases}
    return [{"phase": phase, "name": names[phase], "missed": phases[phase]} for phase in most_missed(phases)]


def most_missed(phases: Mapping[str, int]) -> list[str]:
    """The phases, most often missed first; of equals the one that comes first when the thing is handed over."""
    return sorted(phases, key=lambda phase: (-phases[phase], PHASES.index(phase)))


def _rows(tx: Tx, user_id: uuid.UUID, lesson_id: uuid.UUID | None = None) -> list[dict[str, Any]]:
    """Lessons still to be learned about items that the index (still) has."""
    return tx.execute(
        """SELECT l.*, i.name_ko, i.name_en, i.doc, n.state, a.region, a.housing, l.taken AS times, q.best
           FROM lessons l
           JOIN items i ON i.id = l.item_id AND i.kind = 'item'
           JOIN proofs p ON p.id = l.proof_id
           JOIN analyses a ON a.id = p.analysis_id
           LEFT JOIN identifications n ON n.analysis_id = p.analysis_id AND n.round = p.round
           CROSS JOIN LATERAL (
               SELECT max(right_ones) AS best FROM quiz_answers WHERE lesson_id = l.id
           ) q
           WHERE l.user_id = %(user)s AND NOT l.withdrawn
             AND CASE WHEN %(lesson)s::uuid IS NULL THEN l.learned_at IS NULL ELSE l.id = %(lesson)s END
           ORDER BY l.wrong DESC, l.opened_at DESC, l.id LIMIT %(most)s""",
        {"user": user_id, "lesson": lesson_id, "most": MOST},
    ).fetchall()


def _checked(questions: Sequence[Question], given: Sequence[Answer]) -> list[a.Checked]:
    chosen = {answer.question: answer.option for answer in given}
    if len(given) != len(questions) or chosen.keys() != {question.id for question in questions}:
        raise Problem(422, "quiz_incomplete")
    if any(chosen[question.id] not in {option.id for option in question.options} for question in questions):
        raise Problem(422, "unknown_option")
    return [
        {
            "question": question.id,
            "option": chosen[question.id],
            "right": chosen[question.id] == question.correct,
            "correct": question.correct,
            "why": question.why.text,
            "rule_id": question.why.id,
        }
        for question in questions
    ]


def _keep(tx: Tx, user_id: uuid.UUID, lesson_id: uuid.UUID, checked: Sequence[a.Checked], right: int) -> None:
    """The last attempts and the best are kept, all are counted. The lesson's row is locked first: aggregate takes no
    lesson away whose quiz is being answered; before it the citizen's, as whoever removes them does."""
    tx.execute("SELECT 1 FROM users WHERE id = %s FOR KEY SHARE", (user_id,))
    there = tx.execute("UPDATE lessons SET taken = taken + 1 WHERE id = %s AND NOT withdrawn", (lesson_id,))
    if not there.rowcount:
        raise Problem(404, "lesson_not_found")
    answers = [{"question": one["question"], "option": one["option"], "right": one["right"]} for one in checked]
    tx.execute(
        "INSERT INTO quiz_answers (id, lesson_id, user_id, answers, right_ones) VALUES (%s, %s, %s, %s, %s)",
        (uuid.uuid4(), lesson_id, user_id, Jsonb(answers), right),
    )
    tx.execute(
        """DELETE FROM quiz_answers WHERE id IN (
               SELECT id FROM (
                   SELECT id, row_number() OVER (ORDER BY created_at DESC, id) AS ago,
                          row_number() OVER (ORDER BY right_ones DESC, created_at DESC, id) AS place
                   FROM quiz_answers WHERE lesson_id = %s
               ) q WHERE ago > %s AND place > 1)""",
        (lesson_id, ATTEMPTS),
    )


def _related(matter: Matter, phase: str, locale: str) -> a.LessonRule:
    """What is said in `phase` (dont, why) of the very thing that was missed; where the rules say nothing of it, our own
    sentence about missing such a step: a true reason for something else would teach the wrong thing."""
    broken = matter.broken
    about = _words(broken.text)
    rules = [rule for rule in matter.rules if rule.phase == phase and rule.id != broken.id and not rule.set_aside]
    fitting = max(rules, key=lambda rule: len(_words(rule.text) & about), default=None)
    if fitting and _words(fitting.text) & about:
        return cast(a.LessonRule, _passage(fitting, locale))
    key, step = {"dont": "mistake", "why": "why"}[phase], broken.phase if broken.phase in PHASES[:4] else "dispose"
    return {
        "rule_id": None,
        "text": messages.text(f"lesson.{key}.{step}", locale),
        "source": {"title": messages.text("lesson.source", locale), "url": None},
        "basis": "author",
        "basis_name": messages.text("basis.author", locale),
    }


def _words(text: str) -> set[str]:
    """What a sentence is about: the beginnings of its words, without what any rule says."""
    return {word[:2] for word in _WORD.findall(text)} - _COMMON


def _passage(rule: Passage | None, locale: str) -> a.LessonRule | None:
    if rule is None:
        return None
    return {
        "rule_id": rule.id,
        "text": rule.text,
        "source": {"title": rule.source.title, "url": rule.source.url},
        "basis": rule.basis,
        "basis_name": messages.text_or(f"basis.{rule.basis}", rule.basis, locale),
    }


def _today() -> date:
    return datetime.now(KOREA).date()
