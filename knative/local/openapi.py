"""Writes the document of the whole API (OpenAPI 3.1) from the routes themselves: `python -m knative.local.openapi`.

Every HTTP function's app is made as gunicorn makes it, but nothing connects. Each route below /api must say what it
takes and answers (`functions/shared/api.py`) and be one that the gateway sends to that function; what holds for every
route is added here. A test proves the file current.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.routing import Rule, UUIDConverter

from functions.shared import api, config, messages
from functions.shared.api import Answer, Operation
from functions.shared.http import PROBLEM_JSON
from functions.shared.outward import ProblemDocument
from knative.local import manifests
from knative.local.gateway import Routes
from knative.local.shapes import Schema, Shapes

ROOT = Path(__file__).parents[2]
FILE = ROOT / "functions" / "web" / "page" / "openapi.json"
ABOUT = Path(__file__).with_name("openapi.md")

PREFIX = "/api/v1/"

#: Header → what it says; of these, X-Correlation-Id is on every answer, RateLimit-… wherever Redis is there.
HEADERS: Mapping[str, Schema] = {
    "X-Correlation-Id": {"description": "Names this request in our logs: quote it.", "schema": {"type": "string"}},
    "RateLimit-Limit": {"description": "Requests in any 60 seconds.", "schema": {"type": "integer", "minimum": 0}},
    "RateLimit-Remaining": {"description": "What is left of them now.", "schema": {"type": "integer", "minimum": 0}},
    "RateLimit-Reset": {"description": "Seconds until there is one more.", "schema": {"type": "integer", "minimum": 0}},
    "Retry-After": {"description": "Ask again after so many seconds.", "schema": {"type": "integer", "minimum": 0}},
    "Location": {"description": "Where it can be read.", "schema": {"type": "string", "format": "uri-reference"}},
    "WWW-Authenticate": {"description": "Bearer, and what is wrong with the token.", "schema": {"type": "string"}},
    "ETag": {"description": "Send it back as If-None-Match.", "schema": {"type": "string"}},
    "Cache-Control": {"description": "How long the answer may be kept.", "schema": {"type": "string"}},
    "Content-Disposition": {"description": "The name of the file.", "schema": {"type": "string"}},
}
_USUALLY = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_MAYBE = ".maybe"
_OF_PROBLEMS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}

_LANGUAGE = {
    "name": "Accept-Language",
    "in": "header",
    "description": "Texts for people are Korean, or English where this prefers it.",
    "schema": {"type": "string"},
    "example": "en",
}


class Undocumented(Exception):
    """A route says nothing of itself, or nobody can reach it; the message names it."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path of a function, and what it says of itself."""

    function: str
    method: str
    rule: Rule
    summary: str
    description: str
    said: Operation

    @property
    def path(self) -> str:
        """As OpenAPI writes it: `/api/v1/waste/analyses/{analysis_id}`."""
        return "".join(f"{{{part}}}" if dynamic else part for dynamic, part in self.rule._trace).lstrip("|")


def functions() -> list[str]:
    """Every function that has routes."""
    return sorted(folder.parent.name for folder in (ROOT / "functions").glob("*/routes.py"))


def app(function: str) -> Flask:
    """Its app, with settings that lead nowhere: nothing connects before the first request."""
    settings = importlib.import_module(f"functions.{function}.settings").Settings
    hints = typing.get_type_hints(settings)
    needed = [field for field in dataclasses.fields(settings) if field.default is dataclasses.MISSING]
    environ = {field.name.upper(): "/" if hints[field.name] is Path else "http://127.0.0.1:9" for field in needed}
    made: Flask = importlib.import_module(f"functions.{function}.routes").create(config.load(settings, environ))
    return made


