"""Meaning as numbers: a small client of `POST {base}/embeddings`, the OpenAI API and the local stand-in alike.

The SDK is not used: importing it costs 700 ms of every cold start, and this is one request.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from typing import Protocol

import urllib3

#: Size of every vector in the database (`vector(384)`); OpenAI's models are asked for it with `dimensions`.
DIMENSIONS = 384

#: The stand-in's model wants to be told which side of a search a text is on.
E5 = "multilingual-e5-small-waste-7"

_BATCH = 256


class EmbeddingFailed(Exception):
    """No usable answer (network, status, shape). Searching goes on without; building an index does not."""


class Embeds(Protocol):
    """Whatever turns texts into vectors of `dimensions` numbers; `model` names what made them."""

    model: str
    dimensions: int

    def query(self, texts: Sequence[str]) -> list[list[float]]: ...

    def passages(self, texts: Sequence[str]) -> list[list[float]]: ...


class Embedder:
    """`base_url` as the OpenAI SDK reads it (it ends in /v1); `timeout` in seconds for each request. No retries
    here.
    """

    def __init__(
        self, base_url: str, api_key: str, model: str, dimensions: int = DIMENSIONS, timeout: float = 10.0
    ) -> None:
        self.model, self.dimensions = model, dimensions
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(timeout), retries=False)

    def query(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors of what somebody asks. EmbeddingFailed."""
        return self._embed([f"query: {t}" if self.model == E5 else t for t in texts])

    def passages(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors of what can be found, `_BATCH` texts a request. EmbeddingFailed."""
        marked = [f"passage: {t}" if self.model == E5 else t for t in texts]
        return [vector for i in range(0, len(marked), _BATCH) for vector in self._embed(marked[i : i + _BATCH])]

    def _embed(self, texts: list[str]) -> list[list[float]]:
        body = {"model": self.model, "input": texts, "dimensions": self.dimensions, "encoding_format": "base64"}
        try:
            answer = self._http.request("POST", self._url, body=json.dumps(body).encode(), headers=self._headers)
        except urllib3.exceptions.HTTPError as error:
            raise EmbeddingFailed(f"{self._url}: {error}") from error
        if answer.status != 200:
            raise EmbeddingFailed(f"{self._url}: HTTP {answer.status}: {answer.data[:200].decode(errors='replace')}")
        try:
            rows = sorted(answer.json()["data"], key=lambda row: row["index"])
            vectors = [_numbers(row["embedding"]) for row in rows]
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise EmbeddingFailed(f"{self._url}: the answer has no embeddings: {error!r}") from error
        if len(vectors) != len(texts) or any(len(v) != self.dimensions for v in vectors):
            raise EmbeddingFailed(f"{self._url}: asked for {len(texts)} vectors of {self.dimensions}, got others")
        return vectors


def _numbers(vector: str | Sequence[float]) -> list[float]:
    """Base64 of little-endian float32: a tenth of the work of reading decimals, which some servers send anyway."""
    if not isinstance(vector, str):
        return [float(x) for x in vector]
    packed = base64.b64decode(vector, validate=True)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def binary(vector: Sequence[float]) -> bytes:
    """A vector as pgvector's binary format has it, for COPY: the count, nothing, and big-endian float32."""
    return struct.pack(f">HH{len(vector)}f", len(vector), 0, *vector)


def literal(vector: Sequence[float]) -> str:
    """A vector as pgvector reads it: "[0.1,0.2]"."""
    return f"[{','.join(['%.7g'] * len(vector))}]" % tuple(vector)
