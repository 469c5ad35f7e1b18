"""What `auth` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.shared.config import secret
from functions.shared.edge import EdgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(EdgeSettings):
    """`jwt_private_key_file` signs (only here); `jwt_public_keys_dir` verifies, as everywhere.

    `bcrypt_cost`: 12 takes a quarter of a second of one core. `refresh_grace_seconds`: how long after its use a refresh
    token may come again without ending its family. `tries_…`: passwords tried in a quarter of an hour.
    `guests_per_hour`: new guests from one address.
    """

    database_url: str = secret()
    jwt_private_key_file: Path
    jwt_public_keys_dir: Path
    bcrypt_cost: int = 12
    refresh_grace_seconds: float = 5.0
    tries_per_account: int = 10
    tries_per_address: int = 100
    guests_per_hour: int = 20
    pool_size: int = 4
