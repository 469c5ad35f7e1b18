"""How a photo is looked at: one call, and one more where the answer is malformed; each is stored before its effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from functions.identify.seen import PROMPT_VERSION, SeenPhoto, parse
from functions.shared import calls
from functions.shared.calls import Answer
from functions.shared.function import ModelDown, Rejected
from functions.shared.objects import Missing, Objects
from functions.shared.postgres import Database


class Sees(Protocol):
    """Whoever looks at photos (llm.py)."""

    @property
    def park_seconds(self) -> float: ...
    def see(self, photo: bytes, words: str, problem: str | None = None) -> Answer: ...


#: So many malformed answers about one photo, about an hour of parking and trying, and it is the photo.
MOST_CALLS = 12


@dataclass(frozen=True, slots=True)
class Task:
    """Whose photo it is, the key of the copy for the model, and what the citizen wrote."""

    analysis_id: str
    round: int
    key: str
    words: str


def look(db: Database, objects: Objects, vision: Sees, task: Task) -> SeenPhoto:
    """What the model saw: from a stored call, or one call and one repair. ModelDown where both are malformed.

    When the work comes back after that, it is one call a time. Rejected where the model refuses or never makes sense.
    """
    before = calls.stored(db, task.analysis_id, task.round, "see")
    for call in before:
        if isinstance(seen := _seen(call.answer), SeenPhoto):
            return seen
    if len(before) >= MOST_CALLS:
        raise Rejected("bad_photo", "unreadable")
    try:
        photo = objects.get(task.key)
    except Missing as error:
        raise Rejected("bad_photo", "gone") from error
    problem: str | None = None
    for purpose in (f"see_{len(before) + 1}",) if before else ("see", "see_repair"):
        answer = vision.see(photo, task.words, problem)
        call = calls.keep(
            db,
            answer,
            analysis_id=task.analysis_id,
            round_=task.round,
            purpose=purpose,
            prompt_version=PROMPT_VERSION,
        )
        seen = _seen(call.answer)
        if isinstance(seen, SeenPhoto):
            return seen
        problem = seen
    raise ModelDown(f"malformed answer: {problem}", vision.park_seconds)


def _seen(answer: calls.Answer) -> SeenPhoto | str:
    """The answer, or what is wrong with it. Rejected where the model would not look."""
    if answer.refused is not None:
        raise Rejected("bad_photo", "refused")
    return parse(answer.parsed)
