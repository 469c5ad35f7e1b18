"""What a function is told and what it reads: settings, command, paths, sockets, deliveries, and why it stays awake."""

from __future__ import annotations

import importlib
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from functions.shared.config import ConfigError, load, variables
from knative.check.capacity import deliveries
from knative.check.documents import EVENTING, ROOT, Document, labels, name, notes, of_kind, pods, services, title
from knative.check.flows import inside
from knative.local.manifests import AUTOSCALING, BEST_EFFORT, PARALLELISM

#: Read by the process around a function, not by its Settings: by functions/shared, and by functions-framework.
WATCHED = {
    "LOG_LEVEL": r"DEBUG|INFO|WARNING|ERROR",
    "METRICS": r"on|off|",
    "OTEL_EXPORTER_OTLP_ENDPOINT": r"(https?://\S+)?",
}
FRAMEWORK = {"THREADS", "WORKERS"}
#: Whom a container finds in X-Forwarded-For: the client, Kourier's gateway, the activator (knative/base/config.yaml).
PROXIES = "3"
RETENTION = AUTOSCALING + "scale-to-zero-pod-retention-period"


def _environment(service: Document) -> dict[str, Document]:
    (made,) = pods([service])
    return {variable["name"]: variable for variable in made.containers[0].get("env", [])}


def _is_event(service: Document) -> bool:
    return labels(service).get("app.kubernetes.io/component") == "event"


def _values(service: Document, maps: dict[str, Document]) -> dict[str, str]:
    """The variables with what they will be; of a Secret, a word that stands for it."""
    found: dict[str, str] = {}
    for key, variable in _environment(service).items():
        source = variable.get("valueFrom") or {}
        ref = source.get("configMapKeyRef") or {}
        told = str((maps.get(str(ref.get("name"))) or {}).get(str(ref.get("key")), "")) if ref else "secret"
        found[key] = str(variable.get("value", "")) if not source else told
    return found


def every_function_is_told_what_it_reads(documents: list[Document]) -> Iterator[str]:
    """Its Settings (functions/<name>/settings.py) are exactly its variables, and the values are of their types."""
    maps = {name(each): each.get("data") or {} for each in of_kind(documents, "v1", "ConfigMap")}
    for service in services(documents):
        who = title(service)
        try:
            settings: Any = importlib.import_module(f"functions.{name(service)}.settings").Settings
        except ImportError:
            yield f"{who}: there is no functions/{name(service)}/settings.py"
            continue
        if any("envFrom" in container for made in pods([service]) for container in made.containers):
            yield f"{who}: envFrom: everything of a Secret, where each variable is to be named"
        wanted, values = variables(settings), _values(service, maps)
        given = values.keys() - WATCHED.keys() - (FRAMEWORK if _is_event(service) else set())
        yield from (f"{who}: {variable} is read and not set" for variable in sorted(wanted - given))
        yield from (f"{who}: {variable} is set and not read" for variable in sorted(given - wanted))
        try:
            load(settings, values)
        except ConfigError as error:
            missing = {f"{variable} is not set" for variable in wanted - given}
            yield from (f"{who}: {problem}" for problem in str(error).splitlines() if problem not in missing)
        for variable in sorted(values.keys() & WATCHED.keys()):
            if not re.fullmatch(WATCHED[variable], values[variable]):
                yield f"{who}: {variable} is {values[variable]!r}, not {WATCHED[variable]}"
        if values.get("TRUSTED_PROXIES", PROXIES) != PROXIES:
            yield f"{who}: TRUSTED_PROXIES is {values['TRUSTED_PROXIES']}: client, Kourier and activator are {PROXIES}"
        if values.get("CORS_ORIGINS", "").find("*") >= 0:
            yield f"{who}: CORS_ORIGINS lets every page speak in a citizen's name"
        allowed = float(service["spec"]["template"]["spec"].get("timeoutSeconds", 300))
        timeout = values.get("MODEL_TIMEOUT_SECONDS", "0")
        if timeout.replace(".", "").isdigit() and 2 * float(timeout) >= allowed:
            yield f"{who}: MODEL_TIMEOUT_SECONDS {timeout}, two calls of which do not fit timeoutSeconds {allowed:.0f}"


def every_function_is_deployed(documents: list[Document]) -> Iterator[str]:
    """Each folder with a main.py has its Service."""
    there = {name(service) for service in services(documents)}
    for folder in sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py")):
        if folder not in there:
            yield f"functions/{folder}: no Knative Service runs it (knative/functions/kustomization.yaml lists them)"


