"""`python -m functions.locations import FILE`: put the bulk file of the public data into table `centres`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from functions.locations.gathering import Gathered, Remark
from functions.locations.imported import BadFile, replace_all
from functions.shared.postgres import Database, Unavailable

#: So many rows of a kind are named.
NAMED = 5


def main(arguments: list[str]) -> int:
    """Exit code 0 when everything is imported, 1 with one sentence on stderr when nothing is, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="python -m functions.locations")
    commands = parser.add_subparsers(dest="command", required=True)
    importing = commands.add_parser("import", help="replace all imported centres by those of a bulk file")
    importing.add_argument("file", type=Path)
    given = parser.parse_args(arguments)
    db = Database(os.environ["DATABASE_URL"])
    try:
        gathered = replace_all(db, given.file)
    except (BadFile, Unavailable) as error:
        print(f"Nothing was imported: {error}", file=sys.stderr)
        return 1
    finally:
        db.close()
    print("\n".join(_told(gathered)))
    return 0


def _told(gathered: Gathered) -> Iterator[str]:
    yield f"{gathered.read} rows read, {len(gathered.centres)} centres imported"
    parts = (("repaired", gathered.repaired), ("doubtful, kept as it is", gathered.doubtful))
    for title, remarks in (*parts, ("dropped", gathered.dropped)):
        yield f"{title}: {len({remark.number for remark in remarks})} rows"
        kinds: dict[str, list[Remark]] = {}
        for remark in remarks:
            kinds.setdefault(remark.kind, []).append(remark)
        for kind, of_kind in sorted(kinds.items(), key=lambda entry: -len(entry[1])):
            yield f"  {len(of_kind):4} × {kind}"
            for one in of_kind[:NAMED]:
                detail = f" ({one.detail})" if one.detail else ""
                yield f"         row {one.number}: {one.name or 'no name'}{detail}"
            if len(of_kind) > NAMED:
                yield f"         and {len(of_kind) - NAMED} more"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
