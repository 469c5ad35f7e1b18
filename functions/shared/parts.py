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
    r"남은|^폐|^헌|^빈|^새 |시든|마른|젖은|굳은|깨진|깨끗한|오래된|녹슨|고장|먹다|씹|쓴 |경우|(?:^| ). "
)


@dataclass(frozen=True, slots=True)
class Parts:
    """`wholes`: key of a name → item and name; `words`: item → key of a word → part, or item whose way it goes, and
    word; `others`: what names something else although a name and a word make it ("종이 상자" + "뚜껑" where that is a
    thing of its own).
    """

    wholes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    others: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[tuple[str, str, str]], behind: Sequence[tuple[str, Mapping[str, Any]]]) -> Parts:
        """From all names (item, key, name), and what stands `behind` those of an item, as the index keeps it:
        {"words": key → [part, word], "not_it": keys}.
        """
        words = {item: {key: (part, word) for key, (part, word) in its["words"].items()} for item, its in behind}
        others = frozenset(key for _, its in behind for key in its["not_it"])
        wholes = {key: (item, name) for item, key, name in names if item in words and may_have(name)}
        return cls(wholes, words, others)

    def behind(self, whole: str) -> Mapping[str, tuple[str, str]]:
        """The words for parts that may stand behind that name: key → part and word."""
        item, _ = self.wholes.get(whole, ("", ""))
        return self.words.get(item, {})

    def named(self, whole: str, word: str) -> tuple[str, str] | None:
        """The part that a name and a word behind it mean (keys), and how it is written; None where they mean none."""
        found = self.behind(whole).get(word)
        if found is None or whole + word in self.others:
            return None
        return found[0], f"{self.wholes[whole][1]} {found[1]}"


def may_have(name: str) -> bool:
    """Whether a word for a part may stand behind that name."""
    return not name.isascii() and not _STATED.search(name)
