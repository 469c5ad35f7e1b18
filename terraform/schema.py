"""`schema.json`: what the AWS provider knows of the resources and data sources used here, and nothing of the others.

With it `terraform.checks` holds the files against the provider where there is none.
`python -m terraform.provider schema` writes it, by the provider's own word (`terraform providers schema`).
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from terraform.reading import ROOT

SCHEMA = ROOT / "schema.json"
PROVIDER = "registry.terraform.io/hashicorp/aws"


@cache
def known() -> dict[str, Any]:
    """{provider: name and version, resource: type → body, data: type → body}; a body as `compact` makes it."""
    read: dict[str, Any] = json.loads(SCHEMA.read_text())
    return read


def used() -> set[tuple[str, str]]:
    """(`resource` or `data`, type) of every block in the files."""
    texts = (path.read_text() for path in ROOT.rglob("*.tf") if ".terraform" not in path.parts)
    return {match for text in texts for match in re.findall(r'^(resource|data) "(\w+)"', text, re.M)}


def compact(block: dict[str, Any]) -> dict[str, Any]:
    """A block of the provider's schema → {attributes: name → [type, use], blocks: name → {min, max, …the same}}.

    `use` is `required`, `optional` (computed or not) or `computed` (must not be written).
    """
    attributes = {}
    for name, attribute in sorted(block.get("attributes", {}).items()):
        use = "required" if attribute.get("required") else "optional" if attribute.get("optional") else "computed"
        attributes[name] = [attribute.get("type", "object"), use]
    blocks = {
        name: {"min": kind.get("min_items", 0), "max": kind.get("max_items", 0), **compact(kind["block"])}
        for name, kind in sorted(block.get("block_types", {}).items())
    }
    return {"attributes": attributes, **({"blocks": blocks} if blocks else {})}


def text(told: str, version: str) -> str:
    """What schema.json must be, by what `terraform providers schema -json` and `terraform version -json` told."""
    schemas = json.loads(told)["provider_schemas"][PROVIDER]
    selected = json.loads(version)["provider_selections"][PROVIDER]
    parts = [f' "provider": {json.dumps(f"{PROVIDER} {selected}")}']
    for kind, key in (("resource", "resource_schemas"), ("data", "data_source_schemas")):
        names = sorted(type_ for where, type_ in used() if where == kind)
        rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(compact(schemas[key][name]['block']))}" for name in names)
        parts.append(f' "{kind}": {{\n{rows}\n }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"
