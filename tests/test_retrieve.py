"""retrieve: the rules that hold today, in full; remembered for an hour by exactly what they depend on."""

from __future__ import annotations

import uuid
from datetime import date
from typing import Any

import pytest
from flask import Flask
from psycopg.types.json import Jsonb

from functions.shared.events import Event, ItemClarified, ItemIdentified, RulesRetrieved, UploadPresigned
from functions.shared.rules import PHASES
from tests.standin import Standin
from tests.steps import World, deliver, deliver_at_once, load

pytest_plugins = ["tests.steps"]
pytestmark = pytest.mark.usefixtures("rules")


@pytest.fixture
def env(pipeline_env: dict[str, str], model: Standin, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    more = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": model.url, "EMBEDDING_MODEL": "multilingual-e5-small"}
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    return pipeline_env | more


@pytest.fixture
def app(env: dict[str, str]) -> Flask:
    return load("retrieve")


def identified(
    world: World, item_id: str = "pizza-box", state: dict[str, str] | None = None, round_: int = 1, **columns: Any
) -> Event[Any]:
    """An analysis whose item is known, and the event that says so."""
    analysis = world.analysis("identified", round=round_, **columns)
    world.do(
        """INSERT INTO identifications (analysis_id, round, seen, candidates, decision, item_id, state, chosen_by)
           VALUES (%s, %s, '{}', '[]', 'match', %s, %s, 'model')""",
        analysis,
        round_,
        item_id,
        Jsonb(state or {"dirt": "clean"}),
    )
    if round_ > 1:
        return world.said(analysis, ItemClarified(round=round_, item_id=item_id))
    return world.said(analysis, ItemIdentified(round=1, item_id=item_id, confidence=0.9), by="identify")


def kept(world: World, event: Event[Any]) -> dict[str, Any]:
    return world.row("SELECT * FROM retrievals WHERE analysis_id = %s", event.subject)


@pytest.mark.parametrize(("dirt", "destination"), [("clean", "paper"), ("oily", "general")])
def test_the_rules_for_a_state_are_kept_in_full(app: Flask, world: World, dirt: str, destination: str) -> None:
    event = identified(world, state={"dirt": dirt})
    reply = deliver(app, event)
    row = kept(world, event)
    assert reply.event is not None
    assert reply.event.data == RulesRetrieved(
        round=1,
        item_id="pizza-box",
        rule_ids=[passage["id"] for passage in row["passages"]],
        index_version=row["index_version"],
    )
    assert world.state(event.subject)["status"] == "retrieved"
    assert row["cached"] is False
    assert 5 <= len(row["passages"]) <= 10
    phases = [PHASES.index(passage["phase"]) for passage in row["passages"]]
    assert phases == sorted(phases)
    assert destination in {passage["destination"] for passage in row["passages"] if passage["phase"] == "dispose"}
    for passage in row["passages"]:
        stored = world.row("SELECT * FROM rules WHERE id = %s", passage["id"])
        assert (passage["text"], passage["basis"]) == (stored["text"], stored["basis"])
        assert passage["source"] == {"title": stored["source_title"], "url": stored["source_url"]}
        assert date.fromisoformat(passage["effective_from"]) == stored["effective_from"] <= date.today()  # noqa: DTZ011
        assert date.fromisoformat(passage["checked"]) == stored["checked"]


def test_the_same_is_looked_up_once_and_everything_it_depends_on_counts(app: Flask, world: World) -> None:
    first, same = identified(world), identified(world)
    for event in (first, same):
        assert deliver(app, event).status == 200
    assert [kept(world, event)["cached"] for event in (first, same)] == [False, True]
    assert kept(world, first)["passages"] == kept(world, same)["passages"]
    others = [
        identified(world, state={"dirt": "oily"}),
        identified(world, item_id="chicken-box"),
        identified(world, region="서울특별시 중랑구"),
        identified(world, housing="house"),
    ]
    for event in others:
        deliver(app, event)
        assert kept(world, event)["cached"] is False
    world.do("UPDATE rule_index SET version = 'next'")
    renewed = identified(world)
    deliver(app, renewed)
    assert (kept(world, renewed)["cached"], kept(world, renewed)["index_version"]) == (False, "next")


def test_without_redis_it_only_takes_longer(world: World, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    app = load("retrieve")
    assert app.test_client().get("/readyz").status_code == 200
    for _ in range(2):
        event = identified(world)
        assert deliver(app, event).status == 200
        assert kept(world, event)["cached"] is False


def test_an_answer_or_correction_is_taken_in_its_own_round(app: Flask, world: World) -> None:
    event = identified(world, round_=2)
    assert deliver(app, event).status == 200
    assert kept(world, event)["round"] == 2
    late = world.said(event.subject, ItemIdentified(round=1, item_id="pizza-box", confidence=0.9), by="identify")
    assert deliver(app, late).status == 204
    assert world.types(event.subject).count("rules.v1.retrieved") == 1


def test_ten_deliveries_at_once_have_one_effect(app: Flask, world: World) -> None:
    event = identified(world)
    deliver_at_once(app, *[event] * 10)
    assert world.types(event.subject) == ["item.v1.identified", "rules.v1.retrieved"]


def test_an_item_the_rules_do_not_know_ends_the_analysis(app: Flask, world: World) -> None:
    event = identified(world, item_id="never-heard-of")
    assert deliver(app, event).status == 200
    assert world.state(event.subject)["failure"]["reason"] == "no_rules"


def test_an_embedding_outage_changes_nothing(app: Flask, world: World, model: Standin) -> None:
    model.faults("500", schema="embeddings")
    event = identified(world)
    assert deliver(app, event).status == 200
    assert len(kept(world, event)["passages"]) >= 5


def test_a_warm_up_claims_nothing(app: Flask, world: World) -> None:
    event = world.said(str(uuid.uuid4()), UploadPresigned(key="k"), by="presign", stored=False)
    assert deliver(app, event).status == 204
    assert world.rows("SELECT * FROM claims") == []
