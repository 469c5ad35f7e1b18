"""A citizen with everything a citizen can have, written as the pipeline writes it, and what of it nobody may see."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from functions.auth.passwords import Passwords
from functions.shared import naming
from functions.shared.conditions import State
from tests.proving import GUIDE, RULES

Database = psycopg.Connection[dict[str, Any]]

ITEM = "milk-carton"
#: Words only this citizen said or was told: nobody else may read them.
PRIVATE = {
    "nickname": "비밀별명",
    "email": "a.private@example.org",
    "question": "이건 나만 아는 질문이에요",
    "further": "나만 아는 더 물어본 말",
    "reply": "나만 받은 대답이에요",
    "dispute": "나만 아는 이의 제기",
    "words": "나만 아는 정정",
}
#: What is kept and shown to nobody, not even to them.
SECRET = {
    "sha256": "5ec2e7" + "a1" * 29,
    "phash": "5ec2e7a1b2c3d4e5",
    "digest": "d16e57" + "b2" * 29,
    "idempotency_key": "secret-idempotency-key",
    "password_hash": Passwords(4).hashed("nobody knows it"),
    "raw": "raw words of the model that nobody reads",
    "why": "only an operator reads why",
}
MAKER = {"model": "small", "standin": True, "prompt_version": "v1", "repaired": False, "calls": [1]}


@dataclass(frozen=True)
class Belongings:
    """Whose they are, and the ids somebody might guess."""

    user: str
    analysis: str
    proof: str
    lesson: str
    key: str
    after_key: str


def user(db: Database, kind: str = "guest", **columns: Any) -> str:
    """Somebody who has agreed that photos go to the model provider, and has nothing."""
    id_ = str(uuid.uuid4())
    db.execute("INSERT INTO users (id, kind, consent_at) VALUES (%s, %s, now())", (id_, kind))
    for name, value in columns.items():
        db.execute(f"UPDATE users SET {name} = %s WHERE id = %s", (value, id_))  # type: ignore[call-overload, unused-ignore]
    return id_


def insert(db: Database, table: str, **values: Any) -> None:
    """One row."""
    names, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    row = {name: Jsonb(value) if isinstance(value, dict | list) else value for name, value in values.items()}
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", row)  # type: ignore[call-overload, unused-ignore]


def everything(db: Database) -> Belongings:
    """An account with an analysis, its guide, a grade, a question and its answer, a lesson, days and a report."""
    owner = user(db, "account", nickname=PRIVATE["nickname"], region="서울 마포구", housing="house")
    now, day = datetime.now(UTC), datetime.now(UTC).date()
    email, secret = PRIVATE["email"], SECRET["password_hash"]
    insert(db, "accounts", user_id=owner, email=email, password_hash=secret)
    analysis = uuid.uuid4()
    key, after_key = (naming.upload_key(analysis, "image/jpeg", attempt) for attempt in (None, 1))
    insert(
        db,
        "analyses",
        id=analysis,
        user_id=owner,
        status="completed",
        outcome="guide",
        key=key,
        content_type="image/jpeg",
        last_n=1,
        correlation_id="test",
        question=PRIVATE["question"],
        housing="house",
        idempotency_key=SECRET["idempotency_key"],
        request_digest=SECRET["digest"],
        requested_at=now,
        finished_at=now,
    )
    stage = {"round": 1, "item_id": ITEM, "confidence": 0.9}
    type_ = f"{naming.EVENT_PREFIX}.item.v1.identified"
    insert(
        db,
        "analysis_events",
        analysis_id=analysis,
        n=1,
        id=str(uuid.uuid4()),
        source=naming.source("identify"),
        type=type_,
        data=stage,
        correlation_id="test",
    )
    thing = {"name": "우유팩", "name_en": "milk carton", "material": "paper", "confidence": 0.9}
    state = {"contents": "empty", "dirt": "clean", "label": "unknown", "cap": "unknown", "damage": "intact"}
    insert(
        db,
        "identifications",
        analysis_id=analysis,
        round=1,
        seen={"objects": [{**thing, "state": state}], "text_in_photo": "", "notes": ""},
        candidates=[{"id": ITEM, "name": "우유팩", "score": 0.9}],
        decision="match",
        item_id=ITEM,
        state={name: getattr(State(), name) for name in State.__slots__},
        chosen_by="model",
        words=PRIVATE["words"],
    )
    insert(
        db,
        "retrievals",
        analysis_id=analysis,
        round=1,
        item_id=ITEM,
        passages=RULES,
        index_version="v",
        cached=False,
    )
    guide = {**MAKER, "fallback": False, "cached": False}
    insert(db, "guides", id=uuid.uuid4(), analysis_id=analysis, round=1, item_id=ITEM, content=GUIDE, made_by=guide)
    insert(
        db,
        "model_calls",
        analysis_id=analysis,
        round=1,
        purpose="see",
        model="small",
        prompt_version="v1",
        answer={"parsed": None, "raw": SECRET["raw"]},
        tokens_in=10,
        tokens_out=5,
        ms=7,
    )
    proof = uuid.uuid4()
    judged = zip(GUIDE["steps"], ("done", "not_done", "cannot_tell", "done"), strict=True)
    verdicts = [
        {"step": n, "phase": step["phase"], "text": step["text"], "verdict": verdict, "seen": "", "weight": 1}
        for n, (step, verdict) in enumerate(judged)
    ]
    insert(
        db,
        "proofs",
        id=proof,
        analysis_id=analysis,
        user_id=owner,
        attempt=1,
        status="graded",
        key=after_key,
        content_type="image/jpeg",
        round=1,
        checklist=[0],
        grade="middle",
        score=60,
        verdicts=verdicts,
        feedback={"summary": "잘했어요.", "points": [{"step": 1, "text": "헹궈 주세요."}]},
        made_by=MAKER,
        flags=[{"near": SECRET["why"], "proof_id": None, "bits": 3}],
        requested_at=now,
        finished_at=now,
    )
    insert(db, "disputes", id=uuid.uuid4(), proof_id=proof, user_id=owner, reason=PRIVATE["dispute"])
    for kind, of in (("before", None), ("after", proof)):
        insert(
            db,
            "photos",
            id=uuid.uuid4(),
            analysis_id=analysis,
            user_id=owner,
            kind=kind,
            proof_id=of,
            kept_key=naming.photo_key(analysis, "kept", 1 if of else None),
            model_key=naming.photo_key(analysis, "model", 1 if of else None),
            sha256=SECRET["sha256"],
            phash=SECRET["phash"],
            width=10,
            height=10,
            bytes=10,
        )
    insert(
        db,
        "questions",
        id=uuid.uuid4(),
        analysis_id=analysis,
        n=1,
        round=1,
        text=PRIVATE["further"],
        status="answered",
        answer={"text": PRIVATE["reply"], "rule_ids": []},
        made_by={**MAKER, "fallback": False},
        answered_at=now,
    )
    lesson = uuid.uuid4()
    insert(
        db,
        "lessons",
        id=lesson,
        user_id=owner,
        item_id=ITEM,
        proof_id=proof,
        wrong=1,
        right_since=0,
        missed={"wash": 1},
        opened_at=now,
    )
    counts = {"analyses": 1, "high": 0, "middle": 1, "low": 0}
    insert(db, "user_days", user_id=owner, day=day, score_sum=60, corrected=0, **counts)
    insert(
        db,
        "user_day_items",
        user_id=owner,
        day=day,
        item_id=ITEM,
        destination="carton",
        graded=1,
        right_ones=0,
        missed={"wash": 1},
    )
    week = {**counts, "accuracy": 0.0, "change": None, "weak_items": [{"id": ITEM, "graded": 1, "right": 0}]}
    insert(db, "weekly_reports", user_id=owner, week=day, content={**week, "sentence": "first"})
    return Belongings(owner, str(analysis), str(proof), str(lesson), key, after_key)
