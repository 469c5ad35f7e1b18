"""The answer to a further question about a guide: its schema, what must be true of it, and how it is got.

One call, one repair where the answer breaks a rule of ours, then the words of the rule that fits the question best, or
the plain sentence that the rules do not say. So whatever a citizen wrote into the question, the answer is what a
retrieved rule says, or one of our own sentences.

Whether a question is about something else is the model's to say: in a thread people ask "왜요?" and "그럼 병은요?",
which names nothing that a list of words or of items could know. Our own list (topics.py) is heard twice: a question
that speaks of throwing away is not declined before the model was asked again, and where nothing it said can be used,
the list decides between declining and saying that the rules are silent. A declined question is always answered with our
sentence, never with the model's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, Field, ValidationError

from functions.generate.guide import NEGATION, Brief, Ids, content, pairs, rests, unfit
from functions.shared import calls, messages, telemetry, topics
from functions.shared.calls import Answer, Call
from functions.shared.hangul import canonical
from functions.shared.postgres import Database

#: Of the prompt for questions in llm.py: part of every stored call.
PROMPT_VERSION = "ask-1"

_YES_NO = re.compile(r"\s*(?:네|넵|예|응|아니요|아니오|아뇨|아니|yes|no)\b", re.IGNORECASE)
#: Where a sentence ends or turns: each piece must rest on the rules by itself. A condition ("않으면") stays with what
#: it is a condition of.
_TURN = re.compile(r"(?:(?<=[.!?])|(?<=말고)|(?<=않고))[\s,]+")
_DENIES = re.compile(rf"{NEGATION.pattern}|수\s?없|못\s?[하해쓰써]")
_WHY = re.compile(r"왜|이유|까닭")
#: How one asks: it fits every question, so it tells no rule from another.
_ASKING = set(
    re.findall(
        r"\S+",
        "어떻 떻게 어떡 떡해 어떤 어디 디에 디다 다가 디로 무엇 엇을 뭐예 예요 하나 나요 하면 하는 는지 되나 될까 까요 "
        "되는 할까 건가 가요 인가 그럼 그러 러면 그래 래요 그런 런가 그리 리고 이건 건요 이거 거는 방법 법을 법이 알려 "
        "해야 해도 왜요 왜죠 이유 유가 뭔가 까닭",
    )
)

log = telemetry.logger("generate")


class FollowUp(BaseModel):
    """The answer and the rules it rests on; both empty where the rules do not say, or it is about something else."""

    on_topic: bool
    answer: Annotated[str, Field(max_length=600)]
    rule_ids: Ids


class Answers(Protocol):
    """Whoever answers questions (llm.py)."""

    def answer(self, data: dict[str, Any], problems: list[str] | None = None) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Task:
    """Question `n` of an analysis, about the guide of `round`, and all the model is told for it."""

    analysis_id: str
    round: int
    n: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the citizen reads. `status`: answered or declined; `rule_ids` is empty where none of the rules says it."""

    status: str
    text: str
    rule_ids: list[str]
    made_by: dict[str, Any]


def reply(db: Database, model: Answers, task: Task, brief: Brief) -> Reply:
    """One call, one repair, else our own choice among the rules. Stored calls are not made again. ModelDown."""
    kind = f"ask{task.n}"
    made = {call.purpose: call for call in calls.stored(db, task.analysis_id, task.round, kind)}
    said: FollowUp | str = ""
    faults: list[str] = []
    for purpose in (kind, f"{kind}_repair"):
        call = made.get(purpose) or calls.keep(
            db,
            model.answer(task.data, faults),
            analysis_id=task.analysis_id,
            round_=task.round,
            purpose=purpose,
            prompt_version=PROMPT_VERSION,
        )
        made[purpose] = call
        if call.answer.refused is not None:
            said = ""
            break
        said = parse(call.answer.parsed)
        faults = [said] if isinstance(said, str) else problems(said, brief)
        if not faults:
            break
    if isinstance(said, FollowUp) and (not faults or not said.on_topic):  # told twice that it is off topic: believed
        status, text, rule_ids = _settled(said)
        return Reply(status, text, rule_ids, _made_by(made, fallback=False))
    log.warning("answer from the rules' own text", problems=faults)
    status, text, rule_ids = _chosen(brief)
    return Reply(status, text, rule_ids, _made_by(made, fallback=True))


