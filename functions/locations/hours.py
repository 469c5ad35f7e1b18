"""Whether a centre is open now: true, false, or null where what the municipality wrote does not decide it.

A day has one or more possible schedules, and only what all of them agree on is said. Hours nobody stated are a schedule
that knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Literal

from functions.locations import days
from functions.locations.centre import Centre, Span
from functions.shared.regions import KOREA

#: What may hold on a day: hours, closed all day, or nobody knows.
Schedule = Span | Literal["closed"] | None


def is_open(centre: Centre, now: datetime) -> bool | None:
    """At `now` (any time zone; days are those of Korea). A night that began yesterday is yesterday's."""
    if centre.suspended:
        return False
    here = now.astimezone(KOREA)
    today, yesterday = here.date(), here.date() - timedelta(days=1)
    nights = {
        isinstance(schedule, Span) and _overnight(schedule) and bool(_within(schedule, here, yesterday))
        for schedule in schedules(centre, yesterday)
    }
    found = {night or _within(schedule, here, today) for night in nights for schedule in schedules(centre, today)}
    return found.pop() if len(found) == 1 else None


def schedules(centre: Centre, day: date) -> list[Schedule]:
    """Everything that may hold on that day, each once."""
    off = days.read(centre.closed or "")
    closed = off.closed(day, stated=centre.rest is not None)
    if closed:
        return ["closed"]
    found: list[Schedule] = ["closed"] if closed is None else []
    for schedule in _worked(centre, off, day):
        if schedule not in found:
            found.append(schedule)
    return found


def _worked(centre: Centre, off: days.DaysOff, day: date) -> Iterator[Schedule]:
    """Hours if it is no day off. Whether a Saturday counts as a day of rest differs from town to town: both hold."""
    if days.holiday(day) or day.weekday() == days.SUNDAY:
        yield centre.rest
    elif day.weekday() != days.SATURDAY or off.saturday is True:
        yield centre.weekday
    elif isinstance(off.saturday, Span):
        yield off.saturday
    elif off.until:
        yield _ended(centre.weekday, off.until)
    else:
        yield centre.weekday
        yield centre.rest


def _ended(span: Span | None, until: str) -> Schedule:
    if span is None:
        return None
    return Span(span.open, until) if span.open < until else "closed"


def _within(schedule: Schedule, now: datetime, day: date) -> bool | None:
    """Whether `now` lies in the hours that begin on `day`."""
    if not isinstance(schedule, Span):
        return False if schedule == "closed" else None
    begin = datetime.combine(day, datetime.min.time(), KOREA)
    opens, closes = begin + _minutes(schedule.open), begin + _minutes(schedule.close)
    return opens <= now < (closes + timedelta(days=1) if _overnight(schedule) else closes)


def _overnight(span: Span) -> bool:
    return span.close <= span.open


def _minutes(hhmm: str) -> timedelta:
    hours, minutes = hhmm.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))
