"""From what the model saw to one item, one question, or the plain truth that nothing fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from functions.identify.seen import SeenObject
from functions.shared import conditions, messages
from functions.shared.conditions import State
from functions.shared.hangul import sound
from functions.shared.search import Candidate, Found, Question

#: A thing seen less surely than this is not worth a question while something else was seen.
FAINT = 0.35
#: Things on a photo that are looked up; what the citizen named comes before what was seen more surely.
MOST_THINGS = 4
#: Candidates that are shown, and options a citizen can choose from at a glance.
TOP, MOST_OPTIONS = 5, 6

#: Searches the items: the thing's name and its state in, candidates and a decision out.
Search = Callable[[str, State], Found]


@dataclass(frozen=True, slots=True)
class Decision:
    """`decision` is match (then `item_id`), ambiguous (then `question`) or not_found; `confidence` from 0 to 1."""

    decision: str
    item_id: str | None
    confidence: float
    state: State
    candidates: list[dict[str, Any]]
    question: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Thing:
    seen: SeenObject
    found: Found

    @property
    def best(self) -> Candidate:
        return self.found.candidates[0]

    @property
    def question(self) -> Question | None:
        """What has to be asked before this thing's way is clear."""
        return self.found.question or self.found.together


def decide(objects: Sequence[SeenObject], words: str, search: Search) -> Decision:
    """Match everything seen against the items; the citizen's `words` add to a state and may say which thing it is."""
    things = _things(objects, words, search)
    if not things:
        nearest = [_matched(seen, words, search) for seen in objects[:1]]
        return Decision("not_found", None, 0.0, State(), _top(nearest))
    meant = [thing for thing in things if _named(thing, words)]
    if len(meant) == 1:  # the others stay among the candidates, one tap away
        things = meant + [thing for thing in things if thing is not meant[0]]
    candidates = _top(things)
    if len(things) > 1 and len(meant) != 1:
        return Decision("ambiguous", None, 0.0, State(), candidates, _which(things))
    thing = things[0]
    if thing.question:
        return Decision("ambiguous", None, thing.seen.confidence, thing.found.state, candidates, asdict(thing.question))
    return Decision("match", thing.best.id, thing.seen.confidence, thing.found.state, candidates)


def _things(objects: Sequence[SeenObject], words: str, search: Search) -> list[_Thing]:
    """What was found among the items, each item once; what was named, then what was seen most surely, first."""
    surest = sorted(objects, key=lambda seen: -seen.confidence)
    clear = [seen for seen in surest if seen.confidence >= FAINT] or surest[:1]
    alone = words if len(clear) == 1 else ""
    things: dict[str, _Thing] = {}
    for seen in sorted(clear, key=lambda seen: not _heard([seen.name], words))[:MOST_THINGS]:
        thing = _matched(seen, alone, search)
        if _found(thing.found):
            things.setdefault(thing.best.id, thing)
    return list(things.values())


def _matched(seen: SeenObject, words: str, search: Search) -> _Thing:
    """By its name; the citizen's words may add to its state, and help where the name alone finds nothing."""
    state = seen.condition().merged(conditions.read(words))
    by_name = search(seen.name, state)
    if not words:
        return _Thing(seen, by_name)
    with_words = search(f"{seen.name} {words}", state)
    if not _found(by_name):
        return _Thing(seen, with_words)
    same = with_words.candidates[:1] and with_words.candidates[0].id == by_name.candidates[0].id
    settled = with_words.decision == "match" or (with_words.decision == by_name.decision == "ambiguous")
    settled = settled and not with_words.together  # what else the words name is not what was seen
    return _Thing(seen, with_words if same and settled else by_name)


def _found(found: Found) -> bool:
    """Whether it is about something of ours: that nothing was named is no find."""
    return found.decision != "not_found" and not found.unsaid and bool(found.candidates)


def _named(thing: _Thing, words: str) -> bool:
    return _heard([thing.seen.name, thing.best.name], words)


def _heard(names: Sequence[str], words: str) -> bool:
    heard = sound(words)
    return any(name and name in heard for name in map(sound, names))


def _which(things: list[_Thing]) -> dict[str, Any]:
    """One question for several things: a thing that needs an answer of its own brings its options along."""
    options = [option for thing in things for option in _options(thing)]
    if len(options) > MOST_OPTIONS:
        options = [_option(thing, thing.best.id, thing.found.state) for thing in things][:MOST_OPTIONS]
    return {
        "text": {locale: messages.text("identify.which", locale) for locale in messages.LOCALES},
        "options": [{"id": f"thing-{n}", **option} for n, option in enumerate(options, 1)],
    }


def _options(thing: _Thing) -> list[dict[str, Any]]:
    if thing.question is None:
        return [_option(thing, thing.best.id, thing.found.state)]
    return [
        _option(thing, option.item_id, thing.found.state.merged(State.of(option.state or {})), option.label)
        for option in thing.question.options
    ]


def _option(thing: _Thing, item_id: str, state: State, more: dict[str, str] | None = None) -> dict[str, Any]:
    name = {"ko": thing.seen.name, "en": thing.seen.name_en or thing.best.name}
    label = {locale: f"{name[locale]} · {more[locale]}" if more else name[locale] for locale in messages.LOCALES}
    return {"label": label, "item_id": item_id, "state": asdict(state)}


def _top(things: list[_Thing]) -> list[dict[str, Any]]:
    """The five best candidates: the best of each thing first."""
    ranks = zip_longest(*(thing.found.candidates for thing in things))
    best: dict[str, Candidate] = {}
    for candidate in (candidate for rank in ranks for candidate in rank if candidate):
        best.setdefault(candidate.id, candidate)
    return [{"id": c.id, "name": c.name, "score": c.score} for c in best.values()][:TOP]
