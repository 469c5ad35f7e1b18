"""What was spent on the model today, and what the open work may still cost: read from what was kept, never estimated
by a counter."""

from __future__ import annotations

from functions.shared.postgres import Tx
from functions.shared.prices import CALL_USD

#: Calls an open analysis may still make.
CALLS_OF_AN_ANALYSIS = 2


def today(tx: Tx) -> tuple[float, float]:
    """US dollars: spent today by all, also by those who have left since, and what the open work may still cost."""
    row = tx.execute(
        """WITH today AS (SELECT (now() AT TIME ZONE 'Asia/Seoul')::date AS day,
                                 date_trunc('day', now() AT TIME ZONE 'Asia/Seoul') AT TIME ZONE 'Asia/Seoul' AS start)
           SELECT (coalesce((SELECT sum(cost_usd) FROM model_calls WHERE created_at >= start), 0)
                   + %(call)s * (SELECT count(*) FROM model_calls WHERE created_at >= start
                                 AND cost_usd IS NULL AND answer -> 'standin' <> 'true'::jsonb)
                   + coalesce((SELECT cost_usd FROM departed_spending d WHERE d.day = today.day), 0))::float AS spent,
                  %(calls)s * (SELECT count(*) FROM analyses WHERE status NOT IN ('completed', 'failed', 'expired')
                               AND status IN ('requested', 'ingested', 'identified', 'retrieved'))
                  + (SELECT count(*) FROM proofs WHERE status IN ('requested', 'ingested'))
                  + (SELECT count(*) FROM questions WHERE status = 'asked') AS open
           FROM today""",
        {"call": CALL_USD, "calls": CALLS_OF_AN_ANALYSIS},
    ).fetchone()
    assert row is not None
    return row["spent"], row["open"] * CALL_USD
