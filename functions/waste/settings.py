"""What `waste` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.shared.config import secret
from functions.shared.edge import EdgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(EdgeSettings):
    """The OpenAI variables are for searching by meaning (embeddings) alone: this function never asks a chat model.

    `model_daily_per_user` units and `model_daily_usd` US dollars are what budget.py keeps to.
    """

    database_url: str = secret()
    broker_url: str
    openai_api_key: str = secret()
    openai_base_url: str = "https://api.openai.com/v1"
    embedding_model: str = "text-embedding-3-small"
    jwt_public_keys_dir: Path
    pool_size: int = 4
    model_daily_per_user: int = 100
    model_daily_usd: float = 50.0
