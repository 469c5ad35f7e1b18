"""NetworkPolicies, evaluated: what the flow needs is let through on both ends, and what nobody needs is not.

What is needed is read from the manifests themselves: a function with DATABASE_URL must reach PostgreSQL, one with
BROKER_URL the broker's ingress, and so on. A request to a function comes from Kourier's gateway or the activator, never
from who asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from knative.check.documents import (
    EVENTING,
    SERVING,
    SOURCES,
    Document,
    Pods,
    name,
    namespace,
    of_kind,
    pods,
    services,
    title,
)

NETWORKING = "networking.k8s.io/v1"
HTTP_QUEUE_PROXY, H2C_QUEUE_PROXY, KOURIER_INTERNAL, BROKER_INGRESS = 8012, 8013, 8081, 8080
PRIVATE = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}
WORLD, METADATA = "world", "metadata"


@dataclass(frozen=True)
class Peer:
    """Pods of a kind, as a policy sees them; `name` is for the sentence. A namespace of "" is outside the cluster."""

    name: str
    namespace: str
    labels: dict[str, str] = field(default_factory=dict)


class Flow(NamedTuple):
    """Who must be able to open a connection to whom, at a port of the pod."""

    source: Peer
    target: Peer
    port: int
    protocol: str = "TCP"


GATEWAY = Peer("Kourier's gateway", "kourier-system", {"app": "3scale-kourier-gateway"})
ACTIVATOR = Peer("the activator", "knative-serving", {"app": "activator"})
AUTOSCALER = Peer("the autoscaler", "knative-serving", {"app": "autoscaler"})
DNS = Peer("DNS", "kube-system", {"k8s-app": "kube-dns"})
TOPOLOGY = Peer("the topology operator", "rabbitmq-system", {"app.kubernetes.io/name": "messaging-topology-operator"})
PINGS = Peer("PingSource's adapter", "knative-eventing", {"eventing.knative.dev/source": "ping-source-controller"})
PROMETHEUS = Peer("Prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"})
ARGOCD = Peer("Argo CD's server", "argocd", {"app.kubernetes.io/name": "argocd-server"})
GRAFANA = Peer("Grafana", "monitoring", {"app.kubernetes.io/name": "grafana"})
COLLECTOR = Peer("a collector of traces", "monitoring", {"app": "collector"})
CONTROLLER = Peer("the broker's controller", "knative-eventing", {"app": "rabbitmq-broker-controller"})
STRANGER = Peer("a pod of another namespace", "default", {"app": "stranger"})
OUTSIDE = Peer(WORLD, "")
#: What a variable of a function's environment means it must reach; the ports are those of the pods.
KEEPS = {"DATABASE_URL": ("postgres", 5432), "PGHOST": ("postgres", 5432), "REDIS_URL": ("redis", 6379)}
REACHES_OUT = {"OPENAI_BASE_URL", "CENTRES_API_URL", "QUEUE_URL", "BACKUP_BUCKET"}


def peers(documents: Iterable[Document]) -> dict[str, Peer]:
    """Our own pods by name: functions, workloads, and what the operators make of our objects."""
    found: dict[str, Peer] = {}
    for made in pods(documents):
        about = made.labels
        if made.owner["apiVersion"] == SERVING:
            about = about | {"serving.knative.dev/service": name(made.owner)}
        if made.owner["apiVersion"] == SOURCES:
            about = about | {"sources.knative.dev/containerSource": name(made.owner)}
        found[_key(made)] = Peer(_key(made), namespace(made.owner), about)
    for broker in of_kind(documents, EVENTING, "Broker"):
        about = {"eventing.knative.dev/broker": name(broker)}
        for role in ("ingress", "dispatcher"):
            key = f"{name(broker)} {role}"
            found[key] = Peer(
                f"the broker's {role}", namespace(broker), about | {"eventing.knative.dev/brokerRole": role}
            )
    for cluster in of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster"):
        about = {"app.kubernetes.io/name": name(cluster), "app.kubernetes.io/part-of": "rabbitmq"}
        found[f"{name(cluster)} rabbitmq"] = Peer("RabbitMQ", namespace(cluster), about)
    return found


def _key(made: Pods) -> str:
    """A server goes by its label: on the way up another one of the same name takes its place (docs/deploy.md)."""
    of_server = made.owner["kind"] == "StatefulSet"
    return made.labels.get("app.kubernetes.io/name", "") if of_server else name(made.owner)


def needed(documents: list[Document]) -> Iterator[Flow]:
    """Every connection without which something of ours does not work."""
    ours = peers(documents)
    ingress = [peer for key, peer in ours.items() if key.endswith(" ingress")]
    dispatchers = [peer for key, peer in ours.items() if key.endswith(" dispatcher")]
    rabbit = [peer for key, peer in ours.items() if key.endswith(" rabbitmq")]
    yield from (Flow(peer, DNS, 53, protocol) for peer in ours.values() for protocol in ("TCP", "UDP"))
    for service in services(documents):
        function = ours[name(service)]
        doors = (HTTP_QUEUE_PROXY, H2C_QUEUE_PROXY)
        yield from (Flow(peer, function, port) for peer in (GATEWAY, ACTIVATOR) for port in doors)
        yield Flow(AUTOSCALER, function, 9090)
        yield from (Flow(PROMETHEUS, function, port) for port in (8080, 9091))
        yield Flow(function, COLLECTOR, 4318)
    for made in pods(documents):
        peer = ours[_key(made)]
        variables = {each["name"] for container in made.containers for each in container.get("env", [])}
        for variable, (store, port) in KEEPS.items():
            if variable in variables and store in ours:
                yield Flow(peer, ours[store], port)
        if variables & {"BROKER_URL"} or made.owner["kind"] == "ContainerSource":
            yield from (Flow(peer, to, BROKER_INGRESS) for to in ingress)
        signs_only = name(made.owner) == "presign"  # it makes addresses of S3 and never goes there
        if variables & REACHES_OUT or ("S3_ENDPOINT" in variables and not signs_only):
            yield Flow(peer, OUTSIDE, 443)
        if "BACKUP_BUCKET" in variables:  # it has no key: it asks its node for its role
            yield Flow(peer, Peer(METADATA, ""), 80)
    if "gateway" in ours:
        yield Flow(OUTSIDE, ours["gateway"], 8080)
        yield Flow(PROMETHEUS, ours["gateway"], 9901)
        yield from (Flow(ours["gateway"], *to) for to in ((GATEWAY, KOURIER_INTERNAL), (ARGOCD, 8080), (GRAFANA, 3000)))
    for peer in dispatchers:
        yield Flow(peer, GATEWAY, KOURIER_INTERNAL)
        yield from (Flow(peer, to, BROKER_INGRESS) for to in ingress)
    for peer in (*dispatchers, *ingress):
        yield from (Flow(peer, to, 5672) for to in rabbit)
        yield Flow(PROMETHEUS, peer, 9090)
    if of_kind(documents, SOURCES, "PingSource"):
        yield from (Flow(PINGS, to, BROKER_INGRESS) for to in ingress)
    yield from (Flow(peer, to, port) for to in rabbit for peer in (TOPOLOGY, CONTROLLER) for port in (5672, 15672))
    yield from (Flow(to, to, port) for to in rabbit for port in (4369, 5672, 15672, 25672))
    yield from (Flow(peer, OUTSIDE, port) for peer in rabbit for port in (443, 6443))  # the API, at a node's address
    yield from (Flow(PROMETHEUS, to, 15692) for to in rabbit)


def unwanted(documents: list[Document]) -> Iterator[Flow]:
    """Connections that would be a hole: strangers anywhere, functions to RabbitMQ, callers past the gateway."""
    ours = peers(documents)
    rabbit = [peer for key, peer in ours.items() if key.endswith(" rabbitmq")]
    functions = [ours[name(service)] for service in services(documents)]
    stores = [(ours[store], port) for store, port in sorted(set(KEEPS.values())) if store in ours]
    stores += [(peer, 5672) for peer in rabbit]
    for stranger in (STRANGER, OUTSIDE):
        yield from (Flow(stranger, store, port) for store, port in stores)
        yield from (Flow(stranger, function, port) for function in functions for port in (8080, HTTP_QUEUE_PROXY))
    for function in functions:
        yield from (Flow(function, peer, 5672) for peer in rabbit)
        yield from (Flow(function, other, HTTP_QUEUE_PROXY) for other in functions[:1] if other != function)
        yield Flow(function, Peer(METADATA, ""), 80)
    for service in services(documents):
        variables = {each["name"] for made in pods([service]) for each in made.containers[0].get("env", [])}
        kept = {KEEPS[variable] for variable in variables & KEEPS.keys()}
        for wanted, port in sorted(set(KEEPS.values()) - kept):
            if wanted in ours:
                yield Flow(ours[name(service)], ours[wanted], port)


def every_namespace_denies_by_default(documents: list[Document]) -> Iterator[str]:
    """Where pods of ours run, a policy over all of them closes both ways."""
    spaces = {namespace(made.owner) for made in pods(documents)}
    spaces |= {namespace(each) for each in documents if each["kind"] in ("Broker", "RabbitmqCluster")}
    closed = {
        namespace(policy)
        for policy in of_kind(documents, NETWORKING, "NetworkPolicy")
        if policy["spec"].get("podSelector") == {}
        and set(policy["spec"].get("policyTypes", [])) == {"Ingress", "Egress"}
        and not policy["spec"].get("ingress")
    }
    yield from (f"Namespace -/{space}: no NetworkPolicy denies by default" for space in sorted(spaces - closed))


def what_is_needed_is_let_through(documents: list[Document]) -> Iterator[str]:
    """Each needed connection, on the side that opens it and on the side that answers."""
    policies = of_kind(documents, NETWORKING, "NetworkPolicy")
    mine = {namespace(each) for each in documents if namespace(each)}
    flows = {(flow.source.name, flow.target.name, flow.port, flow.protocol): flow for flow in needed(documents)}
    for (source, target, port, protocol), flow in flows.items():
        at = f"{port}{'/UDP' if protocol == 'UDP' else ''}"
        for way, here in (("Egress", flow.source), ("Ingress", flow.target)):
            if here.namespace in mine and not _open(policies, way, flow):
                place = f"{way.lower()} of {here.namespace}"
                yield f"knative/base/policies.yaml: no NetworkPolicy lets {source} reach {target} at {at} ({place})"


def the_world_is_not_the_house(documents: list[Document]) -> Iterator[str]:
    """Who may reach the world may reach nothing of ours by it: private addresses and the node's metadata stay out."""
    for policy in of_kind(documents, NETWORKING, "NetworkPolicy"):
        for rule in policy["spec"].get("egress") or []:
            for end in rule.get("to") or []:
                block = end.get("ipBlock") or {}
                if block.get("cidr") == "0.0.0.0/0" and (missing := PRIVATE - set(block.get("except") or [])):
                    yield f"{title(policy)}: the world includes {', '.join(sorted(missing))}"


