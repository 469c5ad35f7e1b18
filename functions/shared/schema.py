"""Writes `schemas/<type>.json` from the catalogue: `python -m functions.shared.schema`; a test proves them current."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any, get_args, get_origin

from functions.shared.events import CATALOGUE, Payload

FOLDER = Path(__file__).parent / "schemas"
_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema(cls: type[Payload]) -> dict[str, Any]:
    """JSON Schema (2020-12) of the `data` of one event type."""
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": cls.TYPE,
        "description": " ".join((cls.__doc__ or "").split()),
        "type": "object",
        "properties": {name: _property(hints[name]) for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _property(hint: Any) -> dict[str, Any]:
    if get_origin(hint) is list:
        return {"type": "array", "items": _property(get_args(hint)[0])}
    return {"type": _SIMPLE[hint]}


def text(cls: type[Payload]) -> str:
    """The schema file, byte for byte."""
    return json.dumps(schema(cls), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for type_, cls in CATALOGUE.items():
        (FOLDER / f"{type_}.json").write_text(text(cls), encoding="utf-8")
