"""A corpus in a database without a model: for tests of the index and of the search."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import cache

from functions.setup.compiled import Corpus
from functions.shared.decisions import paths
from functions.shared.embeddings import DIMENSIONS
from functions.shared.hangul import sound


def few(corpus: Corpus, wanted: Container[str], most: int = 60) -> Corpus:
    """The wanted items and some others, with the rules they need, and what is about something else."""
    items = [row for n, row in enumerate(corpus.items) if row.kind == "item" and (n < most or row.id in wanted)]
    owners = {row.id for row in items} | {leaf["family"] for row in items for _, leaf in paths(row.doc["decide"])}
    items += [row for row in corpus.items if row.kind == "outside"]
    return replace(corpus, items=items, rules=[rule for rule in corpus.rules if rule.owner in owners])


class LetterPairs:
    """Vectors that count pairs of letters: near in spelling is near in meaning. Keeps what it was asked for."""

    dimensions = DIMENSIONS

    def __init__(self, model: str = "letter-pairs", during: Callable[[], None] = lambda: None) -> None:
        self.model, self.embedded, self.asked = model, list[str](), list[str]()
        self._during = during

    def passages(self, texts: Sequence[str]) -> list[list[float]]:
        self._during()
        self.embedded += texts
        return [_pairs(text) for text in texts]

    def query(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        return [_pairs(text) for text in texts]


def _pairs(text: str) -> list[float]:
    vector = [0.01] * DIMENSIONS
    letters = f" {sound(text)} "
    for i in range(len(letters) - 1):
        vector[_place(letters[i : i + 2])] += 1
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


@cache
def _place(pair: str) -> int:
    return int.from_bytes(hashlib.sha256(pair.encode()).digest()[:4]) % DIMENSIONS
