"""The bulk file in table `centres`: read whole or not at all, and asked by square like the API's answers."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from functions.locations import gathering
from functions.locations.api import SourceFailed, listed
from functions.locations.centre import Centre
from functions.locations.fields import is_row
from functions.locations.gathering import Gathered
from functions.locations.shelf import Found
from functions.shared.postgres import Database

#: The portal's file changes with every municipality that looks after its rows; half a year is old.
FRESH_SECONDS = 180 * 24 * 3600

#: Bytes of a file at most; the real one has 130 kB.
MOST_BYTES = 64 * 2**20

#: Columns of their own; the rest of a centre is in `doc`.
_COLUMNS = ("id", "name", "address", "latitude", "longitude", "reference_date")


class BadFile(Exception):
    """A file that is not the bulk file; the message says why in one sentence."""


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a bulk file: a JSON list, or an object with them in `records`, `items` or `data`. BadFile."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadFile(f"{path.name} is larger than {MOST_BYTES // 2**20} MB")
        raw = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}") from error
    try:
        document = json.loads(_text(raw))
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path.name} is no JSON: {error}") from error
    if isinstance(document, dict):
        document = next((document[key] for key in ("records", "items", "data") if key in document), None)
    try:
        rows = listed(document)
    except SourceFailed:
        rows = []
    if not rows:
        raise BadFile(f"{path.name} has no list of rows")
    if strange := sum(not is_row(row) for row in rows):
        raise BadFile(f"{path.name} is another file: {strange} of {len(rows)} rows have no CNTER_NM")
    return rows


def _text(raw: bytes) -> str:
    """The portal writes UTF-8, with or without a mark, and once wrote the Windows code page of Korea."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp949")


def replace_all(db: Database, path: Path) -> Gathered:
    """Put the centres of a bulk file in the place of those there are, in one transaction. BadFile leaves everything as
    it was: so does a file of which more than half cannot be used."""
    gathered = gathering.gather(rows_of(path))
    if 2 * len(gathered.dropped) > gathered.read:
        reasons = sorted({remark.kind for remark in gathered.dropped})
        raise BadFile(f"{len(gathered.dropped)} of {gathered.read} rows cannot be used ({', '.join(reasons)})")
    with db.transaction() as tx:
        tx.execute("LOCK TABLE centres IN SHARE ROW EXCLUSIVE MODE")
        tx.execute("DELETE FROM centres")
        with tx.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO centres ({', '.join(_COLUMNS)}, doc) VALUES (%s, %s, %s, %s, %s, %s, %s)",  # noqa: S608
                [_row(centre) for centre in gathered.centres],
            )
    return gathered


def _row(centre: Centre) -> list[Any]:
    document = centre.document()
    return [*(document.pop(name, None) for name in _COLUMNS), Jsonb(document)]


def read(db: Database, tiles: frozenset[str] | None) -> Found | None:
    """The imported centres of these squares (None: all), or None where nothing was ever imported."""
    rows = db.read(
        """SELECT i.at, c.id, c.name, c.address, c.latitude, c.longitude, c.reference_date, c.doc
           FROM (SELECT max(imported_at) AS at FROM centres) i
           LEFT JOIN centres c ON %(tiles)s::text[] IS NULL
               OR floor(c.latitude)::int || ':' || floor(c.longitude)::int = ANY(%(tiles)s::text[])""",
        {"tiles": None if tiles is None else sorted(tiles)},
    )
    at: datetime | None = rows[0]["at"]
    if at is None:
        return None
    centres = [_centre(row) for row in rows if row["id"] is not None]
    return Found(centres, "import", at.timestamp(), FRESH_SECONDS)


def _centre(row: dict[str, Any]) -> Centre:
    day = row["reference_date"]
    columns = {name: row[name] for name in _COLUMNS} | {"reference_date": day and day.isoformat()}
    return Centre.from_document({**row["doc"], **columns})
