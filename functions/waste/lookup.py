"""Without a photo: search the items, look one up with the rules that hold for it today, open a rule."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import flask
from flask import Blueprint
from flask.typing import ResponseReturnValue

from functions.shared import api, http
from functions.shared.api import operation
from functions.shared.conditions import State
from functions.shared.http import Problem, Text
from functions.shared.outward import Place, places
from functions.shared.rules import Passage
from functions.shared.search import Rulebook
from functions.waste import view
from functions.waste.answers import AllItems, Findings, Known, Rule

GUIDE_SECONDS = 60.0


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

    guides: dict[str, tuple[float, bytes]] = {}

    def written(locale: str) -> bytes:
        """The guide, at most GUIDE_SECONDS old: it costs more than all other reads and seldom changes."""
        at, document = guides.get(locale, (-GUIDE_SECONDS, b""))
        if time.monotonic() - at >= GUIDE_SECONDS:
            all_items: AllItems = {"items": [view.entry(entry, locale) for entry in rulebook.entries()]}
            document = flask.jsonify(all_items).get_data()
            guides[locale] = (time.monotonic(), document)
        return document

    @routes.get("/guide")
    @operation(answers={200: api.Answer(AllItems, ("ETag",)), 304: api.Answer(None, ("ETag",))}, access="public")
    def guide() -> ResponseReturnValue:
        """List every item, its names and where it may go. Open to everybody, the same until its ETag changes."""
        answer = flask.Response(written(http.locale()), content_type="application/json")
        answer.headers["Cache-Control"] = "public, no-cache"
        answer.vary.add("Accept-Language")
        answer.add_etag()
        answer.make_conditional(flask.request.environ)
        return answer

    @routes.get("/items")
    @operation(answers={200: Findings}, query=Search, examples={"q": "깨진 유리컵"})
    def items() -> ResponseReturnValue:
        """Search without a photo. A decision, the candidates, and the question that decides, where one has to."""
        http.user()
        wanted = http.query(Search)
        found = rulebook.search(wanted.q, region=wanted.region, housing=wanted.housing)
        return flask.jsonify(view.search(wanted.q, found, http.locale()))

    @routes.get("/items/<item_id>")
    @operation(
        answers={200: Known},
        query=Lookup,
        problems={404: ("item_not_found",)},
        examples={"item_id": "milk-carton", "dirt": "dirty"},
    )
    def item(item_id: str) -> ResponseReturnValue:
        """Look up an item in the state the query describes: today's rules, what is open, and what would change them."""
        http.user()
        wanted = http.query(Lookup)
        known = rulebook.item(item_id) if http.printable(item_id) else None
        if known is None:
            raise Problem(404, "item_not_found")
        state = State.of({name: value for name, value in asdict(wanted).items() if value})
        rules = rulebook.rules(item_id, state, region=wanted.region, housing=wanted.housing)
        asking, otherwise = rulebook.unsettled(item_id, state, region=wanted.region, housing=wanted.housing)
        found: Known = {
            "id": item_id,
            "name": known.name_en if http.locale() == "en" else known.name,
            "question": view.question(asking, http.locale()),
            "rules": [view.passage(rule, http.locale()) for rule in rules],
            "destinations": _destinations(rules, wanted.housing),
            "otherwise": view.otherwise(otherwise, wanted.housing, http.locale()),
            "parts": view.parts(known.parts, http.locale()),
        }
        return flask.jsonify(found)

    @routes.get("/rules/<rule_id>")
    @operation(answers={200: Rule}, problems={404: ("rule_not_found",)}, access="public")
    def rule(rule_id: str) -> ResponseReturnValue:
        """Open a rule: what a citation stands on. Open to everybody."""
        known = rulebook.rule(rule_id) if http.printable(rule_id) else None
        if known is None:
            raise Problem(404, "rule_not_found")
        return flask.jsonify(view.passage(known, http.locale()))

    return routes


def _destinations(rules: list[Passage], housing: str | None) -> list[Place]:
    """Where the thing itself goes: parts that come off have destinations of their own, in other phases."""
    codes = dict.fromkeys(rule.destination for rule in rules if rule.destination and rule.phase == "dispose")
    return places(codes, housing, http.locale())
