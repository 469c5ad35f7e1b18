"""Where a rule differs: Korean addresses as people write them, and the municipal exceptions of an item.

Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

#: "Today" is a day there: rules start and end at midnight in Korea.
KOREA = ZoneInfo("Asia/Seoul")

_PROVINCE = re.compile(
    r"(서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|전북|제주|충청[남북]|전라[남북]|경상[남북]|충[남북]|전남|경[남북])"
    r"(?:특별자치시|특별자치도|특별시|광역시|시|도)?"
)


def place(region: str) -> tuple[str, ...]:
    """The parts of an address in their short form: "서울특별시 중랑구" and "서울시 중랑구" are both ("서울",
    "중랑구").
    """
    return tuple(_short(part) for part in region.split())


def _short(part: str) -> str:
    match = _PROVINCE.fullmatch(part)
    if not match:
        return part
    name = match.group(1)
    return name if len(name) == 2 else name[0] + name[2]


def within(region: str | None, area: str) -> bool:
    """Whether a citizen's region lies in the area of an exception. An unknown or vaguer region does not."""
    return bool(region) and set(place(area)) <= set(place(region or ""))


def exception_for(doc: Mapping[str, Any], region: str | None, on: date) -> dict[str, Any] | None:
    """The exception of an item (its index document) that holds in that region on that day; the narrowest area wins."""
    day = on.isoformat()
    holding: list[dict[str, Any]] = [
        e
        for e in doc.get("regional", ())
        if within(region, e["region"]) and e["effective_from"] <= day <= (e["effective_to"] or day)
    ]
    return max(holding, key=lambda e: len(place(e["region"])), default=None)
