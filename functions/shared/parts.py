"""Parts of things that are asked about alone ("물티슈 캡"): a name of the whole, and behind it a word for the part.

The index keeps every name once, and the words with the whole; what they make together is worked out where a question
is read, so that any name of a thing goes with any word for its parts. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Stands between an item's id and that of a part that is asked about alone.
PART = "--"

#: Behind a name that says in which state a thing is ("헌 옷", "참기름 남은 것") stands no part: the whole is meant.
_STATED = re.compile(
    r"남은|^폐|^헌|^빈|^새 |시든|마른|젖은|굳은|깨진|깨끗한|오래된|녹슨|고장|먹다|씹|쓴 |경우|"
    r"(?:^| )[큰긴옛탄언깬깐찬단한두세네다못안덜잘] "
)


@dataclass(frozen=True, slots=True)
class Parts:
    """`wholes`: key of a name → item and name; `words`: item → key of a word → part, or item whose way it goes, and
    word; `common`: the same for words behind any name ("포장 박스"); `alone`: those that are meant only where it is
    about nothing else ("쇠만"); `others`: what names something else although a name and a word make it ("종이 상자" +
    "뚜껑" where that is a thing of its own).
    """

    wholes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    common: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    alone: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    others: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[tuple[str, str, str]], behind: Sequence[tuple[str, Mapping[str, Any]]]) -> Parts:
        """From all names (item, key, name), and what the index keeps with an item: {"words": key → [part, word],
        "not_it": keys} behind its own names, and behind any name {"common": key → word, "alone": key → word}.
        """
        words = {item: {key: (part, word) for key, (part, word) in its["words"].items()} for item, its in behind}
        common, alone = (
            {key: (item, word) for item, its in behind for key, word in its.get(kind, {}).items()}
            for kind in ("common", "alone")
        )
        others = frozenset(key for _, its in behind for key in its["not_it"])
        wholes = {key: (item, name) for item, key, name in names if may_have(name)}
        return cls(wholes, words, common, alone, others)

    def named(self, whole: str, word: str) -> tuple[str, str] | None:
        """The part of its own that a name and a word behind it mean (keys), and how it is written; or None."""
        item, name = self.wholes.get(whole, ("", ""))
        found = self.words.get(item, {}).get(word)
        return (found[0], f"{name} {found[1]}") if found and whole + word not in self.others else None

    def in_common(self, whole: str, word: str, *, alone: bool) -> tuple[str, str] | None:
        """The same for a word behind any name, where that thing has no name of its own there. `alone`: it is said that
        it is about nothing else.
        """
        together = whole + word
        if whole not in self.wholes or together in self.wholes or together in self.others:
            return None
        found = self.common.get(word) or (self.alone.get(word) if alone else None)
        return (found[0], f"{self.wholes[whole][1]} {found[1]}") if found else None

    def alone_of(self, whole: str, word: str) -> bool:
        """Whether a name and a word that it is said to be only about mean one thing: a part, or what is called so."""
        called_so = whole + word in self.wholes
        return called_so or bool(self.named(whole, word) or self.in_common(whole, word, alone=True))


def may_have(name: str) -> bool:
    """Whether a word for a part may stand behind that name."""
    return not name.isascii() and not _STATED.search(name)
