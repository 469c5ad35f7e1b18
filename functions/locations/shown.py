"""What a client is told: shapes and texts of the answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypedDict

from functions.locations.centre import Centre, Span
from functions.locations.goods import Accepts
from functions.locations.hours import is_open
from functions.locations.nearby import Near
from functions.locations.shelf import Found
from functions.shared import messages
from functions.shared.api import Between, Count, Day, Time


class Hours(TypedDict):
    """Opening hours of a day, "HH:MM" each; where `close` is not after `open`, it is on the next day."""

    open: str
    close: str


class Week(TypedDict):
    """`rest_day`: Sundays and public holidays, often Saturdays. `closed`: days off in the municipality's words. None:
    nobody said."""

    weekday: Hours | None
    rest_day: Hours | None
    closed: str | None


class Place(TypedDict):
    """A recycling centre. `open` now: None where the stated hours do not decide it. `suspended`: its name says that it
    does not work. `takes`: the municipality's words, of which `accepts` are the categories that were recognised.
    `phone_of`: whose number it is. `reference_date`: the day the municipality says this was true."""

    id: str
    name: str
    distance_m: Count
    latitude: Annotated[float, Between(-90, 90)]
    longitude: Annotated[float, Between(-180, 180)]
    address: str | None
    open: bool | None
    suspended: bool
    hours: Week
    accepts: list[Accepts]
    accepts_names: list[str]
    takes: str | None
    type: Literal["direct", "contracted"] | None
    type_name: str | None
    operator: str | None
    phone: str | None
    phone_of: Literal["centre", "agency"] | None
    reference_date: Day | None


class Source(TypedDict):
    """Where the centres are from. `sample`: they are made up. `stale`: older than they should be, for want of an
    answer."""

    name: str
    sample: bool
    fetched_at: Time
    age_seconds: Count
    stale: bool


class Places(TypedDict):
    """The nearest ten centres within `radius` metres; where there is none, the nearest of all, and `note` says so."""

    centres: list[Place]
    radius: Count
    note: str | None
    source: Source


def place(near: Near, now: datetime, locale: str) -> Place:
    """A centre as it is shown at `now`."""
    one: Centre = near.centre
    return {
        "id": one.id,
        "name": one.name,
        "distance_m": round(near.distance),
        "latitude": one.latitude,
        "longitude": one.longitude,
        "address": one.address,
        "open": is_open(one, now),
        "suspended": one.suspended,
        "hours": {"weekday": _hours(one.weekday), "rest_day": _hours(one.rest), "closed": one.closed},
        "accepts": list(one.accepts),
        "accepts_names": [messages.text(f"places.accepts.{category}", locale) for category in one.accepts],
        "takes": one.takes,
        "type": one.type,
        "type_name": messages.text(f"places.type.{one.type}", locale) if one.type else None,
        "operator": one.operator,
        "phone": one.phone,
        "phone_of": one.phone_of,
        "reference_date": one.reference_date,
    }


def source(found: Found, now: datetime, locale: str) -> Source:
    """Where they are from, and how old that is at `now`."""
    return {
        "name": messages.text(f"places.source.{found.origin}", locale),
        "sample": found.origin == "sample",
        "fetched_at": datetime.fromtimestamp(found.at, UTC).isoformat(timespec="seconds"),
        "age_seconds": max(0, int(now.timestamp() - found.at)),
        "stale": not found.fresh(now.timestamp()),
    }


def note(radius: int, *, filtered: bool, anywhere: bool, locale: str) -> str:
    """Why the centres shown are farther away than was asked for, or why there are none."""
    key = ("places.note.outside" if anywhere else "places.note.none") + (".filtered" if filtered else "")
    return messages.text(key, locale, radius=f"{radius / 1000:g} km")


def _hours(span: Span | None) -> Hours | None:
    return {"open": span.open, "close": span.close} if span else None
