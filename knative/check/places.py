"""Which file a problem is in: checks name objects, Terraform's blocks and overlays, and people open files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from knative.check.documents import ENVIRONMENTS, ROOT, Document, load_all, title

TITLE = re.compile(r"^(\w+ [\w.-]+/[\w.-]+)(?=[: ])")
BLOCK = re.compile(
    r"^(?P<folder>root|bootstrap|modules/\w+): (?P<kind>(?:data|variable|output|module)\.)?(?P<name>[\w.]+)"
)


def manifests(root: Path = ROOT) -> Iterator[Path]:
    """Every YAML file of what is applied."""
    for folder in ("knative", "pipelines"):
        yield from (file for file in sorted((root / folder).rglob("*.yaml")) if "local" not in file.parts)


def objects(root: Path = ROOT) -> dict[str, str]:
    """Title of an object → the file it stands in (of a generated ConfigMap: the kustomization)."""
    found: dict[str, str] = {}
    for file in manifests(root):
        try:
            for document in _of(file):
                found.setdefault(title(document), file.relative_to(root).as_posix())
        except (OSError, yaml.YAMLError, TypeError, AttributeError):
            continue  # said by whoever renders it
    return found


def _of(file: Path) -> Iterator[Document]:
    for document in load_all(file):
        if file.name == "kustomization.yaml":
            for each in document.get("configMapGenerator") or []:
                yield {"kind": "ConfigMap", "metadata": each}
        elif isinstance(document, dict) and "kind" in document and "metadata" in document:
            yield document


def raw(root: Path = ROOT) -> Iterator[Document]:
    """Every object as it is written, for when no overlay can be rendered."""
    for file in manifests(root):
        if file.name != "kustomization.yaml" and "argocd/values" not in file.as_posix():
            with contextlib.suppress(OSError, yaml.YAMLError):
                yield from (each for each in load_all(file) if isinstance(each, dict) and "kind" in each)


@dataclass(frozen=True)
class Places:
    """Where things are: title → file, title → overlays that have it, path of an overlay's kustomization → its text."""

    files: dict[str, str]
    overlays: dict[str, set[str]]
    patches: dict[str, str]

    @classmethod
    def of(cls, root: Path, overlays: dict[str, set[str]]) -> Places:
        """Those of a tree; which overlays hold an object is known to who rendered them."""
        patches = {
            file.relative_to(root).as_posix(): file.read_text(encoding="utf-8")
            for file in sorted((root / "knative/overlays").rglob("kustomization.yaml"))
        }
        return cls(objects(root), overlays, patches)

    def placed(self, sentence: str, only: Iterable[str] = ENVIRONMENTS) -> str:
        """The sentence with the file in front. Where not all overlays that have the object have the problem, also those
        that do: the kustomization that names the object, or else the folder."""
        found = TITLE.match(sentence)
        called = found[1] if found else ""
        if called in self.files:
            sentence = f"{self.files[called]}: {sentence}"
        where = list(only)
        if set(where) >= self.overlays.get(called, set(ENVIRONMENTS)):
            return sentence
        last = called.rpartition("/")[2]
        return f"{', '.join(_overlay(environment, last, self.patches) for environment in where)}: {sentence}"


def _overlay(environment: str, called: str, patches: dict[str, str]) -> str:
    folder = f"knative/overlays/{environment}"
    names = re.compile(rf"(name: |waste-coach-){re.escape(called)}\b")
    naming = [path for path, text in patches.items() if path.startswith(f"{folder}/") and called and names.search(text)]
    return naming[0] if len(naming) == 1 else folder


def in_terraform(sentence: str, files: dict[str, str]) -> str:
    """The sentence of terraform/checks.py with the file of its block in front."""
    found = BLOCK.match(sentence)
    if not found:
        return f"terraform/{sentence}"
    folder = "" if found["folder"] == "root" else f"{found['folder']}/"
    kind, labels = (found["kind"] or "resource.")[:-1], found["name"].split(".")
    words = labels[:1] if kind in ("variable", "output", "module") else labels[:2]
    wanted = re.compile(rf"^{kind}\s+" + r"\s+".join(f'"{re.escape(word)}"' for word in words), re.MULTILINE)
    for path, text in files.items():
        if path.endswith(".tf") and path.rpartition("/")[0] == folder.rstrip("/") and wanted.search(text):
            return f"terraform/{path}: {sentence}"
    return f"terraform/{folder}main.tf: {sentence}"
