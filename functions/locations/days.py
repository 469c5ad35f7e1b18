"""The days a centre is closed: the public holidays of Korea, and what a municipality writes about its days off.

The holidays come from the package `holidays`: they follow the moon, move when they fall on a weekend, and the law adds
some (since 2026 the first of May and the 17th of July), so a table of our own would be wrong within the year.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import TypeAlias

from functions.locations.centre import Span

SATURDAY, SUNDAY = 5, 6
_WEEK = "월화수목금토일"
#: The two great holidays, by the name of their day.
_FEASTS = ("설날", "추석")


@lru_cache(maxsize=8)
def holidays_of(year: int) -> Mapping[date, str]:
    """Public holidays of Korea, substitute ones and election days among them, with their Korean names."""
    import holidays

    return dict(holidays.country_holidays("KR", language="ko", years=year))


def holiday(day: date) -> str:
    """Name of the public holiday, or "" where it is none (Sundays are none here)."""
    return holidays_of(day.year).get(day, "")


@dataclass(slots=True)
class DaysOff:
    """What a municipality says of its days off, understood. `every` and `alternate` hold days of the week (Monday is
    0); `feasts` pairs of a feast and the days around it (-1, 0, 1; None: all, with substitutes); `fixed` (month, day).
    `holidays`: public ones, of which Sundays may be meant, too. `saturday`: hours of Saturdays alone, or True for those
    of other days; `until`: when a Saturday ends. `unread` is what was not understood: such a text proves nothing open.
    """

    every: set[int] = field(default_factory=set)
    alternate: set[int] = field(default_factory=set)
    holidays: bool = False
    feasts: set[tuple[str, int | None]] = field(default_factory=set)
    fixed: set[tuple[int, int]] = field(default_factory=set)
    saturday: Span | bool = False
    until: str | None = None
    unread: str = ""

    def closed(self, day: date, *, stated: bool) -> bool | None:
        """Whether that is a day off; None where it may be one. `stated`: there are hours for days of rest.

        By its decree a public holiday of offices is also every Sunday: "closed on 공휴일" says both, unless hours of
        days of rest, or every other Sunday, are named beside it.
        """
        name = holiday(day)
        by_decree = self.holidays and day.weekday() == SUNDAY
        if (
            (self.holidays and bool(name))
            or day.weekday() in self.every
            or (day.month, day.day) in self.fixed
            or any(_around(day, feast, offset) for feast, offset in self.feasts)
            or (by_decree and not stated and SUNDAY not in self.alternate)
        ):
            return True
        return None if self.unread or by_decree or day.weekday() in self.alternate else False


#: What a match says of the days off.
Effect: TypeAlias = Callable[[re.Match[str], DaysOff], object]


def _around(day: date, feast: str, offset: int | None) -> bool:
    if offset is None:
        return feast in holiday(day)
    names = holiday(day - timedelta(days=offset)).split("; ")
    return feast in names


def _feasts(found: re.Match[str], off: DaysOff) -> None:
    named = _FEASTS if found["feast"] == "명절" else tuple(f for f in _FEASTS if f[0] == found["feast"][0])
    around: dict[str, tuple[int | None, ...]] = {
        "당일": (0,), "전일및당일": (-1, 0), "전일": (-1,), "전날": (-1,), "익일": (1,), "다음날": (1,),
    }  # fmt: skip
    off.feasts |= {(feast, offset) for feast in named for offset in around.get(found["when"] or "", (None,))}


def _saturday(found: re.Match[str], off: DaysOff) -> None:
    off.saturday = Span(_hhmm(found["from"]), _hhmm(found["to"])) if found["from"] else True


def _until(found: re.Match[str], off: DaysOff) -> None:
    off.until = _hhmm(found["until"])


def _alternate(found: re.Match[str], off: DaysOff) -> None:
    off.alternate |= {_WEEK.index(one) for one in found["before"] or found["after"]}


def _holidays(found: re.Match[str], off: DaysOff) -> None:
    off.holidays = True


def _nothing(found: re.Match[str], off: DaysOff) -> None:
    """Words that say no day."""


#: Tried in this order wherever the text has been read up to; blanks are gone.
_READ: list[tuple[re.Pattern[str], Effect]] = [
    (re.compile(r"토(?:요일)?\((?P<until>\d{1,2}:\d\d)이후\)"), _until),
    (re.compile(r"\(?토요일?운영(?:[_:]?(?P<from>\d{1,2}:\d\d)~(?P<to>\d{1,2}:\d\d))?\)?"), _saturday),
    (
        re.compile(r"격주(?P<before>[월화수목금토일]+)(?:요일)?|(?P<after>[월화수목금토일])(?:요일)?\(격주\)"),
        _alternate,
    ),
    (re.compile(r"연중무휴|휴무없음|없음"), _nothing),
    (re.compile(r"(?P<feast>설날?|추석|명절)(?P<when>연휴|당일|전일및당일|전일|전날|익일|다음날)?"), _feasts),
    (re.compile(r"신정|1월1일"), lambda found, off: off.fixed.add((1, 1))),
    (re.compile(r"근로자의날|노동절"), lambda found, off: off.fixed.add((5, 1))),
    (re.compile(r"(?:국가|법정)?공휴일"), _holidays),
    (re.compile(r"주휴일"), lambda found, off: off.every.add(SUNDAY)),
    (re.compile(r"주말"), lambda found, off: off.every.update((SATURDAY, SUNDAY))),
    (
        re.compile(r"(?P<days>[월화수목금토일]+)(?:요일)?"),
        lambda found, off: off.every.update(_WEEK.index(one) for one in found["days"]),
    ),
    (re.compile(r"자세한내용은센터에문의|매주|정기|휴무일?|휴관|포함|및|[().]"), _nothing),
]
_PARTS = re.compile(r"[+,，/·]")
#: A day alone: after "격주 토+" it may be every one or every other one.
_DAY = re.compile(r"[월화수목금토일]+(?:요일)?(?:휴무일?|휴관)?")


@lru_cache(maxsize=1024)
def read(words: str) -> DaysOff:
    """Understand what a municipality writes ("토+일+공휴일", "매주 일요일", "명절전일 및 당일 휴무,일요일" …).

    A part of the list is understood as a whole or not at all: "둘째 주 일요일" is not every Sunday.
    """
    off, unread = DaysOff(), []
    alternating = False
    for part in _PARTS.split("".join(words.split())):
        alternating = part.startswith("격주") or (alternating and bool(_DAY.fullmatch(part)))
        effects = _effects(f"격주{part.removeprefix('격주')}" if alternating else part)
        if effects is None:
            unread.append(part)
        for found, effect in effects or ():
            effect(found, off)
    off.unread = ", ".join(unread)
    return off


def _effects(part: str) -> list[tuple[re.Match[str], Effect]] | None:
    found: list[tuple[re.Match[str], Effect]] = []
    while part:
        match, effect = next(((m, effect) for pattern, effect in _READ if (m := pattern.match(part))), (None, None))
        if match is None or effect is None:
            return None
        found.append((match, effect))
        part = part[match.end() :]
    return found


def _hhmm(text: str) -> str:
    return text.rjust(5, "0")
