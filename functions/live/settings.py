"""What `live` reads from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from functions.shared.config import secret
from functions.shared.edge import EdgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(EdgeSettings):
    """`max_sockets` must stay below the server's threads, each socket holds one, `max_sockets_per_user` of them a
    citizen; `socket_seconds` below the revision's timeout: the client is sent away in good time and comes back."""

    database_url: str = secret()
    jwt_public_keys_dir: Path
    pool_size: int = 4
    max_sockets: int = 64
    max_sockets_per_user: int = 8
    socket_seconds: float = 240.0
