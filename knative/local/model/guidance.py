"""Compose a sorting guide from the rules it is given: nothing is added that a rule does not say.

The data block is {"item": {"id", "name"}, "state": {...}, "question": str | None,
"rules": [{"id", "phase": prepare|wash|separate|dispose|dont|why, "text", "destination": code | None}]}.
"""

from __future__ import annotations

import re
from typing import Any

PHASES = ("prepare", "wash", "separate", "dispose")

#: What is said where no rule speaks of a phase.
_NOTHING = {
    "prepare": "따로 준비할 것은 기준에 없어요. 물건만 확인하고 다음 단계로 넘어가세요.",
    "wash": "세척에 대해 따로 정해진 기준은 없어요. 다음 단계로 넘어가세요.",
    "separate": "따로 떼어 내거나 나눌 부분은 기준에 없어요.",
    "dispose": "버리는 곳을 정한 기준을 찾지 못했어요. 사는 곳의 구청이나 주민센터에 확인해 주세요.",
}

#: Words of a question → words a rule that answers it would use. What no group covers is compared by its own letters.
_TOPICS = (
    ("뚜껑", "마개"),
    ("라벨", "스티커", "상표", "비닐을"),
    ("씻", "세척", "헹", "닦", "설거지"),
    ("비우", "비워", "내용물", "남은", "남아"),
    ("기름", "양념", "오염", "묻", "더러"),
    ("깨진", "깨졌", "깨지", "조각", "파손"),
    ("테이프", "송장", "택배"),
    ("펌프", "스프링", "용수철"),
    ("접어", "접는", "펼", "납작", "압착", "찌그러", "부피"),
    ("구멍", "가스", "폭발", "화재"),
    ("종량제", "일반쓰레기", "일반 쓰레기"),
    ("보증금", "환불", "반납"),
    ("전용", "수거함", "어디에 버", "어디다 버", "어디로"),
)

_WHY = ("왜", "이유", "때문")

_HOW = re.compile(r"어떻게|어디|방법|버려|버리|배출|분리수거|how|where|throw", re.IGNORECASE)

Rule = dict[str, Any]


def compose(data: dict[str, Any]) -> dict[str, Any]:
    """The whole Guide answer. Every step cites ids of the given rules; with no rules at all, none."""
    rules: list[Rule] = list(data.get("rules") or [])
    name = str((data.get("item") or {}).get("name") or "이 물건")
    disposal = next((rule for rule in rules if rule["phase"] == "dispose"), None)
    weighty = sorted(_by_weight(rules), key=lambda rule: not rule["id"].endswith(f".dispose.{rule.get('destination')}"))
    destination = next((rule["destination"] for rule in weighty if rule.get("destination")), "")
    anchor = disposal or (rules[0] if rules else None)
    steps = []
    for phase in PHASES:
        spoken = [
            {"phase": phase, "text": rule["text"], "rule_ids": [rule["id"]]} for rule in rules if rule["phase"] == phase
        ]
        steps += spoken or [{"phase": phase, "text": _NOTHING[phase], "rule_ids": [anchor["id"]] if anchor else []}]
    return {
        "summary": f"{name} 배출 방법이에요. {disposal['text'] if disposal else _NOTHING['dispose']}",
        "destination": destination,
        "steps": steps,
        "cautions": [{"text": rule["text"], "rule_ids": [rule["id"]]} for rule in rules if rule["phase"] == "dont"],
        "answer": answer(str(data.get("question") or ""), rules),
    }


def answer(question: str, rules: list[Rule]) -> str:
    """Reply from the rules alone: the one that speaks of what was asked, or that none does; "" without a question."""
    if not question.strip():
        return ""
    if chosen := fitting(question, rules):
        return quoted(chosen)
    disposal = next((rule for rule in rules if rule["phase"] == "dispose"), None)
    if disposal and _HOW.search(question):
        return quoted([disposal])
    return "찾은 기준에는 물어보신 내용이 따로 나와 있지 않아요. 아래 단계를 참고해 주세요."


def fitting(question: str, rules: list[Rule]) -> list[Rule]:
    """The one or two rules that speak of what was asked, none where none does."""
    scored = [(_speaks(question, rule), rule) for rule in rules]
    best = max((score for score, _ in scored), default=0.0)
    return [rule for score, rule in scored if score > best - 0.1][:2] if best > 0 else []


def topical(question: str) -> bool:
    """Whether it speaks of what rules speak of: caps, labels, rinsing and the like."""
    return any(word in question for topic in _TOPICS for word in topic)


def quoted(rules: list[Rule]) -> str:
    """The texts of the rules, one after the other."""
    return " ".join(_sentence(rule["text"]) for rule in rules)


def _by_weight(rules: list[Rule]) -> list[Rule]:
    return sorted(rules, key=lambda rule: rule["phase"] != "dispose")


def _speaks(question: str, rule: Rule) -> float:
    text = str(rule["text"])
    topics: float = sum(
        any(word in question for word in topic) and any(word in text for word in topic) for topic in _TOPICS
    )
    asked_why = rule["phase"] == "why" and any(word in question for word in _WHY)
    shared = pairs(question) & pairs(text)
    if rule["phase"] == "why" and not asked_why:
        topics *= 0.5  # what to do comes before why
    return topics + 2.0 * asked_why + (0.01 * len(shared) if topics or asked_why else 0.0)


def pairs(text: str) -> set[str]:
    """Every two neighbouring syllables of a text."""
    letters = re.sub(r"[^가-힣]", "", text)
    return {letters[start : start + 2] for start in range(len(letters) - 1)}


def _sentence(text: str) -> str:
    return text if text.rstrip().endswith((".", "!", "?")) else f"{text.rstrip()}."
