"""What the API server refuses beyond its schema, and what Knative's webhook takes and then cannot make.

Found by planting mistakes into a real API server 1.28 with Knative 1.16: a revision whose Deployment is refused stays
`Unknown` for ever, and Argo CD shows no error. So pods of every kind are held to the same rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from knative.check.documents import (
    SERVING,
    Document,
    Pods,
    kind,
    labels,
    leaves,
    name,
    notes,
    of_kind,
    pods,
    quantity,
    services,
    title,
)
from knative.check.enumerations import KEY
from knative.local.manifests import RABBITMQ

PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
HANDLERS = {"exec", "httpGet", "tcpSocket", "grpc"}
IDS = ("runAsUser", "runAsGroup", "fsGroup")
GENERATORS = {
    "list", "clusters", "git", "matrix", "merge", "scmProvider", "pullRequest", "plugin", "clusterDecisionResource",
    "selector",
}  # fmt: skip
#: Figures of a Job or its clock that are never below zero.
COUNTS = {
    "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "failedJobsHistoryLimit",
    "successfulJobsHistoryLimit", "startingDeadlineSeconds", "parallelism", "completions", "minReadySeconds",
    "revisionHistoryLimit", "terminationGracePeriodSeconds",
}  # fmt: skip


def every_pod_would_be_made(documents: Iterable[Document]) -> Iterator[str]:
    """Volumes, mounts, ports, probes, variables and numbers that the API server takes; also of Knative's pods."""
    for made in pods(documents):
        for problem in (*_volumes(made), *_of_owner(made)):
            yield f"{title(made.owner)}: {problem}"
        for place, container in enumerate(made.containers):
            who = f"{title(made.owner)}: container {container.get('name', '')}".rstrip()
            first = place < len(made.spec.get("initContainers", []))
            for problem in (*_mounts(made, container), *_doors(made, container), *_variables(container)):
                yield f"{who}: {problem}"
            yield from (f"{who}: {problem}" for problem in _probes(container, first))


def _volumes(made: Pods) -> Iterator[str]:
    for volume in made.spec.get("volumes", []):
        kinds = sorted(volume.keys() - {"name"})
        if len(kinds) != 1:
            yield f"volume {volume.get('name')}: {', '.join(kinds) or 'of no kind'}: one kind (none is an empty folder)"
        for kind_, listed in ((key, (volume.get(key) or {}).get("items") or []) for key in ("secret", "configMap")):
            if any(str(each.get("path", "")).startswith("/") or ".." in str(each.get("path", "")) for each in listed):
                yield f"volume {volume.get('name')}: {kind_}: items with a path that leaves it"


def _of_owner(made: Pods) -> Iterator[str]:
    serving = made.owner["apiVersion"] == SERVING
    called = [each.get("name", "") for each in made.containers]
    if not serving and ("" in called or len(set(called)) != len(called)):
        yield f"containers {called}: each has a name of its own"
    if serving and "restartPolicy" in made.spec:
        yield "restartPolicy: unknown field of a Knative Service"
    if (
        made.owner["kind"] in ("Deployment", "StatefulSet", "DaemonSet")
        and made.spec.get("restartPolicy", "Always") != "Always"
    ):
        yield f"restartPolicy {made.spec['restartPolicy']}: Always, where a pod is to stay"
    for safe in (
        made.spec.get("securityContext") or {},
        *(each.get("securityContext") or {} for each in made.containers),
    ):
        yield from (f"{key} {safe[key]}: no id" for key in IDS if key in safe and not 0 <= int(safe[key]) < 2**31)
    if made.spec.get("dnsPolicy") == "None" and "dnsConfig" not in made.spec:
        yield "dnsPolicy None without dnsConfig"


def _mounts(made: Pods, container: Document) -> Iterator[str]:
    there = {volume.get("name") for volume in made.spec.get("volumes", [])}
    there |= {each["metadata"]["name"] for each in made.owner.get("spec", {}).get("volumeClaimTemplates") or []}
    paths = [mount.get("mountPath") for mount in container.get("volumeMounts", [])]
    yield from (f"mountPath {path}: there twice" for path in sorted({p for p in paths if paths.count(p) > 1}))
    for mount in container.get("volumeMounts", []):
        if mount.get("name") not in there:
            yield f"mounts {mount.get('name')}, which is no volume"
        if ".." in str(mount.get("subPath", "")).split("/") or str(mount.get("subPath", "")).startswith("/"):
            yield f"subPath {mount['subPath']} leaves the volume"


