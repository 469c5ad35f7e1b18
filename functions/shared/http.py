"""What every HTTP function shares: problem+json, identity, request bodies, correlation, health, security headers.

A citizen reads `title` and `detail` (Korean, English where Accept-Language prefers it, both from the catalogue); a
program reads `code`, which never changes. Nothing of an exception ever reaches a client.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
import types
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import flask
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from functions.shared import api, messages, metrics, telemetry, tracing

if TYPE_CHECKING:  # `web` has neither database nor tokens: what a function does not use, it does not import
    from functions.shared.edge import Edge
    from functions.shared.memory import Away
    from functions.shared.postgres import Database, Unavailable
    from functions.shared.tokens import Verifier

T = TypeVar("T")

#: No request of ours is longer: photos go straight to the object store.
MAX_BODY = 64 * 1024

#: All headers together, bytes: a token of ours has about 600.
MAX_HEADERS = 16 * 1024

PROBLEM_JSON = "application/problem+json"

_CORRELATION = re.compile(r"^[A-Za-z0-9._-]{8,64}$")
_DECIMAL = re.compile(r"^-?[0-9]{1,15}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?\Z")
_UUID = re.compile(r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
#: On every answer that says nothing else.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
#: Only where the citizen came by https, and only this host.
_HSTS = "max-age=31536000"
#: Probes and scrapes: asked by the cluster, of no interest to anybody.
UNWATCHED = ("/healthz", "/readyz", "/metrics")
#: Methods as labels; a client may call a method anything.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
#: Errors that werkzeug raises itself → our code.
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "not_json"}


class Problem(Exception):
    """An answer that is not the one hoped for (RFC 9457). `code` names its texts: `problem.<code>` and `….detail`.

    `members` are added to the JSON object, `headers` to the response; `values` fill the places of the texts.
    """

    def __init__(
        self,
        status: int,
        code: str,
        *,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.values = status, code, values
        self.members, self.headers = dict(members or {}), dict(headers or {})


@dataclass(frozen=True, slots=True)
class Text:
    """Annotation of a `str` field: at least so many characters after trimming, at most so many before.

    A password is not trimmed (`trim=False`). Where `pattern` (a regular expression) does not fit all of the text, the
    fault is `wrong`.
    """

    least: int
    most: int
    trim: bool = True
    pattern: str = ""
    wrong: str = "characters"


@dataclass(frozen=True, slots=True)
class Whole:
    """Annotation of an `int` field: smallest and largest value."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Number:
    """Annotation of a `float` field: smallest and largest value."""

    least: float
    most: float


def create_app(
    name: str,
    *,
    db: Database | None = None,
    edge: Edge | None = None,
    verifier: Verifier | None = None,
    ping: Callable[[], None] = lambda: None,
) -> Flask:
    """A Flask app that already answers /healthz and /readyz and speaks problem+json for every error.

    `edge` counts requests and lets other origins in; `verifier` is needed where `user()` is called; `ping` raises when
    something other than `db` is not as it should be. Ready does not mean that Redis is there: reads go on without it.
    """
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["verifier"] = verifier
    log = telemetry.logger(name)
    if metrics.on():
        app.add_url_rule("/metrics", "metrics", _metrics)

    def broken(error: Exception) -> Response:
        log.exception("bug", method=request.method, path=request.path)
        return _problem(Problem(500, "internal"))

    def unavailable(error: Unavailable | Away) -> Response:
        log.warning("unavailable", error=str(error))
        return _problem(Problem(503, "unavailable", headers={"Retry-After": "1"}))

    def ready() -> Response:
        try:
            ping()
            if db:
                db.ping()
        except Exception as error:
            log.warning("not ready", error=f"{type(error).__name__}: {error}")
            return _problem(Problem(503, "unavailable", headers={"Retry-After": "1"}))
        return flask.jsonify(status="ready")

    def finish(response: Response) -> Response:
        for header, value in SECURITY_HEADERS.items():
            response.headers.setdefault(header, value)
        if request.headers.get("X-Forwarded-Proto") == "https":
            response.headers["Strict-Transport-Security"] = _HSTS
        response.headers["X-Correlation-Id"] = telemetry.correlation_id()
        if request.path not in UNWATCHED:
            seconds = time.monotonic() - flask.g.started
            _watched(response.status_code, seconds)
            ms = round(seconds * 1000, 1)
            log.info("request", method=request.method, path=request.path, status=response.status_code, ms=ms)
        return response

    app.before_request(_start)
    app.after_request(finish)
    if edge:
        from functions.shared.memory import Away

        edge.guard(app)
        app.register_error_handler(Away, unavailable)
    app.before_request(_unasked)
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_error)
    if db:
        from functions.shared.postgres import Unavailable

        app.register_error_handler(Unavailable, unavailable)
    app.register_error_handler(Exception, broken)
    app.add_url_rule("/healthz", "healthz", lambda: flask.jsonify(status="alive"))
    app.add_url_rule("/readyz", "readyz", ready)
    app.wsgi_app = _Correlated(app.wsgi_app, tracing.tracer(name))  # type: ignore[method-assign]
    return app


