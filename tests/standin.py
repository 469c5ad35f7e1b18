"""The model stand-in from a test's side: where it is, what it counted, how to make it fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests


@dataclass(frozen=True)
class Standin:
    """`root` is the server; `url` is what OPENAI_BASE_URL would be."""

    root: str

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def counts(self) -> dict[str, Any]:
        """Calls so far, by kind."""
        return dict(requests.get(f"{self.root}/control/counts", timeout=30).json())

    def faults(self, mode: str, *, count: int | None = None, schema: str | None = None, seconds: float = 0.0) -> None:
        """The next `count` calls (all, if None) about `schema` fail as `mode` says."""
        wish = {"mode": mode, "count": count, "schema": schema, "seconds": seconds}
        wish = {key: value for key, value in wish.items() if value not in (None, 0.0)}
        requests.post(f"{self.root}/control/faults", json=wish, timeout=30).raise_for_status()

    def well(self) -> None:
        """No more faults, nothing injected."""
        requests.delete(f"{self.root}/control/faults", timeout=30).raise_for_status()
        requests.delete(f"{self.root}/control/inject", timeout=30).raise_for_status()

    def inject(self, sha256: str, objects: list[dict[str, Any]], text_in_photo: str = "") -> None:
        """See `objects`, and read this, in the photo whose JPEG bytes have this hash."""
        body = {"sha256": sha256, "objects": objects, "text_in_photo": text_in_photo}
        requests.post(f"{self.root}/control/inject", json=body, timeout=30).raise_for_status()

    def inject_comparison(self, sha256: str, **comparison: Any) -> None:
        """See this (a part of a Comparison) where the JPEG bytes with this hash are the photo after."""
        body = {"sha256": sha256, "comparison": comparison}
        requests.post(f"{self.root}/control/inject", json=body, timeout=30).raise_for_status()
