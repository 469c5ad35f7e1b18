"""Citizens with a past: analyses with guides, corrections and graded proofs, written as the pipeline writes them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from functions.shared import naming
from functions.shared.events import Event, GuidanceGenerated, Payload, ProofGraded
from tests.steps import World

#: Phases of the steps in the verdicts of these tests, in the order of a guide.
STEPS = ("prepare", "wash", "separate", "dispose")


def citizen(world: World) -> str:
    user = str(uuid.uuid4())
    world.do("INSERT INTO users (id, kind, consent_at) VALUES (%s, 'guest', now())", user)
    return user


def asked(world: World, user: str, at: datetime, **columns: Any) -> str:
    """An analysis that was asked for at that time, and has no guide yet."""
    analysis = uuid.uuid4()
    values = {
        "id": analysis,
        "user_id": user,
        "status": "retrieved",
        "key": naming.upload_key(analysis, "image/jpeg"),
        "content_type": "image/jpeg",
        "correlation_id": f"test-{analysis}",
        "created_at": at,
        "requested_at": at,
        **columns,
    }
    names, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    with world.db.transaction() as tx:
        tx.execute(f"INSERT INTO analyses ({names}) VALUES ({places})", values)
    return str(analysis)


def guided(
    world: World,
    analysis: str,
    item: str,
    destination: str,
    *,
    round_: int = 1,
    state: Mapping[str, str] | None = None,
    at: datetime | None = None,
) -> Event[Payload]:
    """The analysis has its guide of that round; what generate says of it."""
    guide = str(uuid.uuid4())
    with world.db.transaction() as tx:
        tx.execute(
            """INSERT INTO identifications
                   (analysis_id, round, seen, candidates, decision, item_id, state, chosen_by)
               VALUES (%s, %s, '{}', '[]', 'match', %s, %s, 'model')""",
            (analysis, round_, item, Jsonb(dict(state or {}))),
        )
        tx.execute(
            """INSERT INTO guides (id, analysis_id, round, item_id, content, made_by, created_at)
               VALUES (%s, %s, %s, %s, %s, '{}', coalesce(%s, now()))""",
            (guide, analysis, round_, item, Jsonb({"destination": destination, "steps": []}), at),
        )
        tx.execute(
            "UPDATE analyses SET status = 'completed', outcome = 'guide', round = %s WHERE id = %s", (round_, analysis)
        )
    said = GuidanceGenerated(round=round_, guide_id=guide, item_id=item)
    return world.said(analysis, said, by="generate")


def graded(
    world: World,
    analysis: str,
    grade: str,
    at: datetime,
    *,
    score: int = 50,
    missed: Sequence[str] = (),
    round_: int = 1,
    attempt: int = 1,
) -> Event[Payload]:
    """The analysis has its grade; what grade says of it. `missed`: phases of steps that were not done."""
    proof = str(uuid.uuid4())
    verdicts = [
        {"step": n, "phase": phase, "text": phase, "verdict": verdict, "seen": "", "weight": 1}
        for n, (phase, verdict) in enumerate([*((p, "not_done") for p in missed), ("dispose", "done")])
    ]
    world.do(
        """INSERT INTO proofs (id, analysis_id, user_id, attempt, status, key, content_type, round, grade, score,
                               verdicts, requested_at, finished_at)
           SELECT %s, id, user_id, %s, 'graded', %s, 'image/jpeg', %s, %s, %s, %s, %s, %s
           FROM analyses WHERE id = %s""",
        proof,
        attempt,
        f"after/{proof}",
        round_,
        grade,
        score,
        Jsonb(verdicts),
        at,
        at,
        analysis,
    )
    return world.said(analysis, ProofGraded(proof_id=proof, grade=grade, score=score), by="grade")
