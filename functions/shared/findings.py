"""From matches to an answer: an item and where it goes, the one question that decides, or the plain truth.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from functions.shared import messages
from functions.shared.conditions import State
from functions.shared.decisions import Question as Asking
from functions.shared.decisions import Resolution, active, resolve, said
from functions.shared.matching import Match
from functions.shared.phrases import Reading
from functions.shared.regions import exception_for

#: A match is certain from SURE on, worth asking about from MAYBE on; nearer than MARGIN, two candidates are rivals.
SURE, MAYBE, MARGIN = 0.74, 0.52, 0.06
#: Without a name, meaning may ask (never decide) from this nearness on, and settle which thing a word for several
#: means.
_NEAR, _LEAD = 0.58, 0.2
#: Below this a candidate is not offered as an answer, only shown as one of the nearest.
_FAINT = 0.3
_OPTIONS = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that may be meant; `destinations` are those still possible in the given state."""

    id: str
    name: str
    score: float
    destinations: list[str]


@dataclass(frozen=True, slots=True)
class Option:
    """An answer to a question: it settles the item and what becomes known of its state."""

    id: str
    label: dict[str, str]
    item_id: str
    state: dict[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """The one question whose answer decides."""

    text: dict[str, str]
    options: list[Option]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the best candidate that goes elsewhere."""

    name: str
    destination: str


@dataclass(frozen=True, slots=True)
class Found:
    """`decision`: match, ambiguous (then `question`) or not_found (candidates are then merely the nearest).

    `state` is what was given and what the words said; `ms` the time it took.
    """

    decision: str
    candidates: list[Candidate]
    question: Question | None
    parts: list[Part]
    state: State
    ms: float


class Finding:
    """One search under way: what was asked, and the items seen so far."""

    def __init__(
        self, *, reading: Reading, state: State, region: str | None, housing: str | None, on: date, limit: int
    ) -> None:
        self.reading, self.state, self.region, self.housing = reading, state, region, housing
        self.on, self.limit = on, limit
        self.items: dict[str, Mapping[str, Any]] = {}

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Items (rows of the index) that may be meant, or that a word for several stands for."""
        self.items.update({row["id"]: row for row in rows})

    def decide(self, matches: list[Match]) -> Found:
        """The answer, given how well each item accounts for the question (best first)."""
        best = matches[0] if matches else None
        if best is None or not self._worth_asking(best):
            return self._found("not_found", self._candidates(matches))
        best = self._meant(best, matches)
        doc = self.items[best.item_id]["doc"]
        if self.items[best.item_id]["kind"] == "choice":
            options = [replace(best, item_id=option) for option in doc["options"]]
            return self._found(
                "ambiguous",
                self._candidates([*options, *matches]),
                self._which(options, {k: doc[k] for k in ("ko", "en")}),
            )
        others = [m for m in matches if m.item_id != best.item_id and self.items[m.item_id]["kind"] == "item"]
        things = [best, *others]
        if best.score < SURE:
            rivals = [m for m in others if m.score >= _FAINT]
            return self._found("ambiguous", self._candidates(things), self._which([best, *rivals]))
        rivals = [m for m in others if best.score - m.score < MARGIN and self._codes(m) != self._codes(best)]
        if rivals:
            return self._found("ambiguous", self._candidates(things), self._which([best, *rivals]))
        self.state, resolution = self._outcome(best.item_id)
        asking = resolution.asking
        question = self._asked(best.item_id, asking) if asking else None
        return self._found("ambiguous" if question else "match", self._candidates(things), question, parts(doc))

    def _worth_asking(self, best: Match) -> bool:
        if self.reading.other_topic and best.length < len(self.reading.letters):
            return False
        return best.score >= MAYBE or (best.near >= _NEAR and not best.headless)

    def _meant(self, best: Match, matches: Sequence[Match]) -> Match:
        """A word for several things, with more said around it ("로션 병"): the one thing that is by far the nearest."""
        if self.items[best.item_id]["kind"] == "item" or best.named == 1:
            return best
        first, second, *_ = [*sorted(matches, key=lambda m: -m.near), Match("", 0.0), Match("", 0.0)]
        clear = first.near >= _NEAR and first.near - second.near >= _LEAD and not first.headless
        return replace(first, score=max(first.score, best.score)) if clear else best

    def _outcome(self, item_id: str) -> tuple[State, Resolution]:
        """What is known of it, including what only its own table understands, and what follows."""
        doc = self.items[item_id]["doc"]
        state = replace(self.state, **said(doc["decide"], self.reading.letters))
        return state, outcome(doc, facts(state, self.housing), self.region, self.on)

    def _codes(self, match: Match) -> list[str]:
        return self._outcome(match.item_id)[1].destinations

    def _candidates(self, matches: Sequence[Match]) -> list[Candidate]:
        """At most `limit` items; a choice stands for its options."""
        found: dict[str, Candidate] = {}
        for match in (m for m in matches if round(m.score, 3) > 0):
            row = self.items[match.item_id]
            for item_id in row["doc"]["options"] if row["kind"] == "choice" else [match.item_id]:
                if item_id in self.items and item_id not in found and len(found) < self.limit:
                    codes = self._outcome(item_id)[1].destinations
                    found[item_id] = Candidate(item_id, self.items[item_id]["name_ko"], round(match.score, 3), codes)
        return list(found.values())

    def _which(self, matches: Sequence[Match], text: dict[str, str] | None = None) -> Question:
        key = "search.which" if len(matches) > 1 else "search.is_it"
        ask = text or {locale: messages.text(key, locale) for locale in messages.LOCALES}
        options = []
        for match in matches[:_OPTIONS]:
            row = self.items[match.item_id]
            label = {"ko": row["name_ko"], "en": row["name_en"]}
            options.append(Option(match.item_id, label, match.item_id, self.state.known()))
        return Question(ask, options)

    def _asked(self, item_id: str, asking: Asking) -> Question:
        options = [
            Option(
                id=f"{item_id}:{option['values'][0]}",
                label={"ko": option["ko"], "en": option["en"]},
                item_id=item_id,
                state={**self.state.known(), asking["by"]: option["values"][0]},
            )
            for option in active(asking, self.on)
        ]
        return Question({"ko": asking["ko"], "en": asking["en"]}, options)

    def _found(
        self,
        decision: str,
        candidates: list[Candidate],
        question: Question | None = None,
        elsewhere: list[Part] | None = None,
    ) -> Found:
        return Found(decision, candidates, question, elsewhere or [], self.state, 0.0)


def facts(state: State, housing: str | None) -> dict[str, str]:
    """Axis → value for a decision table; the kind of home is the citizen's, unless the state knows better."""
    return {**({"housing": housing} if housing else {}), **state.known()}


def outcome(doc: Mapping[str, Any], known: Mapping[str, str], region: str | None, on: date) -> Resolution:
    """What follows for an item (its index document): a regional exception outweighs its table."""
    exception = exception_for(doc, region, on)
    return Resolution((exception["leaf"],)) if exception else resolve(doc["decide"], known, on)


def parts(doc: Mapping[str, Any]) -> list[Part]:
    """The parts of an item that go elsewhere."""
    return [Part(part["ko"], part["to"]) for part in doc["parts"]]