def nothing_else_is_let_through(documents: list[Document]) -> Iterator[str]:
    policies = of_kind(documents, NETWORKING, "NetworkPolicy")
    for flow in unwanted(documents):
        if all(_open(policies, way, flow) for way in ("Egress", "Ingress")):
            where = "knative/base/policies.yaml"
            yield f"{where}: {flow.source.name} may reach {flow.target.name} at {flow.port}, which nobody needs"


def every_rule_is_needed(documents: list[Document]) -> Iterator[str]:
    """Each policy is over pods that are there; each rule names ports and, but for the world's door, who; and for each
    of them there is somebody who needs it. Of namespaces of others the whole may be named, of ours only pods."""
    flows, ours = list(needed(documents)), list(peers(documents).values())
    for policy in of_kind(documents, NETWORKING, "NetworkPolicy"):
        space, over = namespace(policy), policy["spec"].get("podSelector") or {}
        if not any(peer.namespace == space and _selects(over, peer.labels) for peer in ours):
            yield f"{title(policy)}: is over no pod that is there"
            continue
        for way, named in (("Ingress", "from"), ("Egress", "to")):
            passing = [flow for flow in flows if _end(flow, way).namespace == space]
            passing = [flow for flow in passing if _selects(over, _end(flow, way).labels)]
            for rule in policy["spec"].get(way.lower()) or []:
                if not rule.get("ports"):
                    yield f"{title(policy)}: {way.lower()}: every port, where each is to be named"
                for end in rule.get(named) or [{}]:
                    for problem in _of_end(Side(space, way, passing, ours), end, rule.get("ports") or []):
                        yield f"{title(policy)}: {way.lower()}: {_said(end, space)}{problem}"


