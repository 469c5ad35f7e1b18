"""The result, shown: what a citizen's app sends after the guide, what it gets, and what the pipeline is told.

The apps are the real ones on the real database and object store; what grade and generate do is written as they do.
"""

from __future__ import annotations

import importlib
import io
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb
from werkzeug.test import TestResponse

from functions.presign.signing import LIFETIME
from functions.shared import messages, naming, proofs
from functions.shared.config import load as load_settings
from functions.shared.events import (
    Event,
    PhotoIngested,
    ProofGraded,
    ProofIngested,
    ProofPresigned,
    ProofRequested,
    QuestionAsked,
    UploadStored,
)
from functions.shared.lifecycle import Superseded
from functions.shared.objects import Objects
from functions.shared.proofs import MOST, MOST_ADDRESSES
from functions.shared.tokens import Signer
from functions.waste.questions import MOST_NUMBERS
from tests.proving import photographed, picture
from tests.standin import Standin
from tests.steps import Ingress, World, collecting_ingress, deliver, deliver_at_once, load

ANALYSES, UPLOADS = "/api/v1/waste/analyses", "/api/v1/waste/uploads"
STEPS = [
    {"phase": "prepare", "text": "비워 주세요.", "rule_ids": ["pet.prepare.1"]},
    {"phase": "separate", "text": "라벨을 떼어 주세요.", "rule_ids": ["pet.separate.1"]},
    {"phase": "dispose", "text": "투명 페트병 수거함에 넣어 주세요.", "rule_ids": ["pet.dispose.1"]},
]


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    with collecting_ingress() as door:
        yield door


@pytest.fixture
def apps(
    pipeline_env: dict[str, str], ingress: Ingress, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Flask]:
    """The two apps, made from the environment as gunicorn makes them."""
    more = {
        "BROKER_URL": ingress.url,
        "RATE_LIMIT_PER_MINUTE": "100000",
        "S3_PUBLIC_ENDPOINT": pipeline_env["S3_ENDPOINT"],
        "JWT_PUBLIC_KEYS_DIR": str(keys / "public"),
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    }
    for name, value in more.items():
        monkeypatch.setenv(name, value)

    def made(name: str) -> Flask:
        settings = load_settings(importlib.import_module(f"functions.{name}.settings").Settings, os.environ)
        app: Flask = importlib.import_module(f"functions.{name}.routes").create(settings)
        return app

    return {name: made(name) for name in ("presign", "waste")}


