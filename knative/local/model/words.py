"""What a citizen's own words say: which things they name, and the state those are in. Plain patterns, no model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from knative.local.model.labels import ASPECTS, Item, Labels, Shape

#: All aspects of a state open: a guess about them is never made from the picture.
UNKNOWN_STATE = dict.fromkeys(ASPECTS, "unknown")

#: After a name: it is not the thing itself but what sticks to it, what it is not, or where it would go.
_NOT_THE_THING = re.compile(
    r"^(이|가|은|는|을|를)?\s*(조금|좀|많이|살짝|약간)?\s*(국물이?\s*)?"
    r"(묻|남은|남아|남았|담긴|담았|담겨|든\s|들어|들었|넣었|말고|아니|아닌|빼고|제외)"
    r"|^(으로|로|에)\s*(버|배출|분리|내놓|넣|재활용|분류|해도|하면|가야|가나)"
)

#: After a name: the next name is only a part of it ("페트병의 라벨", "상자에 붙은 테이프").
_HAS_A_PART = re.compile(r"^(의|에\s*(붙|달|감|끼|있|든|들)|에서)")

#: Between two names: what stands before it belongs to the first, what stands after to the second.
_BETWEEN = re.compile(r",|이랑|랑|하고|와\s|과\s|그리고|및|\band\b")

#: The names are alternatives for one thing, not several things.
_EITHER = re.compile(r"인지|인가요|일까요|아니면|또는|혹은|중에|이에요,|예요,|\bor\b")


@dataclass(frozen=True, slots=True)
class Named:
    """One thing the words name, with the state the words give it."""

    item: Item
    state: dict[str, str]


@dataclass(frozen=True, slots=True)
class Said:
    """All that the words say. `either`: the named are alternatives for one thing. `shape`: "이 병" and the like."""

    named: tuple[Named, ...]
    either: bool
    shape: Shape | None
    state: dict[str, str]


def state_of(text: str, labels: Labels) -> dict[str, str]:
    """contents, dirt, label, cap, damage as stated in the text; "unknown" where it says nothing."""
    state = dict(UNKNOWN_STATE)
    for words in labels.states:
        if state[words.aspect] == "unknown" and words.pattern.search(text):
            state[words.aspect] = words.value
    return state


def read(text: str, labels: Labels) -> Said:
    """Find the things the words name, longest names first, in the order of the text."""
    pattern, meant = _vocabulary(tuple(labels.items.values()), labels.shapes)
    found: list[tuple[int, int, Item]] = []
    shape: Shape | None = None
    after_part = False
    for match in pattern.finditer(text):
        rest = text[match.end() : match.end() + 14]
        is_part, after_part = after_part, bool(_HAS_A_PART.match(rest))
        if is_part or _NOT_THE_THING.match(rest):
            continue
        word = _meant(match.group(), meant)
        if isinstance(word, Shape):
            shape = shape or word
        elif all(word is not item for _, _, item in found):
            found.append((match.start(), match.end(), word))
    named = tuple(
        Named(item, state_of(clause, labels)) for (_, _, item), clause in zip(found, _clauses(text, found), strict=True)
    )
    return Said(named, bool(_EITHER.search(text)), None if named else shape, state_of(text, labels))


def _clauses(text: str, found: list[tuple[int, int, Item]]) -> list[str]:
    """The part of the text that speaks of each found name."""
    cuts = [0]
    for (_, end, _), (start, _, _) in pairwise(found):
        between = _BETWEEN.search(text, end, start)
        cuts.append(between.end() if between else end)
    return (
        [text[start:stop] for start, stop in zip(cuts[: len(found)], [*cuts[1:], len(text)], strict=True)]
        if found
        else []
    )


def _meant(word: str, meant: dict[str, Item | Shape]) -> Item | Shape:
    squeezed = _squeezed(word)
    forms = (squeezed, squeezed.removesuffix("s"), squeezed.removesuffix("es"))
    return next(meant[form] for form in forms if form in meant)


def _squeezed(word: str) -> str:
    return re.sub(r"\s+", "", word).lower()


@cache
def _vocabulary(items: tuple[Item, ...], shapes: tuple[Shape, ...]) -> tuple[re.Pattern[str], dict[str, Item | Shape]]:
    meant: dict[str, Item | Shape] = {}
    patterns: dict[str, str] = {}
    things: tuple[Item | Shape, ...] = (*shapes, *items)
    for thing in things:
        for word in thing.words:
            meant[_squeezed(word)] = thing
            patterns[_squeezed(word)] = _word(word)
    longest_first = sorted(meant, key=len, reverse=True)
    return re.compile("|".join(patterns[word] for word in longest_first), re.IGNORECASE), meant


def _word(word: str) -> str:
    """Pattern of one vocabulary word: English as a whole word, Korean with any spacing, one syllable standing alone."""
    if word.isascii():
        return rf"\b{re.escape(word)}(?:s|es)?\b" if len(word) > 2 else rf"\b{re.escape(word)}\b"
    if len(word) == 1:
        particles = "은|는|이|가|을|를|도|만|과|와|의|에|류|이랑|랑|하고|인데|이에요|예요|입니다"
        return rf"(?<![가-힣]){word}(?=(?:{particles})?(?:[^가-힣]|$))"
    return r"\s*".join(re.escape(letter) for letter in _squeezed(word))
