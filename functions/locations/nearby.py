"""Who is near: distances on a sphere (Haversine), and the squares of one degree that a circle touches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from functions.locations.centre import Centre

#: Mean radius of the earth in metres; a sphere is at most half a percent wrong here.
EARTH = 6_371_000.0


class Near(NamedTuple):
    """A centre and how far it is, in metres."""

    distance: float
    centre: Centre


def distance(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Metres between two positions in degrees."""
    north, other_north = math.radians(latitude), math.radians(other_latitude)
    half_north = math.sin((other_north - north) / 2) ** 2
    half_east = math.sin(math.radians(other_longitude - longitude) / 2) ** 2
    part = half_north + math.cos(north) * math.cos(other_north) * half_east
    return 2 * EARTH * math.asin(math.sqrt(min(1.0, part)))


def nearest(centres: Iterable[Centre], latitude: float, longitude: float) -> list[Near]:
    """All of them, the nearest first; of equals in the order of their ids."""
    found = [Near(distance(latitude, longitude, one.latitude, one.longitude), one) for one in centres]
    return sorted(found, key=lambda near: (near.distance, near.centre.id))


def tile(latitude: float, longitude: float) -> str:
    """The square of one degree (some 90 by 111 km) that a position lies in: "37:126"."""
    return f"{math.floor(latitude)}:{math.floor(longitude)}"


def tiles(latitude: float, longitude: float, radius: float) -> frozenset[str] | None:
    """Every square that a circle of `radius` metres may touch; None where that is not worth saying (near a pole or the
    date line, where nobody is)."""
    high = math.degrees(radius / EARTH) + 1e-6
    if abs(latitude) + high > 80 or abs(longitude) > 170 or high > 5:
        return None
    wide = math.degrees(math.asin(math.sin(math.radians(high)) / math.cos(math.radians(latitude)))) + 1e-6
    norths = range(math.floor(latitude - high), math.floor(latitude + high) + 1)
    easts = range(math.floor(longitude - wide), math.floor(longitude + wide) + 1)
    return frozenset(f"{north}:{east}" for north in norths for east in easts)
