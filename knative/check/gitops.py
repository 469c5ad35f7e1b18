"""What Argo CD is told: pinned charts, paths that are there, an Application for each function, no drift."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from knative.check.documents import (
    ROOT,
    Document,
    kind,
    labels,
    leaves,
    load,
    name,
    namespace,
    of_kind,
    services,
    strings,
    title,
)
from knative.check.render import CLUSTER_WIDE
from knative.check.security import SECRET, SECRET_NAME
from knative.check.versions import known

ARGO = "argoproj.io/v1alpha1"
REPOSITORY = "https://github.com/sesacthon/waste-coach.git"
#: The one branch that is deployed: CI writes digests into it.
BRANCH = "main"
#: What keeps data: a file that is deleted by mistake must not take it along.
NEVER_PRUNED = {"data"}
#: Options by which a sync passes over what is wrong.
OVERLOOKING = {"Validate=false", "Replace=true", "Force=true", "Prune=false"}
#: Paths below which there is everything of an object.
EVERYTHING = {"/spec", ".spec", "/", ".", "/metadata", ".metadata"}
VALUES = "knative/argocd/values"
#: Values that name a Secret or a key of one.
NAMED = re.compile(r"Secret$|Key$")
#: Values that let in who has not signed in, or from outside past the gateway: path, what it must be.
CLOSED = {
    "podMonitorSelectorNilUsesHelmValues": False, "serviceMonitorSelectorNilUsesHelmValues": False,
    "ruleSelectorNilUsesHelmValues": False, "alertmanager.enabled": True, "prometheus.enabled": True,
    "grafana.enabled": True, "dashboards.label": "grafana_dashboard", "dashboards.labelValue": "1",
    "auth.anonymous.enabled": False, "allow_sign_up": False, "cookie_secure": True, "hostNetwork": False,
    "privileged": False,
}  # fmt: skip


def _applications(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    """(object, spec) of every Application, those of an ApplicationSet too."""
    yield from ((each, each["spec"]) for each in of_kind(documents, ARGO, "Application"))
    yield from ((each, each["spec"]["template"]["spec"]) for each in of_kind(documents, ARGO, "ApplicationSet"))


def _sources(spec: Document) -> list[Document]:
    return list(spec.get("sources") or [spec.get("source") or {}])


def argo_installs_what_is_pinned(documents: list[Document], root: Path = ROOT) -> Iterator[str]:
    """Charts are of versions.yaml; folders and values are here; what is ours is of the branch that CI writes."""
    charts = {chart.replace("_", "-"): str(entry["version"]) for chart, entry in known(root)["charts"].items()}
    for document, spec in _applications(documents):
        for source in _sources(spec):
            version = str(source.get("targetRevision", ""))
            if "chart" in source and version != charts.get(source["chart"]):
                wanted = charts.get(source["chart"], "none")
                yield f"{title(document)}: chart {source['chart']} {version or 'unpinned'}, versions.yaml has {wanted}"
            if "path" in source and "{{" not in source["path"] and not (root / source["path"]).is_dir():
                yield f"{title(document)}: there is no {source['path']}"
            if "chart" not in source and version != BRANCH:
                yield f"{title(document)}: targetRevision {version or 'missing'}: the branch {BRANCH} is what CI writes"
            for file in (source.get("helm") or {}).get("valueFiles") or []:
                if not (root / file.removeprefix("$values/")).is_file():
                    yield f"{title(document)}: there is no {file}"


def argo_keeps_what_git_says(documents: list[Document]) -> Iterator[str]:
    """Every Application syncs, heals itself, and prunes all but data; nothing is overlooked or forced."""
    for document, spec in _applications(documents):
        policy, keeps = spec.get("syncPolicy") or {}, name(document) in NEVER_PRUNED
        automated = policy.get("automated") or {}
        if "prune" not in automated:
            yield f"{title(document)}: does not say whether it prunes (data may say false)"
        elif automated["prune"] is keeps:
            yield f"{title(document)}: prune is {automated['prune']}: everything but what keeps data is pruned"
        if automated.get("selfHeal") is not True:
            yield f"{title(document)}: no automated selfHeal"
        if automated.get("allowEmpty"):
            yield f"{title(document)}: allowEmpty: a folder emptied by mistake would take everything along"
        if keeps and document["metadata"].get("finalizers"):
            yield f"{title(document)}: finalizers: deleting the Application would delete the data"
        for option in sorted(OVERLOOKING & set(policy.get("syncOptions") or [])):
            yield f"{title(document)}: syncOptions {option}"
        for ignored in spec.get("ignoreDifferences") or []:
            wide = [*ignored.get("jsonPointers", []), *ignored.get("jqPathExpressions", [])]
            if EVERYTHING & set(wide) or "*" in str(ignored.get("kind")):
                yield f"{title(document)}: ignoreDifferences {ignored.get('kind')} {wide}: nothing would be healed"


def every_application_is_in_its_project(documents: list[Document]) -> Iterator[str]:
    """The project is there and lets it: its repositories, this cluster, its namespaces."""
    projects = {name(each): each["spec"] for each in of_kind(documents, ARGO, "AppProject")}
    for document, spec in _applications(documents):
        project = projects.get(spec.get("project", ""))
        if project is None:
            yield f"{title(document)}: there is no AppProject {spec.get('project')} here"
            continue
        for source in _sources(spec):
            if source.get("repoURL") not in project["sourceRepos"]:
                yield f"{title(document)}: repoURL {source.get('repoURL')} is not of the project {spec['project']}"
            if ("path" in source or "ref" in source) and source.get("repoURL") != REPOSITORY:
                yield f"{title(document)}: repoURL {source.get('repoURL')} is not this repository, {REPOSITORY}"
        to = spec.get("destination") or {}
        if {key: to.get(key) for key in ("server", "namespace")} not in project["destinations"]:
            yield f"{title(document)}: destination {to} is not of the project {spec['project']}"


def every_object_may_be_applied(documents: list[Document]) -> Iterator[str]:
    """The project of this repository lets Argo CD apply each: its namespace, or its kind where it has none."""
    projects = [each["spec"] for each in of_kind(documents, ARGO, "AppProject") if name(each) == "growbin"]
    for project in projects:
        spaces = {place["namespace"] for place in project["destinations"]}
        kinds = {(each["group"], each["kind"]) for each in project.get("clusterResourceWhitelist") or []}
        for document in documents:
            group, here = kind(document)[0].rpartition("/")[0], namespace(document)
            if document["kind"] in CLUSTER_WIDE and (group, document["kind"]) not in kinds:
                yield f"{title(document)}: no cluster-wide kind that AppProject growbin lets Argo CD apply"
            elif document["kind"] not in CLUSTER_WIDE and here not in spaces and name(document) != "config-features":
                yield f"{title(document)}: namespace {here or 'missing'} is not of AppProject growbin"


def argo_reads_this_environment(documents: list[Document], environment: str = "prod") -> Iterator[str]:
    """Every path below knative/overlays is of the environment itself."""
    for document, spec in _applications(documents):
        for source in _sources(spec):
            there = re.match(r"knative/overlays/([\w-]+)/", str(source.get("path", "")))
            if there and there[1] != environment:
                yield f"{title(document)}: path {source['path']} in {environment}"


def every_function_has_its_application(documents: list[Document]) -> Iterator[str]:
    """The ApplicationSet of functions names each Knative Service and what the Jobs run, and none that is not there."""
    for document in of_kind(documents, ARGO, "ApplicationSet"):
        named = [value for path, value in strings(document["spec"]["generators"]) if path.endswith(".function")]
        listed = set(named)
        yield from (f"{title(document)}: {each} is listed twice" for each in sorted(listed) if named.count(each) > 1)
        if listed and document["spec"].get("goTemplateOptions") != ["missingkey=error"]:
            yield f"{title(document)}: goTemplateOptions is not [missingkey=error]: a misspelt name would be nothing"
        source = document["spec"]["template"]["spec"].get("source") or {}
        for patch in (source.get("kustomize") or {}).get("patches") or [] if listed else []:
            chosen = str((patch.get("target") or {}).get("labelSelector"))
            if "$patch: delete" in str(patch.get("patch")) and "name!={{ .function }}" not in chosen:
                yield f"{title(document)}: a patch deletes {chosen}, not all but the function's own"
        jobs = {labels(job).get("app.kubernetes.io/name", "") for job in of_kind(documents, "batch/v1", "Job")} - {""}
        there = {name(service) for service in services(documents)} | jobs
        for function in sorted(listed ^ there) if listed else []:
            yield f"{title(document)}: {function} is a function without an Application, or the other way round"


def charts_open_nothing(root: Path = ROOT) -> Iterator[str]:
    """Values of charts: no password, nobody who has not signed in, no way in beside the gateway."""
    for file in sorted((root / VALUES).glob("*.yaml")):
        where, told = file.relative_to(root).as_posix(), load(file)
        for path, value in leaves(told):
            last = path.rpartition(".")[2]
            secret = isinstance(value, str) and (SECRET.search(value) or SECRET_NAME.search(last.upper()))
            if secret and not NAMED.search(last):
                yield f"{where}: {path} stands in the open"
            for ending, wanted in CLOSED.items():
                if f".{path}".endswith(f".{ending}") and value != wanted:
                    yield f"{where}: {path} is {value}, not {wanted}"
            if last == "type" and value in ("LoadBalancer", "NodePort"):
                yield f"{where}: {path}: {value}: a way in beside the gateway"
            if path.endswith("ingress.enabled") and value is True:
                yield f"{where}: {path}: a way in beside the gateway"


CHECKS = [
    every_object_may_be_applied,
    argo_keeps_what_git_says,
    every_function_has_its_application,
    every_application_is_in_its_project,
]
FILES = [charts_open_nothing]
