"""What `rag-index/corpus/*.yaml` may say: the schema of the corpus, and reading it.

Rule families carry the text, items are thin. Reading never stops at the first fault: `CorpusError` lists all of them,
one a line, each with its file and entry. `compiled.py` checks that the entries fit together; `rag-index/README.md`
explains the schema to authors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from functions.shared.conditions import AXES
from functions.shared.destinations import DESTINATIONS
from functions.shared.rules import BASES, PHASES

_RULE_KEY = re.compile(rf"^({'|'.join(PHASES)})\.[1-9][0-9]?$")


class CorpusError(ValueError):
    """The corpus cannot be used; the message lists every problem, one a line."""


def _one_of(known: Container[str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"unknown: {value!r}")
        return value

    return check


def _listed(value: Any) -> Any:
    """One value may be written without brackets."""
    return value if value is None or isinstance(value, list) else [value]


def _rules(value: Any) -> Any:
    """A rule may be written as its text alone; its key is `<phase>.<n>`."""
    if not isinstance(value, dict):
        return value
    wrong = [str(key) for key in value if not _RULE_KEY.match(str(key))]
    if wrong:
        raise ValueError(f"rule ids must look like separate.1: {', '.join(wrong)}")
    return {key: {"text": rule} if isinstance(rule, str) else rule for key, rule in value.items()}


Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Address = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
Basis = Annotated[str, AfterValidator(_one_of(BASES))]
Code = Annotated[str, AfterValidator(_one_of(DESTINATIONS))]
Axis = Annotated[str, AfterValidator(_one_of(AXES))]
Codes = Annotated[list[Code], BeforeValidator(_listed), Field(min_length=1)]
Values = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Name(_Entry):
    ko: Text
    en: Text


class Source(_Entry):
    """A page or document rules rest on; `checked` is the day it was read, `note` how, where that matters."""

    id: Id
    title: Text
    url: Address
    checked: date
    note: Text | None = None


class Rule(_Entry):
    """One rule. What it leaves out it has from its family or item; `when` limits it to states, `to` names where a
    part goes.
    """

    text: Text
    when: dict[Axis, Values] = Field(default_factory=dict)
    to: Code | None = None
    basis: Basis | None = None
    source: Id | None = None
    effective_from: date | None = None
    effective_to: date | None = None
    disagreement: Text | None = None


Rules = Annotated[dict[str, Rule], BeforeValidator(_rules)]


class Soiled(_Entry):
    """What becomes of things of a family that are soiled (`dirt`: how much is too much): they go by another family,
    `clean` and `soiled` are how the two answers to `ask` read."""

    family: Id
    dirt: Values
    ask: Name
    clean: Name
    soiled: Name


class Family(_Entry):
    """A way of throwing things away: one destination, its rules, what they rest on. `default` serves bare
    destinations; `soiled` holds for every item of the family whose own table does not ask for dirt.
    """

    id: Id
    name: Name
    destination: Code
    default: bool = False
    basis: Basis
    source: Id | None = None
    effective_from: date
    effective_to: date | None = None
    soiled: Soiled | None = None
    rules: Rules

    @model_validator(mode="after")
    def _complete(self) -> Family:
        phases = {key.partition(".")[0] for key in self.rules}
        missing = [phase for phase in ("dispose", "dont", "why") if phase not in phases]
        if missing:
            raise ValueError(f"a family needs rules for dispose, dont and why; missing: {', '.join(missing)}")
        return self


class Outcome(_Entry):
    """Where something goes: one code, or several together with the disagreement that keeps us from choosing."""

    to: Codes | None = None
    family: Id | None = None
    basis: Basis | None = None
    source: Id | None = None
    disagreement: Text | None = None


class Option(Outcome):
    """An answer. `is` lists the values it stands for (`rest`: all that are left); `words` give it away in a search."""

    values: Values = Field(alias="is")
    ko: Text
    en: Text
    words: list[Text] = Field(default_factory=list)
    decide: Decide | None = None
    effective_from: date | None = None
    effective_to: date | None = None


class Decide(_Entry):
    """One question of a decision table. `assume` is taken where nobody said; without it the citizen is asked."""

    by: Axis
    ask: Name
    assume: Text | None = None
    options: list[Option] = Field(min_length=2, max_length=4)


class Unless(Outcome):
    """A kind or state of an item that goes elsewhere than its table says, seldom enough that nobody is asked for it:
    it holds where it is said. `words` give it away; `is` is a value of the axis, or any word for a `kind`. It is our
    own judgement unless it names another basis."""

    by: Axis = "kind"
    value: Text = Field(alias="is")
    ko: Text
    en: Text
    to: Codes
    words: list[Text] = Field(default_factory=list)


class Part(_Entry):
    """A part that goes elsewhere, at least by itself: to a destination, or the way of another item. `text` replaces
    the composed sentence of the whole's guide. `words` are what people call it behind the name of the whole, where they
    ask about it alone.
    """

    id: Id
    name: Name
    words: list[Text] = Field(default_factory=list)
    to: Code | None = None
    item: Id | None = None
    text: Text | None = None
    basis: Basis = "author"
    source: Id | None = None

    @model_validator(mode="after")
    def _one(self) -> Part:
        if (self.to is None) == (self.item is None):
            raise ValueError("a part goes either `to` a destination or the way of another `item`")
        return self


class Behind(_Entry):
    """What stands for an item behind the name of any other: "포장 박스" of whatever it held. `alone`: where it is said
    that it is about nothing else of that thing ("쇠만").
    """

    words: list[Text] = Field(default_factory=list)
    alone: list[Text] = Field(default_factory=list)


class Item(Outcome):
    """Something people throw away. `official` maps a class of the dictionary to the numbers of its pages; `said` is how
    people describe it who do not know or use its names; `alone` are parts that stay on it, and are asked about where
    they come by themselves (the blade of a blender); `behind` are words for it behind the name of any other thing."""

    id: Id
    name: Name
    aliases: list[Text] = Field(default_factory=list)
    said: list[Text] = Field(default_factory=list)
    official: dict[str, list[int]] = Field(default_factory=dict)
    decide: Decide | None = None
    unless: list[Unless] = Field(default_factory=list)
    parts: list[Part] = Field(default_factory=list)
    alone: list[Part] = Field(default_factory=list)
    behind: Behind = Field(default_factory=Behind)
    rules: Rules = Field(default_factory=dict)
    without: list[str] = Field(default_factory=list)
    effective_from: date | None = None


class Choice(_Entry):
    """A word for several items ("컵"): a question, and an answer only where it is said to be `broken`, if the things
    that people mean then go the same way."""

    id: Id
    names: list[Text] = Field(min_length=1)
    ask: Name
    options: list[Id] = Field(min_length=2, max_length=4)
    broken: list[Id] = Field(default_factory=list, max_length=4)


class Outside(_Entry):
    """What people say who do not want to throw anything away: a question nearer to these than to any item is
    refused."""

    id: Id
    texts: list[Text] = Field(min_length=1)


class RegionalException(Outcome):
    """What one municipality does otherwise, as it says itself; never our own judgement."""

    id: Id
    region: Text
    items: list[Id] = Field(min_length=1)
    to: Codes
    text: Text
    source: Id
    effective_from: date
    effective_to: date | None = None


Option.model_rebuild()


@dataclass
class Entries:
    """Everything the files say, by id; `where` tells file and entry of each id."""

    sources: dict[str, Source] = field(default_factory=dict)
    families: dict[str, Family] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    outside: dict[str, Outside] = field(default_factory=dict)
    exceptions: dict[str, RegionalException] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)


_SECTIONS: dict[str, type[_Entry]] = {
    "sources": Source,
    "families": Family,
    "items": Item,
    "choices": Choice,
    "outside": Outside,
    "exceptions": RegionalException,
}


_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser, where PyYAML was built with it


class _StrictLoader(_Fast):  # type: ignore[misc]
    """YAML in which a key written twice is a fault, not the last one winning, and yes, no, on and off are words."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if not (tag.endswith(":bool") and first in "yYnNoO")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"written twice: {', '.join(twice)}", node.start_mark)
        constructed: dict[Any, Any] = super().construct_mapping(node, deep)
        return constructed


