"""Whether the files fit: references resolve, what is declared is used, arguments are those that the provider knows."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from terraform.reading import Block, Module, Tree, literal, references, written
from terraform.schema import known as provider_knows

_META_ARGUMENTS = frozenset({"count", "for_each", "provider", "depends_on", "lifecycle"})
FILES = ("main.tf", "variables.tf", "outputs.tf", "versions.tf", "README.md")


def arguments(tree: Tree) -> Iterator[str]:
    """Resources and data sources whose type, arguments, blocks or plain values the provider does not know."""
    for kind in ("resource", "data"):
        for block in tree.all(kind):
            known = provider_knows()[kind].get(block.type)
            if known is None:
                yield f"{block.address}: {block.type} is not in schema.json (python -m terraform.provider schema)"
            else:
                yield from _body(block.address, block.body, known, outermost=True)


def _body(where: str, body: dict[str, Any], known: dict[str, Any], *, outermost: bool = False) -> Iterator[str]:
    attributes, blocks = known["attributes"], known.get("blocks", {})
    seen: dict[str, int] = {}
    for name, value, is_block in written(body):
        if outermost and name in _META_ARGUMENTS:
            continue
        seen[name] = seen.get(name, 0) + 1
        if is_block and name in blocks:
            yield from _body(f"{where}.{name}", value, blocks[name])
        elif is_block or name not in attributes:
            yield f"{where}: the provider knows no {'block' if is_block else 'argument'} {name}"
        elif attributes[name][1] == "computed":
            yield f"{where}: {name} is said by AWS, not to it"
        elif not _fits(value, attributes[name][0]):
            yield f"{where}: {name} is {value}, not a {attributes[name][0]}"
    missing = {name for name, (_, use) in attributes.items() if use == "required"}
    missing |= {name for name, kind in blocks.items() if kind["min"]}
    yield from (f"{where}: {name} is missing" for name in sorted(missing - seen.keys()))
    if "dynamic" not in body:
        for name, kind in blocks.items():
            if kind["max"] and seen.get(name, 0) > kind["max"]:
                yield f"{where}: {seen[name]} blocks {name}, {kind['max']} at most"


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(value, str):
        plain = literal(value)
        if plain is None:
            return True
        if kind == "number":
            return str(plain).lstrip("-").isdigit()
        return plain in ("true", "false") if kind == "bool" else str(kind) in ("string", "dynamic")
    if isinstance(value, bool):
        return kind in ("bool", "string", "dynamic")
    if isinstance(value, int | float):
        return kind in ("number", "string", "dynamic")
    wanted = ("map", "object") if isinstance(value, dict) else ("list", "set")
    return kind == "dynamic" or (isinstance(kind, list) and str(kind[0]) in wanted)


def resolved(tree: Tree) -> Iterator[str]:
    """References to what does not exist; variables, locals and outputs nobody uses; inputs a module does not have."""
    for module in tree.modules.values():
        used = set()
        bodies = [(block.address, block.body) for block in module.blocks]
        bodies += [(f"{module.folder}: local.{name}", value) for name, value in module.locals.items()]
        for where, body in bodies:
            own = ("var", where.rpartition("variable.")[2])  # its validation is no use of a variable
            for reference in references(body):
                used |= {reference[:2]} - {own if ": variable." in where else ()}
                if problem := _dangling(tree, module, reference):
                    yield f"{where}: {problem}"
        for name in sorted(module.names("variable")):
            if ("var", name) not in used:
                yield f"{module.folder}: nothing uses var.{name}"
        yield from (f"{module.folder}: nothing uses local.{n}" for n in module.locals if ("local", n) not in used)
        for call in module.of("module"):
            yield from _called(tree, call)
    yield from _unheard(tree)
    yield from _examples(tree)


def _dangling(tree: Tree, module: Module, reference: tuple[str, ...]) -> str:
    root, *rest = reference
    kind = {"var": "variable", "local": "local", "module": "module", "data": "data"}.get(root, "resource")
    if kind == "local":
        return "" if rest[0] in module.locals else f"there is no local.{rest[0]}"
    if kind == "variable":
        return "" if rest[0] in module.names("variable") else f"var.{rest[0]} is not declared"
    if kind == "module":
        called = [call for call in module.of("module") if call.name == rest[0]]
        outputs = target.names("output") if called and (target := _target(tree, called[0])) else set()
        return "" if called and (len(rest) < 2 or rest[1] in outputs) else f"there is no {'.'.join(reference[:3])}"
    type_, name, *attributes = rest if kind == "data" else reference
    if name not in module.names(kind, type_):
        return f"there is no {'.'.join(reference)}"
    known = provider_knows()[kind].get(type_, {"attributes": {}})
    if attributes and attributes[0] not in known["attributes"].keys() | known.get("blocks", {}).keys():
        return f"{type_} has no {attributes[0]}"
    return ""


def _target(tree: Tree, call: Block) -> Module | None:
    return tree.modules.get(posixpath.normpath(posixpath.join(call.module, literal(call.body["source"]) or "")))


def _called(tree: Tree, call: Block) -> Iterator[str]:
    target = _target(tree, call)
    if target is None:
        yield f"{call.address}: {call.body['source']} is no module of ours"
        return
    given = {name for name, _, _ in written(call.body)} - _META_ARGUMENTS - {"source"}
    declared = {block.name: block for block in target.of("variable")}
    yield from (f"{call.address}: {target.folder} has no variable {name}" for name in sorted(given - declared.keys()))
    required = {name for name, block in declared.items() if "default" not in block.body}
    yield from (f"{call.address}: {name} is missing" for name in sorted(required - given))


def _unheard(tree: Tree) -> Iterator[str]:
    """Outputs of modules that no caller takes (those of roots are for people)."""
    heard = set()
    for module in tree.modules.values():
        targets = {call.name: target.folder for call in module.of("module") if (target := _target(tree, call))}
        spoken: list[Any] = [block.body for block in module.blocks] + list(module.locals.values())
        for reference in references(spoken):
            if reference[0] == "module" and len(reference) > 2:
                heard.add((targets.get(reference[1], ""), reference[2]))
    for module in tree.modules.values():
        if module.folder.startswith("modules/"):
            for name in sorted(module.names("output")):
                if (module.folder, name) not in heard:
                    yield f"{module.folder}: nobody uses output {name}"


def _examples(tree: Tree) -> Iterator[str]:
    declared = {block.name: block for block in tree.modules[""].of("variable")}
    for path, values in tree.examples.items():
        if path.endswith(".tfvars"):
            yield from (f"{path}: {name} is no variable" for name in sorted(values.keys() - declared.keys()))
            required = {name for name, block in declared.items() if "default" not in block.body}
            yield from (f"{path}: {name} is missing" for name in sorted(required - values.keys()))


def complete(tree: Tree) -> Iterator[str]:
    """Modules without one of their files, versions that float, state that is not locked or encrypted."""
    for folder, module in tree.modules.items():
        yield from (f"{folder}: {name} is missing" for name in FILES if posixpath.join(folder, name) not in tree.files)
        pins = [settings for settings in module.settings if "required_version" in settings]
        providers = [one["aws"] for settings in pins for one in settings.get("required_providers", []) if "aws" in one]
        if not providers or not all("version" in one for one in providers):
            yield f"{folder}: versions.tf pins no terraform or no provider"
        elif not folder.startswith("modules/") and any(
            not str(literal(one["version"])).replace(".", "").isdigit() for one in providers
        ):
            yield f"{folder}: a root says exactly one version of the provider"
    for block in tree.all("variable"):
        yield from (f"{block.address}: has no {word}" for word in ("description", "type") if word not in block.body)
    for block in tree.all("output"):
        if "description" not in block.body:
            yield f"{block.address}: has no description"
    backends = [one for settings in tree.modules[""].settings for one in settings.get("backend", [])]
    for backend in backends or [{}]:
        s3 = backend.get('"s3"', {})
        if not (s3.get("use_lockfile") is True and s3.get("encrypt") is True):
            yield "versions.tf: state must lie in S3, encrypted and locked"
