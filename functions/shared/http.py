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

from functions.shared import messages, telemetry

if TYPE_CHECKING:  # `web` has neither database nor tokens: what a function does not use, it does not import
    from functions.shared.postgres import Database, Unavailable
    from functions.shared.tokens import Verifier

T = TypeVar("T")

#: No request of ours is longer: photos go straight to the object store.
MAX_BODY = 64 * 1024

PROBLEM_JSON = "application/problem+json"

_CORRELATION = re.compile(r"^[A-Za-z0-9._-]{8,64}$")
_TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
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
    """Annotation of a `str` field: length in characters after trimming, both ends included."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Whole:
    """Annotation of an `int` field: smallest and largest value."""

    least: int
    most: int


def create_app(
    name: str,
    *,
    db: Database | None = None,
    verifier: Verifier | None = None,
    ping: Callable[[], None] = lambda: None,
) -> Flask:
    """A Flask app that already answers /healthz and /readyz and speaks problem+json for every error.

    `verifier` is needed where `user()` is called; `ping` raises when something other than `db` is not as it should be.
    """
    app = Flask(name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["verifier"] = verifier
    log = telemetry.logger(name)

    def broken(error: Exception) -> Response:
        log.exception("bug", method=request.method, path=request.path)
        return _problem(Problem(500, "internal"))

    def unavailable(error: Unavailable) -> Response:
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
        for header, value in _HEADERS.items():
            response.headers.setdefault(header, value)
        response.headers["X-Correlation-Id"] = telemetry.correlation_id()
        if request.path not in ("/healthz", "/readyz"):
            ms = round((time.monotonic() - flask.g.started) * 1000, 1)
            log.info("request", method=request.method, path=request.path, status=response.status_code, ms=ms)
        return response

    app.before_request(_start)
    app.after_request(finish)
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http_error)
    if db:
        from functions.shared.postgres import Unavailable

        app.register_error_handler(Unavailable, unavailable)
    app.register_error_handler(Exception, broken)
    app.add_url_rule("/healthz", "healthz", lambda: flask.jsonify(status="alive"))
    app.add_url_rule("/readyz", "readyz", ready)
    app.wsgi_app = _Correlated(app.wsgi_app)  # type: ignore[method-assign]
    return app


def user() -> uuid.UUID:
    """The user whose token came with the request (`Authorization: Bearer …`). Problem 401 without a good one."""
    from functions.shared.tokens import BadToken

    verifier: Verifier = current_app.extensions["verifier"]
    given = request.authorization
    if given is None or given.type != "bearer" or not given.token:
        raise Problem(401, "unauthenticated", headers={"WWW-Authenticate": "Bearer"})
    try:
        return verifier.user(given.token)
    except BadToken as error:
        raise Problem(401, "bad_token", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}) from error


def unknown_user() -> Problem:
    """The token is good but its user is gone: the client must start over as a new guest."""
    return Problem(401, "unknown_user", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def locale() -> str:
    """`ko` or `en`, by the request's Accept-Language."""
    return messages.choose_locale(request.headers.get("Accept-Language"))


def traceparent() -> str | None:
    """The W3C trace context that came with the request, where it is well-formed."""
    given = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.match(given) else None


def body(shape: type[T]) -> T:
    """The JSON body as dataclass `shape`. Problem 415 or 400 where it is not a JSON object, 422 listing every fault.

    Fields: `str` (with `Text`), `int` (with `Whole`), `bool`, `Literal[...]`, another such dataclass, a `list` of
    these, any of them `| None`. Unknown fields are faults; a blank optional text counts as absent.
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
        listed = [
            {"field": name, "code": fault.code, "detail": _text(f"field.{fault.code}", **fault.values)}
            for name, fault in faults
        ]
        raise Problem(422, "invalid_request", members={"problems": listed})
    return shape(**values)


def _value(value: object, hint: Any, *, digits: bool) -> object:
    optional = get_origin(hint) in (types.UnionType, typing.Union)
    if optional:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        (hint,) = (h for h in get_args(hint) if h is not types.NoneType)
    limit: object = None
    if get_origin(hint) is Annotated:
        hint, limit = get_args(hint)
    if get_origin(hint) is list or dataclasses.is_dataclass(hint):
        return _nested(value, hint, digits=digits)
    if get_origin(hint) is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            raise _Fault("choice", choices=", ".join(map(str, get_args(hint))))
        return value
    if digits and hint is int and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _Fault("type")
    if isinstance(value, str) and isinstance(limit, Text):
        return _limited(value.strip(), limit)
    if isinstance(value, int) and isinstance(limit, Whole) and not limit.least <= value <= limit.most:
        raise _Fault("range", least=limit.least, most=limit.most)
    return value


def _nested(value: object, hint: Any, *, digits: bool) -> object:
    if not isinstance(value, list if get_origin(hint) is list else dict):
        raise _Fault("type")
    if isinstance(value, list):
        return [_value(item, get_args(hint)[0], digits=digits) for item in value]
    return _parse(hint, typing.cast(dict[str, object], value), digits=digits)


def _limited(value: str, limit: Text) -> str:
    if not printable(value):
        raise _Fault("characters")
    if not limit.least <= len(value) <= limit.most:
        raise _Fault("short" if len(value) < limit.least else "long", least=limit.least, most=limit.most)
    return value


def _start() -> None:
    flask.g.started = time.monotonic()


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
    """Everything logged for a request carries its correlation id: the caller's, or a new one."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_X_CORRELATION_ID", "")
        with telemetry.context(correlation_id=given if _CORRELATION.match(given) else uuid.uuid4().hex):
            return self._app(environ, start_response)
