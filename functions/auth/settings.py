"""What `auth` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.shared.config import secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`jwt_private_key_file` signs (only here); `jwt_public_keys_dir` verifies, as everywhere."""

    database_url: str = secret()
    jwt_private_key_file: Path
    jwt_public_keys_dir: Path
    pool_size: int = 4
