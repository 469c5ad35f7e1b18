"""How proofs and further questions look from outside (JSON). Read only; texts in the reader's language."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from functions.shared import messages
from functions.shared.outward import grade
from functions.shared.postgres import Tx
from functions.waste import answers as a


def proofs(tx: Tx, analysis_id: uuid.UUID, locale: str) -> list[a.Proof]:
    """Every proof that was asked for, oldest first, with its grade or the reason why there is none."""
    rows = tx.execute(
        """SELECT p.*, g.item_id, i.name_ko, i.name_en, d.reason AS disputed, d.created_at AS disputed_at
           FROM proofs p
           LEFT JOIN guides g ON g.analysis_id = p.analysis_id AND g.round = p.round
           LEFT JOIN items i ON i.id = g.item_id
           LEFT JOIN disputes d ON d.proof_id = p.id
           WHERE p.analysis_id = %s AND p.requested_at IS NOT NULL ORDER BY p.requested_at, p.attempt""",
        (analysis_id,),
    ).fetchall()
    return [_proof(row, locale) for row in rows]


def questions(tx: Tx, analysis_id: uuid.UUID) -> list[a.FurtherQuestion]:
    """The thread of further questions, oldest first."""
    rows = tx.execute("SELECT * FROM questions WHERE analysis_id = %s ORDER BY n", (analysis_id,)).fetchall()
    return [_question(row) for row in rows]


def dispute(row: Mapping[str, Any]) -> a.Contested:
    """What the citizen said against a proof, and when."""
    return {"proof_id": str(row["proof_id"]), "reason": row["reason"], "created_at": row["created_at"].isoformat()}


def _proof(row: Mapping[str, Any], locale: str) -> a.Proof:
    return {
        "id": str(row["id"]),
        "attempt": row["attempt"],
        "round": row["round"],
        "item": {"id": row["item_id"], "name": row[f"name_{locale}"] or row["item_id"]} if row["item_id"] else None,
        "status": row["status"],
        "grade": grade(row["grade"], locale),
        "score": row["score"],
        "steps": [_step(verdict, locale) for verdict in row["verdicts"] or []],
        "feedback": row["feedback"],
        "reason": _reason(row, locale),
        "made_by": row["made_by"],
        "checklist": row["checklist"],
        "dispute": _dispute(row),
        "created_at": row["created_at"].isoformat(),
        "finished_at": _time(row["finished_at"]),
    }


def _dispute(row: Mapping[str, Any]) -> a.Disputed | None:
    return {"reason": row["disputed"], "created_at": row["disputed_at"].isoformat()} if row["disputed"] else None


def _step(verdict: Mapping[str, Any], locale: str) -> a.Verdict:
    return {
        "step": verdict["step"],
        "phase": verdict["phase"],
        "phase_name": messages.text(f"phase.{verdict['phase']}", locale),
        "text": verdict["text"],
        "verdict": verdict["verdict"],
        "verdict_name": messages.text(f"verdict.{verdict['verdict']}", locale),
        "seen": verdict["seen"],
    }


def _reason(row: Mapping[str, Any], locale: str) -> a.Reason | None:
    """Why there is no grade, and what to do now; of a photo that is none, what is wrong with it."""
    code = row["reason"]
    if code is None:
        return None
    general = messages.text_or(f"proof.{code}", code, locale)
    return {"code": code, "message": messages.text_or(f"failure.{code}.{row['detail']}", general, locale)}


def _question(row: Mapping[str, Any]) -> a.FurtherQuestion:
    return {
        "id": str(row["id"]),
        "n": row["n"],
        "text": row["text"],
        "status": row["status"],
        "answer": row["answer"],
        "made_by": row["made_by"],
        "created_at": row["created_at"].isoformat(),
        "answered_at": _time(row["answered_at"]),
    }


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
