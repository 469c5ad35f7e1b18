"""What setup reads from the environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from functions.shared.config import secret


@dataclass(frozen=True)
class Settings:
    """The model settings are needed by `index` only."""

    database_url: str = secret()
    openai_api_key: str = field(default="", repr=False)
    openai_base_url: str = "https://api.openai.com/v1"
    embedding_model: str = "text-embedding-3-small"
