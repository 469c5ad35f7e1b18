"""What `waste` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.shared.config import secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The OpenAI variables are for searching by meaning (embeddings) alone: this function never asks a chat model."""

    database_url: str = secret()
    broker_url: str
    openai_api_key: str = secret()
    openai_base_url: str = "https://api.openai.com/v1"
    embedding_model: str = "text-embedding-3-small"
    jwt_public_keys_dir: Path
    pool_size: int = 4
