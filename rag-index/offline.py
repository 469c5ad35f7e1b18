"""Embeddings without a key and without a server: the stand-in's model in this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from functions.shared.embeddings import DIMENSIONS, E5


class Offline:
    """The same model as the local stand-in, so that either may search what the other has indexed.

    What it has made is kept in `file`, or for as long as the process lives.
    """

    model, dimensions = E5, DIMENSIONS

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    @cached_property
    def _engine(self) -> Any:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        from knative.local.model.embeddings import Embedder

        return Embedder(self._file)

    def query(self, texts: Sequence[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self._engine.vectors([f"query: {text}" for text in texts])]

    def passages(self, texts: Sequence[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self._engine.vectors([f"passage: {text}" for text in texts])]
