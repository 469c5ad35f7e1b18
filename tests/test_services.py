"""Contract: the Knative Services, the functions' Settings, the ConfigMaps and the database fit together.

Each check is a function from manifests to problems, so that a test can break a manifest and see the check notice.
"""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from functions.shared.config import variables
from knative.local.manifests import BASE, FUNCTIONS, PIPELINES, ROOT, Manifests, Service, Trigger
from knative.local.parts import MAX_CONNECTIONS

Documents = dict[str, dict[str, Any]]

HTTP = {"auth", "users", "presign", "waste", "locations", "live", "web"}
EVENT = {"ingest", "identify", "retrieve", "generate", "grade", "aggregate", "recover"}

#: Read by the process around a function, not by its Settings: functions-framework's, and what telemetry.py, metrics.py
#: and tracing.py read.
WATCHED = {"LOG_LEVEL", "METRICS", "OTEL_EXPORTER_OTLP_ENDPOINT"}
AROUND = {"event": {"THREADS", "WORKERS"} | WATCHED, "http": WATCHED}

#: Connections beside the pools: one LISTEN per process of `live`, the jobs of `setup`, an operator, superuser_reserved.
LISTENERS, SPARE = {"live": 1}, 20

#: Secrets that are made outside the repository, and the keys each has: some belong to one function alone.
MADE_ELSEWHERE = {
    **{f"postgres-{name}": {"DATABASE_URL"} for name in HTTP | EVENT},
    **{f"s3-{name}": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} for name in HTTP | EVENT},
    "redis": {"REDIS_URL"},
    "openai": {"OPENAI_API_KEY"},
    "centres": {"CENTRES_API_KEY"},
}

#: Never in a ConfigMap or in the open.
SECRET = re.compile(r"(_KEY|_SECRET|PASSWORD|TOKEN|_ACCESS_KEY_ID)$|^(DATABASE|REDIS)_URL$")


def documents() -> Documents:
    """Every Knative Service as it is written, by name."""
    files = [path for path in (ROOT / FUNCTIONS).glob("*.yaml") if path.name != "kustomization.yaml"]
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}


def container(service: dict[str, Any]) -> dict[str, Any]:
    return dict(service["spec"]["template"]["spec"]["containers"][0])


def environment(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in container(service)["env"]}


def option(service: dict[str, Any], flag: str) -> str:
    arguments = container(service)["args"]
    return str(arguments[arguments.index(flag) + 1])


def threads(service: dict[str, Any]) -> int:
    name = service["metadata"]["name"]
    return int(environment(service)["THREADS"]["value"] if name in EVENT else option(service, "--threads"))


def every_function_has_its_service(services: Documents) -> Iterator[str]:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/main.py")} - {"setup"}
    for name in sorted(folders ^ services.keys()):
        yield f"{name}: a function without a Service, or a Service without a function"
    for name, service in services.items():
        if service["metadata"]["name"] != name:
            yield f"{name}.yaml holds {service['metadata']['name']}"
    listed = yaml.safe_load((ROOT / FUNCTIONS / "kustomization.yaml").read_text())["resources"]
    if sorted(listed) != sorted(f"{name}.yaml" for name in services):
        yield "kustomization.yaml does not list every Service"


def the_environment_is_the_settings(services: Documents) -> Iterator[str]:
    for name, service in services.items():
        wanted = variables(importlib.import_module(f"functions.{name}.settings").Settings)
        given = set(environment(service)) - AROUND["event" if name in EVENT else "http"]
        for variable in sorted(wanted - given):
            yield f"{name}: {variable} is read and not set"
        for variable in sorted(given - wanted):
            yield f"{name}: {variable} is set and not read"


def every_reference_leads_somewhere(services: Documents) -> Iterator[str]:
    platform = yaml.safe_load((ROOT / BASE / "config.yaml").read_text(encoding="utf-8"))["data"]
    used: set[str] = set()
    for name, service in services.items():
        for variable, entry in environment(service).items():
            for kind, reference in entry.get("valueFrom", {}).items():
                used.add(reference["key"])
                keys = platform if kind == "configMapKeyRef" else MADE_ELSEWHERE.get(reference["name"], set())
                if kind == "configMapKeyRef" and reference["name"] != "platform":
                    keys = set()
                if reference["name"].startswith(("postgres-", "s3-")) and not reference["name"].endswith(f"-{name}"):
                    yield f"{name}: {variable} is another function's: {reference['name']}"
                if reference["key"] not in keys:
                    yield f"{name}: {variable} refers to {reference['name']}/{reference['key']}, which is not there"
            if SECRET.search(variable) and "secretKeyRef" not in entry.get("valueFrom", {}):
                yield f"{name}: {variable} is secret and not in a Secret"
    for key in sorted(platform.keys() - used):
        yield f"config.yaml: nobody reads {key}"


