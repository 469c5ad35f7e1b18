"""What `users` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.shared.config import secret
from functions.shared.edge import EdgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(EdgeSettings):
    """`jwt_public_keys_dir` holds the public keys of `auth`, one `<kid>.pem` each."""

    database_url: str = secret()
    jwt_public_keys_dir: Path
    pool_size: int = 4
