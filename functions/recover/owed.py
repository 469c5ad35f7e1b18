"""Who must answer for what: read from the same Trigger manifests that the broker obeys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from functions.shared.naming import EVENT_PREFIX

#: A Trigger that only warms a function up: nothing is owed, nothing is lost with it.
BEST_EFFORT = "growbin.app/best-effort"


@dataclass(frozen=True, slots=True)
class Duty:
    """`consumer` is sent every event of `type`; unless `best_effort`, it owes each a finished claim."""

    type: str
    consumer: str
    best_effort: bool


def duties(folder: Path) -> list[Duty]:
    """One for every Trigger under `folder`. ValueError where there is none, or one without type or subscriber.

    A mounted ConfigMap holds every file twice, once in a folder whose name starts with a dot: that one is left out.
    """
    paths = [
        path
        for path in sorted(folder.rglob("*.yaml"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    found = [_duty(manifest, path) for path in paths for manifest in _triggers(path)]
    if not found:
        raise ValueError(f"{folder} holds no Triggers: nobody would owe anything")
    return list(dict.fromkeys(found))


def function_of(url: str) -> str:
    """`http://identify.growbin.svc.cluster.local/` → `identify`."""
    return (urlsplit(url).hostname or "").split(".")[0]


def owed(all_duties: list[Duty]) -> list[Duty]:
    """The duties `recover` watches: events of analyses that need a finished claim."""
    return [duty for duty in all_duties if duty.type.startswith(EVENT_PREFIX) and not duty.best_effort]


def _triggers(path: Path) -> Iterator[dict[str, Any]]:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if isinstance(document, dict) and document.get("kind") == "Trigger":
            yield document


def _duty(manifest: dict[str, Any], path: Path) -> Duty:
    metadata, spec = manifest["metadata"], manifest["spec"]
    try:
        type_, url = spec["filter"]["attributes"]["type"], spec["subscriber"]["uri"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: Trigger {metadata.get('name')} names no event type or no subscriber") from error
    annotations = metadata.get("annotations") or {}
    return Duty(type_, function_of(url), str(annotations.get(BEST_EFFORT, "")).lower() == "true")
