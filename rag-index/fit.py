"""Fit what the search knows of words: `python rag-index fit`. Needs numpy; the search does not.

First `functions/shared/topics.bin`, on the practice questions and the texts about something else: a logistic regression
over the runs of letters around the names; and, on much the same and the embeddings of all of it,
`functions/shared/wording.bin` (`wordings.py`). Then
`functions/shared/weights.py`, on the tuning questions, of which neither has seen any: maximum likelihood of a softmax
over a question's candidates and "none of these", with a pull towards zero; once with and once without nearness of
meaning, because a search may have to do without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from evaluation import alternatives, meant

from functions.setup.compiled import Corpus
from functions.shared import topics, weights
from functions.shared.decisions import outcomes
from functions.shared.matching import FEATURES, NONE_FEATURES, described
from functions.shared.phrases import Reading
from functions.shared.search import Rulebook

FILE = Path(weights.__file__)
_PULL, _STEPS, _SETTLED = 0.0003, 40, 1e-7
#: Of the topics: the same, and how much more a text about something else counts, of which there are fewer.
_TOPIC_PULL, _TOPIC_STEPS, _RARE = 1e-5, 250, 2.0

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
    second, second_none = _fitted([*both, *_rare(both)])
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
    candidates, none = described(sought.reading, sought.rows, sought.near, sought.worded)
    docs, kinds = ({found["id"]: found[key] for found in sought.rows} for key in ("doc", "kind"))
    wanted = alternatives(row["item"])
    if row["decision"] == "not_found":
        right = [False] * len(candidates) + [True]
    elif wanted:
        right = [meant(row, item_id, _places(docs[item_id])) for item_id in candidates] + [False]
    elif row["decision"] != "ambiguous":  # about something to be thrown away, whatever it is
        right = [True] * len(candidates) + [False]
    else:
        right = [kinds[item_id] == "choice" and features[0] == 1 for item_id, features in candidates.items()] + [False]
    if not any(right):
        return None
    return Case(np.array(list(candidates.values())).reshape(-1, len(FEATURES)), np.array(none), np.array(right))


def _rare(cases: Iterable[Case]) -> Iterator[Case]:
    """The questions about something else: they count twice, as there are more and more others. (By names alone, where
    a typo is as strange as another matter, they do not.)
    """
    return (case for case in cases if not case.right[:-1].any())


def _places(doc: Mapping[str, Any]) -> list[str]:
    """Where an item may go (its index document); a word for several things goes nowhere."""
    leaves = outcomes(doc["decide"], date.today()) if "decide" in doc else []  # noqa: DTZ011
    return [code for leaf in leaves for code in leaf["to"]]


def _fitted(cases: list[Case]) -> tuple[Array, Array]:
    """Newton's method, every right row of a question counting by its share; each question's "none" stands last."""
    width = len(FEATURES) + len(NONE_FEATURES)
    rows = np.concatenate([_rows(case) for case in cases])
    right = np.concatenate([case.right for case in cases])
    sizes = [len(case.right) for case in cases]
    starts = np.cumsum([0, *sizes[:-1]])
    fitted, loss = np.zeros(width), np.inf
    for _ in range(_STEPS):
        scores = rows @ fitted
        powers = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), sizes))
        shares = powers / np.repeat(np.add.reduceat(powers, starts), sizes)
        good = np.maximum(np.add.reduceat(shares * right, starts), 1e-12)
        before, loss = loss, float(_PULL / 2 * fitted @ fitted - np.log(good).mean())
        if abs(before - loss) < _SETTLED:
            break
        error = shares - shares * right / np.repeat(good, sizes)
        slope = error @ rows / len(cases) + _PULL * fitted
        mean = np.add.reduceat(rows * shares[:, None], starts)
        bend = ((rows * shares[:, None]).T @ rows - mean.T @ mean) / len(cases) + _PULL * np.eye(width)
        fitted -= np.linalg.solve(bend, slope)
    return fitted[: len(FEATURES)], fitted[len(FEATURES) :]


def learn_topics(corpus: Corpus, practice: Iterable[Mapping[str, str]]) -> str:
    """Write topics.bin; a line that says from how many texts."""
    names, parts = corpus.names()
    texts = [(row["question"], row["decision"] == "not_found") for row in practice]
    texts += [(text, True) for row in corpus.items if row.kind == "outside" for text in row.said.values()]
    found, bias = _logistic(
        [topics.runs(Reading(text, names, parts).around) for text, _ in texts], [out for _, out in texts]
    )
    scale = float(np.abs(found).max()) / 127
    topics.FILE.write_bytes(topics.HEAD.pack(scale, bias) + np.round(found / scale).astype(np.int8).tobytes())
    return f"{len(texts)} texts about throwing away or something else"


def _logistic(places: list[set[int]], out: list[bool]) -> tuple[Array, float]:
    """Adam on the mean log-likelihood; a text's runs share a length of one."""
    sizes = np.array([len(each) for each in places])
    text = np.repeat(np.arange(len(places)), sizes)
    place = np.concatenate([np.fromiter(sorted(each), np.int64) for each in places])
    share = 1 / np.sqrt(sizes[text])
    wanted = np.array(out, np.float64)
    counts = np.where(out, _RARE, 1.0)
    counts /= counts.sum()
    fitted, first, second = (np.zeros(topics.PLACES + 1) for _ in range(3))  # the bias last
    for step in range(1, _TOPIC_STEPS + 1):
        sums = np.bincount(text, share * fitted[place], len(places)) + fitted[-1]
        error = (1 / (1 + np.exp(-sums)) - wanted) * counts
        slope = _TOPIC_PULL * fitted
        slope[:-1] += np.bincount(place, share * error[text], topics.PLACES)
        slope[-1] = error.sum()
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        pace = 0.3 * (1 - step / _TOPIC_STEPS) + 0.01
        fitted -= pace * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-9)
    return fitted[:-1], float(fitted[-1])


def _rows(case: Case) -> Array:
    rows = np.zeros((len(case.right), len(FEATURES) + len(NONE_FEATURES)))
    rows[:-1, : len(FEATURES)] = case.items
    rows[-1, len(FEATURES) :] = case.none
    return rows
