"""THE contract between functions: what may be said, as frozen dataclasses, and the catalogue of all of it.

A payload carries ids and small values only: never a photo, a token, a citizen's words or other personal data.
A breaking change is a new class with a new version in its type; both are consumed for one release.
Standard library only. `schemas/<type>.json` is generated from these classes (`python -m functions.shared.schema`).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from functions.shared.naming import PING_TYPE, child_id, event_type, source

P = TypeVar("P", bound="Payload", covariant=True)
Q = TypeVar("Q", bound="Payload")


class Undecodable(ValueError):
    """The bytes on the wire are not an event of the catalogue: a bug or poison, never a citizen's mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What an event says. Subclasses name their CloudEvents type; `TERMINAL` ones need no consumer."""

    TYPE: ClassVar[str]
    TERMINAL: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPresigned(Payload):
    """A citizen is about to take a photo: a good moment to wake the functions that will be needed."""

    TYPE: ClassVar[str] = event_type("upload", "presigned")
    TERMINAL: ClassVar[bool] = True
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadStored(Payload):
    """The object store holds the photo. `size` in bytes; `etag` without quotes, empty where the store sent none."""

    TYPE: ClassVar[str] = event_type("upload", "stored")
    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisRequested(Payload):
    """The citizen asked for an analysis of the photo at `key`. The question itself stays in the database."""

    TYPE: ClassVar[str] = event_type("analysis", "requested")
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoIngested(Payload):
    """A clean copy of the photo exists. Width and height in pixels of the kept copy."""

    TYPE: ClassVar[str] = event_type("photo", "ingested")
    photo_id: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemIdentified(Payload):
    """One item is certain enough to go on. `round` counts from 1; every correction starts the next one."""

    TYPE: ClassVar[str] = event_type("item", "identified")
    round: int
    item_id: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAmbiguous(Payload):
    """The picture alone does not decide: the app asks, the citizen answers (or the question expires)."""

    TYPE: ClassVar[str] = event_type("item", "ambiguous")
    TERMINAL: ClassVar[bool] = True
    round: int
    options: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemUnmatched(Payload):
    """No item of the dictionary fits: said plainly, with the nearest ones, instead of a guess."""

    TYPE: ClassVar[str] = event_type("item", "unmatched")
    TERMINAL: ClassVar[bool] = True
    round: int
    nearest: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemClarified(Payload):
    """The citizen chose: an answer to our question, or a correction of our guess."""

    TYPE: ClassVar[str] = event_type("item", "clarified")
    round: int
    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesRetrieved(Payload):
    """The rules that hold today for the item and its state, best first, by rule id; the index they came from."""

    TYPE: ClassVar[str] = event_type("rules", "retrieved")
    round: int
    item_id: str
    rule_ids: list[str]
    index_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceGenerated(Payload):
    """The guide is ready; the analysis is completed."""

    TYPE: ClassVar[str] = event_type("guidance", "generated")
    round: int
    guide_id: str
    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofPresigned(Payload):
    """A citizen is about to show the result: a good moment to wake the function that will grade it."""

    TYPE: ClassVar[str] = event_type("proof", "presigned")
    TERMINAL: ClassVar[bool] = True
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRequested(Payload):
    """The citizen did what the guide says and sent a photo of the result, which is (or will be) at `key`."""

    TYPE: ClassVar[str] = event_type("proof", "requested")
    proof_id: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofIngested(Payload):
    """A clean copy of the after-photo exists."""

    TYPE: ClassVar[str] = event_type("proof", "ingested")
    proof_id: str
    photo_id: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofGraded(Payload):
    """Before and after were compared: `grade` is high, middle or low (상/중/하), `score` 0 to 100."""

    TYPE: ClassVar[str] = event_type("proof", "graded")
    proof_id: str
    grade: str
    score: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRefused(Payload):
    """No grade: the photo proves nothing, or something broke. `reason` is a code of messages.json (`proof.<reason>`).

    The citizen may try again with another photo.
    """

    TYPE: ClassVar[str] = event_type("proof", "refused")
    TERMINAL: ClassVar[bool] = True
    proof_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsked(Payload):
    """The citizen asked something more about the guide. The words stay in the database."""

    TYPE: ClassVar[str] = event_type("question", "asked")
    question_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAnswered(Payload):
    """The question has its answer, was politely declined, or could not be answered. `outcome`: answered, declined or
    failed."""

    TYPE: ClassVar[str] = event_type("question", "answered")
    TERMINAL: ClassVar[bool] = True
    question_id: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisFailed(Payload):
    """The analysis can never succeed. `reason` is a stable code of messages.json (`failure.<reason>`)."""

    TYPE: ClassVar[str] = event_type("analysis", "failed")
    TERMINAL: ClassVar[bool] = True
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisExpired(Payload):
    """Nobody came back: no photo, or no answer to our question, in time. `reason`: `no_photo` or `no_answer`."""

    TYPE: ClassVar[str] = event_type("analysis", "expired")
    TERMINAL: ClassVar[bool] = True
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTicked(Payload):
    """A PingSource fired. Knative gives them all one type; the `schedule` in the data tells them apart."""

    TYPE: ClassVar[str] = PING_TYPE
    schedule: str


