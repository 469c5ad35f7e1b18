"""Tokens: only what `auth` signed, for us, unexpired, with a key we still trust, is believed."""

from __future__ import annotations

import base64
import json
import stat
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from functions.shared.tokens import ALGORITHM, AUDIENCE, ISSUER, BadToken, Issued, Signer, Verifier, new_pair


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    new_pair(tmp_path / "private.pem", tmp_path / "public")
    return tmp_path


@pytest.fixture
def user_id() -> uuid.UUID:
    return uuid.uuid4()


def _signer(keys: Path) -> Signer:
    return Signer(keys / "private.pem")


def test_a_token_speaks_for_its_user(keys: Path, user_id: uuid.UUID) -> None:
    issued = _signer(keys).issue(user_id)
    assert issued.expires_in == 30 * 24 * 3600
    assert Verifier(keys / "public").user(issued.token) == user_id


def test_the_private_key_is_for_its_owner_only(keys: Path) -> None:
    assert stat.S_IMODE((keys / "private.pem").stat().st_mode) == 0o600


def test_an_expired_token_is_refused(keys: Path, user_id: uuid.UUID) -> None:
    issued = _signer(keys).issue(user_id, timedelta(minutes=-5))
    with pytest.raises(BadToken, match="Expired"):
        Verifier(keys / "public").user(issued.token)


def _forged(keys: Path, user_id: uuid.UUID, **changes: Any) -> str:
    key = serialization.load_pem_private_key((keys / "private.pem").read_bytes(), None)
    now = datetime.now(UTC)
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id),
        "iat": now,
        "exp": now + timedelta(hours=1),
        **changes,
    }
    kid = next((keys / "public").glob("*.pem")).stem
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=ALGORITHM, headers={"kid": kid})  # type: ignore[arg-type]


def test_the_forger_of_these_tests_can_make_a_good_token(keys: Path, user_id: uuid.UUID) -> None:
    assert Verifier(keys / "public").user(_forged(keys, user_id)) == user_id


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "somebody-else"},
        {"aud": "another-app"},
        {"sub": "not-a-uuid"},
        {"iat": datetime(2126, 1, 1, tzinfo=UTC)},
        {"iss": None},
        {"aud": None},
        {"sub": None},
        {"iat": None},
        {"exp": None},
    ],
    ids=str,
)
def test_a_wrong_or_missing_claim_is_refused(keys: Path, user_id: uuid.UUID, change: dict[str, Any]) -> None:
    with pytest.raises(BadToken):
        Verifier(keys / "public").user(_forged(keys, user_id, **change))


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _reheaded(token: str, **changes: Any) -> str:
    head, body, signature = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return ".".join([_part({**header, **changes}), body, signature])


def _hmac_with_the_public_key(token: str, keys: Path) -> str:
    """The classic confusion: HS256, signed with the (public) key everybody has."""
    import hashlib
    import hmac

    head, body, _ = _reheaded(token, alg="HS256").split(".")
    public = next((keys / "public").glob("*.pem")).read_bytes()
    mac = hmac.new(public, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token, keys: "",
        lambda token, keys: "three.dots.here",
        lambda token, keys: token[:-3] + ("AAA" if token[-3:] != "AAA" else "BBB"),
        lambda token, keys: _reheaded(token, alg="none").rsplit(".", 1)[0] + ".",
        lambda token, keys: _reheaded(token, kid="A" * 43),
        lambda token, keys: _reheaded(token, kid="../private"),
        lambda token, keys: _reheaded(token, kid=7),
        lambda token, keys: _reheaded(token, kid=None),
        _hmac_with_the_public_key,
    ],
    ids=["empty", "garbage", "signature", "alg-none", "unknown-kid", "path-kid", "number-kid", "no-kid", "hmac"],
)
def test_a_tampered_token_is_refused(keys: Path, user_id: uuid.UUID, spoil: Callable[[str, Path], str]) -> None:
    token = _signer(keys).issue(user_id).token
    with pytest.raises(BadToken):
        Verifier(keys / "public").user(spoil(token, keys))


def test_keys_rotate_without_a_restart(keys: Path, user_id: uuid.UUID) -> None:
    verifier = Verifier(keys / "public")
    (old_key,) = (keys / "public").glob("*.pem")
    old: Issued = _signer(keys).issue(user_id)
    assert verifier.user(old.token) == user_id

    new_pair(keys / "private.pem", keys / "public")
    new = _signer(keys).issue(user_id)
    assert verifier.user(new.token) == user_id, "a key added later is found"
    assert verifier.user(old.token) == user_id, "tokens of the old key live on"

    old_key.unlink()
    assert verifier.user(new.token) == user_id
    with pytest.raises(BadToken, match="unknown key"):
        verifier.user(old.token)


def test_a_public_key_under_another_name_is_not_trusted(keys: Path, user_id: uuid.UUID) -> None:
    token = _signer(keys).issue(user_id).token
    (mine,) = (keys / "public").glob("*.pem")
    new_pair(keys / "other.pem", keys / "elsewhere")
    (other,) = (keys / "elsewhere").glob("*.pem")
    mine.write_bytes(other.read_bytes())
    with pytest.raises(BadToken, match="does not hold"):
        Verifier(keys / "public").user(token)