class Side(NamedTuple):
    """Where a policy stands: its namespace, its way, the flows that pass the pods it is over, and all pods of ours."""

    space: str
    way: str
    passing: list[Flow]
    ours: list[Peer]


def _of_end(side: Side, end: Document, ports: list[Document]) -> Iterator[str]:
    other = "Egress" if side.way == "Ingress" else "Ingress"
    here = [
        flow
        for flow in side.passing
        if (_is(side.space, end, _end(flow, other)) if end else _end(flow, other).name == WORLD)
    ]
    pods_ = [peer for peer in side.ours if end and "ipBlock" not in end and _is(side.space, end, peer)]
    itself = [_end(flow, side.way) for flow in side.passing]
    for port in ports:
        wanted = port.get("port"), port.get("protocol", "TCP")
        asking = [_end(flow, other) for flow in here if (flow.port, flow.protocol) == wanted]
        if not asking:
            yield f" at {wanted[0]}/{wanted[1]}: nobody needs that"
        for peer in pods_:
            if peer not in (*asking, *itself):
                yield f" at {wanted[0]}/{wanted[1]}: that is {peer.name}, too, which does not need it"
    if "ipBlock" in end and end["ipBlock"]["cidr"] not in ("0.0.0.0/0", "169.254.169.254/32"):
        yield ": neither the world without the house nor the node's metadata"
    selector = end.get("namespaceSelector")
    if selector is not None and set(selector.get("matchLabels") or {}) != {"kubernetes.io/metadata.name"}:
        yield ": a namespaceSelector names one namespace by kubernetes.io/metadata.name"


