"""The public API against a real database: what a citizen's app sends, what it gets, and what the pipeline is told.

The broker is a small HTTP server that remembers what was posted; where the pipeline has to have worked in between, its
rows are written as it writes them.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from werkzeug.test import TestResponse

from functions.presign.signing import LARGEST, Presigner
from functions.shared import messages, naming, outbox, wire
from functions.shared.conditions import State
from functions.shared.events import (
    AnalysisExpired,
    AnalysisFailed,
    Event,
    GuidanceGenerated,
    ItemIdentified,
    Payload,
    PhotoIngested,
    RulesRetrieved,
)
from functions.shared.search import Found, Question, Rulebook
from functions.shared.tokens import Signer
from knative.local.parts import Addresses
from tests.conftest import copied

ROOT = Path(__file__).parents[1]
ANALYZE, ANALYSES = "/api/v1/waste/analyze", "/api/v1/waste/analyses"


class Broker:
    """The broker's ingress as far as an HTTP function sees it; `status` is what it answers."""

    def __init__(self) -> None:
        self.events: list[Event[Payload]] = []
        self.status = 202
        seen = self

        class Ingress(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                seen.events.append(wire.parse(dict(self.headers.items()), body))
                self.send_response(seen.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Ingress)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def told(self, analysis_id: str) -> list[str]:
        return [naming.stage(e.type) for e in self.events if e.subject == analysis_id]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def database_url(servers: Addresses, indexed_url: str) -> str:
    """A database of this module alone, with the real rules in it."""
    return copied(servers, indexed_url)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


@pytest.fixture(scope="module")
def apps(database_url: str, servers: Addresses, broker: Broker, keys: Path) -> Iterator[dict[str, Flask]]:
    """The four apps exactly as gunicorn gets them: `functions.<name>.main:app`, from the environment alone."""
    environ = {
        "DATABASE_URL": database_url,
        "BROKER_URL": broker.url,
        "S3_PUBLIC_ENDPOINT": "http://photos.test:9000",
        "S3_REGION": "ap-northeast-2",
        "S3_BUCKET": "photos",
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "REDIS_URL": servers.redis_url,
        "RATE_LIMIT_PER_MINUTE": "100000",
        "GUESTS_PER_HOUR": "100000",
        "MODEL_DAILY_PER_USER": "100000",
        "JWT_PRIVATE_KEY_FILE": str(keys / "private.pem"),
        "JWT_PUBLIC_KEYS_DIR": str(keys / "public"),
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",  # nobody answers: searching must do without meaning
    }
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        yield {
            name: importlib.import_module(f"functions.{name}.main").app for name in ("auth", "presign", "waste", "web")
        }
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def db(database_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@dataclass
class Citizen:
    """Somebody with an app: sends to whichever function answers for the path, as the gateway does."""

    apps: dict[str, Flask]
    token: str = ""
    user_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.token and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {self.token}"
        return self._client(path).open(path, method=method, json=body, headers=sent)

    def _client(self, path: str) -> FlaskClient:
        if path.startswith("/api/v1/auth"):
            return self.apps["auth"].test_client()
        return self.apps["presign" if path == "/api/v1/waste/uploads" else "waste"].test_client()

    def uploaded(self, content_type: str = "image/jpeg") -> tuple[str, str]:
        """(analysis id, key) of a fresh upload address."""
        made = self("POST", "/api/v1/waste/uploads", {"content_type": content_type})
        assert made.status_code == 201, made.text
        return made.json["id"], made.json["key"]  # type: ignore[index]

    def requested(self, **body: str) -> str:
        """Id of an analysis that was asked for."""
        analysis_id, key = self.uploaded()
        assert self("POST", ANALYZE, {"key": key, **body}).status_code == 202
        return analysis_id


@pytest.fixture
def new_citizen(apps: dict[str, Flask]) -> Callable[..., Citizen]:
    def make(*, consent: bool = True) -> Citizen:
        citizen = Citizen(apps)
        made = citizen("POST", "/api/v1/auth/guest")
        assert made.status_code == 201
        citizen.token, citizen.user_id = made.json["token"], made.json["user_id"]  # type: ignore[index]
        if consent:
            assert citizen("POST", "/api/v1/auth/consent", {"granted": True}).status_code == 200
        return citizen

    return make


@pytest.fixture
def citizen(new_citizen: Callable[..., Citizen]) -> Citizen:
    return new_citizen()


def problem(response: TestResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = json.loads(response.data)
    assert document["status"] == response.status_code
    assert document["type"] == f"urn:growbin:problem:{document['code']}"
    return document


def events_of(db: psycopg.Connection[dict[str, Any]], analysis_id: str) -> list[dict[str, Any]]:
    return db.execute("SELECT * FROM analysis_events WHERE analysis_id = %s ORDER BY n", (analysis_id,)).fetchall()


# --- auth ---------------------------------------------------------------------------------------------------------


def test_a_guest_is_a_user_who_has_not_agreed_to_anything(new_citizen: Callable[..., Citizen]) -> None:
    guest = new_citizen(consent=False)
    me = guest("GET", "/api/v1/auth/me")
    assert me.json == {"user_id": guest.user_id, "kind": "guest", "consent": False}


def test_consent_is_kept_and_can_be_withdrawn(new_citizen: Callable[..., Citizen]) -> None:
    guest = new_citizen(consent=False)
    assert guest("POST", "/api/v1/auth/consent", {"granted": True}).json["consent"] is True  # type: ignore[index]
    assert guest("GET", "/api/v1/auth/me").json["consent"] is True  # type: ignore[index]
    assert guest("POST", "/api/v1/auth/consent", {"granted": False}).json["consent"] is False  # type: ignore[index]
    assert guest("GET", "/api/v1/auth/me").json["consent"] is False  # type: ignore[index]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/auth/me"),
        ("POST", "/api/v1/auth/consent"),
        ("POST", "/api/v1/waste/uploads"),
        ("POST", ANALYZE),
        ("GET", ANALYSES),
        ("GET", f"{ANALYSES}/{uuid.UUID(int=7)}"),
        ("POST", f"{ANALYSES}/{uuid.UUID(int=7)}/answer"),
        ("POST", f"{ANALYSES}/{uuid.UUID(int=7)}/correction"),
        ("GET", "/api/v1/waste/items?q=x"),
    ],
)
def test_nothing_personal_without_a_good_token(apps: dict[str, Flask], method: str, path: str) -> None:
    nobody = Citizen(apps)
    without = nobody(method, path, {})
    assert (without.status_code, problem(without)["code"]) == (401, "unauthenticated")
    assert without.headers["WWW-Authenticate"].startswith("Bearer")
    forged = nobody(method, path, {}, Authorization="Bearer a.b.c")
    assert (forged.status_code, problem(forged)["code"]) == (401, "bad_token")
    basic = nobody(method, path, {}, Authorization="Basic " + base64.b64encode(b"a:b").decode())
    assert problem(basic)["code"] == "unauthenticated"


def test_a_token_of_a_user_who_is_gone_says_start_over(apps: dict[str, Flask], keys: Path) -> None:
    ghost = Citizen(apps, token=Signer(keys / "private.pem").issue(uuid.uuid4()).token)
    for method, path, body in (
        ("GET", "/api/v1/auth/me", None),
        ("POST", "/api/v1/auth/consent", {"granted": True}),
        ("POST", "/api/v1/waste/uploads", {"content_type": "image/png"}),
        ("POST", ANALYZE, {"key": "uploads/x"}),
    ):
        answer = ghost(method, path, body)
        assert (answer.status_code, problem(answer)["code"]) == (401, "unknown_user"), path


# --- every HTTP function --------------------------------------------------------------------------------------------


def test_every_fault_of_a_body_is_listed_in_korean(citizen: Citizen) -> None:
    body = {"key": 7, "question": "가" * 501, "housing": "castle", "colour": "red", "region": "서울\x00"}
    refused = citizen("POST", ANALYZE, body)
    assert refused.status_code == 422
    document = problem(refused)
    assert document["code"] == "invalid_request"
    faults = {p["field"]: p["code"] for p in document["problems"]}
    assert faults == {
        "key": "type",
        "question": "long",
        "housing": "choice",
        "colour": "unknown",
        "region": "characters",
    }
    assert next(p["detail"] for p in document["problems"] if p["field"] == "question") == "500자까지 쓸 수 있어요."
    assert document["title"] == messages.text("problem.invalid_request", "ko")


@pytest.mark.parametrize(
    ("accept", "locale"), [("en-US,en;q=0.9", "en"), ("fr, en;q=0.4, ko;q=0.8", "ko"), ("de", "ko"), ("", "ko")]
)
def test_people_read_their_language_and_programs_a_stable_code(citizen: Citizen, accept: str, locale: str) -> None:
    refused = citizen("POST", ANALYZE, {"key": "uploads/unknown"}, Accept_Language=accept)
    document = problem(refused)
    assert document["code"] == "unknown_key"
    assert document["title"] == messages.text("problem.unknown_key", locale)
    assert document["detail"] == messages.text("problem.unknown_key.detail", locale)


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "bad_json"),
        (b"[]", "application/json", 400, "bad_json"),
        (b"[" * 60000, "application/json", 400, "bad_json"),
        (b'{"key": "\xff"}', "application/json", 400, "bad_json"),
        (b'{"key": "\\ud800"}', "application/json", 422, "invalid_request"),
        (b"key=1", "application/x-www-form-urlencoded", 415, "not_json"),
        (b'{"key": "' + b"a" * 70000 + b'"}', "application/json", 413, "body_too_large"),
    ],
    ids=["broken", "list", "deep", "not-utf8", "surrogate", "form", "large"],
)
def test_what_is_no_request_body(  # noqa: PLR0917
    citizen: Citizen, apps: dict[str, Flask], data: bytes, content_type: str, status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {citizen.token}", "Content-Type": content_type}
    refused = apps["waste"].test_client().post(ANALYZE, data=data, headers=headers)
    assert (refused.status_code, problem(refused)["code"]) == (status, code)


@pytest.mark.parametrize("name", ["auth", "presign", "waste", "web"])
def test_every_function_says_whether_it_lives_and_is_ready(apps: dict[str, Flask], name: str) -> None:
    client = apps[name].test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    missing = client.get("/nowhere")
    assert problem(missing)["code"] == "not_found"
    assert missing.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in missing.headers["Content-Security-Policy"]


def test_a_wrong_method_says_which_is_right(citizen: Citizen) -> None:
    refused = citizen("DELETE", ANALYSES)
    assert (refused.status_code, problem(refused)["code"]) == (405, "method_not_allowed")
    assert "GET" in refused.headers["Allow"]


def test_without_a_database_the_answer_is_503_and_says_nothing_of_the_inside(keys: Path, redis_url: str) -> None:
    from functions.auth.routes import create
    from functions.auth.settings import Settings

    app = create(
        Settings(
            database_url="postgresql://nobody:hush@127.0.0.1:9/none?connect_timeout=1",
            redis_url=redis_url,
            jwt_private_key_file=keys / "private.pem",
            jwt_public_keys_dir=keys / "public",
        )
    )
    down = app.test_client().post("/api/v1/auth/guest")
    assert (down.status_code, problem(down)["code"]) == (503, "unavailable")
    assert down.headers["Retry-After"] == "1"
    assert "hush" not in down.text
    assert "127.0.0.1" not in down.text
    assert app.test_client().get("/readyz").status_code == 503
    assert app.test_client().get("/healthz").status_code == 200


def test_a_bug_shows_nothing_of_itself(keys: Path) -> None:
    from functions.shared import http

    app = http.create_app("web")

    @app.get("/bug")
    def bug() -> str:
        raise RuntimeError("inner secret")

    broken = app.test_client().get("/bug")
    assert (broken.status_code, problem(broken)["code"]) == (500, "internal")
    assert "inner secret" not in broken.text


def test_a_callers_correlation_id_is_kept_if_it_is_harmless(citizen: Citizen) -> None:
    assert citizen("GET", ANALYSES, X_Correlation_Id="abcdef-123456").headers["X-Correlation-Id"] == "abcdef-123456"
    made_up = citizen("GET", ANALYSES, X_Correlation_Id="a b\tc").headers["X-Correlation-Id"]
    assert len(made_up) == 32


# --- presign --------------------------------------------------------------------------------------------------------


def test_an_upload_address_fits_one_photo_only(citizen: Citizen, broker: Broker, db: Any) -> None:
    made = citizen("POST", "/api/v1/waste/uploads", {"content_type": "image/heic"})
    assert made.status_code == 201
    answer = made.json
    assert answer is not None
    analysis_id = answer["id"]
    assert answer["key"] == f"uploads/{analysis_id}/before.heic"
    assert answer["upload"]["url"] == "http://photos.test:9000/photos"
    form = answer["upload"]["fields"]
    assert (form["key"], form["Content-Type"]) == (answer["key"], "image/heic")
    policy = json.loads(base64.b64decode(form["policy"]))
    assert {"bucket": "photos"} in policy["conditions"]
    assert {"key": answer["key"]} in policy["conditions"]
    assert {"Content-Type": "image/heic"} in policy["conditions"]
    assert ["content-length-range", 1, 10 * 1024 * 1024] in policy["conditions"]
    lifetime = datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)
    assert 290 < lifetime.total_seconds() <= 300
    assert datetime.fromisoformat(policy["expiration"]) == datetime.fromisoformat(answer["expires_at"])

    row = db.execute("SELECT * FROM analyses WHERE id = %s", (analysis_id,)).fetchone()
    assert (row["status"], str(row["user_id"]), row["key"]) == ("presigned", citizen.user_id, answer["key"])
    assert [e["type"] for e in events_of(db, analysis_id)] == ["app.growbin.waste.upload.v1.presigned"]
    assert broker.told(analysis_id) == ["upload.presigned"]