def user() -> uuid.UUID:
    """The user whose token came with the request (`Authorization: Bearer …`). Problem 401 without a good one."""
    found, code = _bearer()
    if found is None:
        how = "Bearer" if code == "unauthenticated" else 'Bearer error="invalid_token"'
        raise Problem(401, code, headers={"WWW-Authenticate": how})
    return found


def bearer() -> uuid.UUID | None:
    """The same user, or None where `user` would refuse."""
    return _bearer()[0]


def _bearer() -> tuple[uuid.UUID | None, str]:
    """The user, or why there is none; a request's token is verified once, whoever asks."""
    if "bearer" not in flask.g:
        verifier: Verifier | None = current_app.extensions["verifier"]
        given = request.authorization
        if verifier is None or given is None or given.type != "bearer" or not given.token:
            flask.g.bearer = (None, "unauthenticated")
        else:
            from functions.shared.tokens import BadToken

            try:
                flask.g.bearer = (verifier.user(given.token), "")
            except BadToken:
                flask.g.bearer = (None, "bad_token")
    found: tuple[uuid.UUID | None, str] = flask.g.bearer
    return found


def unknown_user() -> Problem:
    """The token is good but its user is gone: the client must start over as a new guest."""
    return Problem(401, "unknown_user", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def locale() -> str:
    """`ko` or `en`, by the request's Accept-Language."""
    return messages.choose_locale(request.headers.get("Accept-Language"))


def traceparent(about: str) -> str | None:
    """The W3C trace context of the request's span, or that came with it, where it is well-formed. `about`: the
    correlation id of what the request is about, whose trace it is part of."""
    if span := tracing.current():
        span.joins(about)
        return span.traceparent
    given = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.match(given) else None


def body(shape: type[T]) -> T:
    """The JSON body as dataclass `shape`. Problem 415 or 400 where it is not a JSON object, 422 listing every fault.

    Fields: `str` (with `Text`), `UUID`, `int` (with `Whole`), `float` (with `Number`), `bool`, `Literal[...]`, another
    such dataclass, a `list` of these, any of them `| None`. Unknown fields are faults; a blank optional text counts as
    absent.
    """
    if not request.is_json:
        raise Problem(415, "not_json")
    try:
        given = json.loads(request.get_data())
    except (ValueError, RecursionError) as error:
        raise Problem(400, "bad_json") from error
    if not isinstance(given, dict):
        raise Problem(400, "bad_json")
    return _parse(shape, given)


def query(shape: type[T]) -> T:
    """The query string as dataclass `shape`, by the rules of `body`; whole numbers are written in digits."""
    return _parse(shape, request.args.to_dict(), digits=True)


def invalid(field: str, code: str, **values: object) -> Problem:
    """A body whose `field` has a fault that only the function could find: problem 422 with the text `field.<code>`."""
    return _invalid([(field, _Fault(code, **values))])


def printable(value: str) -> bool:
    """False for text that PostgreSQL cannot hold: a NUL, or half of a surrogate pair."""
    return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


class _Fault(Exception):
    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code)
        self.code, self.values = code, values


def _parse(shape: type[T], given: Mapping[str, object], *, digits: bool = False) -> T:
    hints = typing.get_type_hints(shape, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(shape)}  # type: ignore[arg-type]
    faults = [(name, _Fault("unknown")) for name in given if name not in fields]
    values: dict[str, object] = {}
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING
        try:
            if name in given:
                values[name] = _value(given[name], hints[name], digits=digits)
            elif not optional:
                raise _Fault("missing")
        except _Fault as fault:
            faults.append((name, fault))
    if faults:
        raise _invalid(faults)
    return shape(**values)


def _invalid(faults: Iterable[tuple[str, _Fault]]) -> Problem:
    listed = [
        {"field": name, "code": fault.code, "detail": _text(f"field.{fault.code}", **fault.values)}
        for name, fault in faults
    ]
    return Problem(422, "invalid_request", members={"problems": listed})


def _value(value: object, hint: Any, *, digits: bool) -> object:
    limit: object = None
    optional = get_origin(hint) in (types.UnionType, typing.Union)
    if optional:
        (hint,) = (h for h in get_args(hint) if h is not types.NoneType)
    if get_origin(hint) is Annotated:
        hint, limit = get_args(hint)[:2]
    blank = isinstance(limit, Text) and isinstance(value, str) and not value.strip() and len(value) <= limit.most
    if optional and (value is None or blank):
        return None
    if get_origin(hint) is list or dataclasses.is_dataclass(hint):
        return _nested(value, hint, digits=digits)
    return _bounded(_plain(value, hint, digits=digits), limit)


