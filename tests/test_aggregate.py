"""aggregate: whatever comes, however often and in whatever order, the numbers are those of one full count."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from functions.aggregate import city, handler
from functions.aggregate.__main__ import main as command
from functions.aggregate.counting import Grade, lock
from functions.aggregate.lessons import follow
from functions.shared import messages, naming
from functions.shared.events import Event, GuidanceGenerated, ProofGraded, ScheduleTicked
from functions.shared.postgres import Tx
from tests.learning import STEPS, asked, citizen, graded, guided
from tests.steps import World, deliver, deliver_at_once, load

SEOUL = ZoneInfo("Asia/Seoul")
CITY = ("users", "analyses", "high", "middle", "low", "corrected", "items", "destinations", "missed")
T = TypeVar("T")
MONDAY = datetime(2026, 3, 2, 12, 0, tzinfo=SEOUL)
TABLES = ("user_days", "user_day_items", "lessons", "city_days", "weekly_reports", "quiz_answers")


@pytest.fixture
def app(world: World, pipeline_env: dict[str, str]) -> Flask:
    world.do("TRUNCATE city_days")
    return load("aggregate")


def tick(schedule: str, at: datetime = MONDAY) -> Event[Any]:
    return Event(
        id=str(uuid.uuid4()),
        source=f"/apis/v1/namespaces/growbin-events/pingsources/{schedule}",
        subject="",
        data=ScheduleTicked(schedule=schedule),
        time=at,
        correlation_id="tick",
    )


def used(app: Flask, *events: Event[Any]) -> None:
    for event in events:
        assert deliver(app, event).status == 204


def thrown(app: Flask, world: World, user: str, at: datetime, grade: str, **columns: Any) -> str:
    """The citizen asked, was guided and graded at that time, and aggregate has heard of it. The analysis."""
    analysis, item = asked(world, user, at), columns.pop("item", "pet-bottle")
    used(app, guided(world, analysis, item, "clear_pet", at=at), graded(world, analysis, grade, at, **columns))
    return analysis


def days(world: World, user: str) -> dict[date, tuple[int, int, int, int, int]]:
    rows = world.rows("SELECT * FROM user_days WHERE user_id = %s", user)
    return {r["day"]: (r["analyses"], r["high"], r["middle"], r["low"], r["score_sum"]) for r in rows}


def kinds(world: World, user: str) -> dict[tuple[date, str, str], tuple[int, int, dict[str, int]]]:
    rows = world.rows("SELECT * FROM user_day_items WHERE user_id = %s", user)
    return {(r["day"], r["item_id"], r["destination"]): (r["graded"], r["right_ones"], r["missed"]) for r in rows}


def lessons(world: World, user: str) -> list[tuple[str, int, int, bool]]:
    rows = world.rows("SELECT * FROM lessons WHERE user_id = %s AND NOT withdrawn ORDER BY opened_at", user)
    return [(r["item_id"], r["wrong"], r["right_since"], r["learned_at"] is not None) for r in rows]


def dumped(world: World) -> list[list[dict[str, Any]]]:
    """Everything that was counted, with the transaction that wrote each row."""
    return [world.rows(f"SELECT xmin::text, * FROM {table} ORDER BY 2, 3") for table in TABLES]


# --- days


def test_a_day_is_a_day_in_seoul(world: World, app: Flask) -> None:
    user = citizen(world)
    late = datetime(2026, 3, 2, 14, 59, tzinfo=UTC)  # 23:59 there
    first = asked(world, user, late)
    second = asked(world, user, late + timedelta(minutes=1))
    used(app, guided(world, first, "pet-bottle", "clear_pet"), guided(world, second, "pet-bottle", "clear_pet"))
    used(app, graded(world, first, "low", late + timedelta(minutes=2), score=20, missed=["wash", "wash", "separate"]))
    assert days(world, user) == {date(2026, 3, 2): (1, 0, 0, 0, 0), date(2026, 3, 3): (1, 0, 0, 1, 20)}
    assert kinds(world, user) == {(date(2026, 3, 3), "pet-bottle", "clear_pet"): (1, 0, {"wash": 1, "separate": 1})}


def test_an_analysis_counts_once_it_has_a_guide(world: World, app: Flask) -> None:
    user = citizen(world)
    asked(world, user, MONDAY)
    guide = guided(world, asked(world, user, MONDAY), "pet-bottle", "clear_pet")
    used(app, guide, guide)
    assert days(world, user) == {MONDAY.date(): (1, 0, 0, 0, 0)}


def test_a_correction_moves_the_grade_to_the_other_item(world: World, app: Flask) -> None:
    user = citizen(world)
    analysis = asked(world, user, MONDAY)
    used(app, guided(world, analysis, "pet-bottle", "clear_pet"))
    used(app, guided(world, analysis, "milk-carton", "", round_=2))
    used(app, graded(world, analysis, "high", MONDAY, score=90, round_=2))
    assert days(world, user) == {MONDAY.date(): (1, 1, 0, 0, 90)}
    assert kinds(world, user) == {(MONDAY.date(), "milk-carton", ""): (1, 1, {})}


def test_a_grade_of_what_it_was_not_counts_for_nothing(world: World, app: Flask) -> None:
    user, tuesday = citizen(world), MONDAY + timedelta(days=1)
    analysis = asked(world, user, MONDAY)
    used(app, guided(world, analysis, "pet-bottle", "clear_pet"))
    used(app, graded(world, analysis, "low", tuesday, score=20, missed=["wash"]))
    assert days(world, user) == {MONDAY.date(): (1, 0, 0, 0, 0), tuesday.date(): (0, 0, 0, 1, 20)}
    used(app, tick("nightly"))
    used(app, guided(world, analysis, "milk-carton", "carton", round_=2))  # the citizen said what it is
    assert days(world, user) == {MONDAY.date(): (1, 0, 0, 0, 0), tuesday.date(): (0, 0, 0, 0, 0)}
    assert (kinds(world, user), lessons(world, user)) == ({}, [])
    assert world.row("SELECT corrected FROM user_days WHERE day = %s", tuesday.date()) == {"corrected": 1}
    used(app, tick("nightly"))
    assert world.row("SELECT low, corrected FROM city_days WHERE day = %s", tuesday.date()) == {
        "low": 0,
        "corrected": 1,
    }
    assert command(["recount"]) == 0


def test_a_lost_correction_is_made_good_at_night(world: World, app: Flask) -> None:
    user, tuesday = citizen(world), MONDAY + timedelta(days=1)
    analysis = asked(world, user, MONDAY)
    used(app, guided(world, analysis, "pet-bottle", "clear_pet", at=MONDAY), graded(world, analysis, "low", tuesday))
    guided(world, analysis, "milk-carton", "carton", round_=2)
    used(app, tick("nightly"))
    assert (days(world, user)[tuesday.date()], lessons(world, user)) == ((0, 0, 0, 0, 0), [])


def test_an_event_before_its_row_is_tried_again(world: World, app: Flask) -> None:
    user = citizen(world)
    analysis = asked(world, user, MONDAY)
    guide = guided(world, analysis, "pet-bottle", "clear_pet")
    early = replace(guide, id="early", data=ProofGraded(proof_id=str(uuid.uuid4()), grade="low", score=1))
    assert deliver(app, early).status == 503
    assert world.row("SELECT state FROM claims WHERE event_id = 'early'")["state"] == "released"
    assert days(world, user) == {}


def test_one_counts_for_a_citizen_at_a_time_and_sees_everything_before(world: World, app: Flask) -> None:
    user = citizen(world)
    analysis, other = asked(world, user, MONDAY), asked(world, user, MONDAY)
    event = guided(world, analysis, "pet-bottle", "clear_pet")
    with ThreadPoolExecutor(1) as pool:
        with world.db.transaction() as tx:  # somebody counts, and has not seen what comes next
            lock(tx, uuid.UUID(user))
            waiting = pool.submit(deliver, app, event)
            time.sleep(0.5)
            assert not waiting.done()
            guided(world, other, "pet-bottle", "clear_pet")
        assert waiting.result().status == 204
    assert days(world, user) == {MONDAY.date(): (2, 0, 0, 0, 0)}


def test_who_has_left_is_not_counted(world: World, app: Flask) -> None:
    user = citizen(world)
    analysis = asked(world, user, MONDAY)
    guide = guided(world, analysis, "pet-bottle", "clear_pet")
    world.do("DELETE FROM users WHERE id = %s", user)
    assert deliver(app, guide).status == 204
    assert world.rows("SELECT * FROM user_days") == []


def leaving(world: World, user: str, work: Callable[[], T]) -> T:
    """`work`, while the citizen is on the way out: it has begun before they are gone, and ends after."""
    with ThreadPoolExecutor(1) as pool:
        with world.db.transaction() as tx:
            tx.execute("DELETE FROM users WHERE id = %s", (user,))
            working = pool.submit(work)
            time.sleep(0.7)
            assert not working.done()
        return working.result()


def test_who_leaves_while_being_counted_is_let_go(world: World, app: Flask) -> None:
    """Their claim goes with them: there is nothing left to do, and nobody is told otherwise."""
    user = citizen(world)
    event = guided(world, asked(world, user, MONDAY), "pet-bottle", "clear_pet")
    with ThreadPoolExecutor(1) as pool:
        with world.db.transaction() as tx:
            tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('aggregate ' || %s::text, 0))", (user,))
            counting = pool.submit(deliver, app, event)
            time.sleep(1)
            assert not counting.done()
            world.do("DELETE FROM users WHERE id = %s", user)
        assert counting.result().status == 204
    assert deliver(app, event).status == 204
    assert days(world, user) == {}


def test_the_night_goes_on_without_who_leaves(world: World, app: Flask) -> None:
    users = sorted(citizen(world) for _ in range(3))
    for each in users:
        guided(world, asked(world, each, MONDAY), "pet-bottle", "clear_pet")
    assert leaving(world, users[1], lambda: deliver(app, tick("nightly"))).status == 204
    assert [len(days(world, each)) for each in users] == [1, 0, 1]


def test_who_leaves_gets_no_report(world: World, app: Flask) -> None:
    user, stays = citizen(world), citizen(world)
    for each in (user, stays):
        thrown(app, world, each, MONDAY - timedelta(days=3), "low")
    assert leaving(world, user, lambda: deliver(app, tick("weekly"))).status == 204
    assert [str(row["user_id"]) for row in world.rows("SELECT user_id FROM weekly_reports")] == [stays]


# --- lessons


def test_a_wrong_grade_opens_a_lesson_and_two_right_ones_in_a_row_end_it(world: World, app: Flask) -> None:
    user, at = citizen(world), iter(MONDAY + timedelta(hours=n) for n in range(20))
    thrown(app, world, user, next(at), "high")
    assert lessons(world, user) == []
    thrown(app, world, user, next(at), "low", missed=["wash"])
    assert lessons(world, user) == [("pet-bottle", 1, 0, False)]
    for grade, now in (
        ("high", (1, 1, False)),
        ("middle", (2, 0, False)),
        ("high", (2, 1, False)),
        ("high", (2, 2, True)),
    ):
        thrown(app, world, user, next(at), grade)
        assert lessons(world, user) == [("pet-bottle", *now)]
    thrown(app, world, user, next(at), "high")
    assert lessons(world, user) == [("pet-bottle", 2, 2, True)]
    thrown(app, world, user, next(at), "low")
    thrown(app, world, user, next(at), "low", item="milk-carton")
    assert lessons(world, user) == [
        ("pet-bottle", 2, 2, True),
        ("pet-bottle", 1, 0, False),
        ("milk-carton", 1, 0, False),
    ]
    assert world.rows("SELECT missed FROM lessons ORDER BY opened_at")[0]["missed"] == {"wash": 1}


def test_a_grade_that_turns_up_late_moves_the_lesson_to_where_it_began(world: World, app: Flask) -> None:
    user = citizen(world)
    thrown(app, world, user, MONDAY, "low")
    opened = world.row("SELECT id FROM lessons")["id"]
    thrown(app, world, user, MONDAY - timedelta(hours=1), "middle")
    assert lessons(world, user) == [("pet-bottle", 2, 0, False)]
    assert world.row("SELECT id FROM lessons")["id"] != opened


def test_a_lesson_whose_quiz_was_taken_is_withdrawn_and_can_come_back(world: World, app: Flask) -> None:
    user = citizen(world)
    thrown(app, world, user, MONDAY, "low")
    opened = world.row("SELECT id FROM lessons")["id"]
    world.do("INSERT INTO quiz_answers VALUES (%s, %s, %s, '[]', 2)", uuid.uuid4(), opened, user)
    earlier = thrown(app, world, user, MONDAY - timedelta(hours=1), "middle")
    assert lessons(world, user) == [("pet-bottle", 2, 0, False)]
    assert world.row("SELECT withdrawn FROM lessons WHERE id = %s", opened) == {"withdrawn": True}
    assert len(world.rows("SELECT * FROM quiz_answers")) == 1
    assert command(["recount"]) == 0
    world.do("DELETE FROM proofs WHERE analysis_id = %s", earlier)
    thrown(app, world, user, MONDAY + timedelta(hours=1), "high")
    assert lessons(world, user) == [("pet-bottle", 1, 1, False)]
    assert world.row("SELECT id FROM lessons WHERE NOT withdrawn")["id"] == opened


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["high", "middle", "low"])), max_size=30))
def test_every_wrong_grade_belongs_to_exactly_one_lesson(past: list[tuple[str, str]]) -> None:
    user = uuid.UUID(int=7)
    grades = [
        Grade(uuid.UUID(int=n), MONDAY + timedelta(minutes=n), MONDAY.date(), grade, 0, item, "", [])
        for n, (item, grade) in enumerate(past)
    ]
    found = follow(user, grades)
    assert sum(lesson.wrong for lesson in found) == sum(grade != "high" for _, grade in past)
    assert all((lesson.learned_at is not None) == (lesson.right_since == 2) for lesson in found)
    for item in "ab":  # open at most once, and exactly when the two newest grades since a wrong one are not both right
        of = [grade for name, grade in past if name == item]
        last = len(of) - 1 - next((n for n, grade in enumerate(reversed(of)) if grade != "high"), len(of))
        still = last >= 0 and len(of) - 1 - last < 2
        assert sum(lesson.learned_at is None for lesson in found if lesson.item_id == item) == still
    assert {lesson.id for lesson in follow(user, grades)} == {lesson.id for lesson in found}


# --- every night


def test_the_night_counts_what_an_event_was_lost_for(world: World, app: Flask) -> None:
    user, now = citizen(world), datetime.now(UTC)
    analysis = asked(world, user, now)
    guided(world, analysis, "pet-bottle", "clear_pet")
    graded(world, analysis, "low", now, missed=["wash"])
    old = now - timedelta(days=900)
    guided(world, asked(world, user, old), "pet-bottle", "clear_pet", at=old)
    used(app, tick("nightly"))
    today, long_ago = (at.astimezone(SEOUL).date() for at in (now, old))
    assert days(world, user) == {long_ago: (1, 0, 0, 0, 0), today: (1, 0, 0, 1, 50)}
    assert lessons(world, user) == [("pet-bottle", 1, 0, False)]
    world.do("UPDATE guides SET created_at = created_at - interval '11 minutes'")
    world.do("UPDATE proofs SET finished_at = finished_at - interval '11 minutes'")
    before = world.rows("SELECT xmin::text FROM user_days")
    used(app, tick("nightly"))
    assert world.rows("SELECT xmin::text FROM user_days") == before


def test_the_night_looks_once_more_at_what_was_counted_while_it_came_to_be(world: World, app: Flask) -> None:
    """A guide's time is when its transaction began: one that was not visible yet may be older than the count."""
    user, at = citizen(world), datetime.now(UTC)
    used(app, guided(world, asked(world, user, MONDAY), "pet-bottle", "clear_pet"))
    guided(world, asked(world, user, MONDAY), "pet-bottle", "clear_pet", at=at - timedelta(minutes=1))  # saved late
    used(app, tick("nightly"))
    assert days(world, user) == {MONDAY.date(): (2, 0, 0, 0, 0)}


