"""What several functions show alike (JSON): where an analysis can be followed, where a thing goes, a grade."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Annotated, Literal, NotRequired, TypedDict, cast

from functions.shared import messages
from functions.shared.api import Between, Id, Path, Pattern, Time
from functions.shared.destinations import DESTINATIONS

#: What there is below an analysis, each at `…/analyses/{id}/<name>`.
DOORS = ("events", "answer", "correction", "photos", "verify", "dispute", "questions")

#: Of an analysis (lifecycle.py), and what a completed one led to.
Status = Literal[
    "presigned",
    "requested",
    "ingested",
    "needs_answer",
    "identified",
    "retrieved",
    "completed",
    "failed",
    "expired",
]
Outcome = Literal["guide", "not_found"]
Round = Annotated[int, Between(1, 2**31 - 1)]
GradeCode = Literal["high", "middle", "low"]


class Links(TypedDict):
    """Where the analysis is read and followed, and where everything that can be done with it is done."""

    self: Path
    events: Path
    answer: Path
    correction: Path
    photos: Path
    verify: Path
    dispute: Path
    questions: Path


class Place(TypedDict):
    """Where something goes; `where` says how to find that, for the kind of home."""

    code: str
    name: str
    where: str


class Grade(TypedDict):
    """high is 상, middle 중, low 하."""

    code: GradeCode
    name: str


class Named(TypedDict):
    """An item of the dictionary."""

    id: str
    name: str


def links(analysis_id: uuid.UUID) -> Links:
    """Where the analysis can be read and followed, and where everything that can be done with it is done."""
    here = f"/api/v1/waste/analyses/{analysis_id}"
    return cast(Links, {"self": here, **{name: f"{here}/{name}" for name in DOORS}})


def place(code: str | None, housing: str | None, locale: str) -> Place | None:
    """Where something goes: {code, name, where}; None for no code."""
    known = DESTINATIONS.get(code or "")
    if known is None:
        return None
    return {"code": known.code, "name": known.en if locale == "en" else known.ko, "where": known.where(housing)}


def places(codes: Iterable[str], housing: str | None, locale: str) -> list[Place]:
    """The same of several; what is no code is left out."""
    return [known for known in (place(code, housing, locale) for code in codes) if known]


def grade(code: GradeCode | None, locale: str) -> Grade | None:
    """{code, name}: high is 상, middle 중, low 하; None for no grade."""
    return {"code": code, "name": messages.text(f"grade.{code}", locale)} if code else None


class Fault(TypedDict):
    """What is wrong with one field of a body or query."""

    field: str
    code: str
    detail: str


class ProblemDocument(TypedDict):
    """What went wrong (RFC 9457). `code` is for programs and never changes, `title` and `detail` are for people.

    `problems` lists every fault of an `invalid_request`; the rest says what is to be known of that problem: which
    analysis, in which state, where to go on, what may have been meant, what is renewed when.
    """

    type: Annotated[str, Pattern(r"urn:growbin:problem:[a-z_]+")]
    title: str
    status: Annotated[int, Between(400, 599)]
    code: str
    detail: str
    problems: NotRequired[list[Fault]]
    id: NotRequired[Id]
    state: NotRequired[Status]
    links: NotRequired[Links]
    nearest: NotRequired[list[Named]]
    limit: NotRequired[int]
    renewed_at: NotRequired[Time]
