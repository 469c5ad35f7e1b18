"""What `ingest` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from functions.shared.config import secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`s3_endpoint` is the object store as the functions reach it; absent for AWS itself."""

    database_url: str = secret()
    s3_endpoint: str | None = None
    s3_region: str
    s3_bucket: str
    aws_access_key_id: str
    aws_secret_access_key: str = secret()
    pool_size: int = 4
