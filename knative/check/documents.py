"""Kubernetes objects as the dictionaries they are, and the few ways all checks look at them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ("dev", "prod", "one-node")

Document = dict[str, Any]

SERVING, EVENTING, SOURCES = "serving.knative.dev/v1", "eventing.knative.dev/v1", "sources.knative.dev/v1"

#: How much each suffix of a Kubernetes quantity is.
UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


def quantity(text: object) -> float:
    """ "250m" → 0.25, "64Mi" → bytes. ValueError for what Kubernetes would refuse."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", str(text))
    if found is None or found[2] not in UNITS:
        raise ValueError(f"{text!r} is not a quantity")
    return float(found[1]) * UNITS[found[2]]


def kind(document: Document) -> tuple[str, str]:
    """(apiVersion, kind)."""
    return str(document.get("apiVersion", "")), str(document.get("kind", ""))


def name(document: Document) -> str:
    return str(document.get("metadata", {}).get("name", ""))


def namespace(document: Document) -> str:
    return str(document.get("metadata", {}).get("namespace", ""))


def labels(document: Document) -> dict[str, str]:
    return dict(document.get("metadata", {}).get("labels") or {})


def notes(document: Document) -> dict[str, str]:
    return dict(document.get("metadata", {}).get("annotations") or {})


def title(document: Document) -> str:
    """How a problem names its object."""
    return f"{document.get('kind')} {namespace(document) or '-'}/{name(document)}"


def of_kind(documents: Iterable[Document], version: str, wanted: str) -> list[Document]:
    return [document for document in documents if kind(document) == (version, wanted)]


def services(documents: Iterable[Document]) -> list[Document]:
    """The Knative Services."""
    return of_kind(documents, SERVING, "Service")


@dataclass(frozen=True)
class Pods:
    """The pods an object makes: its template, and how many of them at once (of a CronJob or Job: one)."""

    owner: Document
    template: Document
    replicas: int

    @property
    def spec(self) -> Document:
        return dict(self.template.get("spec") or {})

    @property
    def labels(self) -> dict[str, str]:
        return dict((self.template.get("metadata") or {}).get("labels") or {})

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", []), *self.spec.get("containers", [])]


def pods(documents: Iterable[Document]) -> Iterator[Pods]:
    """Whatever makes pods by a template: Kubernetes' own workloads, Knative Services, ContainerSources."""
    for document in documents:
        spec = document.get("spec") or {}
        match kind(document):
            case ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet"):
                yield Pods(document, spec.get("template", {}), int(spec.get("replicas", 1)))
            case ("batch/v1", "Job"):
                yield Pods(document, spec.get("template", {}), int(spec.get("parallelism", 1)))
            case ("batch/v1", "CronJob"):
                yield Pods(document, spec.get("jobTemplate", {}).get("spec", {}).get("template", {}), 1)
            case ("v1", "Pod"):
                yield Pods(document, document, 1)
            case (version, "Service") if version == SERVING:
                yield Pods(document, spec.get("template", {}), 0)
            case (version, "ContainerSource") if version == SOURCES:
                yield Pods(document, spec.get("template", {}), 1)


def leaves(value: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything below `value` that holds nothing itself, with its path."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from leaves(below, f"{path}[{place}]")
    else:
        yield path, value


def strings(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text below `value` with its path."""
    return ((where, leaf) for where, leaf in leaves(value, path) if isinstance(leaf, str))


#: libyaml's reader where Python was built with it: the same documents, several times as fast.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]
    """Refuses a key that is there twice, as kubectl does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := sorted({key for key in keys if isinstance(key, str) and keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)}: there twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def load(path: Path) -> Any:
    """One YAML document of a file. yaml.YAMLError names the file."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise yaml.YAMLError(f"{path}: {error}") from error


def load_all(path: Path) -> list[Document]:
    """Every YAML document of a file, empty ones left out."""
    texts = path.read_text(encoding="utf-8")
    try:
        return [document for document in yaml.load_all(texts, Loader=_Loader) if document]
    except yaml.YAMLError as error:
        raise yaml.YAMLError(f"{path}: {error}") from error
