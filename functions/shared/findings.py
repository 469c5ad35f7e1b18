"""From matches to an answer: an item and where it goes, the one question that decides, or the plain truth.

Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from functions.shared import conditions, decisions, messages
from functions.shared.conditions import State
from functions.shared.decisions import Question as Asking
from functions.shared.decisions import Resolution, active, resolve, said
from functions.shared.hangul import normal
from functions.shared.matching import Match
from functions.shared.phrases import Reading
from functions.shared.regions import exception_for

#: It is about none of the items from STRANGE on (but a name with nothing but its state is about it); else an answer is
#: certain where the items that lead to it have this share of all items' probability.
STRANGE, SURE = 0.12, 0.85
#: From here on nobody can know what is meant, as it was not said ("이거 어디에 버려요"): that comes before all else.
UNSAID = 0.3
#: A candidate is a rival from this probability on, and shown as one of the nearest from FAINT on.
_RIVAL, _FAINT = 0.06, 0.001
#: How china and glass break, and no paper cup.
_SHATTERED = re.compile(
    r"깨[지진짐졌져뜨트먹]|깬|깼|금이?[가간갔감]|이가?나[가간갔감]|박살|산산조각|동강|broken|cracked|shattered"
)
#: Of several things that are asked about at once each has at least this much.
_LEAST = 0.01
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
class Otherwise:
    """A kind or state that nobody is asked about, and where the thing goes then."""

    label: dict[str, str]
    state: dict[str, str]
    destinations: list[str]


@dataclass(frozen=True, slots=True)
class Question:
    """The one question whose answer decides."""

    text: dict[str, str]
    options: list[Option]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the best candidate that goes elsewhere, or one of several things that were asked about."""

    name: str
    destination: str


@dataclass(frozen=True, slots=True)
class Found:
    """`decision`: match, ambiguous (then `question`) or not_found (candidates are then merely the nearest).

    Several things may be asked about at once ("머리끈이랑 실핀"): then they are the `parts`, they stand first among the
    candidates, and `together` asks which of them is meant, for whoever can take only one.
    `state` is what was given and what the words said; `ms` the time it took. `unsaid`: the thing was never named, so
    the question asks for its name and has no options, and candidates are merely the nearest.
    """

    decision: str
    candidates: list[Candidate]
    question: Question | None
    parts: list[Part]
    state: State
    ms: float
    unsaid: bool = False
    together: Question | None = None


