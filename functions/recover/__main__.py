"""`python -m functions.recover replay ID`: send a dead letter again, by its number or by its analysis."""

from __future__ import annotations

import os
import sys

from functions.recover.deadletters import is_id, replay
from functions.shared.postgres import Database, Unavailable


def main(arguments: list[str]) -> int:
    """Exit code 0 when something was sent again, 1 when not, 2 for a wrong call."""
    if len(arguments) != 2 or arguments[0] != "replay" or not is_id(arguments[1]):
        print(
            "make replay ID=… takes the number of a dead letter (table dead_letters) or the id of an analysis.",
            file=sys.stderr,
        )
        return 2
    db = Database(os.environ["DATABASE_URL"])
    try:
        for sentence in replay(db, os.environ["BROKER_URL"], arguments[1]):
            print(sentence)
    except (LookupError, Unavailable) as error:
        print(error)
        return 1
    finally:
        db.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
