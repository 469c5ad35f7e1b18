"""Nobody spends more model calls a day than they have, all together not more dollars, and failures cost nothing."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from werkzeug.test import TestResponse

from functions.shared import budget as budgets
from functions.shared import calls, http, spending
from functions.shared.budget import Budget
from functions.shared.config import load
from functions.shared.http import Problem
from functions.shared.leaving import leave
from functions.shared.lifecycle import Superseded
from functions.shared.memory import Away, Memory
from functions.shared.prices import CALL_USD
from functions.shared.regions import KOREA
from functions.shared.tokens import Signer
from functions.waste.routes import create
from functions.waste.settings import Settings
from tests.steps import World

WASTE = "/api/v1/waste"


@pytest.fixture
def world(world: World) -> World:
    """Nobody who left had spent anything."""
    world.do("TRUNCATE departed_spending")
    return world


Send = Callable[..., TestResponse]


@pytest.fixture
def sender(world: World, pipeline_env: dict[str, str], keys: Path) -> Callable[..., Send]:
    """A citizen of `waste`, whose budgets the test chooses: `sender(user, MODEL_DAILY_USD="1")(path, body)` posts."""

    def sender(user: str, **values: str) -> Send:
        environ = {
            **pipeline_env,
            "BROKER_URL": "http://127.0.0.1:9/",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
            "JWT_PUBLIC_KEYS_DIR": str(keys / "public"),
            **values,
        }
        app: Flask = create(load(Settings, environ))
        token = Signer(keys / "private.pem").issue(uuid.UUID(user)).token

        def send(path: str, body: Any, **headers: str) -> TestResponse:
            sent = {"Authorization": f"Bearer {token}"} | {n.replace("_", "-"): v for n, v in headers.items()}
            return app.test_client().post(f"{WASTE}/{path}", json=body, headers=sent)

        return send

    return sender


def uploaded(world: World, count: int) -> tuple[str, list[str]]:
    """A citizen with so many photos to be analysed: their id, the analyses'."""
    analyses = [world.analysis("presigned") for _ in range(count)]
    user = str(world.state(analyses[0])["user_id"])
    world.do("UPDATE analyses SET user_id = %s", user)
    return user, analyses


def used(env: dict[str, str], user: object) -> int:
    with closing(redis.Redis.from_url(env["REDIS_URL"])) as client:
        return int(client.hget(f"budget:{user}", "used") or 0)  # type: ignore[arg-type, unused-ignore]


# --- a citizen's day


def test_at_once_or_not_nobody_passes_their_budget(world: World, redis_url: str) -> None:
    user, memory = uuid.uuid4(), Memory(redis_url, timeout=5.0)
    processes = [Budget(memory, per_user=30, usd=1000) for _ in range(2)]

    def spend(n: int) -> bool:
        try:
            with processes[n % 2].spending(user) as spend, world.db.transaction() as tx:
                spend(tx, n % 3 + 1)
        except Problem:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        granted = list(pool.map(spend, range(60)))
    assert sum(n % 3 + 1 for n in range(60) if granted[n]) == 30
    assert not spend(0)
    with processes[0].spending(uuid.uuid4()) as more, world.db.transaction() as tx:
        more(tx, 30)


def test_a_citizen_is_told_when_there_is_more(
    world: World, sender: Callable[..., Send], pipeline_env: dict[str, str]
) -> None:
    user, analyses = uploaded(world, 3)
    send = sender(user, MODEL_DAILY_PER_USER="5")
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda analysis: send("analyze", {"key": world.key(analysis)}), analyses))
    assert sorted(answer.status_code for answer in answers) == [202, 202, 429]
    refused, analysis = next((a, b) for a, b in zip(answers, analyses, strict=True) if a.status_code == 429)
    assert refused.content_type == http.PROBLEM_JSON
    assert isinstance(refused.json, dict)
    assert (refused.json["code"], refused.json["limit"]) == ("daily_budget", 5)
    renewed = datetime.fromisoformat(refused.json["renewed_at"])
    assert (renewed.astimezone(KOREA) + timedelta(seconds=5)).time() < datetime(2026, 1, 1, 0, 0, 10).time()  # noqa: DTZ001
    assert 0 < int(refused.headers["Retry-After"]) <= 86400
    assert world.state(analysis)["status"] == "presigned", "nothing has begun"
    assert used(pipeline_env, user) == 4
    other, (theirs,) = uploaded(world, 1)
    assert sender(other, MODEL_DAILY_PER_USER="5")("analyze", {"key": world.key(theirs)}).status_code == 202