def test_the_signature_is_the_one_boto3_makes(citizen: Citizen) -> None:
    """Same policy, same secret: the object store recomputes exactly this."""
    import hashlib
    import hmac

    form = citizen("POST", "/api/v1/waste/uploads", {"content_type": "image/png"}).json["upload"]["fields"]  # type: ignore[index]
    _, day, region, service, request = form["x-amz-credential"].split("/")
    key = b"AWS4secret"
    for part in (day, region, service, request):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert form["x-amz-signature"] == hmac.new(key, form["policy"].encode(), hashlib.sha256).hexdigest()


@pytest.fixture
def presigner(s3: Addresses) -> Presigner:
    """What `presign` signs with, for the store of this run."""
    return Presigner(
        endpoint=s3.s3_endpoint,
        bucket=s3.bucket,
        region=s3.s3_region,
        access_key=s3.s3_access_key,
        secret_key=s3.s3_secret_key,
    )


def test_the_object_store_takes_that_photo_and_no_other(presigner: Presigner) -> None:
    key = naming.upload_key(uuid.uuid4(), "image/png")
    form = presigner.form(key, "image/png")

    def post(size: int = 1000, **changes: str) -> int:
        fields = {**form.fields, **{name.replace("_", "-"): value for name, value in changes.items()}}
        return requests.post(form.url, data=fields, files={"file": b"x" * size}, timeout=20).status_code

    assert post() == 204
    assert post(LARGEST) == 204
    for refused in (
        post(0),
        post(LARGEST + 1),
        post(key="uploads/other.png"),
        post(Content_Type="text/html"),
        post(policy=form.fields["policy"][:-4] + "AAAA"),
        post(x_amz_signature="0" * 64),
    ):
        assert 400 <= refused < 500


