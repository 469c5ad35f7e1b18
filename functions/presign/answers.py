"""How everything that `presign` answers looks (JSON)."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from functions.shared.api import Between, Id, Time, Url


class Form(TypedDict):
    """POST multipart/form-data to `url` with every one of `fields`, then the file as `file`."""

    url: Url
    fields: dict[str, str]


class Granted(TypedDict):
    """Where the photo goes until `expires_at`; with its `key` ask to analyze it. Of an after-photo also which proof it
    will be: ask to verify it."""

    id: Id
    key: str
    upload: Form
    expires_at: Time
    proof_id: NotRequired[Id]
    attempt: NotRequired[Annotated[int, Between(1, 99)]]


class Photos(TypedDict):
    """Addresses at which the citizen's own photos can be looked at until `expires_at`; `after` by proof id."""

    before: Url | None
    after: dict[str, Url]
    expires_at: Time