def test_what_was_asked_before_or_fails_costs_nothing(
    world: World, sender: Callable[..., Send], pipeline_env: dict[str, str]
) -> None:
    user, analyses = uploaded(world, 2)
    send, body = sender(user, MODEL_DAILY_PER_USER="2"), {"key": world.key(analyses[0])}
    assert send("analyze", {"key": "nobody's"}).status_code == 404
    assert send(f"analyses/{uuid.uuid4()}/answer", {"option": "a"}).status_code == 404
    assert used(pipeline_env, user) == 0
    assert send("analyze", body, Idempotency_Key="once").status_code == 202
    assert send("analyze", body, Idempotency_Key="once").status_code == 202, "although nothing is left"
    assert send("analyze", {"key": world.key(analyses[1])}).status_code == 429
    assert used(pipeline_env, user) == 2


def test_everything_that_wakes_the_model_is_counted(
    world: World, sender: Callable[..., Send], pipeline_env: dict[str, str]
) -> None:
    analysis = world.analysis("completed", outcome="guide")
    user = str(world.state(analysis)["user_id"])
    send = sender(user, MODEL_DAILY_PER_USER="1")
    assert send(f"analyses/{analysis}/questions", {"text": "뚜껑은요?"}).status_code == 202
    assert send(f"analyses/{analysis}/questions", {"text": "뚜껑은요?"}).status_code == 202, "the same question"
    assert send(f"analyses/{analysis}/questions", {"text": "라벨은요?"}).status_code == 429
    assert used(pipeline_env, user) == 1


def test_what_could_not_be_kept_is_given_back(world: World, redis_url: str) -> None:
    user, memory = uuid.uuid4(), Memory(redis_url, timeout=5.0)
    budget = Budget(memory, per_user=5, usd=1000)

    def fail() -> None:
        with budget.spending(user) as spend, world.db.transaction() as tx:
            spend(tx, 3)
            spend(tx, 2)
            raise RuntimeError("the commit failed")

    for _ in range(4):
        with pytest.raises(RuntimeError):
            fail()
    with budget.spending(user) as spend, world.db.transaction() as tx:
        spend(tx, 5)


def test_the_day_ends_at_midnight_in_korea(redis_url: str) -> None:
    assert budgets.CHARGE.count("redis.call('TIME')[1]") == 1
    script = budgets.CHARGE.replace("redis.call('TIME')[1]", "ARGV[3]")
    midnight = datetime(2026, 10, 1, tzinfo=KOREA)
    key = f"budget:{uuid.uuid4()}"
    with closing(redis.Redis.from_url(redis_url)) as client:

        def charge(at: datetime, units: int) -> list[int]:
            return [int(n) for n in client.eval(script, 1, key, units, 5, int(at.astimezone(UTC).timestamp()))]

        granted, day, left = charge(midnight - timedelta(seconds=90), 5)
        assert (granted, left) == (1, 90)
        assert charge(midnight - timedelta(seconds=60), 1)[0] == 0
        assert charge(midnight, 5) == [1, day + 1, 86400]
        assert client.eval(budgets.REFUND, 1, key, 5, day) == 0, "yesterday's units are gone"
        assert charge(midnight + timedelta(hours=23), 1)[0] == 0
        assert client.eval(budgets.REFUND, 1, key, 2, day + 1) == 3
        assert charge(midnight + timedelta(hours=23), 2)[0] == 1
        assert 0 < client.ttl(key) <= 3600


def test_without_redis_nothing_is_spent(world: World) -> None:
    budget = Budget(Memory("redis://127.0.0.1:9/0"), per_user=5, usd=1000)
    with pytest.raises(Away), budget.spending(uuid.uuid4()) as spend, world.db.transaction() as tx:
        spend(tx, 1)


# --- everybody's dollars


