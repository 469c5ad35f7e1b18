"""How good the search is on the labelled questions, beside three simpler ways of searching asked in the same run.

A set is a TSV of question, decision, item, destination, region, housing, kind. `decision`, `item` and `destination` may
list alternatives that a fair judge would accept ("|"); empty means "not looked at". Which half a question is in follows
from its letters, so nobody chose: search was tuned on one half only, and the other is what is reported.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from functions.shared.matching import whole
from functions.shared.search import Found

Ask = Callable[[Mapping[str, str]], Found]

#: What the report half has to reach: figure → (at least or at most, bound).
GOALS = {
    "item_top1": (">=", 0.92),
    "item_top5": (">=", 0.98),
    "destination": (">=", 0.95),
    "wrong_certain": ("<=", 0.01),
    "ambiguity_recall": (">=", 0.85),
    "ambiguity_precision": (">=", 0.80),
    "refused": (">=", 0.95),
}


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with the 95 % interval of Wilson (1927)."""

    count: int
    of: int

    @property
    def value(self) -> float:
        return self.count / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        z, n, p = 1.959964, self.of, self.count / self.of
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:6.3f}  [{low:.3f}, {high:.3f}]  {self.count}/{self.of}"


def questions(path: Path) -> list[dict[str, str]]:
    """The rows of a labelled set."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def tuning(folder: Path) -> list[dict[str, str]]:
    """What the search may be tuned on: its half of the set, and questions that were written for nothing else."""
    half_of_set = [row for row in questions(folder / "questions.tsv") if half(row["question"]) == "tune"]
    return half_of_set + questions(folder / "tuning.tsv")


def half(question: str) -> str:
    """`tune` or `report`."""
    return "report" if hashlib.sha256(question.encode()).digest()[0] % 2 else "tune"


def asked(ask: Ask, rows: Iterable[Mapping[str, str]]) -> list[tuple[Mapping[str, str], Found]]:
    """Every question with its answer."""
    return [(row, ask(row)) for row in rows]


def figures(answers: Sequence[tuple[Mapping[str, str], Found]]) -> dict[str, Share]:
    """The shares; `wrong_certain` is of the answers given as certain, all others of the questions they concern."""
    named = [(row, found) for row, found in answers if row["item"]]
    matching = [(row, found) for row, found in answers if "match" in alternatives(row["decision"])]
    certain = [(row, found) for row, found in answers if found.decision == "match"]
    unclear = [(row, found) for row, found in answers if row["decision"] == "ambiguous"]
    asking = [(row, found) for row, found in answers if found.decision == "ambiguous"]
    outside = [(row, found) for row, found in answers if row["decision"] == "not_found"]
    return {
        "item_top1": _share(_among(row, found, 1) for row, found in named),
        "item_top5": _share(_among(row, found, 5) for row, found in named),
        "destination": _share(right(row, found) for row, found in matching),
        "wrong_certain": _share(not right(row, found) for row, found in certain),
        "ambiguity_recall": _share(right(row, found) for row, found in unclear),
        "ambiguity_precision": _share("ambiguous" in alternatives(row["decision"]) for row, found in asking),
        "refused": _share(right(row, found) for row, found in outside),
    }


def right(row: Mapping[str, str], found: Found) -> bool:
    """An accepted decision; and a match names only accepted destinations."""
    if found.decision not in alternatives(row["decision"]):
        return False
    if found.decision != "match":
        return True
    codes, wanted = set(found.candidates[0].destinations), alternatives(row["destination"])
    if found.together:
        codes = {part.destination for part in found.parts}
    return bool(codes) and (not wanted or codes <= wanted)


def missed(answers: Sequence[tuple[Mapping[str, str], Found]]) -> dict[str, list[str]]:
    """Goal → the figure, where it is not reached."""
    reached = figures(answers)
    wrong = {}
    for name, (sign, bound) in GOALS.items():
        value = reached[name].value
        if not (value >= bound if sign == ">=" else value <= bound):
            wrong[name] = [f"{reached[name]}", f"{sign} {bound}"]
    return wrong


def told(answers: Sequence[tuple[Mapping[str, str], Found]]) -> list[str]:
    """Every answer that is not right, a line each."""
    return [
        "\t".join(
            (
                row["question"],
                f"wanted {row['decision']} {row['item']} {row['destination']}",
                f"got {found.decision}",
                ", ".join(f"{c.id} {c.score} {'|'.join(c.destinations)}" for c in found.candidates[:3]),
            )
        )
        for row, found in answers
        if not right(row, found) or (row["item"] and not _among(row, found, 1))
    ]


def table(columns: Mapping[str, Sequence[tuple[Mapping[str, str], Found]]]) -> str:
    """Figures as people read them, one block for each way of searching."""
    lines = []
    for name, answers in columns.items():
        took = sorted(found.ms for _, found in answers)
        lines.append(f"{name} ({len(answers)} questions)")
        for figure, share in figures(answers).items():
            goal = "{} {:.2f}".format(*GOALS[figure])
            lines.append(f"  {figure:<20} {share!s:<38} goal {goal}")
        lines.append(f"  {'ms p50 / p95':<20} {_at(took, 0.5):6.1f} / {_at(took, 0.95):.1f}")
    return "\n".join(lines)


def _share(hits: Iterable[bool]) -> Share:
    counted = list(hits)
    return Share(sum(counted), len(counted))


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else math.nan


def _among(row: Mapping[str, str], found: Found, first: int) -> bool:
    return any(meant(row, candidate.id, candidate.destinations) for candidate in found.candidates[:first])


def meant(row: Mapping[str, str], item_id: str, codes: Iterable[str]) -> bool:
    """Whether it is an accepted item, or a part of one that goes to accepted places: most labels know only wholes."""
    wanted = alternatives(row["item"])
    return item_id in wanted or (whole(item_id) in wanted and set(codes) <= alternatives(row["destination"]))


def alternatives(text: str) -> set[str]:
    """What stands between the "|"."""
    return set(filter(None, text.split("|")))
