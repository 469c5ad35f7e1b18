"""Answer "what is in this photo?": the picture gives a material and perhaps a thing, the citizen's words refine both.

A classifier sees one thing; several are claimed only where the words name several. The state of a thing (contents,
dirt, label, cap, damage) comes from the words alone, because this network cannot see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from knative.local.model.labels import Item, Labels
from knative.local.model.vision import Glance
from knative.local.model.words import UNKNOWN_STATE, Said, read

#: Sure of an animal or a landscape beyond this, there is no waste to name.
NOT_WASTE = 0.85

#: Grey values of a photo that vary less than this show nothing (a blank wall, a covered lens).
BLANK = 3.0

#: Confidence of a thing the citizen named, by what the picture says of its material.
AGREED, UNTOLD, CONTRADICTED = 0.95, 0.8, 0.6

MOST_OBJECTS = 4

#: Materials the head can speak about → the classes it would say.
_LOOKS = {
    "paper": {"paper", "cardboard"},
    "carton": {"paper", "cardboard"},
    "plastic": {"plastic"},
    "clear_pet": {"plastic"},
    "vinyl": {"plastic", "trash"},
    "glass": {"glass"},
    "metal": {"metal"},
}

KOREAN = {
    "cardboard": "골판지",
    "glass": "유리",
    "metal": "금속",
    "paper": "종이",
    "plastic": "플라스틱",
    "trash": "기타 포장재",
}


@dataclass(frozen=True, slots=True)
class Guess:
    """A thing and how sure (0–1) the stand-in is of it."""

    item: Item
    confidence: float


def pictured(glance: Glance, labels: Labels) -> Guess | None:
    """The thing in the picture, or None where it shows no waste.

    The head decides the material (it knows what TrashNet taught it: accuracy in weights/README.md); among the things of
    that material ImageNet's labels choose, where they are sure enough. Confidence: probability of the material, times
    the thing's share among the labels of that material. Things the head was never shown need ImageNet alone to be sure.
    """
    elsewhere = sum(float(glance.classes[first : last + 1].sum()) for first, last in labels.not_waste)
    if elsewhere > NOT_WASTE or glance.contrast < BLANK:
        return None
    weight = {item.name: float(glance.classes[list(item.classes)].sum()) for item in labels.items.values()}
    likely = [item for item in labels.items.values() if item.classes and weight[item.name] >= item.at_least]
    foreign = max((item for item in likely if not item.head), key=lambda item: weight[item.name], default=None)
    if foreign:
        return Guess(foreign, weight[foreign.name])
    kind, sure = surest(glance)
    named = max((item for item in likely if kind in item.head), key=lambda item: weight[item.name], default=None)
    if named is None:
        return Guess(labels.generic[kind], sure)
    rivals = {number for item in labels.items.values() if kind in item.head for number in item.classes}
    return Guess(named, sure * weight[named.name] / float(glance.classes[sorted(rivals)].sum()))


def surest(glance: Glance) -> tuple[str, float]:
    """The head's first class and its probability."""
    return max(glance.materials.items(), key=lambda entry: entry[1])


def agrees(item: Item, glance: Glance | None) -> bool | None:
    """Whether the picture's material fits a thing; None where the head cannot tell (or there is no picture)."""
    looks = item.head or _LOOKS.get(item.material)
    return None if glance is None or not looks else surest(glance)[0] in looks


def things(said: Said, glance: Glance | None, labels: Labels) -> list[tuple[Guess, dict[str, str]]]:
    """What to claim, best first, each with its state. Words win over the picture; a shape word refines it."""
    if said.named:
        chosen = list(said.named)
        if said.either:
            chosen.sort(key=lambda named: agrees(named.item, glance) is not True)
            chosen = chosen[:1]
        sureness = {True: AGREED, None: UNTOLD, False: CONTRADICTED}
        return [(Guess(one.item, sureness[agrees(one.item, glance)]), one.state) for one in chosen[:MOST_OBJECTS]]
    guess = pictured(glance, labels) if glance else None
    if guess is None or glance is None:
        return []
    kind, sure = surest(glance)
    if said.shape and kind in said.shape.meant and not guess.item.name.endswith(said.shape.words):
        guess = Guess(said.shape.meant[kind], sure)
    return [(guess, said.state)]


def see(question: str, glance: Glance | None, labels: Labels) -> dict[str, Any]:
    """The whole SeenPhoto answer to the citizen's words and one look at the photo."""
    said = read(question, labels)
    objects = [
        {
            "name": guess.item.name,
            "name_en": guess.item.name_en,
            "material": guess.item.material,
            "state": {**UNKNOWN_STATE, **state},
            "confidence": round(min(guess.confidence, 0.99), 2),
        }
        for guess, state in things(said, glance, labels)
    ]
    return {"objects": objects, "text_in_photo": "", "notes": _notes(said, glance, bool(objects))}


def _notes(said: Said, glance: Glance | None, found: bool) -> str:
    parts = ["내장 대역 모델의 추정이에요. GPT-4o가 아니며 사진 속 글자는 읽지 못해요."]
    if glance and found:
        kind, sure = surest(glance)
        parts.append(f"사진의 재질은 {KOREAN[kind]}(확률 {sure:.0%})에 가장 가까워 보여요.")
    if said.named:
        parts.append("물건 이름은 보내 주신 글에서 가져왔어요.")
        if any(agrees(named.item, glance) is False for named in said.named):
            parts.append("다만 사진의 재질은 글과 달라 보여요.")
    if not found:
        parts.append("폐기물로 보이는 물건을 찾지 못했어요.")
    return " ".join(parts)