def _end(flow: Flow, way: str) -> Peer:
    """The end of a flow that a policy of this way is over."""
    return flow.target if way == "Ingress" else flow.source


def _said(end: Document, space: str) -> str:
    if not end:
        return "everybody"
    if "ipBlock" in end:
        return str(end["ipBlock"]["cidr"])
    named = ((end.get("namespaceSelector") or {}).get("matchLabels") or {}).get("kubernetes.io/metadata.name")
    where = named or ("every namespace" if "namespaceSelector" in end else space)
    return f"{end.get('podSelector') or 'all'} of {where}"


def _open(policies: list[Document], way: str, flow: Flow) -> bool:
    here, there = (flow.source, flow.target) if way == "Egress" else (flow.target, flow.source)
    if not here.namespace:
        return True
    over = [
        policy
        for policy in policies
        if namespace(policy) == here.namespace
        and way in policy["spec"].get("policyTypes", [])
        and _selects(policy["spec"].get("podSelector") or {}, here.labels)
    ]
    rules = [(policy, rule) for policy in over for rule in policy["spec"].get(way.lower()) or []]
    return not over or any(_lets(namespace(policy), rule, way, there, flow) for policy, rule in rules)


def _lets(space: str, rule: Document, way: str, there: Peer, flow: Flow) -> bool:
    ports = [(each.get("port"), each.get("protocol", "TCP")) for each in rule.get("ports") or []]
    if ports and (flow.port, flow.protocol) not in ports:
        return False
    ends = rule.get("from" if way == "Ingress" else "to")
    return not ends or any(_is(space, end, there) for end in ends)


def _is(space: str, end: Document, there: Peer) -> bool:
    if "ipBlock" in end:
        block = end["ipBlock"]
        if there.name == METADATA:
            shut = any(each.startswith("169.254.") for each in block.get("except", []))
            return str(block["cidr"]).startswith("169.254.") or (block["cidr"] == "0.0.0.0/0" and not shut)
        return there.name == WORLD and block["cidr"] == "0.0.0.0/0"
    if not there.namespace:
        return False
    if "namespaceSelector" in end:
        if not _selects(end["namespaceSelector"] or {}, {"kubernetes.io/metadata.name": there.namespace}):
            return False
    elif there.namespace != space:
        return False
    return _selects(end.get("podSelector") or {}, there.labels)


def _selects(selector: Document, given: dict[str, str]) -> bool:
    if not (selector.get("matchLabels") or {}).items() <= given.items():
        return False
    for wish in selector.get("matchExpressions") or []:
        key, values = wish["key"], wish.get("values", [])
        fits = {
            "Exists": key in given,
            "DoesNotExist": key not in given,
            "In": given.get(key) in values,
            "NotIn": given.get(key) not in values,
        }
        if not fits[wish["operator"]]:
            return False
    return True


CHECKS = [
    every_namespace_denies_by_default,
    what_is_needed_is_let_through,
    nothing_else_is_let_through,
    every_rule_is_needed,
    the_world_is_not_the_house,
]
