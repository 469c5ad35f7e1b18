"""retrieve: the rules that hold today, in full; remembered for an hour by exactly what they depend on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pytest
from flask import Flask
from psycopg.types.json import Jsonb

from functions.shared.embeddings import E5, literal
from functions.shared.events import Event, ItemClarified, ItemIdentified, RulesRetrieved, UploadPresigned
from functions.shared.postgres import Database
from functions.shared.rules import CASE, PHASES
from functions.shared.search import Rulebook
from tests.rulebooks import LetterPairs
from tests.standin import Standin
from tests.steps import Provider, World, deliver, deliver_at_once, load, scripted_provider


@pytest.fixture
def env(pipeline_env: dict[str, str], model: Standin, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    more = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": model.url, "EMBEDDING_MODEL": E5}
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
        assert passage["text"] == stored["text"].rpartition(CASE)[2], "what is decided is not said as a condition"
        assert passage["basis"] == stored["basis"]
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


def test_without_consent_no_words_are_sent_any_more(app: Flask, world: World, model: Standin) -> None:
    event = identified(world, question="뚜껑은요?")
    world.do("UPDATE users SET consent_at = NULL")
    before = model.counts()
    assert deliver(app, event).status == 200
    assert model.counts() == before
    failure = world.state(event.subject)["failure"]
    assert failure == {"reason": "consent_withdrawn", "detail": "", "from": "identified"}


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


@pytest.fixture
def many(world: World) -> Iterator[list[str]]:
    """Twenty more rules of the pizza box for a while, ten about chopsticks and ten about ribbons; their ids."""
    pairs = LetterPairs(E5)
    topics = ["젓가락"] * 10 + ["리본"] * 10
    ids = [f"pizza-box.separate.{n}" for n in range(50, 50 + len(topics))]
    for id_, topic in zip(ids, topics, strict=True):
        text = f"{topic} {topic} {topic}"
        world.do(
            """INSERT INTO rules
               SELECT (jsonb_populate_record(r, %s)).* FROM rules r WHERE owner = 'pizza-box' LIMIT 1""",
            Jsonb({
                "id": id_, "phase": "separate", "text": text, "leaf": None, "conditions": {}, "destination": None,
                "effective_to": None, "disagreement": None, "embedding": literal(pairs.passages([text])[0]),
            }),
        )  # fmt: skip
    yield ids
    world.do("DELETE FROM rules WHERE id = ANY(%s)", ids)


@pytest.fixture
def pairs(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Embeddings as the index of these tests has them, over HTTP: `asked` are the requests; no answers, no service."""
    embedder = LetterPairs(E5)

    def embed(asked: dict[str, Any]) -> dict[str, Any]:
        vectors = embedder.query(asked["input"])
        return {"data": [{"index": n, "embedding": vector} for n, vector in enumerate(vectors)]}

    with scripted_provider(embed) as one:
        monkeypatch.setenv("OPENAI_BASE_URL", one.url)
        yield one


def test_where_more_rules_hold_than_fit_those_near_the_question_stay(
    world: World, many: list[str], pairs: Provider
) -> None:
    app = load("retrieve")
    chosen = []
    for question in ("젓가락 젓가락 젓가락", "리본 리본 리본", "젓가락 젓가락 젓가락"):
        event = identified(world, question=question)
        assert deliver(app, event).status == 200
        row = kept(world, event)
        chosen.append((row["cached"], {passage["id"] for passage in row["passages"]}))
        assert len(row["passages"]) == 10
    (_, chopsticks), (other, ribbon), (same, again) = chosen
    for about, others, rules in ((many[:10], many[10:], chopsticks), (many[10:], many[:10], ribbon)):
        assert len(rules & set(about)) >= 4
        assert len(rules & set(others)) <= 1  # the first of its phase always stays
    assert (other, same, again) == (False, True, chopsticks)
    assert [asked["input"] for asked in pairs.asked] == [
        ["query: 피자 상자 clean 젓가락 젓가락 젓가락"],
        ["query: 피자 상자 clean 리본 리본 리본"],
    ]


def test_no_connection_is_held_while_an_embedding_is_made(pipeline_database: str, many: list[str]) -> None:
    database = Database(pipeline_database, pool_size=1)

    class Asking(LetterPairs):
        def query(self, texts: Sequence[str]) -> list[list[float]]:
            database.ping()  # the only connection there is
            return super().query(texts)

    embedder = Asking(E5)
    selection = Rulebook(database, embedder).select("pizza-box", question="리본")
    database.close()
    assert (selection.cut, selection.ranked, embedder.asked) == (True, True, ["리본"])


def test_no_embedding_is_made_where_all_rules_fit(world: World, pairs: Provider) -> None:
    app = load("retrieve")
    for question in ("젓가락은요?", "리본은요?"):
        event = identified(world, question=question)
        deliver(app, event)
    assert kept(world, event)["cached"] is True  # the question changes nothing
    assert pairs.asked == []


def test_a_choice_made_without_embeddings_is_not_remembered(
    app: Flask, world: World, many: list[str], model: Standin
) -> None:
    model.faults("500", schema="embeddings")
    for _ in range(2):
        event = identified(world, question="젓가락은요?")
        assert deliver(app, event).status == 200
        row = kept(world, event)
        assert (len(row["passages"]), row["cached"]) == (10, False)


def test_a_warm_up_claims_nothing(app: Flask, world: World) -> None:
    event = world.said(str(uuid.uuid4()), UploadPresigned(key="k"), by="presign", stored=False)
    assert deliver(app, event).status == 204
    assert world.rows("SELECT * FROM claims") == []