def read(folder: Path, problems: list[str]) -> Entries:
    """Every entry of every *.yaml in `folder`; what is wrong with them goes into `problems`."""
    entries = Entries()
    files = sorted(folder.glob("*.yaml"))
    if not files:
        problems.append(f"{folder}: no *.yaml files")
    for path in files:
        for section, number, raw in _raw(path, problems):
            name = raw.get("id", f"#{number}") if isinstance(raw, dict) else f"#{number}"
            label = f"{path.name}: {section} {name}"
            try:
                entry: Any = _SECTIONS[section].model_validate(raw)
            except ValidationError as error:
                problems += [f"{label}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
                continue
            if entry.id in entries.where:
                problems.append(f"{label}: the id is already used by {entries.where[entry.id]}")
                continue
            entries.where[entry.id] = label
            getattr(entries, section)[entry.id] = entry
    return entries


def _raw(path: Path, problems: list[str]) -> Iterator[tuple[str, int, Any]]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader) or {}  # noqa: S506
    except yaml.YAMLError as error:
        problems.append(f"{path.name}: {' '.join(str(error).split())}")
        return
    if not isinstance(document, dict) or not set(document) <= set(_SECTIONS):
        problems.append(f"{path.name}: the top level may hold {', '.join(_SECTIONS)} and nothing else")
        return
    for section, rows in document.items():
        for number, row in enumerate(rows or (), 1):
            yield section, number, row
