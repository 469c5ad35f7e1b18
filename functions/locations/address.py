"""The province at the start of an address: seventeen names, of which every misspelling is one letter away."""

from __future__ import annotations

_PROVINCES = (
    *(
        "서울특별시",
        "부산광역시",
        "대구광역시",
        "인천광역시",
        "광주광역시",
        "대전광역시",
        "울산광역시",
        "세종특별자치시",
    ),
    *("경기도", "강원특별자치도", "충청북도", "충청남도", "전북특별자치도", "전라남도", "경상북도", "경상남도"),
    "제주특별자치도",
)
#: Names that were, and short ones.
_OTHER_NAMES = {name[:2]: name for name in _PROVINCES if name[:2] not in ("충청", "전라", "경상")}
_OTHER_NAMES |= {name[:2] + "시": name for name in _PROVINCES if name.endswith("시")}
_OTHER_NAMES |= {name[0] + name[2]: name for name in _PROVINCES if name[:2] in ("충청", "전라", "경상")}
_OTHER_NAMES |= {"강원도": "강원특별자치도", "전라북도": "전북특별자치도", "제주도": "제주특별자치도"}
#: Either the metropolis or a town of another province: what the address becomes by the province of the municipality.
_EITHER = {name: {"광주광역시": "광주광역시", "경기도": "경기도 광주시"} for name in ("광주", "광주시")}


def mended(address: str, agency: str) -> tuple[str, str]:
    """The address with its province as it is called today, and what was done: "", "old → new" or "unknown".

    Where a name, or one with a wrong letter, might be either of two provinces, the one in the name of the municipality
    (`agency`) counts.
    """
    first, blank, rest = address.partition(" ")
    if first in _PROVINCES:
        return address, ""
    if first in _EITHER:
        right = _EITHER[first].get(agency.partition(" ")[0])
    else:
        right = _OTHER_NAMES.get(first) or _meant(first, agency)
    return (f"{right}{blank}{rest}", f"{first} → {right}") if right else (address, "unknown")


def _meant(word: str, agency: str) -> str | None:
    near = [name for name in _PROVINCES if _letters_apart(word, name) == 1]
    told = [name for name in near if agency.startswith(name)]
    return near[0] if len(near) == 1 else told[0] if told else None


def _letters_apart(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True)) if len(one) == len(other) else len(one)
