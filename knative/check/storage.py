"""What is kept: every volume has a class, every connection has room, every reference leads to something."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cronsim import CronSim, CronSimError

from knative.check.documents import (
    ROOT,
    Document,
    load,
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
    secrets, classes = _secrets([*documents, *by_hand]), [each for each in documents if each["kind"] == "PriorityClass"]
    for made in pods(documents):
        space, who = namespace(made.owner), title(made.owner)
        priority = made.spec.get("priorityClassName", "system-")
        if not priority.startswith("system-") and not any(name(each) == priority for each in classes):
            yield f"{who}: there is no PriorityClass {priority}"
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
    for secret in spec.get("imagePullSecrets", []):
        yield "Secret", secret["name"], "", False
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


def every_part_is_in_its_overlay(root: Path = ROOT) -> Iterator[str]:
    """`kubectl apply -k` of an overlay is all of it: its kustomization lists every part beside it."""
    for folder in sorted(path for path in (root / "knative/overlays").glob("*") if path.is_dir()):
        listed = (load(folder / "kustomization.yaml") or {}).get("resources", [])
        for part in sorted(path.parent.name for path in folder.glob("*/kustomization.yaml")):
            if part not in listed:
                yield f"{(folder / 'kustomization.yaml').relative_to(root)}: {part} is not listed"


def _is_manifest(file: Path) -> bool:
    return all(isinstance(each, dict) and "apiVersion" in each and "kind" in each for each in load_all(file))


#: What a StorageClass of ours says: encrypted disks of EBS, made beside their pod, larger when asked, kept.
CLASS = {
    "provisioner": "ebs.csi.aws.com",
    "reclaimPolicy": "Retain",
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}


def what_is_kept_outlives_its_pod(documents: Iterable[Document]) -> Iterator[str]:
    """Volumes are of one pod at a time, made beside it, and kept when the claim goes."""
    for each in of_kind(documents, "storage.k8s.io/v1", "StorageClass"):
        for field, wanted in CLASS.items():
            if each.get(field) != wanted:
                yield f"{title(each)}: {field} is {each.get(field)}, not {wanted}"
        if (each.get("parameters") or {}).get("type") != "gp3":
            yield f"{title(each)}: type {(each.get('parameters') or {}).get('type')}: knative/prices.yaml counts gp3"
    for document, claim in claims(documents):
        if claim.get("accessModes", ["ReadWriteOnce"]) not in (["ReadWriteOnce"], ["ReadWriteOncePod"]):
            yield f"{title(document)}: accessModes {claim['accessModes']}: a disk of EBS is one node's (ReadWriteOnce)"
        if quantity(claim["resources"]["requests"]["storage"]) < 2**30:
            yield f"{title(document)}: a volume of {claim['resources']['requests']['storage']}"


def every_server_keeps_on_its_volume(documents: Iterable[Document]) -> Iterator[str]:
    """StatefulSets: a volume of their own, their data on it, and time to write down before they go."""
    for document in of_kind(documents, "apps/v1", "StatefulSet"):
        templates = {each["metadata"]["name"] for each in document["spec"].get("volumeClaimTemplates") or []}
        (made,) = pods([document])
        if int(made.spec.get("terminationGracePeriodSeconds", 30)) < 30:
            yield f"{title(document)}: terminationGracePeriodSeconds below 30: a server writes down before it goes"
        for container in made.spec.get("containers", []):
            env = {variable["name"]: str(variable.get("value", "")) for variable in container.get("env", [])}
            kept = [mount["mountPath"] for mount in container.get("volumeMounts", []) if mount["name"] in templates]
            words = list(map(str, container.get("args", [])))
            places = [env["PGDATA"]] if "PGDATA" in env else []
            places += [after for word, after in itertools.pairwise(words) if word == "--dir"]
            if not kept:
                yield f"{title(document)}: mounts no volume of volumeClaimTemplates: what it keeps goes with its pod"
            for place in places if kept else []:
                if not any(f"{place}/".startswith(f"{mount}/") for mount in kept):
                    yield f"{title(document)}: keeps its data in {place}, which is not its volume ({', '.join(kept)})"


def the_servers_are_set_up_to_keep(documents: Iterable[Document]) -> Iterator[str]:
    """PostgreSQL sorts Korean, asks for passwords; Redis writes down, evicts nothing; RabbitMQ waits 30 minutes."""
    for made in pods(documents):
        for each in made.spec.get("containers", []):
            words = [*map(str, each.get("command", [])), *map(str, each.get("args", []))]
            memory = quantity(((each.get("resources") or {}).get("limits") or {}).get("memory", "0"))
            env = {variable["name"]: str(variable.get("value", "")) for variable in each.get("env", [])}
            found = [*_postgres(words, env, memory)] if "POSTGRES_INITDB_ARGS" in env else []
            found += _redis(dict(itertools.pairwise(words)), memory) if "redis-server" in words else []
            yield from (f"{title(made.owner)}: {problem}" for problem in found)
    for cluster in of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster"):
        config = ((cluster["spec"].get("rabbitmq") or {}).get("additionalConfig")) or ""
        yield from (f"{title(cluster)}: {problem}" for problem in _rabbitmq(config))


def _postgres(words: list[str], env: dict[str, str], memory: float) -> Iterator[str]:
    for wish in ("--locale=C.UTF-8", "--auth-host=scram-sha-256", "--data-checksums"):
        if wish not in env["POSTGRES_INITDB_ARGS"].split():
            yield f"POSTGRES_INITDB_ARGS without {wish}"
    if re.search(r"-cpassword_encryption=(?!scram-sha-256\b)", " ".join(words)):
        yield "password_encryption is not scram-sha-256"
    for word in re.findall(r"-c(?:fsync|full_page_writes|synchronous_commit)=off", " ".join(words)):
        yield f"{word}: a crash loses what was told to be kept"
    if env.get("POSTGRES_HOST_AUTH_METHOD") == "trust":
        yield "POSTGRES_HOST_AUTH_METHOD trust lets everybody be anybody"
    buffers = re.search(r"shared_buffers=(\d+)(MB|GB)", " ".join(words))
    if buffers and int(buffers[1]) * {"MB": 2**20, "GB": 2**30}[buffers[2]] > memory / 2:
        yield f"shared_buffers {buffers[1]}{buffers[2]}: more than half of a limit of {memory / 2**20:.0f} MiB"


def _redis(told: dict[str, str], memory: float) -> Iterator[str]:
    if not told.get("--requirepass", "").startswith("$("):
        yield "--requirepass of its Secret is missing: everybody may read and write"
    for flag, wanted in (("--appendonly", "yes"), ("--maxmemory-policy", "noeviction")):
        if told.get(flag) != wanted:
            yield f"{flag} is {told.get(flag)}, not {wanted}"
    kept = re.fullmatch(r"(\d+)(mb|gb)", told.get("--maxmemory", ""))
    if not kept or int(kept[1]) * {"mb": 2**20, "gb": 2**30}[kept[2]] > memory / 2:
        yield f"--maxmemory {told.get('--maxmemory')}: half of its limit at most, it forks to save"


def _rabbitmq(config: str) -> Iterator[str]:
    for word in re.findall(r"(?m)^(?:default_pass|loopback_users) = .*$", config):
        yield f"{word}: the operator makes a user of its own"
    if "cluster_partition_handling = pause_minority" not in config:
        yield "cluster_partition_handling is not pause_minority: two halves would both go on"
    waits = re.search(r"(?m)^consumer_timeout = (\d+)$", config)
    if not waits or int(waits[1]) < 1_800_000:
        yield "consumer_timeout is not 1800000 (30 minutes): retries of a Trigger take longer"


def backups_are_made(documents: list[Document]) -> Iterator[str]:
    """Where PostgreSQL is on a volume with a class of ours: dumped every day at least, and tried before it is sent."""
    for server in of_kind(documents, "apps/v1", "StatefulSet"):
        if name(server) != "postgres" or not of_kind(documents, "storage.k8s.io/v1", "StorageClass"):
            continue
        jobs = [each for each in of_kind(documents, "batch/v1", "CronJob") if "pg_dump" in str(each)]
        if not jobs:
            yield f"{title(server)}: no CronJob dumps it (knative/data/backup.yaml)"
        for job in jobs:
            began, seldom = datetime(2026, 1, 1, tzinfo=UTC), False
            with contextlib.suppress(CronSimError):  # workloads.py says so
                turns = CronSim(str(job["spec"]["schedule"]), began)
                first = next(turns)
                seldom = next(turns) - first > timedelta(days=1)
            if seldom:
                yield f"{title(job)}: schedule {job['spec']['schedule']}: not every day"
            for prefix in re.findall(r"s3://\$BACKUP_BUCKET/([\w-]+)/", str(job)):
                if prefix != "postgres":
                    yield f"{title(job)}: writes below {prefix}/: the node's role writes below postgres/ alone"
            if "pg_restore" not in str(job):
                yield f"{title(job)}: sends what it has not tried to read (pg_restore --list)"


CHECKS = [
    every_volume_has_a_class,
    the_pools_fit_into_the_database,
    what_is_kept_outlives_its_pod,
    every_server_keeps_on_its_volume,
    the_servers_are_set_up_to_keep,
    backups_are_made,
]
FILES = [every_file_is_applied, every_part_is_in_its_overlay]
