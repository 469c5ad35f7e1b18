"""What Knative's webhook refuses, what it takes in silence, and what keeps a function's own promises.

The flags of `config-features` are those of knative/serving, which Ansible sets: a field is allowed when its flag is
enabled there, so that taking the flag away is noticed here and not by a rollout that hangs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from knative.check.documents import (
    ROOT,
    Document,
    Pods,
    kind,
    labels,
    load,
    load_all,
    name,
    notes,
    of_kind,
    pods,
    services,
    title,
)
from knative.local.manifests import AUTOSCALING, Autoscaling

VISIBILITY = "networking.knative.dev/visibility"
#: The one NodePort that terraform lets the load balancer reach.
GATEWAY_PORT = 30080
RESERVED_PORTS = {8012, 8013, 8022, 9090, 9091}
RESERVED_ENV = re.compile(r"^(PORT|K_.*)$")

#: Fields of a pod that need a flag of config-features.
FLAGS = {
    "nodeSelector": "kubernetes.podspec-nodeselector",
    "tolerations": "kubernetes.podspec-tolerations",
    "affinity": "kubernetes.podspec-affinity",
    "topologySpreadConstraints": "kubernetes.podspec-topologyspreadconstraints",
    "priorityClassName": "kubernetes.podspec-priorityclassname",
    "securityContext": "kubernetes.podspec-securitycontext",
    "initContainers": "kubernetes.podspec-init-containers",
}

#: Annotations of a revision that mean something, beside the autoscaler's.
REVISION_KEYS = re.compile(r"^queue\.sidecar\.serving\.knative\.dev/(cpu|memory)-resource-(request|limit)$")
SERVICE_KEYS = re.compile(r"^(serving\.knative\.dev/(rollout-duration|creator|lastModifier)|client\.knative\.dev/.*)$")


def features(documents: Iterable[Document]) -> set[str]:
    """The flags that are applied with these functions; a Knative that is told nothing has none."""
    told = [each for each in of_kind(documents, "v1", "ConfigMap") if name(each) == "config-features"]
    return {flag for each in told for flag, value in each["data"].items() if str(value).lower() == "enabled"}


def ansible_sets_the_flags(root: Path = ROOT) -> Iterator[str]:
    """Ansible alone owns `config-features`: it enables every flag of knative/serving, and no overlay applies them.
    Kourier's log is off."""
    needed = features(load_all(root / "knative/serving/features.yaml"))
    given = load(root / "ansible/roles/knative/defaults/main.yml")["knative_features"]
    for flag in sorted(needed - {flag for flag, value in given.items() if value == "enabled"}):
        yield f"ansible/roles/knative/defaults/main.yml: {flag} is not enabled, and functions need it (knative/serving)"
    kourier = load(root / "ansible/roles/knative/vars/main.yml").get("knative_kourier_map") or {}
    if (kourier.get("data") or {}).get("enable-service-access-logging") != "false":
        yield "ansible/roles/knative/vars/main.yml: Kourier logs queries, and with them where citizens are"
    for file in sorted((root / "knative/overlays").rglob("kustomization.yaml")):
        if any(Path(each).name == "serving" for each in load(file).get("resources", [])):
            yield f"{file.relative_to(root)}: applies knative/serving, which Ansible owns"


def the_webhook_takes_every_service(documents: list[Document]) -> Iterator[str]:
    """Knative Serving 1.16: each of these is refused when it is applied."""
    enabled = features(documents)
    for service in services(documents):
        (made,) = pods([service])
        for problem in (*_of_pod(made, enabled), *_of_container(made, enabled)):
            yield f"{title(service)}: {problem}"
        if any(key.startswith(AUTOSCALING) for key in notes(service)):
            yield f"{title(service)}: autoscaling annotations belong into spec.template, not on the Service"


def _of_pod(made: Pods, enabled: set[str]) -> Iterator[str]:
    spec = made.spec
    for field, flag in FLAGS.items():
        if field in spec and flag not in enabled:
            yield f"{field} is refused without the flag {flag} (knative/serving/features.yaml)"
    if "terminationGracePeriodSeconds" in spec:
        yield "terminationGracePeriodSeconds is refused"
    if not 1 <= int(spec.get("timeoutSeconds", 300)) <= 600:
        yield f"timeoutSeconds {spec['timeoutSeconds']} is not within 1 and 600"
    mounted = {mount["name"] for each in made.containers for mount in each.get("volumeMounts", [])}
    for volume in spec.get("volumes", []):
        if volume["name"] not in mounted:
            yield f"volume {volume['name']} is not mounted"
        if "persistentVolumeClaim" in volume and "kubernetes.podspec-persistent-volume-claim" not in enabled:
            yield "persistentVolumeClaim is refused without the flag kubernetes.podspec-persistent-volume-claim"
    if sum(len(each.get("ports", [])) for each in made.containers) > 1:
        yield "two ports, where Knative takes one"