def test_the_object_store_takes_nothing_after_the_address_has_expired(
    presigner: Presigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.presign.signing.LIFETIME", timedelta(seconds=-5))
    form = presigner.form(naming.upload_key(uuid.uuid4(), "image/png"), "image/png")
    late = requests.post(form.url, data=form.fields, files={"file": b"x" * 1000}, timeout=20)
    assert late.status_code == 403
    monkeypatch.undo()
    assert requests.get(presigner.view(form.fields["key"]), timeout=20).status_code == 404


@pytest.mark.parametrize("content_type", sorted(naming.PHOTO_TYPES))
def test_every_accepted_kind_of_photo_has_a_key_we_recognise(citizen: Citizen, content_type: str) -> None:
    analysis_id, key = citizen.uploaded(content_type)
    assert str(naming.analysis_of_key(key)) == analysis_id


@pytest.mark.parametrize("content_type", ["image/gif", "application/pdf", "image/JPEG", ""])
def test_other_kinds_are_refused(citizen: Citizen, content_type: str) -> None:
    refused = citizen("POST", "/api/v1/waste/uploads", {"content_type": content_type})
    assert problem(refused)["problems"][0]["code"] == "choice"


# --- analyze --------------------------------------------------------------------------------------------------------


def test_an_analysis_begins(citizen: Citizen, broker: Broker, db: Any) -> None:
    analysis_id, key = citizen.uploaded()
    body = {"key": key, "question": "  뚜껑은요?  ", "region": "서울 마포구", "housing": "apartment"}
    accepted = citizen("POST", ANALYZE, body)
    assert accepted.status_code == 202
    assert accepted.headers["Location"] == f"{ANALYSES}/{analysis_id}"
    assert accepted.json["status"] == "requested"  # type: ignore[index]
    assert accepted.json["links"]["events"] == f"{ANALYSES}/{analysis_id}/events"  # type: ignore[index]
    row = db.execute("SELECT * FROM analyses WHERE id = %s", (analysis_id,)).fetchone()
    assert (row["status"], row["question"], row["housing"]) == ("requested", "뚜껑은요?", "apartment")
    assert row["requested_at"] is not None
    assert broker.told(analysis_id) == ["upload.presigned", "analysis.requested"]
    told = events_of(db, analysis_id)[-1]
    assert told["data"] == {"key": key}, "a citizen's words never travel in an event"
    assert told["correlation_id"] == row["correlation_id"]

    state = citizen("GET", f"{ANALYSES}/{analysis_id}")
    assert state.headers["Retry-After"] == "1"
    assert [s["stage"] for s in state.json["stages"]] == ["upload.presigned", "analysis.requested"]  # type: ignore[index]
    assert (state.json["item"], state.json["guide"], state.json["failure"]) == (None, None, None)  # type: ignore[index]


def test_no_photo_goes_to_the_model_without_consent(new_citizen: Callable[..., Citizen], broker: Broker) -> None:
    guest = new_citizen(consent=False)
    analysis_id, key = guest.uploaded()
    refused = guest("POST", ANALYZE, {"key": key})
    assert (refused.status_code, problem(refused)["code"]) == (403, "consent_required")
    assert broker.told(analysis_id) == ["upload.presigned"]
    guest("POST", "/api/v1/auth/consent", {"granted": True})
    assert guest("POST", ANALYZE, {"key": key}).status_code == 202


def test_somebody_elses_key_is_unknown(new_citizen: Callable[..., Citizen]) -> None:
    owner, other = new_citizen(), new_citizen()
    _, key = owner.uploaded()
    for made_up in (key, f"uploads/{uuid.uuid4()}/before.jpg", "../../etc/passwd"):
        refused = other("POST", ANALYZE, {"key": made_up})
        assert (refused.status_code, problem(refused)["code"]) == (404, "unknown_key")


def test_the_same_request_twice_is_one_analysis(citizen: Citizen, broker: Broker) -> None:
    analysis_id, key = citizen.uploaded()
    body = {"key": key, "question": "어떻게 버려요?"}
    first = citizen("POST", ANALYZE, body, Idempotency_Key="tap-1")
    again = citizen("POST", ANALYZE, body, Idempotency_Key="tap-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json == again.json
    assert again.headers["Location"] == first.headers["Location"]
    assert broker.told(analysis_id).count("analysis.requested") == 1

    other_body = citizen("POST", ANALYZE, {**body, "question": "다른 질문"}, Idempotency_Key="tap-1")
    assert (other_body.status_code, problem(other_body)["code"]) == (422, "idempotency_mismatch")
    _, other_key = citizen.uploaded()
    other_photo = citizen("POST", ANALYZE, {"key": other_key}, Idempotency_Key="tap-1")
    assert (other_photo.status_code, problem(other_photo)["code"]) == (422, "idempotency_mismatch")

    for headers in ({}, {"Idempotency_Key": "tap-2"}):
        repeated = citizen("POST", ANALYZE, body, **headers)
        document = problem(repeated)
        assert (repeated.status_code, document["code"]) == (409, "already_requested")
        assert document["links"]["self"] == f"{ANALYSES}/{analysis_id}"


def test_idempotency_keys_belong_to_their_user(new_citizen: Callable[..., Citizen]) -> None:
    for one in (new_citizen(), new_citizen()):
        _, key = one.uploaded()
        assert one("POST", ANALYZE, {"key": key}, Idempotency_Key="the same").status_code == 422, "a space is no key"
        assert one("POST", ANALYZE, {"key": key}, Idempotency_Key="the-same").status_code == 202


def test_ten_taps_at_once_begin_one_analysis(citizen: Citizen, broker: Broker, db: Any) -> None:
    analysis_id, key = citizen.uploaded()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: citizen("POST", ANALYZE, {"key": key}, Idempotency_Key="once"), range(10)))
    assert {a.status_code for a in answers} == {202}
    assert broker.told(analysis_id).count("analysis.requested") == 1
    assert len(events_of(db, analysis_id)) == 2

    pairs = [citizen.uploaded()[1] for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        mixed = list(pool.map(lambda k: citizen("POST", ANALYZE, {"key": k}, Idempotency_Key="clash"), pairs))
    assert sorted(a.status_code for a in mixed) == [202] + [422] * 5, "one key is one request, whoever wins"


def test_a_deaf_broker_delays_nothing_and_loses_nothing(citizen: Citizen, broker: Broker, db: Any) -> None:
    broker.status = 500
    try:
        analysis_id = citizen.requested()
    finally:
        broker.status = 202
    assert [naming.stage(e["type"]) for e in events_of(db, analysis_id)] == ["upload.presigned", "analysis.requested"]


def test_a_forgotten_upload_address_is_gone(citizen: Citizen, db: Any) -> None:
    analysis_id, key = citizen.uploaded()
    db.execute("UPDATE analyses SET status = 'expired' WHERE id = %s", (analysis_id,))
    refused = citizen("POST", ANALYZE, {"key": key})
    assert (refused.status_code, problem(refused)["code"]) == (409, "upload_expired")


# --- what the pipeline does in between ------------------------------------------------------------------------------

CANDIDATES = [
    {"id": "item-a", "name": "첫째", "score": 0.9},
    {"id": "item-b", "name": "둘째", "score": 0.6},
]
#: One thing, two ways: what its question asks decides.
VARIANTS = {
    "text": {"ko": "기름이 묻었나요?", "en": "Is it oily?"},
    "options": [
        {"id": "clean", "label": {"ko": "깨끗해요", "en": "Clean"}, "item_id": "item-a", "state": {"dirt": "clean"}},
        {"id": "oily", "label": {"ko": "묻었어요", "en": "Oily"}, "item_id": "item-b", "state": {"dirt": "oily"}},
    ],
}
#: Two things in one photo.
THINGS = {
    "text": {"ko": "어느 것이 궁금하세요?", "en": "Which one?"},
    "options": [
        {"id": "thing-1", "label": {"ko": "상자", "en": "box"}, "item_id": "item-a", "state": {"dirt": "oily"}},
        {
            "id": "thing-2",
            "label": {"ko": "병", "en": "bottle"},
            "item_id": "item-c",
            "state": {"contents": "remaining"},
        },
    ],
}
RULE = {
    "id": "a.dispose.1",
    "phase": "dispose",
    "text": "종이류에 버려요.",
    "destination": "paper",
    "basis": "directive",
    "source": {"title": "지침", "url": "https://example.org/rule"},
    "effective_from": "2026-01-01",
    "checked": "2026-05-31",
    "disagreement": None,
}


class Pipeline:
    """Ingest, identify, retrieve and generate in one: writes what they write."""

    def __init__(self, db: psycopg.Connection[dict[str, Any]]) -> None:
        self.db = db

    def identify(self, analysis_id: str, *, question: dict[str, Any] | None = None, found: bool = True) -> None:
        self._say(analysis_id, "ingest", PhotoIngested(photo_id="p", sha256="0" * 64, width=1, height=1))
        decision = "ambiguous" if question else "match" if found else "not_found"
        item = "item-a" if decision == "match" else None
        state = {"contents": "empty", "dirt": "unknown", "material": "plastic"}
        self.db.execute(
            """INSERT INTO identifications
                   (analysis_id, round, seen, candidates, decision, item_id, state, question, chosen_by)
               VALUES (%s, 1, %s, %s, %s, %s, %s, %s, 'model')""",
            (
                analysis_id,
                Jsonb({"objects": [{"name": "상자"}], "notes": ""}),
                Jsonb(CANDIDATES),
                decision,
                item,
                Jsonb(state),
                Jsonb(question) if question else None,
            ),
        )
        status = {"match": "identified", "ambiguous": "needs_answer", "not_found": "completed"}[decision]
        outcome = None if found else "not_found"
        self.db.execute("UPDATE analyses SET status = %s, outcome = %s WHERE id = %s", (status, outcome, analysis_id))
        if item:
            self._say(analysis_id, "identify", ItemIdentified(round=1, item_id=item, confidence=0.83))

    def guide(self, analysis_id: str) -> None:
        """Rules and guide of the present round."""
        row = self.db.execute(
            "SELECT round, item_id FROM analyses JOIN identifications USING (round) WHERE id = %s AND analysis_id = id",
            (analysis_id,),
        ).fetchone()
        assert row is not None
        round_, item = row["round"], row["item_id"]
        self.db.execute(
            "INSERT INTO retrievals VALUES (%s, %s, %s, %s, 'v1', false)", (analysis_id, round_, item, Jsonb([RULE]))
        )
        content = {
            "summary": f"{item} 안내",
            "destination": "paper",
            "steps": [{"phase": "dispose", "text": "종이류에 버려요.", "rule_ids": [RULE["id"]]}],
            "cautions": [],
            "answer": "",
        }
        made_by = {"model": "gpt-4o", "prompt_version": "guide-1", "standin": False, "cached": False}
        guide_id = str(uuid.uuid4())
        self.db.execute(
            "INSERT INTO guides (id, analysis_id, round, item_id, content, made_by) VALUES (%s, %s, %s, %s, %s, %s)",
            (guide_id, analysis_id, round_, item, Jsonb(content), Jsonb(made_by)),
        )
        for purpose in ("see", "guide"):
            self.db.execute(
                """INSERT INTO model_calls (analysis_id, round, purpose, model, prompt_version, answer, tokens_in,
                       tokens_out, cost_usd, ms) VALUES (%s, %s, %s, 'gpt-4o', 'v', '{}', 100, 20, 0.001, 300)""",
                (analysis_id, round_, purpose),
            )
        self.db.execute("UPDATE analyses SET status = 'completed', outcome = 'guide' WHERE id = %s", (analysis_id,))
        self._say(
            analysis_id,
            "retrieve",
            RulesRetrieved(round=round_, item_id=item, rule_ids=["a.dispose.1"], index_version="v1"),
        )
        self._say(analysis_id, "generate", GuidanceGenerated(round=round_, guide_id=guide_id, item_id=item))

    def end(self, analysis_id: str, status: str, said: Payload, failure: dict[str, str] | None = None) -> None:
        self.db.execute(
            "UPDATE analyses SET status = %s, failure = %s WHERE id = %s",
            (status, Jsonb(failure) if failure else None, analysis_id),
        )
        self._say(analysis_id, "recover", said)

    def _say(self, analysis_id: str, by: str, data: Payload) -> None:
        event = Event(
            id=str(uuid.uuid4()),
            source=naming.source(by),
            subject=analysis_id,
            data=data,
            time=datetime.now(UTC),
            correlation_id="test",
        )
        with self.db.transaction():
            outbox.append(self.db, event)


@pytest.fixture
def pipeline(db: psycopg.Connection[dict[str, Any]]) -> Pipeline:
    return Pipeline(db)


def state(citizen: Citizen, analysis_id: str, **headers: str) -> dict[str, Any]:
    answer = citizen("GET", f"{ANALYSES}/{analysis_id}", **headers)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = json.loads(answer.data)
    return document


# --- the state of an analysis ---------------------------------------------------------------------------------------


def test_a_finished_analysis_says_everything(citizen: Citizen, pipeline: Pipeline) -> None:
    analysis_id = citizen.requested(question="뚜껑은요?", region="서울 마포구", housing="apartment")
    pipeline.identify(analysis_id)
    pipeline.guide(analysis_id)
    answer = citizen("GET", f"{ANALYSES}/{analysis_id}")
    assert "Retry-After" not in answer.headers
    found = state(citizen, analysis_id)
    contract = {"id", "status", "outcome", "round", "created_at", "updated_at", "question", "region", "housing"}
    contract |= {"stages", "item", "clarify", "guide", "guides", "failure", "links"}
    assert set(found) == contract | {"verifiable", "proofs", "questions"}
    assert (found["verifiable"], found["proofs"], found["questions"]) == (True, [], [])
    assert found["links"].keys() == {
        "self", "events", "answer", "correction", "photos", "verify", "dispute", "questions",
    }  # fmt: skip
    assert (found["status"], found["outcome"], found["round"]) == ("completed", "guide", 1)
    assert [s["stage"] for s in found["stages"]] == [
        "upload.presigned",
        "analysis.requested",
        "photo.ingested",
        "item.identified",
        "rules.retrieved",
        "guidance.generated",
    ]
    assert [s["n"] for s in found["stages"]] == [1, 2, 3, 4, 5, 6]
    item = found["item"]
    assert (item["id"], item["confidence"], item["decision"], item["chosen_by"]) == ("item-a", 0.83, "match", "model")
    assert item["candidates"] == CANDIDATES
    assert item["seen"]["objects"] == [{"name": "상자"}]
    guide = found["guide"]
    assert guide["destination"]["code"] == "paper"
    assert guide["destination"]["name"] == "종이류"
    assert "펼쳐서" in guide["destination"]["where"], "the place in an apartment complex, not in front of a house"
    assert guide["steps"] == [
        {
            "phase": "dispose",
            "text": "종이류에 버려요.",
            "rule_ids": ["a.dispose.1"],
            "phase_name": "배출",
            "to_do": True,
        }
    ]
    assert guide["rules"] == [{**RULE, "basis_name": messages.text("basis.directive", "ko")}]
    made_by = guide["made_by"]
    assert (made_by["model"], made_by["tokens_in"], made_by["tokens_out"], made_by["ms"]) == ("gpt-4o", 200, 40, 600)
    assert made_by["cost_usd"] == pytest.approx(0.002)
    assert [(g["round"], g["item_id"]) for g in found["guides"]] == [(1, "item-a")]


def test_the_same_in_english(citizen: Citizen, pipeline: Pipeline) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id, question=VARIANTS)
    asked = state(citizen, analysis_id, Accept_Language="en")
    assert asked["clarify"]["question"] == "Is it oily?"
    assert [o["label"] for o in asked["clarify"]["options"]] == ["Clean", "Oily"]
    citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": "clean"})
    pipeline.guide(analysis_id)
    guide = state(citizen, analysis_id, Accept_Language="en")["guide"]
    assert (guide["destination"]["name"], guide["steps"][0]["phase_name"]) == ("Paper", "Dispose")


