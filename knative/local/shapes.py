"""From the types of our code to JSON Schema (2020-12): TypedDicts of answers, dataclasses of bodies and queries.

A class becomes a component of its own, named like the class; two that are named alike carry their module's name, too.
What fields alone cannot say stands in a class variable SCHEMA.
"""

from __future__ import annotations

import builtins
import dataclasses
import types
import typing
import uuid
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NotRequired, get_args, get_origin

from functions.shared.api import SPACE, Between, Format, Pattern
from functions.shared.http import Number, Text, Whole

Schema = dict[str, Any]

_SIMPLE: dict[Any, Schema] = {
    Any: {},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    types.NoneType: {"type": "null"},
    uuid.UUID: {"type": "string", "format": "uuid"},
}


class Shapes:
    """Collects components while schemas are asked for: first `learn` every type, then `schema` them."""

    def __init__(self) -> None:
        self._known: dict[type, None] = {}
        self._names: dict[type, str] | None = None

    def learn(self, hint: Any) -> None:
        """Take the classes in `hint`, and in their fields, among the components."""
        if is_class(hint):
            if hint not in self._known:
                self._known[hint] = None
                for inner in _hints(hint).values():
                    self.learn(inner)
            return
        for inner in get_args(hint):
            self.learn(inner)

    def of(self, cls: type) -> Schema:
        """The object schema of a class that is not to be a component: a query."""
        return self._object(cls)

    def components(self) -> dict[str, Schema]:
        """Every class that was learned, by name."""
        return {self._name(cls): self._object(cls) for cls in sorted(self._known, key=self._name)}

    def schema(self, hint: Any) -> Schema:
        """The schema of one type. TypeError for a type that has none."""
        if is_class(hint):
            return {"$ref": f"#/components/schemas/{self._name(hint)}"}
        if hint in _SIMPLE:
            return dict(_SIMPLE[hint])
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Literal:
            return {**_SIMPLE[type(inner[0])], "enum": list(inner)}
        if origin is Annotated:
            return _marked(self.schema(inner[0]), inner[1:])
        if origin in (types.UnionType, typing.Union):
            return self._union(inner)
        return self._containing(hint, inner)

    def _containing(self, hint: Any, inner: tuple[Any, ...]) -> Schema:
        match get_origin(hint):
            case typing.NotRequired:
                return self.schema(inner[0])
            case builtins.list:
                return {"type": "array", "items": self.schema(inner[0])}
            case builtins.dict:
                return {"type": "object", "additionalProperties": self.schema(inner[1])}
        raise TypeError(f"no schema for {hint!r}")

    def _union(self, inner: tuple[Any, ...]) -> Schema:
        optional = types.NoneType in inner
        each = [blank(self.schema(one), one) if optional else self.schema(one) for one in inner]
        plain = [one for one in each if one != {"type": "null"}]
        if optional and len(plain) == 1 and isinstance(plain[0].get("type"), str) and "enum" not in plain[0]:
            return {**plain[0], "type": [plain[0]["type"], "null"]}
        return {"anyOf": each}

    def _object(self, cls: Any) -> Schema:
        hints, needed = _hints(cls), required(cls)
        schema: Schema = {"type": "object", "description": " ".join((cls.__doc__ or "").split())}
        schema["properties"] = {name: {**self.schema(hint), **_default(cls, name)} for name, hint in hints.items()}
        if needed:
            schema["required"] = needed
        return {**schema, "additionalProperties": False, **getattr(cls, "SCHEMA", {})}

    def _name(self, cls: type) -> str:
        if self._names is None or cls not in self._names:
            plain = [known.__name__ for known in self._known]
            self._names = {
                known: known.__name__ if plain.count(known.__name__) == 1 else _told_apart(known)
                for known in self._known
            }
        return self._names[cls]


def is_class(hint: Any) -> bool:
    """Whether it becomes a component."""
    return isinstance(hint, type) and (typing.is_typeddict(hint) or dataclasses.is_dataclass(hint))


def required(cls: Any) -> list[str]:
    """Names of the fields that must be there."""
    if dataclasses.is_dataclass(cls):
        missing = dataclasses.MISSING
        return [f.name for f in dataclasses.fields(cls) if f.default is missing and f.default_factory is missing]
    return [name for name, hint in _hints(cls).items() if cls.__total__ and get_origin(hint) is not NotRequired]


def blank(schema: Schema, hint: Any) -> Schema:
    """A text that may be left out may also be blank: it then counts as absent (http.py)."""
    marks = [mark for mark in get_args(hint)[1:] if isinstance(mark, Text)] if get_origin(hint) is Annotated else []
    if not marks:
        return schema
    text = f"^[{SPACE}]*$|{schema['pattern']}" if marks[0].pattern else r"^[^\u0000]*$"
    return {**schema, "minLength": 0, "pattern": text}


def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else hints
    return {name: hints[name] for name in fields}


def _told_apart(cls: type) -> str:
    return "".join(part.title() for part in cls.__module__.rpartition(".")[2].split("_")) + cls.__name__


def _default(cls: Any, name: str) -> Schema:
    if dataclasses.is_dataclass(cls):
        field = next(field for field in dataclasses.fields(cls) if field.name == name)
        if field.default is not dataclasses.MISSING and field.default is not None:
            return {"default": field.default}
    return {}


def _marked(schema: Schema, marks: Iterable[Any]) -> Schema:
    for mark in marks:
        if isinstance(mark, Format):
            schema = {**schema, "format": mark.name}
        elif isinstance(mark, Pattern):
            schema = {**schema, "pattern": f"^(?:{mark.regex})$"}
        elif isinstance(mark, Between | Whole | Number):
            schema = {**schema, "minimum": mark.least, "maximum": mark.most}
        elif isinstance(mark, Text):
            schema = {**schema, "minLength": mark.least, "maxLength": mark.most, **_text(mark)}
        elif isinstance(mark, str):
            schema = {**schema, "description": mark}
    return schema


def _text(mark: Text) -> Schema:
    """No NUL; its pattern, or at least so many characters, once what is blank at both ends is gone."""
    if mark.pattern:
        around = f"[{SPACE}]*" if mark.trim else ""
        return {"pattern": f"^{around}(?:{_spelt(mark.pattern)}){around}$", "not": {"pattern": r"\u0000"}}
    seen, any_ = rf"[^\u0000{SPACE}]", r"[^\u0000]"
    if mark.least == 0 or not mark.trim:
        return {"pattern": f"^{any_}*$"}
    if mark.least == 1:
        return {"pattern": f"^{any_}*{seen}{any_}*$"}
    return {"pattern": f"^{any_}*{seen}{any_}{{{mark.least - 2},}}{seen}{any_}*$"}


def _spelt(pattern: str) -> str:
    """A pattern of Python's without \\s and \\S, which mean something else in JSON Schema."""
    for python, both in ((r"[\s\S]", r"[^\u0000]"), (r"\S", rf"[^\u0000{SPACE}]"), (r"\s", SPACE)):
        pattern = pattern.replace(python, both)
    return pattern
