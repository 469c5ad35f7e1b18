"""Who is asking: signed tokens (JWT, Ed25519). Only `auth` signs; everybody else verifies with public keys.

A key is known by its `kid`, the thumbprint of its public half; `<kid>.pem` in a folder of public keys verifies. To
rotate: put the new public key beside the old one; wait until the ConfigMap has reached every pod (about a minute, and
five more for outsiders, who may keep what `jwks` said); swap the private key and restart `auth`; delete the old public
key when the last token signed with it has expired (a quarter of an hour). Those who verify need no restart.

A token is only believed if it also has not been refused since (functions/shared/revocations.py).

`python -m functions.shared.tokens PRIVATE_FILE PUBLIC_DIR` makes a pair.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

if TYPE_CHECKING:  # who only signs needs no Redis
    from functions.shared.revocations import Revocations

ISSUER, AUDIENCE, ALGORITHM = "growbin-auth", "waste-coach", "EdDSA"
LIFETIME = timedelta(minutes=15)

#: Clocks of two machines may differ by so much.
_LEEWAY = timedelta(seconds=30)
_KID = re.compile(r"^[A-Za-z0-9_-]{43}$")


class BadToken(Exception):
    """The token proves nothing: malformed, expired, refused since, not for us, or signed with a key we do not know."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed token and how long it lives, in seconds."""

    token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says: whom it speaks for, its own id, and its times in seconds since 1970. `signed_in_at`: its
    bearer showed then who they are; None in a token that came of a refresh."""

    user_id: uuid.UUID
    jti: str
    issued_at: float
    expires_at: float
    signed_in_at: float | None = None


class Signer:
    """Signs with the Ed25519 private key in `private_key_file` (PEM, PKCS 8). Read on first use."""

    def __init__(self, private_key_file: Path) -> None:
        self._file = private_key_file
        self._key: Ed25519PrivateKey | None = None

    def issue(
        self,
        user_id: uuid.UUID,
        lifetime: timedelta = LIFETIME,
        *,
        at: float | None = None,
        signed_in_at: float | None = None,
    ) -> Issued:
        """A token that says "the bearer is `user_id`" for `lifetime` from `at` (seconds since 1970; now if None), and
        that they showed so at `signed_in_at`.

        OSError or ValueError without a usable key.
        """
        key, issued_at = self._load(), time.time() if at is None else at
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "iat": issued_at,
            "exp": issued_at + lifetime.total_seconds(),
            "jti": uuid.uuid4().hex,
            **({} if signed_in_at is None else {"auth_time": signed_in_at}),
        }
        token = jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": thumbprint(key.public_key())})
        return Issued(token, int(lifetime.total_seconds()))

    def ping(self) -> None:
        """Raises unless the private key can be read."""
        self._load()

    def _load(self) -> Ed25519PrivateKey:
        if self._key is None:
            key = serialization.load_pem_private_key(self._file.read_bytes(), password=None)
            if not isinstance(key, Ed25519PrivateKey):
                raise ValueError(f"{self._file.name} is not an Ed25519 private key")
            self._key = key
        return self._key


class Verifier:
    """Verifies tokens with the public keys in `folder` (`<kid>.pem`), looked up token by token, and asks `revocations`
    whether a token was refused since."""

    def __init__(self, folder: Path, revocations: Revocations | None = None) -> None:
        self._folder, self._revocations = folder, revocations
        self._known: dict[str, tuple[int, Ed25519PublicKey]] = {}

    def user(self, token: str) -> uuid.UUID:
        """The user the token speaks for. BadToken for every reason it may not be believed."""
        return self.claims(token).user_id

    def claims(self, token: str) -> Claims:
        """All that the token says. BadToken for every reason it may not be believed."""
        try:
            header = jwt.get_unverified_header(token)
            said = jwt.decode(
                token,
                self._key(header.get("kid")),
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                leeway=_LEEWAY,
                options={"require": ["iss", "aud", "exp", "iat", "sub", "jti"]},
            )
            signed_in_at = float(said["auth_time"]) if "auth_time" in said else None
            claims = Claims(uuid.UUID(said["sub"]), said["jti"], float(said["iat"]), float(said["exp"]), signed_in_at)
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            raise BadToken(f"{type(error).__name__}: {error}") from error
        if self._revocations and self._revocations.refused(claims.jti, claims.issued_at, claims.user_id):
            raise BadToken("refused since")
        return claims

    def _key(self, kid: object) -> Ed25519PublicKey:
        if not isinstance(kid, str) or not _KID.match(kid):
            raise BadToken("no usable kid")
        path = self._folder / f"{kid}.pem"
        try:
            changed, known = path.stat().st_mtime_ns, self._known.get(kid)
            if known is None or known[0] != changed:
                known = self._known[kid] = (changed, _public_key(path.read_bytes(), kid))
        except OSError as error:
            self._known.pop(kid, None)
            raise BadToken(f"unknown key {kid}") from error
        return known[1]


def _public_key(pem: bytes, kid: str) -> Ed25519PublicKey:
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey) or thumbprint(key) != kid:
        raise BadToken(f"{kid}.pem does not hold the Ed25519 key of that name")
    return key


def thumbprint(key: Ed25519PublicKey) -> str:
    """The `kid` of a key: RFC 7638 thumbprint (RFC 8037 members), base64url, 43 characters."""
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{_x(key)}"}}'
    return _base64url(hashlib.sha256(canonical.encode()).digest())


def jwks(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The public keys in `folder` as a JSON Web Key Set (RFC 7517), for outsiders who verify. OSError without a folder.

    A file that does not hold the key it is named after is left out, as it verifies nothing.
    """
    keys = []
    for path in sorted(folder.iterdir()):
        if path.suffix != ".pem" or not _KID.match(path.stem):
            continue
        try:
            key = _public_key(path.read_bytes(), path.stem)
        except (OSError, ValueError, BadToken):
            continue
        keys.append({"kty": "OKP", "crv": "Ed25519", "x": _x(key), "kid": path.stem, "use": "sig", "alg": ALGORITHM})
    return {"keys": keys}


def new_pair(private_key_file: Path, public_folder: Path) -> str:
    """Make a key pair: the private key (mode 0600) in a file, the public one as `<kid>.pem`. Answers the kid."""
    key = Ed25519PrivateKey.generate()
    kid = thumbprint(key.public_key())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public_folder.mkdir(parents=True, exist_ok=True)
    private_key_file.parent.mkdir(parents=True, exist_ok=True)
    (public_folder / f"{kid}.pem").write_bytes(public)
    private_key_file.unlink(missing_ok=True)
    with os.fdopen(os.open(private_key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    return kid


def _x(key: Ed25519PublicKey) -> str:
    return _base64url(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


if __name__ == "__main__":
    sys.stdout.write(new_pair(Path(sys.argv[1]), Path(sys.argv[2])) + "\n")
