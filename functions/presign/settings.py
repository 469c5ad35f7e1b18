"""What `presign` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.shared.config import secret
from functions.shared.edge import EdgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(EdgeSettings):
    """`s3_public_endpoint` is the object store as a citizen's phone reaches it; the keys sign, nothing is fetched."""

    database_url: str = secret()
    broker_url: str
    s3_public_endpoint: str
    s3_region: str
    s3_bucket: str
    aws_access_key_id: str
    aws_secret_access_key: str = secret()
    jwt_public_keys_dir: Path
    pool_size: int = 4
