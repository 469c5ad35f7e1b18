"""Compare a photo before and a photo after with the steps that were advised, by what can really be seen here: colours,
forms, the material, and what the citizen ticked.

The data block is {"item": {"name"}, "steps": [{"step", "phase", "text"}], "checklist": [step]}. A step is done where it
was ticked and the photos differ in what it changes. It is not done where the citizen ticked others and left it out, or
where nothing was ticked and nothing of it changed; else nobody can tell. A step for only some things
("conditional") that was left out is taken not to apply. Screens and swapped objects are not seen here, never claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from knative.local.model.seeing import BLANK, KOREAN, surest
from knative.local.model.vision import Floats, Glance, opened

#: Share of the picture that must have another hue or strength of colour, and how far grey forms must differ (1 minus
#: their correlation), to say that something changed. On TrashNet 0.95 of recompressed or darkened copies stay below 0.1
#: and 0.01; two photos of different things of one class differ by 0.27 and 0.73 at the median.
COLOURS, FORMS = 0.15, 0.15

#: What a step of a phase changes in a picture: a label that is off changes colours, a crushed bottle its form.
_CHANGES = {
    "prepare": ("colours", "forms"),
    "wash": ("colours",),
    "separate": ("colours", "forms"),
    "dispose": ("forms",),
}

_ASPECTS = {"colours": "색", "forms": "모양"}

_SIDE = 24


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two photos differ, each from 0: share of other colours, difference of forms; whether the second shows
    anything at all."""

    colours: float
    forms: float
    blank: bool

    def changed(self, phase: str) -> list[str]:
        """What of all that a step of `phase` would change did change."""
        by = {"colours": self.colours >= COLOURS, "forms": self.forms >= FORMS}
        return [aspect for aspect in _CHANGES.get(phase, tuple(by)) if by[aspect]]


def difference(before: bytes, after: bytes) -> Difference:
    """Measure two encoded photos. UnreadablePhoto."""
    first, second = opened(before)[0], opened(after)[0]
    colours = float(np.abs(_colours(first) - _colours(second)).sum() / 2)
    forms = 1.0 - float((_forms(first) * _forms(second)).sum())
    return Difference(colours, forms, float(np.asarray(second.convert("L"), np.float32).std()) < BLANK)


def compare(data: dict[str, Any], found: Difference, before: Glance, after: Glance) -> dict[str, Any]:
    """The whole Comparison answer."""
    ticked = set(data.get("checklist") or ())
    steps = [
        {
            "step": step["step"],
            **_applied(
                step, _judged(step["step"] in ticked if ticked else None, found.blank, found.changed(step["phase"]))
            ),
        }
        for step in data["steps"]
    ]
    return {
        "text_in_photo": "",
        "note": "cannot_tell",
        "photographed": "cannot_tell",
        "same_object": "cannot_tell",
        "steps": steps,
        "notes": _notes(found, before, after),
    }


def _applied(step: dict[str, Any], judged: dict[str, str]) -> dict[str, str]:
    """A step for only some things that was left out: the citizen knows whether theirs is one, this model does not."""
    if step.get("conditional") and judged["verdict"] == "not_done":
        return {"verdict": "not_applicable", "seen": "어떤 경우에만 하는 단계인데, 표시하지 않으셨어요."}
    return judged


def _judged(ticked: bool | None, blank: bool, changed: list[str]) -> dict[str, str]:
    """`ticked` is None where the citizen ticked nothing at all: that says nothing of any step."""
    if blank:
        return {"verdict": "cannot_tell", "seen": "사진에 보이는 것이 없어서 알 수 없어요."}
    what = "과 ".join(_ASPECTS[aspect] for aspect in changed)
    if ticked and changed:
        return {"verdict": "done", "seen": f"했다고 표시하셨고, 두 사진의 {what}이 달라졌어요."}
    if ticked:
        return {"verdict": "cannot_tell", "seen": "했다고 표시하셨지만, 두 사진에서 달라진 점이 보이지 않아요."}
    if ticked is None and changed:
        return {"verdict": "cannot_tell", "seen": f"두 사진의 {what}이 다르지만, 했다고 표시하지 않으셨어요."}
    if changed:
        return {"verdict": "not_done", "seen": "다른 단계만 했다고 표시하셨어요."}
    return {"verdict": "not_done", "seen": "표시하지 않으셨고, 두 사진에서 달라진 점도 보이지 않아요."}


def _notes(found: Difference, before: Glance, after: Glance) -> str:
    (kind, _), (then, sure) = surest(before), surest(after)
    material = f"재질은 {KOREAN[kind]}에서 {KOREAN[then]}(확률 {sure:.0%})로 다르게 보여요." if kind != then else ""
    parts = [
        "내장 대역 모델의 추정이에요. 체크하신 내용과 두 사진의 차이만 보고 판단했어요.",
        f"색 차이 {found.colours:.0%}, 모양 차이 {min(found.forms, 1.0):.0%}.",
        material,
        "사진 속 글자, 화면을 찍은 사진, 바뀐 물건은 알아보지 못해요.",
    ]
    return " ".join(part for part in parts if part)


def _colours(picture: Image.Image) -> Floats:
    """Shares of hues and their strengths; how bright they are does not count."""
    small = picture.resize((64, 64), Image.Resampling.BOX).convert("HSV")
    hue, strength, _ = np.asarray(small, np.int32).reshape(-1, 3).T
    bins = np.minimum(strength // 43, 5) * 8 + np.where(strength < 43, 0, hue // 32)
    return np.asarray(np.bincount(bins, minlength=48) / bins.size, np.float32)


def _forms(picture: Image.Image) -> Floats:
    grey = np.asarray(picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
    around = grey - grey.mean()
    return np.asarray(around / max(1.0, float(np.sqrt((around * around).sum()))), np.float32)
