"""recover: nothing stays lost, parked, forgotten or unexplained, and ten ticks at once do the work of one."""

from __future__ import annotations

import dataclasses
import io
import logging
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from PIL import Image

from functions.recover import ending, expiry, guests, handler, photos
from functions.recover.__main__ import main as command
from functions.recover.owed import duties, owed
from functions.recover.reemit import LOST_LIMIT, PARKED_LIMIT
from functions.shared import claims, naming, proofs, wire
from functions.shared.claims import Claim
from functions.shared.events import (
    CATALOGUE,
    AnalysisRequested,
    Event,
    GuidanceGenerated,
    ItemIdentified,
    Payload,
    PhotoIngested,
    ProofGraded,
    ProofIngested,
    ProofRefused,
    ProofRequested,
    QuestionAnswered,
    QuestionAsked,
    ScheduleTicked,
    UploadPresigned,
    UploadStored,
)
from functions.shared.objects import Objects
from tests.steps import Ingress, World, collecting_ingress, deliver, deliver_at_once, load

PIPELINES = Path(__file__).parents[1] / "pipelines"
PHOTO = PhotoIngested(photo_id="p", sha256="s", width=1, height=1)


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    with collecting_ingress() as door:
        yield door


@pytest.fixture
def app(pipeline_env: dict[str, str], ingress: Ingress, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("BROKER_URL", ingress.url)
    monkeypatch.setenv("PIPELINES_DIR", str(PIPELINES))
    return load("recover")


def tick(at: datetime | None = None) -> Event[Any]:
    return Event(
        id=str(uuid.uuid4()),
        source="/apis/v1/namespaces/growbin-events/pingsources/recover",
        subject="",
        data=ScheduleTicked(schedule="recover"),
        time=at or datetime.now(UTC),
        correlation_id="tick",
    )


def aged(world: World, event: Event[Any], seconds: int = 300) -> Event[Any]:
    """The same event, said `seconds` ago."""
    world.do(
        "UPDATE analysis_events SET created_at = now() - make_interval(secs => %s) WHERE id = %s", seconds, event.id
    )
    return event


def lost(world: World, seconds: int = 300) -> Event[Any]:
    """A photo was ingested some time ago, and identify never heard of it."""
    return aged(world, world.said(world.analysis("ingested"), PHOTO, by="ingest"), seconds)


def claimed(world: World, event: Event[Any], state: str, lease: int = -100, consumer: str = "identify") -> None:
    """A claim in that state whose lease ends (or ended) so many seconds from now."""
    world.do(
        """INSERT INTO claims (consumer, event_source, event_id, analysis_id, state, lease_until, next_attempt_at)
           VALUES (%s, %s, %s, %s, %s, now() + make_interval(secs => %s), now() + make_interval(secs => %s))""",
        consumer,
        event.source,
        event.id,
        event.subject,
        state,
        lease,
        lease,
    )


def ids(events: list[Event[Any]]) -> list[str]:
    return [event.id for event in events]


# lost and parked events


def test_who_owes_what_comes_from_the_triggers() -> None:
    assert {(duty.type.removeprefix(f"{naming.EVENT_PREFIX}."), duty.consumer) for duty in owed(duties(PIPELINES))} == {
        ("upload.v1.stored", "ingest"),
        ("analysis.v1.requested", "ingest"),
        ("photo.v1.ingested", "identify"),
        ("item.v1.identified", "retrieve"),
        ("item.v1.clarified", "retrieve"),
        ("rules.v1.retrieved", "generate"),
        ("proof.v1.requested", "ingest"),
        ("proof.v1.ingested", "grade"),
        ("question.v1.asked", "generate"),
        ("guidance.v1.generated", "aggregate"),
        ("proof.v1.graded", "aggregate"),
    }


def test_a_mounted_folder_names_every_duty_once_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    hidden = tmp_path / "..2026_11_23"
    hidden.mkdir()
    for folder in (hidden, tmp_path):
        for flow in PIPELINES.glob("*/triggers.yaml"):
            (folder / f"{flow.parent.name}.yaml").write_text(flow.read_text())
    assert duties(tmp_path) == duties(PIPELINES)
    with pytest.raises(ValueError, match="no Triggers"):
        duties(tmp_path / "elsewhere")


def test_ten_ticks_at_once_say_a_lost_event_once(app: Flask, world: World, ingress: Ingress) -> None:
    events = [lost(world) for _ in range(20)]
    assert {reply.status for reply in deliver_at_once(app, *[tick() for _ in range(10)])} == {204}
    assert sorted(ids(ingress.events)) == sorted(ids(events))
    assert ingress.events[0].data == PHOTO


def test_what_was_said_again_is_left_alone_for_a_while_and_may_be_taken(
    app: Flask, world: World, ingress: Ingress
) -> None:
    event = lost(world)
    deliver(app, tick())
    deliver(app, tick())
    assert ids(ingress.take()) == [event.id]
    with world.db.transaction() as tx:
        mine = claims.claim(tx, "identify", event)
        assert isinstance(mine, Claim)
        claims.release(tx, mine, "test")
    world.do("UPDATE claims SET lease_until = now() - interval '61 s'")
    deliver(app, tick())
    assert ids(ingress.take()) == [event.id]


@pytest.mark.parametrize("crashed", [False, True], ids=["never taken", "its holder crashed"])
def test_who_takes_an_event_before_the_tick_has_marked_it_keeps_it(
    app: Flask, world: World, ingress: Ingress, crashed: bool
) -> None:
    event = lost(world)
    if crashed:
        claimed(world, event, "running")

    class Taken(list[tuple[dict[str, str], bytes]]):
        def append(self, request: tuple[dict[str, str], bytes]) -> None:
            with world.db.transaction() as tx:
                assert isinstance(claims.claim(tx, "identify", event), Claim)
            super().append(request)

    ingress.sent = Taken()
    deliver(app, tick())
    assert ids(ingress.events) == [event.id]
    assert world.row("SELECT state, lease_until > now() AS held FROM claims") == {"state": "running", "held": True}


def test_only_what_is_really_lost_is_said_again(app: Flask, world: World, ingress: Ingress) -> None:
    claimed(world, lost(world), "done")
    claimed(world, lost(world), "dead")
    claimed(world, lost(world), "running", lease=20)
    claimed(world, lost(world), "parked", lease=20)
    claimed(world, lost(world), "released", lease=0)
    lost(world, seconds=30)
    lost(world, seconds=8 * 24 * 3600)
    aged(world, world.said(world.analysis("presigned"), UploadPresigned(key="k"), by="presign"))
    crashed = lost(world)
    claimed(world, crashed, "running", lease=-70)
    deliver(app, tick())
    assert ids(ingress.events) == [crashed.id]


def test_a_broker_that_is_down_leaves_no_mark(app: Flask, world: World, ingress: Ingress) -> None:
    event = lost(world)
    ingress.open = False
    assert deliver(app, tick()).status == 204
    assert world.rows("SELECT * FROM claims") == []
    ingress.open = True
    deliver(app, tick())
    assert ids(ingress.events) == [event.id]


def test_parked_work_comes_back_when_due_a_gentle_number_at_a_time(app: Flask, world: World, ingress: Ingress) -> None:
    for _ in range(PARKED_LIMIT + 5):
        claimed(world, lost(world), "parked", lease=-1)
    deliver_at_once(app, *[tick() for _ in range(5)])
    assert len(ingress.take()) == PARKED_LIMIT
    deliver(app, tick())
    assert len(ingress.take()) == 5
    deliver(app, tick())
    assert ingress.take() == []
    assert {row["state"] for row in world.rows("SELECT state FROM claims")} == {"released"}


def test_lost_events_come_back_a_gentle_number_at_a_time(app: Flask, world: World, ingress: Ingress) -> None:
    for _ in range(LOST_LIMIT + 5):
        lost(world)
    deliver(app, tick())
    assert len(ingress.take()) == LOST_LIMIT
    deliver(app, tick())
    assert len(ingress.take()) == 5


def test_a_tick_that_waited_too_long_does_nothing(app: Flask, world: World, ingress: Ingress) -> None:
    lost(world)
    assert deliver(app, tick(datetime.now(UTC) - timedelta(minutes=2))).status == 204
    assert ingress.events == []


def test_every_tick_is_one_line_of_counts(app: Flask, world: World, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("recover").addHandler(caplog.handler)
    lost(world)
    deliver(app, tick())
    (line,) = [record for record in caplog.records if record.message == "tick"]
    assert vars(line)["fields"] == {
        "parked": 0,
        "lost": 1,
        "expired": 0,
        "given_up": 0,
        "guests_deleted": 0,
        "announced": 0,
        "abandoned_deleted": 0,
        "photos_deleted": 0,
        "leftovers_deleted": 0,
        "orphans_deleted": 0,
        "dead_letters": 0,
        "stuck": 0,
    }


# time


def test_a_photo_the_store_never_announced_is_found(
    app: Flask, world: World, objects: Objects, ingress: Ingress
) -> None:
    analysis = world.analysis("requested", requested_at=datetime.now(UTC) - timedelta(minutes=3))
    objects.put(world.key(analysis), b"photo", "image/jpeg")
    deliver_at_once(app, tick(), tick(), tick())
    deliver(app, tick())
    (event,) = ingress.events
    assert (event.subject, event.source) == (analysis, "/functions/recover")
    assert event.data == UploadStored(key=world.key(analysis), size=5, etag="5ae0c1c8a5260bc7b6648f6fbd115c35")
    assert world.types(analysis) == ["upload.v1.stored"]


def test_a_photo_that_was_not_seen_at_once_is_announced_again(
    app: Flask, world: World, objects: Objects, ingress: Ingress
) -> None:
    ingest = load("ingest")
    photo = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(photo, "JPEG")
    analysis = world.analysis("requested", requested_at=datetime.now(UTC) - timedelta(minutes=3))
    key = world.key(analysis)
    objects.put(key, photo.getvalue(), "image/jpeg")
    deliver(app, tick())
    (first,) = ingress.take()
    aged(world, first, seconds=100)
    objects.delete([key])  # the store does not show it for a moment
    assert deliver(ingest, first).event is None
    objects.put(key, photo.getvalue(), "image/jpeg")

    deliver_at_once(app, tick(), tick())
    deliver(app, tick())

    (second,) = ingress.take()
    assert (second.id != first.id, second.data) == (True, first.data)
    assert deliver(ingest, second).event is not None
    assert world.state(analysis)["status"] == "ingested"


def test_the_nth_announcement_waits_n_times_as_long_and_an_unheard_one_is_said_again_as_it_was(
    app: Flask, world: World, objects: Objects, ingress: Ingress
) -> None:
    analysis = world.analysis("requested", requested_at=datetime.now(UTC) - timedelta(minutes=9))
    objects.put(world.key(analysis), b"photo", "image/jpeg")
    deliver(app, tick())
    (first,) = ingress.take()
    aged(world, first, seconds=500)
    deliver(app, tick())
    assert ids(ingress.take()) == [first.id]  # lost like any other event: the same once more, no second one
    world.do("UPDATE claims SET state = 'done'")
    deliver(app, tick())
    (second,) = ingress.take()
    claimed(world, second, "done", consumer="ingest")
    aged(world, second, seconds=170)
    deliver(app, tick())
    assert ingress.take() == []
    aged(world, second, seconds=190)
    deliver(app, tick())
    assert len(ingress.take()) == 1


def test_announced_photos_do_not_hide_the_ones_that_came_later(
    app: Flask, world: World, objects: Objects, ingress: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "LOOKS", 2)
    for minutes in (9, 8, 7, 6, 5):
        analysis = world.analysis("requested", requested_at=datetime.now(UTC) - timedelta(minutes=minutes))
        objects.put(world.key(analysis), b"photo", "image/jpeg")
    for sent in (2, 2, 1, 0):
        deliver(app, tick())
        assert len({event.subject for event in ingress.take()}) == sent


def test_a_photo_that_never_came_expires_after_its_address_did(app: Flask, world: World, objects: Objects) -> None:
    def asked(minutes: int) -> str:
        then = datetime.now(UTC) - timedelta(minutes=minutes)
        return world.analysis("requested", created_at=then, requested_at=then)

    old, young = asked(16), asked(14)
    deliver(app, tick())
    assert world.state(old)["status"] == "expired"
    assert world.types(old) == ["analysis.v1.expired"]
    assert world.state(old)["finished_at"]
    assert world.state(young)["status"] == "requested"


@pytest.mark.parametrize(("status", "days", "reason"), [("presigned", 1, "no_photo"), ("needs_answer", 7, "no_answer")])
def test_nobody_came_back(app: Flask, world: World, status: str, days: int, reason: str) -> None:
    def left(hours: int) -> str:
        return world.analysis(status, updated_at=datetime.now(UTC) - timedelta(days=days, hours=hours))

    old, young = left(1), left(-1)
    deliver_at_once(app, tick(), tick())
    event = world.row("SELECT type, data FROM analysis_events WHERE analysis_id = %s", old)
    assert (event["type"].rpartition(".")[2], event["data"]) == ("expired", {"reason": reason})
    assert [world.state(analysis)["status"] for analysis in (old, young)] == ["expired", status]


def test_a_model_that_stays_away_for_a_day_is_said_to_the_citizen(app: Flask, world: World, ingress: Ingress) -> None:
    gone, patient = lost(world), lost(world)
    for event in (gone, patient):
        claimed(world, event, "parked", lease=600)
    world.do("UPDATE claims SET created_at = now() - interval '25 hours' WHERE event_id = %s", gone.id)
    deliver(app, tick())
    assert world.state(gone.subject)["failure"]["reason"] == "model_unavailable"
    assert world.types(gone.subject)[-1] == "analysis.v1.failed"
    assert world.row("SELECT state FROM claims WHERE event_id = %s", gone.id)["state"] == "done"
    assert world.state(patient.subject)["status"] == "ingested"


def test_pictures_go_after_their_time_and_originals_when_nobody_needs_them(
    app: Flask, world: World, objects: Objects
) -> None:
    pictures = []
    for days in (91, 89):
        analysis = world.analysis("completed", outcome="guide")
        keys = [naming.photo_key(uuid.UUID(analysis), size) for size in ("kept", "model")]
        for key in keys:
            objects.put(key, b"photo", "image/jpeg")
        world.do(
            """INSERT INTO photos (id, analysis_id, user_id, kind, kept_key, model_key, sha256, phash, width, height,
                                   bytes, created_at)
               SELECT %s, id, user_id, 'before', %s, %s, 's', 'p', 1, 1, 1, now() - make_interval(days => %s)
               FROM analyses WHERE id = %s""",
            uuid.uuid4(),
            *keys,
            days,
            analysis,
        )
        pictures.append((analysis, keys))
    originals = {
        status: world.analysis(status)
        for status in ("presigned", "requested", "ingested", "completed", "failed", "expired")
    }
    broken = world.analysis("failed")
    world.do("""UPDATE analyses SET failure = '{"reason": "internal"}' WHERE id = %s""", broken)
    foreign = f"uploads/{uuid.uuid4()}/before.jpg"
    for key in (*(world.key(analysis) for analysis in (*originals.values(), broken)), foreign):
        objects.put(key, b"photo", "image/jpeg")

    deliver(app, tick())

    for (analysis, keys), gone in zip(pictures, (True, False), strict=True):
        assert [objects.head(key) is None for key in keys] == [gone, gone]
        row = world.row("SELECT deleted_at, sha256 FROM photos WHERE analysis_id = %s", analysis)
        assert (row["deleted_at"] is not None, row["sha256"]) == (gone, "s")
    left = {status for status, analysis in originals.items() if objects.head(world.key(analysis))}
    assert left == {"presigned", "requested"}
    assert objects.head(world.key(broken)) is not None
    assert objects.head(foreign) is not None  # young: its analysis may be about to be written


def test_originals_beyond_the_first_page_of_the_store_go_too(
    app: Flask, world: World, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "PAGE", 3)
    kept = [world.key(world.analysis("presigned")) for _ in range(8)]
    over = [world.key(world.analysis("completed")) for _ in range(8)]
    for key in kept + over:
        objects.put(key, b"photo", "image/jpeg")
    deliver(app, tick())
    assert [key for key in kept + over if objects.head(key)] == kept


def test_a_tick_whose_time_is_up_starts_nothing_new(
    app: Flask, world: World, objects: Objects, ingress: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = datetime.now(UTC) - timedelta(days=8)
    lost(world)
    claimed(world, lost(world), "parked", lease=-1)
    gone = lost(world)
    claimed(world, gone, "parked", lease=600)
    world.do("UPDATE claims SET created_at = now() - interval '25 hours' WHERE event_id = %s", gone.id)
    world.analysis("presigned", updated_at=then)
    world.analysis("requested", created_at=then, requested_at=then)
    original = world.key(world.analysis("completed"))
    objects.put(original, b"photo", "image/jpeg")
    world.do(
        """INSERT INTO photos (id, analysis_id, user_id, kind, kept_key, model_key, sha256, phash, width, height, bytes,
                               created_at)
           SELECT id, id, user_id, 'before', 'old', 'older', 's', 'p', 1, 1, 1, now() - interval '91 days'
           FROM analyses WHERE status = 'completed'"""
    )

    def touched() -> list[bool]:
        ended = world.rows("SELECT status FROM analyses WHERE status IN ('expired', 'failed') ORDER BY status")
        deleted = world.row("SELECT deleted_at FROM photos")["deleted_at"] is not None
        return [bool(ingress.take()), bool(ended), deleted, objects.head(original) is None]

    with monkeypatch.context() as patch:
        patch.setattr(handler, "TICK_SECONDS", 0.0)
        assert deliver(app, tick()).status == 204
    assert touched() == [False] * 4
    deliver(app, tick())
    assert touched() == [True] * 4
    assert sorted(row["status"] for row in world.rows("SELECT status FROM analyses WHERE finished_at IS NOT NULL")) == [
        "expired",
        "expired",
        "failed",
    ]


# dead letters


def bounce(app: Flask, headers: dict[str, str], body: bytes, consumer: str = "identify", code: int = 500) -> int:
    """Send a dead letter as the broker would."""
    extra = {
        "ce-knativeerrordest": f"http://{consumer}.growbin.svc.cluster.local/",
        "ce-knativeerrorcode": str(code),
    }
    return app.test_client().post("/dead-letters", data=body, headers=headers | extra).status_code


def test_a_dead_letter_is_kept_once_and_said_to_the_citizen(app: Flask, world: World, ingress: Ingress) -> None:
    event = lost(world)
    claimed(world, event, "released")
    headers, body = wire.to_http(event)
    assert [bounce(app, headers, body) for _ in range(3)] == [204] * 3
    letter = world.row("SELECT * FROM dead_letters")
    assert (letter["consumer"], letter["event_id"], letter["error_code"]) == ("identify", event.id, "500")
    assert (bytes(letter["body"]), letter["attributes"]["type"]) == (body, event.type)
    assert letter["replayed_at"] is None
    assert world.row("SELECT state FROM claims")["state"] == "dead"
    assert world.state(event.subject)["failure"] == {"reason": "internal", "detail": "identify", "from": "ingested"}
    assert world.types(event.subject) == ["photo.v1.ingested", "analysis.v1.failed"]
    assert [sent.type for sent in ingress.take()] == ["app.growbin.waste.analysis.v1.failed"]
    deliver(app, tick())
    assert ingress.events == []


@pytest.mark.parametrize(
    ("state", "lease"), [("done", -1), ("parked", 60), ("running", 20)], ids=["done", "parked", "being worked on"]
)
def test_a_duplicate_that_came_back_spoils_nothing(app: Flask, world: World, state: str, lease: int) -> None:
    event = lost(world)
    claimed(world, event, state, lease)
    assert bounce(app, *wire.to_http(event), code=409) == 204
    assert world.rows("SELECT * FROM dead_letters") == []
    assert world.row("SELECT state FROM claims")["state"] == state
    assert world.state(event.subject)["status"] == "ingested"


@pytest.mark.parametrize("event", [tick(), None], ids=["tick", "warm-up"])
def test_ticks_and_warm_up_calls_are_not_worth_keeping(app: Flask, world: World, event: Event[Any] | None) -> None:
    event = event or world.said(world.analysis("presigned"), UploadPresigned(key="k"), by="presign")
    assert bounce(app, *wire.to_http(event)) == 204
    assert world.rows("SELECT * FROM dead_letters") == []


def test_what_cannot_be_read_is_kept_with_its_bytes(app: Flask, world: World) -> None:
    analysis = world.analysis("ingested")
    headers, _ = wire.to_http(world.said(analysis, PHOTO, by="ingest"))
    assert bounce(app, headers, b"\x00 not json") == 204
    assert bounce(app, {"content-type": "text/plain"}, b"nothing at all", consumer="") == 204
    first, second = world.rows("SELECT * FROM dead_letters ORDER BY id")
    assert (first["consumer"], bytes(first["body"]), first["analysis_id"]) == (
        "identify",
        b"\x00 not json",
        uuid.UUID(analysis),
    )
    assert (second["consumer"], bytes(second["body"])) == ("unknown", b"nothing at all")
    assert world.state(analysis)["status"] == "failed"


def test_what_an_analysis_never_said_does_it_no_harm(app: Flask, world: World) -> None:
    forged = world.said(world.analysis("ingested"), PHOTO, by="ingest", stored=False)
    assert bounce(app, *wire.to_http(forged)) == 204
    assert world.row("SELECT analysis_id FROM dead_letters")["analysis_id"] == uuid.UUID(forged.subject)
    assert world.state(forged.subject)["status"] == "ingested"
    assert world.types(forged.subject) == []


@pytest.mark.parametrize("status", ["presigned", "ingested", "identified", "needs_answer"])
def test_a_siblings_dead_letter_fails_no_analysis_that_does_not_wait_for_it(
    app: Flask, world: World, ingress: Ingress, status: str
) -> None:
    analysis = world.analysis(status)
    event = world.said(analysis, AnalysisRequested(key=world.key(analysis)))
    assert bounce(app, *wire.to_http(event), consumer="ingest") == 204
    assert world.row("SELECT consumer FROM dead_letters")["consumer"] == "ingest"
    assert world.state(analysis)["status"] == status
    assert ingress.events == []


def test_replaying_one_letter_leaves_the_failure_another_one_caused(app: Flask, world: World) -> None:
    analysis = world.analysis("requested")
    requested = world.said(analysis, AnalysisRequested(key=world.key(analysis)))
    bounce(app, *wire.to_http(requested), consumer="ingest")
    assert command(["replay", analysis]) == 0
    world.do("UPDATE claims SET state = 'done'")  # this time it went well, and the next step did not
    world.do("UPDATE analyses SET status = 'ingested' WHERE id = %s", analysis)
    bounce(app, *wire.to_http(world.said(analysis, PHOTO, by="ingest")))
    assert world.state(analysis)["failure"]["from"] == "ingested"
    first, second = (str(row["id"]) for row in world.rows("SELECT id FROM dead_letters ORDER BY id"))
    assert command(["replay", first]) == 0
    assert world.state(analysis)["status"] == "failed"
    # nor does a letter that is still dead, but of a step that was not the cause
    item = ItemIdentified(round=1, item_id="i", confidence=0.9)
    other = world.said(analysis, item, by="identify")
    bounce(app, *wire.to_http(other), consumer="retrieve")
    third = str(world.row("SELECT id FROM dead_letters WHERE consumer = 'retrieve'")["id"])
    assert command(["replay", third]) == 0
    assert world.state(analysis)["status"] == "failed"
    assert command(["replay", second]) == 0
    assert world.state(analysis)["status"] == "ingested"


def test_a_dead_letter_that_cannot_be_kept_is_503(
    pipeline_env: dict[str, str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIPELINES_DIR", str(PIPELINES))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    app = load("recover")
    assert bounce(app, *wire.to_http(lost(world))) == 503
    assert deliver(app, tick()).status == 503


@pytest.mark.parametrize("by", ["number", "analysis"])
def test_poison_is_one_dead_letter_that_can_be_driven_again(
    app: Flask, world: World, ingress: Ingress, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    analysis = world.analysis("requested")
    event = world.said(analysis, AnalysisRequested(key=world.key(analysis)))
    headers, body = wire.to_http(event)
    bounce(app, headers, body, consumer="ingest")
    assert world.state(analysis)["status"] == "failed"
    ingress.sent.clear()

    number = world.row("SELECT id FROM dead_letters")["id"]
    assert command(["replay", str(number) if by == "number" else analysis]) == 0

    assert "sent again" in capsys.readouterr().out
    state = world.state(analysis)
    assert (state["status"], state["failure"], state["finished_at"]) == ("requested", None, None)
    (sent,) = ingress.sent
    assert sent[1] == body
    assert ingress.take() == [event]
    assert world.row("SELECT replayed_at FROM dead_letters")["replayed_at"]
    # the cause is still there: it comes back, and is the same one letter, open again
    bounce(app, headers, body, consumer="ingest")
    assert world.row("SELECT replayed_at FROM dead_letters")["replayed_at"] is None
    assert world.types(analysis) == ["analysis.v1.requested", "analysis.v1.failed", "analysis.v1.failed"]
    # the cause is gone: the real function takes the work up where it stood
    assert command(["replay", analysis]) == 0
    assert deliver(load("ingest"), event).status == 204
    assert world.state(analysis)["status"] == "requested"
    assert world.row("SELECT state FROM claims")["state"] == "done"


def test_replay_says_what_it_cannot_do(
    app: Flask, world: World, capsys: pytest.CaptureFixture[str], ingress: Ingress
) -> None:
    assert command(["replay", "12"]) == 1
    assert command(["replay", "'; DROP TABLE users"]) == 2
    assert command([]) == 2
    said = capsys.readouterr()
    assert "no dead letter of 12" in said.out
    assert said.err.count("takes the number of a dead letter") == 2
    event = lost(world)
    bounce(app, *wire.to_http(event))
    ingress.sent.clear()
    ingress.open = False
    assert command(["replay", event.subject]) == 0
    assert "not sent" in capsys.readouterr().out
    ingress.open = True
    world.do("UPDATE claims SET lease_until = now() - interval '61 s'")
    deliver(app, tick())
    assert ids(ingress.take()) == [event.id]


# proofs and questions


def guided(world: World) -> str:
    return world.analysis("completed", outcome="guide")


def put(world: World, objects: Objects, proof: str) -> str:
    """The after-photo is in the store; its key."""
    photo = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(photo, "JPEG")
    key = str(world.proof_state(proof)["key"])
    objects.put(key, photo.getvalue(), "image/jpeg")
    return key


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


#: What may be given up on that is not the analysis: by whom, what waits for it, and where that stood.
TRIALS = ["ingest", "ingest-stored", "grade", "generate"]


def trial(world: World, name: str) -> tuple[Event[Any], str]:
    """(the event, the id of the proof or question that waits for it)."""
    analysis = guided(world)
    said: Payload
    if name == "generate":
        id_ = world.question(analysis)
        said = QuestionAsked(question_id=id_)
    else:
        id_ = world.proof(analysis, "ingested" if name == "grade" else "requested")
        key = world.proof_state(id_)["key"]
        said = {
            "ingest": ProofRequested(proof_id=id_, key=key),
            "ingest-stored": UploadStored(key=key, size=1, etag=""),
            "grade": ProofIngested(proof_id=id_, photo_id="p", sha256="s"),
        }[name]
    return world.said(analysis, said), id_


def standing(world: World, id_: str) -> str:
    """The status of a proof or a question."""
    return str(
        world.row(
            "SELECT status FROM proofs WHERE id = %s UNION ALL SELECT status FROM questions WHERE id = %s", id_, id_
        )["status"]
    )


def told_of(name: str, id_: str, reason: str) -> Payload:
    if name == "generate":
        return QuestionAnswered(question_id=id_, outcome="failed")
    return ProofRefused(proof_id=id_, reason=reason)


@pytest.mark.parametrize("name", TRIALS)
def test_a_dead_letter_ends_the_proof_or_the_question_and_never_the_analysis(
    app: Flask, world: World, ingress: Ingress, name: str
) -> None:
    event, id_ = trial(world, name)
    stood = standing(world, id_)
    before = world.state(event.subject)
    headers, body = wire.to_http(event)
    consumer = name.partition("-")[0]
    assert [bounce(app, headers, body, consumer=consumer) for _ in range(2)] == [204, 204]

    (said,) = ingress.take()
    assert said.data == told_of(name, id_, "internal")
    assert standing(world, id_) == ("failed" if name == "generate" else "refused")
    after = world.state(event.subject)
    assert (after["status"], after["failure"], after["finished_at"]) == (
        "completed",
        None,
        before["finished_at"],
    )
    assert world.types(event.subject)[-1] == said.type.removeprefix(f"{naming.EVENT_PREFIX}.")

    assert command(["replay", event.subject]) == 0
    assert standing(world, id_) == stood
    assert ingress.take() == [event]
    assert world.row("SELECT state FROM claims")["state"] == "released"
    # once more: the same letter, open again, and said again
    bounce(app, headers, body, consumer=consumer)
    assert standing(world, id_) != stood
    assert world.row("SELECT replayed_at FROM dead_letters")["replayed_at"] is None
    assert len(ingress.events) == 1


def test_a_proof_driven_again_is_ingested_by_the_real_function(
    app: Flask, world: World, objects: Objects, ingress: Ingress
) -> None:
    event, proof = trial(world, "ingest")
    key = put(world, objects, proof)
    bounce(app, *wire.to_http(event), consumer="ingest")
    assert command(["replay", event.subject]) == 0
    assert deliver(load("ingest"), event).event is not None
    assert world.proof_state(proof)["status"] == "ingested"
    assert objects.head(key) is None


@pytest.mark.parametrize("name", TRIALS)
def test_a_dead_letter_of_what_went_on_harms_nobody(app: Flask, world: World, ingress: Ingress, name: str) -> None:
    event, id_ = trial(world, name)
    if name == "generate":
        world.do("UPDATE questions SET status = 'answered'")
    elif name == "grade":
        world.do("UPDATE proofs SET status = 'graded', grade = 'high'")
    else:
        world.do("UPDATE proofs SET status = 'ingested'")
    stands = standing(world, id_)
    bounce(app, *wire.to_http(event), consumer=name.partition("-")[0])
    assert standing(world, id_) == stands
    assert world.state(event.subject)["status"] == "completed"
    assert len(world.rows("SELECT 1 FROM dead_letters")) == 1
    assert ingress.events == []


def test_a_proof_that_another_attempt_has_overtaken_is_not_revived(app: Flask, world: World) -> None:
    event, proof = trial(world, "grade")
    bounce(app, *wire.to_http(event), consumer="grade")
    world.proof(event.subject, "requested", 2)
    assert command(["replay", event.subject]) == 0
    assert world.proof_state(proof)["status"] == "refused"


@pytest.mark.parametrize("what", ["guidance", "graded"])
def test_what_was_only_not_counted_ends_nothing(app: Flask, world: World, ingress: Ingress, what: str) -> None:
    analysis = guided(world)
    proof = world.proof(analysis, "graded", grade="high")
    said: Payload = GuidanceGenerated(round=1, guide_id="g", item_id="i")
    if what == "graded":
        said = ProofGraded(proof_id=proof, grade="high", score=90)
    bounce(app, *wire.to_http(world.said(analysis, said)), consumer="aggregate")
    assert (world.state(analysis)["status"], world.proof_state(proof)["status"]) == ("completed", "graded")
    assert world.row("SELECT consumer FROM dead_letters")["consumer"] == "aggregate"
    assert ingress.events == []
    assert command(["replay", analysis]) == 0
    assert (world.state(analysis)["status"], world.proof_state(proof)["status"]) == ("completed", "graded")


def test_every_event_that_is_owed_has_somebody_who_waits_or_is_only_counted(world: World) -> None:
    analysis = guided(world)
    proof, question = world.proof(analysis), world.question(analysis)
    given = {
        "key": world.proof_state(proof)["key"], "proof_id": proof, "question_id": question,
        "size": 1, "score": 1, "round": 1, "width": 1, "height": 1, "confidence": 1.0, "rule_ids": [], "options": [],
    }  # fmt: skip
    unheard = set()
    for duty in owed(duties(PIPELINES)):
        cls = CATALOGUE[duty.type]
        names = [field.name for field in dataclasses.fields(cls)]
        said = cls(**{name: given.get(name, "x") for name in names})
        with world.db.transaction() as tx:
            if ending.waiting(tx, world.said(analysis, said, stored=False)) is None:
                unheard.add(duty.consumer)
    assert unheard == {"aggregate"}


@pytest.mark.parametrize("name", ["grade", "generate"])
def test_a_model_that_stays_away_ends_the_proof_or_the_question(
    app: Flask, world: World, ingress: Ingress, name: str
) -> None:
    gone, id_ = trial(world, name)
    patient, other = trial(world, name)
    for event in (gone, patient):
        claimed(world, event, "parked", lease=600, consumer=name)
    world.do("UPDATE claims SET created_at = now() - interval '25 hours' WHERE event_id = %s", gone.id)
    deliver_at_once(app, tick(), tick())
    deliver(app, tick())
    (said,) = ingress.events
    assert said.data == told_of(name, id_, "model_unavailable")
    assert (said.subject, said.correlation_id) == (gone.subject, gone.correlation_id)
    assert standing(world, id_) == ("failed" if name == "generate" else "refused")
    assert standing(world, other) == ("asked" if name == "generate" else "ingested")
    assert world.row("SELECT state FROM claims WHERE event_id = %s", gone.id)["state"] == "done"
    assert {world.state(event.subject)["status"] for event in (gone, patient)} == {"completed"}


def test_an_after_photo_the_store_never_announced_is_found(
    app: Flask, world: World, objects: Objects, ingress: Ingress
) -> None:
    analysis = guided(world)
    proof = world.proof(analysis, requested_at=ago(minutes=3))
    key = put(world, objects, proof)
    # an announcement of the first photo is none of the second
    aged(world, world.said(analysis, UploadStored(key=world.key(analysis), size=1, etag="x"), by="recover"), 80)
    deliver_at_once(app, tick(), tick(), tick())
    deliver(app, tick())
    (event,) = ingress.take()
    assert isinstance(event.data, UploadStored)
    assert (event.subject, event.data.key) == (analysis, key)
    assert deliver(load("ingest"), event).event is not None
    assert world.proof_state(proof)["status"] == "ingested"
    deliver(app, tick())
    assert ingress.events == []


def test_the_photos_of_two_attempts_are_announced_as_two(
    app: Flask, world: World, objects: Objects, ingress: Ingress
) -> None:
    analysis = guided(world)
    first = world.proof(analysis, requested_at=ago(minutes=9))
    put(world, objects, first)
    deliver(app, tick())
    (one,) = ingress.take()
    with world.db.transaction() as tx:
        assert proofs.refuse(tx, first, "bad_photo", "damaged")
    put(world, objects, world.proof(analysis, attempt=2, requested_at=ago(minutes=3)))
    deliver(app, tick())
    (two,) = ingress.take()
    assert (one.id != two.id, one.data.key != two.data.key) == (True, True)


def test_an_after_photo_that_never_came_is_said(app: Flask, world: World, objects: Objects, ingress: Ingress) -> None:
    old = world.proof(guided(world), created_at=ago(minutes=16), requested_at=ago(minutes=16))
    young = world.proof(guided(world), created_at=ago(minutes=14), requested_at=ago(minutes=14))
    deliver_at_once(app, tick(), tick())
    deliver(app, tick())
    row = world.proof_state(old)
    assert (row["status"], row["reason"]) == ("refused", "no_photo")
    (said,) = ingress.events
    assert said.data == ProofRefused(proof_id=old, reason="no_photo")
    assert world.types(str(row["analysis_id"])) == ["proof.v1.refused"]
    assert world.state(str(row["analysis_id"]))["status"] == "completed"
    assert world.proof_state(young)["status"] == "requested"


def test_an_address_nobody_used_for_a_day_is_closed_without_a_word(app: Flask, world: World, ingress: Ingress) -> None:
    old = world.proof(guided(world), "presigned", created_at=ago(hours=25))
    young = world.proof(guided(world), "presigned", created_at=ago(hours=23))
    deliver(app, tick())
    row = world.proof_state(old)
    assert (row["status"], row["reason"], row["requested_at"]) == ("refused", "no_photo", None)
    assert world.proof_state(young)["status"] == "presigned"
    assert ingress.events == []
    assert world.types(str(row["analysis_id"])) == []


def test_after_photos_go_after_their_time_and_their_originals_when_nobody_needs_them(
    app: Flask, world: World, objects: Objects
) -> None:
    broken: dict[str, Any] = {"reason": "internal", "detail": "grade"}
    given: dict[str, dict[str, Any]] = {
        "presigned": {}, "requested": {}, "ingested": {}, "graded": {"grade": "high"}, "refused": {"reason": "unclear"},
    }  # fmt: skip
    originals = {
        status: put(world, objects, world.proof(guided(world), status, **more)) for status, more in given.items()
    }
    replayable = put(world, objects, world.proof(guided(world), "refused", **broken))
    kept = world.proof(guided(world), "graded", grade="low")
    copies = [f"photos/test-{kept}-{size}.jpg" for size in ("kept", "model")]
    for key in copies:
        objects.put(key, b"photo", "image/jpeg")
    world.do(
        """INSERT INTO photos (id, analysis_id, user_id, kind, proof_id, kept_key, model_key, sha256, phash, width,
                               height, bytes, created_at)
           SELECT id, analysis_id, user_id, 'after', id, %s, %s, 's', 'p', 1, 1, 1, now() - interval '91 days'
           FROM proofs WHERE id = %s""",
        *copies,
        kept,
    )

    deliver(app, tick())

    assert {status for status, key in originals.items() if objects.head(key)} == {"presigned", "requested"}
    assert objects.head(replayable) is not None
    assert [objects.head(key) for key in copies] == [None, None]
    row = world.row("SELECT deleted_at, sha256 FROM photos")
    assert (row["deleted_at"] is not None, row["sha256"]) == (True, "s")


def test_a_lost_event_of_a_proof_or_a_question_is_said_again(app: Flask, world: World, ingress: Ingress) -> None:
    events = [aged(world, trial(world, name)[0]) for name in TRIALS]
    deliver(app, tick())
    assert sorted(ids(ingress.events)) == sorted(ids(events))


def test_guests_who_never_did_anything_are_forgotten(app: Flask, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "BATCH", 2)
    idle, old = "INSERT INTO users (id, kind, created_at) VALUES (%s, %s, now() - %s::interval)", "8 days 1 minute"
    forgotten, analysed, kept = [uuid.uuid4() for _ in range(5)], world.analysis("presigned"), {}
    for one in forgotten:
        world.do(idle, one, "guest", old)
    world.do("UPDATE users SET consent_at = NULL, created_at = now() - interval '9 days'")
    kept["analysed"] = world.state(analysed)["user_id"]
    for what, kind, age in (("young", "guest", "7 days 23 hours"), ("account", "account", old)):
        kept[what] = uuid.uuid4()
        world.do(idle, kept[what], kind, age)
    for what, value in (("consent_at", "now()"), ("nickname", "'고래'"), ("region", "'서울'"), ("language", "'en'")):
        kept[what] = uuid.uuid4()
        world.do(idle, kept[what], "guest", old)
        world.do(f"UPDATE users SET {what} = {value} WHERE id = %s", kept[what])
    assert deliver(app, tick()).status == 204
    assert {row["id"] for row in world.rows("SELECT id FROM users")} == set(kept.values())


def test_what_has_not_moved_for_an_hour_is_counted(app: Flask, world: World, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("recover").addHandler(caplog.handler)
    world.proof(guided(world), "ingested", requested_at=ago(minutes=61))
    world.proof(guided(world), "ingested", requested_at=ago(minutes=59))
    world.question(guided(world))
    world.do("UPDATE questions SET created_at = now() - interval '61 minutes'")
    deliver(app, tick())
    (line,) = [record for record in caplog.records if record.message == "tick"]
    assert vars(line)["fields"]["stuck"] == 2
