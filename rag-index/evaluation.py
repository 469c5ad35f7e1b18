"""How good the search is on a labelled set: a TSV of question, decision, item, destination, region, housing.

`decision`, `item` and `destination` may list acceptable alternatives with "|"; empty means "not looked at". A
destination counts as right when the answer names at least one of those listed and none besides.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from functions.shared.search import Found, Rulebook


def questions(path: Path) -> list[dict[str, str]]:
    """The rows of a labelled set."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def evaluate(rulebook: Rulebook, rows: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Counts, latency (ms) and every answer that is not right."""
    asked = [
        (row, rulebook.search(row["question"], region=row["region"] or None, housing=row["housing"] or None))
        for row in rows
    ]
    named = [(row, found) for row, found in asked if row["item"]]
    certain = [(row, found) for row, found in asked if found.decision == "match"]
    unclear = [(row, found) for row, found in asked if row["decision"] == "ambiguous"]
    outside = [(row, found) for row, found in asked if row["decision"] == "not_found"]
    took = sorted(found.ms for _, found in asked)
    return {
        "questions": len(rows),
        "item_top1": _share(sum(_among(found, row, 1) for row, found in named), len(named)),
        "item_top5": _share(sum(_among(found, row, 5) for row, found in named), len(named)),
        "destination": _share(
            sum(_right(row, found) for row, found in certain), sum("match" in _set(row["decision"]) for row in rows)
        ),
        "wrong_certain": sum(not _right(row, found) for row, found in certain),
        "ambiguous_recall": _share(sum(found.decision == "ambiguous" for _, found in unclear), len(unclear)),
        "asked_needlessly": sum(
            found.decision == "ambiguous" and "ambiguous" not in _set(row["decision"]) for row, found in asked
        ),
        "refused": _share(sum(found.decision == "not_found" for _, found in outside), len(outside)),
        "ms_p50": took[len(took) // 2],
        "ms_p95": took[int(len(took) * 0.95)],
        "not_right": [
            {
                "question": row["question"],
                "wanted": row["decision"],
                "got": found.decision,
                "candidates": [candidate.id for candidate in found.candidates[:3]],
            }
            for row, found in asked
            if found.decision not in _set(row["decision"]) or (found.decision == "match" and not _right(row, found))
        ],
    }


def _among(found: Found, row: dict[str, str], first: int) -> bool:
    return any(candidate.id in _set(row["item"]) for candidate in found.candidates[:first])


def _right(row: dict[str, str], found: Found) -> bool:
    codes, wanted = set(found.candidates[0].destinations), _set(row["destination"])
    return "match" in _set(row["decision"]) and (not wanted or (bool(codes) and codes <= wanted))


def _set(text: str) -> set[str]:
    return set(filter(None, text.split("|")))


def _share(count: int, of: int) -> str:
    return f"{count}/{of}"