def parse(answer: dict[str, Any] | None) -> FollowUp | str:
    """The model's answer, or one line that says what is wrong with its form."""
    if answer is None:
        return "답이 JSON 객체가 아닙니다"
    try:
        return FollowUp.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def problems(said: FollowUp, brief: Brief) -> list[str]:
    """Why this answer must not be shown, in words the model can mend it by; empty where it may. Nothing is quoted."""
    if not said.on_topic:
        about_waste = topics.disposal(canonical(brief.question))
        return ["on_topic: 버리는 일에 대한 물음입니다. 기준이 답하지 않으면 answer를 비웁니다"] if about_waste else []
    if not said.answer.strip():
        return []
    found = []
    if not said.rule_ids or set(said.rule_ids) - brief.ids:
        found.append("rule_ids: 주어진 기준의 id여야 하고 하나 이상 있어야 합니다")
    elif not all(_stands(piece, said.rule_ids, brief) for piece in _pieces(said.answer)):
        found.append("answer: 인용한 기준에 없거나 기준을 뒤집은 내용이 있습니다")
    if _YES_NO.match(said.answer):  # a yes to "섞어도 되나요?" turns round what the rule says after it
        found.append("answer: ‘네’나 ‘아니요’로 시작하지 않고 할 일을 씁니다")
    return found + [f"answer: {fault}" for fault in unfit(said.answer, brief)]


def fitting(brief: Brief) -> dict[str, Any] | None:
    """The rule that speaks of what was asked, None where none clearly does: at least a quarter of the question's
    content must stand in it. A question without content ("어디에 버려요?", "왜요?") is about the thing itself.
    """
    why = bool(_WHY.search(brief.question))
    asked = content(brief.question, brief.item) - _ASKING
    if not asked:
        plain = why or topics.disposal(canonical(brief.question))
        return next(iter(brief.of("why" if why else "dispose")), None) if plain and pairs(brief.question) else None

    def fits(rule: dict[str, Any]) -> tuple[int, bool, int]:
        told = [rule["text"].find(pair) for pair in asked & pairs(rule["text"])]
        reason = why and rule["phase"] == "why"
        return len(told) + reason, reason, -min(told, default=0)

    best = max(brief.rules, key=fits, default=None)
    return best if best and fits(best)[0] * 4 >= len(asked) else None


def _stands(piece: str, rule_ids: Sequence[str], brief: Brief) -> bool:
    """Whether a piece of an answer rests on the cited rules and does not turn round the sentence it comes from."""
    told = [part for rule in brief.rules if rule["id"] in rule_ids for part in _pieces(rule["text"])]
    if piece in told:
        return True
    said = content(piece, brief.item)
    shared = [len(said & pairs(part)) for part in told]
    nearest = [part for part, n in zip(told, shared, strict=True) if n == max(shared)]
    if any(bool(_DENIES.search(part)) != bool(_DENIES.search(piece)) for part in nearest):
        return False
    return rests(piece, rule_ids, brief)


def _pieces(text: str) -> list[str]:
    return [piece.strip() for piece in _TURN.split(text) if piece.strip()]


def _settled(said: FollowUp) -> tuple[str, str, list[str]]:
    if not said.on_topic:
        return "declined", messages.text("question.declined"), []
    if not said.answer.strip():
        return "answered", messages.text("question.no_answer"), []
    return "answered", said.answer.strip(), list(dict.fromkeys(said.rule_ids))


def _chosen(brief: Brief) -> tuple[str, str, list[str]]:
    """Where the model is of no use: the fitting rule as it reads, or one of our sentences."""
    if rule := fitting(brief):
        return "answered", rule["text"], [rule["id"]]
    if topics.other(canonical(brief.question)):
        return "declined", messages.text("question.declined"), []
    return "answered", messages.text("question.no_answer"), []


def _made_by(made: Mapping[str, Call], *, fallback: bool) -> dict[str, Any]:
    used = sorted(made.values(), key=lambda call: call.id)
    return {
        "model": used[-1].answer.model,
        "standin": used[-1].answer.standin,
        "prompt_version": used[-1].prompt_version,
        "repaired": len(used) > 1 and not fallback,
        "fallback": fallback,
        "calls": [call.id for call in used],
    }
