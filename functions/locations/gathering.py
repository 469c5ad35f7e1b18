"""All rows of the public data together: which are centres, which say the same, and what was done with each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from functions.locations.centre import Centre
from functions.locations.fields import named
from functions.locations.nearby import distance
from functions.locations.repair import Notes, Unusable, centre_of

#: Rows of one name closer than this are one centre; of two names with one phone, perhaps.
_SAME_METRES, _PERHAPS_METRES = 50.0, 150.0
#: And whatever their phones say, closer than this.
_ONE_SPOT_METRES = 10.0


@dataclass(frozen=True, slots=True)
class Remark:
    """What was done with a row (`number` from 1, `name`): `kind` without, `detail` with its particulars."""

    number: int
    name: str
    kind: str
    detail: str = ""


@dataclass(slots=True)
class Gathered:
    """`read` rows became `centres`; what was mended, what stays doubtful, what was left out and why."""

    read: int = 0
    centres: list[Centre] = field(default_factory=list)
    repaired: list[Remark] = field(default_factory=list)
    doubtful: list[Remark] = field(default_factory=list)
    dropped: list[Remark] = field(default_factory=list)


def gather(rows: Iterable[Mapping[str, Any]]) -> Gathered:
    """All rows, in their order, without those that say again what another one says (the newest one counts)."""
    found, seen = Gathered(), _Seen()
    for number, row in enumerate(rows, 1):
        found.read, notes, name = number, Notes(), named(row)["name"]
        try:
            centre = centre_of(named(row), notes)
        except Unusable as reason:
            found.dropped.append(Remark(number, name, str(reason)))
            continue
        found.repaired += [Remark(number, name, *note) for note in notes.repaired]
        found.doubtful += [Remark(number, name, *note) for note in notes.doubtful]
        same = next((entry for entry in seen.near(centre) if _same(centre, entry.centre)), None)
        if same is None:
            if twin := next((entry for entry in seen.near(centre) if _perhaps(centre, entry.centre)), None):
                found.doubtful.append(Remark(number, name, "perhaps the same centre as another row", twin.centre.name))
            seen.add(_Entry(number, centre))
        elif (centre.reference_date or "") > (same.centre.reference_date or ""):
            found.dropped.append(Remark(same.number, name, "says again what a newer row says", f"row {number}"))
            same.number, same.centre = number, replace(centre, id=same.centre.id)
        else:
            found.dropped.append(Remark(number, name, "says again what another row says", f"row {same.number}"))
    found.centres = [entry.centre for entry in seen.entries]
    return found


@dataclass(slots=True)
class _Entry:
    number: int
    centre: Centre


class _Seen:
    """The centres so far, to be found by id and by the hundredth of a degree (about a kilometre) they lie in."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self._by_id: dict[str, _Entry] = {}
        self._by_cell: dict[tuple[int, int], list[_Entry]] = {}

    def add(self, entry: _Entry) -> None:
        self.entries.append(entry)
        self._by_id[entry.centre.id] = entry
        self._by_cell.setdefault(self._cell(entry.centre), []).append(entry)

    def near(self, centre: Centre) -> Iterator[_Entry]:
        """Who has the same id, then who lies less than a kilometre away."""
        if centre.id in self._by_id:
            yield self._by_id[centre.id]
        north, east = self._cell(centre)
        for cell in product((north - 1, north, north + 1), (east - 1, east, east + 1)):
            yield from self._by_cell.get(cell, ())

    @staticmethod
    def _cell(centre: Centre) -> tuple[int, int]:
        return math.floor(centre.latitude * 100), math.floor(centre.longitude * 100)


def _same(one: Centre, other: Centre) -> bool:
    return one.id == other.id or (
        _bare(one.name) == _bare(other.name)
        and distance(one.latitude, one.longitude, other.latitude, other.longitude) < _SAME_METRES
    )


def _perhaps(one: Centre, other: Centre) -> bool:
    metres = distance(one.latitude, one.longitude, other.latitude, other.longitude)
    shared = one.phone is not None and one.phone == other.phone
    return metres < (_PERHAPS_METRES if shared else _ONE_SPOT_METRES)


def _bare(name: str) -> str:
    return "".join(name.split()).casefold()