def _plain(value: object, hint: Any, *, digits: bool) -> object:
    """The value as what `hint` names: one of several, an id, a number, a text, a yes or no."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            raise _Fault("choice", choices=", ".join(str(one) for one in get_args(hint) if one != ""))
        return value
    if hint is uuid.UUID and isinstance(value, str) and _UUID.match(value):
        value = uuid.UUID(value)
    if digits and hint is int and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # 12.0 is a whole number in JSON
    if hint is float:
        value = _decimal(value, digits=digits)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _Fault("type")
    return value


def _bounded(value: object, limit: object) -> object:
    if isinstance(value, str) and isinstance(limit, Text):
        return _limited(value, limit)
    if isinstance(value, int | float) and isinstance(limit, Whole | Number) and not limit.least <= value <= limit.most:
        raise _Fault("range", least=limit.least, most=limit.most)
    return value


def _decimal(value: object, *, digits: bool) -> object:
    """A number of JSON, or one written in a query: in digits, with a point or an exponent, not `nan` or `inf`."""
    if digits and isinstance(value, str) and _DECIMAL.match(value):
        return float(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value


def _nested(value: object, hint: Any, *, digits: bool) -> object:
    if not isinstance(value, list if get_origin(hint) is list else dict):
        raise _Fault("type")
    if isinstance(value, list):
        return [_value(item, get_args(hint)[0], digits=digits) for item in value]
    return _parse(hint, typing.cast(dict[str, object], value), digits=digits)


def _limited(given: str, limit: Text) -> str:
    """The text without what is blank at its ends, which counts for the most it may have: the document can say that."""
    value = given.strip() if limit.trim else given
    if not printable(value):
        raise _Fault("characters")
    if len(value) < limit.least or len(given) > limit.most:
        raise _Fault("short" if len(value) < limit.least else "long", least=limit.least, most=limit.most)
    if limit.pattern and not re.fullmatch(limit.pattern, value):
        raise _Fault(limit.wrong, least=limit.least, most=limit.most)
    return value


def _unasked() -> None:
    """A query where none is understood is refused, as every unknown field is."""
    view = current_app.view_functions.get(request.endpoint or "")
    said = api.of(view) if view else None
    if said and said.query is None and request.args:
        raise _invalid([(name, _Fault("unknown")) for name in request.args])


def _start() -> None:
    flask.g.started = time.monotonic()
    if sum(len(name) + len(value) for name, value in request.headers.items()) > MAX_HEADERS:
        raise Problem(431, "headers_too_large")


def _watched(status: int, seconds: float) -> None:
    route = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in _METHODS else "other"
    metrics.REQUESTS.add(route=route, method=method, status=str(status))
    metrics.REQUEST_SECONDS.observe(seconds, route=route)
    if span := tracing.current():
        span.name = f"{method} {route}"
        span.attributes |= {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        span.failed = str(status) if status >= 500 else ""


def _metrics() -> Response:
    """For Prometheus, which asks the pod itself: who came through a proxy came from outside."""
    if request.headers.get("X-Forwarded-For") or request.headers.get("Forwarded"):
        raise Problem(404, "not_found")
    return Response(metrics.text(), content_type=metrics.CONTENT_TYPE)


def _text(key: str, **values: object) -> str:
    return messages.text(key, locale(), **values)


def _problem(problem: Problem) -> Response:
    document = {
        "type": f"urn:growbin:problem:{problem.code}",
        "title": _text(f"problem.{problem.code}", **problem.values),
        "status": problem.status,
        "code": problem.code,
        "detail": _text(f"problem.{problem.code}.detail", **problem.values),
        **problem.members,
    }
    response = Response(json.dumps(document, ensure_ascii=False), problem.status, content_type=PROBLEM_JSON)
    response.headers.extend(problem.headers)
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return typing.cast(Response, error.get_response())
    allowed: Iterable[str] = getattr(error, "valid_methods", None) or ()
    headers = {"Allow": ", ".join(allowed)} if allowed else {}
    return _problem(Problem(status, _CODES.get(status, "bad_request" if status < 500 else "internal"), headers=headers))


class _Correlated:
    """Everything logged for a request carries its correlation id, the caller's or a new one; it is one span."""

    def __init__(self, app: Callable[..., Iterable[bytes]], tracer: tracing.Tracer | None) -> None:
        self._app, self._tracer = app, tracer

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_X_CORRELATION_ID", "")
        with telemetry.context(correlation_id=given if _CORRELATION.match(given) else uuid.uuid4().hex):
            if self._tracer is None or environ.get("PATH_INFO") in UNWATCHED:
                return self._app(environ, start_response)
            ids = {"growbin.correlation_id": telemetry.correlation_id()}
            with self._tracer.span("request", tracing.SERVER, environ.get("HTTP_TRACEPARENT"), **ids):
                return self._app(environ, start_response)