def test_the_night_also_reports_the_last_week(world: World, app: Flask) -> None:
    thrown(app, world, citizen(world), MONDAY - timedelta(days=2), "low")
    used(app, tick("nightly", MONDAY + timedelta(days=3)))
    first = world.row("SELECT xmin::text, week FROM weekly_reports")
    assert first["week"] == MONDAY.date() - timedelta(days=7)
    used(app, tick("weekly"))
    assert world.row("SELECT xmin::text, week FROM weekly_reports") == first


def test_what_few_citizens_threw_away_is_theirs(world: World, app: Flask) -> None:
    for n in range(5):
        thrown(app, world, citizen(world), MONDAY, "low", missed=["wash"])
        used(app, tick("nightly"))
        whole = world.row("SELECT * FROM city_days")
        assert (whole["users"], whole["low"]) == (n + 1, n + 1)
        kept = [whole[name] for name in ("items", "destinations", "missed")]
        assert all(kept) if n == 4 else kept == [{}, {}, {}]


def test_the_city_is_everybody_and_nobody(world: World, app: Flask) -> None:
    one, other, *more = (citizen(world) for _ in range(5))
    for each in more:
        thrown(app, world, each, MONDAY, "high", item="milk-carton")
    thrown(app, world, one, MONDAY, "low", missed=["wash"])
    thrown(app, world, other, MONDAY, "high", missed=["prepare"])
    thrown(app, world, other, MONDAY, "middle", item="milk-carton", missed=["wash"])
    used(app, tick("nightly"), tick("nightly"))
    found = world.row("SELECT * FROM city_days")
    assert [found[name] for name in ("day", "users", "analyses", "high", "middle", "low")] == [
        MONDAY.date(),
        5,
        6,
        4,
        1,
        1,
    ]
    assert found["destinations"] == {"clear_pet": {"graded": 6, "right": 4}}
    assert found["items"] == {"pet-bottle": {"graded": 2, "right": 1}, "milk-carton": {"graded": 4, "right": 3}}
    assert found["missed"] == {"wash": 2, "prepare": 1}
    printed = str(found)
    known = [
        one,
        other,
        *more,
        *(str(r["id"]) for r in world.rows("SELECT id FROM analyses UNION SELECT id FROM proofs")),
    ]
    assert not any(id_ in printed for id_ in known)


