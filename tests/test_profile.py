"""users, of themselves: the profile, the history, everything as a file, and leaving without anything left behind."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from functions.identify.llm import Vision
from functions.recover import photos
from functions.shared import claims, naming, wire
from functions.shared.calls import Answer
from functions.shared.claims import Claim
from functions.shared.config import load as load_settings
from functions.shared.events import (
    AnalysisRequested,
    Event,
    GuidanceGenerated,
    ItemClarified,
    ItemIdentified,
    Payload,
    PhotoIngested,
    ProofGraded,
    ProofIngested,
    ProofRequested,
    QuestionAsked,
    RulesRetrieved,
    UploadStored,
)
from functions.shared.function import Done, ModelDown, Rejected, Retry, step
from functions.shared.leaving import leave
from functions.shared.lifecycle import advance
from functions.shared.objects import Objects
from functions.shared.postgres import Tx
from functions.shared.tokens import Signer
from functions.users.routes import create
from functions.users.settings import Settings
from tests.learning import asked, citizen, guided
from tests.rows import Belongings, columns, rendered, somebody, tables
from tests.steps import ROOT, OnlyDatabase, World, collecting_ingress, deliver, load
from tests.test_recover import tick
from tests.waiting import PATIENCE, until

ME = "/api/v1/users/me"


@dataclass
class Me:
    """A citizen with an app; `signed_in` seconds ago, or not as far as the token says."""

    id: str
    app: Flask
    signer: Signer
    signed_in: float | None = None

    def send(self, method: str, path: str = "", **more: Any) -> TestResponse:
        signed_in_at = None if self.signed_in is None else time.time() - self.signed_in
        token = self.signer.issue(uuid.UUID(self.id), signed_in_at=signed_in_at).token
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        return self.app.test_client().open(ME + path, method=method, headers=headers, **more)

    def profile(self) -> dict[str, Any]:
        return dict(self.send("GET").json)  # type: ignore[arg-type]

    def export(self) -> dict[str, Any]:
        answer = self.send("GET", "/export")
        assert answer.status_code == 200
        return dict(json.loads(answer.get_data()))


@pytest.fixture
def signer(keys: Path) -> Signer:
    signer = Signer(keys / "private.pem")
    signer.issue(uuid.uuid4())
    return signer


@pytest.fixture
def me(world: World, users_app: Flask, signer: Signer) -> Me:
    world.do("TRUNCATE abandoned_objects, departed_spending")
    return Me(citizen(world), users_app, signer)


@pytest.fixture
def recover(pipeline_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PIPELINES_DIR", str(ROOT / "pipelines"))
    with collecting_ingress() as door:
        monkeypatch.setenv("BROKER_URL", door.url)
        yield load("recover")


@pytest.fixture
def gone(world: World, me: Me) -> Callable[[str], None]:
    """Makes the citizen of an analysis leave, as the routes do."""

    def make(analysis: str) -> None:
        with world.db.transaction() as tx:
            assert leave(tx, world.state(analysis)["user_id"])

    return make


# --- the profile


def test_a_new_guest_has_an_empty_profile_and_fills_it(me: Me, world: World) -> None:
    profile = me.profile()
    created = profile.pop("created_at")
    assert datetime.fromisoformat(created) > datetime.now(UTC) - timedelta(minutes=1)
    assert profile == {
        "user_id": me.id,
        "kind": "guest",
        "email": None,
        "nickname": None,
        "region": None,
        "housing": None,
        "language": "ko",
        "consent": True,
    }
    wish = {"nickname": " 까치 ", "region": "서울 중랑구", "housing": "apartment", "language": "en", "consent": False}
    answer = me.send("PATCH", json=wish)
    assert answer.status_code == 200
    assert answer.json == me.profile() == {**profile, **wish, "nickname": "까치", "created_at": created}


def test_only_what_is_named_changes_and_null_empties(me: Me, world: World) -> None:
    me.send("PATCH", json={"nickname": "까치", "region": "서울", "housing": "house", "language": "en"})
    since = world.row("SELECT consent_at FROM users WHERE id = %s", me.id)
    assert me.send("PATCH", json={"region": "부산", "consent": True}).status_code == 200
    changed = me.profile()
    assert (changed["nickname"], changed["region"], changed["housing"]) == ("까치", "부산", "house")
    assert world.row("SELECT consent_at FROM users WHERE id = %s", me.id) == since  # the first time is kept
    assert me.send("PATCH", json={"nickname": None, "region": "  ", "housing": None}).status_code == 200
    emptied = me.profile()
    assert (emptied["nickname"], emptied["region"], emptied["housing"]) == (None, None, None)
    assert (emptied["language"], emptied["consent"]) == ("en", True)
    assert me.send("PATCH", json={}).json == emptied


@pytest.mark.parametrize(
    ("wish", "field", "code"),
    [
        ({"email": "a@example.org"}, "email", "unknown"),
        ({"kind": "account"}, "kind", "unknown"),
        ({"user_id": str(uuid.UUID(int=1))}, "user_id", "unknown"),
        ({"nickname": "가" * 21}, "nickname", "long"),
        ({"nickname": "a\x00b"}, "nickname", "characters"),
        ({"nickname": 7}, "nickname", "type"),
        ({"housing": "castle"}, "housing", "choice"),
        ({"language": None}, "language", "choice"),
        ({"consent": None}, "consent", "type"),
        ({"consent": "yes"}, "consent", "type"),
    ],
)
def test_what_is_no_profile_changes_nothing(me: Me, wish: dict[str, Any], field: str, code: str) -> None:
    before = me.profile()
    answer = me.send("PATCH", json={"region": "서울", **wish})
    assert answer.status_code == 422
    problems: list[dict[str, Any]] = answer.json["problems"]  # type: ignore[index]
    assert [(one["field"], one["code"]) for one in problems] == [(field, code)]
    assert me.profile() == before


def test_a_profile_is_its_owner_s(me: Me, world: World) -> None:
    other = Me(citizen(world), me.app, me.signer)
    world.do("UPDATE users SET kind = 'account' WHERE id = %s", other.id)
    world.do(
        "INSERT INTO accounts (user_id, email, password_hash) VALUES (%s, %s, 'secret')", other.id, "b@example.org"
    )
    before = other.profile()
    assert (before["kind"], before["email"]) == ("account", "b@example.org")
    me.send("PATCH", json={"nickname": "까치", "consent": False})
    assert other.profile() == before
    assert "secret" not in json.dumps(other.export())


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("PATCH", ""), ("GET", "/history"), ("GET", "/export"), ("DELETE", "")]
)
def test_nobody_and_the_departed_get_nothing(me: Me, world: World, method: str, path: str) -> None:
    body: dict[str, Any] = {"json": {"nickname": "x"}} if method == "PATCH" else {}
    assert me.app.test_client().open(ME + path, method=method, **body).status_code == 401
    world.do("DELETE FROM users WHERE id = %s", me.id)
    answer = me.send(method, path, **body)
    assert (answer.status_code, answer.json["code"]) == (401, "unknown_user")  # type: ignore[index]


@pytest.mark.parametrize("path", ["?x=1", "/export?format=csv", "/history?user=1"])
def test_unknown_questions_are_refused(me: Me, path: str) -> None:
    answer = me.send("GET", path)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")  # type: ignore[index]


def test_the_history_comes_in_pages_and_is_mine(me: Me, world: World) -> None:
    now = datetime.now(UTC)
    mine = [asked(world, me.id, now - timedelta(hours=n), question=f"질문 {n}") for n in range(3)]
    guided(world, mine[0], "milk-carton", "carton")
    asked(world, citizen(world), now)
    first: Any = me.send("GET", "/history?limit=2").json
    second: Any = me.send("GET", f"/history?limit=2&cursor={first['next']}").json
    entries = first["analyses"] + second["analyses"]
    assert [entry["id"] for entry in entries] == mine
    assert (entries[0]["item"]["id"], entries[0]["destination"]["code"]) == ("milk-carton", "carton")
    assert second["next"] is None
    assert me.send("GET", "/history?cursor=x").status_code == 422


# --- everything as a file

#: What the file leaves out, by column: names of the machinery, hashes, keys, and what is said there in another form.
LEFT_OUT = {
    "users": {"id", "consent_at"},
    "accounts": {"user_id", "password_hash"},
    "analyses": {"user_id", "key", "last_n", "idempotency_key", "request_digest", "correlation_id", "failure"},
    "analysis_events": {"analysis_id", "source", "id", "type", "data", "correlation_id", "traceparent"},
    "claims": {
        "consumer", "event_source", "event_id", "analysis_id", "state", "outcome", "attempts", "model_failures",
        "lease_until", "next_attempt_at", "reply_n", "error", "created_at", "finished_at",
    },
    "photos": {"id", "analysis_id", "user_id", "kept_key", "model_key", "sha256", "phash", "deleted_at"},
    "identifications": {"analysis_id"},
    "retrievals": {"analysis_id", "passages", "cached"},
    "guides": {"analysis_id", "made_by"},
    "model_calls": {"analysis_id", "prompt_version", "answer", "tokens_in", "tokens_out", "cost_usd", "ms"},
    "proofs": {
        "analysis_id", "user_id", "key", "detail", "reason", "refused_from", "verdicts", "made_by", "flags",
    },
    "disputes": {"id", "proof_id", "user_id"},
    "questions": {"analysis_id", "made_by"},
    "user_days": {"user_id", "counted_at"},
    "user_day_items": {"user_id"},
    "lessons": {"user_id"},
    "quiz_answers": {"id", "lesson_id", "user_id"},
    "weekly_reports": {"user_id"},
}  # fmt: skip


def test_the_file_holds_every_column_that_is_about_the_citizen(me: Me, world: World) -> None:
    one, other = somebody(world), somebody(world)
    answer = Me(one.user, me.app, me.signer).send("GET", "/export")
    name = f'attachment; filename="growbin-export-{datetime.now(UTC):%Y-%m-%d}.json"'
    assert (answer.status_code, answer.headers["Content-Disposition"]) == (200, name)
    assert answer.mimetype == "application/json"
    text = answer.get_data(as_text=True)
    assert set(one.rows) == set(LEFT_OUT)  # a new table: say what of it belongs into the file
    for table, row in one.rows.items():
        assert LEFT_OUT[table] <= row.keys() | {"id"}
        for column in columns(world, table).keys() - LEFT_OUT[table]:
            assert rendered(row[column]) in text, f"{table}.{column}"
    # what is said in another form
    (analysis,) = json.loads(text)["analyses"]
    assert analysis["stages"][0]["stage"] == "proof.graded"
    assert analysis["rules"][0]["passages"] == [{"id": "rule.dispose.1", "text": "retrievals.passages"}]
    assert analysis["proofs"][0]["steps"] == [{"step": 0, "text": "proofs.verdicts"}]
    assert {analysis[name][0]["model"] for name in ("guides", "proofs", "questions")} == {
        "guides.model",
        "proofs.model",
        "questions.model",
    }
    assert analysis["photos_at"] == f"/api/v1/waste/analyses/{analysis['id']}/photos"
    assert json.loads(text)["profile"]["email"] == one.of("accounts")["email"]
    # and what must not be there
    secret = {"password_hash", "key", "kept_key", "model_key", "sha256", "phash", "request_digest", "idempotency_key"}
    hidden = [row[c] for row in one.rows.values() for c in row.keys() & secret]
    theirs = [value for row in other.rows.values() for value in row.values() if isinstance(value, str | uuid.UUID)]
    shared = {value for row in one.rows.values() for value in row.values() if isinstance(value, str)}
    for value in [*hidden, *(value for value in theirs if value not in shared), "of-somebody-else"]:
        assert str(value) not in text


def test_a_refusal_does_not_name_another_s_photo(me: Me, world: World) -> None:
    analysis = asked(world, me.id, datetime.now(UTC))
    world.proof(analysis, "refused", 1, reason="reused_photo", detail="photo of-somebody-else")
    world.proof(analysis, "refused", 2, reason="bad_photo", detail="damaged")
    proofs = me.export()["analyses"][0]["proofs"]
    assert [(one["reason"], one["detail"]) for one in proofs] == [("reused_photo", None), ("bad_photo", "damaged")]


def test_who_has_done_nothing_gets_a_file_too(me: Me) -> None:
    document = me.export()
    assert (document["format"], document["analyses"], document["lessons"]) == ("growbin-export/1", [], [])
    assert document["photos"].keys() == {"ko", "en"}


def test_a_thousand_analyses_are_all_there_and_never_in_memory_at_once(me: Me, world: World) -> None:
    world.do(
        """INSERT INTO analyses (id, user_id, status, key, content_type, correlation_id, created_at, requested_at)
           SELECT gen_random_uuid(), %s, 'completed', 'k' || n, 'image/jpeg', 'c', now() - make_interval(mins => n / 3),
                  now() FROM generate_series(1, 1000) n""",
        me.id,
    )
    world.do(
        """INSERT INTO guides (id, analysis_id, round, item_id, content, made_by)
           SELECT gen_random_uuid(), id, 1, 'i', jsonb_build_object('summary', repeat('가', 5000)), '{}'
           FROM analyses"""
    )
    ids: list[str] = []
    size = 0
    tracemalloc.start()
    answer = me.send("GET", "/export", buffered=False)
    for n, piece in enumerate(answer.iter_encoded()):
        size += len(piece)
        if 0 < n <= 1000:
            ids.append(json.loads(piece.decode().removeprefix(",\n"))["id"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rows = world.rows("SELECT id FROM analyses ORDER BY created_at, id")
    assert ids == [str(row["id"]) for row in rows]
    assert (size > 15_000_000, peak < 8_000_000) == (True, True), (size, peak)


# --- leaving


def left_of(world: World, one: Belongings) -> dict[str, int]:
    """Rows of theirs, by table: found by every column that named them."""
    ids = [str(one.user), str(one.of("analyses")["id"]), str(one.of("proofs")["id"]), str(one.of("lessons")["id"])]
    counts = {}
    for table in [*tables(world), "dead_letters"]:
        names = [n for n in ("id", "user_id", "analysis_id", "proof_id", "lesson_id") if n in columns(world, table)]
        where = " OR ".join(f"{name}::text = ANY(%s)" for name in names)
        counts[table] = world.row(f"SELECT count(*) AS n FROM {table} WHERE {where}", *[ids] * len(names))["n"]
    return counts


def test_who_leaves_takes_every_row_along_and_nobody_else_s(me: Me, world: World) -> None:
    one, other = somebody(world), somebody(world)
    for who in (one, other):
        world.do(
            """INSERT INTO dead_letters (consumer, event_source, event_id, analysis_id, attributes, body)
               VALUES ('identify', '/s', %s, %s, '{}', '')""",
            who.user,
            who.of("analyses")["id"],
        )
    day = "INSERT INTO city_days VALUES ('2026-01-05', 1, 1, 1, 0, 0, 0, '{}', '{}', '{}') ON CONFLICT DO NOTHING"
    world.do(day)
    city = world.rows("SELECT * FROM city_days")
    assert set(left_of(world, one).values()) == {1}
    leaver = Me(one.user, me.app, me.signer, signed_in=10)
    token = me.signer.issue(uuid.UUID(one.user)).token

    answer = leaver.send("DELETE")

    assert (answer.status_code, answer.get_data()) == (204, b"")
    assert set(left_of(world, one).values()) == {0}
    assert set(left_of(world, other).values()) == {1}
    assert world.rows("SELECT * FROM city_days") == city
    # the money is spent all the same, on the day it was
    spent = world.row("SELECT * FROM departed_spending")
    made = one.of("model_calls")["created_at"] + timedelta(hours=9)
    assert (spent["day"], float(spent["cost_usd"])) == (made.date(), 0.25)
    # the old token is refused, and a new one speaks for nobody
    old = me.app.test_client().get(ME, headers={"Authorization": f"Bearer {token}"})
    assert (old.status_code, old.json["code"]) == (401, "bad_token")  # type: ignore[index]
    new = leaver.send("DELETE")
    assert (new.status_code, new.json["code"]) == (401, "unknown_user")  # type: ignore[index]


def test_an_account_is_only_deleted_right_after_its_password_was_given(me: Me, world: World) -> None:
    world.do("UPDATE users SET kind = 'account' WHERE id = %s", me.id)
    for signed_in in (None, 301.0):
        me.signed_in = signed_in
        answer = me.send("DELETE")
        assert (answer.status_code, answer.json["code"]) == (403, "recent_login_required")  # type: ignore[index]
    me.signed_in = 290.0
    assert me.send("DELETE", json={"password": "x"}).status_code == 422
    assert world.rows("SELECT 1 FROM users WHERE id = %s", me.id)
    assert me.send("DELETE").status_code == 204
    assert not world.rows("SELECT 1 FROM users WHERE id = %s", me.id)


def test_a_guest_who_becomes_an_account_while_leaving_stays(me: Me, world: World) -> None:
    with ThreadPoolExecutor(1) as pool:
        with world.db.transaction() as tx:
            tx.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (me.id,))
            leaving = pool.submit(me.send, "DELETE")
            waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            until(lambda: world.rows(waiting))
            tx.execute("UPDATE users SET kind = 'account' WHERE id = %s", (me.id,))
            assert not leaving.done()
        answer = leaving.result(PATIENCE)
    assert (answer.status_code, answer.json["code"]) == (403, "recent_login_required")  # type: ignore[index]
    assert world.rows("SELECT 1 FROM users WHERE id = %s", me.id)


def test_a_guest_leaves_once_also_without_redis(me: Me, world: World, pipeline_database: str, keys: Path) -> None:
    environ = {"DATABASE_URL": pipeline_database, "REDIS_URL": "redis://127.0.0.1:1/0"}
    alone = create(load_settings(Settings, {**environ, "JWT_PUBLIC_KEYS_DIR": str(keys / "public")}))
    me.app = alone
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: me.send("DELETE").status_code, range(4)))
    assert sorted(answers) == [204, 401, 401, 401]


# --- the photos


def put(objects: Objects, *keys: str) -> list[str]:
    for key in keys:
        objects.put(key, b"photo", "image/jpeg")
    return list(keys)


def there(objects: Objects, keys: list[str]) -> list[str]:
    return [key for key in keys if objects.head(key)]


def objects_of(one: Belongings) -> list[str]:
    return [
        one.of("analyses")["key"], one.of("proofs")["key"], one.of("photos")["kept_key"], one.of("photos")["model_key"],
    ]  # fmt: skip


def test_their_photos_are_deleted_at_once_and_what_comes_late_as_well(
    me: Me, world: World, objects: Objects, recover: Flask
) -> None:
    one, other = somebody(world), somebody(world)
    mine, others = put(objects, *objects_of(one)), put(objects, *objects_of(other)[2:])
    before = naming.photo_key(one.of("analyses")["id"], "kept")
    assert Me(one.user, me.app, me.signer, signed_in=0).send("DELETE").status_code == 204
    assert deliver(recover, tick()).status == 204
    assert (there(objects, mine), there(objects, others)) == ([], others)
    # an upload that was under way, a copy that was being written
    late = put(objects, one.of("analyses")["key"], before)
    deliver(recover, tick())
    assert there(objects, late) == late
    world.do("UPDATE abandoned_objects SET since = since - interval '16 minutes'")
    deliver(recover, tick())
    assert (there(objects, late), there(objects, others)) == ([], others)
    assert world.rows("SELECT * FROM abandoned_objects") == []


def test_a_store_that_is_away_is_asked_again(
    me: Me, world: World, objects: Objects, recover: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = somebody(world)
    mine = put(objects, *objects_of(one))
    Me(one.user, me.app, me.signer, signed_in=0).send("DELETE")
    with monkeypatch.context() as away:
        away.setenv("S3_ENDPOINT", "http://127.0.0.1:1")
        assert deliver(load("recover"), tick()).status == 204
    assert there(objects, mine) == mine
    assert {row["deleted_at"] for row in world.rows("SELECT * FROM abandoned_objects")} == {None}
    deliver(recover, tick())
    assert there(objects, mine) == []


def test_copies_that_no_row_knows_are_swept_in_time_and_no_others(
    me: Me, world: World, objects: Objects, recover: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, unknown = somebody(world), uuid.uuid4()
    known = put(objects, one.of("photos")["kept_key"], one.of("photos")["model_key"])
    broken = put(objects, naming.photo_key(one.of("analyses")["id"], "kept"))
    nobody = put(objects, naming.photo_key(unknown, "kept"), naming.photo_key(unknown, "model", 3))
    foreign = put(objects, f"photos/{unknown}/notes.txt", "photos/readme.jpg")
    deliver(recover, tick())
    assert len(there(objects, known + broken + nobody + foreign)) == 7
    monkeypatch.setattr(photos, "ORPHANED", timedelta(0))
    deliver(recover, tick())
    assert there(objects, known + broken + nobody + foreign) == known + foreign
    objects.delete(foreign)


# --- analyses in flight


def test_a_copy_written_after_its_citizen_left_does_not_stay(
    world: World, objects: Objects, recover: Flask, gone: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    event, _ = world.ingested(objects)  # only for its picture
    picture = objects.get(naming.photo_key(uuid.UUID(event.subject), "model"))
    analysis = world.analysis("requested")
    objects.put(world.key(analysis), picture, "image/jpeg")
    requested = world.said(analysis, AnalysisRequested(key=world.key(analysis)))
    upload = world.key(analysis)
    really = Objects.put

    def slow(self: Objects, key: str, body: bytes, content_type: str) -> None:
        if key.endswith("-kept.jpg"):
            gone(analysis)
            deliver(recover, tick())
        really(self, key, body, content_type)

    with monkeypatch.context() as writing:
        writing.setattr(Objects, "put", slow)
        reply = deliver(load("ingest"), requested)
    assert (reply.status, reply.event) == (204, None)
    copies = [naming.photo_key(uuid.UUID(analysis), size) for size in ("kept", "model")]
    assert there(objects, [upload, *copies]) == copies
    assert world.rows("SELECT * FROM photos WHERE analysis_id = %s", analysis) == []
    world.do("UPDATE abandoned_objects SET since = since - interval '16 minutes'")
    deliver(recover, tick())
    assert there(objects, copies) == []
    assert world.rows("SELECT * FROM dead_letters") == []


@pytest.mark.usefixtures("pipeline_env")
def test_a_model_s_answer_for_nobody_is_forgotten_but_not_its_price(
    world: World, objects: Objects, gone: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    event, _ = world.ingested(objects)
    world.do("UPDATE users SET consent_at = now()")
    answer = Answer({"x": 1}, "{}", "gpt-4o", standin=False, tokens_in=1000, tokens_out=100, ms=1)

    def see(self: Vision, photo: bytes, words: str, problem: str | None = None) -> Answer:
        gone(event.subject)
        return answer

    monkeypatch.setattr(Vision, "see", see)
    reply = deliver(load("identify"), event)
    assert (reply.status, reply.event) == (204, None)
    assert float(world.row("SELECT cost_usd FROM departed_spending")["cost_usd"]) == 0.0035
    assert world.rows("SELECT * FROM claims") == []


def _saved(tx: Tx) -> None:
    advance(tx, str(uuid.uuid4()), frm={"requested"}, to="ingested")


SAID = PhotoIngested(photo_id="p", sha256="s", width=1, height=1)
ENDS: dict[str, Done | Exception] = {
    "says and stores": Done(SAID, _saved),
    "says": Done(SAID),
    "nothing": Done(),
    "retries": Retry("later"),
    "model down": ModelDown("429"),
    "rejects": Rejected("bad_photo", "damaged"),
    "breaks": ZeroDivisionError(),
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_a_step_was_about_to_do_it_ends_quietly(world: World, gone: Callable[[str], None], end: str) -> None:
    analysis = world.analysis("requested")
    event = world.said(analysis, AnalysisRequested(key=world.key(analysis)))

    def handle(event: Event[AnalysisRequested], deps: OnlyDatabase) -> Done:
        gone(event.subject)
        then = ENDS[end]
        if isinstance(then, Exception):
            raise then
        return then

    main = step("a-step", handle=handle, deps=OnlyDatabase(world.db))
    headers, body = wire.to_http(event)
    for _ in range(2):  # the second time the citizen is gone from the beginning
        with Flask("a-step").test_request_context("/", method="POST", headers=headers, data=body):
            answer = main(flask.request)
        assert (answer.status_code, answer.get_data()) == (204, b"")
        main = step("a-step", handle=lambda event, deps: Done(), deps=OnlyDatabase(world.db))
    assert world.rows("SELECT consumer, outcome, analysis_id FROM claims") == [
        {"consumer": "a-step", "outcome": "nothing", "analysis_id": None}
    ]


def _events(analysis: str) -> list[tuple[str, Payload]]:
    id_, key = str(uuid.uuid4()), naming.upload_key(uuid.UUID(analysis), "image/jpeg")
    after = naming.upload_key(uuid.UUID(analysis), "image/jpeg", 1)
    return [
        ("ingest", UploadStored(key=key, size=1, etag="")),
        ("ingest", UploadStored(key=after, size=1, etag="")),
        ("ingest", AnalysisRequested(key=key)),
        ("ingest", ProofRequested(proof_id=id_, key=after)),
        ("identify", SAID),
        ("retrieve", ItemIdentified(round=1, item_id="milk-carton", confidence=1.0)),
        ("retrieve", ItemClarified(round=1, item_id="milk-carton")),
        ("generate", RulesRetrieved(round=1, item_id="milk-carton", rule_ids=[], index_version="1")),
        ("generate", QuestionAsked(question_id=id_)),
        ("grade", ProofIngested(proof_id=id_, photo_id=id_, sha256="s")),
        ("aggregate", GuidanceGenerated(round=1, guide_id=id_, item_id="milk-carton")),
        ("aggregate", ProofGraded(proof_id=id_, grade="high", score=90)),
    ]


@pytest.mark.usefixtures("pipeline_env")
def test_events_of_who_has_left_are_nobody_s(
    world: World, gone: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    analysis = world.analysis("completed")
    events = [(name, world.said(analysis, said, stored=False)) for name, said in _events(analysis)]
    gone(analysis)
    apps = {name: load(name) for name in dict.fromkeys(name for name, _ in events)}
    for name, event in events:
        reply = deliver(apps[name], event)
        assert (name, event.type, reply.status, reply.event) == (name, event.type, 204, None)
    counted = {table: world.row(f"SELECT count(*) AS n FROM {table}")["n"] for table in tables(world)}
    assert {table for table, n in counted.items() if n} == {"users", "claims"}  # the user is another one
    assert counted["users"] == 1
    assert {row["state"] for row in world.rows("SELECT state FROM claims")} == {"done"}


def test_an_event_that_meets_a_citizen_on_their_way_out(world: World, me: Me) -> None:
    analysis = world.analysis("requested")
    event = world.said(analysis, AnalysisRequested(key=world.key(analysis)))
    taken: list[Any] = []

    def take() -> None:
        with world.db.transaction() as tx:
            taken.append(claims.claim(tx, "ingest", event))

    with world.db.transaction() as tx:
        assert leave(tx, world.state(analysis)["user_id"])
        thread = threading.Thread(target=take)
        thread.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        until(lambda: world.rows(waiting))
    thread.join(PATIENCE)
    (mine,) = taken
    assert isinstance(mine, Claim)
    assert world.row("SELECT analysis_id FROM claims")["analysis_id"] is None


def test_a_stored_reply_that_is_gone_is_not_said(world: World, me: Me) -> None:
    analysis = world.analysis("requested")
    event = world.said(analysis, AnalysisRequested(key=world.key(analysis)))
    world.do(
        """INSERT INTO claims (consumer, event_source, event_id, state, outcome, lease_until, reply_n)
           VALUES ('a-step', %s, %s, 'done', 'event', now(), 2)""",
        event.source,
        event.id,
    )
    main = step("a-step", handle=lambda event, deps: Done(), deps=OnlyDatabase(world.db))
    headers, body = wire.to_http(event)
    with Flask("a-step").test_request_context("/", method="POST", headers=headers, data=body):
        assert main(flask.request).status_code == 204


@pytest.mark.usefixtures("pipeline_env", "me")
def test_nobody_waits_in_a_circle(world: World, users_app: Flask, signer: Signer) -> None:
    """Twenty citizens leave while their analyses move on, are proven and counted."""
    citizens = [world.analysis("requested") for _ in range(20)]
    aggregate = load("aggregate")
    counted = {one: world.said(one, GuidanceGenerated(round=1, guide_id="g", item_id="i")) for one in citizens}
    owners = {one: str(world.state(one)["user_id"]) for one in citizens}
    start = threading.Barrier(3)

    def leaves(one: str) -> int:
        start.wait(PATIENCE)
        return Me(owners[one], users_app, signer).send("DELETE").status_code

    def works(one: str) -> int:
        event = world.said(one, AnalysisRequested(key="k"), stored=False)

        def handle(event: Event[AnalysisRequested], deps: OnlyDatabase) -> Done:
            return Done(SAID, lambda tx: advance(tx, one, frm={"requested"}, to="ingested"))

        headers, body = wire.to_http(event)
        main = step("a-step", handle=handle, deps=OnlyDatabase(world.db))
        start.wait(PATIENCE)
        with Flask("a-step").test_request_context("/", method="POST", headers=headers, data=body):
            return main(flask.request).status_code

    def counts(one: str) -> int:
        start.wait(PATIENCE)
        return deliver(aggregate, counted[one]).status

    with ThreadPoolExecutor(3) as pool:
        for one in citizens:
            three = [pool.submit(leaves, one), pool.submit(works, one), pool.submit(counts, one)]
            left, worked, _ = (future.result(PATIENCE) for future in three)
            assert (left, worked in (200, 204)) == (204, True)
    assert world.rows("SELECT 1 FROM analyses") == world.rows("SELECT 1 FROM user_days") == []
