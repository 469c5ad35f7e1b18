"""A citizen leaves: every row of theirs goes, and their photos are left to `recover` to delete.

What stays: the city's days (nobody is in them), and what their model calls cost (an amount a day, of nobody): money
that was spent stays spent, whoever leaves, and a call without a known price counts as it did before (prices.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal

from functions.shared import naming
from functions.shared.postgres import Tx
from functions.shared.prices import CALL_USD

#: The two sizes in which `ingest` keeps a photo.
SIZES = ("kept", "model")


def leave(tx: Tx, user_id: uuid.UUID, *, if_still: Callable[[], None] = lambda: None) -> bool:
    """Delete the user with everything that is theirs, and write their objects down in `abandoned_objects`; False where
    they have left already. Nothing else belongs into the transaction.

    `if_still` is called once the user is locked and before anything is deleted, and raises where what gave the right to
    delete them does not hold any more.

    Everything is locked in the order in which others take it (events, analyses, the user), so that nobody waits in a
    circle. Once the user is locked nothing of theirs can be added, so no object is missed. Unavailable where it meets
    somebody all the same: it may be tried again.
    """
    tx.execute(
        """SELECT 1 FROM analysis_events WHERE analysis_id IN (SELECT id FROM analyses WHERE user_id = %s)
           ORDER BY analysis_id, n FOR UPDATE""",
        (user_id,),
    )
    tx.execute("SELECT 1 FROM analyses WHERE user_id = %s ORDER BY id FOR UPDATE", (user_id,))
    if tx.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (user_id,)).fetchone() is None:
        return False
    if_still()
    tx.execute(
        "INSERT INTO abandoned_objects (key) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
        (list(set(_keys(tx, user_id))),),
    )
    tx.execute(
        """INSERT INTO departed_spending (day, cost_usd)
           SELECT (c.created_at AT TIME ZONE 'Asia/Seoul')::date, sum(coalesce(c.cost_usd, %s))
           FROM model_calls c JOIN analyses a ON a.id = c.analysis_id
           WHERE a.user_id = %s AND (c.cost_usd IS NOT NULL OR c.answer -> 'standin' <> 'true'::jsonb)
           GROUP BY 1 ORDER BY 1
           ON CONFLICT (day) DO UPDATE SET cost_usd = departed_spending.cost_usd + excluded.cost_usd""",
        (CALL_USD, user_id),
    )
    tx.execute("DELETE FROM dead_letters WHERE analysis_id IN (SELECT id FROM analyses WHERE user_id = %s)", (user_id,))
    tx.execute("DELETE FROM users WHERE id = %s", (user_id,))
    return True


def spent(tx: Tx, cost_usd: Decimal | None, *, standin: bool) -> None:
    """A model call that cost this (None: nobody knows) came back today after its citizen had left."""
    if cost_usd is None and standin:
        return
    tx.execute(
        """INSERT INTO departed_spending (day, cost_usd)
           VALUES ((now() AT TIME ZONE 'Asia/Seoul')::date, coalesce(%s, %s))
           ON CONFLICT (day) DO UPDATE SET cost_usd = departed_spending.cost_usd + excluded.cost_usd""",
        (cost_usd, CALL_USD),
    )


def _keys(tx: Tx, user_id: uuid.UUID) -> Iterator[str]:
    """Every object that is theirs or may become so: what they uploaded (or still may), the copies that were kept, and
    those that `ingest` may be about to write."""
    uploads = tx.execute(
        """SELECT id AS analysis_id, NULL::int AS attempt, key FROM analyses WHERE user_id = %(user)s
           UNION ALL
           SELECT analysis_id, attempt, key FROM proofs WHERE user_id = %(user)s""",
        {"user": user_id},
    ).fetchall()
    for row in uploads:
        yield row["key"]
        for size in SIZES:
            yield naming.photo_key(row["analysis_id"], size, row["attempt"])
    for row in tx.execute("SELECT kept_key, model_key FROM photos WHERE user_id = %s", (user_id,)).fetchall():
        yield from (row["kept_key"], row["model_key"])
