"""A citizen who has a row in every table that hangs on them, and every value marked with where it stands.

The tables are those the database itself says so of: a new one is in here, and in the tests that use this, by itself.
"""

from __future__ import annotations

import itertools
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from functions.shared import naming
from tests.steps import World

_numbers = itertools.count(7001)

#: Columns that only take certain values: those of somebody whose photo was analysed, proven and learned from.
CHOSEN: dict[str, dict[str, Any]] = {
    "users": {"kind": "account", "nickname": "까치", "region": "서울 중랑구", "housing": "house", "language": "en"},
    "analyses": {"status": "completed", "outcome": "guide", "housing": "apartment", "round": 1, "last_n": 9},
    "analysis_events": {"n": 9, "type": "app.growbin.waste.proof.v1.graded"},
    "claims": {"state": "done", "outcome": "event"},
    "photos": {"kind": "after", "deleted_at": None},
    "identifications": {"round": 1, "decision": "match", "chosen_by": "correction"},
    "retrievals": {"round": 1, "passages": [{"id": "rule.dispose.1", "text": "retrievals.passages", "owner": "x"}]},
    "guides": {"round": 1, "made_by": {"model": "guides.model", "standin": True, "calls": [1]}},
    "model_calls": {"round": 1, "cost_usd": Decimal("0.25")},
    "proofs": {
        "attempt": 1, "status": "graded", "round": 1, "grade": "middle", "score": 63, "reason": None, "detail": None,
        "verdicts": [{"step": 0, "text": "proofs.verdicts", "weight": 1}], "checklist": [0, 2],
        "made_by": {"model": "proofs.model", "standin": True}, "flags": [{"proof_id": "of-somebody-else"}],
    },
    "questions": {"n": 1, "round": 1, "status": "answered", "made_by": {"model": "questions.model", "standin": True}},
}  # fmt: skip


@dataclass
class Belongings:
    """What somebody has: user id, and table → the row."""

    user: str
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, table: str) -> dict[str, Any]:
        return self.rows[table]


def tables(world: World) -> list[str]:
    """Every table that goes with a user, those before that others refer to."""
    found = ["users"]
    for known in found:
        rows = world.rows(
            """SELECT conrelid::regclass::text AS name FROM pg_constraint
               WHERE contype = 'f' AND confrelid = %s::regclass AND confdeltype = 'c' ORDER BY 1""",
            known,
        )
        found += [row["name"] for row in rows if row["name"] not in found]
    order = ["users", "analyses", "proofs", "lessons", "user_days"]
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def columns(world: World, table: str) -> dict[str, str]:
    """Column → its type, without those that the database fills in itself."""
    rows = world.rows(
        """SELECT column_name AS name, data_type AS type FROM information_schema.columns
           WHERE table_schema = 'public' AND table_name = %s AND is_identity = 'NO' ORDER BY ordinal_position""",
        table,
    )
    return {row["name"]: row["type"] for row in rows}


def somebody(world: World) -> Belongings:
    """A citizen with one row in every table, each value like no other and, where it is a text, with its own name."""
    one = Belongings(str(uuid.uuid4()))
    analysis, proof, lesson = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    known = {"user_id": one.user, "analysis_id": analysis, "proof_id": proof, "lesson_id": lesson}
    ids = {"users": one.user, "analyses": analysis, "proofs": proof, "lessons": lesson}
    day = date(2026, 1, 1) + timedelta(days=next(_numbers) % 300)
    keys: dict[str, dict[str, Any]] = {
        "analyses": {"key": naming.upload_key(analysis, "image/jpeg")},
        "proofs": {"key": naming.upload_key(analysis, "image/jpeg", 1)},
        "photos": {
            "kept_key": naming.photo_key(analysis, "kept", 1),
            "model_key": naming.photo_key(analysis, "model", 1),
            "created_at": datetime.now(UTC),
        },
        "user_days": {"day": day},
        "user_day_items": {"day": day},
    }
    for table in tables(world):
        row: dict[str, Any] = {}
        for name, type_ in columns(world, table).items():
            row[name] = known[name] if name in known else _value(table, name, type_, one.user)
        row |= CHOSEN.get(table, {}) | keys.get(table, {}) | ({"id": ids[table]} if table in ids else {})
        names, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
        stored = {name: Jsonb(value) if isinstance(value, dict | list) else value for name, value in row.items()}
        with world.db.transaction() as tx:
            tx.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", stored)
        one.rows[table] = row
    return one


def rendered(value: Any) -> str:
    """As it stands in a JSON document."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str | dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(table: str, name: str, type_: str, whose: str) -> Any:
    number = next(_numbers)
    values: dict[str, Any] = {
        "text": f"{table}.{name}.{whose[:8]}.{number}",
        "jsonb": {"mark": f"{table}.{name}.{whose[:8]}"},
        "uuid": uuid.uuid4(),
        "integer": number,
        "bigint": number,
        "numeric": number,
        "boolean": True,
        "date": date(2026, 1, 1) + timedelta(days=number % 300),
        "timestamp with time zone": datetime(2026, 2, 1, tzinfo=UTC) + timedelta(seconds=number),
    }
    return values[type_]