@dataclass
class Citizen:
    """Somebody with an app who has asked for analyses; sends to whichever function answers for the path."""

    apps: dict[str, Flask]
    world: World
    token: str
    user_id: str

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        sent = {"Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client(path).open(path, method=method, json=body, headers=sent)

    def _client(self, path: str) -> FlaskClient:
        return self.apps["presign" if path.endswith(("/uploads", "/photos")) else "waste"].test_client()

    def analysis(self, status: str = "completed", outcome: str | None = "guide") -> str:
        """An analysis of theirs, with a guide of three steps where it is completed with one."""
        analysis = self.world.analysis(status, user_id=self.user_id, outcome=outcome, requested_at=datetime.now(UTC))
        if outcome == "guide":
            content = {"summary": "", "destination": "clear_pet", "steps": STEPS, "cautions": [], "answer": ""}
            self.world.do(
                """INSERT INTO guides (id, analysis_id, round, item_id, content, made_by)
                   VALUES (%s, %s, 1, 'pet', %s, '{"model": "m"}')""",
                uuid.uuid4(),
                analysis,
                Jsonb(content),
            )
        return analysis

    def address(self, analysis: str, content_type: str = "image/jpeg") -> dict[str, Any]:
        """A fresh address for an after-photo."""
        made = self("POST", UPLOADS, {"content_type": content_type, "after": analysis})
        assert made.status_code == 201, made.text
        return dict(made.get_json())

    def verify(self, analysis: str, key: str, **more: Any) -> TestResponse:
        return self("POST", f"{ANALYSES}/{analysis}/verify", {"key": key, **more})

    def verified(self, analysis: str) -> str:
        """Id of a proof that was asked for."""
        address = self.address(analysis)
        assert self.verify(analysis, address["key"]).status_code == 202
        return str(address["proof_id"])

    def ask(self, analysis: str, text: str) -> TestResponse:
        return self("POST", f"{ANALYSES}/{analysis}/questions", {"text": text})

    def dispute(self, analysis: str, reason: str = "라벨을 뗐어요.", **more: Any) -> TestResponse:
        return self("POST", f"{ANALYSES}/{analysis}/dispute", {"reason": reason, **more})

    def state(self, analysis: str, **headers: str) -> dict[str, Any]:
        answer = self("GET", f"{ANALYSES}/{analysis}", **headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.get_json())


@pytest.fixture
def new_citizen(apps: dict[str, Flask], world: World, keys: Path) -> Callable[[], Citizen]:
    def make() -> Citizen:
        user = str(world.row("SELECT user_id FROM analyses WHERE id = %s", world.analysis("expired"))["user_id"])
        return Citizen(apps, world, Signer(keys / "private.pem").issue(uuid.UUID(user)).token, user)

    return make


@pytest.fixture
def citizen(new_citizen: Callable[[], Citizen]) -> Citizen:
    return new_citizen()


def refusal(response: TestResponse) -> tuple[int, str]:
    """(status, code) of a problem whose texts stand in the catalogue."""
    assert response.content_type == "application/problem+json", response.text
    document = response.get_json()
    assert document["title"] == messages.text(f"problem.{document['code']}", "ko")
    assert document["detail"] == messages.text(f"problem.{document['code']}.detail", "ko")
    return response.status_code, document["code"]


def types(world: World, analysis: str) -> list[str]:
    """What the analysis said, without the addresses that were given out."""
    return [type_ for type_ in world.types(analysis) if type_ != "proof.v1.presigned"]


def told(ingress: Ingress) -> list[Event[Any]]:
    """What the broker was told since the last time, without what only wakes somebody."""
    return [event for event in ingress.take() if not isinstance(event.data, ProofPresigned)]


def corrected(world: World, analysis: str, item: str = "can") -> None:
    """A correction has made the guide of the next round."""
    world.do("UPDATE analyses SET round = round + 1 WHERE id = %s", analysis)
    world.do(
        """INSERT INTO guides (id, analysis_id, round, item_id, content, made_by)
           SELECT gen_random_uuid(), a.id, a.round, %s, g.content, g.made_by
           FROM analyses a JOIN guides g ON g.analysis_id = a.id AND g.round = 1 WHERE a.id = %s""",
        item,
        analysis,
    )


def graded(world: World, proof: str, grade: str = "middle") -> None:
    """As grade writes it."""
    verdicts = [
        {**STEPS[n], "step": n, "verdict": verdict, "seen": seen, "weight": 1}
        for n, (verdict, seen) in enumerate([("done", "비어 있음"), ("not_done", "라벨이 보임"), ("cannot_tell", "")])
    ]
    with world.db.transaction() as tx:
        proofs.grade(
            tx,
            proof,
            grade=grade,
            score=61,
            verdicts=verdicts,
            feedback={"summary": "라벨이 남았어요.", "points": [{"step": 1, "text": "절취선을 따라 떼요."}]},
            made_by={"model": "m", "standin": True},
            flags=[],
        )


def provable(citizen: Citizen, world: World, objects: Objects) -> str:
    """An analysis of theirs with its photo and the rules its guide rests on: `grade` has all it looks at."""
    analysis = citizen.analysis()
    passages = [
        {"id": rule, "phase": step["phase"], "text": step["text"]} for step in STEPS for rule in step["rule_ids"]
    ]
    world.do(
        """INSERT INTO retrievals (analysis_id, round, item_id, passages, index_version, cached)
           VALUES (%s, 1, 'pet', %s, 'v1', false)""",
        analysis,
        Jsonb(passages),
    )
    photographed(world, objects, analysis, picture(f"before {analysis}"))
    return analysis


def refused(world: World, proof: str, reason: str = "unclear", detail: str = "") -> None:
    with world.db.transaction() as tx:
        assert proofs.refuse(tx, proof, reason, detail)


def jpeg(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480), colour).save(buffer, "JPEG")
    return buffer.getvalue()


# --- from the address to the ingested proof ------------------------------------------------------------------------


def test_the_whole_way_of_an_after_photo(citizen: Citizen, world: World, ingress: Ingress, objects: Objects) -> None:
    analysis = citizen.analysis()
    assert citizen.state(analysis)["verifiable"] is True
    address = citizen.address(analysis)
    posted = requests.post(
        address["upload"]["url"],
        data=address["upload"]["fields"],
        files={"file": ("photo", jpeg("green"), "image/jpeg")},
        timeout=20,
    )
    assert posted.status_code == 204
    (woken,) = ingress.take()
    assert woken.data == ProofPresigned(key=address["key"]), "whoever grades is ready when the photo is there"

    answer = citizen.verify(analysis, address["key"], done=[2, 0, 2])
    assert (answer.status_code, answer.headers["Location"]) == (202, f"{ANALYSES}/{analysis}")
    accepted = answer.get_json()
    assert accepted["id"] == analysis
    assert accepted["links"]["verify"] == f"{ANALYSES}/{analysis}/verify"
    shown = accepted["proof"]
    assert (shown["id"], shown["attempt"], shown["status"]) == (address["proof_id"], 1, "requested")
    assert shown["checklist"] == [0, 2]
    (event,) = told(ingress)
    assert (event.subject, event.source) == (analysis, "/functions/waste")
    assert event.data == ProofRequested(proof_id=address["proof_id"], key=address["key"])
    assert types(world, analysis) == ["proof.v1.requested"]

    reply = deliver(load("ingest"), event)

    assert (reply.status, reply.event and reply.event.type) == (200, ProofIngested.TYPE)
    assert types(world, analysis) == ["proof.v1.requested", "proof.v1.ingested"]
    running = citizen("GET", f"{ANALYSES}/{analysis}")
    assert running.headers["Retry-After"] == "1"
    assert running.json["proofs"][0]["status"] == "ingested"  # type: ignore[index]
    assert (running.json["status"], running.json["verifiable"]) == ("completed", False)  # type: ignore[index]
    assert objects.head(address["key"]) is None
    urls = citizen("GET", f"{ANALYSES}/{analysis}/photos").get_json()["after"]
    assert Image.open(io.BytesIO(requests.get(urls[address["proof_id"]], timeout=20).content)).size == (640, 480)

    graded(world, address["proof_id"])
    ended = citizen("GET", f"{ANALYSES}/{analysis}")
    assert "Retry-After" not in ended.headers
    assert ended.json["proofs"][0]["grade"] == {"code": "middle", "name": "중"}  # type: ignore[index]