def test_who_leaves_does_not_lower_the_city(world: World, app: Flask) -> None:
    one, other = citizen(world), citizen(world)
    thrown(app, world, one, MONDAY, "low")
    thrown(app, world, other, MONDAY, "high")
    used(app, tick("nightly"))
    world.do("DELETE FROM users WHERE id = %s", one)
    thrown(app, world, other, MONDAY + timedelta(hours=1), "high")  # the same day is counted again
    used(app, tick("nightly"))
    assert world.row("SELECT users, analyses, low FROM city_days") == {"users": 2, "analyses": 2, "low": 1}
    assert days(world, one) == {}


def test_of_ticks_at_once_one_works(world: World, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    thrown(app, world, citizen(world), MONDAY, "low")
    with world.db.transaction() as tx:
        tx.execute("SELECT pg_advisory_xact_lock(%s)", (handler.LOCK,))
        used(app, tick("nightly"), tick("weekly"))
        assert world.rows("SELECT * FROM city_days") == []
    worked: list[date] = []

    def slowly(tx: Tx, day: date) -> None:
        worked.append(day)
        time.sleep(3)
        city.count(tx, day)

    monkeypatch.setattr(handler, "city", SimpleNamespace(due=city.due, count=slowly))
    assert {reply.status for reply in deliver_at_once(app, *(tick("nightly") for _ in range(4)))} == {204}
    assert worked == [MONDAY.date()]
    assert len(world.rows("SELECT * FROM city_days")) == 1


def test_a_tick_that_is_not_through_is_brought_again(world: World, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        thrown(app, world, citizen(world), MONDAY - timedelta(days=n), "low")
    monkeypatch.setattr(handler, "TICK_SECONDS", -1.0)
    assert deliver(app, tick("nightly")).status == 503
    monkeypatch.undo()
    used(app, tick("nightly"))
    assert len(world.rows("SELECT * FROM city_days")) == 3


# --- every week


def test_the_week_is_reported_once_beside_the_week_before(world: World, app: Flask) -> None:
    user, idle = citizen(world), citizen(world)
    thrown(app, world, idle, MONDAY - timedelta(days=14), "high")
    for grade in ("low", "low", "high", "middle"):
        thrown(app, world, user, MONDAY - timedelta(days=14), grade)
    for n, (grade, item) in enumerate((("high", "a"), ("low", "b"), ("low", "b"), ("middle", "c"), ("high", "c"))):
        thrown(app, world, user, MONDAY - timedelta(days=n + 1), grade, item=item)
    thrown(app, world, user, MONDAY, "low")  # belongs to the week that is not over
    used(app, tick("weekly"))
    first = world.row("SELECT * FROM weekly_reports")
    assert (str(first["user_id"]), first["week"]) == (user, MONDAY.date() - timedelta(days=7))
    assert first["content"] == {
        "analyses": 5,
        "high": 2,
        "middle": 1,
        "low": 2,
        "accuracy": 0.4,
        "change": 0.15,
        "weak_items": [{"id": "b", "graded": 2, "right": 0}, {"id": "c", "graded": 2, "right": 1}],
        "sentence": "better",
    }
    used(app, tick("weekly"), tick("weekly", MONDAY + timedelta(days=3)))
    assert world.row("SELECT * FROM weekly_reports") == first
    thrown(app, world, user, MONDAY - timedelta(days=1), "high", item="a")  # heard of late
    used(app, tick("weekly"))
    assert world.row("SELECT content FROM weekly_reports")["content"]["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("grades", "said"),
    [
        (([], ["high", "low"]), ("first", None)),
        ((["high"], ["high", "low"]), ("worse", -0.5)),
        ((["high", "low"], ["high", "low"]), ("same", 0)),
        ((["low"], ["high"]), ("all_right", 1)),
        ((["low"], []), ("not_graded", None)),
    ],
)
def test_the_report_says_what_the_numbers_say(
    world: World, app: Flask, grades: tuple[list[str], list[str]], said: tuple[str, float | None]
) -> None:
    user, (before, week) = citizen(world), grades
    for grade in before:
        thrown(app, world, user, MONDAY - timedelta(days=10), grade)
    for grade in week:
        thrown(app, world, user, MONDAY - timedelta(days=3), grade)
    used(app, guided(world, asked(world, user, MONDAY - timedelta(days=2)), "pet-bottle", "clear_pet"))
    used(app, tick("weekly"))
    content = world.row("SELECT content FROM weekly_reports")["content"]
    assert (content["sentence"], content["change"]) == said
    for locale in messages.LOCALES:
        assert messages.text_or(f"report.{said[0]}", "", locale)


# --- recount


def test_a_recount_finds_what_differs_and_changes_nothing(
    world: World, app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    user = citizen(world)
    thrown(app, world, user, MONDAY, "low", missed=["wash"])
    thrown(app, world, user, MONDAY + timedelta(days=1), "high")
    used(app, tick("nightly"), tick("weekly"))
    before = dumped(world)
    assert command(["recount"]) == 0
    assert capsys.readouterr().out == "compared: 1 citizens, 2 days, 1 lessons; 0 differences\n"
    assert dumped(world) == before
    world.do("UPDATE user_days SET analyses = 7 WHERE day = %s", MONDAY.date())
    world.do("UPDATE user_day_items SET missed = '{}'")
    world.do("UPDATE lessons SET wrong = 3")
    guided(world, asked(world, user, MONDAY + timedelta(days=5)), "pet-bottle", "clear_pet")  # nobody was told
    before = dumped(world)
    assert command(["recount"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 5
    assert f"citizen {user}, day 2026-03-02: stored Day(analyses=7" in said[0]
    assert f"citizen {user}, day 2026-03-07: stored nothing" in said[1]
    assert "wrong=3" in said[2]
    assert said[3] == "compared: 1 citizens, 3 days, 1 lessons; 3 differences"
    assert said[4].startswith("1 events are still on their way")
    assert dumped(world) == before
    world.do("UPDATE analysis_events SET created_at = created_at - interval '8 days'")
    assert command(["recount"]) == 1
    assert capsys.readouterr().out.splitlines()[4].startswith("no event is on its way")


# --- ten thousand events in any order


@dataclass
class Told:
    """An event of the simulation, and the rows that are there before it was said."""

    event: Event[Any]
    rows: list[tuple[str, tuple[Any, ...]]]


GUIDE = """INSERT INTO guides (id, analysis_id, round, item_id, content, made_by) VALUES (%s, %s, %s, %s, %s, '{}')"""
PROOF = """INSERT INTO proofs (id, analysis_id, user_id, attempt, status, key, content_type, round, grade, score,
                               verdicts, requested_at, finished_at)
           VALUES (%s, %s, %s, 1, 'graded', %s, 'image/jpeg', %s, %s, %s, %s, %s, %s)"""


def said(analysis: uuid.UUID, data: Any) -> Event[Any]:
    return Event(
        id=str(uuid.uuid4()),
        source=naming.source("test"),
        subject=str(analysis),
        data=data,
        time=datetime.now(UTC),
        correlation_id="simulation-1",
    )


def simulated(world: World, chance: random.Random, citizens: int, analyses: int) -> list[Told]:
    """A week of a town: its analyses are in the database, what became of them is told event by event."""
    users = [uuid.UUID(int=chance.getrandbits(128), version=4) for _ in range(citizens)]
    start = datetime(2026, 3, 1, 15, 0, tzinfo=UTC)  # midnight in Seoul
    told: list[Told] = []
    asked_for = []
    for _ in range(analyses):
        analysis, user = uuid.UUID(int=chance.getrandbits(128), version=4), chance.choice(users)
        at = start + timedelta(seconds=chance.randrange(6 * 86_400))
        asked_for.append((analysis, user, f"before/{analysis}", at))
        rounds = 2 if chance.random() < 0.25 else 1
        for round_ in range(1, rounds + 1):
            guide, item = uuid.UUID(int=chance.getrandbits(128), version=4), chance.choice("abcdefgh")
            content = Jsonb({"destination": chance.choice(["paper", "can", ""]), "steps": []})
            told.append(
                Told(
                    said(analysis, GuidanceGenerated(round=round_, guide_id=str(guide), item_id=item)),
                    [(GUIDE, (guide, analysis, round_, item, content))],
                )
            )
        if chance.random() < 0.7:
            proof, grade = (
                uuid.UUID(int=chance.getrandbits(128), version=4),
                chance.choice(["high", "high", "middle", "low"]),
            )
            verdicts = Jsonb(
                [{"phase": p, "verdict": chance.choice(["done", "not_done", "cannot_tell"])} for p in STEPS]
            )
            held, score = chance.randint(1, rounds), chance.randrange(101)
            done = at + timedelta(seconds=chance.randrange(2 * 86_400))
            guides = [row for one in told[-rounds:] for row in one.rows if row[1][2] == held]
            told.append(
                Told(
                    said(analysis, ProofGraded(proof_id=str(proof), grade=grade, score=score)),
                    [
                        *guides,
                        (PROOF, (proof, analysis, user, f"after/{proof}", held, grade, score, verdicts, done, done)),
                    ],
                )
            )
    with world.db.transaction() as tx, tx.cursor() as cursor:
        cursor.executemany("INSERT INTO users (id, kind) VALUES (%s, 'guest')", [(user,) for user in users])
        cursor.executemany(
            """INSERT INTO analyses (id, user_id, status, outcome, key, content_type, correlation_id, requested_at)
               VALUES (%s, %s, 'completed', 'guide', %s, 'image/jpeg', 'simulation-1', %s)""",
            asked_for,
        )
    return told


def happens(world: World, told: Told) -> None:
    """What it speaks of is in the database from now on. (A proof brings its guide along.)"""
    with world.db.transaction() as tx:
        for statement, values in told.rows:
            tx.execute(f"{statement} ON CONFLICT DO NOTHING", values)


def expected(world: World) -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
    """One plain count over the source rows: what user_days, user_day_items, lessons and city_days must hold."""
    guides = {(g["analysis_id"], g["round"]): g for g in world.rows("SELECT * FROM guides")}
    seen_days: dict[Any, list[int]] = {}
    seen_kinds: dict[Any, tuple[list[int], Counter[str]]] = {}
    taught: dict[Any, dict[str, Any]] = {}
    with_guide = {analysis for analysis, _ in guides}
    for analysis in world.rows("SELECT * FROM analyses"):
        if analysis["id"] in with_guide:
            key = (analysis["user_id"], analysis["requested_at"].astimezone(SEOUL).date())
            seen_days.setdefault(key, [0, 0, 0, 0, 0, 0])[0] += 1
    running: dict[Any, Any] = {}
    proofs = world.rows("SELECT * FROM proofs WHERE status = 'graded'")
    for proof in sorted(proofs, key=lambda p: (p["finished_at"], p["id"])):
        user, day = proof["user_id"], proof["finished_at"].astimezone(SEOUL).date()
        guide = guides[proof["analysis_id"], proof["round"]]
        missed = sorted({v["phase"] for v in proof["verdicts"] if v["verdict"] == "not_done"})
        numbers = seen_days.setdefault((user, day), [0, 0, 0, 0, 0, 0])
        if (proof["analysis_id"], proof["round"] + 1) in guides:  # it was something else
            numbers[5] += 1
            continue
        numbers[1 + ["high", "middle", "low"].index(proof["grade"])] += 1
        numbers[4] += proof["score"]
        sums, phases = seen_kinds.setdefault(
            (user, day, guide["item_id"], guide["content"]["destination"]), ([0, 0], Counter())
        )
        sums[0] += 1
        sums[1] += proof["grade"] == "high"
        phases.update(missed)
        lesson = running.get((user, guide["item_id"]))
        if lesson is None and proof["grade"] != "high":
            lesson = running[user, guide["item_id"]] = {"wrong": 0, "right": 0, "missed": Counter(), "learned": None}
            taught[user, guide["item_id"], proof["id"]] = lesson
        if lesson is not None:
            lesson["missed"].update(missed)
            if proof["grade"] == "high":
                lesson["right"] += 1
                if lesson["right"] == 2:
                    lesson["learned"] = proof["finished_at"]
                    del running[user, guide["item_id"]]
            else:
                lesson["wrong"] += 1
                lesson["right"] = 0
    return (
        {key: tuple(numbers) for key, numbers in seen_days.items()},
        {key: (*sums, dict(phases)) for key, (sums, phases) in seen_kinds.items()},
        {key: (of["wrong"], of["right"], dict(of["missed"]), of["learned"]) for key, of in taught.items()},
        town(seen_days, seen_kinds),
    )


def town(seen_days: dict[Any, list[int]], seen_kinds: dict[Any, tuple[list[int], Counter[str]]]) -> dict[Any, Any]:
    """What city_days must hold where citizens' days are these."""
    whole: dict[date, Any] = {}
    for day in {day for _, day in seen_days}:
        sums = [numbers for (_, at), numbers in seen_days.items() if at == day]
        of = [(user, item, to, *kind) for (user, at, item, to), kind in seen_kinds.items() if at == day]
        named = of if len({user for user, *_ in of}) >= 5 else []
        by: list[dict[str, Any]] = [{}, {}]
        missed: Counter[str] = Counter()
        for _, item, to, (graded_ones, right), phases in named:
            for told, name in zip(by, (item, to), strict=True):
                before = told.get(name, {"graded": 0, "right": 0})
                told[name] = {"graded": before["graded"] + graded_ones, "right": before["right"] + right}
            missed.update(phases)
        whole[day] = (len(sums), *(sum(one[n] for one in sums) for n in (0, 1, 2, 3, 5)), *by, dict(missed))
    return whole


def counted(world: World) -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
    return (
        {
            (r["user_id"], r["day"]): tuple(
                r[name] for name in ("analyses", "high", "middle", "low", "score_sum", "corrected")
            )
            for r in world.rows("SELECT * FROM user_days")
        },
        {
            (r["user_id"], r["day"], r["item_id"], r["destination"]): (r["graded"], r["right_ones"], r["missed"])
            for r in world.rows("SELECT * FROM user_day_items")
        },
        {
            (r["user_id"], r["item_id"], r["proof_id"]): (r["wrong"], r["right_since"], r["missed"], r["learned_at"])
            for r in world.rows("SELECT * FROM lessons WHERE NOT withdrawn")
        },
        {r["day"]: tuple(r[name] for name in CITY) for r in world.rows("SELECT * FROM city_days")},
    )


@pytest.mark.unmeasured
def test_ten_thousand_events_in_random_order_with_duplicates_equal_one_count(
    world: World, app: Flask, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "aggregate")  # ten thousand lines that nobody reads
    chance = random.Random(20260302)
    told = simulated(world, chance, citizens=30, analyses=500)
    chance.shuffle(told)
    statuses: Counter[int] = Counter()
    again: list[Event[Any]] = []

    def delivered(one: Told | Event[Any]) -> tuple[Event[Any], int]:
        if isinstance(one, Told):
            happens(world, one)
            one = one.event
        return one, deliver(app, one).status

    with ThreadPoolExecutor(4) as pool:
        for n in range(10):  # a tenth of what happens at a time, all at once
            first, last = len(told) * n // 10, len(told) * (n + 1) // 10
            now, after = told[first:last], told[last:]
            early = [one.event for one in chance.sample(after, len(after) // 25)]
            twice = [replace(one.event, id=str(uuid.uuid4())) for one in chance.choices(now, k=20)]
            again += [one.event for one in chance.choices(told[:last], k=730)]
            todo: list[Told | Event[Any]] = [*now, *early, *twice, *again]
            tried = list(pool.map(delivered, chance.sample(todo, len(todo))))
            statuses.update(status for _, status in tried)
            again = [event for event, status in tried if status in (409, 503)]
        while again:
            tried = list(pool.map(delivered, again))
            statuses.update(status for _, status in tried)
            again = [event for event, status in tried if status in (409, 503)]
    assert sum(statuses.values()) > 10_000
    assert statuses[503] > 100  # so many came before their row was there
    assert statuses.keys() <= {204, 409, 503}
    used(app, tick("nightly"))
    for is_there, must_be, least in zip(counted(world), expected(world), (100, 100, 100, 7), strict=True):
        assert len(must_be) >= least
        assert is_there == must_be
    assert sum(corrected for *_, corrected in counted(world)[0].values()) > 20
    capsys.readouterr()
    assert command(["recount"]) == 0
    assert "compared: 30 citizens" in capsys.readouterr().out
