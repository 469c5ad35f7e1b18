"""From names that were found to the items that are meant: how well each accounts for the question.

Three signals: the name as said (or by its sound), the name with a typo, and nearness of meaning. They are fused so
that two agreeing signals are surer than either, and meaning alone is never as sure as a name. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from functions.shared.hangul import distance, normal
from functions.shared.phrases import Reading, Span

#: At least this much of a name's sound must agree; shorter names must agree better, because one letter makes another
#: word.
_ALIKE = ((6, 0.83), (9, 0.77), (99, 0.7))

#: What a name that only sounds the same, or was typed with a fault, is worth of an exact one.
_SOUND, _TYPO = 0.98, 0.94

#: How much of the remaining doubt nearness of meaning takes away.
_MEANING = 0.62


@dataclass(frozen=True, slots=True)
class Match:
    """An item with its score, 0 to 1; `named` is what its name alone is worth, `length` how much of the question that
    is.
    """

    item_id: str
    score: float
    named: float = 0.0
    near: float = 0.0
    length: int = 0
    headless: bool = False  # another thing follows, which this name merely describes


def rank(reading: Reading, rows: Iterable[Mapping[str, Any]], near: Mapping[str, float]) -> list[Match]:
    """Best first. `rows` have id and hits ([key, name, phrase|None]); `near` maps item ids to nearness, 0 to 1."""
    by_key: dict[str, list[Span]] = {}
    for span in reading.spans:
        by_key.setdefault(span.key, []).append(span)
    windows = {span.key: span for span in reading.windows}
    best: dict[str, tuple[float, int, bool]] = {}
    for row in rows:
        found: dict[Span, float] = {}
        for key, name, phrase in row["hits"] or ():
            for span in by_key.get(key, ()) if phrase is None else [windows[phrase]]:
                likeness = _likeness(reading, span, key, name)
                if likeness:
                    found[span] = max(found.get(span, 0.0), likeness)
        for first, second in permutations(list(found), 2):  # "시럽 약": two names of one thing are one longer name
            if first.end == second.start:
                found[reading.span(first.start, second.end)] = min(found[first], found[second])
        for span, likeness in found.items():
            named = (likeness * reading.explained(span), span.end - span.start, reading.headless(span))
            best[row["id"]] = max(best.get(row["id"], named), named)
    return sorted(
        (_fused(item_id, *best.get(item_id, (0.0, 0, False)), near.get(item_id, 0.0)) for item_id in {**best, **near}),
        key=lambda m: (-round(m.score, 3), -m.length, -m.near, m.item_id),
    )


def _fused(item_id: str, named: float, length: int, headless: bool, near: float) -> Match:
    weight = _MEANING * near * (0.3 if headless else 1)
    return Match(item_id, 1 - (1 - named) * (1 - weight), named, near, length, headless)


def _likeness(reading: Reading, span: Span, key: str, name: str) -> float:
    if key == span.key:
        if normal(name) == reading.letters[span.start : span.end]:
            return 1.0
        return _SOUND if span.end - span.start > 1 else 0.0
    if key.startswith(span.key) or span.key.startswith(key):
        return 0.0  # not a typo, but a word more or less
    longer = max(len(key), len(span.key))
    alike = 1 - distance(key, span.key) / longer
    needed = next(share for length, share in _ALIKE if longer <= length)
    return _TYPO * alike if alike >= needed else 0.0
