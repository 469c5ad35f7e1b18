"""What `aggregate` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from functions.shared.config import secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The database is all it needs."""

    database_url: str = secret()
    pool_size: int = 4
