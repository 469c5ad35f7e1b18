"""From the corpus as written to what the index stores, and proof that it fits together.

Here every name belongs to one item, every decision table is total and unambiguous on every day it changes, no part
dangles, every outcome names whose word it rests on and has enough rules, and every destination is reachable.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from functions.setup.corpus import (
    Choice,
    CorpusError,
    Decide,
    Entries,
    Family,
    Item,
    Name,
    Option,
    Outcome,
    Outside,
    Part,
    RegionalException,
    read,
)
from functions.shared import decisions
from functions.shared.conditions import AXES, MATERIALS
from functions.shared.decisions import Leaf, Node, paths, resolve
from functions.shared.destinations import DESTINATIONS, OFFICIAL, allowed_by, segments
from functions.shared.hangul import normal, sound, with_particle
from functions.shared.parts import PART, Parts, may_have
from functions.shared.regions import KOREA
from functions.shared.rules import AUTHOR_TITLE, BASES, CASE, FEWEST, OUR_JUDGEMENT, holding, leaf_key

DICTIONARY = "https://www.xn--oy2b29bd3a601b.kr/front/dischargeMethod/dictionaryView.do?niIdx="
DICTIONARY_TITLE = "생활폐기물 분리배출 누리집 품목사전"
#: The dictionary was read in May 2026.
DICTIONARY_READ = date(2026, 5, 31)

#: The kind a thing with `unless` is where no seldom one is said, and so many of those it may have for each axis.
_USUAL, _MOST = "usual", 3

#: How the answer reads that is never given, because nobody is asked.
_ANY_OTHER = Name(ko="그 밖의 것", en="Any other")

#: A name of one thing, not of two ("경첩·레일") or with a remark.
_ONE_THING = re.compile(r"[\w ]+")

#: Headings of the dictionary that stand for no destination of their own.
_GROUPS = frozenset(
    ("재활용폐기물", "일반폐기물", "생활계 유해폐기물", "금속류", "일반팩", "멸균팩", "PET, PP, PS, PE, OTHER")
)


@dataclass(frozen=True)
class ItemRow:
    """A row of `items` with its names and with what is said of it (both key → as written)."""

    id: str
    kind: str
    name_ko: str
    name_en: str
    doc: dict[str, Any]
    names: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return _digest([self.kind, self.name_ko, self.name_en, self.doc, sorted({**self.said, **self.names}.items())])


@dataclass(frozen=True)
class RuleRow:
    """A row of `rules`, all but its embedding."""

    id: str
    owner: str
    phase: str
    text: str
    leaf: str | None
    conditions: dict[str, list[str]]
    destination: str | None
    basis: str
    source_title: str
    source_url: str | None
    effective_from: date
    effective_to: date | None
    checked: date
    disagreement: str | None

    @property
    def digest(self) -> str:
        return _digest({key: value for key, value in vars(self).items() if key != "id"})


@dataclass
class Corpus:
    """A checked corpus: the entries as written and the rows they become."""

    entries: Entries
    items: list[ItemRow] = field(default_factory=list)
    rules: list[RuleRow] = field(default_factory=list)

    def official_ids(self) -> dict[int, str]:
        """Page number of the official dictionary → id of the item that covers it."""
        return {
            number: item.id
            for item in self.entries.items.values()
            for numbers in item.official.values()
            for number in numbers
        }

    def names(self) -> tuple[frozenset[str], Parts]:
        """What a question is read with (`phrases.Reading`): the keys of all names, and the parts behind them."""
        named = [(row.id, key, name) for row in self.items for key, name in row.names.items()]
        behind = [(row.id, row.doc["behind"]) for row in self.items if "behind" in row.doc]
        return frozenset(key for _, key, _ in named), Parts.of(named, behind)

    def coverage(self) -> dict[str, Any]:
        """Figures for people: how much is covered, on what basis, how old."""
        items = self.entries.items.values()
        return {
            "items": len(items),
            "aliases_per_item": round(sum(len(item.aliases) for item in items) / max(len(items), 1), 1),
            "parts_asked_about_alone": sum(1 for row in self.items if row.kind == "part"),
            "choices": len(self.entries.choices),
            "texts_about_something_else": sum(len(outside.texts) for outside in self.entries.outside.values()),
            "families": len(self.entries.families),
            "decision_tables": sum(1 for item in items if item.decide),
            "regional_exceptions": len(self.entries.exceptions),
            "rules": len(self.rules),
            "rules_by_basis": {basis: sum(1 for rule in self.rules if rule.basis == basis) for basis in BASES},
            "official_pages": len(self.official_ids()),
            "oldest_check": min(rule.checked for rule in self.rules).isoformat() if self.rules else None,
        }


def load(folder: Path, today: date | None = None) -> Corpus:
    """Read, check and compile every *.yaml of `folder`. Raises CorpusError with all problems, one a line."""
    problems: list[str] = []
    corpus = Corpus(read(folder, problems))
    if not problems:
        _Compiler(corpus, problems, today or datetime.now(KOREA).date()).run()
    if problems:
        raise CorpusError("\n".join(problems))
    return corpus


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str).encode()).hexdigest()[:32]


class _Seldom(Decide):
    """A question that nobody is asked (`unless`)."""


class _Compiler:
    """Turns entries into rows, noting everything that does not fit."""

    def __init__(self, corpus: Corpus, problems: list[str], today: date) -> None:
        self.corpus, self.problems, self.today = corpus, problems, today
        self.entries = corpus.entries
        self.defaults: dict[str, str] = {}
        self.trees: dict[str, Node] = {}
        self.apart: dict[str, Item] = {}
        #: Item → what finds its parts behind its names.
        self.behind: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        for source in self.entries.sources.values():
            if source.checked > self.today:
                self._problem(source.id, f"checked on {source.checked}, which has not come yet")
        for family in self.entries.families.values():
            self._family(family)
        self.problems += [
            f"destination {code}: no family is its default" for code in DESTINATIONS if code not in self.defaults
        ]
        self._apart()
        for item in (*self.entries.items.values(), *self.apart.values()):
            self._item(item)
        for item in self.entries.items.values():
            self._parts(item)
        for exception in self.entries.exceptions.values():
            self._exception(exception)
        for choice in self.entries.choices.values():
            self._choice(choice)
        for outside in self.entries.outside.values():
            self._outside(outside)
        self._one_owner_for_each_name()
        if not self.problems:
            self._every_destination_reachable()
            self._enough_rules()

    def _problem(self, entry: str, text: str) -> None:
        problem = f"{self.entries.where[entry]}: {text}"
        if problem not in self.problems:
            self.problems.append(problem)

    # --- rules

    def _family(self, family: Family) -> None:
        if family.default:
            other = self.defaults.setdefault(family.destination, family.id)
            if other != family.id:
                self._problem(family.id, f"is the default for {family.destination}, and so is {other}")
        self._rules(family, family.basis, family.effective_from, family.effective_to)

    def _rules(self, entry: Family | Item, basis: str, start: date, end: date | None) -> None:
        pages = [page for numbers in entry.official.values() for page in numbers] if isinstance(entry, Item) else []
        for key, rule in entry.rules.items():
            for axis, values in rule.when.items():
                self._known_values(entry.id, key, axis, values)
            begins, ends = rule.effective_from or start, rule.effective_to or end
            if ends and ends < begins:
                self._problem(entry.id, f"{key}: ends on {ends}, before it begins on {begins}")
            self._rule(
                entry.id,
                key,
                rule.text,
                basis=rule.basis or basis,
                source=rule.source if rule.basis else rule.source or entry.source,
                start=begins,
                end=ends,
                page=pages[0] if pages and rule.basis == "official-class" else None,
                conditions=rule.when,
                destination=rule.to,
                disagreement=rule.disagreement,
            )

    def _rule(
        self,
        owner: str,
        key: str,
        text: str,
        *,
        basis: str,
        source: str | None,
        start: date,
        end: date | None = None,
        page: int | None = None,
        **more: Any,
    ) -> None:
        """Add one row. `page` is the dictionary's, for what its class says of this very item."""
        title, url, checked = AUTHOR_TITLE, None, self.today
        if source is not None and source in self.entries.sources:
            found = self.entries.sources[source]
            title, url, checked = found.title, found.url, found.checked
        elif source is not None:
            self._problem(owner, f"{key}: unknown source {source}")
        elif page is not None:
            title, url, checked = f"{DICTIONARY_TITLE} {page}번", f"{DICTIONARY}{page}", DICTIONARY_READ
        elif basis != "author":
            self._problem(owner, f"{key}: basis {basis} needs a source")
        row = {"leaf": None, "conditions": {}, "destination": None, "disagreement": None, **more}
        self.corpus.rules.append(
            RuleRow(
                id=f"{owner}.{key}",
                owner=owner,
                phase=key.partition(".")[0],
                text=text,
                basis=basis,
                source_title=title,
                source_url=url,
                checked=checked,
                effective_from=start,
                effective_to=end,
                **row,
            )
        )

    def _known_values(self, owner: str, key: str, axis: str, values: Iterable[str]) -> None:
        known = MATERIALS if axis == "material" else AXES[axis]
        unknown = sorted(set(values) - set(known) - {"rest"}) if known else []
        if unknown:
            self._problem(owner, f"{key}: {axis} has no value {', '.join(unknown)}")

    # --- items and their decision tables

    def _apart(self) -> None:
        """Parts that are asked about alone ("물티슈 캡"): each is a small item, unless it goes the way of
        another. What finds it stands with the whole (functions/shared/parts.py).
        """
        items = self.entries.items
        taken = {sound(name) for item in items.values() for name in (item.name.ko, *item.aliases, item.name.en)}
        taken |= {sound(name) for choice in self.entries.choices.values() for name in choice.names}
        for item in items.values():
            for part in item.alone:
                if not part.words:
                    self._problem(item.id, f"part {part.id}: asked about alone, it needs words")
            wholes = [name for name in (item.name.ko, *item.aliases) if may_have(name)]
            words: dict[str, tuple[str, str]] = {}
            others: list[str] = []
            for part in (part for part in (*item.parts, *item.alone) if part.words):
                entry = f"{item.id}{PART}{part.id}"
                each = (word for word in (*part.words, part.name.ko) if _ONE_THING.fullmatch(word))
                own = {sound(word): word for word in each if sound(word) not in words}
                not_it = _taken(wholes, own, taken)
                if len(not_it) == len(wholes) * len(own):
                    self._problem(item.id, f"part {part.id}: every name that its words make is another's")
                elif entry in self.apart:
                    self._problem(item.id, f"part {part.id}: there are two")
                elif part.item is None:
                    called = {"ko": f"{item.name.ko} {part.name.ko}", "en": f"{part.name.en} ({item.name.en})"}
                    apart = {"id": item.id, "name": called, "to": part.to, "basis": part.basis, "source": part.source}
                    self.apart[entry] = Item.model_validate(apart).model_copy(update={"id": entry})
                    self.entries.where[entry] = f"{self.entries.where[item.id]}: part {part.id}"
                elif part.item not in items:
                    self._problem(item.id, f"part {part.id}: item {part.item} does not exist")
                words |= {key: (part.item or entry, word) for key, word in own.items()}
                others += not_it
            any_whole = (("common", item.behind.words), ("alone", item.behind.alone))
            common = {kind: {sound(word): word for word in said} for kind, said in any_whole if said}
            if words or common:
                self.behind[item.id] = {"words": words, "not_it": others, **common}

    def _item(self, item: Item) -> None:
        item = self._unless_soiled(self._unless(item))
        for official in item.official:
            unknown = [s for s in segments(official) if s not in OFFICIAL and s not in _GROUPS]
            if unknown:
                self._problem(item.id, f"official class has unknown segments: {', '.join(unknown)}")
        if item.decide and (item.to or item.disagreement):
            self._problem(item.id, "has both a destination of its own and a decision table")
        tree = self._tree(item, item.decide) if item.decide else self._leaf(item, item)
        if tree is None:
            return
        self.trees[item.id] = tree
        families = {leaf["family"] for _, leaf in paths(tree)}
        known = {f"{f}.{key}" for f in families for key in self.entries.families[f].rules}
        for rule in item.without:
            if rule not in known:
                self._problem(item.id, f"without {rule}: none of its families has such a rule")
        start = item.effective_from or min(self.entries.families[f].effective_from for f in families)
        self._rules(item, item.basis or "author", start, None)
        self._outcomes(item, start)
        doc: dict[str, Any] = {
            "decide": tree,
            "parts": [],
            "without": item.without,
            "official": item.official,
            "regional": [],
        }
        if item.id in self.behind:
            doc["behind"] = self.behind[item.id]
        if item.id in self.apart:  # by no name of its own
            self.corpus.items.append(ItemRow(item.id, "part", item.name.ko, item.name.en, doc, {}))
        else:
            self._row(item.id, "item", item.name, item.aliases, doc, item.said)

    def _unless(self, item: Item) -> Item:
        """The item with a question that nobody is asked around its own table, for each axis of its `unless`."""
        if self._broken(item) or (item.decide and (item.to or item.disagreement)):
            return item  # told by whoever comes next
        for by in dict.fromkeys(seldom.by for seldom in item.unless):
            asked = _values(item.decide, by)
            all_said = [seldom for seldom in item.unless if seldom.by == by]
            said = {seldom.value: seldom for seldom in all_said}
            for value in said:
                if value in (*asked, _USUAL) or "rest" in asked:
                    self._problem(item.id, f"unless {by} {value}: its own table asks for that")
            values = MATERIALS if by == "material" else AXES[by] or (_USUAL, *asked)
            others = [value for value in values if value not in said]
            if len(said) != len(all_said) or len(said) > _MOST or not others:
                self._problem(item.id, f"unless: at most {_MOST} different values of {by}, and never all there are")
                continue
            kept = ("decide",) if item.decide else ("to", "family", "basis", "source", "disagreement")
            usual = Option.model_validate({"is": others, "ko": _ANY_OTHER.ko, "en": _ANY_OTHER.en})
            options = [
                Option.model_validate(
                    {"is": value, "basis": OUR_JUDGEMENT}
                    | seldom.model_dump(exclude={"by", "value"}, exclude_unset=True)
                )
                for value, seldom in said.items()
            ]
            decide = _Seldom(
                by=by,
                ask=Name(ko=f"어떤 {item.name.ko}인가요?", en=f"Which {item.name.en}?"),
                assume=others[0],
                options=[usual.model_copy(update={name: getattr(item, name) for name in kept}), *options],
            )
            item = item.model_copy(update={"decide": decide, "to": None, "disagreement": None})
        return item

    def _broken(self, item: Item) -> bool:
        """Whether an outcome leads nowhere; every problem of it is noted."""
        return None in [self._leaf(item, outcome) for outcome, _ in _ends(item.decide, item, ())]

    def _unless_soiled(self, item: Item) -> Item:
        """The item with what its families say of soiled things, where its own table does not ask for dirt."""
        if self._broken(item) or _values(item.decide, "dirt"):
            return item
        if item.decide is None:
            decide = self._soiled(item, item)
            return item.model_copy(update={"decide": decide, "to": None}) if decide else item
        return item.model_copy(update={"decide": self._each_soiled(item, item.decide)})

    def _each_soiled(self, item: Item, decide: Decide) -> Decide:
        options = []
        for option in decide.options:
            then = self._each_soiled(item, option.decide) if option.decide else self._soiled(item, option)
            own = {"to": None, "family": None} if then and not option.decide else {}
            options.append(option.model_copy(update={"decide": then, **own}) if then else option)
        return decide.model_copy(update={"options": options})

    @cached_property
    def _soil(self) -> set[tuple[str | None, str | None, str | None]]:
        """What outcomes rest on that are owed to dirt."""
        soiled = {family.soiled.family for family in self.entries.families.values() if family.soiled}
        families = (self.entries.families[name] for name in soiled if name in self.entries.families)
        return {(family.basis, family.source, None) for family in families}

    def _soiled(self, item: Item, outcome: Outcome) -> Decide | None:
        """The question about dirt in front of an outcome, None where its family has none."""
        leaf = None if outcome.disagreement else self._leaf(item, outcome)
        soiled = self.entries.families[leaf["family"]].soiled if leaf else None
        if leaf is None or soiled is None:
            return None
        family = self.entries.families.get(soiled.family)
        if family is None:
            self._problem(leaf["family"], f"soiled: unknown family {soiled.family}")
            return None
        kept = {"to": leaf["to"], "family": leaf["family"], "basis": outcome.basis, "source": outcome.source}
        clean = Option.model_validate({"is": "rest", "ko": soiled.clean.ko, "en": soiled.clean.en, **kept})
        gone = {"to": family.destination, "family": family.id, "basis": family.basis, "source": family.source}
        dirty = Option.model_validate({"is": soiled.dirt, "ko": soiled.soiled.ko, "en": soiled.soiled.en, **gone})
        return Decide(by="dirt", ask=soiled.ask, assume="clean", options=[clean, dirty])

    def _row(  # noqa: PLR0917
        self, id_: str, kind: str, name: Name, aliases: list[str], doc: dict[str, Any], phrases: Iterable[str] = ()
    ) -> None:
        names = {sound(written): written for written in reversed([name.ko, *aliases, name.en])}
        if "" in names:
            self._problem(id_, f"the name {names['']!r} has no letters")
        said = {key: phrase for phrase in phrases if (key := sound(phrase)) not in names}
        self.corpus.items.append(ItemRow(id_, kind, name.ko, name.en, doc, names, said))

    def _tree(self, item: Item, decide: Decide) -> Node | None:
        given = [value for option in decide.options for value in option.values if value != "rest"]
        self._known_values(item.id, "decide", decide.by, given)
        domain = AXES[decide.by] or tuple(given)
        rest = [value for value in domain if value not in given]
        options = [self._option(item, option, rest) for option in decide.options]
        if None in options:
            return None
        asking = {"by": decide.by, "ko": decide.ask.ko, "en": decide.ask.en, "assume": decide.assume}
        seldom = {"seldom": True} if isinstance(decide, _Seldom) else {}
        tree = cast(Node, {**asking, **seldom, "options": options})
        bounds = [bound for option in decide.options for bound in (option.effective_from, option.effective_to)]
        for day in sorted({self.today, *filter(None, bounds)}):
            values = [v for option in decisions.active(cast(Any, tree), day) for v in option["values"]]
            twice = sorted({v for v in values if values.count(v) > 1})
            missing = [v for v in (*domain, decide.assume) if v and v not in values]
            if twice:
                self._problem(item.id, f"decision table is ambiguous on {day}: {decide.by} {', '.join(twice)} twice")
            if missing:
                self._problem(
                    item.id, f"decision table is not total on {day}: {decide.by} {', '.join(missing)} missing"
                )
        return tree

    def _option(self, item: Item, option: Option, rest: list[str]) -> dict[str, Any] | None:
        if option.decide and (option.to or option.family):
            self._problem(item.id, f"option {option.ko!r} has both a destination and a further question")
        then = self._tree(item, option.decide) if option.decide else self._leaf(item, option)
        if then is None:
            return None
        bounds = {"effective_from": option.effective_from, "effective_to": option.effective_to}
        return {
            "values": [v for value in option.values for v in (rest if value == "rest" else [value])],
            "ko": option.ko,
            "en": option.en,
            "words": [normal(word) for word in option.words],
            "then": then,
            **{name: day.isoformat() for name, day in bounds.items() if day},
        }

    def _leaf(self, item: Item, outcome: Outcome) -> Leaf | None:
        """`to` may be left out where the family says it, and the family where its destination has a default one."""
        families = self.entries.families
        for named in (outcome.family, item.family):
            if named and named not in families:
                self._problem(item.id, f"unknown family {named}")
                return None
        named = outcome.family or (item.family if outcome.to is None else None)
        if outcome.to is None and named is None:
            self._problem(item.id, "has neither a destination nor a family")
            return None
        to = outcome.to or [families[named or ""].destination]
        if named is None:
            own = families.get(item.family or "")
            named = own.id if own and own.destination in to else self.defaults.get(to[0])
        if named is None:
            return None
        if families[named].destination not in to:
            self._problem(item.id, f"family {named} goes to {families[named].destination}, not {' or '.join(to)}")
        if (len(to) > 1) != bool(outcome.disagreement):
            self._problem(item.id, f"{' or '.join(to)}: several destinations and a disagreement belong together")
        return {"to": list(to), "family": named}

    def _outcomes(self, item: Item, start: date) -> None:
        """One citable rule for each outcome: where it goes, in which case, and on whose word."""
        ends: dict[str, list[tuple[Outcome, tuple[str, ...]]]] = {}
        leaves: dict[str, Leaf] = {}
        for outcome, answers in _ends(item.decide, item, ()):
            leaf = self._leaf(item, outcome)
            if leaf:
                leaves[leaf_key(leaf["to"])] = leaf
                ends.setdefault(leaf_key(leaf["to"]), []).append((outcome, answers))
        for key, reached in ends.items():
            to = leaves[key]["to"]
            classes = [c for c in item.official if set(to) & allowed_by(c)]
            words = {self._word(item, outcome, classes) for outcome, _ in reached}
            added = self._soil | ({(OUR_JUDGEMENT, None, None)} if item.unless else set())
            own = words - added or (words if len(words) == 1 else {(OUR_JUDGEMENT, None, None)})
            if len(own) > 1:
                self._problem(item.id, f"outcome {key} has two different bases, sources or disagreements")
            basis, source, disagreement = own.pop()
            if len(words) > 1:  # soiled or not, it is one sentence: putting the two together is our own judgement
                basis, source = OUR_JUDGEMENT, None
            if basis is None:
                self._problem(item.id, f"outcome {key}: no official class of its says so; state basis (and source)")
                continue
            text, page = self._sentence(item, to, [answers for _, answers in reached] if len(ends) > 1 else []), None
            if basis == "official-class" and classes and source is None:
                page = item.official[classes[0]][0]
                text += f" 공식 품목사전의 분류는 ‘{classes[0]}’입니다."
            self._rule(
                item.id,
                f"dispose.{key}",
                text,
                basis=basis,
                source=source,
                start=start,
                page=page,
                leaf=key,
                destination=to[0] if len(to) == 1 else None,
                disagreement=disagreement,
            )

    @staticmethod
    def _word(item: Item, outcome: Outcome, classes: list[str]) -> tuple[str | None, str | None, str | None]:
        """Basis, source and disagreement of an outcome: its own word, the item's, or that of the dictionary's class."""
        said = outcome if outcome.basis else item
        return said.basis or ("official-class" if classes else None), said.source, outcome.disagreement

    @staticmethod
    def _sentence(item: Item, to: list[str], cases: list[tuple[str, ...]]) -> str:
        name = with_particle(item.name.ko, "은", "는")
        cases = [tuple(answer for answer in case if answer != _ANY_OTHER.ko) for case in cases]
        if cases and all(cases):
            said = " 또는 ".join(", ".join(f"‘{answer}’" for answer in case) for case in cases)
            name = f"{said}{with_particle(cases[-1][-1], '이', '').removeprefix(cases[-1][-1])}{CASE}{name}"
        if len(to) == 1:
            return f"{name} ‘{DESTINATIONS[to[0]].ko}’{_towards(to[0])} 배출해요."
        places = " 또는 ".join(f"‘{DESTINATIONS[code].ko}’" for code in to)
        return (
            f"{name} 지역에 따라 {places}{_towards(to[-1])} 배출해요. "
            "우리 동네 기준은 구청·시청 청소 부서에 확인해 주세요."
        )

    def _parts(self, item: Item) -> None:
        row = next((row for row in self.corpus.items if row.id == item.id), None)
        for part in item.parts if row else ():
            code = part.to or self._usual(item, part)
            if code is None or row is None:
                continue
            where = f"‘{DESTINATIONS[code].ko}’{_towards(code)}"
            text = part.text or f"{with_particle(part.name.ko, '은', '는')} 떼어서 {where} 따로 배출해 주세요."
            start = min(self.entries.families[leaf["family"]].effective_from for _, leaf in paths(self.trees[item.id]))
            self._rule(
                item.id,
                f"separate.{part.id}",
                text,
                basis=part.basis,
                source=part.source,
                start=item.effective_from or start,
                destination=code,
            )
            row.doc["parts"].append({"id": part.id, "ko": part.name.ko, "en": part.name.en, "to": code})

    def _usual(self, item: Item, part: Part) -> str | None:
        """Where the item a part refers to goes when nothing is known of it."""
        tree = self.trees.get(part.item or "")
        codes = resolve(tree, {}, self.today).destinations if tree else []
        if len(codes) == 1:
            return codes[0]
        reason = "has no usual destination; say `to`" if tree else "does not exist"
        self._problem(item.id, f"part {part.id}: item {part.item} {reason}")
        return None

    # --- exceptions and choices

    def _exception(self, exception: RegionalException) -> None:
        if exception.basis not in (None, "directive"):
            self._problem(exception.id, "an exception rests on the municipality's own word: basis directive")
        rows = {row.id: row for row in self.corpus.items}
        for item_id in exception.items:
            if item_id not in self.entries.items or item_id not in rows:
                self._problem(exception.id, f"unknown item {item_id}")
                continue
            leaf = self._leaf(self.entries.items[item_id], exception)
            if leaf:
                rows[item_id].doc["regional"].append(
                    {
                        "id": exception.id,
                        "region": exception.region,
                        "leaf": leaf,
                        "effective_from": exception.effective_from.isoformat(),
                        "effective_to": exception.effective_to.isoformat() if exception.effective_to else None,
                    }
                )
        self._rule(
            exception.id,
            "dispose.1",
            exception.text,
            basis="directive",
            source=exception.source,
            start=exception.effective_from,
            end=exception.effective_to,
            destination=exception.to[0] if len(exception.to) == 1 else None,
            disagreement=exception.disagreement,
        )

    def _choice(self, choice: Choice) -> None:
        for option in choice.options:
            if option not in self.entries.items:
                self._problem(choice.id, f"unknown item {option}")
        for option in choice.broken:
            if option not in choice.options:
                self._problem(choice.id, f"broken: {option} is none of its options")
        doc = {"ko": choice.ask.ko, "en": choice.ask.en, "options": choice.options, "broken": choice.broken}
        name = Name(ko=choice.names[0], en=choice.names[0])
        self._row(choice.id, "choice", name, choice.names[1:], doc)

    def _outside(self, outside: Outside) -> None:
        said = {sound(text): text for text in outside.texts}
        self.corpus.items.append(ItemRow(outside.id, "outside", outside.id, outside.id, {}, {}, said))

    # --- the whole

    def _one_owner_for_each_name(self) -> None:
        owners: dict[str, tuple[str, str]] = {}
        for row in self.corpus.items:
            for key, name in row.names.items():
                owner, other = owners.setdefault(key, (row.id, name))
                if owner != row.id:
                    self._problem(row.id, f"the name {name!r} sounds like {other!r} of {owner}; make it a choice")

    def _every_destination_reachable(self) -> None:
        reached = {rule.destination for rule in self.corpus.rules}
        reached |= {code for tree in self.trees.values() for _, leaf in paths(tree) for code in leaf["to"]}
        self.problems += [f"destination {code}: nothing goes there" for code in DESTINATIONS if code not in reached]

    def _enough_rules(self) -> None:
        by_owner: dict[str, list[dict[str, Any]]] = {}
        for rule in self.corpus.rules:
            by_owner.setdefault(rule.owner, []).append(vars(rule))
        for row in self.corpus.items:
            for facts, leaf in paths(row.doc["decide"]) if row.kind in ("item", "part") else ():
                rules = [*by_owner.get(row.id, ()), *by_owner[leaf["family"]]]
                rules = [
                    r for r in rules if r["id"] not in row.doc["without"] and r["leaf"] in (None, leaf_key(leaf["to"]))
                ]
                count = len(holding(rules, facts, self.today))
                if count < FEWEST:
                    self._problem(row.id, f"only {count} rules hold for {facts or 'it'}; at least {FEWEST} are needed")


