"""How everything that `auth` answers looks (JSON)."""

from __future__ import annotations

from typing import Literal, TypedDict

from functions.shared.api import Count, Id

Kind = Literal["guest", "account"]


class SignedIn(TypedDict):
    """A session: `token` goes with every request, `refresh_token` once to /refresh. Lifetimes in seconds."""

    user_id: Id
    token: str
    expires_in: Count
    refresh_token: str
    refresh_expires_in: Count
    kind: Kind


class Person(TypedDict):
    """Who somebody is; `consent`: their photos may go to the model provider."""

    user_id: Id
    kind: Kind
    consent: bool


class PublicKey(TypedDict):
    """One key (RFC 8037), known by its thumbprint."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]
    alg: Literal["EdDSA"]


class PublicKeys(TypedDict):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[PublicKey]
