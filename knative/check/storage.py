"""What is kept: every volume has a class, every connection has room, every reference leads to something."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from knative.check.documents import (
    ROOT,
    Document,
    load_all,
    name,
    namespace,
    notes,
    of_kind,
    pods,
    quantity,
    services,
    title,
)
from knative.local.manifests import AUTOSCALING
from knative.local.parts import MAX_CONNECTIONS

#: Beside the pools: one LISTEN per process of `live`, and what jobs, backups, an operator and the superuser keep.
LISTENERS, SPARE = {"live": 1}, 20

#: Secrets and ConfigMaps made by an operator or by hand, never by a file here (docs/deploy.md says how).
MADE_ELSEWHERE = re.compile(r"^(growbin/jwt-public|[a-z-]+/rabbitmq-default-user)$")


def every_volume_has_a_class(documents: Iterable[Document]) -> Iterator[str]:
    """A claim without a storage class waits for ever on a cluster that has no default one."""
    classes = {name(each) for each in of_kind(documents, "storage.k8s.io/v1", "StorageClass")}
    for document, claim in claims(documents):
        wanted = claim.get("storageClassName", "")
        if not wanted:
            yield f"{title(document)}: a volume claim without storageClassName"
        elif classes and wanted not in classes:
            yield f"{title(document)}: there is no StorageClass {wanted}"
    for each in of_kind(documents, "storage.k8s.io/v1", "StorageClass"):
        if (each.get("parameters") or {}).get("encrypted") != "true":
            yield f"{title(each)}: its volumes are not encrypted"
    for made in pods(documents):
        shared = any("persistentVolumeClaim" in volume for volume in made.spec.get("volumes", []))
        rolling = made.owner["spec"].get("strategy", {}).get("type") != "Recreate"
        if made.owner["kind"] == "Deployment" and shared and rolling:
            yield f"{title(made.owner)}: two pods would wait for one volume (strategy: Recreate)"


def claims(documents: Iterable[Document]) -> Iterator[tuple[Document, Document]]:
    """Every claim of a volume with the object that makes it; RabbitMQ's in the same shape."""
    for document in documents:
        spec = document.get("spec") or {}
        if document["kind"] == "PersistentVolumeClaim":
            yield document, spec
        for template in spec.get("volumeClaimTemplates") or []:
            yield document, template["spec"]
        if document["kind"] == "RabbitmqCluster":
            kept = spec.get("persistence") or {}
            size = {"resources": {"requests": {"storage": kept.get("storage", "0")}}}
            yield (
                document,
                {**size, "storageClassName": kept.get("storageClassName", ""), "copies": spec.get("replicas", 1)},
            )


def gigabytes(documents: Iterable[Document]) -> float:
    """What all claims come to, GiB."""
    total = 0.0
    for document, claim in claims(documents):
        copies = int(claim.get("copies", (document["spec"] or {}).get("replicas", 1)))
        total += copies * quantity(claim["resources"]["requests"]["storage"]) / 2**30
    return total


def the_pools_fit_into_the_database(documents: list[Document]) -> Iterator[str]:
    """max-scale × POOL_SIZE of every function, against max_connections of PostgreSQL as it is started."""
    total = SPARE
    for service in services(documents):
        (made,) = pods([service])
        env = {variable["name"]: variable for variable in made.containers[0].get("env", [])}
        if "DATABASE_URL" not in env:
            continue
        pool = int((env.get("POOL_SIZE") or {}).get("value") or 0)
        if not pool:
            yield f"{title(service)}: a database and no POOL_SIZE"
        scale = int(notes(made.template).get(AUTOSCALING + "max-scale", 0))
        total += scale * (pool + LISTENERS.get(name(service), 0))
    allowed = _max_connections(documents)
    if total > allowed:
        yield f"{total} connections at full scale (pools, listeners, {SPARE} spare) for max_connections = {allowed}"
    if allowed != MAX_CONNECTIONS:
        yield f"max_connections is {allowed} in the cluster and {MAX_CONNECTIONS} in the local run"


