"""Rules as a guide cites them, and which of them hold for an item in a given state on a given day.

The same selection serves the index validation (every outcome must have at least five) and the running system.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

#: Order of a guide: the four phases of the brief, then what not to do, then why.
PHASES = ("prepare", "wash", "separate", "dispose", "dont", "why")

#: What a rule rests on, strongest first. The citizen sees it (messages.json: `basis.<code>`).
BASES = (OFFICIAL := "official-class", "directive", "survey", OUR_JUDGEMENT := "author")
#: The source of what is our judgement.
AUTHOR_TITLE = "AI 분리배출 코치의 판단 (공식 출처 없음)"

FEWEST, MOST = 5, 10

#: Between the answers an outcome belongs to and what it says: "‘있어요’라고 답했다면, 우유팩은 …".
CASE = "라고 답했다면, "


#: "If there is …", "if it is broken": what a rule asks of only some things. Not "if you rinse it, …", a way to do it.
_IF = re.compile(
    r"(?:[있없했졌았었렸났왔혔였겼같많적남않넘받]으|[^있없]다|크|이|우|지|나뉘|풀리|열리|만하|쩡하|끗하|눅하|다르|"
    r"(?<![컵생신진])라|나오|[돌들]어가|돌아가|가 나)면(?=[ ,])"
)
_ANY_IF = re.compile(r"[가-힣]면(?=[ ,])")
#: Something that is to be done before the "if" is met: "empty it and, if the lid is of another kind, …".
_FIRST_DO = re.compile(r"[가-힣](?<![렸렵많있없크겁좋])고,? |뒤,? |거나, ")
_SENTENCE = re.compile(r"(?<=[.!?])\s")


def conditional(text: str) -> bool:
    """Whether all that a rule asks first is asked of only some things ("if there is a battery in it, …"). Where it says
    what to do both if and if not, or something else before, it is for every thing. By letters alone, so it may be
    wrong: a step then counts for nothing that should count, or is asked of a thing that it is not for."""
    first = _SENTENCE.split(text, maxsplit=1)[0]
    found = _IF.search(first)
    return found is not None and len(_ANY_IF.findall(first)) == 1 and not _FIRST_DO.search(first[: found.start()])


def leaf_key(to: Sequence[str]) -> str:
    """What a rule's `leaf` says of an outcome: its destination, or "depends" where there are several."""
    return to[0] if len(to) == 1 else "depends"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a rule was read. `url` is None for our own judgement."""

    title: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Passage:
    """One rule. `destination` is set where the rule itself says where something goes; dates are days in Korea."""

    id: str
    phase: str
    text: str
    destination: str | None
    basis: str
    source: Source
    effective_from: date
    checked: date
    disagreement: str | None

    @property
    def set_aside(self) -> bool:
        """Whether it is a rule on handing over that `aside` made a caution."""
        return set_aside(self.id, self.phase)

    @classmethod
    def of(cls, row: Mapping[str, Any], *, decided: bool = False) -> Passage:
        """From a row of the table `rules`. Once it is `decided` which outcome holds, its case need not be said."""
        text = row["text"].rpartition(CASE)[2] if decided else row["text"]
        return cls(
            row["id"], row["phase"], text, row["destination"], row["basis"],
            Source(row["source_title"], row["source_url"]), row["effective_from"], row["checked"], row["disagreement"],
        )  # fmt: skip


def holding(rows: Iterable[Mapping[str, Any]], facts: Mapping[str, str], on: date) -> list[Mapping[str, Any]]:
    """Rows in force that day whose conditions the known facts do not contradict."""
    return [
        row
        for row in rows
        if row["effective_from"] <= on
        and (row["effective_to"] is None or on <= row["effective_to"])
        and all(facts.get(axis, values[0]) in values for axis, values in row["conditions"].items())
    ]


def modest(rows: Sequence[Mapping[str, Any]], outcome: str) -> list[Mapping[str, Any]]:
    """The rows, none of a family in the dictionary's name where it is not the dictionary that says `outcome` (a leaf)
    of this thing: that the thing is of the class the family tells of is our judgement then. Asked for by its id the
    rule is the class's, and has the dictionary's name. Where a regional exception decides, nothing is changed.
    """
    said = next((row for row in rows if row["leaf"] == outcome), None)
    if said is None or said["basis"] == OFFICIAL:
        return list(rows)
    ours = {"basis": OUR_JUDGEMENT, "source_title": AUTHOR_TITLE, "source_url": None}
    return [{**row, **ours} if row["basis"] == OFFICIAL and row["owner"] != said["owner"] else row for row in rows]


def aside(passages: Iterable[Passage], decided: str | None, unproven: Collection[str]) -> list[Passage]:
    """The passages with what is no step set aside as a caution: rules on handing over that send the thing elsewhere
    than it is `decided` to go, or that hold only in a state nobody has told (`unproven` ids). "If the stain stays, it
    is waste" is good to know; done beside the other it would be wrong.
    """
    found = [
        replace(one, phase="dont")
        if one.phase == "dispose"
        and (one.id in unproven or (decided is not None and one.destination not in {None, decided}))
        else one
        for one in passages
    ]
    return sorted(found, key=lambda one: PHASES.index(one.phase))


def set_aside(rule_id: str, phase: str) -> bool:
    """Whether a rule that is told in this phase is one on handing over that `aside` made a caution."""
    return phase == "dont" and ".dispose." in rule_id


def ordered(rows: Iterable[Mapping[str, Any]], own: Collection[str], limit: int = MOST) -> list[Mapping[str, Any]]:
    """At most `limit` rows, phase by phase; within one, those of the `own` owners (the item, a regional
    exception) before the family's, the newest first.

    Where there are too many, the item's own and one of every phase stay, then whatever is nearest to the question
    (`far`, the vector distance, where somebody asked one).
    """

    def place(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return PHASES.index(row["phase"]), row["owner"] not in own, -row["effective_from"].toordinal(), row["id"]

    every = sorted(rows, key=place)
    if len(every) > limit:
        first_of_phase = {row["phase"]: row["id"] for row in reversed(every)}
        every.sort(
            key=lambda row: (
                row["owner"] not in own,
                first_of_phase[row["phase"]] != row["id"],
                row.get("far") or 0.0,
                place(row),
            )
        )
        every = sorted(every[:limit], key=place)
    return every
