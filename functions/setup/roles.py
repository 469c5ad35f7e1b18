"""A database role for each function, with the rights of grants.py and no other; run after every migration.

A role is called like its function and its password is what a file of that name holds (a mounted Secret). Everything
happens in one transaction: rights taken out of grants.py are gone afterwards, and nobody sees a role without rights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from psycopg import sql

from functions.setup.grants import GRANTS
from functions.shared.postgres import Database, Tx

_LOCK = 7_305_120
_VERBS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "l": "UPDATE (created_at)"}


class RolesError(RuntimeError):
    """A password is missing; nothing was changed."""


def passwords(folder: Path) -> dict[str, str]:
    """Function → password, from one file for each. RolesError names those that are missing or empty."""
    found = {path.name: path.read_text(encoding="utf-8").strip() for path in folder.glob("*") if path.is_file()}
    if missing := sorted(name for name in GRANTS if not found.get(name)):
        raise RolesError(f"{folder} holds no password of: {', '.join(missing)}")
    return {name: found[name] for name in GRANTS}


def give(database: Database, secrets: Mapping[str, str], say: Callable[[str], None] = print) -> None:
    """Make or correct every role of `secrets`. Unavailable where the database is not there."""
    with database.transaction() as tx:
        tx.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        row = tx.execute("SELECT current_database() AS name").fetchone()
        assert row is not None
        tx.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(row["name"])))
        tx.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        for name, password in secrets.items():
            _role(tx, name, password)
            _rights(tx, row["name"], name)
    say(f"roles: {len(secrets)} functions have theirs")


def _role(tx: Tx, name: str, password: str) -> None:
    there = tx.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    statement = "ALTER" if there else "CREATE"
    tx.execute(
        sql.SQL(statement + " ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD {}").format(
            sql.Identifier(name), sql.Literal(password)
        )
    )


def _rights(tx: Tx, database: str, name: str) -> None:
    role = sql.Identifier(name)
    tx.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role))
    tx.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), role))
    tx.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
    for table, letters in GRANTS[name].items():
        verbs = sql.SQL(", ").join(sql.SQL(_VERBS[letter]) for letter in letters)
        tx.execute(sql.SQL("GRANT {} ON {} TO {}").format(verbs, sql.Identifier(table), role))
