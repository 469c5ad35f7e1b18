"""What a citizen's days add up to. Reads what `aggregate` counted; days are those of Asia/Seoul.

Periods end today: a week is the last 7 days, a month the last 30, a year the last 365. The streak is of all time.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from functions.shared import messages
from functions.shared.destinations import DESTINATIONS
from functions.shared.postgres import Tx
from functions.users import answers as a
from functions.users.lessons import missed

#: Period → its days; `all` has no beginning.
PERIODS = {"week": 7, "month": 30, "year": 365}
#: Periods of which every day is sent, also those on which nothing happened.
EVERY_DAY = ("week", "month")
#: So many items are named, the weakest first.
WEAKEST = 10

ONE_DAY = timedelta(days=1)


def stats(tx: Tx, user_id: uuid.UUID, period: a.Period, today: date, locale: str) -> a.Stats:
    """The statistics of that period."""
    rows = tx.execute("SELECT * FROM user_days WHERE user_id = %s ORDER BY day", (user_id,)).fetchall()
    active = [row["day"] for row in rows if row["analyses"] or row["high"] or row["middle"] or row["low"]]
    first = today - (PERIODS[period] - 1) * ONE_DAY if period in PERIODS else min(active, default=today)
    days = [row for row in rows if first <= row["day"] <= today]
    items = tx.execute(
        """SELECT t.*, i.name_ko, i.name_en FROM user_day_items t LEFT JOIN items i ON i.id = t.item_id
           WHERE t.user_id = %s AND t.day BETWEEN %s AND %s ORDER BY t.day, t.item_id, t.destination""",
        (user_id, first, today),
    ).fetchall()
    grades = _grades({grade: sum(day[grade] for day in days) for grade in ("high", "middle", "low")})
    graded = grades["high"] + grades["middle"] + grades["low"]
    return {
        "period": period,
        "from": first.isoformat(),
        "to": today.isoformat(),
        "analyses": sum(day["analyses"] for day in days),
        "grades": grades,
        "accuracy": _share(grades["high"], graded),
        "average_score": round(sum(day["score_sum"] for day in days) / graded, 1) if graded else None,
        "streak": streak(active, today),
        "days": _days(days, first, today, every=period in EVERY_DAY),
        "destinations": _destinations(items, locale),
        "items": _items(items, locale),
        "steps": _steps(items, locale),
    }


def streak(active: Collection[date], today: date) -> a.Streak:
    """Days in a row on which something happened: up to now (yesterday will do, today is not over), and at best."""
    days, current, longest = set(active), 0, 0
    for first in (day for day in days if day - ONE_DAY not in days):
        last = first
        while last + ONE_DAY in days:
            last += ONE_DAY
        length = (last - first).days + 1
        longest = max(longest, length)
        if last in (today, today - ONE_DAY):
            current = max(current, length)
    return {"current": current, "longest": longest}


def reports(tx: Tx, user_id: uuid.UUID, locale: str) -> list[a.Report]:
    """The weekly reports, newest first."""
    rows = tx.execute(
        "SELECT week, content FROM weekly_reports WHERE user_id = %s ORDER BY week DESC", (user_id,)
    ).fetchall()
    ids = list({item["id"] for row in rows for item in row["content"]["weak_items"]})
    known = tx.execute("SELECT id, name_ko, name_en FROM items WHERE id = ANY(%s)", (ids,)).fetchall()
    names = {item["id"]: item[f"name_{locale}"] for item in known}
    return [_report(row["week"], row["content"], names, locale) for row in rows]


def _report(week: date, content: Mapping[str, Any], names: Mapping[str, str], locale: str) -> a.Report:
    return {
        "week": week.isoformat(),
        "analyses": content["analyses"],
        "grades": _grades(content),
        "accuracy": content["accuracy"],
        "change": content["change"],
        "weak_items": [
            {
                "id": item["id"],
                "name": names.get(item["id"], item["id"]),
                "graded": item["graded"],
                "right": item["right"],
            }
            for item in content["weak_items"]
        ],
        "sentence": messages.text(
            f"report.{content['sentence']}",
            locale,
            analyses=content["analyses"],
            accuracy=round(100 * (content["accuracy"] or 0)),
            points=round(abs(100 * (content["change"] or 0))),
        ),
    }


def _grades(of: Mapping[str, int]) -> a.Grades:
    return {"high": of["high"], "middle": of["middle"], "low": of["low"]}


def _days(days: Iterable[Mapping[str, Any]], first: date, last: date, *, every: bool) -> list[a.DayCount]:
    known = {day["day"]: day for day in days}
    nothing = dict.fromkeys(("analyses", "high", "middle", "low"), 0)
    shown = [first + n * ONE_DAY for n in range((last - first).days + 1)] if every else sorted(known)
    return [_day(day, known.get(day, nothing)) for day in shown]


def _day(day: date, of: Mapping[str, Any]) -> a.DayCount:
    return {"day": day.isoformat(), "analyses": of["analyses"], **_grades(of)}


def _destinations(items: Iterable[Mapping[str, Any]], locale: str) -> list[a.PlaceCount]:
    summed = _summed(items, "destination")
    return [
        {
            "code": code,
            "name": _place(code, locale),
            "graded": graded,
            "right": right,
            "accuracy": _share(right, graded),
        }
        for code, (graded, right) in sorted(summed.items(), key=lambda one: (-one[1][0], one[0]))
    ]


def _place(code: str, locale: str) -> str:
    place = DESTINATIONS.get(code)
    if place is None:
        return messages.text("stats.depends", locale)
    return place.en if locale == "en" else place.ko


def _items(items: Iterable[Mapping[str, Any]], locale: str) -> list[a.ItemCount]:
    rows = list(items)
    names = {row["item_id"]: row[f"name_{locale}"] or row["item_id"] for row in rows}
    weakest = sorted(
        _summed(rows, "item_id").items(), key=lambda one: (one[1][1] / one[1][0], one[1][1] - one[1][0], one[0])
    )
    return [
        {"id": id_, "name": names[id_], "graded": graded, "right": right} for id_, (graded, right) in weakest[:WEAKEST]
    ]


def _steps(items: Iterable[Mapping[str, Any]], locale: str) -> list[a.Missed]:
    phases: dict[str, int] = {}
    for row in items:
        for phase, times in row["missed"].items():
            phases[phase] = phases.get(phase, 0) + times
    return missed(phases, locale)


def _summed(items: Iterable[Mapping[str, Any]], name: str) -> dict[str, tuple[int, int]]:
    summed: dict[str, tuple[int, int]] = {}
    for row in items:
        graded, right = summed.get(row[name], (0, 0))
        summed[row[name]] = (graded + row["graded"], right + row["right_ones"])
    return summed


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None