def _doors(made: Pods, container: Document) -> Iterator[str]:
    ports = container.get("ports", [])
    pairs = [(port.get("containerPort"), port.get("protocol", "TCP")) for port in ports]
    if len(set(pairs)) != len(pairs):
        yield f"ports {pairs}: one of them twice"
    for port in ports:
        called = str(port.get("name", ""))
        if not 0 < int(port.get("containerPort", 0)) < 65536:
            yield f"containerPort {port.get('containerPort')}"
        if made.owner["apiVersion"] == SERVING and (called not in ("", "http1", "h2c") or pairs[0][1] != "TCP"):
            yield f"port {called} {pairs[0][1]}: Knative takes the names http1 and h2c, and TCP"
        if called and not re.fullmatch(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", called):
            yield f"port {called}: no name of a port (15 of a-z, 0-9 and -)"


def _variables(container: Document) -> Iterator[str]:
    for variable in container.get("env", []):
        if not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]*", str(variable.get("name"))):
            yield f"env {variable.get('name')!r}: no name of a variable"
        source = variable.get("valueFrom")
        if source is not None and ("value" in variable or len(source) != 1):
            yield f"env {variable.get('name')}: value and valueFrom, or two sources"
    for word in ("preStop", "postStart"):
        if len((container.get("lifecycle") or {}).get(word) or {"one": 1}) != 1:
            yield f"lifecycle.{word}: one handler"


def _probes(container: Document, first: bool) -> Iterator[str]:
    ports = {port.get("name") for port in container.get("ports", [])}
    for probe in (each for each in PROBES if each in container):
        told: dict[str, Any] = container[probe] or {}
        handlers = sorted(told.keys() & HANDLERS)
        if len(handlers) != 1:
            yield f"{probe}: {', '.join(handlers) or 'no handler'}: one handler"
        if first:
            yield f"{probe}: an init container has none"
        for field in ("periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold", "initialDelaySeconds"):
            if int(told.get(field, 1)) < (0 if field == "initialDelaySeconds" else 1):
                yield f"{probe}: {field} {told[field]}"
        if probe != "readinessProbe" and int(told.get("successThreshold", 1)) != 1:
            yield f"{probe}: successThreshold {told['successThreshold']}: 1"
        for handler in ("httpGet", "tcpSocket"):
            port = (told.get(handler) or {}).get("port")
            if isinstance(port, str) and port not in ports:
                yield f"{probe}: port {port} is none of its own"


def every_object_would_be_taken(documents: Iterable[Document]) -> Iterator[str]:
    """Keys, numbers and combinations that are refused."""
    for document in documents:
        for problem in _object(document):
            yield f"{title(document)}: {problem}"


def _object(document: Document) -> Iterator[str]:
    yield from (f"annotation {key}: no key" for key in notes(document) if not KEY.fullmatch(key.lower()))
    for path, value in leaves(document.get("spec") or {}, "spec"):
        if path.rpartition(".")[2] in COUNTS and isinstance(value, int) and value < 0:
            yield f"{path}: {value}, below zero"
    if document["kind"] in OF_KIND and kind(document)[0] != SERVING:
        yield from OF_KIND[document["kind"]](document)


def _config_map(document: Document) -> Iterator[str]:
    data = document.get("data") or {}
    yield from (f"data: {key!r}: no key" for key in data if not re.fullmatch(r"[-._a-zA-Z0-9]+", str(key)))
    if sum(len(str(value)) for value in data.values()) > 2**20:
        yield "more than 1 MiB"


def _namespace(document: Document) -> Iterator[str]:
    for key, value in labels(document).items():
        versioned = key.startswith("pod-security.kubernetes.io/") and key.endswith("-version")
        if versioned and not re.fullmatch(r"latest|v1\.\d+", value):
            yield f"{key}: {value}"


