"""The profile: what a citizen told us of themselves, and what an app proposes for their next question.

Region and housing are proposals only: each analysis is asked with its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

from functions.shared import http
from functions.shared.api import Id, Time
from functions.shared.http import Text
from functions.shared.postgres import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Body of PATCH: what is to be changed and nothing else. null (or a blank text) empties the first three.

    `consent`: may photos be sent to the model provider? `housing`: 아파트 or 주택.
    """

    nickname: Annotated[str, Text(1, 20)] | None = None
    region: Annotated[str, Text(1, 60)] | None = None
    housing: Literal["apartment", "house"] | None = None
    language: Literal["ko", "en"] = "ko"
    consent: bool = False


class Profile(TypedDict):
    """What a citizen told us of themselves; `consent`: their photos may go to the model provider."""

    user_id: Id
    kind: Literal["guest", "account"]
    email: str | None
    nickname: str | None
    region: str | None
    housing: Literal["apartment", "house"] | None
    language: Literal["ko", "en"]
    consent: bool
    created_at: Time


def read(tx: Tx, user_id: uuid.UUID) -> Profile:
    """The profile as JSON. Problem 401 where the citizen is gone."""
    row = tx.execute(
        "SELECT u.*, a.email FROM users u LEFT JOIN accounts a ON a.user_id = u.id WHERE u.id = %s", (user_id,)
    ).fetchone()
    if row is None:
        raise http.unknown_user()
    return {
        "user_id": str(row["id"]),
        "kind": row["kind"],
        "email": row["email"],
        "nickname": row["nickname"],
        "region": row["region"],
        "housing": row["housing"],
        "language": row["language"],
        "consent": row["consent_at"] is not None,
        "created_at": row["created_at"].isoformat(),
    }


def change(tx: Tx, user_id: uuid.UUID, wish: Change, named: Collection[str]) -> None:
    """Keep those fields of `wish` that the request `named`; of a consent the time it was first given is kept."""
    tx.execute(
        """UPDATE users SET
               nickname = CASE WHEN 'nickname' = ANY(%(named)s) THEN %(nickname)s ELSE nickname END,
               region = CASE WHEN 'region' = ANY(%(named)s) THEN %(region)s ELSE region END,
               housing = CASE WHEN 'housing' = ANY(%(named)s) THEN %(housing)s ELSE housing END,
               language = CASE WHEN 'language' = ANY(%(named)s) THEN %(language)s ELSE language END,
               consent_at = CASE WHEN NOT 'consent' = ANY(%(named)s) THEN consent_at
                                 WHEN %(consent)s THEN coalesce(consent_at, now()) END
           WHERE id = %(user)s""",
        {
            "user": user_id,
            "named": list(named),
            "nickname": wish.nickname,
            "region": wish.region,
            "housing": wish.housing,
            "language": wish.language,
            "consent": wish.consent,
        },
    )
