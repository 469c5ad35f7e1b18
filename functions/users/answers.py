"""How everything that `users` answers about a citizen's results looks (JSON): the shapes of stats.py and lessons.py."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from functions.shared.api import Between, Count, Day, Id, Share, Time, Url
from functions.shared.outward import Named

Period = Literal["week", "month", "year", "all"]


class Grades(TypedDict):
    """How many grades of each: 상, 중, 하."""

    high: Count
    middle: Count
    low: Count


class Streak(TypedDict):
    """Days in a row on which something happened: up to now, and at best."""

    current: Count
    longest: Count


class DayCount(TypedDict):
    """One day in Korea."""

    day: Day
    analyses: Count
    high: Count
    middle: Count
    low: Count


class PlaceCount(TypedDict):
    """Grades of what had to go to one place; the code is empty where municipalities differ."""

    code: str
    name: str
    graded: Count
    right: Count
    accuracy: Share | None


class ItemCount(TypedDict):
    """Grades of one item."""

    id: str
    name: str
    graded: Count
    right: Count


class Missed(TypedDict):
    """How often the steps of one phase were not done."""

    phase: str
    name: str
    missed: Count


Stats = TypedDict(
    "Stats",
    {
        "period": Period,
        "from": Day,
        "to": Day,
        "analyses": Count,
        "grades": Grades,
        "accuracy": Share | None,
        "average_score": Annotated[float, Between(0, 100)] | None,
        "streak": Streak,
        "days": list[DayCount],
        "destinations": list[PlaceCount],
        "items": list[ItemCount],
        "steps": list[Missed],
    },
)
Stats.__doc__ = "What the days of a period add up to; accuracy is null where nothing was graded."


class Report(TypedDict):
    """One week from its Monday; `change` is against the week before."""

    week: Day
    analyses: Count
    grades: Grades
    accuracy: Share | None
    change: Annotated[float, Between(-1, 1)] | None
    weak_items: list[ItemCount]
    sentence: str


class Reports(TypedDict):
    """The weekly reports, newest first."""

    reports: list[Report]


class RuleSource(TypedDict):
    """Where the rule was read; no address for our own judgement."""

    title: str
    url: Url | None


class LessonRule(TypedDict):
    """A rule as a lesson quotes it; without an id it is a sentence of our own, where the rules say nothing of it."""

    rule_id: str | None
    text: str
    source: RuleSource
    basis: str
    basis_name: str


class QuizOption(TypedDict):
    """Its id says nothing of whether it is right."""

    id: str
    text: str


class QuizQuestion(TypedDict):
    """One of the three questions, with one right option."""

    id: str
    question: str
    options: list[QuizOption]


class Taken(TypedDict):
    """How often the quiz was taken, and the most right answers."""

    times: Count
    best: Count | None


class Lesson(TypedDict):
    """What is still to be learned about one item; no quiz where the rules of today do not make one."""

    id: Id
    item: Named
    wrong: Count
    right_since: Count
    missed: list[Missed]
    opened_at: Time
    rule: LessonRule | None
    mistake: LessonRule | None
    why: LessonRule | None
    quiz: list[QuizQuestion]
    taken: Taken


class AllLessons(TypedDict):
    """What is still to be learned, and how many lessons have been."""

    lessons: list[Lesson]
    learned: Count


class Checked(TypedDict):
    """An answer, whether it is right, and the rule that says so."""

    question: str
    option: str
    right: bool
    correct: str
    why: str
    rule_id: str


class QuizResult(TypedDict):
    """How many answers of how many are right."""

    right: Count
    of: Count
    answers: list[Checked]
