"""From what was found to what is meant: how probable each item is, and that it is none of them.

Every candidate is described by a few numbers (how its name was said and where it stands in the question, how near its
meaning is), weighed and compared: a softmax over the candidates and "none of these". The weights in `weights.py` were
fitted on the tuning half of the labelled questions by `rag-index/fit.py`. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.shared.hangul import distance, normal
from functions.shared.phrases import Reading, Span
from functions.shared.weights import BY_MEANING, BY_NAME, NONE_BY_MEANING, NONE_BY_NAME

#: At least this much of a name's sound must agree; shorter names must agree better, because one letter makes another
#: word.
_ALIKE = ((6, 0.83), (9, 0.77), (99, 0.7))

#: A name that only sounds the same ("조기", "조끼").
_SOUNDS = 0.995

#: What `described` says of a candidate, in the order of the weights.
FEATURES = (
    "exact",  # its name was said, letter for letter in sound
    "sounds",  # though written otherwise
    "inside",  # but within another word
    "alike",  # or with a typo: how alike, beyond the least
    "length",  # of that name, up to six letters
    "aside",  # it says where or by what
    "next",  # another name follows at once
    "held",  # a bag, a box or a lid of it was named
    "tells",  # it belongs to what is told of a later name
    "later",  # other names follow
    "after",  # a further thing follows that it merely describes
    "joined",  # something unknown is written together with its front
    "cover",  # how much of what is named it explains
    "most",  # how much of that by known names
    "whole",  # it explains everything
    "head",  # said, and nothing speaks against its being the thing
    "head_length",  # and how long it is
    "head_first",  # before any other name
    "head_last",  # after every other name
    "word",  # the item is a word for several things
    "word_of",  # and of something more that was named
    "option",  # a word for several things was said, and it is one of them
    "near",  # nearness of meaning
    "nearest",  # how much nearer than the next one
    "first",  # the nearest
    "near_unsaid",  # nearness where no name was said
    "alike_far",  # likeness of a name that means something else
)
#: What speaks for none of the candidates.
NONE_FEATURES = ("bias", "other_topic", "asks", "strange", "said", "near", "disposal")


@dataclass(frozen=True, slots=True)
class Match:
    """An item, or a word for several, with the probability that it is meant."""

    item_id: str
    score: float


def rank(
    reading: Reading, rows: Sequence[Mapping[str, Any]], near: Mapping[str, float] | None
) -> tuple[list[Match], float]:
    """Best first, and the probability of none. `rows` have id, kind, doc and hits ([key, name, phrase|None]).

    `near`: item → nearness of meaning; None where no embedding was made.
    """
    candidates, none = described(reading, rows, near)
    weights, of_none = (BY_NAME, NONE_BY_NAME) if near is None else (BY_MEANING, NONE_BY_MEANING)
    sums = {item_id: _sum(weights, features) for item_id, features in candidates.items()}
    nobody = _sum(of_none, none)
    top = max([nobody, *sums.values()])
    powers = {item_id: math.exp(value - top) for item_id, value in sums.items()}
    whole = math.exp(nobody - top) + sum(powers.values())
    matches = [Match(item_id, power / whole) for item_id, power in powers.items()]
    return sorted(matches, key=lambda m: (-m.score, m.item_id)), math.exp(nobody - top) / whole


def described(
    reading: Reading, rows: Sequence[Mapping[str, Any]], near: Mapping[str, float] | None
) -> tuple[dict[str, list[float]], list[float]]:
    """Item → its FEATURES, and the NONE_FEATURES."""
    by_key: dict[str, list[Span]] = {}
    for span in reading.said:
        by_key.setdefault(span.key, []).append(span)
    windows = {span.key: span for span in reading.windows}
    near = near and {**near, **_of_words(rows, near)}
    distances = sorted((near or {}).values(), reverse=True)
    words = {
        key: row["doc"]["options"]
        for row in rows
        if row["kind"] == "choice"
        for key, _, phrase in row["hits"] or ()
        if not phrase
    }
    taken = {span.start: words[span.key] for span in reading.said if span.key in words}
    typo = 0.0  # the best likeness of a name with a typo
    options = {
        option
        for row in rows
        if row["kind"] == "choice"
        and any(reading.place(span).heads for key, _, _ in row["hits"] or () for span in by_key.get(key, ()))
        for option in row["doc"]["options"]
    }
    found: dict[str, list[float]] = {}
    for row in rows:
        own = (near or {}).get(row["id"], 0.0)
        hits = [
            (span, alike)
            for span, alike in _hits(reading, row["hits"] or (), by_key, windows)
            if row["id"] in taken.get(span.end, [row["id"]])  # "칫솔 케이스" is no toothbrush
        ]
        typo = max([typo, *(alike for _, alike in hits if alike < _SOUNDS)])
        if not hits and (near is None or own <= 0):
            continue
        best = distances[0] if distances else 0.0
        lead = own - (distances[1] if own == best and len(distances) > 1 else best)
        word = float(row["kind"] == "choice")
        rest = word * (1 - max((reading.place(span).cover for span, _ in hits), default=1.0))
        meaning = [
            word,
            rest,
            float(row["id"] in options and not hits),
            own,
            lead,
            float(near is not None and own == best),
            0.0 if hits else own,
        ]
        ways = [
            [
                *_said(reading, span, alike),
                *meaning,
                (1 - own) * (alike < _SOUNDS and near is not None),
            ]
            for span, alike in hits
        ] or [[0.0] * (len(FEATURES) - len(meaning) - 1) + meaning + [0.0]]
        found[row["id"]] = max(ways, key=lambda way: _sum(BY_NAME, way))
    none = [
        1.0,
        float(reading.other_topic),
        float(reading.asks),
        reading.strange * (1 - typo),
        float(bool(reading.said)),
        max(distances[0], 0.0) if distances else 0.0,
        float(reading.disposal),
    ]
    return found, none


def _of_words(rows: Sequence[Mapping[str, Any]], near: Mapping[str, float]) -> dict[str, float]:
    """A word for several things is as near as the nearest of them."""
    words = (row for row in rows if row["kind"] == "choice")
    return {row["id"]: max(near.get(option, -1.0) for option in row["doc"]["options"]) for row in words}


def _hits(
    reading: Reading, hits: Iterable[Sequence[Any]], by_key: Mapping[str, list[Span]], windows: Mapping[str, Span]
) -> Iterable[tuple[Span, float]]:
    """The places where a name was said (1, or _SOUNDS), or nearly (how alike, beyond the least that counts)."""
    for key, name, phrase in hits:
        if phrase is None:
            for span in by_key.get(key, ()):
                same = normal(name) in (reading.letters[span.start : span.end], span.letters)
                yield span, 1.0 if same else _SOUNDS
        elif alike := _likeness(windows[phrase].key, key):
            yield windows[phrase], alike


def _said(reading: Reading, span: Span, alike: float) -> list[float]:
    place = reading.place(span)
    head = alike >= _SOUNDS and place.heads
    return [
        float(alike >= _SOUNDS and not place.compound),
        float(alike == _SOUNDS),
        float(alike >= _SOUNDS and place.compound > 0),
        alike if alike < _SOUNDS else 0.0,
        min(span.end - span.start, 6) / 6,
        float(place.aside),
        float(place.next),
        float(place.held),
        float(place.tells),
        min(place.later, 2) / 2,
        place.after,
        place.joined,
        place.cover,
        place.most,
        float(place.cover == 1 and alike >= _SOUNDS),
        float(head),
        head * min(span.end - span.start, 6) / 6,
        float(head and not place.earlier),
        float(head and not place.later),
    ]


def _likeness(said: str, key: str) -> float:
    if key.startswith(said) or said.startswith(key):
        return 0.0  # not a typo, but a word more or less
    longer = max(len(key), len(said))
    alike = 1 - distance(key, said) / longer
    needed = next(share for length, share in _ALIKE if longer <= length)
    return 0.1 + 0.89 * (alike - needed) / (1 - needed) if alike >= needed else 0.0


def _sum(weights: Sequence[float], features: Sequence[float]) -> float:
    return sum(w * f for w, f in zip(weights, features, strict=True))
