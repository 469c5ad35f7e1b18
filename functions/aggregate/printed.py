"""The operators' report (report.py) as text."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from functions.aggregate.report import harmless
from functions.shared.regions import KOREA

#: So many disputes and flags are printed; JSON has all of them.
SHOWN = 50
#: So many days of the city are printed, so many of a day's items named; JSON has all of them.
DAYS_SHOWN, ITEMS_SHOWN = 7, 3


def render(report: Mapping[str, Any]) -> str:
    """The report as a person reads it, times in Seoul."""
    sections = (_of_analyses, _of_model, _of_caches, _of_proofs, _of_questions, _of_city, _of_people, _of_dead_letters)
    head = f"{_time(report['from'])} to {_time(report['to'])} (Asia/Seoul), {report['days']} days"
    return "\n".join([head, *(line for section in sections for line in ("", *section(report)))])


def _of_analyses(report: Mapping[str, Any]) -> Iterator[str]:
    analyses = report["analyses"]
    yield f"Analyses: {analyses['asked']}"
    for row in analyses["states"]:
        yield _row(f"{row['status']} ({row['outcome']})" if row["outcome"] else row["status"], row["n"])
    yield f"Failures: {sum(row['n'] for row in analyses['failures'])}"
    for row in analyses["failures"]:
        yield _row(f"{row['reason']} ({row['detail']})" if row["detail"] else row["reason"], row["n"])


def _of_model(report: Mapping[str, Any]) -> Iterator[str]:
    model = report["model"]
    paid, unknown, standin = model["paid"], model["unknown_price"], model["standin"]
    each = model["cost_usd_per_analysis"]
    at_least = "at least " if unknown["calls"] else ""
    yield f"Cost per analysis: {'unknown' if each is None else f'{at_least}{each:.6f} USD'}"
    yield _row("paid calls", paid["calls"], f"{paid['cost_usd']:.6f} USD")
    if unknown["calls"]:
        yield _row("of unknown price", unknown["calls"], f"not in the sum: {', '.join(unknown['models'])}")
    yield _row("of the stand-in", standin["calls"], "which cost nothing" if standin["calls"] else "")
    yield f"Tokens:{'calls':>29}{'repairs':>9}{'in':>13}{'out':>12}{'USD':>13}"
    for row in model["purposes"]:
        name = f"{row['purpose']} (stand-in)" if row["standin"] else row["purpose"]
        at_least = ">= " if row["unknown_price"] else ""
        cost = "-" if row["standin"] else f"{at_least}{row['cost_usd']:.6f}"
        yield f"{_row(name, row['calls'])}{row['repairs']:>9,}{row['tokens_in']:>13,}{row['tokens_out']:>12,}{cost:>13}"


def _of_caches(report: Mapping[str, Any]) -> Iterator[str]:
    yield "From the cache"
    for table, found in report["caches"].items():
        yield _row(
            table, found["cached"], f"of {found['n']:,}" + ("" if found["rate"] is None else _share(found["rate"]))
        )


def _of_proofs(report: Mapping[str, Any]) -> Iterator[str]:
    proofs = report["proofs"]
    average = "" if proofs["average_score"] is None else f", average score {proofs['average_score']}"
    yield f"Grades: {proofs['graded']}{average}, {proofs['by_standin']} by the stand-in"
    for grade, n in proofs["grades"].items():
        yield _row(grade, n, _share(n / proofs["graded"]).strip(", ") if proofs["graded"] else "")
    yield f"Proofs refused: {sum(row['n'] for row in proofs['refused'])}"
    for row in proofs["refused"]:
        yield _row(row["reason"], row["n"])
    yield f"Proofs open now: {proofs['open']}"


def _of_questions(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"Questions: {sum(report['questions'].values())}"
    for status, n in report["questions"].items():
        yield _row(status, n)


def _of_city(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"City, last days:{'citizens':>20}{'analyses':>10}{'high':>8}{'middle':>8}{'low':>8}  most often wrong"
    for row in report["city"][:DAYS_SHOWN]:
        wrong = Counter({item: n["graded"] - n["right"] for item, n in sorted(row["items"].items())})
        named = ", ".join(f"{item} {n}" for item, n in wrong.most_common(ITEMS_SHOWN) if n)
        sums = f"{row['users']:>10,}{row['analyses']:>10,}{row['high']:>8,}{row['middle']:>8,}{row['low']:>8,}"
        yield f"  {row['day']:<24}{sums}  {named}".rstrip()


def _of_people(report: Mapping[str, Any]) -> Iterator[str]:
    disputes, copies = report["disputes"], report["near_copies"]
    yield f"Disputes: {len(disputes)}"
    for one in disputes[:SHOWN]:
        verdicts = ", ".join(f"{n} {verdict.replace('_', ' ')}" for verdict, n in one["verdicts"].items() if n)
        result = f"{one['grade']}, score {one['score']}" if one["grade"] else f"refused: {one['refused']}"
        result += f" ({verdicts})" if verdicts else ""
        result += ", by the stand-in" if one["by_standin"] else ""
        about = f"{one['item'] or 'unknown item'}, analysis {one['analysis_id']}, attempt {one['attempt']}"
        yield f"  {_time(one['at'])}  {about}"
        yield f"      we:      {result}"
        yield from textwrap.wrap(one["citizen"], 100, initial_indent="      citizen: ", subsequent_indent=" " * 15)
    yield from _more(disputes)
    yield f"Photos near an earlier one (of somebody else, or own and no longer kept): {len(copies)}"
    for one in copies[:SHOWN]:
        near = "; ".join(", ".join(f"{name} {value}" for name, value in sorted(flag.items())) for flag in one["flags"])
        yield f"  {_time(one['at'])}  {one['grade'] or one['status']}, proof {one['proof_id']}: {harmless(near)}"
    yield from _more(copies)


def _of_dead_letters(report: Mapping[str, Any]) -> Iterator[str]:
    letters = report["dead_letters"]
    yield f"Dead letters not replayed: {sum(row['n'] for row in letters)}"
    for row in letters:
        what = f"{row['consumer']}, {harmless(row['type'] or 'unknown type')}"
        last = f"last answer {row['error_code'] or 'unknown'}, since {_time(row['oldest'])}, first is {row['first']}"
        yield f"  {row['n']:>6,}  {what}; {last}"


def _more(rows: Sequence[object]) -> list[str]:
    return [f"  and {len(rows) - SHOWN} more: --json has them"] if len(rows) > SHOWN else []


def _row(name: str, n: int, beside: str = "") -> str:
    return f"  {name:<24}{n:>10,}  {beside}".rstrip()


def _share(rate: float) -> str:
    return f", {rate:.1%}"


def _time(iso: str) -> str:
    return f"{datetime.fromisoformat(iso).astimezone(KOREA):%Y-%m-%d %H:%M}"
