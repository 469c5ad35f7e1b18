"""Tokens: only what `auth` signed, for us, unexpired, unrevoked, with a key we still trust, is believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from functions.shared.memory import Memory
from functions.shared.revocations import SENTINEL, Revocations, end_all
from functions.shared.tokens import ALGORITHM, AUDIENCE, ISSUER, BadToken, Issued, Signer, Verifier, jwks, new_pair


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    new_pair(tmp_path / "private.pem", tmp_path / "public")
    return tmp_path


@pytest.fixture
def user_id() -> uuid.UUID:
    return uuid.uuid4()


@pytest.fixture
def own_redis_url(redis_url: str) -> str:
    """A database of the server for this file alone, empty."""
    url = redis_url.rpartition("/")[0] + "/5"
    redis.Redis.from_url(url).flushdb()
    return url


@pytest.fixture
def memory(own_redis_url: str) -> Iterator[Memory]:
    memory = Memory(own_redis_url)
    yield memory
    memory.close()


def _signer(keys: Path) -> Signer:
    return Signer(keys / "private.pem")


def test_a_token_speaks_for_its_user_for_a_quarter_of_an_hour(keys: Path, user_id: uuid.UUID) -> None:
    issued = _signer(keys).issue(user_id)
    assert issued.expires_in == 15 * 60
    claims = Verifier(keys / "public").claims(issued.token)
    assert claims.user_id == user_id
    assert claims.expires_at - claims.issued_at == 15 * 60
    assert abs(claims.issued_at - time.time()) < 5
    assert claims.jti != Verifier(keys / "public").claims(_signer(keys).issue(user_id).token).jti


def test_the_private_key_is_for_its_owner_only(keys: Path) -> None:
    assert stat.S_IMODE((keys / "private.pem").stat().st_mode) == 0o600


# --- thirty bad tokens


@dataclass
class Forger:
    """Everything a thief may have, and the private key, too, to make tokens that are wrong in one respect only."""

    keys: Path
    user_id: uuid.UUID
    memory: Memory
    issued: float

    def signed(self, **changes: Any) -> str:
        """A good token but for `changes` of its claims; None leaves one out."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(self.user_id),
            "iat": self.issued,
            "exp": self.issued + 900,
            "jti": uuid.uuid4().hex,
            **changes,
        }
        key = serialization.load_pem_private_key((self.keys / "private.pem").read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, key, algorithm=ALGORITHM, headers={"kid": self.kid})

    @property
    def kid(self) -> str:
        return next((self.keys / "public").glob("*.pem")).stem

    def reheaded(self, **changes: Any) -> str:
        """A good token with another header, and so with a signature that does not fit."""
        head, body, signature = self.signed().split(".")
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        return ".".join([_part({**header, **changes}), body, signature])

    def hmac(self) -> str:
        """The classic confusion: HS256, signed with the (public) key everybody has."""
        head, body, _ = self.reheaded(alg="HS256").split(".")
        public = (self.keys / "public" / f"{self.kid}.pem").read_bytes()
        mac = hmac.new(public, f"{head}.{body}".encode(), hashlib.sha256).digest()
        return f"{head}.{body}." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def of_another_key(self) -> str:
        """Signed with a thief's own key, under the name of ours."""
        mine = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(self.user_id), "iat": self.issued, "jti": "x"}
        key = Ed25519PrivateKey.generate()
        return jwt.encode({**mine, "exp": self.issued + 900}, key, algorithm=ALGORITHM, headers={"kid": self.kid})

    def with_own_body(self) -> str:
        """Our signature under another user's id."""
        head, body, signature = self.signed().split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return ".".join([head, _part({**claims, "sub": str(uuid.uuid4())}), signature])

    def revoked(self) -> str:
        token = self.signed(jti="signed-out")
        Revocations(self.memory).revoke("signed-out", self.issued + 900)
        return token

    def of_ended_sessions(self) -> str:
        end_all(self.memory, self.user_id)
        return self.signed()


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.fixture
def forger(keys: Path, user_id: uuid.UUID, memory: Memory) -> Forger:
    return Forger(keys, user_id, memory, Revocations(memory).now())


