"""The guide: its schema, what must be true of it before a citizen reads it, and the plain one that always is.

A guide is to say only what the retrieved rules say. Checked here: that every step cites a retrieved rule, the
destination, addresses, foreign words, numbers and places the rules lack, a negation they lack or one turned round, and
that half of a step's content stands in the rules it cites. That catches what is invented outright. It compares letters
and understands nothing: a verb exchanged in a sentence that otherwise copies its rule can still pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from functions.shared import messages
from functions.shared.destinations import DESTINATIONS
from functions.shared.hangul import with_particle
from functions.shared.rules import set_aside

#: Of the prompt in llm.py: part of every stored call and of the cache's key.
PROMPT_VERSION = "guide-1"

Phase = Literal["prepare", "wash", "separate", "dispose"]
PHASES: tuple[Phase, ...] = ("prepare", "wash", "separate", "dispose")

#: Share of a sentence's content (pairs of syllables) that must stand in its rules: a paraphrase has more, an invention
#: less.
GROUNDED = 0.5

_ADDRESS = re.compile(r"https?://|www\.|\b[\w-]+\.(?:com|net|org|io|kr|co|me|app|info|xyz|ly)\b", re.IGNORECASE)
_HANGUL = re.compile(r"[가-힣]")
_WORD = re.compile(r"[가-힣]+")
#: Words of another script and numbers: nothing to paraphrase, so the rules have them or they are invented.
_FOREIGN = re.compile(r"[^\W\d_가-힣]+|\d+")
#: What makes a sentence forbid or deny.
NEGATION = re.compile(r"말고|말아|마세요|마십시오|않|금지|안\s?[돼되된됩]")
#: Endings of a word, which say nothing of what it is about, where at least two syllables stand before them.
_ENDING = re.compile(
    r"(?<=..)(?:(?:으로|에서|까지|부터|에는|에도|하고|해서|해요|하세요|합니다|어요|아요|고요)|[은는이가을를에의도와과로요고])$"
)
#: What one does with any waste: it fits every rule, so it proves nothing.
_COMMON = set(
    re.findall(r"\S+", "주세 세요 해요 하세 하고 어요 아요 니다 습니 합니 배출 출해 버려 버리 넣어 넣으 넣고")
)
#: Where something is put, and the few words of that form that are no place.
_PLACE = re.compile(r"\b([가-힣]{2,})에(?:다|다가)?\b")
_TIMES = {"나중", "다음", "경우", "처음", "마지막", "때문", "한번"}
T = TypeVar("T")
Ids = Annotated[list[str], Field(max_length=10)]


class Cited(BaseModel):
    """One sentence for the citizen, with the rules it rests on."""

    text: Annotated[str, Field(min_length=2, max_length=300)]
    rule_ids: Ids


class Step(Cited):
    """One thing to do, in its phase."""

    phase: Phase


class Guide(BaseModel):
    """How to sort one item. `destination` is a code, or empty where municipalities differ; `answer` answers the
    citizen's question, empty without one."""

    summary: Annotated[str, Field(min_length=2, max_length=300)]
    destination: str
    steps: Annotated[list[Step], Field(max_length=16)]
    cautions: Annotated[list[Cited], Field(max_length=8)]
    answer: Annotated[str, Field(max_length=600)]


@dataclass(frozen=True, slots=True)
class Brief:
    """What a guide is written from: the item's name, the rules as retrieved (passages as JSON), the citizen's words."""

    item: str
    rules: list[dict[str, Any]]
    question: str

    @property
    def destinations(self) -> list[str]:
        """Where the thing itself goes: one code; several while its state is open; none where municipalities differ.

        The item's decision table says so (rules `<item>.dispose.<outcome>`), or a regional exception in its place. What
        a family numbers (`dispose.2`) is second best.
        """
        decided = [rule for rule in self.of("dispose") if not rule["id"].rpartition(".")[2].isdecimal()]
        deciding = decided or [rule for rule in self.of("dispose") if rule["destination"]][:1]
        if any(rule["destination"] is None for rule in deciding):
            return []
        return list(dict.fromkeys(rule["destination"] for rule in deciding))

    @property
    def destination(self) -> str:
        """The code, or nothing where nobody may choose for the citizen."""
        return self.destinations[0] if len(self.destinations) == 1 else ""

    @property
    def ids(self) -> set[str]:
        return {rule["id"] for rule in self.rules}

    @property
    def words(self) -> str:
        """Everything the rules say, in one text."""
        return "\n".join(f"{rule['text']} {rule.get('disagreement') or ''}" for rule in self.rules)

    def of(self, phase: str) -> list[dict[str, Any]]:
        return [rule for rule in self.rules if rule["phase"] == phase]


