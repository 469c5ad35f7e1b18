"""Fit the weights of `functions/shared/weights.py` on the tuning questions: `python rag-index fit`.

Maximum likelihood of a softmax over a question's candidates and "none of these", with a pull towards zero; once with
and once without nearness of meaning, because a search may have to do without. Needs numpy; the search does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from evaluation import alternatives

from functions.shared import weights
from functions.shared.matching import FEATURES, NONE_FEATURES, described
from functions.shared.search import Rulebook

FILE = Path(weights.__file__)
_PULL, _STEPS = 0.0003, 3000

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A question: its candidates' features (one row each), those of "none", and which rows are right (last: none)."""

    items: Array
    none: Array
    right: npt.NDArray[np.bool_]


def fit(with_meaning: Rulebook, by_name: Rulebook, rows: Iterable[Mapping[str, str]]) -> str:
    """Write weights.py; a line that says how well the candidates are told apart."""
    rows = list(rows)
    names = list(filter(None, (_case(by_name, row) for row in rows)))
    both = list(filter(None, (_case(with_meaning, row) for row in rows)))
    first, first_none = _fitted(names)
    second, second_none = _fitted(both)
    lines = [
        '"""Fitted by `rag-index/fit.py` on the tuning questions; do not edit by hand."""',
        "",
    ]
    for name, values in (
        ("BY_NAME", first),
        ("BY_MEANING", second),
        ("NONE_BY_NAME", first_none),
        ("NONE_BY_MEANING", second_none),
    ):
        features = NONE_FEATURES if name.startswith("NONE") else FEATURES
        lines += [f"{name} = (", *(f"    {v:.3f},  # {f}" for v, f in zip(values, features, strict=True)), ")"]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{len(names)} questions by name, {len(both)} with meaning"


def _case(rulebook: Rulebook, row: Mapping[str, str]) -> Case | None:
    """None where the right item is not among the candidates: there is nothing to learn from it."""
    sought = rulebook.seek(row["question"])
    candidates, none = described(sought.reading, sought.rows, sought.near)
    kinds = {found["id"]: found["kind"] for found in sought.rows}
    wanted = alternatives(row["item"])
    if row["decision"] == "not_found":
        right = [False] * len(candidates) + [True]
    elif wanted:
        right = [item_id in wanted for item_id in candidates] + [False]
    elif row["decision"] != "ambiguous":  # about something to be thrown away, whatever it is
        right = [True] * len(candidates) + [False]
    else:
        right = [kinds[item_id] == "choice" and features[0] == 1 for item_id, features in candidates.items()] + [False]
    if not any(right):
        return None
    return Case(np.array(list(candidates.values())).reshape(-1, len(FEATURES)), np.array(none), np.array(right))


def _fitted(cases: list[Case]) -> tuple[Array, Array]:
    """Adam on the mean log-likelihood; every question's rows stand one after the other, "none" last."""
    width = len(FEATURES) + len(NONE_FEATURES)
    rows = np.concatenate([_rows(case) for case in cases])
    right = np.concatenate([case.right for case in cases])
    sizes = [len(case.right) for case in cases]
    starts = np.cumsum([0, *sizes[:-1]])
    fitted, first, second = np.zeros(width), np.zeros(width), np.zeros(width)
    for step in range(1, _STEPS + 1):
        scores = rows @ fitted
        powers = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), sizes))
        shares = powers / np.repeat(np.add.reduceat(powers, starts), sizes)
        good = shares * right
        error = shares - good / np.repeat(np.maximum(np.add.reduceat(good, starts), 1e-12), sizes)
        slope = error @ rows / len(cases) + _PULL * fitted
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        fitted -= 0.05 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return fitted[: len(FEATURES)], fitted[len(FEATURES) :]


def _rows(case: Case) -> Array:
    rows = np.zeros((len(case.right), len(FEATURES) + len(NONE_FEATURES)))
    rows[:-1, : len(FEATURES)] = case.items
    rows[-1, len(FEATURES) :] = case.none
    return rows
