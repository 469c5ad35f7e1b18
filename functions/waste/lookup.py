"""Without a photo: search the items, look one up with the rules that hold for it today, open a rule."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import flask
from flask import Blueprint
from flask.typing import ResponseReturnValue

from functions.shared import http
from functions.shared.conditions import State
from functions.shared.http import Problem, Text
from functions.shared.rules import Passage
from functions.shared.search import Rulebook
from functions.waste import view


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Query of a search without a photo."""

    q: Annotated[str, Text(1, 100)]
    region: Annotated[str, Text(1, 60)] | None = None
    housing: Literal["apartment", "house"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Query of one item: where the citizen lives, and what is known of the thing (the axes of a state)."""

    region: Annotated[str, Text(1, 60)] | None = None
    housing: Literal["apartment", "house"] | None = None
    contents: Annotated[str, Text(1, 40)] | None = None
    dirt: Annotated[str, Text(1, 40)] | None = None
    label: Annotated[str, Text(1, 40)] | None = None
    cap: Annotated[str, Text(1, 40)] | None = None
    damage: Annotated[str, Text(1, 40)] | None = None
    material: Annotated[str, Text(1, 40)] | None = None
    size: Annotated[str, Text(1, 40)] | None = None
    kind: Annotated[str, Text(1, 40)] | None = None


def blueprint(rulebook: Rulebook) -> Blueprint:
    """The routes below /api/v1/waste that need no analysis."""
    routes = Blueprint("lookup", __name__, url_prefix="/api/v1/waste")

    @routes.get("/guide")
    def guide() -> ResponseReturnValue:
        """{items}: every item, its names and where it may go; open to everybody, the same until its ETag changes."""
        answer = flask.jsonify(items=[view.entry(entry, http.locale()) for entry in rulebook.entries()])
        answer.headers["Cache-Control"] = "public, no-cache"
        answer.add_etag()
        answer.make_conditional(flask.request.environ)
        return answer

    @routes.get("/items")
    def items() -> ResponseReturnValue:
        """Search without a photo: decision, candidates, the deciding question."""
        http.user()
        wanted = http.query(Search)
        found = rulebook.search(wanted.q, region=wanted.region, housing=wanted.housing)
        return flask.jsonify(query=wanted.q, **view.search(found, http.locale()))

    @routes.get("/items/<item_id>")
    def item(item_id: str) -> ResponseReturnValue:
        """One item in the state the query describes: the rules that hold for it today, and what is yet to be asked."""
        http.user()
        wanted = http.query(Lookup)
        known = rulebook.item(item_id) if http.printable(item_id) else None
        if known is None:
            raise Problem(404, "item_not_found")
        state = State.of({name: value for name, value in asdict(wanted).items() if value})
        rules = rulebook.rules(item_id, state, region=wanted.region, housing=wanted.housing)
        asking = rulebook.question(item_id, state, region=wanted.region, housing=wanted.housing)
        return flask.jsonify(
            id=item_id,
            name=known.name_en if http.locale() == "en" else known.name,
            question=view.question(asking, http.locale()),
            rules=[view.passage(rule, http.locale()) for rule in rules],
            destinations=_destinations(rules, wanted.housing),
            parts=view.parts(known.parts, http.locale()),
        )

    @routes.get("/rules/<rule_id>")
    def rule(rule_id: str) -> ResponseReturnValue:
        """One rule, open to everybody: what a citation stands on."""
        known = rulebook.rule(rule_id) if http.printable(rule_id) else None
        if known is None:
            raise Problem(404, "rule_not_found")
        return flask.jsonify(view.passage(known, http.locale()))

    return routes


def _destinations(rules: list[Passage], housing: str | None) -> list[dict[str, str] | None]:
    """Where the thing itself goes: parts that come off have destinations of their own, in other phases."""
    codes = dict.fromkeys(rule.destination for rule in rules if rule.destination and rule.phase == "dispose")
    return [view.place(code, housing, http.locale()) for code in codes]
