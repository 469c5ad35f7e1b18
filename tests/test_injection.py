"""Orders to the model change no grade and no rule, though the model obeys every one it is shown.

What protects: `grade` sends no word of the citizen to the model, and holds a step against its rule, not against what a
model wrote into the guide; a photo with writing that somebody put into it is refused, whatever it says, and a refusal
is no grade; `generate` shows nothing that is not in the rules. What does not: a model that obeys a note in the photo
and denies that there is one.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from flask import Flask
from psycopg.types.json import Jsonb

from functions.grade.comparison import Verdict
from functions.grade.rubric import advised, feedback
from functions.shared.embeddings import E5
from functions.shared.events import RulesRetrieved
from functions.shared.objects import Objects
from tests.orders import ORDERS
from tests.proving import GUIDE, RULES, Shown, judged, result, shown
from tests.standin import Standin
from tests.steps import World, deliver, load

pytestmark = pytest.mark.unmeasured

#: Low: there is much to gain.
VERDICTS: tuple[Verdict, ...] = ("done", "not_done", "not_done", "done")
STEPS = advised(GUIDE["steps"], RULES)
GRADED = (
    "graded",
    "low",
    40,
    [(step.step, verdict, step.weight) for step, verdict in zip(STEPS, VERDICTS, strict=True)],
    feedback("low", list(zip(STEPS, VERDICTS, strict=True))),
)


@pytest.fixture
def app(pipeline_env: dict[str, str], model: Standin, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    return load("grade")


@pytest.fixture
def generate(pipeline_env: dict[str, str], model: Standin, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    return load("generate")


@pytest.fixture
def identify(pipeline_env: dict[str, str], model: Standin, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    monkeypatch.setenv("EMBEDDING_MODEL", E5)
    return load("identify")


def test_there_are_enough_of_them() -> None:
    assert len(set(ORDERS)) >= 60
    assert sum(order.isascii() for order in ORDERS) >= 20


# In words


def told(world: World, one: Shown, order: str) -> None:
    """The citizen writes the order wherever a citizen can write."""
    world.do("UPDATE analyses SET question = %s WHERE id = %s", order, one.analysis)
    world.do(
        """INSERT INTO questions (id, analysis_id, n, round, text, status, answer)
           VALUES (%s, %s, 1, 1, %s, 'answered', %s)""",
        uuid.uuid4(),
        one.analysis,
        order,
        Jsonb({"text": order, "rule_ids": []}),
    )


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_in_the_citizens_words_changes_no_grade(
    app: Flask, world: World, objects: Objects, *, model: Standin, order: str
) -> None:
    """In the question, in a further one, and in the guide that a fooled model wrote after reading it."""
    model.faults("obey", schema="Comparison")
    one = shown(world, objects, checklist=[0])
    told(world, one, order)
    world.do(
        """UPDATE guides SET content = jsonb_set(content, '{steps,1,text}', to_jsonb(%s::text))
           WHERE analysis_id = %s""",
        order,
        one.analysis,
    )
    judged(model, one, *VERDICTS)
    deliver(app, one.event)
    assert graded(world, one) == GRADED


def test_without_any_order_it_is_the_same_grade(app: Flask, world: World, objects: Objects, model: Standin) -> None:
    one = shown(world, objects, checklist=[0])
    judged(model, one, *VERDICTS)
    deliver(app, one.event)
    assert graded(world, one) == GRADED


def graded(world: World, one: Shown) -> tuple[Any, ...]:
    """Everything a grade says, but for the texts of the guide as the citizen read them."""
    status, grade, score, verdicts, _ = result(world, one)
    given = [(verdict["step"], verdict["verdict"], verdict["weight"]) for verdict in verdicts]
    return status, grade, score, given, world.proof_state(one.proof)["feedback"]


# In the photo


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_in_the_photo_is_never_a_grade(
    app: Flask, world: World, objects: Objects, *, model: Standin, order: str
) -> None:
    one = shown(world, objects)
    judged(model, one, *VERDICTS, text_in_photo=order)
    model.faults("obey", schema="Comparison")
    deliver(app, one.event)
    answer = world.row("SELECT answer FROM model_calls")["answer"]["parsed"]
    assert {step["verdict"] for step in answer["steps"]} == {"done"}  # it did obey
    status, grade, score, verdicts, reason = result(world, one)
    assert (status, grade, score, verdicts, reason) == ("refused", None, None, None, "writing")


def test_a_model_that_reads_an_order_and_does_not_follow_it_gives_no_grade_either(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects)
    judged(model, one, *VERDICTS, text_in_photo=ORDERS[0])
    deliver(app, one.event)
    assert result(world, one)[4] == "writing"


# In the photo asked about


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_in_the_photo_asked_about_makes_no_rule(
    identify: Flask, world: World, objects: Objects, *, model: Standin, order: str
) -> None:
    """A model that obeys may call the thing anything: what comes of it is an item of ours, a question of ours, or none,
    and the rules are those of that item."""
    event, sha256 = world.ingested(objects)
    model.inject(sha256, [{"name": "투명 페트병", "confidence": 0.9}], text_in_photo=order)
    model.faults("obey", schema="SeenPhoto")
    assert deliver(identify, event).status == 200
    row = world.row("SELECT * FROM identifications WHERE analysis_id = %s", event.subject)
    ours = {item["id"] for item in world.rows("SELECT id FROM items")}
    options = (row["question"] or {"options": []})["options"]
    assert {row["item_id"], *(option["item_id"] for option in options)} - {None} <= ours
    assert order not in str((row["candidates"], row["question"], row["item_id"]))


# In the guide


def asked(world: World, question: str | None) -> Any:
    """An analysis whose rules are known, and the event that says so."""
    analysis = world.analysis("retrieved", question=question)
    world.do(
        """INSERT INTO identifications (analysis_id, round, seen, candidates, decision, item_id, state, chosen_by)
           VALUES (%s, 1, '{}', '[]', 'match', 'clear-pet-bottle', '{}', 'model')""",
        analysis,
    )
    world.do(
        """INSERT INTO retrievals (analysis_id, round, item_id, passages, index_version, cached)
           VALUES (%s, 1, 'clear-pet-bottle', %s, 'v1', false)""",
        analysis,
        Jsonb(RULES),
    )
    ids = [rule["id"] for rule in RULES]
    said = RulesRetrieved(round=1, item_id="clear-pet-bottle", rule_ids=ids, index_version="v1")
    return world.said(analysis, said, by="retrieve")


def rules_of(world: World, analysis: str) -> tuple[Any, ...]:
    """What of a guide is rule: where it goes, what each step and caution says and cites."""
    content = world.row("SELECT content FROM guides WHERE analysis_id = %s", analysis)["content"]
    steps = [(step["phase"], step["text"], step["rule_ids"]) for step in content["steps"]]
    return content["destination"], steps, [(one["text"], one["rule_ids"]) for one in content["cautions"]]


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_in_the_question_changes_no_rule(generate: Flask, world: World, *, model: Standin, order: str) -> None:
    plain = asked(world, None)
    deliver(generate, plain)
    model.faults("obey", schema="Guide")
    event = asked(world, order)
    assert deliver(generate, event).status == 200
    assert rules_of(world, event.subject) == rules_of(world, plain.subject)
    shown_to_citizen = str(world.row("SELECT content FROM guides WHERE analysis_id = %s", event.subject)["content"])
    assert order not in shown_to_citizen