# --- addresses -----------------------------------------------------------------------------------------------------


def test_an_address_for_an_after_photo(citizen: Citizen, world: World, ingress: Ingress) -> None:
    analysis = citizen.analysis()
    first, second = citizen.address(analysis, "image/heic"), citizen.address(analysis)
    assert (first["id"], first["attempt"], second["attempt"]) == (analysis, 1, 2)
    assert first["key"] == first["upload"]["fields"]["key"] == f"uploads/{analysis}/after-1.heic"
    assert second["key"] == f"uploads/{analysis}/after-2.jpg"
    assert first["proof_id"] == naming.child_id("/functions/presign", analysis, "proof:1")
    assert (naming.attempt_of_key(first["key"]), str(naming.analysis_of_key(first["key"]))) == (1, analysis)
    row = world.proof_state(first["proof_id"])
    assert (row["status"], row["content_type"], str(row["user_id"])) == ("presigned", "image/heic", citizen.user_id)
    events = ingress.take()
    assert [(event.subject, event.data.key) for event in events] == [(analysis, a["key"]) for a in (first, second)]
    assert [event.correlation_id for event in events] == [f"test-{analysis}"] * 2
    assert [event.id for event in events] == [
        row["id"] for row in world.rows("SELECT id FROM analysis_events ORDER BY n")
    ]
    assert world.types(analysis) == ["proof.v1.presigned"] * 2
    assert world.rows("SELECT id FROM analyses WHERE user_id = %s AND status = 'presigned'", citizen.user_id) == []
    assert citizen.state(analysis)["proofs"] == [], "nothing has been asked for yet"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("requested", None), ("needs_answer", None), ("expired", None), ("completed", "not_found"), ("identified", None)],
)
def test_without_a_guide_there_is_nothing_to_verify(citizen: Citizen, status: str, outcome: str | None) -> None:
    analysis = citizen.analysis(status, outcome)
    assert citizen.state(analysis)["verifiable"] is False
    answer = citizen("POST", UPLOADS, {"content_type": "image/png", "after": analysis})
    assert refusal(answer) == (409, "not_verifiable")
    assert refusal(citizen.ask(analysis, "뚜껑은요?")) == (409, "no_guide")


def test_after_a_grade_there_are_no_addresses(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    left_over = citizen.address(analysis)
    proof = citizen.verified(analysis)
    world.do("UPDATE proofs SET status = 'ingested' WHERE id = %s", proof)
    graded(world, proof)
    assert refusal(citizen("POST", UPLOADS, {"content_type": "image/png", "after": analysis})) == (
        409,
        "already_graded",
    )
    assert refusal(citizen.verify(analysis, left_over["key"])) == (409, "already_graded")
    assert citizen.state(analysis)["verifiable"] is False


def test_ten_attempts_and_addresses_that_were_not_used_do_not_count(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    spare = [citizen.address(analysis)["key"] for _ in range(3)]
    for _ in range(MOST):
        refused(world, citizen.verified(analysis))
    for answer in (
        citizen("POST", UPLOADS, {"content_type": "image/png", "after": analysis}),
        citizen.verify(analysis, spare[0]),
    ):
        assert refusal(answer) == (409, "too_many_proofs")
    assert citizen.state(analysis)["verifiable"] is False
    assert len(citizen.state(analysis)["proofs"]) == MOST


def test_addresses_end_where_their_names_do(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    last = world.proof(analysis, "presigned", MOST_ADDRESSES)
    assert refusal(citizen("POST", UPLOADS, {"content_type": "image/png", "after": analysis})) == (
        409,
        "too_many_addresses",
    )
    assert citizen.state(analysis)["verifiable"] is False
    assert citizen.verify(analysis, world.proof_state(last)["key"]).status_code == 202, "it has its address"


@pytest.mark.parametrize(
    ("after", "status", "code"),
    [
        ("x", 422, "invalid_request"),
        ("x" * 36, 422, "invalid_request"),
        (7, 422, "invalid_request"),
        (str(uuid.UUID(int=7)), 404, "analysis_not_found"),
    ],
)
def test_what_is_no_analysis(citizen: Citizen, after: Any, status: int, code: str) -> None:
    answer = citizen("POST", UPLOADS, {"content_type": "image/png", "after": after})
    assert refusal(answer) == (status, code)


def test_addresses_asked_for_at_once_are_numbered_one_by_one(citizen: Citizen) -> None:
    analysis = citizen.analysis()
    with ThreadPoolExecutor(8) as pool:
        attempts = list(pool.map(lambda _: citizen.address(analysis)["attempt"], range(8)))
    assert sorted(attempts) == list(range(1, 9))


def test_what_is_somebody_elses_does_not_exist(new_citizen: Callable[[], Citizen], world: World) -> None:
    owner, stranger = new_citizen(), new_citizen()
    analysis = owner.analysis()
    key = owner.address(analysis)["key"]
    for answer in (
        stranger("POST", UPLOADS, {"content_type": "image/png", "after": analysis}),
        stranger.verify(analysis, key),
        stranger.dispute(analysis),
        stranger.ask(analysis, "뚜껑은요?"),
        stranger("GET", f"{ANALYSES}/{analysis}/photos"),
        stranger("GET", f"{ANALYSES}/{uuid.uuid4()}/photos"),
    ):
        assert refusal(answer) == (404, "analysis_not_found")
    assert refusal(stranger.verify(stranger.analysis(), key)) == (404, "unknown_key")
    assert types(world, analysis) == []


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "verify"), ("POST", "dispute"), ("POST", "questions"), ("GET", "photos")]
)
def test_nothing_without_a_good_token(apps: dict[str, Flask], world: World, method: str, path: str) -> None:
    nobody = Citizen(apps, world, "a.b.c", "")
    assert refusal(nobody(method, f"{ANALYSES}/{uuid.uuid4()}/{path}", {})) == (401, "bad_token")


