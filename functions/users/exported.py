"""How the file of everything we keep of a citizen looks (JSON): export.py writes it, codes and words as they are kept.

What a model or a rule said stands there as it was kept, so its inside is not described further.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from functions.shared.api import Count, Day, Id, Path, Time
from functions.shared.outward import GradeCode, Outcome, Round, Status
from functions.users.profile import Profile

Kept = dict[str, Any]


class InBoth(TypedDict):
    """A text in both languages."""

    ko: str
    en: str


class Agreed(TypedDict):
    """When photos were agreed to go to the model provider; of an account when it and its password were made."""

    consented_at: Time | None
    created_at: Time | None
    password_changed_at: Time | None


class CountedDay(TypedDict):
    """A day's counts."""

    day: Day
    analyses: Count
    high: Count
    middle: Count
    low: Count
    score_sum: Count
    corrected: Count


class CountedItem(TypedDict):
    """A day's grades of one item."""

    day: Day
    item_id: str
    destination: str
    graded: Count
    right: Count
    missed: dict[str, Count]


class KeptReport(TypedDict):
    """A weekly report in numbers."""

    week: Day
    content: Kept
    made_at: Time


class QuizTaken(TypedDict):
    """One time a quiz was taken."""

    answers: list[Kept]
    right: Count
    created_at: Time


class KeptLesson(TypedDict):
    """A lesson, also one that was learned or withdrawn."""

    id: Id
    item_id: str
    name_ko: str | None
    name_en: str | None
    proof_id: Id
    wrong: Count
    right_since: Count
    missed: dict[str, Count]
    opened_at: Time
    learned_at: Time | None
    withdrawn: bool
    taken: Count
    quiz: list[QuizTaken]


class KeptStage(TypedDict):
    """Something that happened to an analysis."""

    n: Count
    stage: str
    at: Time


class KeptPhoto(TypedDict):
    """A photo, by what is known of it; the picture itself is at `photos_at` of its analysis."""

    kind: Literal["before", "after"]
    proof_id: Id | None
    width: Count
    height: Count
    bytes: Count
    created_at: Time
    deleted_at: Time | None


class Identified(TypedDict):
    """What was seen and decided in a round."""

    round: Round
    item_id: str | None
    name_ko: str | None
    name_en: str | None
    decision: str
    chosen_by: str
    words: str | None
    state: Kept
    seen: Kept
    candidates: list[Kept]
    question: Kept | None
    created_at: Time


class QuotedRule(TypedDict):
    """A rule as it read that day."""

    id: str
    text: str


class RulesFound(TypedDict):
    """The rules a guide was made of."""

    round: Round
    item_id: str
    index_version: str
    created_at: Time
    passages: list[QuotedRule] | None


class KeptGuide(TypedDict):
    """A guide."""

    id: Id
    round: Round
    item_id: str
    content: Kept
    model: str | None
    standin: bool | None
    created_at: Time


class KeptProof(TypedDict):
    """An attempt to show the result."""

    id: Id
    attempt: Count
    round: Round | None
    status: str
    content_type: str
    checklist: list[int] | None
    grade: GradeCode | None
    score: Count | None
    steps: list[Kept] | None
    feedback: Kept | None
    model: str | None
    standin: bool | None
    reason: str | None
    detail: str | None
    created_at: Time
    requested_at: Time | None
    finished_at: Time | None
    disputed: str | None
    disputed_at: Time | None


class KeptQuestion(TypedDict):
    """A further question."""

    id: Id
    n: Count
    round: Round
    text: str
    status: str
    answer: Kept | None
    model: str | None
    standin: bool | None
    created_at: Time
    answered_at: Time | None


class SentToModel(TypedDict):
    """That something of the analysis went to the model provider."""

    round: Round
    purpose: str
    model: str
    at: Time


class KeptAnalysis(TypedDict):
    """An analysis with all that hangs on it, also one that was never asked for."""

    id: Id
    status: Status
    outcome: Outcome | None
    round: Round
    question: str | None
    region: str | None
    housing: str | None
    content_type: str
    failure: str | None
    created_at: Time
    requested_at: Time | None
    updated_at: Time
    finished_at: Time | None
    stages: list[KeptStage]
    photos: list[KeptPhoto]
    identifications: list[Identified]
    rules: list[RulesFound]
    guides: list[KeptGuide]
    proofs: list[KeptProof]
    questions: list[KeptQuestion]
    sent_to_model: list[SentToModel]
    photos_at: Path


class Export(TypedDict):
    """Everything we keep of a citizen."""

    format: Literal["growbin-export/1"]
    made_at: Time
    photos: InBoth
    profile: Profile
    account: Agreed | None
    days: list[CountedDay]
    items: list[CountedItem]
    reports: list[KeptReport]
    lessons: list[KeptLesson]
    analyses: list[KeptAnalysis]
