"""What `recover` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.shared.config import secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`pipelines_dir` holds the Trigger manifests: they say which function owes an answer to which event.

    An event nobody has finished after `recover_after_seconds` is said again; photos are kept for `photo_days`, an open
    question for `answer_days`. `model_daily_usd` is only told to who watches how much of it is spent.
    """

    database_url: str = secret()
    broker_url: str
    s3_endpoint: str | None = None
    s3_region: str
    s3_bucket: str
    aws_access_key_id: str
    aws_secret_access_key: str = secret()
    pipelines_dir: Path
    recover_after_seconds: int = 90
    photo_days: int = 90
    answer_days: int = 7
    model_daily_usd: float = 50.0
    pool_size: int = 4
