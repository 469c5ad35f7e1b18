"""Whether it all fits: every request of every pod, against what the four nodes have to give.

A pod is placed as the scheduler would: on a node whose labels its selector asks for and whose taints it tolerates. One
that says nothing can only be where there is no taint. Counted at zero load (Knative Services at min-scale) and with 100
analyses at once: as many pods of every function as the autoscaler makes for so many requests, or for the events its
Triggers hand it at once, up to max-scale; none has gone yet, because those of a finished step are retained.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knative.check.documents import (
    EVENTING,
    ROOT,
    SERVING,
    Document,
    Pods,
    labels,
    load,
    name,
    namespace,
    notes,
    of_kind,
    pods,
    quantity,
    title,
)
from knative.local.manifests import AUTOSCALING, PARALLELISM, RABBITMQ

LOADS = {"at zero load": 0, "with 100 analyses at once": 100}
#: vCPU and GiB of an instance type, as AWS sells it; Linux leaves a little less of the memory.
NOMINAL = {"t3.medium": (2, 4), "t3.large": (2, 8), "t3.xlarge": (4, 16), "m6i.large": (2, 8), "m6i.xlarge": (4, 16)}
#: The label of a node that says which tier it is.
TIER = "growbin.app/tier"
#: What Knative's autoscaler fills of containerConcurrency before it makes another pod.
UTILIZATION = 0.7


@dataclass(frozen=True)
class Ask:
    """Pods of one kind: how many, what each requests (cores, bytes), which tiers would take them; `first`: the
    platform's, which are there before ours are."""

    name: str
    pods: int
    cpu: float
    memory: float
    tiers: tuple[str, ...]
    first: bool = False


@dataclass(frozen=True)
class Node:
    """One machine: what it has for pods."""

    name: str
    tier: str
    cpu: float
    memory: float
    pods: int


def nodes(plan: dict[str, Any]) -> list[Node]:
    """The nodes of nodes.yaml with what is left of each after the kubelet took its own."""
    kept = plan["reserved"]
    return [
        Node(
            key,
            node["tier"],
            quantity(plan["sizes"][node["size"]]["cpu"]) - quantity(kept["cpu"]),
            quantity(plan["sizes"][node["size"]]["memory"]) - quantity(kept["memory"]),
            plan["pods"],
        )
        for key, node in plan["nodes"].items()
    ]


def asks(documents: Iterable[Document], plan: dict[str, Any], load: int) -> Iterator[Ask]:
    """Every pod: of our manifests, of the operators that act on them, of the platform."""
    documents = list(documents)
    anywhere, busy = _tiers({}, plan), deliveries(documents)
    for made in pods(documents):
        count, more = made.replicas, {"cpu": "0", "memory": "0"}
        if made.owner["apiVersion"] == SERVING:
            inside = min(load, busy.get(name(made.owner), load))
            count, more = scale(made, inside), plan["queue_proxy"]
        yield Ask(name(made.owner), count, *_requests(made, more), _tiers(made.spec, plan))
    for trigger in of_kind(documents, EVENTING, "Trigger"):
        dead = (trigger["spec"].get("delivery") or {}).get("deadLetterSink")
        yield Ask("dispatchers of Triggers", 2 if dead else 1, *_annotated(trigger, plan["dispatcher"]), anywhere)
    for broker in of_kind(documents, EVENTING, "Broker"):
        yield Ask("broker ingress", 1, *_annotated(broker, plan["broker_ingress"]), anywhere)
        if broker["spec"].get("delivery", {}).get("deadLetterSink"):
            yield Ask("broker's dead letters", 1, *_annotated(broker, plan["dispatcher"]), anywhere)
    for cluster in of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster"):
        spec = cluster["spec"]
        given = (spec.get("resources") or {}).get("requests") or {}
        cpu, memory = quantity(given.get("cpu", "1")), quantity(given.get("memory", "2Gi"))
        override = (
            ((spec.get("override") or {}).get("statefulSet") or {}).get("spec", {}).get("template", {}).get("spec", {})
        )
        yield Ask("rabbitmq", int(spec.get("replicas", 1)), cpu, memory, _tiers({**override, **spec}, plan))
    for part in plan["platform"]:
        given = part["requests"]
        for tier in plan["tiers"] if part["tier"] == "every" else [part["tier"]]:
            one = quantity(given["cpu"]), quantity(given["memory"])
            yield Ask(part["name"], part.get("replicas", 1), *one, (tier,), first=True)