# --- verify --------------------------------------------------------------------------------------------------------


def test_the_same_key_again_is_the_same_proof(citizen: Citizen, world: World, ingress: Ingress) -> None:
    analysis = citizen.analysis()
    key = citizen.address(analysis)["key"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: citizen.verify(analysis, key, done=[1]), range(8)))
    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.json["proof"]["id"] for answer in answers}) == 1  # type: ignore[index]
    assert types(world, analysis) == ["proof.v1.requested"]
    assert len(told(ingress)) == 1
    world.do("UPDATE proofs SET status = 'ingested'")
    graded(world, answers[0].get_json()["proof"]["id"])
    late = citizen.verify(analysis, key, done=[2])
    assert (late.status_code, late.get_json()["proof"]["grade"]["code"]) == (202, "middle")
    assert late.get_json()["proof"]["checklist"] == [1], "what was said first stays"
    assert types(world, analysis) == ["proof.v1.requested"]


def test_of_several_verified_at_once_one_is_open(citizen: Citizen, world: World, ingress: Ingress) -> None:
    analysis = citizen.analysis()
    keys = [citizen.address(analysis)["key"] for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda key: citizen.verify(analysis, key), keys))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 5
    for answer in answers:
        if answer.status_code == 409:
            assert refusal(answer) == (409, "already_verifying")
            assert answer.get_json()["id"] == analysis
            assert answer.get_json()["links"]["self"] == f"{ANALYSES}/{analysis}"
    assert len(world.rows("SELECT 1 FROM proofs WHERE status = 'requested'")) == 1
    assert types(world, analysis) == ["proof.v1.requested"]
    assert len(told(ingress)) == 1
    assert citizen.state(analysis)["verifiable"] is False


