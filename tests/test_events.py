"""The contract: schemas are current, golden payloads round-trip, and nothing else decodes."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from functions.shared import schema, wire
from functions.shared.events import CATALOGUE, Undecodable, decode, encode

GOLDEN = sorted((Path(__file__).parent / "events").glob("*/*.json"))


def test_every_type_has_a_golden_payload_and_nothing_else_does() -> None:
    assert {path.parent.name for path in GOLDEN} == set(CATALOGUE)


def test_committed_schemas_are_the_generated_ones() -> None:
    committed = {path.stem: path.read_text(encoding="utf-8") for path in schema.FOLDER.glob("*.json")}
    assert committed == {type_: schema.text(cls) for type_, cls in CATALOGUE.items()}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parent.name)
def test_golden_payload_round_trips_and_fits_its_schema(path: Path) -> None:
    golden = json.loads(path.read_text(encoding="utf-8"))
    event = wire.parse(golden["headers"], json.dumps(golden["data"]).encode())
    assert encode(event.data) == golden["data"]
    jsonschema.validate(golden["data"], schema.schema(type(event.data)))
    headers, body = wire.to_http(event)
    assert wire.parse(headers, body) == event
    expected = {name: value for name, value in golden["headers"].items() if name != "ce-schedule"}
    assert {name: headers[name] for name in expected if name != "ce-correlationid"} == {
        name: value for name, value in expected.items() if name != "ce-correlationid"
    }
    assert json.loads(body) == golden["data"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"key": None}, "missing key"),
        ({"size": "12"}, "size is not"),
        ({"size": True}, "size is not"),
        ({"extra": 1}, "unexpected extra"),
    ],
)
def test_a_payload_that_does_not_fit_is_undecodable(change: dict[str, Any], problem: str) -> None:
    data = {"key": "uploads/x", "size": 12, "etag": ""} | change
    data = {name: value for name, value in data.items() if value is not None}
    with pytest.raises(Undecodable, match=problem):
        decode("app.growbin.waste.upload.v1.stored", data)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"{}"),
        ({"ce-type": "app.growbin.waste.nothing.v1.happened"}, b"{}"),
        ({"ce-subject": "not-an-analysis"}, b'{"key": "k"}'),
        ({}, b"{broken"),
        ({}, b"[]"),
        ({"ce-specversion": "9.9"}, b'{"key": "k"}'),
        ({"ce-time": "yesterday"}, b'{"key": "k"}'),
    ],
)
def test_what_is_not_an_event_is_undecodable(headers: dict[str, str], body: bytes) -> None:
    whole = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/functions/waste",
        "ce-type": "app.growbin.waste.analysis.v1.requested",
        "ce-subject": str(uuid.uuid4()),
    }
    wire.parse(whole, b'{"key": "k"}')
    with pytest.raises(Undecodable):
        wire.parse(whole | headers, body)


def test_a_child_keeps_subject_and_correlation_and_is_the_same_every_time() -> None:
    golden = json.loads(GOLDEN[0].read_text(encoding="utf-8"))
    parent = wire.parse(golden["headers"], json.dumps(golden["data"]).encode())
    payload = CATALOGUE["app.growbin.waste.analysis.v1.failed"](reason="bad_photo", detail="")  # type: ignore[call-arg]
    one, two = parent.child("ingest", payload), parent.child("ingest", payload)
    assert (one.id, one.source, one.subject) == (two.id, "/functions/ingest", parent.subject)
    assert one.correlation_id == parent.correlation_id
    assert parent.child("identify", payload).id != one.id