def routes(function: str, made: Flask, gateway: Routes) -> Iterator[Route]:
    """What the function offers below /api. Undocumented."""
    for rule in sorted(made.url_map.iter_rules(), key=lambda rule: rule.rule):
        if not rule.rule.startswith(PREFIX) or rule.websocket:  # the one WebSocket is told of in openapi.md
            continue
        view = made.view_functions[rule.endpoint]
        said = api.of(view)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if said is None or not view.__doc__:
                raise Undocumented(f"{function}: {method} {rule.rule} says nothing of itself (@operation, docstring)")
            if gateway.function(rule.rule.replace("<", "").replace(">", "")) != function:
                raise Undocumented(f"{function}: {method} {rule.rule} cannot be reached (knative/base/routes.yaml)")
            summary, _, description = " ".join(view.__doc__.split()).partition(". ")
            yield Route(function, method.lower(), rule, summary.rstrip("."), description, said)


def document() -> dict[str, Any]:
    """The whole document."""
    gateway = Routes.load(ROOT / manifests.BASE / "routes.yaml")
    made = {function: app(function) for function in functions()}
    every = [route for function, one in made.items() for route in routes(function, one, gateway)]
    shapes = Shapes()
    for route in every:
        for hint in (route.said.body, *(_answer(shape).shape for shape in route.said.answers.values())):
            shapes.learn(hint)
    shapes.learn(ProblemDocument)
    paths: dict[str, dict[str, Any]] = {}
    for route in sorted(every, key=lambda route: (route.path, route.method)):
        paths.setdefault(route.path, {})[route.method] = _operation(route, shapes)
    responses = _shared(paths)
    title, _, about = ABOUT.read_text(encoding="utf-8").partition("\n")
    return {
        "openapi": "3.1.0",
        "info": {"title": title.lstrip("# "), "version": "1", "description": about.strip()},
        "servers": [{"url": "/", "description": "Where this document came from."}],
        "tags": [_tag(function) for function in made if any(route.function == function for route in every)],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "parameters": {"Accept-Language": _LANGUAGE},
            "headers": _named_headers(json.dumps([paths, responses])),
            "responses": responses,
            "schemas": shapes.components(),
        },
    }


