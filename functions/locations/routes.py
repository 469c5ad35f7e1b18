"""Recycling centres near a position. Who asks is not asked, and where they stand is neither kept nor logged: it is
compared with the centres of the squares around it, and forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import flask
from flask import Flask
from flask.typing import ResponseReturnValue

from functions.locations import imported, nearby, shown
from functions.locations.api import Api
from functions.locations.goods import Accepts
from functions.locations.nearby import Near, nearest
from functions.locations.settings import Settings
from functions.locations.shelf import Found, NothingKnown, Shelf
from functions.shared import http
from functions.shared.api import operation
from functions.shared.edge import Edge
from functions.shared.http import Number, Problem, Whole
from functions.shared.postgres import Database
from functions.shared.revocations import Revocations
from functions.shared.tokens import Verifier

#: So many centres are answered.
MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Query: a position in degrees (WGS 84) and a radius in metres. `type`: run by the municipality itself (`direct`,
    직영) or for it (`contracted`, 위탁). `accepts`: only who takes this. Blank: whoever.
    """

    lat: Annotated[float, Number(-90, 90)]
    lon: Annotated[float, Number(-180, 180)]
    radius: Annotated[int, Whole(1, 100_000)] = 5000
    type: Literal["direct", "contracted", "직영", "위탁", ""] = ""
    accepts: Literal[Accepts, ""] = ""

    def wanted(self, found: Found) -> list[Near]:
        """Whom the filters let through, the nearest first."""
        type_ = {"직영": "direct", "위탁": "contracted"}.get(self.type, self.type)
        passing = (one for one in found.centres if type_ in ("", one.type) and self.accepts in ("", *one.accepts))
        return nearest(passing, self.lat, self.lon)


def create(settings: Settings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Flask:
    """The app of `locations`. Nothing connects before the first request. `now` says what time it is."""
    edge = Edge(settings)
    db = Database(settings.database_url, pool_size=settings.pool_size)
    verifier = Verifier(settings.jwt_public_keys_dir, Revocations(edge.memory))
    app = http.create_app("locations", db=db, edge=edge, verifier=verifier)
    api = Api(settings.centres_api_url, settings.centres_api_key)
    shelf = Shelf(api, edge.memory, lambda: now().timestamp())

    def known(tiles: frozenset[str] | None) -> Found:
        """With a key the API's centres count, or else those imported; without one it is the other way round."""
        if api.sample and (found := imported.read(db, tiles)):
            return found
        try:
            return shelf.read(tiles)
        except NothingKnown as nothing:
            if not api.sample and (found := imported.read(db, tiles)):
                return found
            raise Problem(503, "places_unavailable", headers={"Retry-After": str(nothing.retry)}) from nothing

    @app.get("/api/v1/locations")
    @operation(
        query=Around,
        answers={200: shown.Places},
        problems={503: ("places_unavailable",)},
        examples={"lat": 37.5665, "lon": 126.978},
        access="public",
    )
    def near() -> ResponseReturnValue:
        """The nearest recycling centres, whether they are open, and what they take."""
        asked, moment, locale = http.query(Around), now(), http.locale()
        found = known(nearby.tiles(asked.lat, asked.lon, asked.radius))
        close = [one for one in asked.wanted(found) if one.distance <= asked.radius]
        note = None
        if not close:
            found = known(None)
            close = asked.wanted(found)
            filtered = bool(asked.type or asked.accepts)
            note = shown.note(asked.radius, filtered=filtered, anywhere=bool(close), locale=locale)
        places: shown.Places = {
            "centres": [shown.place(one, moment, locale) for one in close[:MOST]],
            "radius": asked.radius,
            "note": note,
            "source": shown.source(found, moment, locale),
        }
        return flask.jsonify(places)

    return app