def deliveries(documents: Iterable[Document]) -> dict[str, int]:
    """How many events each function can be handed at once: the parallelism of its Triggers together."""
    found: dict[str, int] = {}
    for trigger in of_kind(documents, EVENTING, "Trigger"):
        function = (urlsplit((trigger["spec"].get("subscriber") or {}).get("uri", "")).hostname or "").split(".")[0]
        found[function] = found.get(function, 0) + int(notes(trigger).get(PARALLELISM, "1"))
    return found


def scale(made: Pods, analyses: int) -> int:
    """Pods of a Knative Service with so many requests in flight: min-scale at rest, at most max-scale."""
    given = notes(made.template)
    low, high = (int(given.get(AUTOSCALING + key, 0)) for key in ("min-scale", "max-scale"))
    concurrency = int(made.spec.get("containerConcurrency") or 0)
    if not analyses:
        return low
    wanted = math.ceil(analyses / (concurrency * UTILIZATION)) if concurrency else 1
    return max(low, min(wanted, high) if high else wanted)


def _requests(made: Pods, more: Document) -> tuple[float, float]:
    """Of one pod: what its containers ask for together, or one of its init containers alone if that is more."""
    both = []
    for resource in ("cpu", "memory"):
        given = [
            quantity(((each.get("resources") or {}).get("requests") or {}).get(resource, "0"))
            for each in made.containers
        ]
        first = len(made.spec.get("initContainers", []))
        both.append(max([sum(given[first:]) + quantity(more[resource]), *given[:first]]))
    return both[0], both[1]


def _annotated(document: Document, default: Document) -> tuple[float, float]:
    given = notes(document)
    keys = (RABBITMQ + "cpu-request", RABBITMQ + "memory-request")
    if not any(key.startswith(RABBITMQ) and key.endswith(("-request", "-limit")) for key in given):
        return quantity(default["cpu"]), quantity(default["memory"])
    return quantity(given.get(keys[0], "0")), quantity(given.get(keys[1], "0"))


def _tiers(spec: Document, plan: dict[str, Any]) -> tuple[str, ...]:
    """The tiers that would take a pod of this spec."""
    wanted = dict(spec.get("nodeSelector") or {})
    terms = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution", {}
    ).get("nodeSelectorTerms") or [{}]
    return tuple(
        tier
        for tier, about in plan["tiers"].items()
        if wanted.items() <= about["labels"].items()
        and any(_fits(term, about["labels"]) for term in terms)
        and all(_tolerated(taint, spec.get("tolerations") or []) for taint in about["taints"])
    )


def _fits(term: Document, labels: dict[str, str]) -> bool:
    return all(
        (wish["operator"] == "Exists" and wish["key"] in labels)
        or labels.get(wish["key"]) in (wish.get("values") or [])
        for wish in term.get("matchExpressions") or []
    )


def _tolerated(taint: Document, tolerations: list[Document]) -> bool:
    return any(
        each.get("key", taint["key"]) == taint["key"]
        and each.get("effect", taint["effect"]) == taint["effect"]
        and (each.get("operator") == "Exists" or each.get("value", "") == taint.get("value", ""))
        for each in tolerations
    )


@dataclass
class Filling:
    """What was put on one node."""

    node: Node
    cpu: float = 0.0
    memory: float = 0.0
    pods: int = 0

    def room(self, ask: Ask) -> bool:
        more = self.cpu + ask.cpu, self.memory + ask.memory
        return more[0] <= self.node.cpu + 1e-9 and more[1] <= self.node.memory and self.pods < self.node.pods

    def take(self, ask: Ask) -> None:
        self.cpu, self.memory, self.pods = self.cpu + ask.cpu, self.memory + ask.memory, self.pods + 1


def place(documents: Iterable[Document], plan: dict[str, Any], load: int) -> tuple[list[Filling], list[str]]:
    """Every pod on a node, those with least choice and most need first; and one sentence for each that finds none."""
    filled = [Filling(node) for node in nodes(plan)]
    lost: dict[tuple[str, ...], dict[str, list[Ask]]] = {}
    for ask in sorted(
        asks(documents, plan, load), key=lambda ask: (not ask.first, len(ask.tiers), -ask.memory, -ask.cpu)
    ):
        for _ in range(ask.pods):
            room = [each for each in filled if each.node.tier in ask.tiers and each.room(ask)]
            if room:
                max(room, key=lambda each: each.node.cpu - each.cpu).take(ask)
            else:
                lost.setdefault(ask.tiers, {}).setdefault(ask.name, []).append(ask)
    return filled, [_lacking(tiers, named) for tiers, named in lost.items()]


