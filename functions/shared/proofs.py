"""The states of a proof and the one way to move between them: the analysis itself stays completed all the time.

presigned → requested → ingested → graded or refused(reason). After a refusal another attempt may follow, after a grade
none until a correction has made another guide. Of one analysis at most one proof is open and at most one of each round
is graded; the row of the analysis is locked first, so that two who move proofs of the same analysis never wait for each
other in a circle.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from functions.shared.lifecycle import Superseded
from functions.shared.postgres import Tx

OPEN = frozenset({"requested", "ingested"})
ENDED = frozenset({"graded", "refused"})

#: An analysis has at most so many proofs that were asked for; unused upload addresses do not count.
MOST = 10

#: As many addresses for after-photos as the object key has names for.
MOST_ADDRESSES = 99


def advance(tx: Tx, proof_id: str | uuid.UUID, *, frm: Collection[str], to: str) -> dict[str, Any]:
    """Move the proof to `to` if it stands in one of `frm`, else Superseded. The row as it is then.

    The analysis and the proof are locked from here to the end of the transaction, so two steps never interleave.
    """
    _lock(tx, proof_id)
    row = tx.execute(
        """UPDATE proofs SET status = %(to)s,
                  requested_at = CASE WHEN %(to)s = 'requested' THEN now() ELSE requested_at END
           WHERE id = %(id)s AND status = ANY(%(frm)s) RETURNING *""",
        {"id": proof_id, "frm": list(frm), "to": to},
    ).fetchone()
    if row is None:
        raise Superseded(f"proof {proof_id} is not in {'/'.join(sorted(frm))}")
    return row


def refuse(
    tx: Tx,
    proof_id: str | uuid.UUID,
    reason: str,
    detail: str,
    *,
    frm: Collection[str] = tuple(sorted(OPEN)),
    verdicts: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """End the proof as refused(`reason`); False where it had ended (or is not in `frm`). The state before is kept, and
    what was seen of the steps (`verdicts`), where anybody looked."""
    _lock(tx, proof_id)
    row = tx.execute(
        """UPDATE proofs SET status = 'refused', reason = %(reason)s, detail = %(detail)s, refused_from = status,
                  finished_at = now(), verdicts = %(verdicts)s
           WHERE id = %(id)s AND status = ANY(%(frm)s) RETURNING id""",
        {
            "id": proof_id,
            "reason": reason,
            "detail": detail[:500],
            "frm": list(frm),
            "verdicts": Jsonb([dict(verdict) for verdict in verdicts]) if verdicts else None,
        },
    ).fetchone()
    return row is not None


def grade(
    tx: Tx,
    proof_id: str | uuid.UUID,
    *,
    grade: str,
    score: int,
    verdicts: Sequence[Mapping[str, Any]],
    feedback: Mapping[str, Any],
    made_by: Mapping[str, Any],
    flags: Sequence[Mapping[str, Any]],
) -> None:
    """End the proof with its grade (high, middle, low), from `ingested`; else Superseded."""
    advance(tx, proof_id, frm={"ingested"}, to="ingested")
    tx.execute(
        """UPDATE proofs SET status = 'graded', grade = %(grade)s, score = %(score)s, verdicts = %(verdicts)s,
                  feedback = %(feedback)s, made_by = %(made_by)s, flags = %(flags)s, finished_at = now()
           WHERE id = %(id)s""",
        {
            "id": proof_id,
            "grade": grade,
            "score": score,
            "verdicts": Jsonb([dict(verdict) for verdict in verdicts]),
            "feedback": Jsonb(dict(feedback)),
            "made_by": Jsonb(dict(made_by)),
            "flags": Jsonb([dict(flag) for flag in flags]),
        },
    )


def revive(tx: Tx, proof_id: str | uuid.UUID, detail: str) -> bool:
    """A proof refused as `internal` because of `detail` stands where it stood; False where it was not, or where another
    attempt has been opened, or one of the same round graded, since."""
    _lock(tx, proof_id)
    row = tx.execute(
        """UPDATE proofs p SET status = refused_from, reason = NULL, detail = NULL, refused_from = NULL,
                  finished_at = NULL
           WHERE id = %(id)s AND status = 'refused' AND reason = 'internal' AND detail = %(detail)s
             AND NOT EXISTS (SELECT 1 FROM proofs o WHERE o.analysis_id = p.analysis_id
                             AND (o.status IN ('requested', 'ingested')
                                  OR (o.status = 'graded' AND o.round = p.round)))
           RETURNING id""",
        {"id": proof_id, "detail": detail},
    ).fetchone()
    return row is not None


def obstacle(tx: Tx, analysis: Mapping[str, Any], *, addressed: bool = False) -> str | None:
    """Why this analysis takes no (further) proof of its present guide: not_verifiable, already_graded, too_many_proofs,
    too_many_addresses (unless the photo's address has been given out: `addressed`); None if it does."""
    if (analysis["status"], analysis["outcome"]) != ("completed", "guide"):
        return "not_verifiable"
    row = tx.execute(
        """SELECT count(*) FILTER (WHERE status = 'graded' AND round = %s) AS graded,
                  count(*) FILTER (WHERE requested_at IS NOT NULL) AS requested, max(attempt) AS last
           FROM proofs WHERE analysis_id = %s""",
        (analysis["round"], analysis["id"]),
    ).fetchone()
    assert row is not None
    if row["graded"]:
        return "already_graded"
    if row["requested"] >= MOST:
        return "too_many_proofs"
    return "too_many_addresses" if (row["last"] or 0) >= MOST_ADDRESSES and not addressed else None


def open_one(tx: Tx, analysis_id: str | uuid.UUID) -> bool:
    """Whether a proof of this analysis has been asked for and has not ended."""
    row = tx.execute(
        "SELECT 1 FROM proofs WHERE analysis_id = %s AND status IN ('requested', 'ingested')", (analysis_id,)
    ).fetchone()
    return row is not None


def _lock(tx: Tx, proof_id: str | uuid.UUID) -> None:
    tx.execute(
        "SELECT 1 FROM analyses WHERE id = (SELECT analysis_id FROM proofs WHERE id = %s::uuid) FOR NO KEY UPDATE",
        (proof_id,),
    )
