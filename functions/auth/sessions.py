"""Sessions: a short access token that anybody can verify, and a long refresh token that only Redis knows.

A refresh token is opaque, is kept as a hash, and works once: it is answered with the next one of its family. So one
that comes a second time was copied, and nobody can say who holds which: the family dies. Only right after its use
(`grace`) a second use is taken for what it mostly is, two requests of one app at the same moment: the later is told
`Used`, gets nothing, and the family lives.

A family is one hash in Redis: whose it is, when it began, the hashes of its living and its last token.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import redis

from functions.auth.answers import Kind, SignedIn
from functions.shared.memory import Memory
from functions.shared.revocations import SENTINEL, Revocations, end_all, ended_key, microseconds
from functions.shared.tokens import Signer

#: A refresh token that is not used for so long is worth nothing any more.
REFRESH_LIFETIME = timedelta(days=7)

_FAMILY = 24  # characters of a token that name its family: 144 bits; the other 43 are 256 bits nobody can guess
_TOKEN = re.compile(r"[A-Za-z0-9_-]{67}")

_RENEW = """
local kept = redis.call('HMGET', KEYS[1], 'living', 'last', 'began', 'renewed')
if not kept[1] then return 'gone' end
local began, ended, complete = tonumber(kept[3]), redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3])
if (ended and began <= tonumber(ended)) or not complete or began < tonumber(complete) then
  redis.call('DEL', KEYS[1])
  return 'gone'
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if kept[1] == ARGV[1] then
  redis.call('HSET', KEYS[1], 'living', ARGV[2], 'last', ARGV[1], 'renewed', string.format('%.0f', now))
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  return 'renewed'
end
if kept[2] == ARGV[1] and now - tonumber(kept[4]) < tonumber(ARGV[3]) then return 'used' end
redis.call('DEL', KEYS[1])
return 'replayed'
"""


class Gone(Exception):
    """The refresh token opens nothing: expired, ended, replayed, or never issued."""


class Used(Exception):
    """The refresh token was used a moment ago: who did that has the next one."""


@dataclass(frozen=True, slots=True)
class Session:
    """What somebody gets who has shown who they are; both lifetimes in seconds."""

    user_id: uuid.UUID
    token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int = int(REFRESH_LIFETIME.total_seconds())

    def told(self, kind: Kind) -> SignedIn:
        """As the API answers it; `kind` of the user: guest or account."""
        return {
            "user_id": str(self.user_id),
            "token": self.token,
            "expires_in": self.expires_in,
            "refresh_token": self.refresh_token,
            "refresh_expires_in": self.refresh_expires_in,
            "kind": kind,
        }


class Sessions:
    """Opens, renews and ends sessions in `memory`; `grace` in seconds. Everything raises Away without Redis."""

    def __init__(self, memory: Memory, signer: Signer, *, grace: float) -> None:
        self._memory, self._signer, self._grace = memory, signer, grace
        self._revocations = Revocations(memory)

    def now(self) -> float:
        """The time for `open`. Read it before looking at what gives the right to a session: if that is taken away
        meanwhile, the session is already over when it begins."""
        return self._revocations.now()

    def open(self, user_id: uuid.UUID, at: float) -> Session:
        """A new family for `user_id` that begins `at`, and its first two tokens. The access token says that its bearer
        has just signed in, as the later ones of the family do not (who deletes an account must have one that does)."""
        family, token = _named(secrets.token_urlsafe(18))
        kept: dict[Any, Any] = {"user": str(user_id), "living": _hash(token), "began": microseconds(at)}
        issued = self._signer.issue(user_id, at=at, signed_in_at=at)

        def keep(server: redis.Redis) -> None:
            with server.pipeline() as both:
                both.hset(family, mapping=kept)
                both.expire(family, REFRESH_LIFETIME)
                both.execute()

        self._memory.ask(keep)
        return Session(user_id, issued.token, issued.expires_in, token)

    def restart(self, user_id: uuid.UUID) -> Session:
        """End everything the user had, and open one new session, since a password was just said."""
        return self.open(user_id, end_all(self._memory, user_id) + 1e-6)

    def owner(self, refresh_token: str) -> uuid.UUID:
        """Whose family the token is of, used or not. Gone where there is none."""
        if not _TOKEN.fullmatch(refresh_token):
            raise Gone
        kept = cast("bytes | None", self._memory.ask(lambda server: server.hget(_key(refresh_token), "user")))
        if kept is None:
            raise Gone
        return uuid.UUID(kept.decode())

    def renew(self, refresh_token: str, user_id: uuid.UUID) -> Session:
        """The next two tokens of a session of `user_id`. Raises Gone or Used."""
        at = self.now()
        family, token = _named(refresh_token[:_FAMILY])
        answer = self._memory.ask(
            lambda server: server.register_script(_RENEW)(
                [family, ended_key(user_id), SENTINEL],
                [
                    _hash(refresh_token),
                    _hash(token),
                    microseconds(self._grace),
                    str(int(REFRESH_LIFETIME.total_seconds())),
                ],
            )
        )
        if answer == b"used":
            raise Used
        if answer != b"renewed":
            raise Gone
        issued = self._signer.issue(user_id, at=at)
        return Session(user_id, issued.token, issued.expires_in, token)

    def close(self, refresh_token: str, user_id: uuid.UUID) -> None:
        """End the family of a refresh token of `user_id`; another's, or none, is left alone."""
        try:
            if self.owner(refresh_token) != user_id:
                return
        except Gone:
            return
        self._memory.ask(lambda server: server.delete(_key(refresh_token)))

    def revoke(self, jti: str, expires_at: float) -> None:
        """Refuse one access token from now on."""
        self._revocations.revoke(jti, expires_at)


def _named(family: str) -> tuple[str, str]:
    """The key of a family, and a new token of it."""
    token = family + secrets.token_urlsafe(32)
    return _key(token), token


def _key(token: str) -> str:
    return f"auth:family:{token[:_FAMILY]}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
