"""Kustomizations as `kubectl kustomize` renders them, cut down to what this repository uses.

A field that is not understood here is refused, never ignored; `tests/test_cluster.py` compares this with kubectl's.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from knative.check.documents import ROOT, Document, kind, load, load_all, name, namespace

FIELDS = {
    "apiVersion", "kind", "resources", "components", "namespace", "patches", "images", "replicas", "labels",
    "commonAnnotations", "configMapGenerator", "generatorOptions",
}  # fmt: skip

#: Lists that a strategic merge joins by a key instead of replacing them, in kinds of Kubernetes' own.
MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath",
    "volumeClaimTemplates": "", "ports": "containerPort", "imagePullSecrets": "name",
}  # fmt: skip

CLUSTER_WIDE = {
    "Namespace", "ClusterRole", "ClusterRoleBinding", "StorageClass", "CustomResourceDefinition", "PriorityClass",
    "ClusterSecretStore", "ClusterIssuer", "IngressClass", "PersistentVolume",
}  # fmt: skip


class RenderError(ValueError):
    """A kustomization that cannot be rendered: says which and why."""


def overlay(environment: str, root: Path = ROOT) -> list[Document]:
    """Everything that is applied to the cluster of an environment (`dev`, `prod`): each kustomization of its folder
    that no other one of it includes (Argo CD applies them one by one)."""
    folder = root / "knative/overlays" / environment
    found = {file.parent.resolve(): load(file) or {} for file in sorted(folder.rglob("kustomization.yaml"))}
    if not found:
        raise RenderError(f"{folder}: no kustomization.yaml")
    included = {
        (place / entry).resolve()
        for place, wish in found.items()
        for entry in (*wish.get("resources", []), *wish.get("components", []))
    }
    return _unique([each for place in found if place not in included for each in render(place)], folder)


def render(folder: Path) -> list[Document]:
    """The objects of the kustomization in `folder`. RenderError where something is missing or not understood."""
    file = folder / "kustomization.yaml"
    if not file.is_file():
        raise RenderError(f"{folder}: no kustomization.yaml")
    wish = load(file) or {}
    if unknown := set(wish) - FIELDS:
        raise RenderError(f"{file}: {', '.join(sorted(unknown))}: not understood here")
    found: list[Document] = []
    for entry in wish.get("resources", []):
        found += _resource(folder / entry, file)
    found += [
        _config_map(folder, each, wish.get("generatorOptions") or {}) for each in wish.get("configMapGenerator", [])
    ]
    for entry in wish.get("components", []):
        beside = Path(os.path.normpath(folder / entry))
        found = _transform(found, beside, load(beside / "kustomization.yaml"))
    found = _transform(found, folder, wish)
    return _unique(found, folder)


def _unique(found: list[Document], folder: Path) -> list[Document]:
    names = [(kind(document), namespace(document), name(document)) for document in found]
    if twice := sorted({each for each in names if names.count(each) > 1}):
        said = ", ".join(f"{each[0][1]} {each[1] or '-'}/{each[2]}" for each in twice)
        raise RenderError(f"{folder}/kustomization.yaml: there twice: {said}")
    return found


def text(documents: list[Document]) -> str:
    """What `make render` prints: one YAML stream that kubectl applies."""
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=120)


def _resource(path: Path, file: Path) -> list[Document]:
    if path.is_dir():
        return render(Path(os.path.normpath(path)))
    if not path.is_file():
        raise RenderError(f"{file}: there is no {path.name}")
    return load_all(path)


def _config_map(folder: Path, wish: Document, options: Document) -> Document:
    options = {**options, **(wish.get("options") or {})}
    data: dict[str, str] = {}
    for entry in wish.get("files", []):
        key, _, path = entry.rpartition("=")
        data[key or Path(path).name] = (folder / path).read_text(encoding="utf-8")
    for entry in wish.get("literals", []):
        key, _, value = entry.partition("=")
        data[key] = value
    about: Document = {"name": wish["name"]}
    if "namespace" in wish:
        about["namespace"] = wish["namespace"]
    for field in ("labels", "annotations"):
        if options.get(field):
            about[field] = dict(options[field])
    if not options.get("disableNameSuffixHash"):
        raise RenderError(
            f"configMapGenerator {wish['name']}: only with disableNameSuffixHash: others name it as it is"
        )
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data}


def _transform(found: list[Document], folder: Path, wish: Document) -> list[Document]:
    """What a kustomization, or a Component of it, does to the objects it was handed."""
    if wish.get("kind") == "Component":
        found = [*found, *(each for entry in wish.get("resources", []) for each in _resource(folder / entry, folder))]
    found = copy.deepcopy(found)
    for patch in wish.get("patches", []):
        body = patch.get("patch") or (folder / patch["path"]).read_text(encoding="utf-8")
        found = _patched(found, patch.get("target"), list(yaml.safe_load_all(body)), folder)
    for document in found:
        about = document.setdefault("metadata", {})
        if "namespace" in wish and document["kind"] not in CLUSTER_WIDE:
            about["namespace"] = wish["namespace"]
        for entry in wish.get("labels", []):
            if entry.get("includeSelectors") or entry.get("includeTemplates"):
                raise RenderError(f"{folder}: labels: only without selectors and templates")
            about["labels"] = {**(about.get("labels") or {}), **entry["pairs"]}
        if wish.get("commonAnnotations"):
            raise RenderError(f"{folder}: commonAnnotations reach into templates: use a patch")
        for entry in wish.get("replicas", []):
            if document["metadata"]["name"] == entry["name"] and kind(document)[0] == "apps/v1":
                document["spec"]["replicas"] = entry["count"]
        for container in _containers(document):
            container["image"] = _image(str(container.get("image", "")), wish.get("images", []))
    there = {_plain(str(each["image"])) for document in found for each in _containers(document)}
    for entry in wish.get("images", []):
        if entry["name"] not in there and entry.get("newName") not in there:
            raise RenderError(f"{folder}/kustomization.yaml: images: nothing runs {entry['name']}")
    return found


def _containers(value: object) -> Iterator[Document]:
    if isinstance(value, dict):
        for key, below in value.items():
            if key in ("containers", "initContainers") and isinstance(below, list):
                yield from (each for each in below if isinstance(each, dict) and "image" in each)
            yield from _containers(below)
    elif isinstance(value, list):
        for below in value:
            yield from _containers(below)


def _image(image: str, wishes: list[Document]) -> str:
    for wish in wishes:
        plain, _, _ = image.partition("@")
        found, colon, tag = plain.rpartition(":")
        if not colon or "/" in tag:
            found, tag = plain, ""
        if found == wish["name"]:
            base = wish.get("newName", found)
            digest, tag = wish.get("digest", ""), wish.get("newTag", "" if wish.get("digest") else tag)
            image = base + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    return image


def _patched(found: list[Document], target: Document | None, bodies: list[Any], folder: Path) -> list[Document]:
    after = list(found)
    for body in bodies:
        wanted = target or ({} if isinstance(body, list) else _target_of(body))
        places = [place for place, document in enumerate(after) if _matches(document, wanted)]
        if not places:
            near = [" ".join(kind(document)) for document in after if name(document) == wanted.get("name")]
            there = f" (of that name: {', '.join(near)})" if near else ""
            raise RenderError(f"{folder}/kustomization.yaml: a patch finds nothing to patch: {wanted}{there}")
        for place in places:
            document = copy.deepcopy(after[place])
            after[place] = _operations(document, body, folder) if isinstance(body, list) else _merged(document, body)
    return [document for document in after if document]


def _target_of(body: Document) -> Document:
    group, _, version = body["apiVersion"].rpartition("/")
    about = {"group": group, "version": version, "kind": body["kind"], "name": body["metadata"]["name"]}
    return about | ({"namespace": namespace(body)} if namespace(body) else {})


def _matches(document: Document, target: Document) -> bool:
    group, _, version = kind(document)[0].rpartition("/")
    facts = {"group": group, "version": version, "kind": document["kind"], "name": name(document)}
    facts["namespace"] = namespace(document)
    if unknown := set(target) - facts.keys() - {"labelSelector"}:
        raise RenderError(f"patch target: {', '.join(sorted(unknown))}: not understood here")
    wanted = dict(part.split("=") for part in target.get("labelSelector", "").split(",") if part)
    have = (document["metadata"].get("labels") or {}) if wanted else {}
    plain = {key: value for key, value in target.items() if key != "labelSelector"}
    return all(facts[key] == value for key, value in plain.items()) and wanted.items() <= have.items()


def _merged(document: Document, body: Document) -> Document:
    if body.get("$patch") == "delete":
        return {}
    core = "." not in kind(document)[0].partition("/")[0] or kind(document)[0].split("/")[0].endswith(".k8s.io")
    joined: Document = _merge(document, {key: value for key, value in body.items() if key != "$patch"}, strategic=core)
    about = {key: document["metadata"][key] for key in ("name", "namespace") if key in document["metadata"]}
    kept = {key: value for key, value in joined["metadata"].items() if key not in ("name", "namespace")}
    return {**joined, "apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": {**about, **kept}}


def _merge(old: Any, new: Any, strategic: bool, key: str = "") -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        joined = dict(old)
        for field, value in new.items():
            if value is None:
                joined.pop(field, None)
            else:
                joined[field] = _merge(old.get(field), value, strategic, field)
        return joined
    by = MERGE_KEYS.get(key, "") if strategic else ""
    if by and isinstance(old, list) and isinstance(new, list):
        fresh = {each[by]: each for each in new}
        kept = [_merge(each, fresh.pop(each[by]), strategic) if each[by] in fresh else each for each in old]
        return [*fresh.values(), *kept]
    return new


def _plain(image: str) -> str:
    """An image without tag and digest."""
    whole, _, _ = image.partition("@")
    path, colon, tag = whole.rpartition(":")
    return path if colon and "/" not in tag else whole


def _operations(document: Document, operations: list[Document], folder: Path) -> Document:
    """JSON patch: add, replace, remove."""
    for step in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].strip("/").split("/")]
        place: Any = document
        try:
            for part in way:
                place = place[int(part)] if isinstance(place, list) else place[part]
            if step["op"] != "add" and last != "-":
                place[int(last) if isinstance(place, list) else last]
        except (KeyError, IndexError, ValueError, TypeError):
            who = f"{document['kind']} {name(document)}"
            raise RenderError(
                f"{folder}/kustomization.yaml: a patch finds no {step['path']} in {who} to {step['op']}"
            ) from None
        if step["op"] == "remove":
            del place[int(last) if isinstance(place, list) else last]
        elif step["op"] not in ("add", "replace"):
            raise RenderError(f"{folder}: patch operation {step['op']} is not understood here")
        elif isinstance(place, list) and step["op"] == "add":
            place.insert(len(place) if last == "-" else int(last), step["value"])
        elif isinstance(place, list):
            place[int(last)] = step["value"]
        else:
            place[last] = step["value"]
    return document