def parse(answer: dict[str, Any] | None) -> Guide | str:
    """The model's answer, or one line that says what is wrong with its form."""
    if answer is None:
        return "답이 JSON 객체가 아닙니다"
    try:
        return Guide.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def problems(guide: Guide, brief: Brief) -> list[str]:
    """Why this guide must not be shown, in words the model can mend it by; empty where it may.

    Sentences are named by their place, never quoted: what a citizen wrote must not come back as part of a prompt.
    Steps of a phase without rules are not looked at, because `settled` replaces them.
    """
    found = []
    order = [PHASES.index(step.phase) for step in guide.steps]
    missing = [phase for phase in PHASES if brief.of(phase) and PHASES.index(phase) not in order]
    if sorted(order) != order or missing:
        found.append(f"steps: {', '.join(PHASES)} 순서여야 하고 빠진 단계가 없어야 합니다")
    if brief.destination and guide.destination != brief.destination:
        found.append(f"destination: {brief.destination}이어야 합니다")
    cited: list[tuple[str, Cited]] = [
        (f"steps[{n}]", step) for n, step in enumerate(guide.steps) if brief.of(step.phase)
    ]
    cited += [(f"cautions[{n}]", caution) for n, caution in enumerate(guide.cautions)]
    for place, part in cited:
        if not part.rule_ids or set(part.rule_ids) - brief.ids:
            found.append(f"{place}: rule_ids는 주어진 기준의 id여야 하고 하나 이상 있어야 합니다")
        elif not rests(part.text, part.rule_ids, brief):
            found.append(f"{place}: 인용한 기준에 없는 내용입니다")
        elif _set_aside(part, brief):
            found.append(f"{place}: 어떤 경우에만 맞는 기준이므로 steps가 아니라 cautions에 적습니다")
    texts = [("summary", guide.summary), ("answer", guide.answer), *((place, part.text) for place, part in cited)]
    return found + [f"{place}: {fault}" for place, text in texts for fault in unfit(text, brief)]


def unfit(text: str, brief: Brief) -> list[str]:
    """Languages, addresses and places that a guide has no business with."""
    found = []
    if text and not _HANGUL.search(text):
        found.append("한국어로 적어야 합니다")
    if any(match.group() not in brief.words for match in _ADDRESS.finditer(text)):
        found.append("인터넷 주소를 적지 않습니다")
    known = {DESTINATIONS[code].ko for code in brief.destinations if code in DESTINATIONS}
    names = [place.ko for place in DESTINATIONS.values() if place.ko in text and place.ko not in known]
    return found + [f"기준에 없는 배출처({name})를 적지 않습니다" for name in names if name not in brief.words]


def mended(guide: Guide, brief: Brief) -> Guide:
    """The guide with every step and caution that may not be shown replaced by the text of a rule it cites (of its own
    phase, where it has one). What cites nothing that was retrieved is left as it is, and remains a problem; so is a
    guide none of whose steps may be shown: it is not a guide, but what somebody talked the model into.
    """
    if all(_refused(step, brief) for step in guide.steps):
        return guide
    steps = [
        Step(phase=step.phase, **_ruled(step, brief, brief.of(step.phase))) if _refused(step, brief) else step
        for step in guide.steps
    ]
    cautions = [Cited(**_ruled(part, brief, [])) if _refused(part, brief) else part for part in guide.cautions]
    return guide.model_copy(update={"steps": _once(steps), "cautions": _once(cautions)})


def _refused(part: Cited, brief: Brief) -> bool:
    """Whether a part that cites real rules says something else than they do."""
    cites = bool(part.rule_ids) and set(part.rule_ids) <= brief.ids
    wrong = not rests(part.text, part.rule_ids, brief) or unfit(part.text, brief) or _set_aside(part, brief)
    return cites and bool(wrong)


def _set_aside(part: Cited, brief: Brief) -> bool:
    """Whether it makes a step of what was set aside as a way out for some things (rules.py)."""
    cited = [rule for rule in brief.rules if rule["id"] in part.rule_ids]
    return isinstance(part, Step) and all(set_aside(rule["id"], rule["phase"]) for rule in cited)


def _ruled(part: Cited, brief: Brief, of_phase: list[dict[str, Any]]) -> dict[str, Any]:
    cited = [rule for rule in brief.rules if rule["id"] in part.rule_ids]
    rule = next((rule for rule in cited if rule in of_phase), (of_phase or cited)[0])
    return {"text": rule["text"][:300], "rule_ids": [rule["id"]]}


