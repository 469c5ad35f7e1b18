"""What Kubernetes takes without a word and what then does not work: selectors, ports, clocks, limits, copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from knative.check.documents import (
    Document,
    Pods,
    kind,
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

#: Keeps something of its own on one volume: a second copy would be another truth.
ALONE = {"postgres", "redis"}
#: What a function's probes ask: answered by the function itself, without a database.
HEALTH = "/healthz"
BURST = AUTOSCALING + "target-burst-capacity"


def every_selector_finds_its_pods(documents: list[Document]) -> Iterator[str]:
    """A workload's selector fits its own template; a Service's finds pods, and ports that they have."""
    made = list(pods(documents))
    for each in made:
        wanted = (each.owner.get("spec") or {}).get("selector", {})
        if kind(each.owner)[0] == "apps/v1" and not (wanted.get("matchLabels") or {}).items() <= each.labels.items():
            yield f"{title(each.owner)}: its selector does not fit its own pods"
    for service in of_kind(documents, "v1", "Service"):
        selector = service["spec"].get("selector")
        if not selector:
            continue
        behind = [
            each
            for each in made
            if namespace(each.owner) == namespace(service) and selector.items() <= each.labels.items()
        ]
        if not behind:
            yield f"{title(service)}: selects no pod"
        for port in service["spec"].get("ports", []) if behind else []:
            target = port.get("targetPort", port["port"])
            if not any(target in _ports(each) for each in behind):
                yield f"{title(service)}: no pod behind it has port {target}"


def _ports(made: Pods) -> set[object]:
    ports = [port for each in made.containers for port in each.get("ports", [])]
    return {port["containerPort"] for port in ports} | {port.get("name") for port in ports}


def every_clock_can_be_read(documents: Iterable[Document]) -> Iterator[str]:
    """The schedules of CronJobs and PingSources."""
    for document in documents:
        if document["kind"] in ("CronJob", "PingSource"):
            schedule = document["spec"]["schedule"]
            try:
                if len(schedule.split()) != 5:
                    raise CronSimError("not five fields")
                CronSim(schedule, datetime.now(UTC))
            except CronSimError as error:
                yield f"{title(document)}: schedule {schedule!r}: {error}"


def no_limit_is_below_its_request(documents: Iterable[Document]) -> Iterator[str]:
    for made in pods(documents):
        for each in made.containers:
            given = each.get("resources") or {}
            for resource, limit in (given.get("limits") or {}).items():
                if quantity(limit) < quantity((given.get("requests") or {}).get(resource, "0")):
                    yield f"{title(made.owner)}: the limit of {resource} is below its request"


def what_is_kept_is_kept_once(documents: Iterable[Document]) -> Iterator[str]:
    for document in of_kind(documents, "apps/v1", "StatefulSet"):
        if name(document) in ALONE and int(document["spec"].get("replicas", 1)) != 1:
            yield f"{title(document)}: {document['spec']['replicas']} copies that know nothing of each other"


def every_function_keeps_the_house_rules(documents: list[Document]) -> Iterator[str]:
    """Probes at /healthz, no CPU limit (it multiplies the start), only its own Secrets, and the activator in the way of
    whoever counts proxies."""
    for service in services(documents):
        (made,) = pods([service])
        container = made.containers[0]
        for probe in ("readinessProbe", "livenessProbe"):
            if (container.get(probe) or {}).get("httpGet", {}).get("path") != HEALTH:
                yield f"{title(service)}: {probe} is not GET {HEALTH}"
        if "cpu" in ((container.get("resources") or {}).get("limits") or {}):
            yield f"{title(service)}: a CPU limit multiplies its start time"
        image = str(container["image"]).partition("@")[0].rpartition("/")[2].partition(":")[0]
        if image != f"waste-coach-{name(service)}":
            yield f"{title(service)}: image {image} is that of another function"
        variables = {each["name"]: each for each in container.get("env", [])}
        for variable in variables.values():
            secret = ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name", "")
            if secret.startswith(("postgres", "s3")) and not secret.endswith(f"-{name(service)}"):
                yield f"{title(service)}: {variable['name']} is another's: Secret {secret}"
        burst = notes(made.template).get(BURST)
        if "TRUSTED_PROXIES" in variables and burst != "-1":
            yield f'{title(service)}: counts the activator among its proxies and has not {BURST}: "-1"'


def every_job_ends(documents: Iterable[Document]) -> Iterator[str]:
    """Jobs have an end and say what a failed pod means; clocks do not overtake themselves or stand still."""
    for document in documents:
        spec = document.get("spec") or {}
        if document["kind"] == "CronJob":
            if spec.get("concurrencyPolicy") != "Forbid":
                told = spec.get("concurrencyPolicy", "Allow")
                yield f"{title(document)}: concurrencyPolicy {told}: two at once (Forbid)"
            if spec.get("suspend"):
                yield f"{title(document)}: suspend: it never runs"
            if not spec.get("startingDeadlineSeconds"):
                yield f"{title(document)}: no startingDeadlineSeconds: after 100 missed turns it never runs again"
            spec = (spec.get("jobTemplate") or {}).get("spec") or {}
        elif document["kind"] != "Job":
            continue
        for field in ("activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"):
            if field not in spec:
                yield f"{title(document)}: no {field}"
        if (spec.get("template") or {}).get("spec", {}).get("restartPolicy") not in ("Never", "OnFailure"):
            yield f"{title(document)}: restartPolicy of a Job is Never or OnFailure"


def jobs_run_before_a_rollout(documents: Iterable[Document]) -> Iterator[str]:
    """Jobs are PreSync hooks of Argo CD, replaced each time, and in the order in which one needs the other."""
    jobs = of_kind(documents, "batch/v1", "Job")
    waves = {name(job): str(notes(job).get("argocd.argoproj.io/sync-wave", "0")) for job in jobs}
    first = int(waves["migrate"]) if waves.get("migrate", "").lstrip("-").isdigit() else 0
    for job in jobs:
        given, wave = notes(job), waves[name(job)]
        for key, wanted in (("hook", "PreSync"), ("hook-delete-policy", "BeforeHookCreation")):
            told = given.get(f"argocd.argoproj.io/{key}")
            if told != wanted:
                yield f"{title(job)}: argocd.argoproj.io/{key} is {told}, not {wanted}"
        if name(job) != "migrate" and not (wave.lstrip("-").isdigit() and int(wave) > first):
            yield f"{title(job)}: sync-wave {wave} is not after that of migrate ({first}), whose tables it fills"


def a_rollout_leaves_somebody_to_answer(documents: Iterable[Document]) -> Iterator[str]:
    """Deployments keep a pod until its successor is ready; a budget names pods and lets a node be drained."""
    documents = list(documents)
    made = list(pods(documents))
    for document in of_kind(documents, "apps/v1", "Deployment"):
        spec = document["spec"]
        if int(spec.get("replicas", 1)) < 1:
            yield f"{title(document)}: replicas {spec['replicas']}: nobody answers"
        rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
        if str(rolling.get("maxUnavailable", "25%")) not in ("0", "0%"):
            told = rolling.get("maxUnavailable", "25%")
            yield f"{title(document)}: maxUnavailable {told}: 0, or a rollout cuts requests off"
    for document in of_kind(documents, "apps/v1", "StatefulSet"):
        headed = [e for e in of_kind(documents, "v1", "Service") if namespace(e) == namespace(document)]
        if document["spec"].get("serviceName") not in {name(each) for each in headed}:
            yield f"{title(document)}: serviceName {document['spec'].get('serviceName')}: there is no such Service"
    for budget in of_kind(documents, "policy/v1", "PodDisruptionBudget"):
        spec = budget["spec"]
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        found = [
            e for e in made if namespace(e.owner) == namespace(budget) and wanted and wanted.items() <= e.labels.items()
        ]
        if not found:
            yield f"{title(budget)}: a PodDisruptionBudget of no pod"
        copies = sum(each.replicas for each in found)
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if found and ((isinstance(least, int) and least >= copies) or str(least) == "100%" or str(most) in ("0", "0%")):
            yield f"{title(budget)}: no pod of {copies} may go: a PodDisruptionBudget that no drain gets past"


def prod_survives_one(documents: Iterable[Document], environment: str = "prod") -> Iterator[str]:
    """Where citizens are, one broker or one gateway may go: three for a majority, two for a door."""
    documents = list(documents) if environment == "prod" else []
    for cluster in of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster"):
        if int(cluster["spec"].get("replicas", 1)) < 3:
            yield f"{title(cluster)}: {cluster['spec'].get('replicas', 1)} replicas in prod: a quorum needs three"
    for document in of_kind(documents, "apps/v1", "Deployment"):
        if name(document) == "gateway" and int(document["spec"].get("replicas", 1)) < 2:
            yield f"{title(document)}: {document['spec'].get('replicas', 1)} replicas in prod: the only door"


CHECKS = [
    every_selector_finds_its_pods,
    every_clock_can_be_read,
    no_limit_is_below_its_request,
    what_is_kept_is_kept_once,
    every_function_keeps_the_house_rules,
    every_job_ends,
    jobs_run_before_a_rollout,
    a_rollout_leaves_somebody_to_answer,
]