BAD: dict[str, Callable[[Forger], str]] = {
    "empty": lambda f: "",
    "garbage": lambda f: "three.dots.here",
    "a refresh token": lambda f: secrets.token_urlsafe(18) + secrets.token_urlsafe(32),
    "alg none": lambda f: f.reheaded(alg="none").rsplit(".", 1)[0] + ".",
    "HS256 with the public key": lambda f: f.hmac(),
    "alg of another key": lambda f: f.reheaded(alg="ES256"),
    "no kid": lambda f: f.reheaded(kid=None),
    "number as kid": lambda f: f.reheaded(kid=7),
    "unknown kid": lambda f: f.reheaded(kid="A" * 43),
    "path as kid": lambda f: f.reheaded(kid="../private"),
    "absolute path as kid": lambda f: f.reheaded(kid=str(f.keys / "public" / f.kid)),
    "another's key": lambda f: f.of_another_key(),
    "another's id": lambda f: f.with_own_body(),
    "cut": lambda f: f.signed()[:-4],
    "expired": lambda f: f.signed(exp=f.issued - 60),
    "no exp": lambda f: f.signed(exp=None),
    "nbf in the future": lambda f: f.signed(nbf=f.issued + 600),
    "iat in the future": lambda f: f.signed(iat=f.issued + 600),
    "no iat": lambda f: f.signed(iat=None),
    "wrong iss": lambda f: f.signed(iss="somebody-else"),
    "no iss": lambda f: f.signed(iss=None),
    "wrong aud": lambda f: f.signed(aud="another-app"),
    "no aud": lambda f: f.signed(aud=None),
    "sub not a uuid": lambda f: f.signed(sub="admin"),
    "no sub": lambda f: f.signed(sub=None),
    "no jti": lambda f: f.signed(jti=None),
    "jti not a text": lambda f: f.signed(jti=7),
    "signed out": lambda f: f.revoked(),
    "of ended sessions": lambda f: f.of_ended_sessions(),
    "older than the list of refused": lambda f: f.signed(iat=f.issued - 1),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_token_is_refused(forger: Forger, bad: Callable[[Forger], str]) -> None:
    verifier = Verifier(forger.keys / "public", Revocations(forger.memory))
    assert verifier.user(forger.signed()) == forger.user_id, "the forger can make a good one"
    with pytest.raises(BadToken):
        verifier.user(bad(forger))


# --- what is refused later


def test_who_signed_out_is_refused_and_nobody_else(keys: Path, user_id: uuid.UUID, memory: Memory) -> None:
    revocations = Revocations(memory)
    verifier, at = Verifier(keys / "public", revocations), revocations.now()
    one, other = (_signer(keys).issue(user_id, at=at).token for _ in range(2))
    claims = verifier.claims(one)
    revocations.revoke(claims.jti, claims.expires_at)
    with pytest.raises(BadToken, match="refused"):
        verifier.user(one)
    assert verifier.user(other) == user_id


def test_the_list_forgets_a_token_when_it_has_expired_anyway(memory: Memory, own_redis_url: str) -> None:
    revocations = Revocations(memory)
    revocations.revoke("a", revocations.now() + 900)
    revocations.revoke("b", revocations.now() - 900)
    left = {key: redis.Redis.from_url(own_redis_url).ttl(f"auth:revoked:{key}") for key in "ab"}
    assert 930 < left["a"] <= 900 + 121, "leeway of clocks included"
    assert left["b"] <= 1


def test_ended_sessions_are_those_issued_until_then(keys: Path, user_id: uuid.UUID, memory: Memory) -> None:
    revocations = Revocations(memory)
    verifier = Verifier(keys / "public", revocations)
    somebody = uuid.uuid4()
    before, others = (_signer(keys).issue(who, at=revocations.now()).token for who in (user_id, somebody))
    ended = end_all(memory, user_id)
    with pytest.raises(BadToken):
        verifier.user(before)
    with pytest.raises(BadToken):
        verifier.user(_signer(keys).issue(user_id, at=ended).token)
    assert verifier.user(others) == somebody
    assert verifier.user(_signer(keys).issue(user_id, at=revocations.now()).token) == user_id


def test_a_flushed_redis_lets_nobody_in(keys: Path, user_id: uuid.UUID, memory: Memory, own_redis_url: str) -> None:
    revocations = Revocations(memory)
    verifier = Verifier(keys / "public", revocations)
    before = [_signer(keys).issue(user_id, at=revocations.now()).token for _ in range(3)]
    assert verifier.user(before[0]) == user_id
    redis.Redis.from_url(own_redis_url).flushdb()
    for token in before:
        with pytest.raises(BadToken):
            verifier.user(token)
    assert verifier.user(_signer(keys).issue(user_id, at=revocations.now()).token) == user_id


def test_a_token_is_never_older_than_the_list_though_a_clock_was_set_back(memory: Memory, own_redis_url: str) -> None:
    later = round((time.time() + 3) * 1e6)
    redis.Redis.from_url(own_redis_url).set(SENTINEL, later)
    assert Revocations(memory).now() == later / 1e6


def test_while_redis_is_away_signature_and_expiry_count(keys: Path, user_id: uuid.UUID) -> None:
    verifier = Verifier(keys / "public", Revocations(Memory("redis://127.0.0.1:9/0")))
    begun = time.monotonic()
    assert verifier.user(_signer(keys).issue(user_id).token) == user_id
    with pytest.raises(BadToken, match="Expired"):
        verifier.user(_signer(keys).issue(user_id, at=time.time() - 1000).token)
    assert time.monotonic() - begun < 1


# --- keys


def test_outsiders_verify_with_the_published_keys(keys: Path, user_id: uuid.UUID) -> None:
    (keys / "public" / "README").write_text("not a key")
    (keys / "public" / f"{'A' * 43}.pem").write_bytes(next((keys / "public").glob("*.pem")).read_bytes())
    published = json.loads(json.dumps(jwks(keys / "public")))
    assert len(published["keys"]) == 1
    assert set(published["keys"][0]) == {"kty", "crv", "x", "kid", "use", "alg"}, "nothing private"
    token = _signer(keys).issue(user_id).token
    key = jwt.PyJWKSet.from_dict(published)[jwt.get_unverified_header(token)["kid"]]
    said = jwt.decode(token, key.key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER)
    assert said["sub"] == str(user_id)


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


def test_a_key_that_another_thread_forgets_at_once_still_verifies(keys: Path, user_id: uuid.UUID) -> None:
    class Forgetful(dict[str, Any]):
        def __setitem__(self, kid: str, known: Any) -> None:
            """As after the `pop` of a thread that found the file away."""

    verifier = Verifier(keys / "public")
    verifier._known = Forgetful()
    assert verifier.user(_signer(keys).issue(user_id).token) == user_id


def test_a_public_key_under_another_name_is_not_trusted(keys: Path, user_id: uuid.UUID) -> None:
    token = _signer(keys).issue(user_id).token
    (mine,) = (keys / "public").glob("*.pem")
    new_pair(keys / "other.pem", keys / "elsewhere")
    (other,) = (keys / "elsewhere").glob("*.pem")
    mine.write_bytes(other.read_bytes())
    with pytest.raises(BadToken, match="does not hold"):
        Verifier(keys / "public").user(token)
