"""The flow as it is applied: every Trigger says all that it must, leads to a function, and loses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from knative.check.documents import (
    EVENTING,
    SOURCES,
    Document,
    labels,
    name,
    namespace,
    notes,
    of_kind,
    services,
    title,
)
from knative.local.manifests import BEST_EFFORT, BROKER_CLASS, PARALLELISM, POD

RABBIT_CONFIG = "eventing.knative.dev/v1alpha1"
ENFORCE = "pod-security.kubernetes.io/enforce"
#: Namespaces that come with what ansible and Argo CD install.
INSTALLED = {"argocd", "monitoring", "knative-serving", "knative-eventing", "kourier-system", "kube-system"}
TOPOLOGY = "rabbitmq.com/topology-allowed-namespaces"
#: What a function answers to: events at its root, dead letters at a path of their own.
PATHS = {"subscriber": "/", "deadLetterSink": "/dead-letters"}
#: What a filter may go by: an attribute that nobody sets never fits.
ATTRIBUTES = {"type", "schedule"}
DELIVERY = ("retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink")


def every_trigger_says_how_it_delivers(documents: Iterable[Document]) -> Iterator[str]:
    """A Trigger's delivery replaces the Broker's wholesale: what it leaves out is not inherited."""
    for trigger in of_kind(documents, EVENTING, "Trigger"):
        delivery = trigger["spec"].get("delivery") or {}
        for field in DELIVERY:
            if not delivery.get(field):
                yield f"{title(trigger)}: no delivery.{field}"
        for attribute in sorted((trigger["spec"].get("filter") or {}).get("attributes", {}).keys() - ATTRIBUTES):
            yield f"{title(trigger)}: filter by {attribute}, which no event of ours is told by"
        given = notes(trigger)
        parallel = given.get(PARALLELISM, "")
        if not parallel.isdecimal() or not 1 <= int(parallel) <= 1000:
            yield f"{title(trigger)}: no {PARALLELISM} within 1 and 1000"
        for key in sorted(given.keys() - {PARALLELISM, BEST_EFFORT, "argocd.argoproj.io/sync-wave"} - POD):
            yield f"{title(trigger)}: {key}: no such annotation of a Trigger"
    for broker in of_kind(documents, EVENTING, "Broker"):
        for field in DELIVERY:
            if not (broker["spec"].get("delivery") or {}).get(field):
                yield f"{title(broker)}: no delivery.{field}"
        retry, delay = (broker["spec"].get("delivery") or {}).get("retry"), 0.2
        if isinstance(retry, int) and delay * 2 ** (retry + 1) > 1800:
            yield f"{title(broker)}: {retry} retries take longer than the 30 minutes after which RabbitMQ takes back"
        if notes(broker).get(BROKER_CLASS) != "RabbitMQBroker":
            yield f"{title(broker)}: {BROKER_CLASS} is not RabbitMQBroker"


def every_event_arrives_somewhere(documents: Iterable[Document]) -> Iterator[str]:
    """Subscribers, dead letter sinks and the sinks of sources are functions or Brokers that are there."""
    hosts = {f"{name(each)}.{namespace(each)}.svc.cluster.local" for each in services(documents)}
    brokers = {(namespace(each), name(each)) for each in of_kind(documents, EVENTING, "Broker")}
    for trigger in of_kind(documents, EVENTING, "Trigger"):
        if (namespace(trigger), trigger["spec"].get("broker")) not in brokers:
            yield f"{title(trigger)}: there is no Broker {trigger['spec'].get('broker')} in its namespace"
    for document in [*of_kind(documents, EVENTING, "Trigger"), *of_kind(documents, EVENTING, "Broker")]:
        spec = document["spec"]
        ends = {
            "subscriber": spec.get("subscriber"),
            "deadLetterSink": (spec.get("delivery") or {}).get("deadLetterSink"),
        }
        for what, end in ends.items():
            if end and "uri" in end and (urlsplit(end["uri"]).hostname not in hosts):
                yield f"{title(document)}: {what} {end['uri']}: there is no such function"
            elif end and "uri" in end and not re.fullmatch(rf"http://[a-z0-9.-]+{PATHS[what]}", end["uri"]):
                yield f"{title(document)}: {what} {end['uri']}: http, without a port, and the path {PATHS[what]}"
            elif end and "uri" not in end:
                yield f"{title(document)}: {what} is not an address (the local run resolves no references)"
    for source in [*of_kind(documents, SOURCES, "PingSource"), *of_kind(documents, SOURCES, "ContainerSource")]:
        ref = (source["spec"].get("sink") or {}).get("ref") or {}
        if (ref.get("namespace", namespace(source)), ref.get("name")) not in brokers:
            yield f"{title(source)}: its sink is no Broker that is there"


def every_dead_letter_goes_to_one_place(documents: Iterable[Document]) -> Iterator[str]:
    """All of them where the Broker sends its own: an address of another path answers 404 and is tried for ever."""
    brokers = {(namespace(each), name(each)): each for each in of_kind(documents, EVENTING, "Broker")}
    for trigger in of_kind(documents, EVENTING, "Trigger"):
        broker = brokers.get((namespace(trigger), trigger["spec"].get("broker", "")))
        ends = [((each or trigger)["spec"].get("delivery") or {}).get("deadLetterSink") for each in (broker, trigger)]
        if all(ends) and ends[0] != ends[1]:
            yield f"{title(trigger)}: its dead letters go to {ends[1]}, the Broker's to {ends[0]}"


def every_namespace_takes_its_pods(documents: list[Document]) -> Iterator[str]:
    """Knative's broker pods have no seccomp profile, so "restricted" refuses them; the functions are to have it."""
    spaces = {name(each): labels(each) for each in of_kind(documents, "v1", "Namespace")}
    for document in documents:
        space = namespace(document)
        if space and space not in spaces and space not in INSTALLED:
            yield f"{title(document)}: there is no Namespace {space}"
    made = [each for each in documents if each["kind"] in ("Broker", "RabbitmqCluster")]
    loose = {namespace(each) for each in made}
    for each in of_kind(documents, "v1", "Namespace"):
        given, wanted = spaces[name(each)].get(ENFORCE), "baseline" if name(each) in loose else "restricted"
        if given != wanted and not (name(each) in loose and given == "restricted"):
            yield f"{title(each)}: label {ENFORCE} is {given or 'missing'}: {wanted}"
    for each in made:
        if spaces.get(namespace(each), {}).get(ENFORCE) == "restricted":
            yield f"{title(each)}: its namespace enforces restricted, which refuses the broker's own pods"
    for service in services(documents):
        if spaces.get(namespace(service), {}).get(ENFORCE) != "restricted":
            yield f"{title(service)}: its namespace does not enforce restricted"


