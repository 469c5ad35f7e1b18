"""The edge of every HTTP function: how often somebody may ask, from where a browser may, and whose address counts.

Without Redis nobody is counted and requests go on; what must not go on without it asks `Edge.memory` itself, and its
Away becomes problem 503 (http.py).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import flask
from flask import Flask, Response, request

from functions.shared import http, telemetry
from functions.shared.config import secret
from functions.shared.http import Problem
from functions.shared.limits import Limits, Standing
from functions.shared.memory import Away, Memory

#: What a page of another origin may send and read beside the harmless headers.
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, X-Correlation-Id, traceparent"
EXPOSED_HEADERS = (
    "Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-Correlation-Id, "
    "Content-Disposition"
)
#: Seconds a browser may remember the answer to a preflight.
PREFLIGHT_SECONDS = 600

UNLIMITED = http.UNWATCHED

log = telemetry.logger("edge")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """What every HTTP function reads for its edge: `class Settings(EdgeSettings)`.

    `cors_origins`: exact origins, commas between them, none where empty. `trusted_proxies`: how many of ours stand
    before the function and write X-Forwarded-For; 0: nobody does, the connection's address counts.
    """

    redis_url: str = secret()
    rate_limit_per_minute: int = 100
    cors_origins: str = ""
    trusted_proxies: int = 1


class Edge:
    """Made once for an app and given to `http.create_app`. `memory` is the process's one way to Redis.

    What is asked of several apps counts together, unless one is `apart`.
    """

    def __init__(self, settings: EdgeSettings, *, apart: str = "") -> None:
        self.memory = Memory(settings.redis_url)
        self._apart = f"{apart}:" if apart else ""
        self._limits = Limits(self.memory, settings.rate_limit_per_minute)
        self._origins = frozenset(origin.strip() for origin in settings.cors_origins.split(",") if origin.strip())
        self._proxies = settings.trusted_proxies

    def guard(self, app: Flask) -> None:
        """Every request of `app` passes here first, every answer last."""
        app.before_request(self._enter)
        app.after_request(self._leave)

    def address(self) -> str:
        """The client's address: what the outermost trusted proxy saw, whatever a client itself has put into the header.

        IPv6 is cut to its /64: that is what one subscriber has.
        """
        told = [part.strip() for part in ",".join(request.headers.getlist("X-Forwarded-For")).split(",")]
        said = told[-min(self._proxies, len(told))] if self._proxies else ""
        for text in (said, request.remote_addr or ""):
            try:
                found = ipaddress.ip_address(text)
            except ValueError:
                continue
            if isinstance(found, ipaddress.IPv6Address):
                if found.ipv4_mapped:
                    return str(found.ipv4_mapped)
                return str(ipaddress.ip_network((found, 64), strict=False).network_address)
            return str(found)
        return "unknown"

    def _enter(self) -> Response | None:
        if request.path in UNLIMITED:
            return None
        preflight = self._preflight() if request.method == "OPTIONS" else None
        if preflight is None or request.headers.get("Origin") not in self._origins:
            self._count()
        return preflight

    def _count(self) -> None:
        who = http.bearer()
        try:
            standing = self._limits.count(self._apart + (f"user:{who}" if who else f"address:{self.address()}"))
        except Away:
            return
        flask.g.standing = standing
        if not standing.admitted:
            raise Problem(429, "too_many_requests", headers={"Retry-After": str(standing.reset)}, n=standing.limit)

    def _leave(self, response: Response) -> Response:
        standing: Standing | None = flask.g.get("standing")
        if standing:
            response.headers["RateLimit-Limit"] = str(standing.limit)
            response.headers["RateLimit-Remaining"] = str(standing.remaining)
            response.headers["RateLimit-Reset"] = str(standing.reset)
        if self._origins:
            response.vary.add("Origin")
            origin = request.headers.get("Origin")
            if origin in self._origins:
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        return response

    def _preflight(self) -> Response | None:
        """A browser asks for a page of another origin; an origin we do not know is told nothing, so it stays out."""
        wished, origin = request.headers.get("Access-Control-Request-Method"), request.headers.get("Origin")
        if wished is None or origin is None or request.routing_exception is not None:
            return None
        response = Response(status=204)
        if origin in self._origins:
            adapter = flask.globals.request_ctx.url_adapter
            methods = sorted(adapter.allowed_methods()) if adapter else []
            response.headers["Access-Control-Allow-Methods"] = ", ".join(methods)
            response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return response
