"""What `grade` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from functions.shared.config import secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One model call may take `model_timeout_seconds`; in an outage the work waits `model_park_seconds` and more.

    `s3_endpoint` is the object store as the functions reach it; absent for AWS itself.
    """

    database_url: str = secret()
    s3_endpoint: str | None = None
    s3_region: str
    s3_bucket: str
    aws_access_key_id: str
    aws_secret_access_key: str = secret()
    openai_api_key: str = secret()
    openai_base_url: str = "https://api.openai.com/v1"
    openai_model: str = "gpt-4o"
    model_timeout_seconds: float = 10.0
    model_park_seconds: float = 60.0
    pool_size: int = 4