def test_the_price_is_unknown_where_one_call_has_none(citizen: Citizen, pipeline: Pipeline, db: Any) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id)
    pipeline.guide(analysis_id)
    db.execute("UPDATE model_calls SET cost_usd = NULL WHERE analysis_id = %s AND purpose = 'see'", (analysis_id,))
    assert state(citizen, analysis_id)["guide"]["made_by"]["cost_usd"] is None


def test_an_analysis_is_only_its_owners(new_citizen: Callable[..., Citizen], pipeline: Pipeline) -> None:
    owner, stranger = new_citizen(), new_citizen()
    analysis_id = owner.requested()
    pipeline.identify(analysis_id, question=VARIANTS)
    here = f"{ANALYSES}/{analysis_id}"
    for method, path, body in (
        ("GET", here, None),
        ("POST", f"{here}/answer", {"option": "clean"}),
        ("POST", f"{here}/correction", {"item_id": "item-b"}),
    ):
        refused = stranger(method, path, body)
        assert (refused.status_code, problem(refused)["code"]) == (404, "analysis_not_found")
    assert stranger("GET", ANALYSES).json == {"analyses": [], "next": None}
    assert state(owner, analysis_id)["status"] == "needs_answer"


@pytest.mark.parametrize(
    ("status", "said", "failure", "code"),
    [
        ("failed", AnalysisFailed(reason="bad_photo", detail="x"), {"reason": "bad_photo", "detail": "x"}, "bad_photo"),
        ("expired", AnalysisExpired(reason="no_answer"), None, "no_answer"),
        ("expired", AnalysisExpired(reason="no_photo"), None, "no_photo"),
    ],
)
def test_why_it_ended_is_said(  # noqa: PLR0917
    citizen: Citizen, pipeline: Pipeline, status: str, said: Payload, failure: dict[str, str] | None, code: str
) -> None:
    analysis_id = citizen.requested()
    pipeline.end(analysis_id, status, said, failure)
    found = state(citizen, analysis_id)
    assert found["status"] == status
    assert found["failure"] == {"code": code, "message": messages.text(f"failure.{code}", "ko")}


