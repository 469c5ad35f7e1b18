"""What `web` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from functions.shared.edge import EdgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(EdgeSettings):
    """`s3_public_endpoint`: where the page may send photos to, beside our own address (Content-Security-Policy).
    `rate_limit_per_minute` is one of files: the page is some twenty."""

    s3_public_endpoint: str