def paid(world: World, model: str = "gpt-4o", *, standin: bool = False, tokens: int = 100_000) -> str:
    """A call that is kept; the analysis it belongs to (completed)."""
    analysis = world.analysis("completed")
    answer = calls.Answer({}, "{}", model, standin, tokens, 0, 5)
    purpose = f"see{random.randrange(10**6)}"
    calls.keep(world.db, answer, analysis_id=analysis, round_=1, purpose=purpose, prompt_version="1")
    return analysis


def spent(world: World) -> float:
    """What the breaker believes was spent today: dollars."""
    with world.db.transaction() as tx:
        return spending.today(tx)[0]


def test_every_paid_call_is_added_up_and_stays(world: World) -> None:
    assert spent(world) == 0
    paid(world)
    mine = [paid(world), paid(world, "somebody-elses"), paid(world, "standin", standin=True)]
    assert spent(world) == pytest.approx(0.5 + CALL_USD), "no price is known of one, and one was free"
    for analysis in mine:
        with world.db.transaction() as tx:
            leave(tx, world.state(analysis)["user_id"])
        assert spent(world) == pytest.approx(0.5 + CALL_USD), "the money does not come back"
    world.do("UPDATE model_calls SET created_at = created_at - interval '1 day'")
    world.do("UPDATE departed_spending SET day = day - 1")
    assert spent(world) == 0


def test_a_call_that_ends_after_its_citizen_left_is_added_up_too(world: World) -> None:
    for model, standin, cost in (("gpt-4o", False, 0.25), ("somebody-elses", False, CALL_USD), ("standin", True, 0)):
        before, gone = spent(world), str(uuid.uuid4())
        answer = calls.Answer({}, "{}", model, standin, 100_000, 0, 5)
        with pytest.raises(Superseded):
            calls.keep(world.db, answer, analysis_id=gone, round_=1, purpose="see", prompt_version="1")
        assert spent(world) - before == pytest.approx(cost)


def test_the_breaker_opens_when_the_day_is_spent(world: World, sender: Callable[..., Send]) -> None:
    user, (first, second, third) = uploaded(world, 3)
    paid(world)  # a quarter of a dollar
    assert sender(user, MODEL_DAILY_USD="0.3")("analyze", {"key": world.key(first)}).status_code == 202
    world.do("UPDATE analyses SET status = 'completed' WHERE id = %s", first)
    paid(world)
    refused = sender(user, MODEL_DAILY_USD="0.3")("analyze", {"key": world.key(second)})
    assert refused.status_code == 503
    assert refused.json["code"] == "model_budget"  # type: ignore[index]
    midnight = (datetime.now(KOREA) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert abs((midnight - datetime.now(KOREA)).total_seconds() - int(refused.headers["Retry-After"])) < 5
    assert world.state(second)["status"] == "presigned"
    world.do("UPDATE model_calls SET created_at = created_at - interval '1 day'")
    assert sender(user, MODEL_DAILY_USD="0.3")("analyze", {"key": world.key(third)}).status_code == 202


def test_what_is_open_is_set_aside(world: World, sender: Callable[..., Send]) -> None:
    user, analyses = uploaded(world, 4)
    three = str(3 * 2 * CALL_USD + 0.001)
    assert [sender(user, MODEL_DAILY_USD=three)("analyze", {"key": world.key(a)}).status_code for a in analyses] == [
        202, 202, 202, 503,
    ]  # fmt: skip
    refused = sender(user, MODEL_DAILY_USD=three)("analyze", {"key": world.key(analyses[3])})
    assert refused.headers["Retry-After"] == str(budgets.RECONSIDER_SECONDS)
    world.do("UPDATE analyses SET status = 'completed' WHERE id = %s", analyses[0])
    assert sender(user, MODEL_DAILY_USD=three)("analyze", {"key": world.key(analyses[3])}).status_code == 202


def test_one_process_knows_what_it_granted_itself(world: World, sender: Callable[..., Send]) -> None:
    user, analyses = uploaded(world, 6)
    send = sender(user, MODEL_DAILY_USD=str(3 * 2 * CALL_USD + 0.001))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda a: send("analyze", {"key": world.key(a)}).status_code, analyses))
    assert sorted(answers) == [202, 202, 202, 503, 503, 503]