def test_after_a_refusal_another_attempt_may_follow(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    refused(world, citizen.verified(analysis), "screen")
    assert citizen.state(analysis)["verifiable"] is True
    citizen.verified(analysis)
    assert [(p["attempt"], p["status"]) for p in citizen.state(analysis)["proofs"]] == [
        (1, "refused"),
        (2, "requested"),
    ]
    assert types(world, analysis) == ["proof.v1.requested"] * 2


def test_a_deaf_broker_delays_nothing_and_loses_nothing(citizen: Citizen, world: World, ingress: Ingress) -> None:
    ingress.open = False
    analysis = citizen.analysis()
    citizen.verified(analysis)
    assert citizen.ask(analysis, "뚜껑은요?").status_code == 202
    assert types(world, analysis) == ["proof.v1.requested", "question.v1.asked"]


def test_what_cannot_be_verified(citizen: Citizen, world: World) -> None:
    analysis, other = citizen.analysis(), citizen.analysis()
    key = citizen.address(analysis)["key"]
    for unknown in (world.key(analysis), citizen.address(other)["key"], "../../etc/passwd"):
        assert refusal(citizen.verify(analysis, unknown)) == (404, "unknown_key")
    assert refusal(citizen.verify(analysis, key, done=[3])) == (422, "unknown_step")
    for done in ([16], [-1], [True], ["0"], [[0]], 0, "0"):
        assert refusal(citizen.verify(analysis, key, done=done)) == (422, "invalid_request"), done
    world.do("UPDATE analyses SET status = 'identified', outcome = NULL, round = 2 WHERE id = %s", analysis)
    assert refusal(citizen.verify(analysis, key)) == (409, "not_verifiable")
    world.do("UPDATE analyses SET status = 'completed', outcome = 'guide', round = 1 WHERE id = %s", analysis)
    world.do("UPDATE proofs SET status = 'refused', reason = 'no_photo' WHERE key = %s", key)
    assert refusal(citizen.verify(analysis, key)) == (409, "upload_expired")
    assert types(world, analysis) == []


def test_nothing_goes_to_the_model_without_consent(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    key = citizen.address(analysis)["key"]
    world.do("UPDATE users SET consent_at = NULL WHERE id = %s", citizen.user_id)
    assert refusal(citizen.verify(analysis, key)) == (403, "consent_required")
    assert refusal(citizen.ask(analysis, "뚜껑은요?")) == (403, "consent_required")
    assert types(world, analysis) == []


def test_a_proof_is_held_against_the_guide_it_was_asked_for(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    proof = citizen.verified(analysis)
    world.do("UPDATE analyses SET status = 'identified', outcome = NULL, round = 2 WHERE id = %s", analysis)
    assert world.proof_state(proof)["round"] == 1
    assert citizen.state(analysis)["proofs"][0]["round"] == 1


def test_after_a_correction_the_new_guide_can_be_proven(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    first = citizen.verified(analysis)
    world.do("UPDATE proofs SET status = 'ingested' WHERE id = %s", first)
    graded(world, first, "low")
    corrected(world, analysis)
    (entry,) = citizen("GET", ANALYSES).get_json()["analyses"]
    assert (entry["round"], entry["grade"]) == (2, None), "that was the grade of another guide"
    assert citizen.state(analysis)["verifiable"] is True
    second = citizen.verified(analysis)
    world.do("UPDATE proofs SET status = 'ingested' WHERE id = %s", second)
    graded(world, second, "high")
    shown = citizen.state(analysis)
    assert [(p["round"], p["item"]["id"], p["grade"]["code"]) for p in shown["proofs"]] == [
        (1, "pet", "low"),
        (2, "can", "high"),
    ]
    assert shown["verifiable"] is False
    (entry,) = citizen("GET", ANALYSES).get_json()["analyses"]
    assert entry["grade"]["code"] == "high"
    assert refusal(citizen("POST", UPLOADS, {"content_type": "image/png", "after": analysis})) == (
        409,
        "already_graded",
    )


# --- how it looks --------------------------------------------------------------------------------------------------


def test_a_grade_says_everything(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    proof = citizen.verified(analysis)
    world.do("UPDATE proofs SET status = 'ingested'")
    graded(world, proof)
    (shown,) = citizen.state(analysis)["proofs"]
    assert (shown["grade"], shown["score"], shown["status"]) == ({"code": "middle", "name": "중"}, 61, "graded")
    assert [(s["step"], s["verdict"], s["verdict_name"], s["phase_name"]) for s in shown["steps"]] == [
        (0, "done", messages.text("verdict.done"), "준비"),
        (1, "not_done", messages.text("verdict.not_done"), "분리"),
        (2, "cannot_tell", messages.text("verdict.cannot_tell"), "배출"),
    ]
    assert shown["steps"][1]["text"] == STEPS[1]["text"]
    assert shown["steps"][1]["seen"] == "라벨이 보임"
    assert "weight" not in shown["steps"][0]
    assert shown["feedback"]["points"] == [{"step": 1, "text": "절취선을 따라 떼요."}]
    assert shown["made_by"]["standin"] is True
    assert (shown["reason"], shown["dispute"]) == (None, None)
    assert shown["finished_at"] > shown["created_at"]
    english = citizen.state(analysis, Accept_Language="en")["proofs"][0]
    assert english["grade"]["name"] == messages.text("grade.middle", "en") != "중"


@pytest.mark.parametrize(
    "reason",
    ["same_photo", "reused_photo", "near_copy", "different_object", "screen", "unclear", "nothing_to_show",
     "bad_photo", "no_photo", "internal", "model_unavailable"],
)  # fmt: skip
def test_a_refusal_says_why_and_what_to_do(citizen: Citizen, world: World, reason: str) -> None:
    analysis = citizen.analysis()
    refused(world, citizen.verified(analysis), reason)
    for locale in messages.LOCALES:
        (shown,) = citizen.state(analysis, Accept_Language=locale)["proofs"]
        assert shown["reason"] == {"code": reason, "message": messages.text(f"proof.{reason}", locale)}
    assert (shown["status"], shown["grade"], shown["steps"], shown["feedback"]) == ("refused", None, [], None)


def test_of_a_photo_that_is_none_it_is_said_what_is_wrong(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    refused(world, citizen.verified(analysis), "bad_photo", "too_large")
    (shown,) = citizen.state(analysis)["proofs"]
    assert shown["reason"]["message"] == messages.text("failure.bad_photo.too_large")


def test_the_history_shows_the_grade(citizen: Citizen, world: World) -> None:
    plain, proven = citizen.analysis(), citizen.analysis()
    refused(world, citizen.verified(proven))
    proof = citizen.verified(proven)
    world.do("UPDATE proofs SET status = 'ingested' WHERE id = %s", proof)
    graded(world, proof, "high")
    entries = citizen("GET", ANALYSES).get_json()["analyses"]
    assert {entry["id"]: entry["grade"] for entry in entries} == {plain: None, proven: {"code": "high", "name": "상"}}


def test_what_grades_and_answers_cost_is_not_the_guides(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    for purpose in (
        "see",
        "see_repair",
        "guide",
        "guide_repair",
        "grade1",
        "grade1_repair",
        "grade12",
        "ask1",
        "ask10",
    ):
        world.do(
            """INSERT INTO model_calls (analysis_id, round, purpose, model, prompt_version, answer, tokens_in,
                                        tokens_out, cost_usd, ms)
               VALUES (%s, 1, %s, 'm', 'v', '{}', 100, 10, 0.01, 50)""",
            analysis,
            purpose,
        )
    made_by = citizen.state(analysis)["guide"]["made_by"]
    assert (made_by["tokens_in"], made_by["tokens_out"], made_by["ms"]) == (400, 40, 200)
    assert made_by["cost_usd"] == pytest.approx(0.04)


# --- dispute -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["graded", "refused"])
def test_what_a_citizen_says_against_a_result_is_kept_and_changes_nothing(
    citizen: Citizen, world: World, ingress: Ingress, end: str
) -> None:
    analysis = citizen.analysis()
    assert refusal(citizen.dispute(analysis)) == (409, "nothing_to_dispute")
    proof = citizen.verified(analysis)
    assert refusal(citizen.dispute(analysis)) == (409, "nothing_to_dispute")
    world.do("UPDATE proofs SET status = 'ingested'")
    graded(world, proof) if end == "graded" else refused(world, proof)
    before = world.proof_state(proof)
    ingress.take()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: citizen.dispute(analysis, "  라벨을 뗐어요. "), range(4)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    (kept,) = (answer.get_json() for answer in answers if answer.status_code == 201)
    assert (kept["proof_id"], kept["reason"]) == (proof, "라벨을 뗐어요.")
    assert {refusal(answer) for answer in answers if answer.status_code == 409} == {(409, "already_disputed")}
    assert world.proof_state(proof) == before
    assert citizen.state(analysis)["proofs"][0]["dispute"] == {
        "reason": "라벨을 뗐어요.",
        "created_at": kept["created_at"],
    }
    assert ingress.events == []
    assert types(world, analysis) == ["proof.v1.requested"]


def test_a_dispute_may_name_its_attempt(new_citizen: Callable[[], Citizen], world: World) -> None:
    citizen, stranger = new_citizen(), new_citizen()
    analysis = citizen.analysis()
    first = citizen.verified(analysis)
    refused(world, first)
    unused, second = citizen.address(analysis)["proof_id"], citizen.verified(analysis)
    for none in (unused, second, str(uuid.uuid4())):
        assert refusal(citizen.dispute(analysis, proof_id=none)) == (409, "nothing_to_dispute"), none
    refused(world, second)
    assert refusal(stranger.dispute(stranger.analysis(), proof_id=first)) == (409, "nothing_to_dispute")
    assert citizen.dispute(analysis, proof_id=first).get_json()["proof_id"] == first
    assert refusal(citizen.dispute(analysis, proof_id=first)) == (409, "already_disputed")
    assert citizen.dispute(analysis).get_json()["proof_id"] == second
    for wrong in (7, "x" * 36):
        assert refusal(citizen.dispute(analysis, proof_id=wrong)) == (422, "invalid_request")


def test_the_newest_attempt_is_the_one_asked_for_last(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    early, late = citizen.address(analysis), citizen.address(analysis)
    for address in (late, early):
        assert citizen.verify(analysis, address["key"]).status_code == 202
        refused(world, address["proof_id"])
    assert [proof["attempt"] for proof in citizen.state(analysis)["proofs"]] == [2, 1]
    assert citizen.dispute(analysis).get_json()["proof_id"] == early["proof_id"]


def test_a_dispute_is_about_the_newest_result(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    proofs_ = []
    for _ in range(2):
        proofs_.append(citizen.verified(analysis))
        refused(world, proofs_[-1])
        assert citizen.dispute(analysis).get_json()["proof_id"] == proofs_[-1]
    world.do(
        "UPDATE proofs SET status = 'refused', reason = 'no_photo' WHERE id = %s", citizen.address(analysis)["proof_id"]
    )
    assert refusal(citizen.dispute(analysis)) == (409, "already_disputed"), "an unused address is no result"


@pytest.mark.parametrize("reason", ["", " ", "가" * 1001, None])
def test_what_is_no_reason(citizen: Citizen, reason: Any) -> None:
    assert refusal(citizen.dispute(citizen.analysis(), reason)) == (422, "invalid_request")


# --- further questions ---------------------------------------------------------------------------------------------


def test_a_question_stands_in_the_thread(citizen: Citizen, world: World, ingress: Ingress) -> None:
    analysis = citizen.analysis()
    answer = citizen.ask(analysis, "  뚜껑은 어떻게 해요? ")
    assert answer.status_code == 202
    asked = answer.get_json()["question"]
    assert (asked["n"], asked["text"], asked["status"]) == (1, "뚜껑은 어떻게 해요?", "asked")
    assert (asked["answer"], asked["answered_at"]) == (None, None)
    assert answer.get_json()["links"]["questions"] == f"{ANALYSES}/{analysis}/questions"
    (event,) = told(ingress)
    assert (event.subject, event.data) == (analysis, QuestionAsked(question_id=asked["id"]))
    assert citizen("GET", f"{ANALYSES}/{analysis}").headers["Retry-After"] == "1"
    world.do(
        """UPDATE questions SET status = 'answered', answered_at = now(), made_by = '{"standin": true}',
                  answer = '{"text": "닫아서 내요.", "rule_ids": ["pet.separate.1"]}'"""
    )
    state = citizen.state(analysis)
    (shown,) = state["questions"]
    assert shown["answer"] == {"text": "닫아서 내요.", "rule_ids": ["pet.separate.1"]}
    assert shown["made_by"] == {"standin": True}
    assert shown["answered_at"] > shown["created_at"]
    assert state["status"] == "completed"


def test_a_second_tap_is_the_same_question(citizen: Citizen, world: World, ingress: Ingress) -> None:
    analysis = citizen.analysis()
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: citizen.ask(analysis, "뚜껑은요?"), range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.get_json()["question"]["id"] for answer in answers}) == 1
    assert len(told(ingress)) == 1
    world.do("UPDATE questions SET status = 'declined'")
    assert citizen.ask(analysis, "뚜껑은요?").get_json()["question"]["n"] == 2, "that one was answered: it is a new one"


def test_questions_asked_at_once_are_numbered_and_ten_are_enough(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    world.question(analysis, 1, "failed")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: citizen.ask(analysis, f"{n}번째 질문"), range(12)))
    assert sorted(answer.status_code for answer in answers) == [202] * 10 + [409] * 2
    assert {refusal(a) for a in answers if a.status_code == 409} == {(409, "too_many_questions")}
    assert [question["n"] for question in citizen.state(analysis)["questions"]] == list(range(1, 12))
    assert types(world, analysis) == ["question.v1.asked"] * 10


def test_a_thread_ends_where_its_numbers_do(citizen: Citizen, world: World) -> None:
    analysis = citizen.analysis()
    for n in range(1, MOST_NUMBERS):
        world.question(analysis, n, "failed")
    assert citizen.ask(analysis, "뚜껑은요?").get_json()["question"]["n"] == MOST_NUMBERS
    world.do("UPDATE questions SET status = 'failed'")
    assert refusal(citizen.ask(analysis, "라벨은요?")) == (409, "too_many_questions")


@pytest.mark.parametrize("text", ["", "  ", "가" * 501, 7, None])
def test_what_is_no_question(citizen: Citizen, text: Any) -> None:
    assert refusal(citizen.ask(citizen.analysis(), text)) == (422, "invalid_request")


# --- the photos themselves -----------------------------------------------------------------------------------------


def ingested(world: World, analysis: str) -> None:
    """The analysis asks for its photo and ingest takes it."""
    world.do("UPDATE analyses SET status = 'requested' WHERE id = %s", analysis)
    stored: Event[Any] = world.said(analysis, UploadStored(key=world.key(analysis), size=1, etag=""), by="s3")
    reply = deliver(load("ingest"), stored)
    assert reply.event
    assert reply.event.type == PhotoIngested.TYPE
    world.do("UPDATE analyses SET status = 'completed', outcome = 'guide' WHERE id = %s", analysis)


def test_a_citizen_sees_their_photos_for_five_minutes(citizen: Citizen, world: World, objects: Objects) -> None:
    analysis = citizen.analysis()
    photos = f"{ANALYSES}/{analysis}/photos"
    none = citizen("GET", photos).get_json()
    assert (none["before"], none["after"]) == (None, {})
    objects.put(world.key(analysis), jpeg("red"), "image/jpeg")
    ingested(world, analysis)
    proof = citizen.verified(analysis)
    key = world.proof_state(proof)["key"]
    objects.put(key, jpeg("blue"), "image/jpeg")
    stored: Event[Any] = world.said(analysis, UploadStored(key=key, size=1, etag=""), by="s3")
    assert deliver(load("ingest"), stored).status == 200

    found = citizen("GET", photos).get_json()

    left = datetime.fromisoformat(found["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= LIFETIME
    assert found["after"].keys() == {proof}
    colours = {}
    for name, url in (("before", found["before"]), ("after", found["after"][proof])):
        seen = requests.get(url, timeout=20)
        assert (seen.status_code, seen.headers["Content-Type"]) == (200, "image/jpeg")
        colours[name] = Image.open(io.BytesIO(seen.content)).getpixel((100, 100))
        other = requests.get(url.replace("-kept.", "-model."), timeout=20)
        assert other.status_code == 403, "the address opens that picture alone"
        assert requests.get(url.partition("?")[0], timeout=20).status_code == 403
    red, blue = colours["before"], colours["after"]
    assert isinstance(red, tuple)
    assert isinstance(blue, tuple)
    assert red[0] > 200 > red[2]
    assert blue[2] > 200 > blue[0]

    world.do("UPDATE photos SET deleted_at = now() WHERE kind = 'after'")
    assert citizen("GET", photos).get_json()["after"] == {}
    world.do("UPDATE photos SET deleted_at = now()")
    assert citizen("GET", photos).get_json()["before"] is None


# --- the states of a proof -----------------------------------------------------------------------------------------


def test_a_proof_moves_one_way_only(world: World) -> None:
    proof = world.proof(world.analysis("completed", outcome="guide"), "presigned")
    for frm, to in (({"presigned"}, "requested"), ({"requested"}, "ingested")):
        with world.db.transaction() as tx:
            assert proofs.advance(tx, proof, frm=frm, to=to)["status"] == to
        with pytest.raises(Superseded), world.db.transaction() as tx:
            proofs.advance(tx, proof, frm=frm, to=to)
    assert world.proof_state(proof)["requested_at"] is not None
    graded(world, proof)
    for _ in range(2):
        with pytest.raises(Superseded):
            graded(world, proof, "high")
        with world.db.transaction() as tx:
            assert not proofs.refuse(tx, proof, "internal", "grade")
            assert not proofs.revive(tx, proof, "grade")
    row = world.proof_state(proof)
    assert (row["status"], row["grade"], row["score"], row["reason"]) == ("graded", "middle", 61, None)


@pytest.mark.parametrize("status", ["requested", "ingested"])
def test_what_broke_on_our_side_goes_on_where_it_stood(world: World, status: str) -> None:
    proof = world.proof(world.analysis("completed", outcome="guide"), status)
    refused(world, proof, "internal", "grade")
    with world.db.transaction() as tx:
        assert not proofs.revive(tx, proof, "ingest"), "that was not what broke"
        assert proofs.revive(tx, proof, "grade")
        assert not proofs.revive(tx, proof, "grade")
    row = world.proof_state(proof)
    assert (row["status"], row["reason"], row["detail"], row["finished_at"]) == (status, None, None, None)


@pytest.mark.parametrize(("reason", "detail"), [("unclear", "grade"), ("model_unavailable", "grade")])
def test_what_did_not_break_is_not_revived(world: World, reason: str, detail: str) -> None:
    proof = world.proof(world.analysis("completed", outcome="guide"), "ingested")
    refused(world, proof, reason, detail)
    with world.db.transaction() as tx:
        assert not proofs.revive(tx, proof, detail)


def test_the_grade_of_another_guide_keeps_nothing_from_being_revived(world: World) -> None:
    analysis = world.analysis("completed", outcome="guide")
    graded(world, world.proof(analysis, "ingested"))
    second = world.proof(analysis, "ingested", 2, round=2)
    refused(world, second, "internal", "grade")
    with world.db.transaction() as tx:
        assert proofs.revive(tx, second, "grade")
    assert world.proof_state(second)["status"] == "ingested"


@pytest.mark.parametrize("other", ["requested", "graded"])
def test_what_another_attempt_has_overtaken_stays_refused(world: World, other: str) -> None:
    analysis = world.analysis("completed", outcome="guide")
    first = world.proof(analysis, "ingested")
    refused(world, first, "internal", "grade")
    second = world.proof(analysis, "ingested" if other == "graded" else other, 2)
    if other == "graded":
        graded(world, second)
    with world.db.transaction() as tx:
        assert not proofs.revive(tx, first, "grade")
    assert world.proof_state(first)["status"] == "refused"
    with pytest.raises(UniqueViolation):  # nor could anybody else make two of one kind
        world.do("UPDATE proofs SET status = %s, reason = NULL, grade = %s WHERE id = %s", *like(world, second), first)


def like(world: World, proof: str) -> tuple[str, str | None]:
    row = world.proof_state(proof)
    return row["status"], row["grade"]


def test_grading_and_verifying_at_once_never_wait_in_a_circle(citizen: Citizen, world: World) -> None:
    for _ in range(5):
        analysis = citizen.analysis()
        proof = citizen.verified(analysis)
        world.do("UPDATE proofs SET status = 'ingested' WHERE id = %s", proof)
        key = citizen.address(analysis)["key"]
        with ThreadPoolExecutor(4) as pool:
            grading = pool.submit(graded, world, proof)
            others = [pool.submit(citizen.verify, analysis, key) for _ in range(3)]
            grading.result()
            codes = {refusal(other.result()) for other in others}
        assert codes <= {(409, "already_verifying"), (409, "already_graded")}
        assert world.proof_state(proof)["status"] == "graded"


def test_two_photos_verified_at_once_end_with_one_grade(
    citizen: Citizen,
    world: World,
    ingress: Ingress,
    *,
    objects: Objects,
    model: Standin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through the real ingest and the real grade, every message twice and at once, as a broker may deliver it."""
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    analysis = provable(citizen, world, objects)
    addresses = [citizen.address(analysis) for _ in range(2)]
    for n, address in enumerate(addresses):
        objects.put(address["key"], picture(f"after {n} {analysis}"), "image/jpeg")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: citizen.verify(analysis, one["key"], done=[0, 1, 2]), addresses))
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    lost = addresses[[answer.status_code for answer in answers].index(409)]

    (requested,) = told(ingress)
    stored = [world.said(analysis, UploadStored(key=address["key"], size=1, etag=""), by="s3") for address in addresses]
    ingested_ = [
        reply.event
        for event in (requested, *stored, requested)
        for reply in [deliver(load("ingest"), event)]
        if reply.event
    ]
    assert {type(event.data) for event in ingested_} == {ProofIngested}
    assert len({event.id for event in ingested_}) == 1
    again = citizen.verify(analysis, lost["key"])
    assert refusal(again) == (409, "already_verifying")
    replies = deliver_at_once(load("grade"), ingested_[0], ingested_[0])
    assert {type(reply.event.data) for reply in replies if reply.event} == {ProofGraded}

    assert refusal(citizen.verify(analysis, lost["key"])) == (409, "already_graded")
    assert [row["status"] for row in world.rows("SELECT status FROM proofs ORDER BY status")] == ["graded", "presigned"]
    assert [type_ for type_ in types(world, analysis) if type_.startswith("proof.")] == [
        "proof.v1.requested",
        "proof.v1.ingested",
        "proof.v1.graded",
    ]
