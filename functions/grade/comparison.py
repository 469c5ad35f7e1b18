"""What the model is asked about two photos: the schema of its answer, and how a strange answer is noticed.

The model says what it sees of each step. It gives no grade and no score: those are the rubric's (rubric.py).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

#: Of the prompt in llm.py: part of every stored call.
PROMPT_VERSION = "compare-3"

Verdict = Literal["done", "not_done", "cannot_tell", "not_applicable"]

#: Letters a sentence about what was seen may have to be shown.
LONGEST = 120

_HANGUL = re.compile(r"[가-힣]")
_ADDRESS = re.compile(r"https?:|www\.|@|\b[\w-]+\.(?:com|net|org|io|kr|co|me|app|info|xyz|ly)\b", re.IGNORECASE)
_GRADES = re.compile(r"등급|점수|만점|[상중하]\s?(?:으로|입니다|이에요|예요)|grade|score|high|perfect", re.IGNORECASE)
#: A sentence that rests on what is written somewhere ("헹궜다고 적혀 있어요"), not on what was seen.
_WRITING = re.compile(
    r"[다라]고\s?(?:적[혀힌히어은]|쓰[여인]|써\s?[있져진])|메모|쪽지|포스트잇|\bsays\b|\bwritten\b|\bnote\b",
    re.IGNORECASE,
)


class StepSeen(BaseModel):
    """One advised step, by its number, and what the photos show of it, in one short Korean sentence."""

    step: int
    verdict: Verdict
    seen: Annotated[str, Field(max_length=1000)]


class Comparison(BaseModel):
    """A photo before and a photo after, compared. `photographed` is about the one after, and so is writing.
    `text_in_photo`: only what somebody put there, not what is printed on the thing or a bin; `note`: whether there is
    such writing."""

    text_in_photo: Annotated[str, Field(max_length=8000)]
    note: Literal["yes", "no", "cannot_tell"]
    photographed: Literal["real", "screen", "cannot_tell"]
    same_object: Literal["yes", "no", "cannot_tell"]
    steps: Annotated[list[StepSeen], Field(max_length=16)]
    notes: Annotated[str, Field(max_length=2000)]


def parse(answer: dict[str, Any] | None, asked: Collection[int]) -> Comparison | str:
    """The model's answer about exactly the steps that were `asked`, or one line that says what is wrong with it.

    Places are named, never quoted: what is written in a photo must not come back as part of a prompt.
    """
    if answer is None:
        return "답이 JSON 객체가 아닙니다"
    try:
        comparison = Comparison.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    given = [one.step for one in comparison.steps]
    if sorted(given) != sorted(asked):
        return f"steps: 단계 {', '.join(map(str, asked))}를 빠짐없이 한 번씩만 적어야 합니다"
    return comparison


def verdict(seen: StepSeen, *, conditional: bool) -> Verdict:
    """What counts of a verdict: what is said to be done, or not to apply, because something is written was not seen,
    and only a step that is asked of some things (`conditional`) can be one that does not apply."""
    helps = seen.verdict in {"done", "not_applicable"}
    if helps and (_WRITING.search(seen.seen) or (seen.verdict == "not_applicable" and not conditional)):
        return "cannot_tell"
    return seen.verdict


def shown(seen: str) -> str:
    """The sentence, if a citizen may read it: short, Korean, no address, no numbers to ring or to believe, no grade."""
    sentence = " ".join(unicodedata.normalize("NFKC", seen).split())
    hidden = any(unicodedata.category(letter).startswith("C") for letter in sentence)
    digits = sum(letter.isdigit() for letter in sentence)
    if hidden or digits > 2 or not 2 <= len(sentence) <= LONGEST or not _HANGUL.search(sentence):
        return ""
    return "" if _ADDRESS.search(sentence) or _GRADES.search(sentence) else sentence
