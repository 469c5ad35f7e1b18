"""Passwords: only a bcrypt hash is kept, and whoever asks for somebody we do not know waits just as long.

bcrypt reads 72 bytes and stops at a NUL. So it is given a digest of the password (SHA-512 in base64 without NULs, its
first 72 characters: 432 bits), which no length and no byte can shorten. Before that the password is brought into NFC:
the same Korean syllables come composed from one keyboard and as single letters from another.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata

import bcrypt

#: Characters of a password, as NFC. The most is only there to bound the work.
SHORTEST, LONGEST = 8, 128

_READ_BY_BCRYPT = 72


def normalised(password: str) -> str:
    """The password as it is counted and hashed: NFC."""
    return unicodedata.normalize("NFC", password)


class Passwords:
    """Makes and checks hashes; one takes 2 to the `cost` rounds of bcrypt (12: a quarter of a second of one core)."""

    def __init__(self, cost: int = 12) -> None:
        self._cost = cost
        # As good as a hash for taking time, and nothing hashes to it.
        self._nobody = bcrypt.gensalt(cost) + b"." * 31

    def hashed(self, password: str) -> str:
        """What is kept of `password`, with a salt of its own."""
        return bcrypt.hashpw(_digest(password), bcrypt.gensalt(self._cost)).decode()

    def match(self, password: str, kept: str | None) -> bool:
        """True if `kept` was made of `password`. None, where there is nobody, takes as long and is False."""
        same = bcrypt.checkpw(_digest(password), kept.encode() if kept else self._nobody)
        return same and kept is not None

    def outdated(self, kept: str) -> bool:
        """True where the hash was made with another cost than is used now."""
        return kept.split("$")[2] != f"{self._cost:02d}"


def _digest(password: str) -> bytes:
    given = normalised(password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hashlib.sha512(given).digest())[:_READ_BY_BCRYPT]