# --- answer ---------------------------------------------------------------------------------------------------------


def test_an_answer_settles_the_item(citizen: Citizen, pipeline: Pipeline, broker: Broker, db: Any) -> None:
    analysis_id = citizen.requested()
    early = citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": "clean"})
    assert (early.status_code, problem(early)["code"]) == (409, "not_waiting")
    pipeline.identify(analysis_id, question=VARIANTS)
    asked = state(citizen, analysis_id)
    assert asked["clarify"] == {
        "question": "기름이 묻었나요?",
        "options": [
            {"id": "clean", "label": "깨끗해요", "item_id": "item-a", "state": {"dirt": "clean"}},
            {"id": "oily", "label": "묻었어요", "item_id": "item-b", "state": {"dirt": "oily"}},
        ],
    }
    wrong = citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": "purple"})
    assert (wrong.status_code, problem(wrong)["code"]) == (422, "unknown_option")

    taken = citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": "oily"})
    assert (taken.status_code, taken.json["status"]) == (202, "identified")  # type: ignore[index]
    row = db.execute("SELECT * FROM identifications WHERE analysis_id = %s", (analysis_id,)).fetchone()
    assert (row["item_id"], row["chosen_by"], row["state"]["dirt"]) == ("item-b", "answer", "oily")
    assert row["state"]["contents"] == "empty", "what was seen still holds"
    told = events_of(db, analysis_id)[-1]
    assert (naming.stage(told["type"]), told["data"]) == ("item.clarified", {"round": 1, "item_id": "item-b"})
    assert broker.told(analysis_id)[-1] == "item.clarified"
    found = state(citizen, analysis_id)
    assert (found["clarify"], found["item"]["id"], found["item"]["confidence"]) == (None, "item-b", None)

    late = citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": "oily"})
    assert (late.status_code, problem(late)["code"]) == (409, "not_waiting")


