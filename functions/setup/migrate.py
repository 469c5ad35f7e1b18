"""Numbered SQL migrations: each once, in order, in a transaction of its own, whoever asks and however often.

A transaction-level advisory lock makes concurrent runs queue up; the checksum of what was applied is kept, so that an
edited migration is noticed instead of silently not applying.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from psycopg import sql

from functions.shared.postgres import Database, Tx

FOLDER = Path(__file__).with_name("migrations")
_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_LOCK = 7_305_118  # any number that nothing else in this database locks


class MigrationError(RuntimeError):
    """The migrations and the database do not fit together; nothing more was applied."""


def migrate(database: Database, folder: Path = FOLDER, say: Callable[[str], None] = print) -> list[str]:
    """Apply what is missing; returns the names of what this run applied."""
    applied: list[str] = []
    for path in _numbered(folder):
        with database.transaction() as tx:
            tx.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            _ledger(tx)
            if _needed(tx, path):
                say(f"migrating: {path.name}")
                tx.execute(sql.SQL(path.read_text(encoding="utf-8")))
                tx.execute(
                    "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (path.name, _checksum(path))
                )
                applied.append(path.name)
    say(f"migrations: {len(applied)} applied" if applied else "migrations: nothing to do")
    return applied


def _numbered(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.sql"))
    wrong = [path.name for path in paths if not _NAME.match(path.name)]
    numbers = [path.name[:4] for path in paths]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if wrong or twice:
        raise MigrationError(f"migrations must be numbered 0001_name.sql, each once: {', '.join(wrong + twice)}")
    return paths


def _ledger(tx: Tx) -> None:
    tx.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations ("
        "name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )


def _needed(tx: Tx, path: Path) -> bool:
    row = tx.execute("SELECT checksum FROM schema_migrations WHERE name = %s", (path.name,)).fetchone()
    if row is None:
        return True
    if row["checksum"] != _checksum(path):
        raise MigrationError(f"{path.name} was changed after it had been applied; write a new migration instead")
    return False


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
