"""users: statistics that add up, lessons that say what the rules say, quizzes with exactly one right answer each."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from werkzeug.test import TestResponse

from functions.setup.compiled import load as load_corpus
from functions.shared import messages
from functions.shared.decisions import paths
from functions.shared.destinations import DESTINATIONS
from functions.shared.postgres import Database
from functions.shared.regions import KOREA
from functions.shared.rules import PHASES
from functions.shared.search import Rulebook
from functions.shared.tokens import Signer
from functions.users.bank import BLURRED, subjects
from functions.users.lessons import Lessons
from functions.users.stats import streak
from tests.learning import asked, citizen, graded, guided
from tests.steps import World, deliver, load

ROOT = Path(__file__).parents[1]
ME = "/api/v1/users/me"


def noon() -> datetime:
    """Of today in Seoul, whenever it is asked: the suite may run past midnight there."""
    return datetime.now(KOREA).replace(hour=12, minute=0, second=0, microsecond=0)


@dataclass
class Me:
    """A citizen with an app and a past."""

    id: str
    token: str
    app: Flask
    world: World
    aggregate: Flask

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.app.test_client().get(f"{ME}/{path}", headers=self._headers(headers))

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self.app.test_client().post(f"{ME}/{path}", json=body, headers=self._headers(headers))

    def asked(self, day: int, item: str = "milk-carton", to: str = "carton", **columns: Any) -> str:
        """Asked `day` days ago, and told where it goes."""
        state = columns.pop("state", None)
        analysis = asked(self.world, self.id, noon() - timedelta(days=day), **columns)
        assert deliver(self.aggregate, guided(self.world, analysis, item, to, state=state)).status == 204
        return analysis

    def graded(self, day: int, grade: str, item: str = "milk-carton", to: str = "carton", **columns: Any) -> str:
        """The same, and graded that day."""
        proof = {name: columns.pop(name) for name in ("score", "missed") if name in columns}
        analysis = self.asked(day, item, to, **columns)
        event = graded(self.world, analysis, grade, noon() - timedelta(days=day), **proof)
        assert deliver(self.aggregate, event).status == 204
        return analysis

    def lesson(self) -> dict[str, Any]:
        (only,) = self.get("lessons").json["lessons"]  # type: ignore[index]
        return dict(only)

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}


@pytest.fixture
def new_me(world: World, users_app: Flask, keys: Path, pipeline_env: dict[str, str]) -> Callable[[], Me]:
    aggregate = load("aggregate")

    def make() -> Me:
        user = citizen(world)
        return Me(user, Signer(keys / "private.pem").issue(uuid.UUID(user)).token, users_app, world, aggregate)

    return make


@pytest.fixture
def me(new_me: Callable[[], Me]) -> Me:
    return new_me()


def day(ago: int) -> str:
    return (noon() - timedelta(days=ago)).date().isoformat()


# --- statistics


def test_a_month_adds_up(me: Me) -> None:
    me.graded(0, "high", score=90)
    me.graded(1, "low", score=20, missed=["wash", "separate", "wash"])
    me.graded(1, "high", "glass-jar", "glass_bottle", score=100)
    me.graded(1, "middle", "glass-jar", "", score=60, missed=["separate"])
    me.asked(29)
    me.graded(30, "low", score=1)  # the day before the month
    answer = me.get("stats")
    assert answer.status_code == 200
    stats = answer.json
    assert isinstance(stats, dict)
    assert (stats["period"], stats["from"], stats["to"]) == ("month", day(29), day(0))
    assert stats["analyses"] == 5
    assert stats["grades"] == {"high": 2, "middle": 1, "low": 1}
    assert (stats["accuracy"], stats["average_score"]) == (0.5, 67.5)
    assert stats["streak"] == {"current": 2, "longest": 2}
    assert [one["day"] for one in stats["days"]] == [day(29 - n) for n in range(30)]
    assert stats["days"][-2:] == [
        {"day": day(1), "analyses": 3, "high": 1, "middle": 1, "low": 1},
        {"day": day(0), "analyses": 1, "high": 1, "middle": 0, "low": 0},
    ]
    assert sum(one["analyses"] for one in stats["days"]) == 5
    assert stats["destinations"] == [
        {"code": "carton", "name": "종이팩 전용수거함", "graded": 2, "right": 1, "accuracy": 0.5},
        {"code": "", "name": "지역마다 다른 곳", "graded": 1, "right": 0, "accuracy": 0.0},
        {"code": "glass_bottle", "name": "유리병류", "graded": 1, "right": 1, "accuracy": 1.0},
    ]
    assert [(one["id"], one["graded"], one["right"]) for one in stats["items"]] == [
        ("glass-jar", 2, 1),
        ("milk-carton", 2, 1),
    ]
    assert stats["steps"] == [
        {"phase": "separate", "name": "분리", "missed": 2},
        {"phase": "wash", "name": "세척", "missed": 1},  # however many steps of washing one result missed
    ]


def test_each_period_sends_its_days(me: Me) -> None:
    for ago in (0, 6, 7, 100, 400):
        me.asked(ago)
    for period, analyses, first, days in (
        ("week", 2, 6, 7),
        ("month", 3, 29, 30),
        ("year", 4, 364, 4),
        ("all", 5, 400, 5),
    ):
        stats = me.get(f"stats?period={period}").json
        assert isinstance(stats, dict)
        assert (stats["analyses"], stats["from"], len(stats["days"])) == (analyses, day(first), days)


def test_the_weakest_items_come_first_and_ten_are_enough(me: Me) -> None:
    for n in range(9):
        me.graded(0, "high", f"item-{n}")
    me.graded(0, "low", "item-0")
    me.graded(0, "low", "glass-jar")
    me.graded(0, "low", "milk-carton")
    me.graded(0, "low", "milk-carton")
    items = me.get("stats", Accept_Language="en").json["items"]  # type: ignore[index]
    assert [one["id"] for one in items][:4] == ["milk-carton", "glass-jar", "item-0", "item-1"]
    assert len(items) == 10
    assert items[2]["name"] == "item-0"  # no longer in the index: its id will do
    assert items[0]["name"] == me.world.row("SELECT name_en FROM items WHERE id = 'milk-carton'")["name_en"]


def test_nothing_yet_is_an_answer(me: Me) -> None:
    stats = me.get("stats?period=all").json
    assert isinstance(stats, dict)
    assert (stats["from"], stats["to"], stats["days"]) == (day(0), day(0), [])
    assert (stats["accuracy"], stats["average_score"], stats["streak"]) == (None, None, {"current": 0, "longest": 0})


@given(st.sets(st.integers(min_value=0, max_value=40)))
def test_a_streak_is_days_in_a_row_up_to_now(ago: set[int]) -> None:
    today = date(2026, 3, 15)
    found = streak([today - timedelta(days=n) for n in ago], today)
    runs, length = [0], 0
    for n in range(42):
        length = length + 1 if n in ago else 0
        runs.append(length)
    assert found["longest"] == max(runs)
    start = 0 if 0 in ago else 1
    current = next(n for n in range(42) if start + n not in ago)
    assert found["current"] == current


def test_stats_are_a_citizens_own(me: Me, new_me: Callable[[], Me]) -> None:
    me.graded(0, "low")
    stats = new_me().get("stats").json
    assert isinstance(stats, dict)
    assert (stats["analyses"], stats["items"]) == (0, [])


# --- refusals


@pytest.mark.parametrize("path", ["stats", "lessons", "reports", f"lessons/{uuid.UUID(int=7)}/answers"])
def test_nobody_reads_without_a_token_or_after_leaving(me: Me, path: str) -> None:
    method = "POST" if path.endswith("answers") else "GET"
    answer = me.app.test_client().open(
        f"{ME}/{path}", method=method, json={"answers": []} if method == "POST" else None
    )
    assert (answer.status_code, json.loads(answer.data)["code"]) == (401, "unauthenticated")
    me.world.do("DELETE FROM users WHERE id = %s", me.id)
    answer = me.post(path, {"answers": []}) if method == "POST" else me.get(path)
    assert (answer.status_code, json.loads(answer.data)["code"]) == (401, "unknown_user")


@pytest.mark.parametrize("path", ["stats?period=decade", "stats?since=1", "lessons?x=1", "reports?x=1"])
def test_unknown_queries_are_refused(me: Me, path: str) -> None:
    answer = me.get(path)
    assert (answer.status_code, json.loads(answer.data)["code"]) == (422, "invalid_request")


# --- lessons


def test_a_lesson_says_what_the_rules_say(me: Me) -> None:
    me.graded(3, "low", missed=["wash"])
    me.graded(2, "low", missed=["wash", "wash", "separate"])
    me.graded(1, "middle", missed=["separate"])
    me.graded(0, "high")
    answer = me.get("lessons").json
    assert isinstance(answer, dict)
    assert answer["learned"] == 0
    lesson = me.lesson()
    assert lesson["item"] == {
        "id": "milk-carton",
        "name": me.world.row("SELECT name_ko FROM items WHERE id = 'milk-carton'")["name_ko"],
    }
    assert (lesson["wrong"], lesson["right_since"], lesson["taken"]) == (3, 1, {"times": 0, "best": None})
    assert lesson["missed"] == [
        {"phase": "wash", "name": "세척", "missed": 2},
        {"phase": "separate", "name": "분리", "missed": 2},
    ]
    kept = me.world.row("SELECT * FROM rules WHERE id = %s", lesson["rule"]["rule_id"])
    assert kept["phase"] == "wash"
    assert kept["text"].endswith(lesson["rule"]["text"])
    assert lesson["rule"]["source"]["title"] == kept["source_title"]
    assert lesson["rule"]["basis_name"] == messages.text(f"basis.{kept['basis']}")
    for part, phase in (("mistake", "dont"), ("why", "why")):  # of what was missed: a rule's, or else our own sentence
        about = lesson[part]
        if about["rule_id"]:
            kept = me.world.row("SELECT * FROM rules WHERE id = %s", about["rule_id"])
            assert (kept["phase"], kept["text"]) == (phase, about["text"])
        else:
            assert about["text"] == messages.text(f"lesson.{'mistake' if phase == 'dont' else 'why'}.wash")
            assert about["basis"] == "author"
    assert "correct" not in json.dumps(lesson)


def test_a_lesson_speaks_of_the_thing_as_it_was(me: Me) -> None:
    me.graded(0, "low", "pizza-box", "general", state={"dirt": "oily"})
    lesson = me.lesson()
    assert lesson["rule"]["rule_id"] == "pizza-box.dispose.general"
    asked_where = lesson["quiz"][0]
    checked = me.post(f"lessons/{lesson['id']}/answers", {"answers": first_options(lesson)}).json
    assert isinstance(checked, dict)
    texts = {option["id"]: option["text"] for option in asked_where["options"]}
    assert texts[checked["answers"][0]["correct"]] == DESTINATIONS["general"].ko


@pytest.mark.parametrize("phase", PHASES[:4])
def test_a_lesson_teaches_the_step_that_was_missed_most(me: Me, phase: str) -> None:
    other = next(one for one in PHASES[:4] if one != phase)
    me.graded(1, "low", missed=[phase])
    me.graded(0, "low", missed=[other, phase, other])
    lesson = me.lesson()
    told = me.world.row("SELECT phase FROM rules WHERE id = %s", lesson["rule"]["rule_id"])["phase"]
    assert told == phase  # the rules of a milk carton speak of all four
    checked = me.post(f"lessons/{lesson['id']}/answers", {"answers": first_options(lesson)}).json
    assert isinstance(checked, dict)
    (step,) = (one for one in checked["answers"] if one["question"] == "step")
    assert me.world.row("SELECT phase FROM rules WHERE id = %s", step["rule_id"])["phase"] == told


def test_a_way_out_for_some_things_is_not_taught_as_a_mistake(me: Me) -> None:
    me.graded(0, "low", "washing-machine", "appliance_pickup", missed=["dispose"])
    mistake = me.lesson()["mistake"]
    assert "판매점이 헌 제품을 무료로 가져가요" not in mistake["text"]
    assert mistake["rule_id"] is None or ".dont." in mistake["rule_id"]


def test_a_lesson_of_nothing_missed_teaches_where_it_goes(me: Me) -> None:
    me.graded(0, "low")
    assert me.lesson()["rule"]["rule_id"].startswith("milk-carton.dispose.")


def test_where_a_municipality_differs_its_rule_is_told(me: Me) -> None:
    me.graded(0, "low", "twine", "vinyl", region="서울특별시 마포구")
    assert me.lesson()["rule"]["rule_id"] == "seoul-film.dispose.1"


def test_a_learned_lesson_leaves_the_list(me: Me) -> None:
    me.graded(2, "low")
    me.graded(1, "high")
    me.graded(0, "high")
    assert me.get("lessons").json == {"lessons": [], "learned": 1}


def test_what_the_index_no_longer_has_is_not_taught(me: Me) -> None:
    me.graded(0, "low", "gone-item")
    assert me.get("lessons").json == {"lessons": [], "learned": 0}


# --- the quiz


def first_options(lesson: dict[str, Any]) -> list[dict[str, str]]:
    return [{"question": one["id"], "option": one["options"][0]["id"]} for one in lesson["quiz"]]


def test_a_quiz_is_checked_explained_and_counted(me: Me) -> None:
    me.graded(0, "low")
    lesson = me.lesson()
    path = f"lessons/{lesson['id']}/answers"
    answer = me.post(path, {"answers": first_options(lesson)})
    assert answer.status_code == 201
    first = answer.json
    assert isinstance(first, dict)
    correct = [{"question": one["question"], "option": one["correct"]} for one in first["answers"]]
    assert first["of"] == 3
    assert first["right"] == sum(one["right"] for one in first["answers"])
    for one in first["answers"]:
        assert one["right"] == (one["option"] == one["correct"])
        assert me.world.row("SELECT text FROM rules WHERE id = %s", one["rule_id"])["text"].endswith(one["why"])
    second = me.post(path, {"answers": correct}).json
    assert isinstance(second, dict)
    assert (second["right"], second["of"]) == (3, 3)
    third = me.post(path, {"answers": [wrong(lesson, one) for one in correct]}).json
    assert isinstance(third, dict)
    assert third["right"] == 0
    assert me.lesson()["taken"] == {"times": 3, "best": 3}
    kept = me.world.rows("SELECT * FROM quiz_answers ORDER BY created_at")
    assert [row["right_ones"] for row in kept] == [first["right"], 3, 0]
    assert kept[1]["answers"] == [{**one, "right": True} for one in correct]
    assert {str(row["user_id"]) for row in kept} == {me.id}


def test_of_a_quiz_taken_without_end_the_best_and_the_last_are_kept(me: Me) -> None:
    me.graded(0, "low")
    lesson = me.lesson()
    path = f"lessons/{lesson['id']}/answers"
    checked = me.post(path, {"answers": first_options(lesson)}).json
    assert isinstance(checked, dict)
    correct = [{"question": one["question"], "option": one["correct"]} for one in checked["answers"]]
    assert me.post(path, {"answers": correct}).status_code == 201
    for _ in range(23):
        assert me.post(path, {"answers": [wrong(lesson, one) for one in correct]}).status_code == 201
    assert me.lesson()["taken"] == {"times": 25, "best": 3}
    kept = me.world.rows("SELECT right_ones FROM quiz_answers ORDER BY created_at")
    assert [row["right_ones"] for row in kept] == [3, *[0] * 20]


def wrong(lesson: dict[str, Any], right: dict[str, str]) -> dict[str, str]:
    (options,) = [one["options"] for one in lesson["quiz"] if one["id"] == right["question"]]
    return {**right, "option": next(option["id"] for option in options if option["id"] != right["option"])}


def test_a_quiz_stays_the_same_and_speaks_both_languages(me: Me, new_me: Callable[[], Me]) -> None:
    me.graded(0, "low")
    lesson = me.lesson()
    assert me.lesson() == lesson
    (english,) = me.get("lessons", Accept_Language="en").json["lessons"]  # type: ignore[index]
    ids = [[option["id"] for option in one["options"]] for one in lesson["quiz"]]
    assert [[option["id"] for option in one["options"]] for one in english["quiz"]] == ids
    assert {option["text"] for option in english["quiz"][0]["options"]} <= {place.en for place in DESTINATIONS.values()}
    assert english["quiz"][0]["question"] != lesson["quiz"][0]["question"]
    other = new_me()
    other.graded(0, "low")
    assert [one["options"] for one in other.lesson()["quiz"]] != [one["options"] for one in lesson["quiz"]]


def test_somebody_elses_lesson_does_not_exist(me: Me, new_me: Callable[[], Me]) -> None:
    me.graded(0, "low")
    lesson, other = me.lesson(), new_me()
    for path, who in ((f"lessons/{lesson['id']}/answers", other), (f"lessons/{uuid.uuid4()}/answers", me)):
        answer = who.post(path, {"answers": first_options(lesson)})
        assert (answer.status_code, json.loads(answer.data)["code"]) == (404, "lesson_not_found")
    assert me.world.rows("SELECT * FROM quiz_answers") == []


def test_half_a_quiz_is_no_quiz(me: Me) -> None:
    me.graded(0, "low")
    lesson = me.lesson()
    full, path = first_options(lesson), f"lessons/{lesson['id']}/answers"
    for answers in ([], full[:2], [*full[:2], full[1]], [*full, full[0]], [*full[:2], {**full[2], "question": "x"}]):
        answer = me.post(path, {"answers": answers})
        assert (answer.status_code, json.loads(answer.data)["code"]) == (422, "quiz_incomplete")
    for option in ("x", full[0]["option"]):  # nobody's, and another question's
        answer = me.post(path, {"answers": [*full[:2], {**full[2], "option": option}]})
        assert (answer.status_code, json.loads(answer.data)["code"]) == (422, "unknown_option")
    for body in (
        {},
        {"answers": "x"},
        {"answers": ["x"]},
        {"answers": [{"question": "where"}]},
        {"answers": full, "x": 1},
        {"answers": [{**full[0], "x": 1}]},
    ):
        answer = me.post(path, body)
        assert (answer.status_code, json.loads(answer.data)["code"]) == (422, "invalid_request")
    assert me.world.rows("SELECT * FROM quiz_answers") == []


def test_a_quiz_of_a_withdrawn_lesson_is_over(me: Me) -> None:
    me.graded(0, "low")
    lesson = me.lesson()
    me.world.do("UPDATE lessons SET withdrawn = true")
    assert me.get("lessons").json == {"lessons": [], "learned": 0}
    assert me.post(f"lessons/{lesson['id']}/answers", {"answers": first_options(lesson)}).status_code == 404


def test_every_item_in_every_state_has_a_quiz_with_one_right_answer_each(pipeline_database: str) -> None:
    """Held against the corpus as it is compiled, not against what the quiz was made from."""
    corpus = load_corpus(ROOT / "rag-index" / "corpus")
    by_owner: dict[str, list[Any]] = {}
    for rule in corpus.rules:
        by_owner.setdefault(rule.owner, []).append(rule)
    goes = {family.id: family.destination for family in corpus.entries.families.values()}
    families = {
        rule.text: {goes[r.owner] for r in corpus.rules if r.text == rule.text and r.owner in goes}
        for rule in corpus.rules
        if rule.owner in goes
    }
    names = {place.ko: code for code, place in DESTINATIONS.items()}
    db = Database(pipeline_database)
    lessons = Lessons(db, Rulebook(db, None))
    quizzes = 0
    for item in (row for row in corpus.items if row.kind == "item"):
        leaves = [leaf for _, leaf in paths(item.doc["decide"])] + [one["leaf"] for one in item.doc["regional"]]
        places = {code for leaf in leaves for code in leaf["to"]}
        blurred = {code for pair in BLURRED if pair & places for code in pair}
        owners = {item.id, *(leaf["family"] for leaf in leaves), *(one["id"] for one in item.doc["regional"])}
        own = {rule.text for owner in owners for rule in by_owner.get(owner, [])}
        missable = sorted({rule.phase for owner in owners for rule in by_owner.get(owner, [])} & set(PHASES[:4]))
        states = {json.dumps(leaf): facts for facts, leaf in paths(item.doc["decide"])}  # one for each outcome
        for facts in (*states.values(), *([{}] if "by" in item.doc["decide"] else [])):
            row: dict[str, Any] = {
                "id": f"{item.id} {facts}",
                "item_id": item.id,
                "name_ko": item.name_ko,
                "name_en": item.name_en,
            }
            often = dict.fromkeys(missable[quizzes % (len(missable) + 1) :][:1], 1)
            row |= {"doc": item.doc, "state": facts, "region": None, "housing": facts.get("housing"), "missed": often}
            matter = lessons.matter(row, "ko")
            assert matter, item.id
            questions = lessons.quiz(row, matter, "ko")
            assert [one.id for one in questions] == ["where", "step", "about"], (item.id, facts)
            quizzes += 1
            for one in questions:
                assert one.text.strip()
                assert len({option.id for option in one.options}) == len({option.text for option in one.options}) == 4
                assert all(option.text.strip() for option in one.options)
            where, step, about = (
                {option.text: option.id == one.correct for option in one.options} for one in questions
            )
            assert {names[text] for text, right in where.items() if right} <= places
            assert not {names[text] for text, right in where.items() if not right} & (places | blurred)
            for question in (step, about):
                assert [text in own for text, right in question.items() if right] == [True], (item.id, question)
                for text in (text for text, right in question.items() if not right):
                    assert text not in own
                    assert not families[text] & (places | blurred), (item.id, text)
            for text in (text for text, right in about.items() if not right):
                assert subjects(text), text
                assert not any(word in said for word in subjects(text) for said in (*own, item.name_ko)), (
                    item.id,
                    text,
                )
    db.close()
    assert quizzes > len(corpus.entries.items)


# --- reports


def test_reports_are_told_in_words_newest_first(me: Me) -> None:
    numbers = {"analyses": 3, "high": 1, "middle": 0, "low": 2, "accuracy": 0.333, "change": -0.167}
    weak = [{"id": "milk-carton", "graded": 2, "right": 0}]
    for week, sentence in ((date(2026, 3, 2), "first"), (date(2026, 3, 9), "worse")):
        content = Jsonb({**numbers, "weak_items": weak, "sentence": sentence})
        me.world.do("INSERT INTO weekly_reports (user_id, week, content) VALUES (%s, %s, %s)", me.id, week, content)
    reports = me.get("reports").json["reports"]  # type: ignore[index]
    assert [report["week"] for report in reports] == ["2026-03-09", "2026-03-02"]
    assert reports[0]["grades"] == {"high": 1, "middle": 0, "low": 2}
    assert (reports[0]["analyses"], reports[0]["accuracy"], reports[0]["change"]) == (3, 0.333, -0.167)
    assert reports[0]["weak_items"] == [{**weak[0], "name": "우유팩"}]
    assert "17%p" in reports[0]["sentence"]
    assert "33%" in reports[1]["sentence"]
    english = me.get("reports", Accept_Language="en").json["reports"]  # type: ignore[index]
    assert "17 points" in english[0]["sentence"]


def test_every_sentence_of_a_report_has_its_words(me: Me) -> None:
    content: dict[str, Any] = {
        "analyses": 3,
        "high": 1,
        "middle": 0,
        "low": 2,
        "accuracy": None,
        "change": None,
        "weak_items": [],
    }
    sentences = ("all_right", "better", "first", "not_graded", "same", "worse")
    for n, sentence in enumerate(sentences):
        week = date(2026, 3, 2) + timedelta(days=7 * n)
        me.world.do(
            "INSERT INTO weekly_reports (user_id, week, content) VALUES (%s, %s, %s)",
            me.id,
            week,
            Jsonb({**content, "sentence": sentence}),
        )
    for language in messages.LOCALES:
        reports = me.get("reports", Accept_Language=language).json["reports"]  # type: ignore[index]
        said = Counter(report["sentence"] for report in reports)
        assert len(said) == len(sentences)
        assert not any("{" in sentence for sentence in said)