def _max_connections(documents: list[Document]) -> int:
    for document in documents:
        if name(document).startswith("postgres"):
            found = re.search(r"max_connections\s*[=:']+\s*'?(\d+)", str(document))
            if found:
                return int(found[1])
    return 100  # PostgreSQL's own


def every_reference_leads_somewhere(documents: list[Document], by_hand: Sequence[Document] = ()) -> Iterator[str]:
    """ConfigMaps, Secrets and accounts that a pod names are there, with the key that it names; `by_hand`: also what
    is not applied, but made by hand before it."""
    maps = {f"{namespace(each)}/{name(each)}": each.get("data") or {} for each in of_kind(documents, "v1", "ConfigMap")}
    accounts = {f"{namespace(each)}/{name(each)}" for each in of_kind(documents, "v1", "ServiceAccount")}
    secrets = _secrets([*documents, *by_hand])
    for made in pods(documents):
        space, who = namespace(made.owner), title(made.owner)
        account = made.spec.get("serviceAccountName")
        if account and f"{space}/{account}" not in accounts and account != "default":
            yield f"{who}: there is no ServiceAccount {account}"
        for what, place, key, optional in _references(made.spec):
            there = maps if what == "ConfigMap" else secrets
            full = f"{space}/{place}"
            if optional or MADE_ELSEWHERE.match(full):
                continue
            if full not in there:
                yield f"{who}: there is no {what} {place} in {space}"
            elif key and there[full] is not None and key not in there[full]:
                yield f"{who}: {what} {place} has no key {key}"


def _secrets(documents: Iterable[Document]) -> dict[str, set[str]]:
    """Secrets by full name with their keys, as ExternalSecrets will make them (or as they stand)."""
    found: dict[str, set[str]] = {}
    for document in documents:
        if document["kind"] == "ExternalSecret":
            target = document["spec"].get("target") or {}
            keys = {entry["secretKey"] for entry in document["spec"].get("data") or []}
            template = (target.get("template") or {}).get("data") or {}
            found[f"{namespace(document)}/{target.get('name', name(document))}"] = set(template) or keys
        elif document["kind"] == "Secret":
            keys = {*(document.get("data") or {}), *(document.get("stringData") or {})}
            found[f"{namespace(document)}/{name(document)}"] = keys
    return found


def _references(spec: Document) -> Iterator[tuple[str, str, str, bool]]:
    for each in (*spec.get("initContainers", []), *spec.get("containers", [])):
        for variable in each.get("env", []):
            for kind, what in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                ref = (variable.get("valueFrom") or {}).get(kind)
                if ref:
                    yield what, ref["name"], ref["key"], bool(ref.get("optional"))
        for source in each.get("envFrom", []):
            for kind, what in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if kind in source:
                    yield what, source[kind]["name"], "", bool(source[kind].get("optional"))
    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"], "", bool(volume["configMap"].get("optional"))
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"], "", bool(volume["secret"].get("optional"))


def every_file_is_applied(root: Path = ROOT) -> Iterator[str]:
    """A manifest that no kustomization lists is not in the cluster, however right it is."""
    for kustomization in sorted((root / "knative").rglob("kustomization.yaml")):
        folder = kustomization.parent
        text = kustomization.read_text(encoding="utf-8")
        for file in sorted(folder.glob("*.yaml")):
            if file.name != "kustomization.yaml" and file.name not in text and _is_manifest(file):
                yield f"{file.relative_to(root)}: not listed in {kustomization.relative_to(root)}"


def _is_manifest(file: Path) -> bool:
    return all(isinstance(each, dict) and "apiVersion" in each and "kind" in each for each in load_all(file))


CHECKS = [every_volume_has_a_class, the_pools_fit_into_the_database]
