"""What `retrieve` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass

from functions.shared.config import secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The OpenAI variables are for searching by meaning (embeddings); no chat model is asked here."""

    database_url: str = secret()
    redis_url: str = secret()
    openai_api_key: str = secret()
    openai_base_url: str = "https://api.openai.com/v1"
    embedding_model: str = "text-embedding-3-small"
    pool_size: int = 4