def test_no_answer_or_correction_goes_to_the_model_once_consent_is_withdrawn(
    citizen: Citizen, pipeline: Pipeline, broker: Broker
) -> None:
    waiting, done = citizen.requested(), citizen.requested()
    pipeline.identify(waiting, question=VARIANTS)
    pipeline.identify(done)
    pipeline.guide(done)
    before = [state(citizen, one) for one in (waiting, done)], broker.told(waiting), broker.told(done)
    citizen("POST", "/api/v1/auth/consent", {"granted": False})
    refused = [
        citizen("POST", f"{ANALYSES}/{waiting}/answer", {"option": "oily"}),
        corrected(citizen, waiting, item_id="item-b"),
        corrected(citizen, done, item_id="item-b"),
        corrected(citizen, done, words="우유팩"),
    ]
    assert [(one.status_code, problem(one)["code"]) for one in refused] == [(403, "consent_required")] * 4
    assert ([state(citizen, one) for one in (waiting, done)], broker.told(waiting), broker.told(done)) == before


def test_two_answers_at_once_are_one(citizen: Citizen, pipeline: Pipeline, db: Any) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id, question=VARIANTS)

    def tap(option: str) -> int:
        return citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": option}).status_code

    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(tap, ["clean", "oily"] * 3))
    assert sorted(codes) == [202] + [409] * 5
    assert [naming.stage(e["type"]) for e in events_of(db, analysis_id)].count("item.clarified") == 1


# --- correction -----------------------------------------------------------------------------------------------------


def corrected(citizen: Citizen, analysis_id: str, **body: str) -> TestResponse:
    return citizen("POST", f"{ANALYSES}/{analysis_id}/correction", body)


def test_another_candidate_makes_a_new_guide_and_keeps_the_first(
    citizen: Citizen, pipeline: Pipeline, broker: Broker, db: Any
) -> None:
    analysis_id = citizen.requested()
    too_early = corrected(citizen, analysis_id, item_id="item-b")
    assert (too_early.status_code, problem(too_early)["code"]) == (409, "not_correctable")
    pipeline.identify(analysis_id)
    pipeline.guide(analysis_id)
    taken = corrected(citizen, analysis_id, item_id="item-b")
    assert (taken.status_code, taken.json["status"], taken.json["round"]) == (202, "identified", 2)  # type: ignore[index]
    assert broker.told(analysis_id)[-1] == "item.clarified"
    assert events_of(db, analysis_id)[-1]["data"] == {"round": 2, "item_id": "item-b"}
    said = db.execute("SELECT * FROM identifications WHERE analysis_id = %s AND round = 2", (analysis_id,)).fetchone()
    assert (said["item_id"], said["chosen_by"]) == ("item-b", "correction")
    assert said["state"].get("contents") == "empty"
    assert said["state"].get("material") is None, "the photo was misread: what it is made of is open again"
    running = state(citizen, analysis_id)
    assert (running["status"], running["outcome"], running["guide"]) == ("identified", None, None)

    pipeline.guide(analysis_id)
    found = state(citizen, analysis_id)
    assert found["guide"]["round"] == 2
    assert [g["round"] for g in found["guides"]] == [1, 2]
    first = citizen("GET", f"{ANALYSES}/{analysis_id}?round=1").json
    assert first is not None
    assert (first["guide"]["summary"], first["item"]["id"]) == ("item-a 안내", "item-a")
    assert citizen("GET", f"{ANALYSES}/{analysis_id}?round=3").status_code == 404

    back = corrected(citizen, analysis_id, item_id="item-a")
    assert (back.status_code, back.json["round"]) == (202, 3)  # type: ignore[index]


