"""What `s3source` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.shared.config import secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`k_sink` is the broker's ingress, set by the ContainerSource. `alive_file` is written with every turn, for the
    liveness probe. `wait_seconds` is how long a poll may wait for messages (SQS: 20 at most)."""

    k_sink: str
    queue_url: str
    s3_region: str
    s3_bucket: str
    sqs_endpoint: str | None = None
    aws_access_key_id: str
    aws_secret_access_key: str = secret()
    alive_file: Path
    wait_seconds: int = 20
