"""Three questions about an item, out of the rules alone: where it goes, what its rules ask for, and why (or what not).

The same lesson gets the same quiz while the rules and what was missed stay the same: everything is drawn and shuffled
by the lesson's id, and the rule that is asked for is one of the step that was missed most, where that makes a question.
Ids of options say nothing, so the right answer is not known to a client before it answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from functions.shared import messages
from functions.shared.destinations import DESTINATIONS
from functions.shared.rules import PHASES, Passage
from functions.users.bank import Bank, Family, Known, sent_to, subjects

#: Wrong answers beside the right one.
WRONG = 3

#: What people weigh against each other when they stand before the bins; the rest is taken somewhere or called for.
AT_THE_BINS = frozenset(
    {"paper", "carton", "clear_pet", "plastic", "vinyl", "styrofoam", "glass_bottle", "can", "scrap_metal"}
    | {"general", "noncombustible", "food"}
)

#: What a thing's owner does with it, in this order.
STEPS = PHASES[:4]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option:
    """An answer to choose; `text` in the reader's language where there is one (rules are Korean)."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """`correct` is the id of the one right option, `why` the rule that says so."""

    id: str
    text: str
    options: list[Option]
    correct: str
    why: Passage


@dataclass(frozen=True, slots=True)
class Matter:
    """What the quiz is about: an item as its owner has it, the places it goes to (several where municipalities differ)
    and the rules that hold for it, the deciding one named. `missed`: phases of steps that were not done, those most
    often missed first."""

    item_id: str
    name: str
    places: list[str]
    deciding: Passage
    rules: list[Passage]
    missed: list[str]

    @property
    def broken(self) -> Passage:
        """The first rule of the phase that was missed most; the deciding one where that is how it is handed over, or
        the rules ask for nothing in what was missed."""
        for phase in self.missed:
            rules = [rule for rule in (self.deciding, *self.rules) if rule.phase == phase]
            if rules:
                return rules[0]
        return self.deciding


def make(seed: str, matter: Matter, bank: Bank, locale: str) -> list[Question]:
    """The three questions; none where the rules do not give as many."""
    known = bank.items.get(matter.item_id)
    if known is None:
        return []
    draw = _Draw(seed, known)
    questions = [
        _where(draw, matter, known, locale),
        _step(draw, matter, bank, locale),
        _about(draw, matter, bank, locale),
    ]
    made = [question for question in questions if question]
    return made if len(made) == len(questions) else []


class _Draw:
    """Chance that is the same for the same lesson."""

    def __init__(self, seed: str, known: Known) -> None:
        self._seed, self.known = seed, known

    def mixed(self, question: str, of: Iterable[T], key: Callable[[T], str]) -> list[T]:
        return sorted(of, key=lambda one: self._digest(f"{question}:mix:{key(one)}"))

    def places(self, question: str, right: str, of: Collection[str]) -> list[str]:
        """Wrong destinations among `of`, the most tempting first: what the rules warn of, then what stands beside the
        right one."""

        def near(code: str) -> int:
            return 0 if code in self.known.warned else 1 if (code in AT_THE_BINS) == (right in AT_THE_BINS) else 2

        return sorted(self.mixed(question, of, str), key=near)

    def question(self, id_: str, text: str, answers: Sequence[tuple[str, str]], why: Passage) -> Question | None:
        """`answers` as (what it stands for, text), the right one first."""
        if len({said for _, said in answers}) != WRONG + 1:
            return None
        options = [Option(self._digest(f"{id_}:{stands_for}")[:12], said) for stands_for, said in answers]
        return Question(id_, text, sorted(options, key=lambda option: option.id), options[0].id, why)

    def _digest(self, text: str) -> str:
        return hashlib.sha256(f"{self._seed}:{text}".encode()).hexdigest()


def _where(draw: _Draw, matter: Matter, known: Known, locale: str) -> Question | None:
    right = draw.mixed("where", matter.places, str)[0]
    wrong = draw.places("where", right, DESTINATIONS.keys() - known.open)[:WRONG]
    key = "quiz.where" if known.goes == {right} else "quiz.where_may"
    answers = [(code, DESTINATIONS[code].en if locale == "en" else DESTINATIONS[code].ko) for code in (right, *wrong)]
    return draw.question("where", messages.text(key, locale, item=matter.name), answers, matter.deciding)


def _step(draw: _Draw, matter: Matter, bank: Bank, locale: str) -> Question | None:
    steps = [rule for rule in matter.rules if rule.phase in STEPS and not names_the_place(rule)]
    mixed = draw.mixed("step", steps, lambda rule: rule.id)
    order = {phase: n for n, phase in enumerate(matter.missed)}

    def elsewhere(family: Family) -> list[str]:
        text = family.dispose
        fits = text and text not in draw.known.texts and not sent_to(text) & draw.known.open
        return [text] if text and fits else []

    wrong = _of_others(draw, "step", matter, bank, elsewhere)
    text = messages.text("quiz.step", locale, item=matter.name)
    for right in sorted(mixed, key=lambda rule: order.get(rule.phase, len(order))):
        made = draw.question("step", text, [(one, one) for one in (right.text, *wrong)], right)
        if made:
            return made
    return _said_of("dont", draw, matter, bank, locale, id_="step")  # nothing but where it goes: then what not to do


def _about(draw: _Draw, matter: Matter, bank: Bank, locale: str) -> Question | None:
    """Why; what not to do, where the rules give no reason."""
    return _said_of("why", draw, matter, bank, locale) or _said_of("dont", draw, matter, bank, locale)


def _said_of(
    phase: str, draw: _Draw, matter: Matter, bank: Bank, locale: str, *, id_: str = "about"
) -> Question | None:
    rules = [
        rule
        for rule in matter.rules
        if rule.phase == phase
        and not rule.set_aside  # a way out for some things is not what one must not do
        and (phase, rule.basis) != ("why", "survey")  # how many get it wrong is no reason
    ]
    if not rules:
        return None
    right = draw.mixed(id_, rules, lambda rule: rule.id)[0]

    def other(family: Family) -> list[str]:
        return [text for text in family.said[phase] if not draw.known.speaks_of(subjects(text))]

    wrong = _of_others(draw, id_, matter, bank, other)
    text = messages.text(f"quiz.{phase}", locale, item=matter.name)
    return draw.question(id_, text, [(one, one) for one in (right.text, *wrong)], right)


def _of_others(
    draw: _Draw, question: str, matter: Matter, bank: Bank, texts: Callable[[Family], list[str]]
) -> list[str]:
    """Sentences about what goes elsewhere, each of another place."""
    said: dict[str, list[str]] = {}
    for family in bank.families:
        if family.place not in draw.known.open:
            said.setdefault(family.place, []).extend(texts(family))
    places = draw.places(question, matter.places[0], [place for place, of in said.items() if of])
    return [draw.mixed(question, said[place], str)[0] for place in places[:WRONG]]


def names_the_place(rule: Passage) -> bool:
    """Whether it is one of the rules that say "this item goes there" (`<item>.dispose.<outcome>`)."""
    return rule.phase == "dispose" and not rule.id.rpartition(".")[2].isdecimal()
