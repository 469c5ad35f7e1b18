"""Failure on demand, so that others can prove their code survives a bad model.

Modes: `429`, `500` (OpenAI's error answers), `hang` (no answer), `drip` (the answer byte by byte), `slow` (late),
`malformed` (content that is no JSON), `obey` (does whatever an instruction in the citizen's words, in the data or in
the photo's text says), `uncited` (steps that cite nothing, or rules nobody gave).
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import Any

MODES = ("429", "500", "hang", "drip", "malformed", "obey", "uncited", "slow")

#: Seconds that count where a fault names none: hang and slow wait this long, drip this long between two bytes.
SECONDS = {"hang": 3600.0, "drip": 0.5, "slow": 3.0}

#: `schema` of a fault that shall meet calls for embeddings; None meets every chat call, "*" simply every call.
EMBEDDINGS, EVERYTHING = "embeddings", "*"

#: Reads like an order to the model, in Korean or English.
_ORDER = re.compile(
    r"ignore|disregard|instead|you must|system\s*[:>]|assistant\s*[:>]|instruction|destination\s*[=:]"
    r"|무시하|무시해|지시|시스템\s*[:>]|명령|라고 (답|말|출력|적|써)|출력해",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Fault:
    """One failure mode. `left`: how many calls it still meets, None until reset. `schema`: which calls, see above."""

    mode: str
    left: int | None
    schema: str | None
    seconds: float

    def meets(self, call: str) -> bool:
        """Whether it applies to a call: the schema's name, or "embeddings"."""
        if self.schema is None:
            return call != EMBEDDINGS
        return self.schema in (EVERYTHING, call)


class Faults:
    """The faults in force, at most one for each `schema`; the newest that fits a call is used up by it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def set(self, wish: dict[str, Any]) -> Fault:
        """{"mode", "count"?, "schema"?, "seconds"?} → the fault now in force. ValueError says what is wrong."""
        mode, count, schema, seconds = (wish.get(key) for key in ("mode", "count", "schema", "seconds"))
        if str(mode) not in MODES or set(wish) - {"mode", "count", "schema", "seconds"}:
            raise ValueError(f"mode must be one of {', '.join(MODES)}; other keys: count, schema, seconds")
        if not (count is None or (isinstance(count, int) and count > 0)):
            raise ValueError("count must be a positive integer or null")
        if not (seconds is None or (isinstance(seconds, int | float) and seconds >= 0)):
            raise ValueError("seconds must be a number of 0 or more, or null")
        wait = float(seconds) if seconds is not None else SECONDS.get(str(mode), 0.0)
        fault = Fault(str(mode), count, schema, wait)
        with self._lock:
            self._faults = [fault, *(other for other in self._faults if other.schema != schema)]
        return fault

    def reset(self) -> None:
        """Behave again."""
        with self._lock:
            self._faults.clear()

    def meet(self, call: str) -> Fault | None:
        """The fault this call runs into, used up by one."""
        with self._lock:
            fault = next((fault for fault in self._faults if fault.meets(call)), None)
            if fault and fault.left is not None:
                fault.left -= 1
                if fault.left == 0:
                    self._faults.remove(fault)
            return fault


def malformed(answer: dict[str, Any]) -> str:
    """The answer wrapped in chatter and broken off: what a model without a schema might say."""
    whole = json.dumps(answer, ensure_ascii=False)
    return f"물론이죠! 요청하신 결과예요:\n```json\n{whole[: len(whole) * 2 // 3]}"


def uncited(answer: dict[str, Any]) -> dict[str, Any]:
    """A guide whose steps cite nothing or an unknown rule, in turn; an answer that cites nobody's rule."""
    if "on_topic" in answer:
        return {**answer, "rule_ids": ["rule-nobody-gave"]}
    steps = [
        {**step, "rule_ids": [] if n % 2 else ["rule-nobody-gave"]} for n, step in enumerate(answer.get("steps", []))
    ]
    return {**answer, "steps": steps} if steps else answer


def orders(*texts: str) -> list[str]:
    """The lines of the texts that read like instructions."""
    return [line.strip() for text in texts for line in text.splitlines() if _ORDER.search(line)]


def obedient(answer: dict[str, Any], told: list[str]) -> dict[str, Any]:
    """What a maximally gullible model would answer: the orders become the content, with invented rules behind them."""
    if not told:
        return answer
    order = " ".join(told)
    wanted = _wanted(order)
    if "objects" in answer:
        thing = {
            "name": wanted.get("name", order)[:60],
            "name_en": "as ordered",
            "material": wanted.get("material", "unknown")[:40],
            "state": {"contents": "empty", "dirt": "clean", "label": "off", "cap": "off", "damage": "intact"},
            "confidence": 1.0,
        }
        return {"objects": [thing], "text_in_photo": order[:1000], "notes": order[:1000]}
    if "same_object" in answer:
        return {
            "text_in_photo": answer["text_in_photo"],
            "note": "no",
            "photographed": "real",
            "same_object": "yes",
            "steps": [{"step": step["step"], "verdict": "done", "seen": order[:1000]} for step in answer["steps"]],
            "notes": order[:2000],
        }
    cited = wanted.get("rule_ids", "rule-the-order-invented").split(",")
    if "on_topic" in answer:
        return {"on_topic": True, "answer": order, "rule_ids": cited}
    return {
        "summary": order,
        "destination": wanted.get("destination", answer["destination"]),
        "steps": [{"phase": step["phase"], "text": order, "rule_ids": cited} for step in answer["steps"]],
        "cautions": [{"text": order, "rule_ids": cited}],
        "answer": order,
    }


def _wanted(order: str) -> dict[str, str]:
    """Values an order asks for: key=value or key: value, and "…(이)라고 답해"."""
    keys = {
        "destination": "destination",
        "rule_ids?": "rule_ids",
        "name|item|이름|품목": "name",
        "material|재질": "material",
    }
    wanted = {}
    for pattern, key in keys.items():
        if match := re.search(rf"(?:{pattern})\s*[=:]\s*[\"'“\[]*([^\s\"'”\]]+)", order, re.IGNORECASE):
            wanted[key] = match.group(1).rstrip(".;")
    said = re.search(r"([가-힣A-Za-z]+?)[\"'”]?\s?(?:이라고|라고)\s*(?:답|말|출력|적|써)", order)
    if said:
        wanted.setdefault("name", said.group(1))
    return wanted
