"""Vectors that come with the project: of every name and rule of the corpus, so that a first start need not make them.

`rag-index/vectors.npz` holds them as int8 (off by less than 0.004 in cosine) under the hash of their text; `make
vectors` writes it. A text that is not in it, or the whole file missing, only costs time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

FILE = Path(__file__).parents[3] / "rag-index" / "vectors.npz"

Vector = npt.NDArray[np.float32]


class Shipped:
    """text → vector, for the texts of the file."""

    def __init__(self, file: Path = FILE) -> None:
        self._keys: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        if file.exists():
            with np.load(file) as kept:
                self._keys, self._values = kept["keys"], kept["values"]

    def get(self, text: str) -> Vector | None:
        """The unit vector of `text` ("passage: …" or "query: …"), None where the file has none."""
        key = _key(text)
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return None
        vector = self._values[place].astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


def write(vectors: Mapping[str, Vector], file: Path = FILE) -> None:
    """Replace the file; the same texts make the same bytes."""
    keys = np.array([_key(text) for text in vectors], np.uint64)
    values = np.stack([np.round(v / np.abs(v).max() * 127).astype(np.int8) for v in vectors.values()])
    order = np.argsort(keys)
    np.savez(file, keys=keys[order], values=values[order])


def _key(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))
