"""Count every call, on disk before it is answered: what a pipeline claims of its paid calls is checked against it."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Ledger:
    """Calls by kind. With a journal (a JSON line a call, appended with one write) the counts outlive a killed process.

    A line is {"at": seconds, "kind": "chat" | "embeddings", "schema": str | null, "body": first 32 hex of its SHA-256}.
    """

    def __init__(self, journal: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._schemas: Counter[str] = Counter()
        self._bodies: set[str] = set()
        self._repeated = 0
        self._file: int | None = None
        if journal:
            journal.parent.mkdir(parents=True, exist_ok=True)
            for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else ():
                self._replay(line)
            self._file = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, kind: str, schema: str | None, body: bytes) -> None:
        """Count one call; returns when its line is in the operating system's hands."""
        digest = hashlib.sha256(body).hexdigest()[:32]
        line = json.dumps({"at": round(time.time(), 3), "kind": kind, "schema": schema, "body": digest}) + "\n"
        with self._lock:
            if self._file is not None:
                os.write(self._file, line.encode())
            self._count(kind, schema, digest)

    def counts(self) -> dict[str, Any]:
        """{"chat", "chat_by_schema", "embeddings", "repeated"}: as many chat bodies were seen before, byte for byte."""
        with self._lock:
            return {
                "chat": self._calls["chat"],
                "chat_by_schema": dict(self._schemas),
                "embeddings": self._calls["embeddings"],
                "repeated": self._repeated,
            }

    def close(self) -> None:
        """Close the journal."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _replay(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._count(entry["kind"], entry["schema"], entry["body"])
        except (ValueError, KeyError, TypeError):
            return  # the half line of a machine that lost power

    def _count(self, kind: str, schema: str | None, digest: str) -> None:
        self._calls[kind] += 1
        if kind == "chat":
            self._schemas[schema or "none"] += 1
            self._repeated += digest in self._bodies
            self._bodies.add(digest)