def files_are_below_a_mount(services: Documents) -> Iterator[str]:
    for name, service in services.items():
        mounts = [mount["mountPath"] for mount in container(service).get("volumeMounts", [])]
        for variable, entry in environment(service).items():
            path = str(entry.get("value", ""))
            if path.startswith("/") and not any(path == m or path.startswith(m + "/") for m in mounts):
                yield f"{name}: {variable} names {path}, which is not mounted"
        if "jwt-private" in str(service) and name != "auth":
            yield f"{name}: only auth may hold the private key"


def threads_are_the_concurrency(services: Documents) -> Iterator[str]:
    for name, service in services.items():
        spec = service["spec"]["template"]["spec"]
        if threads(service) != spec["containerConcurrency"]:
            yield f"{name}: {threads(service)} threads for a containerConcurrency of {spec['containerConcurrency']}"
        workers = environment(service)["WORKERS"]["value"] if name in EVENT else option(service, "--workers")
        if workers != "1":
            yield f"{name}: {workers} workers, where a process is the unit of scale"


def the_command_starts_the_function(services: Documents) -> Iterator[str]:
    for name, service in services.items():
        words = [*container(service)["command"], *container(service)["args"]]
        if name in EVENT:
            wanted = ["functions-framework", f"functions/{name}/main.py", "main", "http"]
            found = [words[0], option(service, "--source"), option(service, "--target")]
            found.append(option(service, "--signature-type"))
        else:
            wanted, found = ["gunicorn", "gthread", f"functions.{name}.main:app"], [words[0]]
            found += [option(service, "--worker-class"), words[-1]]
        if found != wanted:
            yield f"{name}: started by {found}, not {wanted}"
        if container(service)["image"] != f"ghcr.io/sesacthon/waste-coach-{name}:dev":
            yield f"{name}: image {container(service)['image']}"


def connections_fit_the_database(services: Documents) -> Iterator[str]:
    total = SPARE
    for name, service in services.items():
        scale = int(service["spec"]["template"]["metadata"]["annotations"].get("autoscaling.knative.dev/max-scale", 0))
        if not scale:
            yield f"{name}: no max-scale, so no limit to its connections"
        pool = environment(service).get("POOL_SIZE", {"value": "0"})
        if "DATABASE_URL" in environment(service) and "POOL_SIZE" not in environment(service):
            yield f"{name}: a database and no POOL_SIZE"
        total += scale * (int(pool["value"]) + LISTENERS.get(name, 0))
    if total > MAX_CONNECTIONS:
        yield f"{total} connections at full scale for max_connections = {MAX_CONNECTIONS}"


def the_cluster_would_take_it(services: Documents) -> Iterator[str]:
    """Pod Security "restricted", what Knative's webhook refuses, and what keeps a small cluster alive."""
    for name, service in services.items():
        pod, one = service["spec"]["template"]["spec"], container(service)
        safe = one.get("securityContext", {})
        if (
            not all(safe.get(wish) for wish in ("runAsNonRoot", "readOnlyRootFilesystem"))
            or safe.get("allowPrivilegeEscalation") is not False
            or safe.get("capabilities") != {"drop": ["ALL"]}
            or safe.get("seccompProfile") != {"type": "RuntimeDefault"}
        ):
            yield f"{name}: not a restricted securityContext"
        if service["metadata"].get("labels", {}).get("networking.knative.dev/visibility") != "cluster-local":
            yield f"{name}: reachable from outside without the gateway"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: carries a token of the Kubernetes API"
        if "cpu" in one["resources"].get("limits", {}):
            yield f"{name}: a CPU limit multiplies its start time"
        asked, allowed = one["resources"].get("requests", {}), one["resources"].get("limits", {})
        if asked.keys() != {"cpu", "memory"} or "memory" not in allowed:
            yield f"{name}: requests for CPU and memory and a limit for memory are needed"
        for probe in ("readinessProbe", "livenessProbe"):
            if one.get(probe, {}).get("httpGet") != {"path": "/healthz"}:
                yield f"{name}: {probe} is not GET /healthz"
        if not 1 <= pod["timeoutSeconds"] <= 600:
            yield f"{name}: timeoutSeconds beyond Knative's own limit"


def sockets_fit_into_live(services: Documents) -> Iterator[str]:
    live = services["live"]
    sockets = int(environment(live)["MAX_SOCKETS"]["value"])
    if sockets >= threads(live):
        yield f"live: {sockets} sockets starve its {threads(live)} threads"
    if float(environment(live)["SOCKET_SECONDS"]["value"]) >= live["spec"]["template"]["spec"]["timeoutSeconds"]:
        yield "live: a socket is cut off by the revision's timeout before it is closed"


def triggers_fit_into_their_functions(services: Documents) -> Iterator[str]:
    """Parallel deliveries beyond what the function may take at full scale only wait, and run into their timeout."""
    asked: dict[str, int] = {}
    for trigger in Manifests.load(ROOT, (BASE, PIPELINES)).all(Trigger).values():
        name = trigger.spec.subscriber["uri"].split("//")[1].split(".")[0]
        asked[name] = asked.get(name, 0) + (0 if trigger.best_effort else trigger.parallelism)
        delivery, allowed = trigger.spec.delivery, services[name]["spec"]["template"]["spec"]["timeoutSeconds"]
        if delivery is None or delivery.timeout is None or delivery.timeout.total_seconds() > allowed:
            yield f"{trigger.name}: waits longer than {name} may take ({allowed} s)"
    for name, parallel in asked.items():
        spec = services[name]["spec"]["template"]
        scale = int(spec["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"])
        if parallel > scale * spec["spec"]["containerConcurrency"]:
            yield f"{name}: {parallel} deliveries at once, room for {scale * spec['spec']['containerConcurrency']}"


