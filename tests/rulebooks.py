"""A corpus in a database without a model: for tests of the index and of the search."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

from functions.shared.embeddings import DIMENSIONS
from functions.shared.hangul import sound


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
        place = int.from_bytes(hashlib.sha256(letters[i : i + 2].encode()).digest()[:4]) % DIMENSIONS
        vector[place] += 1
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]
