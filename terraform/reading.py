"""The Terraform files as data: modules, their blocks, and what every expression refers to. Nothing is evaluated.

A value is what python-hcl2 makes of it: a number, bool, list or dict; `"text"` with its quotes; `${expression}`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).parent
_META = "__is_block__"
_REFERENCE = re.compile(r"(?<![\w.-])(var|local|module|data|aws_[a-z0-9_]+)((?:\.[A-Za-z_][\w-]*|\[[^\[\]]*\])+)")


@dataclass(frozen=True, slots=True)
class Block:
    """One resource, data source, variable, output or module call. `type` is "" for the last three."""

    module: str
    kind: str
    type: str
    name: str
    body: dict[str, Any]

    @property
    def address(self) -> str:
        """`modules/edge: aws_lb.this`."""
        parts = [self.kind] * (self.kind != "resource") + [self.type] * bool(self.type) + [self.name]
        return f"{self.module or 'root'}: {'.'.join(parts)}"

    def nested(self, name: str) -> list[dict[str, Any]]:
        """The bodies of its blocks called `name`, written out or dynamic."""
        return nested(self.body, name)


@dataclass(slots=True)
class Module:
    """A folder: everything its .tf files say."""

    folder: str
    blocks: list[Block] = field(default_factory=list)
    locals: dict[str, Any] = field(default_factory=dict)
    settings: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str, *types: str) -> list[Block]:
        """Blocks of a kind, of any or of the given types."""
        return [block for block in self.blocks if block.kind == kind and (not types or block.type in types)]

    def names(self, kind: str, type_: str = "") -> set[str]:
        """Names of the blocks of a kind (and type)."""
        return {block.name for block in self.blocks if block.kind == kind and block.type == type_}


@dataclass(frozen=True, slots=True)
class Tree:
    """All modules by folder ("" is the root), and the examples: file → {variable: value}."""

    modules: dict[str, Module]
    examples: dict[str, dict[str, Any]]
    files: dict[str, str]

    def all(self, kind: str, *types: str) -> Iterator[Block]:
        """Blocks of a kind in every module."""
        for module in self.modules.values():
            yield from module.of(kind, *types)


def files(root: Path = ROOT) -> dict[str, str]:
    """Path below `root` → text, of everything a person wrote for Terraform."""
    kept = {".tf", ".tfvars", ".tfbackend", ".md"}
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.suffix in kept and ".terraform" not in path.parts and not path.name.endswith(".auto.tfvars")
    }


def tree(texts: dict[str, str]) -> Tree:
    """The modules and examples among `texts` (see `files`). Raises what python-hcl2 raises for broken syntax."""
    modules: dict[str, Module] = {}
    examples = {}
    for path, text in texts.items():
        if path.endswith(".tf"):
            folder = posixpath.dirname(path)
            _add(modules.setdefault(folder, Module(folder)), _parsed(text))
        elif path.endswith((".tfvars", ".tfbackend")):
            examples[path] = _parsed(text)
    return Tree(modules, examples, texts)


@cache
def _parsed(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = hcl2.loads(text, serialization_options=hcl2.SerializationOptions(with_comments=False))
    return parsed


def _add(module: Module, parsed: dict[str, Any]) -> None:
    module.settings += parsed.get("terraform", [])
    for kind in ("resource", "data"):
        for entry in parsed.get(kind, []):
            for type_, named in entry.items():
                for name, body in named.items():
                    module.blocks.append(Block(module.folder, kind, _bare(type_), _bare(name), body))
    for kind in ("variable", "output", "module", "provider"):
        for entry in parsed.get(kind, []):
            for name, body in entry.items():
                module.blocks.append(Block(module.folder, kind, "", _bare(name), body))
    for entry in parsed.get("locals", []):
        module.locals |= {name: value for name, value in entry.items() if name != _META}


def nested(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The bodies of the blocks called `name` directly in `body`, written out or dynamic."""
    found = [one for one in _list(body.get(name)) if isinstance(one, dict)]
    for entry in _list(body.get("dynamic")):
        for label, dynamic in entry.items():
            if _bare(label) == name:
                found += _list(dynamic.get("content"))
    return found


def written(body: dict[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """(name, value, whether it is a block) of all in a body; blocks one by one, dynamic ones as their content."""
    for name, value in body.items():
        if name == "dynamic":
            for entry in _list(value):
                for label, dynamic in entry.items():
                    if label != _META:
                        yield from ((_bare(label), content, True) for content in _list(dynamic.get("content")))
        elif name != _META:
            blocks = [one for one in _list(value) if isinstance(one, dict) and one.get(_META)]
            if blocks:
                yield from ((name, one, True) for one in blocks)
            else:
                yield name, value, False


def literal(value: Any) -> Any:
    """The plain value: text without quotes, numbers, bools, lists of such. None where it must be evaluated."""
    if isinstance(value, str):
        plain = len(value) >= 2 and value[0] == value[-1] == '"' and "${" not in value
        return value[1:-1] if plain else None
    return [literal(one) for one in value] if isinstance(value, list) else value


def references(value: Any) -> set[tuple[str, ...]]:
    """What `value` refers to, without indexes: ("var", "name"), ("module", "edge", "url"), ("aws_lb", "this")."""
    found = set()
    for text in _texts(value):
        todo = [_code(text)]
        while todo:
            for match in _REFERENCE.finditer(todo.pop()):
                steps = re.findall(r"\.([A-Za-z_][\w-]*)|\[([^\[\]]*)\]", match[2])
                found.add((match[1], *(name for name, _ in steps if name)))
                todo += [index for _, index in steps if index]
    return found


def expression(value: Any) -> str:
    """An expression without its `${}`; "" for anything else."""
    return value[2:-1] if isinstance(value, str) and value.startswith("${") and value.endswith("}") else ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key != _META:
                yield key
                yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _code(text: str) -> str:
    """`text` without what stands in quotes, but with the expressions that stand in those."""
    code, stack, i = [], ["code"], 0
    while i < len(text):
        two, one = text[i : i + 2], text[i]
        if stack[-1] == "text":
            if one == "\\":
                i += 1
            elif two == "${":
                stack.append("code")
                i += 1
            elif one == '"':
                stack.pop()
        elif one == '"':
            stack.append("text")
        elif one == "{":
            stack.append("code")
            code.append(" ")
        elif one == "}" and len(stack) > 1:
            stack.pop()
            code.append(" ")
        else:
            code.append(one)
        i += 1
    return "".join(code)


def _bare(label: str) -> str:
    return label.strip('"')


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
