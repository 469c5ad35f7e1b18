"""What a route says of itself for the document of the API: what it takes, what it answers, what may go wrong.

`operation` only hangs this onto the view function; `python -m knative.local.openapi` reads it there and adds what holds
for every route (401 without a token, 422 where there is something to send, 429, 503 and the headers that go with them).
Answers are TypedDicts beside the code that makes them, so that mypy holds the code to what the document says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

View = TypeVar("View", bound=Callable[..., Any])

#: Where the record hangs on a view function.
_ATTRIBUTE = "api_operation"


@dataclass(frozen=True, slots=True)
class Format:
    """Annotation of a `str`: a format of JSON Schema (uuid, date-time, date, uri, uri-reference)."""

    name: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """Annotation of a `str`: the whole of it matches this regular expression."""

    regex: str


@dataclass(frozen=True, slots=True)
class Between:
    """Annotation of a number: smallest and largest value."""

    least: float
    most: float


#: What `str.strip` takes away, as a class of a regular expression, and a text of which something is left.
SPACE = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
SAID = rf"[^{SPACE}]"

Id = Annotated[str, Format("uuid")]
Time = Annotated[str, Format("date-time")]
Day = Annotated[str, Format("date")]
Url = Annotated[str, Format("uri")]
Path = Annotated[str, Format("uri-reference")]
Count = Annotated[int, Between(0, 2**31 - 1)]
Share = Annotated[float, Between(0, 1)]


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: its `shape` (None: no body), headers of its own, those that only `maybe` come, its media type."""

    shape: Any
    headers: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route. `answers`: status → shape or Answer; `problems`: status → the codes this route itself may give;
    `headers`: request headers it understands → their shape; `examples`: path or query parameter → a value that exists.
    `access`: whether a token must, may or need not come with the request; `spends`: it costs model calls."""

    answers: Mapping[int, Any]
    body: Any = None
    query: type | None = None
    problems: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    examples: Mapping[str, Any] = field(default_factory=dict)
    access: Literal["token", "optional", "public"] = "token"
    spends: bool = False


def operation(
    *,
    answers: Mapping[int, Any],
    body: Any = None,
    query: type | None = None,
    problems: Mapping[int, tuple[str, ...]] | None = None,
    headers: Mapping[str, Any] | None = None,
    examples: Mapping[str, Any] | None = None,
    access: Literal["token", "optional", "public"] = "token",
    spends: bool = False,
) -> Callable[[View], View]:
    """Hang the record onto a view function; it stays the same. A body that may be left out is `Body | None`."""
    record = Operation(
        answers=answers,
        body=body,
        query=query,
        problems=problems or {},
        headers=headers or {},
        examples=examples or {},
        access=access,
        spends=spends,
    )

    def hang(view: View) -> View:
        setattr(view, _ATTRIBUTE, record)
        return view

    return hang


def one_of(*names: str) -> dict[str, object]:
    """SCHEMA of a body of which exactly one of these texts must be said (not blank)."""
    said = {"type": "string", "pattern": SAID}
    return {"oneOf": [{"required": [name], "properties": {name: said}} for name in names]}


def of(view: Callable[..., Any]) -> Operation | None:
    """The record of a view function; None where it says nothing of itself."""
    found = getattr(view, _ATTRIBUTE, None)
    return found if isinstance(found, Operation) else None
