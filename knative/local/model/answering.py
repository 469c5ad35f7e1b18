"""Answer a further question about a guide by quoting the given rules: nothing is added that a rule does not say.

The data block is that of a guide (guidance.py) with "question" and "earlier": [{"question", "answer"}]. What was asked
earlier is not looked at: this reads words, and does not know what "그럼 그건요?" points to.
"""

from __future__ import annotations

import re
from typing import Any

from knative.local.model.guidance import Rule, fitting, pairs, quoted, topical
from knative.local.model.labels import load
from knative.local.model.words import UNKNOWN_STATE, read

_DISPOSAL = re.compile(
    r"버[려리릴]|배출|분리|재활용|쓰레기|수거|내놓|종량제|폐기|throw|dispos|recycl|trash|garbage|\bbin\b", re.IGNORECASE
)

#: English words of a question → the Korean ones the rules would use.
_ENGLISH = {
    r"\b(?:cap|lid)s?\b": "뚜껑",
    r"\b(?:labels?|stickers?)\b": "라벨",
    r"\b(?:rins|wash|clean)\w*": "씻",
    r"\bempt\w*": "비우",
    r"\b(?:broken|shards?)\b": "깨진",
    r"\b(?:oil|greas)\w*": "기름",
    r"\btapes?\b": "테이프",
    r"\b(?:crush|flatten|squeez)\w*": "찌그러",
    r"\bwhy\b": "왜",
}

#: A question of at most so many letters ("왜 그런가요?") is about the guide it follows, whatever it does not name.
_SHORT = 8


def compose(data: dict[str, Any]) -> dict[str, Any]:
    """The whole FollowUp answer: the rules that speak of what was asked; nothing where none does; off topic where the
    words are not about waste at all.
    """
    question, rules = _korean(str(data.get("question") or "")), list(data.get("rules") or [])
    said = read(question, load())
    name = str((data.get("item") or {}).get("name") or "")
    told = " ".join(rule["text"] for rule in rules)
    others = [
        one.item
        for one in said.named
        if one.item.name != name and not any(word in told + name for word in one.item.words)
    ]
    found = [] if others else [rule for rule in fitting(question, rules) if _related(question, rule)]
    named = bool(said.named or said.shape or said.state != UNKNOWN_STATE)
    about_waste = bool(found or named or topical(question) or _DISPOSAL.search(question))
    if not found and not others and _DISPOSAL.search(question):
        found = [rule for rule in rules if rule["phase"] == "dispose"][:1]
    return {"on_topic": about_waste, "answer": quoted(found), "rule_ids": [rule["id"] for rule in found]}


def _korean(question: str) -> str:
    words = [korean for pattern, korean in _ENGLISH.items() if re.search(pattern, question, re.IGNORECASE)]
    return " ".join([question, *words])


def _related(question: str, rule: Rule) -> bool:
    """Whether a rule was found by more than a "why": that alone asks for the reason of anything."""
    letters = re.sub(r"\W", "", question)
    return bool(pairs(question) & pairs(rule["text"])) or len(letters) <= _SHORT
