"""What `locations` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from functions.shared.config import secret
from functions.shared.edge import EdgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(EdgeSettings):
    """`centres_api_url` is the public API or its stand-in. Without `centres_api_key` what was imported is served, and
    where nothing was, what the stand-in answers, as sample data.
    """

    database_url: str = secret()
    jwt_public_keys_dir: Path
    centres_api_url: str
    centres_api_key: str = field(default="", repr=False)
    pool_size: int = 2