CHECKS: list[Callable[[Documents], Iterator[str]]] = [
    every_function_has_its_service,
    the_environment_is_the_settings,
    every_reference_leads_somewhere,
    files_are_below_a_mount,
    threads_are_the_concurrency,
    the_command_starts_the_function,
    connections_fit_the_database,
    the_cluster_would_take_it,
    sockets_fit_into_live,
    triggers_fit_into_their_functions,
]


def problems(services: Documents) -> list[str]:
    return [problem for check in CHECKS for problem in check(services)]


def test_the_services_keep_the_contract() -> None:
    assert problems(documents()) == []


def test_the_strict_reader_takes_them() -> None:
    read = Manifests.load().all(Service)
    assert read.keys() == HTTP | EVENT
    assert {service.host for service in read.values()} >= {"identify.growbin.svc.cluster.local"}


def _without(name: str, services: Documents, variable: str) -> None:
    env = container(services[name])["env"]
    env.remove(next(entry for entry in env if entry["name"] == variable))


def _template(services: Documents, name: str) -> dict[str, Any]:
    return dict(services[name]["spec"]["template"])


BREAKS: dict[str, tuple[Callable[[Documents], object], str]] = {
    "a variable is forgotten": (
        lambda s: _without("identify", s, "OPENAI_MODEL"),
        "identify: OPENAI_MODEL is read and not set",
    ),
    "a variable nobody reads": (
        lambda s: container(s["web"])["env"].append({"name": "COLOUR", "value": "green"}),
        "web: COLOUR is set and not read",
    ),
    "a reference to nowhere": (
        lambda s: environment(s["ingest"])["S3_BUCKET"]["valueFrom"]["configMapKeyRef"].update(key="BUCKET"),
        "ingest: S3_BUCKET refers to platform/BUCKET, which is not there",
    ),
    "another function's role": (
        lambda s: environment(s["ingest"])["DATABASE_URL"]["valueFrom"]["secretKeyRef"].update(
            name="postgres-auth"
        ),
        "ingest: DATABASE_URL is another function's: postgres-auth",
    ),
    "a secret in the open": (
        lambda s: environment(s["auth"])["DATABASE_URL"].pop("valueFrom"),
        "auth: DATABASE_URL is secret and not in a Secret",
    ),
    "a mount is gone": (
        lambda s: container(s["recover"])["volumeMounts"].clear(),
        "recover: PIPELINES_DIR names /etc/growbin/pipelines, which is not mounted",
    ),
    "threads unlike the concurrency": (
        lambda s: _template(s, "waste")["spec"].update(containerConcurrency=99),
        "waste: 16 threads for a containerConcurrency of 99",
    ),
    "threads of an event function": (
        lambda s: environment(s["generate"])["THREADS"].update(value="3"),
        "generate: 3 threads for a containerConcurrency of 8",
    ),
    "too many processes": (
        lambda s: _template(s, "waste")["metadata"]["annotations"].update({"autoscaling.knative.dev/max-scale": "90"}),
        "connections at full scale for max_connections",
    ),
    "no limit of processes": (
        lambda s: _template(s, "auth")["metadata"]["annotations"].pop("autoscaling.knative.dev/max-scale"),
        "auth: no max-scale",
    ),
    "another function's program": (
        lambda s: container(s["identify"])["args"].__setitem__(1, "functions/generate/main.py"),
        "identify: started by",
    ),
    "root": (lambda s: container(s["live"])["securityContext"].pop("runAsNonRoot"), "live: not a restricted"),
    "a CPU limit": (
        lambda s: container(s["retrieve"])["resources"]["limits"].update(cpu="1"),
        "retrieve: a CPU limit",
    ),
    "open to the world": (lambda s: s["auth"]["metadata"]["labels"].clear(), "auth: reachable from outside"),
    "a probe elsewhere": (
        lambda s: container(s["web"])["readinessProbe"]["httpGet"].update(path="/"),
        "web: readinessProbe",
    ),
    "sockets on every thread": (lambda s: environment(s["live"])["MAX_SOCKETS"].update(value="72"), "starve"),
    "a function without Service": (lambda s: s.pop("web"), "web: a function without a Service"),
    "less room than deliveries": (
        lambda s: _template(s, "ingest")["metadata"]["annotations"].update({"autoscaling.knative.dev/max-scale": "1"}),
        "ingest: 16 deliveries at once, room for 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_manifest_is_noticed(name: str) -> None:
    broken = copy.deepcopy(documents())
    change, complaint = BREAKS[name]
    change(broken)
    assert any(complaint in problem for problem in problems(broken)), problems(broken)
