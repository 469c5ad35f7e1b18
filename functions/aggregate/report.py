"""What an operator wants to know of a period: what became of analyses, what they cost, how people were graded, and
what a person should look at. Only reads.

Everything counts where it happened: analyses by when they were asked for, model calls by when they were made, grades by
when they were given. Plain JSON values come out; printed.py makes text of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.shared.postgres import Database, Tx

GRADES = ("high", "middle", "low")
VERDICTS = ("done", "not_done", "cannot_tell", "not_applicable")
QUESTIONS = ("answered", "declined", "failed", "asked")


def collect(db: Database, days: int, to: datetime | None = None) -> dict[str, Any]:
    """The numbers of the `days` before `to` (now), all from one moment of the database. Raises Unavailable."""
    to = to or datetime.now(UTC)
    period = {"since": to - timedelta(days=days), "to": to}
    with db.transaction() as tx:
        tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        analyses = _analyses(tx, period)
        return {
            "days": days,
            "from": period["since"].isoformat(),
            "to": to.isoformat(),
            "analyses": analyses,
            "model": _model(tx, period, analyses["asked"]),
            "caches": {table: _cache(tx, period, table) for table in _CACHED},
            "proofs": _proofs(tx, period),
            "questions": _questions(tx, period),
            "disputes": _disputes(tx, period),
            "near_copies": _near_copies(tx, period),
            "dead_letters": _dead_letters(tx),
            "city": _city(tx, period),
        }


def _analyses(tx: Tx, period: Mapping[str, Any]) -> dict[str, Any]:
    states = tx.execute(
        """SELECT status, outcome, count(*) AS n FROM analyses
           WHERE requested_at >= %(since)s AND requested_at < %(to)s GROUP BY 1, 2 ORDER BY n DESC, 1, 2""",
        period,
    ).fetchall()
    failures = tx.execute(
        """SELECT failure ->> 'reason' AS reason, coalesce(failure ->> 'detail', '') AS detail, count(*) AS n
           FROM analyses WHERE requested_at >= %(since)s AND requested_at < %(to)s AND status = 'failed'
           GROUP BY 1, 2 ORDER BY n DESC, 1, 2""",
        period,
    ).fetchall()
    return {"asked": sum(row["n"] for row in states), "states": states, "failures": failures}


def _model(tx: Tx, period: Mapping[str, Any], analyses: int) -> dict[str, Any]:
    """Calls by what they were for (see, guide, grade, ask) and by who answered; repairs are among the calls."""
    rows = tx.execute(
        """SELECT substring(purpose FROM '^[a-z]+') AS purpose, model, (answer ->> 'standin')::boolean AS standin,
                  cost_usd IS NOT NULL AS priced, count(*) AS calls,
                  count(*) FILTER (WHERE purpose LIKE '%%\\_repair') AS repairs, sum(tokens_in)::bigint AS tokens_in,
                  sum(tokens_out)::bigint AS tokens_out, coalesce(sum(cost_usd), 0)::float AS cost_usd
           FROM model_calls WHERE created_at >= %(since)s AND created_at < %(to)s
           GROUP BY 1, 2, 3, 4 ORDER BY 3, 1, 2""",
        period,
    ).fetchall()
    standin = [row for row in rows if row["standin"]]
    paid = [row for row in rows if not row["standin"] and row["priced"]]
    unknown = [row for row in rows if not row["standin"] and not row["priced"]]
    cost = _sum(paid)["cost_usd"]
    return {
        "paid": _sum(paid),
        "unknown_price": {**_sum(unknown), "models": sorted({row["model"] for row in unknown})},
        "standin": _sum(standin),
        "cost_usd_per_analysis": round(cost / analyses, 6) if paid and analyses else None,
        "purposes": [
            {
                "purpose": purpose,
                "standin": by_standin,
                **_sum(some),
                "unknown_price": sum(row["calls"] for row in some if not row["priced"] and not by_standin),
            }
            for by_standin, every in ((False, [*paid, *unknown]), (True, standin))
            for purpose in sorted({row["purpose"] for row in every})
            for some in [[row for row in every if row["purpose"] == purpose]]
        ],
    }


def _sum(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total = {name: sum(row[name] for row in rows) for name in ("calls", "repairs", "tokens_in", "tokens_out")}
    return {**total, "cost_usd": round(sum(row["cost_usd"] for row in rows), 6)}


#: Table → whether a row of it came out of the cache.
_CACHED = {"guides": "coalesce((made_by ->> 'cached')::boolean, false)", "retrievals": "cached"}


def _cache(tx: Tx, period: Mapping[str, Any], table: str) -> dict[str, Any]:
    row = tx.execute(
        f"""SELECT count(*) AS n, count(*) FILTER (WHERE {_CACHED[table]}) AS cached FROM {table}
            WHERE created_at >= %(since)s AND created_at < %(to)s""",  # noqa: S608
        period,
    ).fetchone()
    assert row is not None
    return {**row, "rate": round(row["cached"] / row["n"], 4) if row["n"] else None}


def _proofs(tx: Tx, period: Mapping[str, Any]) -> dict[str, Any]:
    graded = tx.execute(
        """SELECT grade, count(*) AS n, sum(score) AS score,
                  count(*) FILTER (WHERE (made_by ->> 'standin')::boolean) AS standin
           FROM proofs WHERE status = 'graded' AND finished_at >= %(since)s AND finished_at < %(to)s GROUP BY 1""",
        period,
    ).fetchall()
    refused = tx.execute(
        """SELECT reason, count(*) AS n FROM proofs
           WHERE status = 'refused' AND finished_at >= %(since)s AND finished_at < %(to)s
           GROUP BY 1 ORDER BY n DESC, 1""",
        period,
    ).fetchall()
    waiting = tx.execute("SELECT count(*) AS n FROM proofs WHERE status IN ('requested', 'ingested')").fetchone()
    assert waiting is not None
    n = sum(row["n"] for row in graded)
    return {
        "graded": n,
        "grades": dict.fromkeys(GRADES, 0) | {row["grade"]: row["n"] for row in graded},
        "average_score": round(sum(row["score"] for row in graded) / n, 1) if n else None,
        "by_standin": sum(row["standin"] for row in graded),
        "refused": refused,
        "open": waiting["n"],
    }


def _questions(tx: Tx, period: Mapping[str, Any]) -> dict[str, int]:
    rows = tx.execute(
        """SELECT status, count(*) AS n FROM questions WHERE created_at >= %(since)s AND created_at < %(to)s
           GROUP BY 1""",
        period,
    )
    return dict.fromkeys(QUESTIONS, 0) | {row["status"]: row["n"] for row in rows}


def _disputes(tx: Tx, period: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Both sides of each, newest first. None is ever closed by us: what follows is for people to decide."""
    rows = tx.execute(
        """SELECT d.created_at, d.reason AS says, p.id AS proof_id, p.analysis_id, p.attempt, p.grade, p.score,
                  p.reason AS refused, p.verdicts, coalesce((p.made_by ->> 'standin')::boolean, false) AS standin,
                  coalesce(i.name_ko, g.item_id) AS item
           FROM disputes d JOIN proofs p ON p.id = d.proof_id
           LEFT JOIN guides g ON g.analysis_id = p.analysis_id AND g.round = p.round
           LEFT JOIN items i ON i.id = g.item_id
           WHERE d.created_at >= %(since)s AND d.created_at < %(to)s ORDER BY d.created_at DESC, d.id""",
        period,
    )
    return [
        {
            "at": row["created_at"].isoformat(),
            "analysis_id": str(row["analysis_id"]),
            "proof_id": str(row["proof_id"]),
            "attempt": row["attempt"],
            "item": row["item"],
            "grade": row["grade"],
            "score": row["score"],
            "refused": row["refused"],
            "by_standin": row["standin"],
            "verdicts": _verdicts(row["verdicts"] or []),
            "citizen": harmless(row["says"]),
        }
        for row in rows
    ]


