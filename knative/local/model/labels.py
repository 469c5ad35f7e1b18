"""The stand-in's vocabulary: labels.yaml as checked, typed values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_WASTE = ("paper", "carton", "plastic", "clear_pet", "vinyl", "styrofoam", "glass", "metal", "fabric", "battery")
MATERIALS = frozenset({*_WASTE, "electronics", "food", "ceramic", "wood", "mixed", "unknown"})

#: The aspects of a thing's state and what may be said of each, besides "unknown".
ASPECTS = {
    "contents": {"empty", "remaining"},
    "dirt": {"clean", "dirty", "oily"},
    "label": {"on", "off"},
    "cap": {"on", "off"},
    "damage": {"intact", "broken", "swollen"},
}

#: What our material head tells apart (the classes of TrashNet).
HEAD = frozenset({"cardboard", "glass", "metal", "paper", "plastic", "trash"})

_PATH = Path(__file__).with_name("labels.yaml")

_WITH_HEAD, _WITHOUT_HEAD = 0.25, 0.6


@dataclass(frozen=True, slots=True)
class Item:
    """One thing the stand-in can name. `classes` are ImageNet's; the other fields are explained in labels.yaml."""

    name: str
    name_en: str
    material: str
    head: frozenset[str]
    classes: tuple[int, ...]
    at_least: float
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A word for a form without a material; `meant` gives the item by class of the material head."""

    words: tuple[str, ...]
    meant: dict[str, Item]


@dataclass(frozen=True, slots=True)
class StateWords:
    """Words that give one aspect of a state one value."""

    aspect: str
    value: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Labels:
    """Everything in labels.yaml. `generic` has an item for each class of the material head."""

    items: dict[str, Item]
    generic: dict[str, Item]
    shapes: tuple[Shape, ...]
    states: tuple[StateWords, ...]
    not_waste: tuple[tuple[int, int], ...]


def _item(entry: dict[str, Any]) -> Item:
    item = Item(
        name=str(entry["name"]),
        name_en=str(entry["name_en"]),
        material=entry["material"],
        head=frozenset(entry.get("head", ())),
        classes=tuple(entry.get("imagenet", ())),
        at_least=entry.get("at_least", _WITH_HEAD if entry.get("head") else _WITHOUT_HEAD),
        words=(str(entry["name"]), *(str(word) for word in entry.get("words", ()))),
    )
    if (
        item.material not in MATERIALS
        or not item.head <= HEAD
        or any(not 0 <= number < 1000 for number in item.classes)
    ):
        raise ValueError(f"labels.yaml: {item.name} has an unknown material, head or ImageNet class")
    return item


def _state(entry: dict[str, Any]) -> StateWords:
    if entry["value"] not in ASPECTS[entry["aspect"]]:
        raise ValueError(f"labels.yaml: {entry['aspect']} cannot be {entry['value']!r}")
    pattern = re.compile("|".join(f"(?:{pattern})" for pattern in entry["patterns"]), re.IGNORECASE)
    return StateWords(entry["aspect"], entry["value"], pattern)


@cache
def load(path: Path = _PATH) -> Labels:
    """Read and check the file. ValueError or KeyError says which entry is wrong."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    items = {item.name: item for item in map(_item, document["items"])}
    if set(document["generic"]) != HEAD:
        raise ValueError("labels.yaml: `generic` must name an item for each class of the head")
    return Labels(
        items=items,
        generic={kind: items[name] for kind, name in document["generic"].items()},
        shapes=tuple(
            Shape(tuple(entry["words"]), {kind: items[name] for kind, name in entry.items() if kind in HEAD})
            for entry in document["shapes"]
        ),
        states=tuple(map(_state, document["states"])),
        not_waste=tuple((first, last) for first, last in document["not_waste"]),
    )