#: type → payload class: everything that may travel through the broker.
CATALOGUE: dict[str, type[Payload]] = {
    cls.TYPE: cls
    for cls in (
        UploadPresigned,
        UploadStored,
        AnalysisRequested,
        PhotoIngested,
        ItemIdentified,
        ItemAmbiguous,
        ItemUnmatched,
        ItemClarified,
        RulesRetrieved,
        GuidanceGenerated,
        ProofPresigned,
        ProofRequested,
        ProofIngested,
        ProofGraded,
        ProofRefused,
        QuestionAsked,
        QuestionAnswered,
        AnalysisFailed,
        AnalysisExpired,
        ScheduleTicked,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[P]):
    """A payload with its envelope (CloudEvents 1.0 attributes; `subject` is the analysis id, "" for a schedule)."""

    id: str
    source: str
    subject: str
    data: P
    time: datetime
    correlation_id: str
    traceparent: str | None = None

    @property
    def type(self) -> str:
        return self.data.TYPE

    def child(self, function: str, data: Q) -> Event[Q]:
        """The event `function` makes out of this one: id derived, correlation and trace carried on."""
        return Event(
            id=child_id(self.source, self.id, f"{function}:{data.TYPE}"),
            source=source(function),
            subject=self.subject,
            data=data,
            time=datetime.now(UTC),
            correlation_id=self.correlation_id,
            traceparent=self.traceparent,
        )


def encode(data: Payload) -> dict[str, Any]:
    """Payload → plain JSON object."""
    return dataclasses.asdict(data)


def decode(type_: str, data: object) -> Payload:
    """Plain JSON object → payload of that type. Undecodable for an unknown type, a missing, extra or mistyped field."""
    cls = CATALOGUE.get(type_)
    if cls is None:
        raise Undecodable(f"unknown event type {type_!r}")
    if not isinstance(data, dict):
        raise Undecodable(f"{type_}: data is {type(data).__name__}, not an object")
    hints = typing.get_type_hints(cls)
    fields = {f.name for f in dataclasses.fields(cls)}
    problems = [f"missing {name}" for name in sorted(fields - data.keys())]
    problems += [f"unexpected {name}" for name in sorted(data.keys() - fields)]
    problems += [
        f"{name} is not {hints[name]}" for name in sorted(fields & data.keys()) if not _fits(data[name], hints[name])
    ]
    if problems:
        raise Undecodable(f"{type_}: " + ", ".join(problems))
    return cls(**data)


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is list:
        (item,) = get_args(hint)
        return isinstance(value, list) and all(_fits(v, item) for v in value)
    if isinstance(hint, types.UnionType):
        return any(_fits(value, h) for h in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
