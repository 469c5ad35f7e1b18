"""Decision tables: from what is known about a piece of waste to where it goes, or to the one question that decides.

An item's table is a tree of questions, each over one axis of `conditions.AXES`; its leaves name destinations.
`corpus.py` proves that every tree is total and unambiguous before it reaches the index, so nothing here can fail on
one. The same JSON is what the index stores. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NotRequired, TypedDict, final

from functions.shared.conditions import BEFORE_WATER


@final
class Leaf(TypedDict):
    """An outcome: `to` one destination code, or several where municipalities differ; `family` carries its rules."""

    to: list[str]
    family: str


class Option(TypedDict):
    """An answer to a question: the axis values it stands for, how it reads, words that give it away in a search."""

    values: list[str]
    ko: str
    en: str
    words: list[str]
    then: Leaf | Question
    effective_from: NotRequired[str]
    effective_to: NotRequired[str]


@final
class Question(TypedDict):
    """`assume` is the value taken where nobody said; without it, the question is put to the citizen. `seldom`: any
    other value is, and nobody is ever asked."""

    by: str
    ko: str
    en: str
    assume: str | None
    options: list[Option]
    seldom: NotRequired[bool]


Node = Leaf | Question


@dataclass(frozen=True, slots=True)
class Resolution:
    """`leaves`: every outcome that is still possible, likeliest first; `asking` is None once they agree."""

    leaves: tuple[Leaf, ...]
    asking: Question | None = None

    @property
    def destinations(self) -> list[str]:
        """Destination codes that are still possible."""
        return list(dict.fromkeys(code for leaf in self.leaves for code in leaf["to"]))


def resolve(node: Node, facts: Mapping[str, str], on: date) -> Resolution:
    """Walk the tree with the known `facts` (axis → value) as it stands on that day."""
    if "to" in node:
        return Resolution((node,))
    taken, _ = _taken(node, facts, on)
    if taken:
        return resolve(taken["then"], facts, on)
    leaves = tuple(leaf for option in active(node, on) for leaf in resolve(option["then"], facts, on).leaves)
    if len({tuple(leaf["to"]) for leaf in leaves}) == 1:
        return Resolution(leaves[:1])
    return Resolution(leaves, node)


def _taken(question: Question, facts: Mapping[str, str], on: date) -> tuple[Option | None, bool]:
    """The option that holds, and whether it was said (else it is assumed); none where the citizen is to be asked."""
    options, known = active(question, on), facts.get(question["by"])
    for value in (known, question["assume"] if not known or question.get("seldom") else None):
        for option in options:
            if value in option["values"]:
                return option, value == known
    return None, False


def otherwise(node: Node, facts: Mapping[str, str], on: date) -> list[tuple[str, Option, list[str]]]:
    """Axis, option and destinations of all that would send the thing another way, if it were so, but nobody said it."""
    if "to" in node:
        return []
    taken, said_so = _taken(node, facts, on)
    if taken is None:
        return []
    usual = set(resolve(taken["then"], facts, on).destinations)
    others = [] if said_so else [option for option in active(node, on) if option is not taken]
    found = [(node["by"], option, resolve(option["then"], facts, on).destinations) for option in others]
    return [one for one in found if set(one[2]) != usual] + otherwise(taken["then"], facts, on)


def outcomes(node: Node, on: date) -> list[Leaf]:
    """Every outcome there is for a clean thing on that day, whatever else is usually assumed, but what is seldom."""
    if "to" in node:
        return [node]
    only = "clean" if node["by"] == "dirt" else node["assume"] if node.get("seldom") else None
    options = [o for o in active(node, on) if only is None or only in o["values"]]
    return [leaf for option in options for leaf in outcomes(option["then"], on)]


def active(question: Question, on: date) -> list[Option]:
    """The options that hold on that day."""
    day = on.isoformat()
    return [o for o in question["options"] if o.get("effective_from", day) <= day <= o.get("effective_to", day)]


def said(node: Node, text: str) -> dict[str, str]:
    """Axis → value for every option whose words occur in `text` (a normal form): what the item's own table
    understands. The longest word counts.
    """
    found: dict[str, str] = {}
    longest: dict[str, int] = {}
    for question in questions(node):
        by = question["by"]
        for option in question["options"]:
            for word in option["words"]:
                if len(word) > longest.get(by, 0) and _affirmed(word, text):
                    longest[by], found[by] = len(word), option["values"][0]
    return found


#: What is said behind a word that does not hold: "코팅 안 된", "나무 말고", "자석에 붙지 않는", "자석이 없는",
#: "알루미늄 튜브 아니고".
_DENIED = re.compile(
    r"(?:이|가|은|는|을|를|도|만)?(?:안(?:된|됐|돼있|되어있|한|들어|달린|붙은|섞인)|없(?!어지|애)|아니|아닌|말고)|"
    r"(?:된|든|인|한)?(?:튜브|캔|병|컵|통|박스|봉지|재질|거|것|건|게)(?:이|가|은|는)?(?:아니[고라]|말고)|"
    r"지(?:는|도|가)?(?:않|안|못)"
)


#: What "안" before a word denies: "안 씻은", not "용기 안 은박".
_DONE = re.compile(
    r"씻|닦|빨[은았]|헹|물[든들]|묻|젖|달린|붙은|박힌|찢|깨|썩|먹|쓴|쓰던|뜯|굳|말린|묶|코팅|세척|접[은힌]|들어"
)


def _affirmed(word: str, text: str) -> bool:
    start = text.find(word)
    while start >= 0:
        before = text[start - 1 : start]
        denied = before == "안" and _DONE.match(word)
        another = before and before in BEFORE_WATER + "산" and word.startswith("물")
        if not (denied or another or _DENIED.match(text, start + len(word))):
            return True
        start = text.find(word, start + 1)
    return False


def questions(node: Node) -> Iterator[Question]:
    """Every question of the tree, outermost first."""
    if "by" in node:
        yield node
        for option in node["options"]:
            yield from questions(option["then"])


def paths(node: Node, facts: dict[str, str] | None = None) -> Iterator[tuple[dict[str, str], Leaf]]:
    """Every leaf with the facts that lead to it (one value for each option)."""
    facts = facts or {}
    if "to" in node:
        yield facts, node
        return
    for option in node["options"]:
        for value in option["values"]:
            yield from paths(option["then"], {**facts, node["by"]: value})