def _lacking(tiers: tuple[str, ...], named: dict[str, list[Ask]]) -> str:
    those = [ask for group in named.values() for ask in group]
    who = ", ".join(f"{len(group)} × {name}" for name, group in named.items())
    need = f"{sum(ask.cpu for ask in those) * 1000:.0f} mCPU, {sum(ask.memory for ask in those) / 2**20:.0f} MiB"
    return f"no room in {' or '.join(tiers)}: {need} ({who})" if tiers else f"no node takes {who}"


def everything_fits(documents: list[Document], root: Path = ROOT) -> Iterator[str]:
    """At every load of LOADS."""
    plan = load(root / "knative/nodes.yaml")
    for when, analyses in LOADS.items():
        for sentence in place(documents, plan, analyses)[1]:
            yield f"knative/nodes.yaml and the manifests' requests: {when}: {sentence}"


def every_pod_has_its_tier(documents: list[Document], root: Path = ROOT) -> Iterator[str]:
    """Each says where it runs (knative/tiers): HTTP functions, AI and batch functions, data and what works on it."""
    plan = load(root / "knative/nodes.yaml")
    for made in pods(documents):
        space, component = namespace(made.owner), labels(made.owner).get("app.kubernetes.io/component", "")
        wanted = {"http": "application", "event": "async", "job": "storage"}.get(component, "")
        wanted = wanted or ("storage" if space == "growbin-data" else "")
        told = (made.spec.get("nodeSelector") or {}).get(TIER)
        if told is None or (wanted and told != wanted):
            right = f", not {wanted}" if wanted else ""
            yield f"{title(made.owner)}: nodeSelector {TIER} is {told or 'missing'}{right} (knative/tiers)"
        elif not _tiers(made.spec, plan):
            tolerated = made.spec.get("tolerations")
            yield f"{title(made.owner)}: no node takes it: nodeSelector {told}, tolerations {tolerated}"
    for cluster in of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster"):
        if _tiers(cluster["spec"], plan) != ("storage",):
            yield f"{title(cluster)}: not on the tier storage alone (knative/tiers)"


def the_plan_is_that_of_terraform_and_ansible(root: Path = ROOT) -> Iterator[str]:
    """nodes.yaml against the machines that are made and what they are told."""
    plan = load(root / "knative/nodes.yaml")
    for size, room in plan["sizes"].items():
        nominal = NOMINAL.get(size, (0, 0))
        if quantity(room["cpu"]) > nominal[0] or not 0.85 * nominal[1] < quantity(room["memory"]) / 2**30 < nominal[1]:
            yield f"knative/nodes.yaml: {size} with {room}: AWS sells {nominal[0]} vCPU and {nominal[1]} GiB"
    if not 0 < int(plan["pods"]) <= 110:
        yield f"knative/nodes.yaml: pods {plan['pods']}: the kubelet takes 110 a node"
    variables = (root / "terraform/variables.tf").read_text(encoding="utf-8")
    made = re.findall(
        r'([\w-]+)\s*=\s*\{\s*tier\s*=\s*"([\w-]+)",\s*instance_type\s*=\s*"([\w.]+)",\s*disk_gb\s*=\s*(\d+)', variables
    )
    given = {key: (node["tier"], node["size"], str(node["disk_gb"])) for key, node in plan["nodes"].items()}
    if {key: tuple(rest) for key, *rest in made} != given:
        yield f"knative/nodes.yaml: nodes {given}, terraform/variables.tf makes {made}"
    for tier, about in plan["tiers"].items():
        told = load(root / f"ansible/group_vars/{tier.replace('-', '_')}.yml")
        if (told["kubernetes_node_labels"], told["kubernetes_node_taints"]) != (about["labels"], about["taints"]):
            yield f"knative/nodes.yaml: labels or taints of {tier} are not those of ansible/group_vars"
    told = load(root / "ansible/roles/knative/defaults/main.yml")
    for variable, called in (
        ("knative_serving_tier", "activator"),
        ("knative_controllers_tier", "eventing-controller"),
    ):
        (counted,) = (part["tier"] for part in plan["platform"] if part["name"] == called)
        if told.get(variable) != counted:
            where = "ansible/roles/knative/defaults/main.yml"
            yield f"{where}: {variable} {told.get(variable)}, knative/nodes.yaml counts {called} on {counted}"
    kept = load(root / "ansible/roles/control_plane/defaults/main.yml")
    shares = kept["control_plane_reserved"]
    cpu = sum(quantity(share["cpu"]) for share in shares.values())
    memory = sum(quantity(share["memory"]) for share in shares.values())
    memory += quantity(kept["control_plane_eviction"]["memory.available"])
    if not math.isclose(cpu, quantity(plan["reserved"]["cpu"])) or memory != quantity(plan["reserved"]["memory"]):
        keep = f"{cpu:.3f} CPU and {memory / 2**20:.0f} MiB"
        yield f"knative/nodes.yaml: reserved {plan['reserved']}, the kubelets keep {keep}"


