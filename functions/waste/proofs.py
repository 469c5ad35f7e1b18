"""What a citizen may do with the result: show it to be graded, and contest what became of that."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from psycopg.types.json import Jsonb

from functions.shared import naming, outbox, proofs
from functions.shared.budget import Spend
from functions.shared.events import Event, Payload, ProofRequested
from functions.shared.http import Problem, Text, Whole
from functions.shared.outward import links
from functions.shared.postgres import Database, Tx
from functions.waste.analyses import consented, deed, locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Body of POST …/verify. `key` came from /uploads; `done` are the steps of the guide the citizen ticked, from 0."""

    key: Annotated[str, Text(1, 200)]
    done: list[Annotated[int, Whole(0, 15)]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """Body of POST …/dispute: why the grade, or the refusal, is not right; `proof_id`: of which, else the newest."""

    reason: Annotated[str, Text(1, 1000)]
    proof_id: uuid.UUID | None = None


def verify(
    db: Database, user_id: uuid.UUID, analysis_id: uuid.UUID, wish: Verify, spend: Spend
) -> tuple[uuid.UUID, Event[Payload] | None]:
    """Ask for the grade of an uploaded after-photo: the proof, and the event to post (None where it was asked before).

    It is held against the guide of the present round, whatever is corrected later.
    """
    with db.transaction() as tx:
        consented(tx, user_id)
        analysis = locked(tx, user_id, analysis_id)
        proof = tx.execute(
            "SELECT * FROM proofs WHERE analysis_id = %s AND key = %s", (analysis_id, wish.key)
        ).fetchone()
        if proof is None:
            raise Problem(404, "unknown_key")
        if proof["requested_at"] is not None:
            return proof["id"], None
        if proof["status"] != "presigned":
            raise Problem(409, "upload_expired", members={"id": str(analysis_id), "links": links(analysis_id)})
        _may_verify(tx, analysis)
        done = sorted(set(wish.done or []))
        if done and done[-1] >= _steps(tx, analysis):
            raise Problem(422, "unknown_step")
        spend(tx, 1)
        proofs.advance(tx, proof["id"], frm={"presigned"}, to="requested")
        tx.execute(
            "UPDATE proofs SET round = %s, checklist = %s WHERE id = %s", (analysis["round"], Jsonb(done), proof["id"])
        )
        event = deed(analysis, f"verify:{proof['id']}", ProofRequested(proof_id=str(proof["id"]), key=wish.key))
        outbox.append(tx, event)
        return proof["id"], event


def dispute(db: Database, user_id: uuid.UUID, analysis_id: uuid.UUID, wish: Dispute) -> dict[str, Any]:
    """Keep what the citizen says against a proof that has ended, unless it is named the newest; an operator reads both,
    nothing else changes. The row of `disputes`.
    """
    with db.transaction() as tx:
        locked(tx, user_id, analysis_id)
        proof = tx.execute(
            """SELECT id FROM proofs WHERE analysis_id = %s AND status = ANY(%s) AND requested_at IS NOT NULL
                 AND (%s::uuid IS NULL OR id = %s)
               ORDER BY requested_at DESC, attempt DESC LIMIT 1""",
            (analysis_id, list(proofs.ENDED), wish.proof_id, wish.proof_id),
        ).fetchone()
        if proof is None:
            raise Problem(409, "nothing_to_dispute", members={"links": links(analysis_id)})
        kept = tx.execute(
            """INSERT INTO disputes (id, proof_id, user_id, reason) VALUES (%s, %s, %s, %s)
               ON CONFLICT (proof_id) DO NOTHING RETURNING *""",
            (naming.child_id(naming.source("waste"), str(proof["id"]), "dispute"), proof["id"], user_id, wish.reason),
        ).fetchone()
        if kept is None:
            raise Problem(409, "already_disputed", members={"links": links(analysis_id)})
        return kept


def _may_verify(tx: Tx, analysis: Mapping[str, Any]) -> None:
    members = {"id": str(analysis["id"]), "links": links(analysis["id"])}
    if (why := proofs.obstacle(tx, analysis, addressed=True)) is not None:
        raise Problem(409, why, members=members)
    if proofs.open_one(tx, analysis["id"]):
        raise Problem(409, "already_verifying", members=members)


def _steps(tx: Tx, analysis: Mapping[str, Any]) -> int:
    """How many steps the present guide has."""
    row = tx.execute(
        "SELECT jsonb_array_length(content -> 'steps') AS steps FROM guides WHERE analysis_id = %s AND round = %s",
        (analysis["id"], analysis["round"]),
    ).fetchone()
    return int(row["steps"]) if row else 0