def _stateful(document: Document) -> Iterator[str]:
    told = (document["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
    if told not in ("RollingUpdate", "OnDelete"):
        yield f"updateStrategy.type {told}"


def _job(document: Document) -> Iterator[str]:
    if "selector" in document["spec"]:
        yield "selector: a Job makes its own"


def _policy(document: Document) -> Iterator[str]:
    rules = [*(document["spec"].get("ingress") or []), *(document["spec"].get("egress") or [])]
    for port in (port for rule in rules for port in rule.get("ports") or []):
        if "endPort" in port and int(port["endPort"]) < int(port.get("port", 0)):
            yield f"endPort {port['endPort']} below port {port.get('port')}"


def _generated(document: Document) -> Iterator[str]:
    for generator in document["spec"].get("generators") or []:
        yield from (f"generators: {each}: there is none" for each in sorted(generator.keys() - GENERATORS))


def _delivering(document: Document) -> Iterator[str]:
    given = notes(document)
    if re.fullmatch(r"P(T)?0[A-Z]", str((document["spec"].get("delivery") or {}).get("timeout", ""))):
        yield "delivery.timeout of nothing"
    for what in ("cpu", "memory"):
        most, asked = (given.get(f"{RABBITMQ}{what}-{word}") for word in ("limit", "request"))
        if most and asked and quantity(most) < quantity(asked):
            yield f"{what}-limit {most} below {what}-request {asked}: its pods would be refused"


def _deployment(document: Document) -> Iterator[str]:
    spec = document["spec"]
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    if strategy.get("type") == "Recreate" and rolling:
        yield "strategy: Recreate with rollingUpdate"
    if str(rolling.get("maxSurge", "25%")) in ("0", "0%") and str(rolling.get("maxUnavailable", "25%")) in ("0", "0%"):
        yield "strategy: maxSurge and maxUnavailable are both 0"
    if int(spec.get("minReadySeconds", 0)) >= int(spec.get("progressDeadlineSeconds", 600)):
        yield "minReadySeconds is not below progressDeadlineSeconds"


def _service(document: Document) -> Iterator[str]:
    spec = document["spec"]
    ports = [(port.get("port"), port.get("protocol", "TCP")) for port in spec.get("ports") or []]
    if len(set(ports)) != len(ports):
        yield f"ports {ports}: one of them twice"
    for port in spec.get("ports") or []:
        if "nodePort" in port and spec.get("type", "ClusterIP") not in ("NodePort", "LoadBalancer"):
            yield f"nodePort {port['nodePort']} with type {spec.get('type', 'ClusterIP')}"
        if not re.fullmatch(r"([a-z0-9]([-a-z0-9]*[a-z0-9])?)?", str(port.get("name", ""))):
            yield f"port {port['name']}: no name"
    if spec.get("clusterIP") not in (None, "None", ""):
        yield f"clusterIP {spec['clusterIP']}: chosen by the cluster, or None"


def _ping(document: Document) -> Iterator[str]:
    spec = document["spec"]
    for key in (spec.get("ceOverrides") or {}).get("extensions") or {}:
        if not re.fullmatch(r"[a-z0-9]+", key):
            yield f"ceOverrides: {key}: an extension is of a-z and 0-9"
    if spec.get("contentType") == "application/json":
        try:
            json.loads(spec.get("data", ""))
        except ValueError as error:
            yield f"data is no JSON: {error}"


OF_KIND: dict[str, Callable[[Document], Iterator[str]]] = {
    "ConfigMap": _config_map,
    "Namespace": _namespace,
    "Deployment": _deployment,
    "StatefulSet": _stateful,
    "Job": _job,
    "NetworkPolicy": _policy,
    "Service": _service,
    "ApplicationSet": _generated,
    "PingSource": _ping,
    "Trigger": _delivering,
    "Broker": _delivering,
}


def every_traffic_is_whole(documents: Iterable[Document]) -> Iterator[str]:
    """Shares come to 100, each names one revision, tags are there once; a template's name begins with its Service's."""
    for service in services(documents):
        told = service["spec"].get("traffic") or []
        if told and sum(int(each.get("percent") or 0) for each in told) != 100:
            yield f"{title(service)}: traffic comes to {sum(int(each.get('percent') or 0) for each in told)} percent"
        if any(bool(each.get("latestRevision")) == ("revisionName" in each) for each in told):
            yield f"{title(service)}: traffic: latestRevision or a revisionName, one of them"
        tags = [each["tag"] for each in told if "tag" in each]
        if len(set(tags)) != len(tags):
            yield f"{title(service)}: traffic: a tag twice"
        called = ((service["spec"].get("template") or {}).get("metadata") or {}).get("name", f"{name(service)}-")
        if not called.startswith(f"{name(service)}-"):
            yield f"{title(service)}: template.metadata.name {called} does not begin with {name(service)}-"
        rollout = notes(service).get("serving.knative.dev/rollout-duration", "0s")
        if not re.fullmatch(r"(\d+[hms])+", rollout):
            yield f"{title(service)}: rollout-duration {rollout}"
    for cluster in of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster"):
        for plugin in (cluster["spec"].get("rabbitmq") or {}).get("additionalPlugins") or []:
            if not re.fullmatch(r"\w+", plugin):
                yield f"{title(cluster)}: additionalPlugins: {plugin}"


CHECKS = [every_pod_would_be_made, every_object_would_be_taken, every_traffic_is_whole]
