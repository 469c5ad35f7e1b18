"""How two photos are compared: one call, and one more where the answer breaks the form; each is kept before its effect.

A kept call is not made again, so a replay comes to the same end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from functions.grade.comparison import PROMPT_VERSION, Comparison, parse
from functions.grade.honesty import NoProof
from functions.shared import calls, telemetry
from functions.shared.calls import Answer, Call
from functions.shared.objects import Missing, Objects
from functions.shared.postgres import Database

log = telemetry.logger("grade")


class Compares(Protocol):
    """Whoever compares photos (llm.py)."""

    def compare(self, before: bytes, after: bytes, data: dict[str, Any], problem: str | None = None) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Task:
    """Which proof it is (`attempt`), of which guide (`round`), and all the model is told: `data`, with "steps", the
    photo before by its key, the photo `after` as it is."""

    analysis_id: str
    round: int
    attempt: int
    before_key: str
    after: bytes
    data: dict[str, Any]

    @property
    def asked(self) -> list[int]:
        return [step["step"] for step in self.data["steps"]]


@dataclass(frozen=True, slots=True)
class Compared:
    """What the model saw and how that came about (`made_by`, as the citizen is shown it)."""

    comparison: Comparison
    made_by: dict[str, Any]


def compare(db: Database, objects: Objects, eyes: Compares, task: Task) -> Compared:
    """One call, one repair. NoProof where the model will not look, or where both answers break the form. ModelDown."""
    purposes = (f"grade{task.attempt}", f"grade{task.attempt}_repair")
    made = {call.purpose: call for call in calls.stored(db, task.analysis_id, task.round, purposes[0])}
    before: bytes | None = None
    problem: str | None = None
    for purpose in purposes:
        if purpose not in made:
            try:
                before = before or objects.get(task.before_key)
            except Missing as error:
                raise NoProof("before_gone", task.before_key) from error
            made[purpose] = calls.keep(
                db,
                eyes.compare(before, task.after, task.data, problem),
                analysis_id=task.analysis_id,
                round_=task.round,
                purpose=purpose,
                prompt_version=PROMPT_VERSION,
            )
        answer = made[purpose].answer
        if answer.refused is not None:
            raise NoProof("unclear", "the model refuses to look")
        found = parse(answer.parsed, task.asked)
        if isinstance(found, Comparison):
            return Compared(found, _made_by(made, made[purpose], repaired=purpose == purposes[1]))
        problem = found
    log.warning("malformed twice", problem=problem)
    raise NoProof("model_unavailable", f"malformed answer: {problem}")


def _made_by(made: Mapping[str, Call], last: Call, *, repaired: bool) -> dict[str, Any]:
    return {
        "model": last.answer.model,
        "standin": last.answer.standin,
        "prompt_version": last.prompt_version,
        "repaired": repaired,
        "calls": sorted(call.id for call in made.values()),
    }
