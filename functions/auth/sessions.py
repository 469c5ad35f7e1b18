"""Sessions: a short access token that anybody can verify, and a long refresh token that only Redis knows.

A refresh token is opaque, is kept as a hash, and works once: it is answered with the next one of its family. So one
that comes a second time was copied, and nobody can say who holds which: the family dies. Only right after its use
(`grace`) a second use is taken for what it mostly is, two requests of one app at the same moment: the later is told
`Used`, gets nothing, and the family lives.

An answer may be lost on its way, and the only living token with it. So a client may choose the secret of the next token
itself, keep it, and then ask. Who comes again with the last token and the secret of the living one holds both already
and is answered as before, at any time: still there is one living token, and a thief who saw one of the two has nothing.

A family is one hash in Redis: whose it is, guest's or account's, when it began, the hashes of its living and its last
token.
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

#: The secret of a refresh token: 256 bits nobody can guess, url-safe.
SECRET = 43

_FAMILY = 24  # characters of a token that name its family: 144 bits; the secret follows
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{_FAMILY + SECRET}}}")

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
if kept[2] == ARGV[1] and kept[1] == ARGV[2] then return 'renewed' end
if kept[2] == ARGV[1] and now - tonumber(kept[4]) < tonumber(ARGV[3]) then return 'used' end
redis.call('DEL', KEYS[1])
return 'replayed'
"""


class Gone(Exception):
    """The refresh token opens nothing: expired, ended, replayed, or never issued."""


class Used(Exception):
    """The refresh token was used a moment ago: who did that has the next one."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a family is, and what they were when it began: guest or account."""

    user_id: uuid.UUID
    kind: Kind


@dataclass(frozen=True, slots=True)
class Session:
    """What somebody gets who has shown who they are; both lifetimes in seconds."""

    owner: Owner
    token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int = int(REFRESH_LIFETIME.total_seconds())

    def told(self) -> SignedIn:
        """As the API answers it."""
        return {
            "user_id": str(self.owner.user_id),
            "token": self.token,
            "expires_in": self.expires_in,
            "refresh_token": self.refresh_token,
            "refresh_expires_in": self.refresh_expires_in,
            "kind": self.owner.kind,
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

    def open(self, owner: Owner, at: float) -> Session:
        """A new family of `owner` that begins `at`, and its first two tokens. The access token says that its bearer
        has just signed in, as the later ones of the family do not (who deletes an account must have one that does)."""
        family = secrets.token_urlsafe(18)
        token = family + secrets.token_urlsafe(32)
        kept: dict[Any, Any] = {
            "user": str(owner.user_id),
            "kind": owner.kind,
            "living": _hash(token),
            "began": microseconds(at),
        }
        issued = self._signer.issue(owner.user_id, at=at, signed_in_at=at)

        def keep(server: redis.Redis) -> None:
            with server.pipeline() as both:
                both.hset(_key(token), mapping=kept)
                both.expire(_key(token), REFRESH_LIFETIME)
                both.execute()

        self._memory.ask(keep)
        return Session(owner, issued.token, issued.expires_in, token)

    def restart(self, user_id: uuid.UUID) -> Session:
        """End everything the user had, and open one new session of their account, since a password was just said."""
        return self.open(Owner(user_id, "account"), end_all(self._memory, user_id) + 1e-6)

    def owner(self, refresh_token: str) -> Owner:
        """Whose family the token is of, used or not. Gone where there is none."""
        if not _TOKEN.fullmatch(refresh_token):
            raise Gone
        answer = self._memory.ask(lambda server: server.hmget(_key(refresh_token), ["user", "kind"]))
        user, kind = cast("list[bytes | None]", answer)
        if user is None or kind is None:
            raise Gone
        return Owner(uuid.UUID(user.decode()), cast("Kind", kind.decode()))

    def renew(self, refresh_token: str, owner: Owner, secret: str | None = None) -> Session:
        """The next two tokens of a session of `owner`; the refresh token's secret is `secret` (SECRET characters) where
        the client has chosen one, which is another for every token. Raises Gone or Used."""
        at = self.now()
        token = refresh_token[:_FAMILY] + (secret or secrets.token_urlsafe(32))
        answer = self._memory.ask(
            lambda server: server.register_script(_RENEW)(
                [_key(refresh_token), ended_key(owner.user_id), SENTINEL],
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
        issued = self._signer.issue(owner.user_id, at=at)
        return Session(owner, issued.token, issued.expires_in, token)

    def close(self, refresh_token: str, user_id: uuid.UUID) -> None:
        """End the family of a refresh token of `user_id`; another's, or none, is left alone."""
        try:
            if self.owner(refresh_token).user_id != user_id:
                return
        except Gone:
            return
        self._memory.ask(lambda server: server.delete(_key(refresh_token)))

    def revoke(self, jti: str, expires_at: float) -> None:
        """Refuse one access token from now on."""
        self._revocations.revoke(jti, expires_at)


def _key(token: str) -> str:
    return f"auth:family:{token[:_FAMILY]}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