def _of_container(made: Pods, enabled: set[str]) -> Iterator[str]:
    for each in made.containers:
        if "lifecycle" in each:
            yield "lifecycle hooks are refused"
        safe = each.get("securityContext", {})
        if safe.get("privileged") or safe.get("capabilities", {}).get("add"):
            yield "privileged and capabilities.add are refused"
        for port in each.get("ports", []):
            if port["containerPort"] in RESERVED_PORTS:
                yield f"port {port['containerPort']} is Knative's own"
        for variable in each.get("env", []):
            if RESERVED_ENV.match(variable["name"]):
                yield f"variable {variable['name']} is set by Knative"
            if "fieldRef" in variable.get("valueFrom", {}) and "kubernetes.podspec-fieldref" not in enabled:
                yield "fieldRef is refused without the flag kubernetes.podspec-fieldref"


def the_autoscaler_is_told_what_it_understands(documents: Iterable[Document]) -> Iterator[str]:
    """Knative takes a misspelt annotation and says nothing; it refuses a value it cannot read."""
    known = {str(field.alias or key).replace("_", "-") for key, field in Autoscaling.model_fields.items()}
    for service in services(documents):
        given = notes(service["spec"].get("template", {}))
        scaling = {key.removeprefix(AUTOSCALING): value for key, value in given.items() if key.startswith(AUTOSCALING)}
        for key in sorted(scaling.keys() - known):
            yield f"{title(service)}: {AUTOSCALING}{key}: no such annotation"
        for key in given:
            if not key.startswith(AUTOSCALING) and "knative.dev/" in key and not REVISION_KEYS.match(key):
                yield f"{title(service)}: {key}: no such annotation of a revision"
        for key in notes(service):
            if "knative.dev/" in key and not SERVICE_KEYS.match(key) and not key.startswith(AUTOSCALING):
                yield f"{title(service)}: {key}: no such annotation of a Service"
        try:
            scale = Autoscaling.model_validate({key: value for key, value in scaling.items() if key in known})
        except ValueError as error:
            yield f"{title(service)}: {' '.join(str(error).split())}"
            continue
        if not scale.max_scale:
            yield f"{title(service)}: no max-scale"
        elif scale.min_scale > scale.max_scale:
            yield f"{title(service)}: min-scale is above max-scale"


def every_function_is_inside(documents: Iterable[Document]) -> Iterator[str]:
    """Only the gateway is reachable: a Service without this label gets a public Route."""
    for service in services(documents):
        if labels(service).get(VISIBILITY) != "cluster-local":
            yield f"{title(service)}: reachable from outside: no label {VISIBILITY}: cluster-local"
    routes = {name(service) for service in services(documents)}
    for document in documents:
        if document["kind"] == "DomainMapping":
            yield f"{title(document)}: a function gets a public name"
        if document["kind"] == "Ingress":
            yield f"{title(document)}: a way in beside the load balancer of terraform"
        if kind(document) != ("v1", "Service"):
            continue
        if name(document) in routes:
            yield f"{title(document)}: a plain Service of that name blocks the function's Route"
        if document["spec"].get("type") == "ExternalName":
            yield f"{title(document)}: ExternalName: a name in the cluster for somebody outside it"
        mine = {GATEWAY_PORT} if title(document) == "Service growbin-edge/gateway" else set()
        spec, doors = document["spec"], {port.get("nodePort") for port in document["spec"].get("ports", [])} - {None}
        if spec.get("type") == "LoadBalancer" or spec.get("externalIPs") or doors - mine:
            yield f"{title(document)}: reachable from outside beside the gateway's port {GATEWAY_PORT}"
        elif spec.get("type") == "NodePort" and not doors:
            yield f"{title(document)}: a NodePort that nobody knows beforehand"


def every_function_can_be_probed(documents: Iterable[Document]) -> Iterator[str]:
    """Ready means ready, and hanging is noticed; also for what is not Knative's: containers of what stays."""
    stays = {"Deployment", "StatefulSet", "Service", "DaemonSet"}
    for made in pods(documents):
        if made.owner["kind"] == "ContainerSource" and not all(e.get("livenessProbe") for e in made.spec["containers"]):
            yield f"{title(made.owner)}: no livenessProbe"
        if made.owner["kind"] not in stays:
            continue
        for each in made.spec.get("containers", []):
            for probe in ("readinessProbe", "livenessProbe"):
                if not each.get(probe):
                    yield f"{title(made.owner)}: container {each.get('name', '')} has no {probe}".replace("  ", " ")


def every_thread_has_a_request(documents: Iterable[Document]) -> Iterator[str]:
    """containerConcurrency is the number of threads: more would wait inside, fewer would leave some idle."""
    for service in services(documents):
        (made,) = pods([service])
        container, given = made.containers[0], made.spec.get("containerConcurrency")
        words = container.get("args", [])
        told = [each.get("value") for each in container.get("env", []) if each["name"] == "THREADS"]
        told += [words[words.index("--threads") + 1]] if "--threads" in words else []
        if told != [str(given)]:
            threads = " and ".join(map(str, told)) or "no"
            yield f"{title(service)}: {threads} threads for a containerConcurrency of {given}"


CHECKS = [
    every_thread_has_a_request,
    the_webhook_takes_every_service,
    the_autoscaler_is_told_what_it_understands,
    every_function_is_inside,
    every_function_can_be_probed,
]
