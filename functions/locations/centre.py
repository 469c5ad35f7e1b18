"""A recycling centre as we keep it: a row of the public data after repair.py. In Redis and in table `centres` it is a
JSON object."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from functions.locations.goods import Accepts


class Span(NamedTuple):
    """Opening hours of a day, "HH:MM" each. Where `close` is not after `open`, it is on the next day; "24:00" is the
    end of the day."""

    open: str
    close: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Centre:
    """`rest`: hours of days of rest (Sundays and public holidays, often Saturdays). `closed` and `takes` are the
    municipality's own words, `accepts` the categories of goods.py. `type`: `direct` (직영) or `contracted` (위탁).
    `phone_of`: `centre`, or `agency` where only the municipality's own number is known. None: nobody said.
    """

    id: str
    name: str
    latitude: float
    longitude: float
    address: str | None = None
    weekday: Span | None = None
    rest: Span | None = None
    closed: str | None = None
    takes: str | None = None
    accepts: tuple[Accepts, ...] = ()
    type: Literal["direct", "contracted"] | None = None
    operator: str | None = None
    phone: str | None = None
    phone_of: Literal["centre", "agency"] | None = None
    reference_date: str | None = None
    suspended: bool = False

    def document(self) -> dict[str, Any]:
        """As a JSON object without what is unknown; `from_document` reads it again."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) not in (None, (), False)
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Centre:
        """TypeError where it is not one of ours."""
        values = dict(document)
        for name in ("weekday", "rest"):
            if values.get(name):
                values[name] = Span(*values[name])
        return cls(**{**values, "accepts": tuple(values.get("accepts", ()))})
