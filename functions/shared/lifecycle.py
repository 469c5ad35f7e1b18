"""The states of an analysis and the one way to move between them.

presigned → requested → ingested → (needs_answer →) identified → retrieved → completed, failed or expired.
A correction opens the next round: completed or needs_answer → identified, or needs_answer where it must be asked about.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection

from psycopg.types.json import Jsonb

from functions.shared.postgres import Tx

RUNNING = frozenset({"requested", "ingested", "identified", "retrieved"})
TERMINAL = frozenset({"completed", "failed", "expired"})


class Superseded(Exception):
    """Another event has already done this step (or ended the analysis): there is nothing left to do."""


def advance(
    tx: Tx,
    analysis_id: str | uuid.UUID,
    *,
    frm: Collection[str],
    to: str,
    round: int | None = None,
    outcome: str | None = None,
) -> None:
    """Move the analysis to `to` if it stands in one of `frm` (and in `round`, where given); else Superseded.

    The row is locked from here to the end of the transaction, so two steps never interleave.
    """
    row = tx.execute(
        """UPDATE analyses SET status = %(to)s, outcome = %(outcome)s, updated_at = now(),
                  finished_at = CASE WHEN %(to)s IN ('completed', 'failed', 'expired') THEN now() END
           WHERE id = %(id)s AND status = ANY(%(frm)s) AND (%(round)s::int IS NULL OR round = %(round)s)
           RETURNING id""",
        {"id": analysis_id, "frm": list(frm), "to": to, "round": round, "outcome": outcome},
    ).fetchone()
    if row is None:
        raise Superseded(f"analysis {analysis_id} is not in {'/'.join(sorted(frm))} (round {round})")


def fail(tx: Tx, analysis_id: str | uuid.UUID, reason: str, detail: str) -> bool:
    """End the analysis as failed(reason). False where it had ended already. The state before is kept for a replay."""
    row = tx.execute(
        """UPDATE analyses SET status = 'failed', updated_at = now(), finished_at = now(),
                  failure = %(failure)s || jsonb_build_object('from', status)
           WHERE id = %(id)s AND status <> ALL(%(terminal)s) RETURNING id""",
        {
            "id": analysis_id,
            "failure": Jsonb({"reason": reason, "detail": detail}),
            "terminal": list(TERMINAL),
        },
    ).fetchone()
    return row is not None