def _taken(wholes: Iterable[str], words: Iterable[str], taken: Container[str]) -> list[str]:
    """Keys of what names of a whole and words (keys) for a part make, but another thing is called, wholly or in an end
    that says more than the part ("종이 상자" in "치킨 종이 상자").
    """
    found = []
    for whole in wholes:
        ends = [sound(" ".join(whole.split()[first:])) for first in range(len(whole.split()))]
        found += [ends[0] + word for word in words if any(end + word in taken for end in ends)]
    return found


def _values(decide: Decide | None, axis: str) -> list[str]:
    """The values of that axis that a decision table asks for anywhere."""
    if decide is None:
        return []
    own = [value for option in decide.options for value in option.values] if decide.by == axis else []
    return list(dict.fromkeys([*own, *(v for option in decide.options for v in _values(option.decide, axis))]))


def _ends(
    decide: Decide | None, outcome: Outcome, answers: tuple[str, ...]
) -> Iterator[tuple[Outcome, tuple[str, ...]]]:
    """Every end of a decision table with the answers that lead there."""
    if decide is None:
        yield outcome, answers
        return
    for option in decide.options:
        yield from _ends(option.decide, option, (*answers, option.ko))


def _towards(code: str) -> str:
    """The particle after a quoted destination."""
    name = DESTINATIONS[code].ko
    return with_particle(name, "으로", "로").removeprefix(name)
