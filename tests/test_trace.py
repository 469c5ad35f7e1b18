"""make trace: one analysis as a timeline, also of one that failed."""

from __future__ import annotations

import uuid

import pytest
from flask import Flask

from functions.shared.objects import Objects
from knative.local.trace import main
from tests.standin import Standin
from tests.steps import World, deliver, load


@pytest.fixture
def app(pipeline_env: dict[str, str], model: Standin, monkeypatch: pytest.MonkeyPatch) -> Flask:
    for name, value in {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": model.url, "MODEL_PARK_SECONDS": "600"}.items():
        monkeypatch.setenv(name, value)
    return load("identify")


def test_events_attempts_calls_and_times_in_order(
    app: Flask, world: World, objects: Objects, model: Standin, capsys: pytest.CaptureFixture[str]
) -> None:
    event, sha256 = world.ingested(objects)
    thing = {"name": "투명 페트병", "name_en": "PET bottle", "material": "plastic", "confidence": 0.9}
    model.inject(sha256, [thing])
    model.faults("500", count=1, schema="SeenPhoto")
    assert [deliver(app, event).status for _ in range(2)] == [503, 200]
    assert main([event.subject]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith(f"analysis {event.subject}: identified, round 1")
    assert [line.split("ms  ", 1)[1].split(" (")[0].split("by")[0].strip() for line in lines] == [
        "1  photo.ingested       said",
        "identify takes 1",
        "model: see",
        "2  item.identified      said",
        "identify is done: event, which is 2",
    ]
    assert "2 attempts" in lines[-1]
    assert "waste-coach-standin-1" in lines[2]
    assert "tokens" in lines[2]


def test_what_is_parked_dead_or_failed_says_so(
    app: Flask, world: World, objects: Objects, model: Standin, capsys: pytest.CaptureFixture[str]
) -> None:
    event, _ = world.ingested(objects)
    model.faults("429", schema="SeenPhoto")
    for _ in range(3):
        deliver(app, event)
    assert main([event.subject]) == 0
    assert "identify is parked until" in capsys.readouterr().out
    failed = world.analysis("failed")
    world.do("""UPDATE analyses SET failure = '{"reason": "internal", "detail": "identify"}' WHERE id = %s""", failed)
    world.do(
        """INSERT INTO dead_letters (consumer, event_source, event_id, analysis_id, attributes, body, error_code)
           VALUES ('identify', 's', 'e', %s, '{}', '', '500')""",
        failed,
    )
    assert main([failed]) == 0
    said = capsys.readouterr().out
    assert "failed (internal identify)" in said
    assert "of identify (last answer 500), not sent again" in said


def test_an_unknown_id_is_one_sentence(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (str(uuid.uuid4()), "nonsense"):
        assert main([wrong]) == 1
        assert capsys.readouterr().out == f"there is no analysis {wrong}\n"
    assert main([]) == 2
