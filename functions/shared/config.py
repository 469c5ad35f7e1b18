"""Typed settings from the environment: a function lists exactly what it reads, and learns of every fault at once."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

S = TypeVar("S")


class ConfigError(ValueError):
    """The environment does not fit the settings; the message lists every problem, one a line."""


def secret() -> Any:
    """A field whose value is never printed: `token: str = secret()`. Required, like a field without a default."""
    return dataclasses.field(repr=False)


def load(cls: type[S], environ: Mapping[str, str]) -> S:
    """Read dataclass `cls` from `environ`: field `database_url` is variable `DATABASE_URL`.

    Types: str, int, float, bool (true/false/1/0), Path, and `X | None`. An empty variable counts as absent.
    Raises ConfigError naming every missing or malformed variable.
    """
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name, raw = field.name.upper(), environ.get(field.name.upper(), "")
        if raw == "":
            if field.default is dataclasses.MISSING:
                problems.append(f"{name} is not set")
            continue
        try:
            values[field.name] = _convert(raw, hints[field.name])
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return cls(**values)


def variables(cls: type) -> set[str]:
    """Names of the environment variables `cls` reads (the manifests must set exactly these)."""
    return {field.name.upper() for field in dataclasses.fields(cls)}


def _convert(raw: str, hint: Any) -> Any:
    if get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (h for h in get_args(hint) if h is not type(None))
    if hint is bool:
        if raw.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{raw!r} is not true or false")
        return raw.lower() in ("true", "1")
    if hint in (int, float):
        try:
            return hint(raw)
        except ValueError:
            raise ValueError(f"{raw!r} is not a number") from None
    return Path(raw) if hint is Path else raw
