"""`make trace ID=…`: one analysis as a timeline of its events, who worked on them, and what the model was asked."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.shared.naming import stage
from functions.shared.postgres import Database, Tx, Unavailable


@dataclass(frozen=True, slots=True, order=True)
class _Moment:
    at: datetime
    rank: int
    text: str


def main(arguments: list[str]) -> int:
    """`python -m knative.local.trace ID` with DATABASE_URL set: 0, or 1 with one sentence where there is none."""
    if len(arguments) != 1:
        print("usage: python -m knative.local.trace <id of an analysis>")
        return 2
    db = Database(os.environ["DATABASE_URL"])
    try:
        print("\n".join(timeline(db, arguments[0])))
    except (LookupError, Unavailable) as error:
        print(error)
        return 1
    finally:
        db.close()
    return 0


def timeline(db: Database, analysis_id: str) -> list[str]:
    """The lines of the timeline, times in ms since the analysis began. LookupError for an unknown id."""
    with db.transaction() as tx:
        analysis = _analysis(tx, analysis_id)
        moments = sorted([*_events(tx, analysis_id), *_claims(tx, analysis_id), *_calls(tx, analysis_id)])
        letters = tx.execute(
            "SELECT id, consumer, error_code, replayed_at FROM dead_letters WHERE analysis_id = %s ORDER BY id",
            (analysis_id,),
        ).fetchall()
    start = moments[0].at if moments else analysis["created_at"]
    ends = [
        f"dead letter {letter['id']} of {letter['consumer']} (last answer {letter['error_code'] or 'unknown'})"
        + (f", sent again {letter['replayed_at']:%H:%M:%S}" if letter["replayed_at"] else ", not sent again")
        for letter in letters
    ]
    return [_head(analysis), *(f"{_ms(start, m.at):>9}  {m.text}" for m in moments), *ends]


def _analysis(tx: Tx, analysis_id: str) -> dict[str, Any]:
    try:
        row = tx.execute("SELECT * FROM analyses WHERE id = %s", (uuid.UUID(analysis_id),)).fetchone()
    except ValueError:
        row = None
    if row is None:
        raise LookupError(f"there is no analysis {analysis_id}")
    return row


def _head(analysis: dict[str, Any]) -> str:
    failure = analysis["failure"] or {}
    why = analysis["outcome"] or " ".join(filter(None, (failure.get("reason"), failure.get("detail"))))
    status = f"{analysis['status']} ({why})" if why else analysis["status"]
    return f"analysis {analysis['id']}: {status}, round {analysis['round']}, correlation {analysis['correlation_id']}"


def _events(tx: Tx, analysis_id: str) -> Iterator[_Moment]:
    rows = tx.execute("SELECT * FROM analysis_events WHERE analysis_id = %s ORDER BY n", (analysis_id,))
    for row in rows:
        said = f"{row['n']:>2}  {stage(row['type']):<20} said by {row['source'].removeprefix('/functions/')}"
        yield _Moment(row["created_at"], row["n"] * 10, said)


def _claims(tx: Tx, analysis_id: str) -> Iterator[_Moment]:
    rows = tx.execute(
        """SELECT c.*, e.n FROM claims c
           LEFT JOIN analysis_events e ON e.source = c.event_source AND e.id = c.event_id
           WHERE c.analysis_id = %s""",
        (analysis_id,),
    )
    for row in rows:
        tries = "1 attempt" if row["attempts"] == 1 else f"{row['attempts']} attempts"
        rank = (row["n"] or 0) * 10 + 1
        yield _Moment(row["created_at"], rank, f"      {row['consumer']} takes {row['n'] or row['event_id']}")
        if row["finished_at"]:
            took = _ms(row["created_at"], row["finished_at"])
            reply = f", which is {row['reply_n']}" if row["reply_n"] else ""
            done = f"      {row['consumer']} is done: {row['outcome']}{reply} ({tries}, {took})"
            yield _Moment(row["finished_at"], rank + 2, done)
        else:
            until = f" until {row['next_attempt_at']:%H:%M:%S}" if row["next_attempt_at"] else ""
            now = f"      {row['consumer']} is {row['state']}{until} ({tries}): {row['error'] or 'no error'}"
            yield _Moment(row["lease_until"], rank + 2, now)


def _calls(tx: Tx, analysis_id: str) -> Iterator[_Moment]:
    rows = tx.execute("SELECT * FROM model_calls WHERE analysis_id = %s ORDER BY id", (analysis_id,))
    for row in rows:
        cost = "cost unknown" if row["cost_usd"] is None else f"{row['cost_usd']} USD"
        tokens = f"{row['tokens_in']} + {row['tokens_out']} tokens"
        said = f"      model: {row['purpose']} by {row['model']} ({row['ms']} ms, {tokens}, {cost})"
        yield _Moment(row["created_at"], 5, said)


def _ms(start: datetime, end: datetime) -> str:
    return f"{(end - start).total_seconds() * 1000:,.0f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
