"""How a guide is written: one call, one repair where it breaks a rule of ours, then the rules' own words in place of
what is still wrong, and where that is not enough, the rules themselves in plain form.

So a citizen never gets nothing, and never an invented rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from functions.generate.guide import PROMPT_VERSION, Brief, Guide, mended, parse, plain, problems, settled
from functions.shared import calls, telemetry
from functions.shared.calls import Answer, Call
from functions.shared.postgres import Database

#: A call and its repair, as they stand in `model_calls`.
PURPOSES = ("guide", "guide_repair")

log = telemetry.logger("generate")


class Writes(Protocol):
    """Whoever writes guides (llm.py)."""

    def write(self, data: dict[str, Any], problems: list[str] | None = None) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Task:
    """Whose guide it is, and all the model is told for it."""

    analysis_id: str
    round: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """A guide and how it came about (`made_by`, as the citizen is shown it)."""

    guide: Guide
    made_by: dict[str, Any]


def write(db: Database, writer: Writes, task: Task, brief: Brief) -> Written:
    """One call, one repair; steps still refused then become their rules' own text; else the plain rules.

    Calls that are stored are not made again. ModelDown.
    """
    made = {call.purpose: call for call in calls.stored(db, task.analysis_id, task.round, "guide")}
    faults: list[str] = []
    for purpose in PURPOSES:
        call = made.get(purpose) or calls.keep(
            db,
            writer.write(task.data, faults),
            analysis_id=task.analysis_id,
            round_=task.round,
            purpose=purpose,
            prompt_version=PROMPT_VERSION,
        )
        made[purpose] = call
        if call.answer.refused is not None:
            break
        guide = parse(call.answer.parsed)
        if isinstance(guide, Guide) and purpose == PURPOSES[-1]:
            guide = mended(guide, brief)
        faults = [guide] if isinstance(guide, str) else problems(guide, brief)
        if isinstance(guide, Guide) and not faults:
            return Written(settled(guide, brief), _made_by(made, repaired=purpose == "guide_repair", fallback=False))
    log.warning("plain guide", problems=faults)
    return Written(plain(brief), _made_by(made, repaired=False, fallback=True))


def _made_by(made: Mapping[str, Call], *, repaired: bool, fallback: bool) -> dict[str, Any]:
    last = made[next(purpose for purpose in reversed(PURPOSES) if purpose in made)]
    return {
        "model": last.answer.model,
        "standin": last.answer.standin,
        "prompt_version": last.prompt_version,
        "repaired": repaired,
        "fallback": fallback,
        "cached": False,
        "calls": [made[purpose].id for purpose in PURPOSES if purpose in made],
    }