def _once(parts: Sequence[T]) -> list[T]:
    return [part for n, part in enumerate(parts) if part not in parts[:n]]


def rests(text: str, rule_ids: Collection[str], brief: Brief) -> bool:
    """Whether `text` says what the rules it cites say, as far as letters show it."""
    cited = [rule for rule in brief.rules if rule["id"] in rule_ids]
    texts = [rule["text"][:300] for rule in cited]
    if text in texts:
        return True
    forbids = [bool(NEGATION.search(told)) for told in texts]
    if NEGATION.search(text):
        if not any(forbids):
            return False
    elif all(forbids) and all(rule["phase"] == "dont" for rule in cited):
        return False  # what must not be done, told as a thing to do
    said = "".join(_HANGUL.findall(f"{brief.words} {brief.item}"))
    if any(place not in said for place in set(_PLACE.findall(text)) - _TIMES):
        return False
    return grounded(text, texts, brief.item)


def settled(guide: Guide, brief: Brief) -> Guide:
    """The guide with what is ours to say: a phase without rules says so, and words without ground are replaced."""
    steps = [step for phase in PHASES for step in (_steps(guide, phase) if brief.of(phase) else _nothing(phase, brief))]
    ground = [brief.words, messages.text("guide.no_answer"), *map(_place, brief.destinations)]
    answer = guide.answer.strip()
    if not grounded(answer, ground, brief.item):
        answer = messages.text("guide.no_answer")
    plainly = brief.destination and grounded(guide.summary, ground, brief.item)
    return guide.model_copy(
        update={
            "steps": steps,
            "answer": answer if brief.question else "",
            "summary": guide.summary if plainly else _summary(brief),
            "destination": brief.destination,
        }
    )


def plain(brief: Brief) -> Guide:
    """The rules themselves, in the four phases: never wrong, never missing, only less friendly."""
    steps = [
        step
        for phase in PHASES
        for step in [Step(phase=phase, text=rule["text"][:300], rule_ids=[rule["id"]]) for rule in brief.of(phase)]
        or _nothing(phase, brief)
    ]
    return Guide(
        summary=_summary(brief),
        destination=brief.destination,
        steps=steps[:16],
        cautions=[Cited(text=rule["text"][:300], rule_ids=[rule["id"]]) for rule in brief.of("dont")][:8],
        answer=messages.text("guide.no_answer") if brief.question else "",
    )


def grounded(text: str, ground: Iterable[str], item: str) -> bool:
    """Whether `text` has every foreign word and number, and at least GROUNDED of its content, from the `ground`.

    The name of the `item` and what is said of any waste count for nothing; a text without other content has no ground.
    """
    told = "\n".join(ground)
    if _foreign(text) - _foreign(f"{told}\n{item}"):
        return False
    said = content(text, item)
    return bool(said) and len(said & pairs(told)) / len(said) >= GROUNDED


def content(text: str, item: str) -> set[str]:
    """What `text` is about, as pairs of syllables: without endings, the `item`'s name and what is said of any waste."""
    return {pair for word in _WORD.findall(text) for pair in pairs(_ENDING.sub("", word))} - pairs(item) - _COMMON


def _foreign(text: str) -> set[str]:
    return set(_FOREIGN.findall(unicodedata.normalize("NFKC", text).casefold()))


def pairs(text: str) -> set[str]:
    """Every two neighbouring syllables: how two texts are compared."""
    syllables = "".join(_HANGUL.findall(text))
    return {syllables[n : n + 2] for n in range(len(syllables) - 1)}


def _steps(guide: Guide, phase: str) -> Sequence[Step]:
    return [step for step in guide.steps if step.phase == phase]


def _nothing(phase: Phase, brief: Brief) -> list[Step]:
    """A step that says there is no rule, resting on the rule that says where the thing goes."""
    return [Step(phase=phase, text=messages.text(f"guide.nothing.{phase}"), rule_ids=[_disposal(brief)["id"]])]


def _disposal(brief: Brief) -> dict[str, Any]:
    return (brief.of("dispose") or brief.rules)[0]


def _summary(brief: Brief) -> str:
    if len(brief.destinations) > 1:
        places = ", ".join(f"‘{DESTINATIONS[code].ko}’" for code in brief.destinations)
        return messages.text("guide.depends", item=with_particle(brief.item, "은", "는"), places=places)
    text: str = _disposal(brief)["text"]
    return text[:300]


def _place(code: str) -> str:
    place = DESTINATIONS.get(code)
    return f"{place.ko} {place.accepts} {place.apartment} {place.house}" if place else ""
