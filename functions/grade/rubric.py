"""From verdicts to a grade: 상 (high), 중 (middle), 하 (low) with a score, or none where too little can be seen. Pure.

Every weight and threshold of a grade stands here. What must hold, whatever they are (tests/test_rubric.py tries every
combination): doing more never grades lower; a step that cannot be judged, or does not apply to this thing, leaves the
sum and so never lowers a grade; and where most cannot be judged there is no grade, but the wish for a better photo.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from functions.grade.comparison import Verdict, shown
from functions.shared import messages
from functions.shared.rules import conditional

#: How much a phase counts; its steps share it, so that three steps of handing over are no more than one. What is dirty
#: or still has foreign parts on it spoils what it is collected with ("비우고, 헹구고, 분리하고, 섞지 않는다": the two
#: in the middle are the work): washing and separating count most. Emptying shows in the washing too. Where it is put
#: counts no more than that: a photo seldom shows the bin, and then the grade is to rest on what it does show.
WEIGHTS = {"prepare": 2, "wash": 3, "separate": 3, "dispose": 2}

#: Share of the weight that must be judged. Under half, most of a grade would be a guess.
JUDGED = 0.5

#: Score for 중: at least half of what can be judged was done. 상 has no threshold: nothing judged was left undone.
MIDDLE = 50


@dataclass(frozen=True, slots=True)
class Step:
    """A step as it was advised: its number in the guide, its `text`, and the text of the `rule` it rests on, which is
    what it is held against. `weight` is that of its phase, 0 where there is nothing to do; `conditional`: the rule asks
    it of only some things, so it may not apply."""

    step: int
    phase: str
    text: str
    rule: str
    weight: int
    conditional: bool


@dataclass(frozen=True, slots=True)
class Result:
    """`grade` is high, middle, low, or None for unclear (as `score` is then); of `weight`, `judged` was judged."""

    grade: str | None
    score: int | None
    judged: Fraction
    weight: int


def advised(steps: Sequence[Mapping[str, Any]], passages: Iterable[Mapping[str, Any]]) -> list[Step]:
    """The steps of a guide ({"phase", "text", "rule_ids"}) with the rules they rest on ({"id", "phase", "text"}).

    A step is held against its rules and not against its own words: those were written by a model that had read what the
    citizen asked. One that says that there is nothing to do weighs nothing.
    """
    rules = {rule["id"]: rule for rule in passages}
    nothing = {messages.text(f"guide.nothing.{phase}") for phase in WEIGHTS}
    found = []
    for n, step in enumerate(steps):
        cited = [rules[id_] for id_ in step["rule_ids"]]
        of_phase = [rule for rule in cited if rule["phase"] == step["phase"]]
        text = " ".join(rule["text"] for rule in of_phase or cited)
        weight = 0 if step["text"] in nothing else WEIGHTS[step["phase"]]
        some = all(conditional(rule["text"]) for rule in of_phase or cited)
        found.append(Step(n, step["phase"], step["text"], text, weight, some))
    return found


def rate(verdicts: Iterable[tuple[str, Verdict]]) -> Result:
    """The result of (phase, verdict) of every step that weighs anything: the share done of what can be judged, phase by
    phase, by their weights."""
    given: dict[str, Counter[Verdict]] = {}
    for phase, verdict in verdicts:
        if verdict != "not_applicable":
            given.setdefault(phase, Counter())[verdict] += 1
    weight = sum(WEIGHTS[phase] for phase in given)
    judged = sum((WEIGHTS[phase] * Fraction(_judged(of), of.total()) for phase, of in given.items()), Fraction())
    if judged == 0 or judged < Fraction(JUDGED) * weight:
        return Result(None, None, judged, weight)
    counted = {phase: of for phase, of in given.items() if _judged(of)}
    done = sum(WEIGHTS[phase] * Fraction(of["done"], _judged(of)) for phase, of in counted.items())
    score = int(100 * done / sum(WEIGHTS[phase] for phase in counted))  # rounded down: 100 leaves nothing undone
    undone = any(of["not_done"] for of in counted.values())
    grade = "high" if not undone else "middle" if score >= MIDDLE else "low"
    return Result(grade, score, judged, weight)


def _judged(of: Counter[Verdict]) -> int:
    return of["done"] + of["not_done"]


def feedback(grade: str, verdicts: Sequence[tuple[Step, Verdict]]) -> dict[str, Any]:
    """{"summary", "points": [{"step", "text"}]}, Korean: what went well, how to do what was not done, what to show.

    Only our own words and the rules' in it, whatever the model wrote.
    """
    well = [step for step, verdict in verdicts if verdict == "done"]
    unseen = any(verdict == "cannot_tell" for _, verdict in verdicts)
    summary = [messages.text(f"grade.feedback.{grade}")]
    if well and grade != "high":
        summary.append(messages.text("grade.feedback.well", phases=_phases(well)))
    if unseen:
        summary.append(messages.text("grade.feedback.unseen"))
    points = [_point(step, verdict) for step, verdict in verdicts if verdict in {"not_done", "cannot_tell"}]
    return {"summary": " ".join(summary), "points": points}


def rows(verdicts: Sequence[tuple[Step, Verdict]], seen: Mapping[int, str]) -> list[dict[str, Any]]:
    """The verdicts as they are kept and shown; what the model says it saw stands beside a step and decides nothing."""
    return [
        {
            "step": step.step,
            "phase": step.phase,
            "text": step.text,
            "verdict": verdict,
            "seen": shown(seen[step.step]),
            "weight": step.weight,
        }
        for step, verdict in verdicts
    ]


def _point(step: Step, verdict: Verdict) -> dict[str, Any]:
    phase = messages.text(f"phase.{step.phase}")
    if verdict == "not_done":
        return {"step": step.step, "text": messages.text("grade.feedback.not_done", phase=phase, rule=step.rule)}
    show = messages.text(f"grade.feedback.show.{step.phase}")
    return {"step": step.step, "text": messages.text("grade.feedback.cannot_tell", phase=phase, show=show)}


def _phases(steps: Iterable[Step]) -> str:
    return ", ".join(dict.fromkeys(messages.text(f"phase.{step.phase}") for step in steps))