def the_broker_reaches_its_rabbit(documents: Iterable[Document]) -> Iterator[str]:
    """The Broker's config leads to a RabbitmqCluster that allows the Broker's namespace to declare queues in it."""
    clusters = {
        (namespace(each), name(each)): each for each in of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster")
    }
    configs = {
        (namespace(each), name(each)): each for each in of_kind(documents, RABBIT_CONFIG, "RabbitmqBrokerConfig")
    }
    for broker in of_kind(documents, EVENTING, "Broker"):
        ref = broker["spec"].get("config") or {}
        config = configs.get((ref.get("namespace", namespace(broker)), ref.get("name", "")))
        if config is None:
            yield f"{title(broker)}: there is no RabbitmqBrokerConfig {ref.get('name')}"
            continue
        to = config["spec"]["rabbitmqClusterReference"]
        space = to.get("namespace", namespace(config))
        cluster = clusters.get((space, to.get("name", "")))
        if cluster is None:
            yield f"{title(config)}: there is no RabbitmqCluster {to.get('name')} in {space}"
            continue
        allowed = notes(cluster).get(TOPOLOGY, "").replace(" ", "").split(",")
        if space != namespace(broker) and namespace(broker) not in allowed:
            yield f"{title(cluster)}: {TOPOLOGY} does not name {namespace(broker)}"
        if int(cluster["spec"].get("replicas", 1)) % 2 == 0:
            yield f"{title(cluster)}: an even number of replicas has no more majority than one fewer"


