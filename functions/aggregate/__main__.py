"""`python -m functions.aggregate recount`: are the statistics what a full count gives? Changes nothing.

`python -m functions.aggregate report [--days N] [--json]`: what operators want to know. Changes nothing either.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from functions.aggregate.printed import render
from functions.aggregate.recount import compare
from functions.aggregate.report import collect
from functions.shared.postgres import Database, Unavailable


def main(arguments: list[str]) -> int:
    """Exit code 0 when everything is as it should be, 1 when not, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="python -m functions.aggregate")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("recount", help="count everything anew and print what differs from what is stored")
    telling = commands.add_parser("report", help="analyses, costs, grades, and what a person should look at")
    telling.add_argument("--days", type=_days, default=30)
    telling.add_argument("--json", action="store_true", help="for machines")
    given = parser.parse_args(arguments)
    db = Database(os.environ["DATABASE_URL"])
    try:
        return report(db, given.days, as_json=given.json) if given.command == "report" else recount(db)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        db.close()


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3650:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 3650")
    return int(text)


def recount(db: Database) -> int:
    """Print every difference and how much was compared."""
    found = compare(db)
    for difference in found.differences:
        print(difference)
    compared = f"{found.citizens} citizens, {found.days} days, {found.lessons} lessons"
    print(f"compared: {compared}; {len(found.differences)} differences")
    if found.differences and found.on_their_way:
        print(f"{found.on_their_way} events are still on their way to aggregate: try again in a moment")
    elif found.differences:
        print("no event is on its way that would mend this; a guide or a grade nobody heard of is counted next night")
    return 1 if found.differences else 0


def report(db: Database, days: int, *, as_json: bool) -> int:
    """Print the report of the last `days`."""
    found = collect(db, days)
    print(json.dumps(found, ensure_ascii=False, indent=2) if as_json else render(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
