"""From what was found to what is meant: how probable each item is, and that it is none of them.

Every candidate is described by a few numbers (how its name was said and where it stands in the question, how near its
meaning is, how likely the wording makes it), weighed and compared: a softmax over the candidates and "none of these".
The weights in `weights.py` were fitted on the tuning questions by `rag-index/fit.py`. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.shared import topics
from functions.shared.hangul import SLIP, distance, normal, slips
from functions.shared.parts import PART
from functions.shared.phrases import Reading, Span
from functions.shared.weights import BY_MEANING, BY_NAME, NONE_BY_MEANING, NONE_BY_NAME
from functions.shared.wording import LIKELY, OTHER

#: At least this much of a name's sound must agree; shorter names must agree better, because one letter makes another
#: word.
_ALIKE = ((4, 0.9), (6, 0.83), (9, 0.77), (99, 0.7))

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
    "done",  # it is denied or dealt with before something else is asked about
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
    "crowd",  # its share of the names that are nearest in meaning, the nearer the more
    "alike_far",  # likeness of a name that means something else
    "said_far",  # a name said that means something else
    "worded",  # its share of what the wording speaks for, among all candidates (a word for several has none)
    "worded_at_all",  # and how likely it makes it: the logarithm, from 0 for _LEAST up
)
#: What speaks for none of the candidates.
NONE_FEATURES = ("bias", "other_topic", "elsewhere", "strange", "said", "near", "disposal", "outside", "worded")

#: How much more a name counts in the crowd that is nearer by one (a cosine).
_NEARER = 8.0
#: Of what the wording makes likely, less than this is as good as nothing.
_LEAST = 1e-4


@dataclass(frozen=True, slots=True)
class Match:
    """An item, or a word for several, with the probability that it is meant; `said` is where, if by name."""

    item_id: str
    score: float
    said: Span | None = None


def rank(
    reading: Reading,
    rows: Sequence[Mapping[str, Any]],
    near: Mapping[str, float] | None,
    worded: Mapping[str, float],
) -> tuple[list[Match], float]:
    """Best first, and the probability of none. `rows` have id, kind, doc, hits ([key, name, phrase|None]) and crowd.

    `near`: item → nearness of meaning; None where no embedding was made. `crowd`: how near those of its names are
    that are among the nearest of all. `worded`: item → how likely by the wording.
    """
    view = _View(reading, rows, near, worded)
    candidates, none = view.described()
    weights, of_none = (BY_NAME, NONE_BY_NAME) if near is None else (BY_MEANING, NONE_BY_MEANING)
    sums = {item_id: _sum(weights, features) for item_id, features in candidates.items()}
    nobody = _sum(of_none, none)
    top = max([nobody, *sums.values()])
    powers = {item_id: math.exp(value - top) for item_id, value in sums.items()}
    total = math.exp(nobody - top) + sum(powers.values())
    matches = [Match(item_id, power / total, view.said.get(item_id)) for item_id, power in powers.items()]
    return sorted(matches, key=lambda m: (-m.score, m.item_id)), math.exp(nobody - top) / total


def described(
    reading: Reading,
    rows: Sequence[Mapping[str, Any]],
    near: Mapping[str, float] | None,
    worded: Mapping[str, float],
) -> tuple[dict[str, list[float]], list[float]]:
    """Item → its FEATURES, and the NONE_FEATURES."""
    return _View(reading, rows, near, worded).described()


def whole(item_id: str) -> str:
    """The item that a part belongs to; any other item is whole."""
    return item_id.partition(PART)[0]


class _View:
    """A question beside everything that was found for it."""

    def __init__(
        self,
        reading: Reading,
        rows: Sequence[Mapping[str, Any]],
        near: Mapping[str, float] | None,
        worded: Mapping[str, float],
    ) -> None:
        self.reading, self._worded = reading, worded
        self._of_all = sum(worded.get(row["id"], 0.0) for row in rows) + worded.get(OTHER, 0.0)
        self.rows = [row for row in rows if row["kind"] != "outside"]
        choices = [row for row in self.rows if row["kind"] == "choice"]
        self._measured, near = near is not None, near or {}
        self._outside = max((near.get(row["id"], 0.0) for row in rows if row["kind"] == "outside"), default=0.0)
        self._near = {row["id"]: near[row["id"]] for row in self.rows if row["id"] in near}
        for row in choices if self._measured else ():  # a word for several is as near as the nearest of them
            self._near[row["id"]] = max(near.get(option, -1.0) for option in row["doc"]["options"])
        self._nearest = sorted(self._near.values(), reverse=True)
        crowd = {row["id"]: sum(math.exp(_NEARER * cosine) for cosine in row["crowd"] or ()) for row in self.rows}
        crowded = sum(crowd.values()) if self._measured else 0.0
        self._crowd = {item_id: share / crowded for item_id, share in crowd.items()} if crowded else {}
        self._windows = {span.key: span for span in reading.windows}
        self._spans: dict[str, list[Span]] = {}
        for span in reading.said:
            self._spans.setdefault(span.key, []).append(span)
        words = {key: row["doc"]["options"] for row in choices for key, _, phrase in row["hits"] or () if not phrase}
        #: Where a word for several things begins: what stands before it must be one of them ("칫솔 케이스").
        self._taken = {span.start: words[span.key] for span in reading.said if span.key in words}
        heads = {span.key for span in reading.said if span.key in words and reading.place(span).heads}
        self._options = {option for key in heads for option in words[key]}
        self._typo = 0.0  # the best likeness of a name with a typo
        #: Item → where it was said, of those that were looked at.
        self.said: dict[str, Span] = {}

    def described(self) -> tuple[dict[str, list[float]], list[float]]:
        """Item → its FEATURES, and the NONE_FEATURES."""
        found = {row["id"]: features for row in self.rows if (features := self._candidate(row))}
        return found, self._nobody()

    def _candidate(self, row: Mapping[str, Any]) -> list[float] | None:
        """What speaks for and against a row; None where nothing does."""
        of = whole(row["id"])
        own, meant = self._near.get(of, 0.0), of in self._near
        hits = [
            (span, alike)
            for span, alike in _hits(self.reading, row["hits"] or (), self._spans, self._windows)
            if row["id"] in self._taken.get(span.end, [row["id"]])
        ]
        if of != row["id"] and not any(alike >= _SOUNDS for _, alike in hits):
            return None  # a part is meant only where it is named
        worded = self._worded.get(of, 0.0)
        self._typo = max([self._typo, *(alike for _, alike in hits if alike < _SOUNDS)])
        if not hits and (not meant or own <= 0) and worded < LIKELY:
            return None
        best = self._nearest[0] if self._nearest else 0.0
        second = self._nearest[1] if len(self._nearest) > 1 else best
        word = float(row["kind"] == "choice")
        meaning = [
            word,
            word * (1 - max((self.reading.place(span).cover for span, _ in hits), default=1.0)),
            float(row["id"] in self._options and not hits),
            own,
            own - (second if own == best else best),
            float(self._measured and own == best),
            0.0 if hits else own,
            self._crowd.get(of, 0.0),
        ]
        far = (1 - own) * self._measured
        wording = [
            worded / self._of_all if worded else 0.0,
            math.log(max(worded, _LEAST) / _LEAST),
        ]
        ways = [
            [*_said(self.reading, span, alike), *meaning, far * (alike < _SOUNDS), far * (alike >= _SOUNDS), *wording]
            for span, alike in hits
        ]
        if not ways:
            return [*[0.0] * (len(FEATURES) - len(meaning) - 4), *meaning, 0.0, 0.0, *wording]
        way, self.said[row["id"]] = max(
            zip(ways, (span for span, _ in hits), strict=True), key=lambda told: _sum(BY_NAME, told[0])
        )
        return way

    def _nobody(self) -> list[float]:
        """What speaks for none of the candidates, once all were looked at."""
        reading = self.reading
        return [
            1.0,
            float(reading.other_topic),
            topics.elsewhere(reading.around),
            reading.strange * (1 - self._typo),
            float(bool(reading.said)),
            max(self._nearest[0], 0.0) if self._nearest else 0.0,
            float(reading.disposal),
            self._outside,
            self._worded.get(OTHER, 0.0),
        ]


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
        float(place.done),
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
    needed = next(share for length, share in _ALIKE if longer <= length)
    if 1 - distance(key, said) * SLIP / longer < needed:  # the quick count first
        return 0.0
    alike = 1 - slips(key, said) / longer
    return 0.1 + 0.89 * (alike - needed) / (1 - needed) if alike >= needed else 0.0


def _sum(weights: Sequence[float], features: Sequence[float]) -> float:
    return sum(w * f for w, f in zip(weights, features, strict=True))