def test_what_cannot_be_a_correction(citizen: Citizen, pipeline: Pipeline) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id)
    pipeline.guide(analysis_id)
    for body, code in (
        ({}, "correction_unclear"),
        ({"item_id": "item-b", "words": "상자"}, "correction_unclear"),
        ({"item_id": "item-z"}, "unknown_candidate"),
        ({"item_id": "item-a"}, "same_item"),
        ({"words": "   "}, "correction_unclear"),
    ):
        refused = corrected(citizen, analysis_id, **body)
        assert (refused.status_code, problem(refused)["code"]) == (422, code), body
    assert state(citizen, analysis_id)["round"] == 1


def test_the_other_thing_in_the_photo_is_one_tap_away(citizen: Citizen, pipeline: Pipeline, db: Any) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id, question=THINGS)
    citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": "thing-1"})
    pipeline.guide(analysis_id)
    assert state(citizen, analysis_id)["item"]["others"] == [{"id": "item-c", "name": "병"}]
    assert corrected(citizen, analysis_id, item_id="item-c").status_code == 202
    said = db.execute("SELECT * FROM identifications WHERE analysis_id = %s AND round = 2", (analysis_id,)).fetchone()
    assert said["state"] == {"contents": "remaining"}, "its own state, not that of the first thing"


def test_a_variant_is_no_other_thing(citizen: Citizen, pipeline: Pipeline) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id, question=VARIANTS)
    citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": "clean"})
    assert state(citizen, analysis_id)["item"]["others"] == []


def test_a_question_can_be_corrected_instead_of_answered(citizen: Citizen, pipeline: Pipeline) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id, question=VARIANTS)
    assert corrected(citizen, analysis_id, item_id="item-b").status_code == 202
    assert state(citizen, analysis_id)["round"] == 2
    assert citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": "clean"}).status_code == 409


def test_two_corrections_at_once_are_one(citizen: Citizen, pipeline: Pipeline, db: Any) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id, question=VARIANTS)
    with ThreadPoolExecutor(6) as pool:
        codes = list(
            pool.map(lambda i: corrected(citizen, analysis_id, item_id=i).status_code, ["item-a", "item-b"] * 3)
        )
    assert sorted(codes) == [202] + [409] * 5
    assert state(citizen, analysis_id)["round"] == 2
    assert [naming.stage(e["type"]) for e in events_of(db, analysis_id)].count("item.clarified") == 1


def item_named(db: Any, name: str) -> str:
    return str(db.execute("SELECT item_id FROM item_names WHERE name = %s", (name,)).fetchone()["item_id"])


def test_free_words_find_the_item(citizen: Citizen, pipeline: Pipeline, db: Any) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id, found=False)
    assert state(citizen, analysis_id)["outcome"] == "not_found"
    taken = corrected(citizen, analysis_id, words="우유팩이에요")
    assert (taken.status_code, taken.json["status"]) == (202, "identified")  # type: ignore[index]
    said = db.execute("SELECT * FROM identifications WHERE analysis_id = %s AND round = 2", (analysis_id,)).fetchone()
    assert (said["item_id"], said["words"]) == (item_named(db, "우유팩"), "우유팩이에요")
    assert said["candidates"][0]["id"] == said["item_id"], "the Top-5 of the new round are those of the words"


def test_the_right_item_in_another_state_is_a_correction_too(citizen: Citizen, pipeline: Pipeline, db: Any) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id, found=False)
    assert corrected(citizen, analysis_id, words="우유팩").status_code == 202
    pipeline.guide(analysis_id)
    same = corrected(citizen, analysis_id, words="우유팩")
    assert (same.status_code, problem(same)["code"]) == (422, "same_item")
    assert corrected(citizen, analysis_id, words="안 씻은 우유팩").status_code == 202
    said = db.execute("SELECT * FROM identifications WHERE analysis_id = %s AND round = 3", (analysis_id,)).fetchone()
    assert (said["item_id"], said["state"]["dirt"]) == (item_named(db, "우유팩"), "dirty")


def test_words_that_mean_several_things_are_asked_about(
    citizen: Citizen, pipeline: Pipeline, broker: Broker, db: Any
) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id)
    pipeline.guide(analysis_id)
    taken = corrected(citizen, analysis_id, words="컵")
    assert (taken.status_code, taken.json["status"]) == (202, "needs_answer")  # type: ignore[index]
    assert broker.told(analysis_id)[-1] == "item.ambiguous"
    asked = state(citizen, analysis_id)
    assert len(asked["clarify"]["options"]) >= 2
    assert [g["round"] for g in asked["guides"]] == [1]
    option = asked["clarify"]["options"][0]
    answered = citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": option["id"]})
    assert answered.status_code == 202
    assert events_of(db, analysis_id)[-1]["data"] == {"round": 2, "item_id": option["item_id"]}


def test_another_candidate_whose_way_is_open_is_asked_about(
    citizen: Citizen, pipeline: Pipeline, broker: Broker, db: Any
) -> None:
    box = item_named(db, "피자 상자")
    candidates = [*CANDIDATES, {"id": box, "name": "피자 상자", "score": 0.5}]
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id)
    db.execute("UPDATE identifications SET candidates = %s WHERE analysis_id = %s", (Jsonb(candidates), analysis_id))
    pipeline.guide(analysis_id)
    taken = corrected(citizen, analysis_id, item_id=box)
    assert (taken.status_code, taken.json["status"], taken.json["round"]) == (202, "needs_answer", 2)  # type: ignore[index]
    assert broker.told(analysis_id)[-1] == "item.ambiguous"
    asked = state(citizen, analysis_id)
    assert {option["item_id"] for option in asked["clarify"]["options"]} == {box}
    assert (asked["item"]["chosen_by"], [g["round"] for g in asked["guides"]]) == ("correction", [1])
    option = asked["clarify"]["options"][0]
    assert citizen("POST", f"{ANALYSES}/{analysis_id}/answer", {"option": option["id"]}).status_code == 202
    said = db.execute("SELECT * FROM identifications WHERE analysis_id = %s AND round = 2", (analysis_id,)).fetchone()
    assert said["item_id"] == box
    assert option["state"].items() <= said["state"].items(), "the answer is known from now on"


