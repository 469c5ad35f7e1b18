"""What `web` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`s3_public_endpoint`: where the page may send photos to, beside our own address (Content-Security-Policy)."""

    s3_public_endpoint: str
