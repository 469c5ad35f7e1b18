"""The contract of the flows (design §4) as a function of a source tree, so that a test can plant mistakes in a copy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from functions.shared.claims import LEASE_SECONDS
from functions.shared.events import CATALOGUE, ScheduleTicked, Undecodable, decode
from functions.shared.naming import PING_TYPE
from knative.local.manifests import PARALLELISM, Delivery, ManifestError, Manifests, PingSource, Service, Trigger

#: RabbitMQ takes a message back that is not acknowledged after this many seconds.
ACKNOWLEDGEMENT_TIMEOUT = 30 * 60


def problems(root: Path) -> list[str]:
    """Everything that is wrong with the manifests below `root`, a sentence each; [] is a closed graph."""
    try:
        manifests = Manifests.load(root)
    except ManifestError as error:
        return error.problems
    triggers = list(manifests.all(Trigger).values())
    found = [
        f"Trigger {trigger.metadata.namespace}/{trigger.name}: {problem}"
        for trigger in triggers
        for problem in _of_trigger(trigger, manifests, root)
    ]
    required = {trigger.spec.filter["attributes"].get("type") for trigger in triggers if not trigger.best_effort}
    owed = {name for name, payload in CATALOGUE.items() if not payload.TERMINAL}
    found += [f"nobody has to consume {name}" for name in sorted(owed - required)]
    return found + list(_of_schedules(manifests))


def _of_trigger(trigger: Trigger, manifests: Manifests, root: Path) -> Iterator[str]:
    type_ = trigger.spec.filter["attributes"].get("type", "")
    if type_ not in CATALOGUE:
        yield f"{type_ or 'no type'} is not in the catalogue"
    delivery = trigger.spec.delivery or Delivery()
    if unsaid := sorted(set(Delivery.model_fields) - delivery.model_fields_set):
        yield f"delivery does not state {', '.join(unsaid)}"
    if PARALLELISM not in trigger.metadata.annotations:
        yield "parallelism is not stated"
    if delivery.patience <= LEASE_SECONDS:
        yield f"backoff of {delivery.patience:.1f} s does not outlive a claim's lease of {LEASE_SECONDS} s"
    attempts = (delivery.retry + 1) * (delivery.timeout.total_seconds() if delivery.timeout else 0)
    if delivery.patience + attempts >= ACKNOWLEDGEMENT_TIMEOUT:
        yield f"retries may take {delivery.patience + attempts:.0f} s, RabbitMQ waits {ACKNOWLEDGEMENT_TIMEOUT} s"
    sinks = [delivery.dead_letter_sink] if delivery.dead_letter_sink else []
    for sink in (trigger.spec.subscriber, *sinks):
        yield from _of_address(sink["uri"], manifests, root)
    function = _function(trigger.spec.subscriber["uri"])
    resource, _, action = type_.removeprefix("app.growbin.waste.").partition(".v1.")
    schedule = trigger.spec.filter["attributes"].get("schedule", "")
    tick = "schedule" if schedule == function else schedule  # who has several says which
    if trigger.name != f"{function}-on-" + (tick if type_ == PING_TYPE else f"{resource}-{action}"):
        yield f"the name does not say that {function} consumes {type_}"


def _function(uri: str) -> str:
    return (urlsplit(uri).hostname or "").split(".")[0]


def _of_address(uri: str, manifests: Manifests, root: Path) -> Iterator[str]:
    host, function = urlsplit(uri).hostname, _function(uri)
    service = manifests.all(Service).get(function)
    if service is None or service.host != host:
        yield f"no Knative Service answers as {host}"
    if not (root / "functions" / function / "main.py").is_file():
        yield f"functions/{function} has no main.py"


def _of_schedules(manifests: Manifests) -> Iterator[str]:
    filters = [trigger.spec.filter["attributes"] for trigger in manifests.all(Trigger).values()]
    for ping in manifests.all(PingSource).values():
        schedule = (ping.spec.ce_overrides or {"extensions": {}})["extensions"].get("schedule", "")
        if {"type": PING_TYPE, "schedule": schedule} not in filters:
            yield f"{_clock(ping)}: no Trigger takes schedule={schedule!r}"
        try:
            if decode(PING_TYPE, json.loads(ping.spec.data or "null")) != ScheduleTicked(schedule=schedule):
                yield f"{_clock(ping)}: data and the extension `schedule` differ"
        except (Undecodable, ValueError) as error:
            yield f"{_clock(ping)}: {error}"


def _clock(ping: PingSource) -> str:
    return f"PingSource {ping.metadata.namespace}/{ping.name}"
