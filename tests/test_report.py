"""make report: every number is a count of the rows the test wrote, and of no row outside the period."""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from functions.aggregate.__main__ import main
from functions.aggregate.printed import DAYS_SHOWN, SHOWN, render
from functions.aggregate.report import collect
from functions.shared.regions import KOREA
from tests.steps import ROOT, World

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
DAYS = 30
STATES = [
    ("completed", "guide"),
    ("completed", "not_found"),
    ("needs_answer", None),
    ("expired", None),
    ("failed", None),
]
FAILURES = [
    ("bad_photo", "damaged"),
    ("bad_photo", "empty"),
    ("internal", "identify"),
    ("model_unavailable", "generate"),
]
#: model → whether it is the stand-in, and what a call costs (None: nobody knows).
MODELS = {"gpt-4o-2024-08-06": (False, Decimal("0.0035")), "mystery-9": (False, None), "standin-1": (True, None)}
PURPOSES = ["see", "see_repair", "see_2", "guide", "guide_repair", "grade1", "grade2", "grade2_repair", "ask1", "ask10"]


@dataclass
class Books:
    """What the test wrote within the period, counted by the test."""

    states: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: list[tuple[str, str, int, int]] = field(default_factory=list)
    cached: dict[str, list[bool]] = field(default_factory=lambda: {"guides": [], "retrievals": []})
    grades: list[tuple[str, int, bool]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    questions: Counter[str] = field(default_factory=Counter)


def written(world: World, chance: random.Random, analyses: int = 80) -> Books:
    """Rows of every kind, a third of them before the period."""
    books = Books()
    for _ in range(analyses):
        at = NOW - timedelta(days=chance.uniform(0.01, DAYS * 1.5))
        within = at >= NOW - timedelta(days=DAYS)
        status, outcome = chance.choice(STATES)
        reason, detail = chance.choice(FAILURES)
        failure = Jsonb({"reason": reason, "detail": detail, "from": "ingested"}) if status == "failed" else None
        analysis = world.analysis(status, outcome=outcome, failure=failure, requested_at=at, created_at=at)
        if within:
            books.states[status, outcome] += 1
            books.failures[reason, detail] += status == "failed"
        for purpose in chance.sample(PURPOSES, chance.randrange(4)):
            model, tokens_in, tokens_out = chance.choice(list(MODELS)), chance.randrange(2000), chance.randrange(200)
            call(world, analysis, purpose, model, tokens=(tokens_in, tokens_out), at=at)
            if within:
                books.calls.append((purpose, model, tokens_in, tokens_out))
        if outcome == "guide":
            _guided(world, chance, analysis, at, books if within else Books())
    return books


def _guided(world: World, chance: random.Random, analysis: str, at: datetime, books: Books) -> None:
    cached = [chance.random() < 0.4, chance.random() < 0.6]
    guide(world, analysis, at, guide=cached[0], rules=cached[1])
    books.cached["guides"].append(cached[0])
    books.cached["retrievals"].append(cached[1])
    if chance.random() < 0.5:
        reason = chance.choice(["same_photo", "unclear", "near_copy"])
        proof(world, analysis, 1, at, reason=reason)
        books.refused[reason] += 1
    if chance.random() < 0.6:
        grade, score, standin = chance.choice(["high", "middle", "low"]), chance.randrange(101), chance.random() < 0.5
        proof(world, analysis, 2, at, grade=grade, score=score, made_by=Jsonb({"standin": standin}))
        books.grades.append((grade, score, standin))
    for n in range(1, chance.randrange(1, 4)):
        kind = chance.choice(["asked", "answered", "declined", "failed"])
        world.do(
            """INSERT INTO questions (id, analysis_id, n, round, text, status, created_at)
               VALUES (%s, %s, %s, 1, '?', %s, %s)""",
            uuid.uuid4(),
            analysis,
            n,
            kind,
            at,
        )
        books.questions[kind] += 1


def call(world: World, analysis: str, purpose: str, model: str, *, tokens: tuple[int, int], at: datetime) -> None:
    """A call with tokens in and out."""
    standin, cost = MODELS[model]
    world.do(
        """INSERT INTO model_calls (analysis_id, round, purpose, model, prompt_version, answer, tokens_in, tokens_out,
                                    cost_usd, ms, created_at)
           VALUES (%s, 1, %s, %s, 'v', %s, %s, %s, %s, 1, %s)""",
        analysis,
        purpose,
        model,
        Jsonb({"parsed": {}, "raw": "", "standin": standin, "refused": None}),
        *tokens,
        cost,
        at,
    )


def guide(world: World, analysis: str, at: datetime, *, guide: bool = False, rules: bool = False) -> None:
    world.do(
        """INSERT INTO guides (id, analysis_id, round, item_id, content, made_by, created_at)
           VALUES (%s, %s, 1, 'clear-pet-bottle', '{}', %s, %s)""",
        uuid.uuid4(),
        analysis,
        Jsonb({"cached": guide}),
        at,
    )
    world.do(
        """INSERT INTO retrievals (analysis_id, round, item_id, passages, index_version, cached, created_at)
           VALUES (%s, 1, 'clear-pet-bottle', '[]', 'v', %s, %s)""",
        analysis,
        rules,
        at,
    )


def proof(world: World, analysis: str, attempt: int, at: datetime, **columns: Any) -> str:
    """A proof that ended at that time: graded where `grade` is given, refused where `reason` is, open otherwise."""
    ended = "graded" if "grade" in columns else "refused" if "reason" in columns else "ingested"
    values = {
        "id": uuid.uuid4(),
        "analysis_id": analysis,
        "user_id": world.state(analysis)["user_id"],
        "attempt": attempt,
        "status": ended,
        "key": f"uploads/{analysis}/after-{attempt}.jpg",
        "content_type": "image/jpeg",
        "round": 1,
        "requested_at": at,
        "finished_at": None if ended == "ingested" else at,
        **columns,
    }
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    world.do(f"INSERT INTO proofs ({names}) VALUES ({places})", *values.values())
    return str(values["id"])


def dispute(world: World, proof_id: str, words: str, at: datetime) -> None:
    world.do(
        """INSERT INTO disputes (id, proof_id, user_id, reason, created_at)
           SELECT %s, id, user_id, %s, %s FROM proofs WHERE id = %s""",
        uuid.uuid4(),
        words,
        at,
        proof_id,
    )


def letter(world: World, consumer: str, at: datetime, *, replayed: bool = False) -> None:
    world.do(
        """INSERT INTO dead_letters
               (consumer, event_source, event_id, attributes, body, error_code, created_at, replayed_at)
           VALUES (%s, 's', %s, '{"type": "app.growbin.waste.photo.v1.ingested"}', '', '500', %s, %s)""",
        consumer,
        str(uuid.uuid4()),
        at,
        at if replayed else None,
    )


@pytest.mark.parametrize("seed", range(3))
def test_every_number_is_a_count_of_the_rows(world: World, seed: int) -> None:
    books = written(world, random.Random(seed))
    found = collect(world.db, DAYS, NOW)
    asked = sum(books.states.values())
    assert 0 < asked < 80
    assert found["analyses"]["asked"] == asked
    assert {(row["status"], row["outcome"]): row["n"] for row in found["analyses"]["states"]} == books.states
    told = {(row["reason"], row["detail"]): row["n"] for row in found["analyses"]["failures"]}
    assert told == +books.failures
    for table, cached in books.cached.items():
        share = round(sum(cached) / len(cached), 4)
        assert found["caches"][table] == {"n": len(cached), "cached": sum(cached), "rate": share}
    assert found["proofs"] == {
        "graded": len(books.grades),
        "grades": {code: sum(grade == code for grade, _, _ in books.grades) for code in ("high", "middle", "low")},
        "average_score": round(sum(score for _, score, _ in books.grades) / len(books.grades), 1),
        "by_standin": sum(standin for _, _, standin in books.grades),
        "refused": [
            {"reason": reason, "n": n} for reason, n in sorted(books.refused.items(), key=lambda one: (-one[1], one[0]))
        ],
        "open": 0,
    }
    assert found["questions"] == {kind: books.questions[kind] for kind in ("answered", "declined", "failed", "asked")}


@pytest.mark.parametrize("seed", range(3))
def test_calls_tokens_and_costs_add_up(world: World, seed: int) -> None:
    books = written(world, random.Random(seed))
    model = collect(world.db, DAYS, NOW)["model"]

    def total(calls: list[tuple[str, str, int, int]]) -> dict[str, Any]:
        prices = [MODELS[name][1] or Decimal(0) for _, name, _, _ in calls]
        return {
            "calls": len(calls),
            "repairs": sum(purpose.endswith("_repair") for purpose, _, _, _ in calls),
            "tokens_in": sum(tokens for _, _, tokens, _ in calls),
            "tokens_out": sum(tokens for _, _, _, tokens in calls),
            "cost_usd": float(sum(prices)),
        }

    def by(*names: str) -> list[tuple[str, str, int, int]]:
        return [one for one in books.calls if one[1] in names]

    paid = by("gpt-4o-2024-08-06")
    assert model["paid"] == total(paid)
    assert model["unknown_price"] == {**total(by("mystery-9")), "models": ["mystery-9"]}
    assert model["standin"] == total(by("standin-1"))
    assert model["cost_usd_per_analysis"] == round(0.0035 * len(paid) / sum(books.states.values()), 6)
    kinds = {"see": PURPOSES[:3], "guide": PURPOSES[3:5], "grade": PURPOSES[5:8], "ask": PURPOSES[8:]}
    expected = [
        {
            "purpose": kind,
            "standin": standin,
            **total(some),
            "unknown_price": sum(one[1] == "mystery-9" for one in some),
        }
        for standin in (False, True)
        for kind in sorted(kinds)
        if (some := [one for one in books.calls if one[0] in kinds[kind] and MODELS[one[1]][0] == standin])
    ]
    assert model["purposes"] == expected


def test_both_sides_of_a_dispute_are_shown(world: World) -> None:
    analysis = world.analysis("completed", outcome="guide", requested_at=NOW - timedelta(days=2))
    guide(world, analysis, NOW - timedelta(days=2))
    verdicts = [{"step": n, "verdict": verdict} for n, verdict in enumerate(["done", "not_done", "not_done"])]
    graded = proof(world, analysis, 1, NOW - timedelta(days=1), grade="low", score=31, verdicts=Jsonb(verdicts))
    words = "라벨은\n떼었어요.\x1b[2J 왜 하예요?"
    dispute(world, graded, words, NOW - timedelta(hours=1))
    refused = world.analysis("completed", outcome="guide", requested_at=NOW - timedelta(days=2))
    dispute(world, proof(world, refused, 1, NOW, reason="screen"), "화면이 아니에요", NOW - timedelta(hours=2))
    dispute(world, proof(world, world.analysis(), 1, NOW, reason="screen"), "오래전", NOW - timedelta(days=31))
    found = collect(world.db, DAYS, NOW)["disputes"]
    assert [one["proof_id"] for one in found][:1] == [graded]
    assert found[0] == {
        "at": found[0]["at"],
        "analysis_id": analysis,
        "proof_id": graded,
        "attempt": 1,
        "item": world.row("SELECT name_ko FROM items WHERE id = 'clear-pet-bottle'")["name_ko"],
        "grade": "low",
        "score": 31,
        "refused": None,
        "by_standin": False,
        "verdicts": {"done": 1, "not_done": 2, "cannot_tell": 0, "not_applicable": 0},
        "citizen": "라벨은 떼었어요. [2J 왜 하예요?",  # no terminal is told to clear itself
    }
    assert [(one["grade"], one["refused"], one["citizen"]) for one in found[1:]] == [
        (None, "screen", "화면이 아니에요")
    ]
    text = render(collect(world.db, DAYS, NOW))
    assert "low, score 31 (1 done, 2 not done)" in text
    assert "refused: screen" in text
    assert "\x1b" not in text
    assert "오래전" not in text


def test_near_copies_and_dead_letters_wait_for_a_person(world: World) -> None:
    analysis = world.analysis("completed", outcome="guide", requested_at=NOW)
    flags = [{"near": "other", "proof_id": str(uuid.uuid4()), "bits": 3}]
    flagged = proof(world, analysis, 1, NOW - timedelta(hours=1), grade="high", score=90, flags=Jsonb(flags))
    for consumer, replayed in (("identify", False), ("identify", False), ("grade", False), ("grade", True)):
        letter(world, consumer, NOW - timedelta(days=90), replayed=replayed)
    found = collect(world.db, DAYS, NOW)
    assert [(one["proof_id"], one["flags"]) for one in found["near_copies"]] == [(flagged, flags)]
    assert [(one["consumer"], one["n"]) for one in found["dead_letters"]] == [("identify", 2), ("grade", 1)]
    text = render(found)
    assert f"high, proof {flagged}: bits 3, near other, proof_id {flags[0]['proof_id']}" in text
    assert "Dead letters not replayed: 3" in text


def test_a_proof_still_open_is_neither_graded_nor_refused(world: World) -> None:
    proof(world, world.analysis("completed", outcome="guide", requested_at=NOW), 1, NOW)
    found = collect(world.db, DAYS, NOW)["proofs"]
    assert (found["graded"], found["average_score"], found["refused"], found["open"]) == (0, None, [], 1)


def test_what_a_person_reads(world: World) -> None:
    at = NOW - timedelta(days=1)
    failure = Jsonb({"reason": "bad_photo", "detail": "damaged", "from": "requested"})
    world.analysis("failed", failure=failure, requested_at=at)
    analysis = world.analysis("completed", outcome="guide", requested_at=at)
    guide(world, analysis, at, guide=True)
    call(world, analysis, "see", "gpt-4o-2024-08-06", tokens=(1200, 100), at=at)
    call(world, analysis, "guide", "mystery-9", tokens=(10, 20), at=at)
    call(world, analysis, "ask1", "standin-1", tokens=(7, 8), at=at)
    proof(world, analysis, 1, at, grade="high", score=90)
    lines = [" ".join(line.split()) for line in render(collect(world.db, DAYS, NOW)).splitlines()]
    for line in (
        "2026-10-21 12:00 to 2026-11-20 12:00 (Asia/Seoul), 30 days",
        "Analyses: 2",
        "completed (guide) 1",
        "bad_photo (damaged) 1",
        "Cost per analysis: at least 0.001750 USD",
        "paid calls 1 0.003500 USD",
        "of unknown price 1 not in the sum: mystery-9",
        "of the stand-in 1 which cost nothing",
        "see 1 0 1,200 100 0.003500",
        "guide 1 0 10 20 >= 0.000000",
        "ask (stand-in) 1 0 7 8 -",
        "guides 1 of 1, 100.0%",
        "retrievals 0 of 1, 0.0%",
        "Grades: 1, average score 90.0, 0 by the stand-in",
        "high 1 100.0%",
    ):
        assert line in lines


def test_the_city_is_shown_by_its_last_days(world: World) -> None:
    world.do("TRUNCATE city_days")
    for ago in range(DAYS + 2):
        items = {item: {"graded": 9, "right": right} for item, right in (("can", 9), ("twine", 7), ("lamp", 2))}
        world.do(
            """INSERT INTO city_days (day, users, analyses, high, middle, low, corrected, destinations, items, missed)
               VALUES (%s, 1005, 20, 18, 5, 4, 1, '{}', %s, '{"wash": 2}')""",
            NOW.astimezone(KOREA).date() - timedelta(days=ago),
            Jsonb({} if ago == 1 else items),
        )
    found = collect(world.db, DAYS, NOW)
    assert [found["city"][n]["day"] for n in (0, -1)] == ["2026-11-20", "2026-10-21"]
    assert found["city"][0]["missed"] == {"wash": 2}
    json.dumps(found)
    lines = [" ".join(line.split()) for line in render(found).splitlines()]
    assert "2026-11-20 1,005 20 18 5 4 lamp 7, twine 2" in lines
    assert "2026-11-19 1,005 20 18 5 4" in lines
    assert sum(" 1,005 20 " in line for line in lines) == DAYS_SHOWN


def test_an_empty_period_claims_nothing(world: World) -> None:
    found = collect(world.db, 1, NOW)
    assert found["analyses"] == {"asked": 0, "states": [], "failures": []}
    assert found["model"]["cost_usd_per_analysis"] is None
    assert found["caches"]["guides"]["rate"] is None
    assert "Cost per analysis: unknown" in render(found)


def test_what_only_the_standin_answered_did_not_cost_nothing_but_is_not_known(world: World) -> None:
    analysis = world.analysis("completed", outcome="guide", requested_at=NOW - timedelta(days=1))
    call(world, analysis, "see", "standin-1", tokens=(5, 5), at=NOW - timedelta(days=1))
    assert collect(world.db, DAYS, NOW)["model"]["cost_usd_per_analysis"] is None


def test_a_long_list_says_where_the_rest_is(world: World) -> None:
    for _ in range(SHOWN + 2):
        one = proof(world, world.analysis("completed", outcome="guide"), 1, NOW, reason="unclear")
        dispute(world, one, "더 잘 보여요", NOW - timedelta(hours=1))
    text = render(collect(world.db, DAYS, NOW))
    assert "and 2 more: --json has them" in text
    assert text.count("더 잘 보여요") == SHOWN


@pytest.fixture
def here(world: World, pipeline_env: dict[str, str]) -> str:
    """An analysis of an hour ago, and the database's URL."""
    world.analysis("completed", outcome="guide", requested_at=datetime.now(UTC) - timedelta(hours=1))
    return pipeline_env["DATABASE_URL"]


def test_the_command_prints_text_or_json(here: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 0
    assert "Analyses: 1" in capsys.readouterr().out
    assert main(["report", "--days", "7", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["days"], told["analyses"]["asked"]) == (7, 1)
    with pytest.raises(SystemExit):
        main(["report", "--days", "0"])
    assert "'0' is not a number of days" in capsys.readouterr().err


def test_make_report_asks_the_database_that_is_named_or_what_runs_here(here: str, tmp_path: Path) -> None:
    command = ["make", "report", "DAYS=3", "JSON=1", f"STATE={tmp_path}", "-o", ".venv/.stamp"]
    named = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "DATABASE_URL": here}, capture_output=True, text=True, check=False
    )
    assert named.returncode == 0, named.stderr
    assert json.loads(named.stdout)["analyses"]["asked"] == 1
    nowhere = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    command = [sys.executable, "-m", "knative.local", "report", "--state", str(tmp_path)]
    alone = subprocess.run(command, cwd=ROOT, env=nowhere, capture_output=True, text=True, check=False)
    assert alone.returncode == 1
    assert "make run" in alone.stderr
    (tmp_path / "run.json").write_text(json.dumps({"env": {"DATABASE_URL": here}}))
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as the supervisor of `make run` holds it
        running = subprocess.run(command, cwd=ROOT, env=nowhere, capture_output=True, text=True, check=False)
    assert "Analyses: 1" in running.stdout, running.stderr
    gone = subprocess.run(
        command,
        cwd=ROOT,
        env={**nowhere, "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert gone.returncode == 1
    assert "Traceback" not in gone.stderr
