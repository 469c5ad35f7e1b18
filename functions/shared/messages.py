"""The one catalogue of everything a citizen reads: `messages.json`, key → {"ko", "en"}; Korean first, English second.

Standard library only; read once, on first use.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

LOCALES = ("ko", "en")
DEFAULT_LOCALE = "ko"

_FILE = Path(__file__).with_name("messages.json")
_QUALITY = re.compile(r"^q=([01](?:\.\d{0,3})?)$")


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """All messages: key → locale → text with `{name}` places."""
    loaded: dict[str, dict[str, str]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return loaded


def text(key: str, locale: str = DEFAULT_LOCALE, **values: object) -> str:
    """The message in `locale`, places filled. KeyError for a key nobody wrote (a test finds those)."""
    return catalogue()[key][locale].format(**values)


def text_or(key: str, fallback: str, locale: str = DEFAULT_LOCALE) -> str:
    """The message, or `fallback` where data names a code that the catalogue does not know (yet)."""
    entry = catalogue().get(key)
    return entry[locale] if entry else fallback


def strings(locale: str, *prefixes: str) -> dict[str, str]:
    """The messages of one locale whose keys start with one of `prefixes`, for the page."""
    return {key: entry[locale] for key, entry in catalogue().items() if key.startswith(prefixes)}


def choose_locale(accept_language: str | None) -> str:
    """Best of our locales for an Accept-Language header; Korean where it names neither."""
    best, best_quality = DEFAULT_LOCALE, 0.0
    for part in (accept_language or "").split(","):
        tag, _, parameter = part.strip().partition(";")
        language = tag.strip().lower().split("-")[0]
        match = _QUALITY.match(parameter.strip()) if parameter else None
        quality = float(match.group(1)) if match else 1.0
        if language in LOCALES and quality > best_quality:
            best, best_quality = language, quality
    return best
