"""What the wrong answers of a quiz are made of: every item with all the places it may go to, and the families of rules
that lead to one place, with what they say of disposing and why.

An answer is offered as wrong only where the rules say so whatever the state of the thing and wherever its owner lives.
What blurs in practice (a bag or too big for one, a bottle with or without a deposit) is not held against anybody, and a
reason is about something else only if it names a thing that the item's own rules never speak of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from functions.shared.decisions import paths
from functions.shared.destinations import DESTINATIONS, allowed_by
from functions.shared.postgres import Tx
from functions.shared.rules import PHASES, holding

#: Destinations that a size, a municipality or a label tells apart: neither is plainly wrong where the other is right.
BLURRED = (
    {"general", "noncombustible"},
    {"general", "bulky"},
    {"general", "small_appliance"},
    {"noncombustible", "construction"},
    {"bulky", "construction"},
    {"bulky", "appliance_pickup"},
    {"small_appliance", "appliance_pickup"},
    {"small_appliance", "battery"},
    {"small_appliance", "take_back"},
    {"appliance_pickup", "take_back"},
    {"can", "scrap_metal"},
    {"glass_bottle", "deposit"},
    {"hazardous", "specialist"},
    {"hazardous", "take_back"},
    {"food", "cooking_oil"},
)

#: What the reasons and warnings of the corpus speak of, by name.
SUBJECTS = re.findall(
    r"\S+",
    "아기용품 중금속 배터리 전지 리튬 종이 도자기 유리 페트병 뚜껑 집수리 스테인리스 알루미늄 냉매 열선 구리 기판 "
    "초기화 배달 보증금 비닐 은박 불씨 사료 퇴비 가스 껍데기 형광등 수은 항생제 연고 바늘 소각로 스펀지 배설물 줄기 "
    "플라스틱 고무 소금기 기름 음식 시트 카페인 디스크 스티로폼 실리콘 가구 나무 원목 의류 잉크 튜브 영농 접착제 "
    "캔 씨 젤 약 솜 쇠 흙",
)

#: The same as they stand in a sentence: at the start of a word (not 유독가스), those of one syllable alone in it.
_SUBJECT = re.compile(
    "(?<![가-힣])(?:" + "|".join(w if len(w) > 1 else f"{w}(?=[은는이가을를와과의에도 ,.])" for w in SUBJECTS) + ")"
)
_PLACE = re.compile("|".join(place.ko.partition("(")[0] for place in DESTINATIONS.values()) + "|[가-힣]+ 수거함")
_WARNING = re.compile(r"[^.,]*?(?:말고|아니라)")


@dataclass(frozen=True, slots=True)
class Known:
    """An item. `goes`: where its decision table or a municipality may send it. `open`: those and whatever else cannot
    be called wrong. `warned`: places its rules name all the same, mostly to say no. `texts`: its name, and all that its
    rules say."""

    goes: frozenset[str]
    open: frozenset[str]
    warned: frozenset[str]
    texts: frozenset[str]

    def speaks_of(self, words: Iterable[str]) -> bool:
        """Whether its name or its rules have any of these words."""
        return any(word in text for word in words for text in self.texts)


@dataclass(frozen=True, slots=True)
class Family:
    """Rules of things that all go to `place`: how they are handed over, and what is said of them by name (by phase,
    `why` and `dont`)."""

    place: str
    dispose: str | None
    said: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Bank:
    """The index of that version on that day."""

    version: str
    on: date
    items: Mapping[str, Known]
    families: tuple[Family, ...]


def load(tx: Tx, version: str, on: date) -> Bank:
    """Everything the index holds on that day; some 50 ms and a few MB, once a day and process."""
    items = tx.execute("SELECT id, name_ko, doc FROM items WHERE kind = 'item' ORDER BY id").fetchall()
    rules = tx.execute(
        """SELECT id, owner, phase, text, destination, conditions, effective_from, effective_to
           FROM rules ORDER BY id"""
    ).fetchall()
    by_owner: dict[str, list[Mapping[str, Any]]] = {}
    for rule in holding(rules, {}, on):
        by_owner.setdefault(rule["owner"], []).append(rule)
    return Bank(
        version=version,
        on=on,
        items={item["id"]: _known(item, by_owner) for item in items},
        families=tuple(_families(items, by_owner)),
    )


def subjects(text: str) -> set[str]:
    """What a reason or a warning speaks of by name; where something is put is not what it is about."""
    return set(_SUBJECT.findall(_PLACE.sub("", text)))


def sent_to(text: str) -> set[str]:
    """Destinations that a sentence sends something to; not those it warns of ("종이류와 섞지 말고")."""
    return _places(_WARNING.sub("", text))


def _places(text: str) -> set[str]:
    return {code for code, place in DESTINATIONS.items() if place.ko.partition("(")[0] in text}


def _known(item: Mapping[str, Any], by_owner: Mapping[str, list[Mapping[str, Any]]]) -> Known:
    doc = item["doc"]
    leaves = [leaf for _, leaf in paths(doc["decide"])] + [exception["leaf"] for exception in doc["regional"]]
    owners = {item["id"], *(leaf["family"] for leaf in leaves), *(exception["id"] for exception in doc["regional"])}
    rules = [rule for owner in owners for rule in by_owner.get(owner, ())]
    goes = {code for leaf in leaves for code in leaf["to"]}
    may = goes | {code for pair in BLURRED if pair & goes for code in pair}
    may |= {code for official in doc["official"] for code in allowed_by(official)}
    may |= {part["to"] for part in doc["parts"]} | {rule["destination"] for rule in rules if rule["destination"]}
    may |= {code for rule in rules if rule["phase"] in PHASES[:4] for code in sent_to(rule["text"])}
    return Known(
        goes=frozenset(goes),
        open=frozenset(may),
        warned=frozenset({code for rule in rules for code in _places(rule["text"])} - may),
        texts=frozenset({item["name_ko"], *(rule["text"] for rule in rules)}),
    )


def _families(items: Iterable[Mapping[str, Any]], by_owner: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[Family]:
    places: dict[str, set[str]] = {}
    for item in items:
        for _, leaf in paths(item["doc"]["decide"]):
            places.setdefault(leaf["family"], set()).update(leaf["to"] if len(leaf["to"]) == 1 else ())
    for family, to in sorted(places.items()):
        if len(to) != 1:
            continue
        rules = [rule for rule in by_owner.get(family, ()) if not rule["conditions"]]
        yield Family(
            place=next(iter(to)),
            dispose=next((rule["text"] for rule in rules if rule["id"] == f"{family}.dispose.1"), None),
            said={
                phase: tuple(rule["text"] for rule in rules if rule["phase"] == phase and subjects(rule["text"]))
                for phase in PHASES[4:]
            },
        )