def inside(documents: Iterable[Document]) -> set[str]:
    """The functions that take events or dead letters."""
    found = set[str]()
    for trigger in of_kind(documents, EVENTING, "Trigger"):
        ends = (trigger["spec"].get("subscriber"), (trigger["spec"].get("delivery") or {}).get("deadLetterSink"))
        found |= {(urlsplit((end or {}).get("uri", "")).hostname or "").split(".")[0] for end in ends}
    return found


def no_event_function_is_on_a_route(documents: list[Document]) -> Iterator[str]:
    """The gateway's tables lead to functions that are there and that take requests of citizens, never to the others."""
    taking = inside(documents)
    there = {name(each) for each in services(documents)}
    for table in of_kind(documents, "v1", "ConfigMap"):
        for text in (table.get("data") or {}).values():
            told = re.findall(r"(?m)^- \{.*function: ([\w-]+)\}|host_rewrite_literal: ([\w-]+)\.growbin\.svc", text)
            for function in sorted({first or second for first, second in told}):
                if function in taking:
                    yield f"{title(table)}: {function} takes events and is reachable from outside"
                elif function not in there:
                    yield f"{title(table)}: a route to {function}, which is no function"


def every_route_is_reached(documents: list[Document]) -> Iterator[str]:
    """First match wins: no path before a longer one of its own; every HTTP function has one; the last is the rest."""
    for table in (each for each in of_kind(documents, "v1", "ConfigMap") if name(each) == "routes"):
        text = str((table.get("data") or {}).get("routes.yaml", ""))
        told = re.findall(r'(?m)^- \{path: "?([^",]+)"?, function: ([\w-]+)\}', text)
        for place, (path, _) in enumerate(told):
            for later, function in told[place + 1 :]:
                if f"{later}/".startswith(path.rstrip("/") + "/"):
                    yield f"{title(table)}: {later} of {function} stands behind {path}, which takes it first"
        if not told or told[-1][0] != "/":
            yield f"{title(table)}: the last path is not /"
        asked = {function for _, function in told}
        for service in services(documents):
            if labels(service).get("app.kubernetes.io/component") == "http" and name(service) not in asked:
                yield f"{title(table)}: no path leads to {name(service)}"


def recover_knows_every_flow(documents: Iterable[Document]) -> Iterator[str]:
    """The ConfigMap `pipelines` holds every Trigger that is applied: by it `recover` knows who owes an answer."""
    documents = list(documents)
    tables = [each for each in of_kind(documents, "v1", "ConfigMap") if name(each) == "pipelines"]
    told = "\n".join(text for table in tables for text in (table.get("data") or {}).values())
    known = set(re.findall(r"(?m)^  name: ([\w-]+)$", told))
    for trigger in of_kind(documents, EVENTING, "Trigger") if tables else []:
        if name(trigger) not in known:
            yield f"{title(trigger)}: the ConfigMap pipelines (pipelines/kustomization.yaml) does not hold it"
    there = {name(trigger) for trigger in of_kind(documents, EVENTING, "Trigger")}
    for called in sorted(known - there):
        yield f"Trigger growbin-events/{called}: is not applied, and recover waits for who would take it"


def every_clock_is_in_seoul(documents: Iterable[Document]) -> Iterator[str]:
    """A schedule without its zone is UTC: the quiet hours of the night would be noon."""
    for each in documents:
        field = {"PingSource": "timezone", "CronJob": "timeZone"}.get(each["kind"], "")
        if field and each["spec"].get(field) != "Asia/Seoul":
            yield f"{title(each)}: {field} is {each['spec'].get(field, 'missing')}, not Asia/Seoul"


CHECKS = [
    every_route_is_reached,
    recover_knows_every_flow,
    every_clock_is_in_seoul,
    no_event_function_is_on_a_route,
    every_trigger_says_how_it_delivers,
    every_event_arrives_somewhere,
    every_dead_letter_goes_to_one_place,
    every_namespace_takes_its_pods,
    the_broker_reaches_its_rabbit,
]