def test_a_question_that_was_passed_over_is_not_asked_again(citizen: Citizen, pipeline: Pipeline, db: Any) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id)
    pipeline.guide(analysis_id)
    assert corrected(citizen, analysis_id, words="피자 상자").json["status"] == "needs_answer"  # type: ignore[index]
    again = corrected(citizen, analysis_id, item_id=item_named(db, "피자 상자"))
    assert (again.status_code, again.json["status"], again.json["round"]) == (202, "identified", 3)  # type: ignore[index]


def test_words_that_mean_nothing_change_nothing(citizen: Citizen, pipeline: Pipeline, db: Any) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id)
    pipeline.guide(analysis_id)
    before = events_of(db, analysis_id)
    refused = corrected(citizen, analysis_id, words="qqxzw vvkjh")
    document = problem(refused)
    assert (refused.status_code, document["code"]) == (422, "words_not_found")
    assert isinstance(document["nearest"], list)
    assert events_of(db, analysis_id) == before
    assert state(citizen, analysis_id)["status"] == "completed"


def test_words_that_name_several_things_are_asked_which_of_them_is_meant(citizen: Citizen, pipeline: Pipeline) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id)
    pipeline.guide(analysis_id)
    assert corrected(citizen, analysis_id, words="전축이랑 레코드판").json["status"] == "needs_answer"  # type: ignore[index]
    options = state(citizen, analysis_id)["clarify"]["options"]
    assert [option["item_id"] for option in options] == ["old-stereo", "vinyl-record"]


def test_words_that_do_not_say_what_it_is_lead_to_no_question_without_answers(
    citizen: Citizen, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis_id = citizen.requested()
    pipeline.identify(analysis_id)
    pipeline.guide(analysis_id)
    asked = Question({"ko": "무엇을 버리시나요?", "en": "What is it?"}, [])
    unsaid = Found("ambiguous", [], asked, [], State(), 0.0, unsaid=True)
    monkeypatch.setattr(Rulebook, "search", lambda *_, **__: unsaid)
    assert problem(corrected(citizen, analysis_id, words="이거"))["code"] == "words_not_found"
    assert state(citizen, analysis_id)["status"] == "completed"


# --- history --------------------------------------------------------------------------------------------------------


def test_the_history_is_newest_first_and_paged(citizen: Citizen, pipeline: Pipeline) -> None:
    made = [citizen.requested(question=f"{n}번째") for n in range(5)]
    citizen.uploaded()  # never asked for: not worth remembering
    pipeline.identify(made[-1])
    pipeline.guide(made[-1])
    seen: list[str] = []
    cursor = ""
    for size in (2, 2, 1):
        page: Any = citizen("GET", f"{ANALYSES}?limit=2{cursor}").json
        assert len(page["analyses"]) == size
        seen += [entry["id"] for entry in page["analyses"]]
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert seen == made[::-1]
    newest: Any = citizen("GET", ANALYSES).json["analyses"][0]  # type: ignore[index]
    assert (newest["item"]["id"], newest["destination"]["name"]) == ("item-a", "종이류")
    assert newest["question"] == "4번째"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=51", "invalid_request"),
        ("limit=0", "invalid_request"),
        ("limit=ten", "invalid_request"),
        ("page=2", "invalid_request"),
        ("cursor=abc", "invalid_request"),
        ("cursor=WzEsMl0=", "invalid_request"),
        ("cursor=bnVsbA==", "invalid_request"),
    ],
)
def test_what_is_no_page(citizen: Citizen, query: str, code: str) -> None:
    refused = citizen("GET", f"{ANALYSES}?{query}")
    assert (refused.status_code, problem(refused)["code"]) == (422, code)


# --- without a photo ------------------------------------------------------------------------------------------------


def test_an_item_is_found_without_a_photo_and_without_embeddings(citizen: Citizen, db: Any) -> None:
    found = citizen("GET", "/api/v1/waste/items?q=우유팩").json
    assert found is not None
    assert found["decision"] == "match"
    assert found["candidates"][0]["id"] == item_named(db, "우유팩")
    assert found["candidates"][0]["destinations"][0]["code"] == "carton"

    item = citizen("GET", f"/api/v1/waste/items/{found['candidates'][0]['id']}?housing=apartment").json
    assert item is not None
    assert [place["code"] for place in item["destinations"]] == ["carton"], (
        "its cap goes elsewhere, the carton does not"
    )
    assert 5 <= len(item["rules"]) <= 10
    cited = item["rules"][0]
    anybody = Citizen(citizen.apps)
    opened = anybody("GET", f"/api/v1/waste/rules/{cited['id']}")
    assert opened.status_code == 200
    assert opened.json == cited
    assert cited["source"]["title"]
    assert cited["basis_name"] == messages.text(f"basis.{cited['basis']}", "ko")


def test_what_would_change_the_way_of_an_item_is_told_with_it_once(citizen: Citizen, db: Any) -> None:
    twice = citizen("GET", f"/api/v1/waste/items/{item_named(db, '샴푸통')}").json
    assert twice is not None
    labels = [other["label"] for other in twice["otherwise"]]
    assert len(labels) == len(set(labels)) > 2
    path = f"/api/v1/waste/items/{item_named(db, '일회용 면도기')}"
    usual = citizen("GET", path).json
    assert usual is not None
    assert len(usual["otherwise"]) >= 2
    for other in usual["otherwise"]:
        found = citizen("GET", f"{path}?{urlencode(other['state'])}").json
        assert found is not None
        assert found["destinations"] == other["destinations"] != usual["destinations"]
        assert other["label"] not in [left["label"] for left in found["otherwise"]]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("items", 422, "invalid_request"),
        ("items?q=", 422, "invalid_request"),
        ("items?q=" + "a" * 101, 422, "invalid_request"),
        ("items?q=a%00b", 422, "invalid_request"),
        ("items/no-such-item", 404, "item_not_found"),
        ("items/a%00b", 404, "item_not_found"),
        ("rules/no.such.1", 404, "rule_not_found"),
        ("rules/a%00b", 404, "rule_not_found"),
        ("analyses/not-a-uuid", 404, "not_found"),
    ],
)
def test_what_is_not_there(citizen: Citizen, path: str, status: int, code: str) -> None:
    refused = citizen("GET", f"/api/v1/waste/{path}")
    assert (refused.status_code, problem(refused)["code"]) == (status, code)
