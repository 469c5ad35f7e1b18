"""The portal's names for the columns, in the one place that knows them.

The bulk file has them in UPPER_SNAKE, the API in camelCase; both spell two of them wrong, and may mend that one day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: The portal's name as the bulk file has it → ours.
NAMES = {
    "CNTER_NM": "name",
    "RDNMADR": "road_address",
    "LNMADR": "lot_address",
    "LATITUDE": "latitude",
    "LONGITUDE": "longitude",
    "TRTMNT_PRDLST": "takes",
    "WEEKDAY_OPER_OPEN_HHMM": "weekday_open",
    "WEEKDAY_OPER_COLSE_HHMM": "weekday_close",
    "WEEKDAY_OPER_CLOSE_HHMM": "weekday_close",
    "HOLIDAY_OPER_OPEN_HHMM": "rest_open",
    "HOLIDAY_CLOSE_OPEN_HHMM": "rest_close",
    "HOLIDAY_OPER_CLOSE_HHMM": "rest_close",
    "RSTDE_INFO": "closed",
    "OPER_PHONE_NUMBER": "phone",
    "PHONE_NUMBER": "agency_phone",
    "CNTER_OPER_SE": "type",
    "OPER_INSTITUTION_NM": "operator",
    "INSTT_NM": "agency",
    "REFERENCE_DATE": "reference_date",
}

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def named(row: Mapping[str, Any]) -> dict[str, str]:
    """A row under our names, every value a text without doubled or outer blanks; "" for what is not there."""
    found = dict.fromkeys(NAMES.values(), "")
    for key, value in row.items():
        name = NAMES.get(_HUMP.sub("_", str(key)).upper())
        if name and value is not None and not isinstance(value, dict | list):
            found[name] = " ".join(str(value).replace("\0", "").split())
    return found


def is_row(row: object) -> bool:
    """Whether it is a row of this data at all."""
    return isinstance(row, dict) and any(_HUMP.sub("_", str(key)).upper() == "CNTER_NM" for key in row)
