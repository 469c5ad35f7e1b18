"""How everything that `waste` answers looks (JSON): the shapes of view.py, shown.py and lookup.py.

What other functions show alike is in outward.py and history.py of functions/shared.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from functions.shared.api import Between, Count, Day, Id, Share, Time, Url
from functions.shared.outward import Grade, Links, Named, Outcome, Place, Round, Status

Phase = Literal["prepare", "wash", "separate", "dispose", "dont", "why"]
Basis = Literal["official-class", "directive", "survey", "author"]
Decision = Literal["match", "ambiguous", "not_found"]
Percent = Annotated[int, Between(0, 100)]


class Accepted(TypedDict):
    """What was asked for is being done: read it at `links.self`, follow it at `links.events`."""

    id: Id
    status: Status
    round: Round
    links: Links


class Reason(TypedDict):
    """Why there is no result: a code for programs, a sentence for people."""

    code: str
    message: str


class Stage(TypedDict):
    """Event `n` of the analysis, in the order in which they happened."""

    n: Count
    stage: str
    at: Time
    round: NotRequired[Round]


class State(TypedDict, total=False):
    """What is known of the thing; "unknown", null and absent mean that nobody said."""

    contents: str
    dirt: str
    label: str
    cap: str
    damage: str
    material: str | None
    size: str | None
    kind: str | None
    housing: str | None


class SeenState(TypedDict):
    """In what condition a thing is, as far as the photo shows it or the citizen says it."""

    contents: str
    dirt: str
    label: str
    cap: str
    damage: str


class SeenThing(TypedDict):
    """One thing the model saw."""

    name: str
    name_en: str
    material: str
    state: SeenState
    confidence: Share


class Seen(TypedDict):
    """What the model saw in the photo, in its own words."""

    objects: list[SeenThing]
    text_in_photo: str
    notes: str


class Nearest(TypedDict):
    """An item that may be meant, best first."""

    id: str
    name: str
    score: float


class Option(TypedDict):
    """An answer to the question: send its `id`."""

    id: str
    label: str
    item_id: str
    state: State | None


class Question(TypedDict):
    """The one question whose answer decides."""

    question: str
    options: list[Option]


class Item(TypedDict):
    """What it is. `id` and `name` are null while that has to be asked, or where nothing fits."""

    id: str | None
    name: str | None
    confidence: Share | None
    decision: Decision
    chosen_by: Literal["model", "answer", "correction"]
    state: State
    seen: Seen
    candidates: list[Nearest]
    others: list[Named]


class Source(TypedDict):
    """Where a rule was read; no address for our own judgement."""

    title: str
    url: Url | None


class Cited(TypedDict):
    """A rule as it read on the day of the guide; `destination` is a code."""

    id: str
    phase: Phase
    text: str
    destination: str | None
    basis: Basis
    basis_name: str
    source: Source
    effective_from: Day
    checked: Day
    disagreement: str | None


class Rule(TypedDict):
    """A rule as it reads today."""

    id: str
    phase: Phase
    text: str
    destination: Place | None
    basis: Basis
    basis_name: str
    source: Source
    effective_from: Day
    checked: Day
    disagreement: str | None


class Step(TypedDict):
    """One thing to do, with the rules it rests on; `to_do` is false where it says that there is nothing to do."""

    phase: Literal["prepare", "wash", "separate", "dispose"]
    phase_name: str
    text: str
    rule_ids: list[str]
    to_do: bool


class Caution(TypedDict):
    """What not to do."""

    text: str
    rule_ids: list[str]


class GuideMaker(TypedDict):
    """How the guide came about. `standin`: a small model of ours answered; `fallback`: the rules' own words;
    `cost_usd` is null where a price is not known."""

    model: str
    standin: bool
    prompt_version: str
    repaired: bool
    fallback: bool
    cached: bool
    calls: list[int]
    tokens_in: Count
    tokens_out: Count
    cost_usd: float | None
    ms: Count


class Guide(TypedDict):
    """How to sort it, in the four phases. `destination` is null where municipalities differ; `answer` is empty where
    nothing was asked."""

    id: Id
    round: Round
    summary: str
    destination: Place | None
    steps: list[Step]
    cautions: list[Caution]
    answer: str
    rules: list[Cited]
    made_by: GuideMaker


class GuideEntry(TypedDict):
    """A guide of this analysis, of its present round or an earlier one (`?round=`)."""

    id: Id
    round: Round
    item_id: str
    item_name: str
    created_at: Time


class Verdict(TypedDict):
    """What the photos show of one advised step."""

    step: Count
    phase: str
    phase_name: str
    text: str
    verdict: Literal["done", "not_done", "cannot_tell", "not_applicable"]
    verdict_name: str
    seen: str


class Point(TypedDict):
    """What to do better at a step, or to show."""

    step: Count
    text: str


class Feedback(TypedDict):
    """What went well, and what is to be done next time."""

    summary: str
    points: list[Point]


class GradeMaker(TypedDict):
    """How the grade came about."""

    model: str
    standin: bool
    prompt_version: str
    repaired: bool
    calls: list[int]


class Disputed(TypedDict):
    """What the citizen said against the grade, and when."""

    reason: str
    created_at: Time


class Proof(TypedDict):
    """One attempt to show that the guide was followed. `grade` or `reason` once it has ended."""

    id: Id
    attempt: Annotated[int, Between(1, 99)]
    round: Round | None
    item: Named | None
    status: Literal["presigned", "requested", "ingested", "graded", "refused"]
    grade: Grade | None
    score: Percent | None
    steps: list[Verdict]
    feedback: Feedback | None
    reason: Reason | None
    made_by: GradeMaker | None
    checklist: list[int] | None
    dispute: Disputed | None
    created_at: Time
    finished_at: Time | None


class Reply(TypedDict):
    """The answer, and the rules it rests on."""

    text: str
    rule_ids: list[str]


class ReplyMaker(TypedDict):
    """How the answer came about."""

    model: str
    standin: bool
    prompt_version: str
    repaired: bool
    fallback: bool
    calls: list[int]


class FurtherQuestion(TypedDict):
    """Question `n` of the thread."""

    id: Id
    n: Annotated[int, Between(1, 99)]
    text: str
    status: Literal["asked", "answered", "declined", "failed"]
    answer: Reply | None
    made_by: ReplyMaker | None
    created_at: Time
    answered_at: Time | None


class Analysis(TypedDict):
    """Everything there is to know of an analysis, with the item and the guide of one round."""

    id: Id
    status: Status
    outcome: Outcome | None
    round: Round
    created_at: Time
    updated_at: Time
    question: str | None
    region: str | None
    housing: Literal["apartment", "house"] | None
    stages: list[Stage]
    item: Item | None
    clarify: Question | None
    guide: Guide | None
    guides: list[GuideEntry]
    verifiable: bool
    proofs: list[Proof]
    questions: list[FurtherQuestion]
    failure: Reason | None
    links: Links


class Verifying(TypedDict):
    """The after-photo is being graded."""

    id: Id
    proof: Proof
    links: Links


class Contested(TypedDict):
    """Kept beside the grade, for an operator to read."""

    proof_id: Id
    reason: str
    created_at: Time


class Asked(TypedDict):
    """The answer will stand in the thread of the analysis."""

    id: Id
    question: FurtherQuestion
    links: Links


class Part(TypedDict):
    """What comes off and goes elsewhere."""

    name: str
    destination: Place | None


class Candidate(TypedDict):
    """An item that may be meant, and the places that are still possible."""

    id: str
    name: str
    score: float
    destinations: list[Place]


class Findings(TypedDict):
    """What a search found. ambiguous: `question` decides; not_found: the candidates are merely the nearest; together:
    several things were asked about at once; `parts` says of each where it goes, and this opens one."""

    query: str
    decision: Decision
    state: State
    candidates: list[Candidate]
    question: Question | None
    together: Question | None
    parts: list[Part]
    ms: float


class Otherwise(TypedDict):
    """A kind or state that nobody is asked about, and where the thing goes then: look the item up in that `state`."""

    label: str
    state: State
    destinations: list[Place]


class Known(TypedDict):
    """An item in a state: the rules that hold for it today, what is yet to be asked, and what would change them."""

    id: str
    name: str
    question: Question | None
    rules: list[Rule]
    destinations: list[Place]
    otherwise: list[Otherwise]
    parts: list[Part]


class Line(TypedDict):
    """A line of the guide for all items; `destinations` are names of places."""

    id: str
    name: str
    aliases: list[str]
    destinations: list[str]


class AllItems(TypedDict):
    """Every item there is."""

    items: list[Line]
