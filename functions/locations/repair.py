"""Rows of the public data made usable: what is plainly wrong is mended, what cannot be used is left out with its
reason, what cannot be known stays unknown. Nothing is invented.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, TypeAlias

from functions.locations import days
from functions.locations.address import mended
from functions.locations.centre import Centre, Span
from functions.locations.goods import categories

#: Korea with all its islands, from Marado to the east of Dokdo, as (south, north), (west, east).
_LATITUDES, _LONGITUDES = (33.0, 38.7), (124.5, 132.0)
_TYPES: dict[str, Literal["direct", "contracted"]] = {"직영": "direct", "위탁": "contracted"}
_SUSPENDED = re.compile(r"운영\s*중단|운영\s*중지|휴업|휴관|폐업|폐쇄|임시\s*중단")
_NUMBER = re.compile(r"-?\d{1,3}(?:\.\d+)?")
_ROAD = re.compile(r"[가-힣\d](?:로|길)\s*\d+(?![\d가])")
_HOUR = re.compile(r"(\d{1,2})[:시.]?(\d{2})?분?")
#: Seoul, services, other areas and networks; or one number for the whole country. With more or fewer digits it is none:
#: nobody knows which of them are wrong.
_PHONE = re.compile(
    r"(?<!\d)(?<!\d[-.])"
    r"(?:(02|050\d|0(?:[13-46-8]\d|5[1-9]))[-).\s]*(\d{3,4})[-.\s]*(\d{4})|(1[568]\d\d)[-.\s]*(\d{4}))"
    r"(?![-.]?\d)"
)

_Whose: TypeAlias = Literal["centre", "agency"]


class Unusable(Exception):
    """A row that cannot be used; the message is the reason."""


@dataclass(slots=True)
class Notes:
    """What is to be said of a row: (kind, particulars) each."""

    repaired: list[tuple[str, str]] = field(default_factory=list)
    doubtful: list[tuple[str, str]] = field(default_factory=list)


def centre_of(row: Mapping[str, str], notes: Notes) -> Centre:
    """The centre of a row under our names (fields.py); what was done with it goes into `notes`. Unusable."""
    if not row["name"]:
        raise Unusable("no name")
    latitude, longitude = _position(row, notes)
    address = _address(row, notes)
    phone, phone_of = _reachable(row, notes)
    closed, takes = row["closed"] or None, row["takes"] or None
    if closed and (unread := days.read(closed).unread):
        notes.doubtful.append(("days off that were not understood", unread))
    if takes and not categories(takes):
        notes.doubtful.append(("goods in no category", takes))
    if row["type"] and row["type"] not in _TYPES:
        notes.doubtful.append(("neither 직영 nor 위탁", row["type"]))
    if suspended := _SUSPENDED.search(row["name"]):
        notes.doubtful.append(("its name says that it does not work", suspended[0]))
    return Centre(
        id=_id(row["name"], address or f"{latitude:.4f},{longitude:.4f}"),
        name=row["name"],
        latitude=latitude,
        longitude=longitude,
        address=address,
        weekday=_span(row, "weekday", notes),
        rest=_span(row, "rest", notes),
        closed=closed,
        takes=takes,
        accepts=categories(takes or ""),
        type=_TYPES.get(row["type"]),
        operator=row["operator"] or None,
        phone=phone,
        phone_of=phone_of,
        reference_date=_day(row["reference_date"], notes),
        suspended=bool(suspended),
    )


def _position(row: Mapping[str, str], notes: Notes) -> tuple[float, float]:
    texts = row["latitude"], row["longitude"]
    if not all(_NUMBER.fullmatch(text) for text in texts):
        raise Unusable("no coordinates")
    latitude, longitude = map(float, texts)
    if _in_korea(latitude, longitude):
        return latitude, longitude
    if _in_korea(longitude, latitude):
        notes.repaired.append(("latitude and longitude were swapped", ""))
        return longitude, latitude
    raise Unusable("coordinates outside Korea")


def _in_korea(latitude: float, longitude: float) -> bool:
    return _LATITUDES[0] <= latitude <= _LATITUDES[1] and _LONGITUDES[0] <= longitude <= _LONGITUDES[1]


def _address(row: Mapping[str, str], notes: Notes) -> str | None:
    """The address by road, or else by lot."""
    road, lot = row["road_address"], row["lot_address"]
    if _ROAD.search(lot) and road and not _ROAD.search(road):
        notes.repaired.append(("the addresses by road and by lot were swapped", f"{road} / {lot}"))
        road, lot = lot, road
    if not road and not lot:
        notes.doubtful.append(("no address", ""))
        return None
    if not road:
        notes.repaired.append(("no address by road: the one by lot", ""))
    address, how = mended(road or lot, row["agency"])
    if how == "unknown":
        notes.doubtful.append(("an address without a known province", address))
    elif how:
        notes.repaired.append(("name of the province", how))
    return address


def _span(row: Mapping[str, str], which: str, notes: Notes) -> Span | None:
    """Hours of a day; 00:00 to 00:00 is how the file says nothing."""
    texts = row[f"{which}_open"], row[f"{which}_close"]
    name = {"weekday": "weekdays", "rest": "days of rest"}[which]
    if not any(texts):
        return None
    opens, closes = _hhmm(texts[0]), _hhmm(texts[1])
    if opens is None or closes is None or opens == "24:00":
        notes.doubtful.append((f"unreadable hours of {name} are unknown", " – ".join(texts)))
        return None
    if opens == closes:
        notes.repaired.append((f"hours {opens}–{closes} of {name} are unknown", ""))
        return None
    return Span(opens, closes)


def _hhmm(text: str) -> str | None:
    match = _HOUR.fullmatch(text.replace(" ", ""))
    if not match:
        return None
    hours, minutes = int(match[1]), int(match[2] or 0)
    return f"{hours:02}:{minutes:02}" if hours * 60 + minutes <= 24 * 60 and minutes < 60 else None


def _reachable(row: Mapping[str, str], notes: Notes) -> tuple[str | None, _Whose | None]:
    """A phone number and whose: the centre's, or its municipality's."""
    both: tuple[tuple[str, _Whose], ...] = (("phone", "centre"), ("agency_phone", "agency"))
    for name, whose in both:
        if match := _PHONE.search(row[name]):
            number = "-".join(part for part in match.groups() if part)
            if number != row[name]:
                notes.repaired.append(("phone number", f"{row[name]} → {number}"))
            if whose == "agency":
                notes.repaired.append(("no phone of the centre: its municipality's", ""))
            return number, whose
        if row[name]:
            notes.doubtful.append(("no phone number", row[name]))
    return None, None


def _day(text: str, notes: Notes) -> str | None:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        notes.doubtful.append(("no reference date", text))
        return None


def _id(name: str, place: str) -> str:
    return hashlib.sha256(f"{name}\n{place}".encode()).hexdigest()[:16]