def charts_are_told_what_is_counted(root: Path = ROOT) -> Iterator[str]:
    """What nodes.yaml counts for a chart is what its values ask for, and whatever values ask for is counted."""
    parts = [part.get("values", "") for part in load(root / "knative/nodes.yaml")["platform"]]
    for file in sorted({part.partition("#")[0] for part in parts} - {""}):
        for path in _asking(load(root / f"knative/argocd/values/{file}.yaml")):
            if f"{file}#{path}" not in parts:
                yield f"knative/nodes.yaml: {path or 'the pod'} of {file}.yaml asks for resources and is not counted"
    for part in load(root / "knative/nodes.yaml")["platform"]:
        file, _, path = part.get("values", "").partition("#")
        if not file:
            continue
        told: Any = load(root / f"knative/argocd/values/{file}.yaml")
        for step in filter(None, path.split(".")):
            told = (told or {}).get(step)
        given = ((told or {}).get("resources") or {}).get("requests")
        if given != part["requests"]:
            yield f"knative/nodes.yaml: {part['name']} is counted with {part['requests']}, {file}.yaml asks for {given}"
        tiers = load(root / "knative/nodes.yaml")["tiers"]
        wanted = {} if part["tier"] == "every" else tiers[part["tier"]]["labels"]
        taints = [taint for about in ([tiers[part["tier"]]] if wanted else tiers.values()) for taint in about["taints"]]
        placed = (told or {}).get("nodeSelector") or {}
        if not wanted.items() <= placed.items() or not all(
            _tolerated(t, told.get("tolerations") or []) for t in taints
        ):
            where = f"knative/argocd/values/{file}.yaml: {path or 'the chart'}"
            yield f"{where}: not placed on {part['tier']} (nodeSelector, tolerations)"


def _asking(told: Any, path: str = "") -> Iterator[str]:
    """Paths below which values ask for resources."""
    if isinstance(told, dict):
        if "cpu" in ((told.get("resources") or {}).get("requests") or {}):
            yield path
        for key, below in told.items():
            yield from _asking(below, f"{path}.{key}" if path else str(key))


def releases_are_told_what_is_counted(root: Path = ROOT) -> Iterator[str]:
    """Where nodes.yaml counts less than a release asks for, ansible patches that Deployment (`requests: [name]`)."""
    files = sorted((root / "ansible/roles").rglob("*.yml"))
    lists = [re.findall(r"requests: \[([^\]]*)\]", file.read_text(encoding="utf-8")) for file in files]
    told = {name for each in lists for names in each for name in re.split(r",\s*", names)}
    for part in load(root / "knative/nodes.yaml")["platform"]:
        asked = {key: value for key, value in part.get("upstream", {}).items() if value != "-"}
        less = any(quantity(part["requests"][key]) < quantity(value) for key, value in asked.items())
        if less and part["name"] not in told:
            yield f"knative/nodes.yaml: {part['name']} is counted with {part['requests']}, its release asks for {asked}"


def table(documents: list[Document], root: Path = ROOT) -> str:
    """What `make check-cluster` prints: each node at each load."""
    plan, lines = load(root / "knative/nodes.yaml"), []
    for when, analyses in LOADS.items():
        filled, _ = place(documents, plan, analyses)
        lines.append(f"Requests {when}:")
        for each in filled:
            node = each.node
            lines.append(
                f"  {node.name:9} {node.tier:14} {each.cpu * 1000:5.0f} of {node.cpu * 1000:.0f} mCPU"
                f"  {each.memory / 2**20:5.0f} of {node.memory / 2**20:5.0f} MiB  {each.pods:3} of {node.pods} pods"
            )
    return "\n".join(lines)
