"""grade: a proof is graded once, by the rubric, from what the model saw; or refused with a reason, never guessed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from PIL import Image, ImageChops

from functions.grade.comparison import Comparison, StepSeen, verdict
from functions.shared import messages, naming, wire
from functions.shared.events import ProofGraded, ProofRefused
from functions.shared.objects import Objects
from tests.proving import GUIDE, PHASES, RULES, Shown, guided, judged, picture, shown
from tests.standin import Standin
from tests.steps import ROOT, Provider, World, deliver, deliver_at_once, load, scripted_provider
from tests.waiting import until


@pytest.fixture
def provider() -> Iterator[Provider]:
    with scripted_provider() as one:
        yield one


@pytest.fixture
def env(pipeline_env: dict[str, str], model: Standin, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stand-in answers; a call may take two seconds."""
    more = {
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": model.url,
        "MODEL_TIMEOUT_SECONDS": "2",
        "MODEL_PARK_SECONDS": "600",
    }
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    return pipeline_env | more


@pytest.fixture
def app(env: dict[str, str]) -> Flask:
    return load("grade")


@pytest.fixture
def scripted(env: dict[str, str], provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The same function, asking a provider that says what the test wants."""
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    return load("grade")


def asked(model: Standin) -> int:
    return int(model.counts()["chat_by_schema"].get("Comparison", 0))


def purposes(world: World) -> list[str]:
    return [row["purpose"] for row in world.rows("SELECT purpose FROM model_calls ORDER BY id")]


def saw(*verdicts: str, **more: Any) -> dict[str, Any]:
    """A whole Comparison."""
    steps = [{"step": n, "verdict": verdict, "seen": "병이 보여요."} for n, verdict in enumerate(verdicts)]
    plain = {"text_in_photo": "", "note": "no", "photographed": "real", "same_object": "yes", "notes": ""}
    answer = {**plain, "steps": steps, **more}
    Comparison.model_validate(answer)
    return answer


# Graded


def test_a_proof_is_graded_by_the_rubric_and_the_analysis_stays_completed(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects, checklist=[0, 1])
    judged(model, one, "done", "not_done", "done", "cannot_tell")
    reply = deliver(app, one.event)
    assert reply.event is not None
    assert reply.event.data == ProofGraded(proof_id=one.proof, grade="middle", score=62)  # 5 of 8
    row = world.proof_state(one.proof)
    assert (row["status"], row["grade"], row["score"], row["reason"], row["flags"]) == (
        "graded",
        "middle",
        62,
        None,
        [],
    )
    assert [(v["step"], v["phase"], v["verdict"], v["weight"]) for v in row["verdicts"]] == [
        (0, "prepare", "done", 2),
        (1, "wash", "not_done", 3),
        (2, "separate", "done", 3),
        (3, "dispose", "cannot_tell", 2),
    ]
    assert row["verdicts"][0]["text"] == GUIDE["steps"][0]["text"]
    assert row["verdicts"][0]["seen"] == "병의 모습이 보여요."
    wash, dispose = row["feedback"]["points"]
    assert (wash["step"], dispose["step"]) == (1, 3)
    assert RULES[1]["text"] in wash["text"]
    call = world.row("SELECT * FROM model_calls")
    assert (call["purpose"], call["round"], call["model"]) == ("grade1", 1, "waste-coach-standin-1")
    assert call["tokens_in"] > 2 * 255  # two pictures
    assert row["made_by"] == {
        "model": "waste-coach-standin-1",
        "standin": True,
        "prompt_version": call["prompt_version"],
        "repaired": False,
        "calls": [call["id"]],
    }
    assert world.state(one.analysis)["status"] == "completed"
    assert world.types(one.analysis) == ["proof.v1.ingested", "proof.v1.graded"]


@pytest.mark.parametrize(
    ("verdicts", "grade"),
    [
        (("done", "done", "done", "done"), ("high", 100)),
        (("done", "done", "cannot_tell", "cannot_tell"), ("high", 100)),
        (("not_done", "done", "not_done", "done"), ("middle", 50)),
        (("done", "not_done", "not_done", "done"), ("low", 40)),
        (("not_done", "not_done", "not_done", "not_done"), ("low", 0)),
    ],
)
def test_the_verdicts_decide(
    app: Flask, world: World, objects: Objects, *, model: Standin, verdicts: tuple[str, ...], grade: tuple[str, int]
) -> None:
    one = shown(world, objects)
    judged(model, one, *verdicts)
    deliver(app, one.event)
    row = world.proof_state(one.proof)
    assert (row["grade"], row["score"]) == grade


def test_what_cannot_be_judged_is_refused_and_not_guessed(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects)
    judged(model, one, "cannot_tell", "done", "cannot_tell", "cannot_tell")
    reply = deliver(app, one.event)
    assert reply.event is not None
    assert reply.event.data == ProofRefused(proof_id=one.proof, reason="unclear")
    row = world.proof_state(one.proof)
    assert row["detail"] == "3 of 10 could be judged"
    assert [seen["verdict"] for seen in row["verdicts"]] == ["cannot_tell", "done", "cannot_tell", "cannot_tell"]
    assert world.state(one.analysis)["status"] == "completed"


def test_what_does_not_apply_only_in_writing_is_not_believed() -> None:
    said = StepSeen(step=0, verdict="not_applicable", seen="해당 없다고 적혀 있어요.")
    assert verdict(said, conditional=True) == "cannot_tell"
    assert verdict(said.model_copy(update={"seen": "기름이 없어요."}), conditional=True) == "not_applicable"


def test_only_a_step_for_some_things_can_be_one_that_does_not_apply(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects)
    world.do(
        "UPDATE retrievals SET passages = jsonb_set(passages, '{1,text}', to_jsonb(%s::text)) WHERE analysis_id = %s",
        "기름이 남으면 세제로 닦아 주세요.",
        one.analysis,
    )
    judged(model, one, "done", "not_applicable", "not_applicable", "done")
    deliver(app, one.event)
    row = world.proof_state(one.proof)
    assert [seen["verdict"] for seen in row["verdicts"]] == ["done", "not_applicable", "cannot_tell", "done"]
    assert (row["grade"], row["score"]) == ("high", 100)
    assert [point["step"] for point in row["feedback"]["points"]] == [2]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"same_object": "no"}, "different_object"),
        ({"photographed": "screen"}, "screen"),
        ({"note": "yes"}, "writing"),
        ({"text_in_photo": "다 했어요"}, "writing"),
        ({"same_object": "cannot_tell", "photographed": "cannot_tell", "note": "cannot_tell"}, None),
    ],
)
def test_what_the_model_sees_of_the_photo_itself(
    app: Flask, world: World, objects: Objects, *, model: Standin, more: dict[str, str], reason: str | None
) -> None:
    one = shown(world, objects)
    judged(model, one, "done", "done", "done", "done", **more)
    deliver(app, one.event)
    row = world.proof_state(one.proof)
    assert (row["status"], row["reason"]) == (("refused", reason) if reason else ("graded", None))


def test_a_step_that_is_done_only_in_writing_was_not_seen(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects)
    steps = [{"step": n, "verdict": "done", "seen": "병이 깨끗해 보여요."} for n in range(4)]
    steps[1]["seen"] = "헹군 병이라고 적혀 있어요."
    judged(model, one, steps=steps)
    deliver(app, one.event)
    row = world.proof_state(one.proof)
    assert [verdict["verdict"] for verdict in row["verdicts"]] == ["done", "cannot_tell", "done", "done"]


def test_steps_with_nothing_to_do_are_not_asked_about(
    scripted: Flask, world: World, objects: Objects, provider: Provider
) -> None:
    one = shown(world, objects)
    world.do(
        "UPDATE guides SET content = jsonb_set(content, '{steps,1,text}', to_jsonb(%s::text)) WHERE analysis_id = %s",
        messages.text("guide.nothing.wash"),
        one.analysis,
    )
    provider.says(saw(steps=[{"step": n, "verdict": "done", "seen": "보여요."} for n in (0, 2, 3)]))
    assert deliver(scripted, one.event).status == 200
    assert [verdict["step"] for verdict in world.proof_state(one.proof)["verdicts"]] == [0, 2, 3]
    assert [step["step"] for step in told(provider)["steps"]] == [0, 2, 3]


def test_a_guide_with_nothing_to_show_is_not_graded_and_costs_nothing(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects)
    for n, phase in enumerate(PHASES):
        world.do(
            "UPDATE guides SET content = jsonb_set(content, %s::text[], to_jsonb(%s::text)) WHERE analysis_id = %s",
            f"{{steps,{n},text}}",
            messages.text(f"guide.nothing.{phase}"),
            one.analysis,
        )
    before = asked(model)
    deliver(app, one.event)
    assert world.proof_state(one.proof)["reason"] == "nothing_to_show"
    assert asked(model) == before


# What is asked


def told(provider: Provider) -> dict[str, Any]:
    """The data of the last request."""
    text = provider.asked[-1]["messages"][1]["content"][0]["text"]
    data: dict[str, Any] = json.loads(text.split("<<<DATA\n")[1].split("\nDATA>>>")[0])
    return data


def test_one_call_shows_both_photos_and_only_rules(
    scripted: Flask, world: World, objects: Objects, provider: Provider
) -> None:
    one = shown(world, objects, checklist=[0, 9], question="비밀질문", region="서울특별시 중랑구", housing="house")
    world.do("UPDATE guides SET content = jsonb_set(content, '{steps,1,text}', '\"모델이 쓴 말\"')")
    provider.says(saw("done", "done", "done", "done"))
    assert deliver(scripted, one.event).status == 200
    (request,) = provider.asked
    assert request["response_format"]["json_schema"]["name"] == "Comparison"
    assert request["response_format"]["json_schema"]["strict"] is True
    content = request["messages"][1]["content"]
    urls = [part["image_url"] for part in content if part["type"] == "image_url"]
    photos = [objects.get(key(one, attempt)) for attempt in (None, 1)]
    assert [base64.b64decode(url["url"].partition(",")[2]) for url in urls] == photos
    assert {url["detail"] for url in urls} == {"high"}
    name = world.row("SELECT name_ko FROM items WHERE id = 'clear-pet-bottle'")["name_ko"]
    assert told(provider) == {
        "item": {"id": "clear-pet-bottle", "name": name},
        "steps": [
            {"step": n, "phase": rule["phase"], "text": rule["text"], "conditional": False}
            for n, rule in enumerate(RULES[:4])
        ],
        "checklist": [0],
    }
    assert not any(word in str(request) for word in ("비밀질문", "중랑구", "house", "모델이 쓴 말"))
    assert world.row("SELECT cost_usd FROM model_calls")["cost_usd"] is not None


def key(one: Shown, attempt: int | None) -> str:
    """Of the copy for the model of the photo before (None) or after."""
    return naming.photo_key(uuid.UUID(one.analysis), "model", attempt)


# A bad answer


@pytest.mark.parametrize(
    "first",
    [
        "물론이죠!",
        saw("done", "done", "done"),
        saw("done", "done", "done", "done", "done"),
        saw(steps=[{"step": 0, "verdict": "done", "seen": ""}] * 4),
        {**saw("done", "done", "done", "done"), "same_object": "maybe"},
    ],
)
def test_an_answer_that_breaks_the_form_is_repaired_once(
    scripted: Flask, world: World, objects: Objects, provider: Provider, first: Any
) -> None:
    one = shown(world, objects)
    provider.says(first)
    provider.says(saw("done", "done", "done", "done"))
    assert deliver(scripted, one.event).status == 200
    row = world.proof_state(one.proof)
    assert (row["grade"], row["made_by"]["repaired"], len(row["made_by"]["calls"])) == ("high", True, 2)
    assert purposes(world) == ["grade1", "grade1_repair"]
    assert "정해진 형식과 달랐습니다" in provider.asked[1]["messages"][1]["content"][-1]["text"]


def test_two_broken_answers_are_our_fault_and_the_same_photo_may_be_sent_again(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    photo = picture("a result")
    one = shown(world, objects, photo)
    model.faults("malformed", schema="Comparison")
    deliver(app, one.event)
    assert world.proof_state(one.proof)["reason"] == "model_unavailable"
    assert purposes(world) == ["grade1", "grade1_repair"]
    model.well()
    again = shown(world, objects, photo, analysis=one.analysis, attempt=2)
    judged(model, again, "done", "done", "done", "done")
    deliver(app, again.event)
    assert world.proof_state(again.proof)["grade"] == "high"
    assert purposes(world)[-1] == "grade2"


@pytest.mark.parametrize("how", ["refusal", "filter"])
def test_a_model_that_will_not_look_asks_for_a_better_photo(
    scripted: Flask, world: World, objects: Objects, provider: Provider, how: str
) -> None:
    one = shown(world, objects)
    if how == "refusal":
        provider.says(None, refusal="I'm sorry, I can't help with that.")
    else:
        provider.fails(400, "content_policy_violation")
    deliver(scripted, one.event)
    assert world.proof_state(one.proof)["reason"] == "unclear"
    assert len(provider.asked) == 1


@pytest.mark.parametrize("mode", ["429", "500", "hang", "drip"])
def test_an_outage_is_retried_twice_parked_and_survived(
    app: Flask, world: World, objects: Objects, model: Standin, mode: str
) -> None:
    one = shown(world, objects)
    model.faults(mode, schema="Comparison")
    assert [deliver(app, one.event).status for _ in range(4)] == [503, 503, 204, 204]
    assert world.proof_state(one.proof)["status"] == "ingested"
    model.well()
    judged(model, one, "done", "done", "done", "done")
    world.do("UPDATE claims SET next_attempt_at = now()")
    assert deliver(app, one.event).status == 200
    assert world.proof_state(one.proof)["grade"] == "high"


# Nothing to grade


def test_nothing_is_sent_once_the_consent_is_withdrawn(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects)
    world.do("UPDATE users SET consent_at = NULL")
    before = asked(model)
    deliver(app, one.event)
    assert world.proof_state(one.proof)["reason"] == "consent_withdrawn"
    assert asked(model) == before


@pytest.mark.parametrize(("attempt", "reason"), [(1, "no_photo"), (None, "before_gone")])
def test_a_photo_that_is_no_longer_kept(
    app: Flask, world: World, objects: Objects, attempt: int | None, reason: str
) -> None:
    one = shown(world, objects)
    objects.delete([key(one, attempt)])
    deliver(app, one.event)
    assert world.proof_state(one.proof)["reason"] == reason


def test_every_reason_says_what_to_do() -> None:
    reasons = "same_photo reused_photo near_copy different_object screen unclear no_photo before_gone consent_withdrawn"
    for reason in [*reasons.split(), "model_unavailable"]:
        assert all(messages.text(f"proof.{reason}", locale) for locale in messages.LOCALES)


def test_a_proof_that_has_ended_is_left_alone(app: Flask, world: World, objects: Objects, model: Standin) -> None:
    one = shown(world, objects)
    world.do("UPDATE proofs SET status = 'refused', reason = 'unclear' WHERE id = %s", one.proof)
    before = asked(model)
    assert deliver(app, one.event).status == 204
    assert asked(model) == before
    assert world.row("SELECT outcome FROM claims")["outcome"] == "superseded"


def test_a_proof_that_ends_while_the_model_looks_keeps_its_end(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects)
    model.faults("slow", schema="Comparison", seconds=1.5)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(deliver, app, one.event)
        until(lambda: asked_in_flight(model))
        world.do("UPDATE proofs SET status = 'refused', reason = 'internal' WHERE id = %s", one.proof)
        assert slow.result().status == 204
    assert world.proof_state(one.proof)["reason"] == "internal"
    assert world.types(one.analysis) == ["proof.v1.ingested"]


def asked_in_flight(model: Standin) -> bool:
    return bool(model.counts()["in_flight"])


def test_a_lost_database_is_said(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, world: World, objects: Objects
) -> None:
    one = shown(world, objects)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    down = load("grade")
    assert down.test_client().get("/healthz").status_code == 200
    assert down.test_client().get("/readyz").status_code == 503
    assert deliver(down, one.event).status == 503


# What the stand-in sees


def test_the_standin_grades_by_what_it_can_see_and_says_so(app: Flask, world: World, objects: Objects) -> None:
    one = shown(world, objects, picture("another light", (255, 120, 90)), checklist=[0, 1, 2])
    deliver(app, one.event)
    row = world.proof_state(one.proof)
    assert (row["grade"], row["score"], row["made_by"]["standin"]) == ("middle", 80, True)
    assert [verdict["verdict"] for verdict in row["verdicts"]] == ["done", "done", "done", "not_done"]
    assert all("표시하" in verdict["seen"] for verdict in row["verdicts"])
    notes = world.row("SELECT answer FROM model_calls")["answer"]["parsed"]["notes"]
    assert "체크하신 내용과 두 사진의 차이만 보고 판단했어요." in notes


def test_to_the_standin_nothing_is_done_that_nobody_ticked_while_nothing_changed(
    app: Flask, world: World, objects: Objects
) -> None:
    """No copy, but the same colours and forms: a ticked step is doubted, the others are not done."""
    analysis = guided(world, objects, picture("a table"))
    one = shown(world, objects, second_shot(picture("a table")), analysis=analysis, checklist=[1])
    deliver(app, one.event)
    row = world.proof_state(one.proof)
    assert [verdict["verdict"] for verdict in row["verdicts"]] == ["not_done", "cannot_tell", "not_done", "not_done"]
    assert (row["grade"], row["score"]) == ("low", 0)


def second_shot(body: bytes) -> bytes:
    """The same colours and forms, with a grain of its own."""
    base = Image.open(io.BytesIO(body)).convert("RGB")
    noise = Image.frombytes("L", (64, 48), random.Random(4).randbytes(64 * 48)).point(lambda value: 140 + value // 3)
    grain = noise.resize(base.size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    ImageChops.multiply(base, Image.merge("RGB", [grain] * 3)).save(buffer, "JPEG")
    return buffer.getvalue()


# Exactly once


def test_ten_deliveries_at_once_are_one_grade_and_one_call(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects)
    judged(model, one, "done", "done", "not_done", "done")
    before = asked(model)
    replies = deliver_at_once(app, *[one.event] * 10)
    assert {reply.status for reply in replies} <= {200, 409}
    assert asked(model) == before + 1
    assert world.types(one.analysis) == ["proof.v1.ingested", "proof.v1.graded"]


def test_two_different_events_of_one_proof_are_one_grade(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    one = shown(world, objects)
    judged(model, one, "done", "done", "done", "done")
    other = world.said(one.analysis, one.event.data, by="recover", stored=False)
    deliver_at_once(app, one.event, other)
    assert world.types(one.analysis).count("proof.v1.graded") == 1
    assert world.proof_state(one.proof)["grade"] == "high"
    assert purposes(world) == ["grade1"]


#: Loads the function, delivers the event of stdin and is killed with SIGKILL where argv says.
KILLED = r"""
import json, os, signal, sys
import functions.grade.comparing as comparing, functions.grade.handler as handler, functions.shared.function as glue
from functions.grade.llm import Eyes
from tests.steps import load

def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def then_die(work):
    def both(*args, **more):
        work(*args, **more)
        die()
    return both

point = sys.argv[1]
if point == "before the call": Eyes.compare = die
if point == "after the call": Eyes.compare = then_die(Eyes.compare)
if point == "after it was kept": comparing.calls.keep = then_die(comparing.calls.keep)
if point == "in save": handler.proofs.grade = then_die(handler.proofs.grade)
if point == "after the commit": glue._Runner._after = die
letter = json.load(sys.stdin)
load("grade").test_client().post("/", data=letter["body"].encode(), headers=letter["headers"])
"""


@pytest.mark.parametrize(
    ("point", "calls"),
    [
        ("before the call", 1),
        ("after the call", 2),
        ("after it was kept", 1),
        ("in save", 1),
        ("after the commit", 1),
    ],
)
def test_killed_anywhere_it_is_one_grade_and_at_most_one_more_call(
    app: Flask, world: World, objects: Objects, *, model: Standin, env: dict[str, str], point: str, calls: int
) -> None:
    one = shown(world, objects)
    judged(model, one, "done", "done", "not_done", "done")
    before = asked(model)
    headers, body = wire.to_http(one.event)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, point],
        input=json.dumps({"headers": headers, "body": body.decode()}),
        cwd=ROOT,
        env=os.environ | env,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    committed = point == "after the commit"
    assert world.proof_state(one.proof)["status"] == ("graded" if committed else "ingested")
    assert deliver(app, one.event).status == (200 if committed else 409)
    world.do("UPDATE claims SET lease_until = now() - interval '1 s' WHERE state = 'running'")
    again = deliver(app, one.event)
    assert again.event is not None
    assert again.event.data == ProofGraded(proof_id=one.proof, grade="middle", score=70)
    assert world.types(one.analysis) == ["proof.v1.ingested", "proof.v1.graded"]
    assert world.proof_state(one.proof)["grade"] == "middle"
    assert asked(model) - before == calls
    assert purposes(world) == ["grade1"]


def test_the_photo_the_model_sees_is_the_clean_copy(world: World, objects: Objects) -> None:
    one = shown(world, objects)
    kept = objects.get(key(one, 1))
    assert hashlib.sha256(kept).hexdigest() == one.sha256