def text() -> str:
    """The file, byte for byte."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def committed() -> dict[str, Any]:
    """The document as `web` serves it."""
    kept: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return kept


def problems(route: Route) -> dict[int, list[str]]:
    """status → the codes a route may answer, its own ones last."""
    said = route.said
    found: dict[int, list[str]] = {422: ["invalid_request"], 429: ["too_many_requests"], 503: ["unavailable"]}
    if said.access != "public":
        found[401] = ["unauthenticated", "bad_token"] if said.access == "token" else ["bad_token"]
    if said.body is not None:
        found |= {400: ["bad_json"], 413: ["body_too_large"], 415: ["not_json"]}
    if route.rule.arguments:
        found[404] = ["not_found"]
    if said.spends:
        found[429].append("daily_budget")
        found[503].append("model_budget")
    for status, codes in said.problems.items():
        found.setdefault(status, []).extend(code for code in codes if code not in found.get(status, []))
    return dict(sorted(found.items()))


def _operation(route: Route, shapes: Shapes) -> dict[str, Any]:
    said = route.said
    operation: dict[str, Any] = {
        "operationId": f"{route.function}.{route.rule.endpoint.rpartition('.')[2]}",
        "tags": [route.function],
        "summary": route.summary,
        **({"description": route.description} if route.description else {}),
        "security": {"token": [{"token": []}], "optional": [{}, {"token": []}], "public": []}[said.access],
        "parameters": [*_parameters(route, shapes), {"$ref": "#/components/parameters/Accept-Language"}],
    }
    if said.body is not None:
        schema, needed = _body(said.body, shapes)
        operation["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
    answers = {str(status): _good(_answer(shape), shapes) for status, shape in sorted(said.answers.items())}
    refusals = {str(status): _refusal(status, codes, shapes) for status, codes in problems(route).items()}
    return {**operation, "responses": {**answers, **refusals}}


def _body(hint: Any, shapes: Shapes) -> tuple[Schema, bool]:
    """The schema of a body, and whether one must be sent."""
    inner = [one for one in typing.get_args(hint) if one is not type(None)]
    return (shapes.schema(inner[0]), False) if inner else (shapes.schema(hint), True)


def _parameters(route: Route, shapes: Shapes) -> Iterator[dict[str, Any]]:
    said = route.said
    for name, converter in route.rule._converters.items():
        one: Schema = {"type": "string", "minLength": 1}
        if isinstance(converter, UUIDConverter):
            one = {"type": "string", "format": "uuid"}
        yield {"name": name, "in": "path", "required": True, "schema": one, **_example(said, name)}
    if said.query is not None:
        properties = shapes.of(said.query)
        for name, schema in properties["properties"].items():
            required = name in properties.get("required", [])
            yield {
                "name": name,
                "in": "query",
                "required": required,
                "schema": _sendable(schema),
                **_example(said, name),
            }
    for name, hint in said.headers.items():
        yield {"name": name, "in": "header", "required": False, "schema": shapes.schema(hint)}


def _example(said: Operation, name: str) -> dict[str, Any]:
    return {"example": said.examples[name]} if name in said.examples else {}


def _sendable(schema: Schema) -> Schema:
    """The same without null, which a query cannot say."""
    if isinstance(schema.get("type"), list):
        return {**schema, "type": next(kind for kind in schema["type"] if kind != "null")}
    if "anyOf" in schema:
        (one,) = (one for one in schema["anyOf"] if one != {"type": "null"})
        return typing.cast(Schema, one)
    return schema


def _answer(shape: Any) -> Answer:
    return shape if isinstance(shape, Answer) else Answer(shape)


def _good(answer: Answer, shapes: Shapes) -> dict[str, Any]:
    described: dict[str, Any] = {"description": "As asked."}
    described["headers"] = _headers(answer.headers, answer.maybe)
    if answer.shape is not None:
        described["content"] = {answer.media_type: {"schema": shapes.schema(answer.shape)}}
    return described


def _refusal(status: int, codes: Iterable[str], shapes: Shapes) -> dict[str, Any]:
    told = [f"`{code}`: {messages.text(f'problem.{code}', 'en', n='n')}" for code in codes]
    one = {"status": {"const": status}, "code": {"enum": list(codes)}}
    schema = {"allOf": [shapes.schema(ProblemDocument), {"properties": one}]}
    return {
        "description": "; ".join(told),
        "headers": _headers(_OF_PROBLEMS.get(status, ())),
        "content": {PROBLEM_JSON: {"schema": schema}},
    }


def _headers(own: Iterable[str], at_times: Iterable[str] = ()) -> dict[str, Any]:
    """Own headers and X-Correlation-Id are always there, those of `at_times` and RateLimit-… where they have sense."""
    sure = {name: {"$ref": f"#/components/headers/{name}"} for name in (*own, "X-Correlation-Id")}
    return {**sure, **{name: {"$ref": f"#/components/headers/{name}{_MAYBE}"} for name in (*at_times, *_USUALLY)}}


def _named_headers(used: str) -> dict[str, Any]:
    """The headers that are referred to in `used` (JSON), each as one that is always there, and as one that may be."""
    named = {name: {**header, "required": True} for name, header in HEADERS.items()}
    every = {**named, **{f"{name}{_MAYBE}": dict(header) for name, header in HEADERS.items()}}
    return {name: header for name, header in every.items() if f'"#/components/headers/{name}"' in used}


def _shared(paths: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Refusals that several operations have alike: a component each, and referred to."""
    places: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for operation in (operation for path in paths.values() for operation in path.values()):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                places.setdefault(json.dumps(response), []).append((operation["responses"], status))
    found: dict[str, Any] = {}
    for response, where in sorted(places.items(), key=lambda one: (one[1][0][1], one[0])):
        if len(where) > 1:
            name = "-".join(re.findall(r"`([a-z_]+)`", json.loads(response)["description"]))
            found[name] = json.loads(response)
            for responses, status in where:
                responses[status] = {"$ref": f"#/components/responses/{name}"}
    return found


def _tag(function: str) -> dict[str, str]:
    told = importlib.import_module(f"functions.{function}.routes").__doc__ or ""
    return {"name": function, "description": " ".join(told.partition("\n\n")[0].split())}


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