def _verdicts(verdicts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    return dict.fromkeys(VERDICTS, 0) | Counter(verdict["verdict"] for verdict in verdicts)


def _near_copies(tx: Tx, period: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Photos of proofs that are nearly an earlier one, of somebody else or (`own`) of the citizen and no longer kept:
    plain bottles look alike, so this proves nothing."""
    rows = tx.execute(
        """SELECT id, analysis_id, status, grade, finished_at, flags FROM proofs
           WHERE flags <> '[]' AND finished_at >= %(since)s AND finished_at < %(to)s ORDER BY finished_at DESC, id""",
        period,
    )
    return [
        {
            "at": row["finished_at"].isoformat(),
            "analysis_id": str(row["analysis_id"]),
            "proof_id": str(row["id"]),
            "status": row["status"],
            "grade": row["grade"],
            "flags": row["flags"],
        }
        for row in rows
    ]


def _dead_letters(tx: Tx) -> list[dict[str, Any]]:
    """All that were not sent again, however old."""
    rows = tx.execute(
        """SELECT consumer, attributes ->> 'type' AS type, error_code, count(*) AS n, min(created_at) AS oldest,
                  min(id) AS first
           FROM dead_letters WHERE replayed_at IS NULL GROUP BY 1, 2, 3 ORDER BY n DESC, 1, 2, 3"""
    )
    return [{**row, "oldest": row["oldest"].isoformat()} for row in rows]


def _city(tx: Tx, period: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The days of the period as they were last counted, newest first: everybody together, nobody in particular."""
    rows = tx.execute(
        """SELECT day, users, analyses, high, middle, low, corrected, destinations, items, missed FROM city_days
           WHERE day BETWEEN (%(since)s AT TIME ZONE 'Asia/Seoul')::date AND (%(to)s AT TIME ZONE 'Asia/Seoul')::date
           ORDER BY day DESC""",
        period,
    )
    return [{**row, "day": row["day"].isoformat()} for row in rows]


def harmless(text: str) -> str:
    """A citizen's words as one line that no terminal takes for a command."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