class Finding:
    """One search under way: what was asked, and the items seen so far."""

    def __init__(
        self,
        *,
        reading: Reading,
        state: State,
        region: str | None,
        housing: str | None,
        on: date,
        limit: int,
        unsaid: float = 0.0,
    ) -> None:
        self.reading, self.state, self.region, self.housing = reading, state, region, housing
        self.on, self.limit, self.unsaid = on, limit, unsaid
        self.items: dict[str, Mapping[str, Any]] = {}

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Items (rows of the index) that may be meant, or that a word for several stands for."""
        self.items.update({row["id"]: row for row in rows})

    def decide(self, matches: Sequence[Match], none: float) -> Found:
        """The answer, given how probable each item is (best first), and none of them."""
        best = matches[0] if matches else None
        things = [match for match in matches if self.items[match.item_id]["kind"] != "choice"]
        if self.unsaid > UNSAID:
            asked = self._found("ambiguous", self._candidates(things), Question(_text("search.what"), []))
            return replace(asked, unsaid=True)
        several = best is not None and self.items[best.item_id]["kind"] == "choice"
        if best is None or (none > STRANGE and not self.reading.plain):
            return self._found("not_found", self._candidates(matches))
        doc = self.items[best.item_id]["doc"]
        if several:
            broken = _SHATTERED.search(self.reading.letters) and not self.state.material and doc.get("broken")
            options = [replace(best, item_id=option) for option in broken or doc["options"]]
            if not broken or any(self._codes(option) != self._codes(options[0]) for option in options):
                return self._found(
                    "ambiguous",
                    self._candidates([*options, *matches]),
                    self._which(options, {k: doc[k] for k in ("ko", "en")}),
                )
            best = options[0]
            things, doc = [best, *things], self.items[best.item_id]["doc"]
        if several_things := self._together(things, none):
            return several_things
        codes = {match.item_id: self._codes(match) for match in things if match.score >= _FAINT or match == best}
        agree = sum(match.score for match in things if codes.get(match.item_id) == codes[best.item_id])
        if agree < SURE * (1 - none):
            rivals = [m for m in things if m.score >= _RIVAL and codes[m.item_id] != codes[best.item_id]]
            return self._found("ambiguous", self._candidates(things), self._which([best, *rivals]))
        self.state, resolution = self._outcome(best.item_id)
        asking = resolution.asking
        question = _asked(best.item_id, asking, self.state, self.on) if asking else None
        return self._found("ambiguous" if question else "match", self._candidates(things), question, parts(doc))

    def _together(self, things: Sequence[Match], none: float) -> Found | None:
        """The answer for several things that are asked about at once, where each is certain and its way clear."""
        if not self.reading.together:
            return None
        of_one_or_another = conditions.read(self.reading.text).known().keys() - {"housing"}
        untold = State.of({axis: value for axis, value in self.state.known().items() if axis not in of_one_or_another})
        each: list[Match] = []
        places, options, certain = [], [], 0.0
        for span, told in self.reading.together:
            here = [m for m in things if m.said and m.said.start < span.end and span.start < m.said.end]
            if not here or here[0].said != span or here[0].score < _LEAST:
                return None
            best, heard = here[0], (untold.merged(conditions.read(told)), normal(told))
            state, resolution = self._outcome(best.item_id, heard)
            codes, all_of_it = resolution.destinations, sum(match.score for match in here)
            if len(codes) > 1 or self._codes(best) != codes or resolution.asking:
                return None  # it makes a difference of which of them something is told
            if sum(match.score for match in here if self._codes(match, heard) == codes) < SURE * all_of_it:
                return None
            each.append(best)
            places += [Part(self.items[best.item_id]["name_ko"], code) for code in codes]
            options.append(self._option(best, state))
            certain += all_of_it
        if certain < SURE * (1 - none):
            return None
        candidates = self._candidates([*each, *things])
        self.state = untold
        return replace(
            self._found("match", candidates, None, places), together=Question(_text("search.which"), options)
        )

    def _outcome(self, item_id: str, heard: tuple[State, str] | None = None) -> tuple[State, Resolution]:
        """What is known of it, including what only its own table understands, and what follows; where several things
        are asked about, from what was `heard` of it alone: the state and the letters.
        """
        doc = self.items[item_id]["doc"]
        known, letters = heard or (self.state, self.reading.letters)
        state = replace(known, **said(doc["decide"], letters))
        return state, outcome(doc, facts(state, self.housing), self.region, self.on)

    def _codes(self, match: Match, heard: tuple[State, str] | None = None) -> list[str]:
        return self._outcome(match.item_id, heard)[1].destinations

    def _candidates(self, matches: Sequence[Match]) -> list[Candidate]:
        """At most `limit` items; a choice stands for its options."""
        found: dict[str, Candidate] = {}
        for match in (m for m in matches if m.score >= _FAINT):
            row = self.items[match.item_id]
            for item_id in row["doc"]["options"] if row["kind"] == "choice" else [match.item_id]:
                if item_id in self.items and item_id not in found and len(found) < self.limit:
                    codes = self._outcome(item_id)[1].destinations
                    found[item_id] = Candidate(item_id, self.items[item_id]["name_ko"], round(match.score, 3), codes)
        return list(found.values())

    def _which(self, matches: Sequence[Match], text: dict[str, str] | None = None) -> Question:
        key = "search.which" if len(matches) > 1 else "search.is_it"
        ask = text or _text(key)
        return Question(ask, [self._option(match, self.state) for match in matches[:_OPTIONS]])

    def _option(self, match: Match, state: State) -> Option:
        row = self.items[match.item_id]
        return Option(match.item_id, {"ko": row["name_ko"], "en": row["name_en"]}, match.item_id, state.known())

    def _found(
        self,
        decision: str,
        candidates: list[Candidate],
        question: Question | None = None,
        elsewhere: list[Part] | None = None,
    ) -> Found:
        return Found(decision, candidates, question, elsewhere or [], self.state, 0.0)


def _text(key: str) -> dict[str, str]:
    return {locale: messages.text(key, locale) for locale in messages.LOCALES}


def _asked(item_id: str, asking: Asking, state: State, on: date) -> Question:
    options = [
        Option(
            id=f"{item_id}:{option['values'][0]}",
            label={"ko": option["ko"], "en": option["en"]},
            item_id=item_id,
            state={**state.known(), asking["by"]: option["values"][0]},
        )
        for option in active(asking, on)
    ]
    return Question({"ko": asking["ko"], "en": asking["en"]}, options)


def open_question(
    item: Mapping[str, Any], state: State, region: str | None, housing: str | None, on: date
) -> Question | None:
    """What has to be asked of an item (its index row) before its way is clear."""
    asking = outcome(item["doc"], facts(state, housing), region, on).asking
    return _asked(item["id"], asking, state, on) if asking else None


def otherwise(
    item: Mapping[str, Any], state: State, region: str | None, housing: str | None, on: date
) -> list[Otherwise]:
    """What would send an item (its index row) elsewhere, and is not so unless somebody says it; each once, also where a
    kind and a state are told in the same words."""
    if exception_for(item["doc"], region, on):
        return []
    found: dict[tuple[str, ...], Otherwise] = {}
    for by, option, destinations in decisions.otherwise(item["doc"]["decide"], facts(state, housing), on):
        said_so = {**state.known(), by: option["values"][0]}
        other = Otherwise({"ko": option["ko"], "en": option["en"]}, said_so, destinations)
        found.setdefault((option["ko"], *destinations), other)
    return list(found.values())


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