def every_command_starts_its_function(documents: Iterable[Document]) -> Iterator[str]:
    """One process (a pod is the unit of scale) of this function, by functions-framework or gunicorn."""
    for service in services(documents):
        called = name(service)
        (made,) = pods([service])
        container = made.containers[0]
        words = [*map(str, container.get("command", [])), *map(str, container.get("args", []))]
        told = {flag: word for flag, word in itertools.pairwise(words) if flag.startswith("--")}
        if _is_event(service):
            found = [*words[:1], *(told.get(f"--{flag}") for flag in ("source", "target", "signature-type"))]
            wanted = ["functions-framework", f"functions/{called}/main.py", "main", "http"]
            workers = str(_environment(service).get("WORKERS", {}).get("value"))
        else:
            found = [*words[:1], told.get("--worker-class"), *words[-1:]]
            wanted = ["gunicorn", "gthread", f"functions.{called}.main:app"]
            workers = str(told.get("--workers"))
        if found != wanted:
            yield f"{title(service)}: started by {found}, not {wanted}"
        if workers != "1":
            yield f"{title(service)}: {workers} workers, where a process is the unit of scale"


def every_path_is_mounted(documents: Iterable[Document]) -> Iterator[str]:
    """A variable that names a path names one below a mount; the private key is auth's alone."""
    for made in pods(documents):
        for container in made.containers:
            mounts = [mount["mountPath"].rstrip("/") for mount in container.get("volumeMounts", [])]
            for variable in container.get("env", []):
                path = str(variable.get("value", ""))
                if re.match(r"/\w", path) and not any(f"{path}/".startswith(f"{mount}/") for mount in mounts):
                    yield f"{title(made.owner)}: {variable['name']} names {path}, which is not mounted"
        keys = [each for each in made.spec.get("volumes", []) if "jwt-private" in str(each)]
        if keys and name(made.owner) != "auth":
            yield f"{title(made.owner)}: only auth may hold the private key"


def every_function_has_its_place(documents: list[Document]) -> Iterator[str]:
    """`event` is who takes events, `http` who is on a route: tiers, policies and metrics go by that label."""
    taking = inside(documents)
    for service in services(documents):
        wanted = "event" if name(service) in taking else "http"
        given = labels(service).get("app.kubernetes.io/component")
        if given != wanted:
            yield f"{title(service)}: label app.kubernetes.io/component is {given}, by its Triggers it is {wanted}"
        if labels(service).get("app.kubernetes.io/name") != name(service):
            yield f"{title(service)}: label app.kubernetes.io/name is not {name(service)}: Argo CD finds it by that"


def who_asks_the_model_stays_awake(documents: Iterable[Document]) -> Iterator[str]:
    """Such a function takes seconds to start: its last pod is kept for a minute at least."""
    for service in services(documents):
        kept = notes(service["spec"]["template"]).get(RETENTION, "0s")
        seconds = int(kept[:-1]) if re.fullmatch(r"\d+s", kept) else 0
        if "OPENAI_API_KEY" in _environment(service) and seconds < 60:
            yield f"{title(service)}: asks the model and has no {RETENTION} of a minute or more"


def sockets_fit_into_their_function(documents: Iterable[Document]) -> Iterator[str]:
    """Sockets leave threads for requests, and are closed before the revision's timeout cuts them off."""
    for service in services(documents):
        env, spec = _environment(service), service["spec"]["template"]["spec"]
        sockets, seconds = (env.get(key, {}).get("value") for key in ("MAX_SOCKETS", "SOCKET_SECONDS"))
        if sockets and int(sockets) >= int(spec.get("containerConcurrency", 0)):
            yield f"{title(service)}: {sockets} sockets starve its {spec.get('containerConcurrency')} threads"
        if seconds and float(seconds) >= float(spec.get("timeoutSeconds", 300)):
            yield f"{title(service)}: a socket of {seconds} s is cut off by timeoutSeconds {spec['timeoutSeconds']}"


def deliveries_fit_into_their_function(documents: list[Document]) -> Iterator[str]:
    """A Trigger waits no longer than its function may take, and hands over no more than fits at full scale."""
    there = {name(each): each for each in services(documents)}
    sure = [e for e in of_kind(documents, EVENTING, "Trigger") if notes(e).get(BEST_EFFORT) != "true"]
    for function, parallel in deliveries(sure).items():
        if function in there:
            template = there[function]["spec"]["template"]
            scale = int(notes(template).get(AUTOSCALING + "max-scale", 1))
            room = scale * int(template["spec"].get("containerConcurrency", 1))
            if parallel > room:
                yield f"{title(there[function])}: {parallel} deliveries at once ({PARALLELISM}), room for {room}"
    for trigger in of_kind(documents, EVENTING, "Trigger"):
        for function in deliveries([trigger]):
            waits = re.fullmatch(
                r"PT(?:(\d+)M)?(?:(\d+)S)?", (trigger["spec"].get("delivery") or {}).get("timeout", "")
            )
            if waits and function in there:
                seconds = 60 * int(waits[1] or 0) + int(waits[2] or 0)
                allowed = int(there[function]["spec"]["template"]["spec"].get("timeoutSeconds", 300))
                if seconds > allowed:
                    yield f"{title(trigger)}: timeout of {seconds} s, {function} may take {allowed} s (timeoutSeconds)"


CHECKS = [
    every_function_is_deployed,
    every_function_is_told_what_it_reads,
    every_command_starts_its_function,
    every_path_is_mounted,
    every_function_has_its_place,
    who_asks_the_model_stays_awake,
    sockets_fit_into_their_function,
    deliveries_fit_into_their_function,
]
