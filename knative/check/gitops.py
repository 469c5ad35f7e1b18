"""What Argo CD is told: pinned charts, paths that are there, an Application for each function, no drift."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from knative.check.documents import ROOT, Document, labels, name, of_kind, services, strings, title
from knative.check.versions import known

ARGO = "argoproj.io/v1alpha1"


def argo_installs_what_is_pinned(documents: list[Document], root: Path = ROOT) -> Iterator[str]:
    """Charts are of versions.yaml; folders are in this repository; every Application syncs and heals itself."""
    charts = {chart.replace("_", "-"): str(entry["version"]) for chart, entry in known(root)["charts"].items()}
    for document in [*of_kind(documents, ARGO, "Application"), *of_kind(documents, ARGO, "ApplicationSet")]:
        spec = document["spec"] if document["kind"] == "Application" else document["spec"]["template"]["spec"]
        for source in spec.get("sources") or [spec.get("source") or {}]:
            version = str(source.get("targetRevision", ""))
            if "chart" in source and version != charts.get(source["chart"]):
                wanted = charts.get(source["chart"], "none")
                yield f"{title(document)}: chart {source['chart']} {version or 'unpinned'}, versions.yaml has {wanted}"
            if "path" in source and "{{" not in source["path"] and not (root / source["path"]).is_dir():
                yield f"{title(document)}: there is no {source['path']}"
            if "chart" not in source and version in ("", "HEAD"):
                yield f"{title(document)}: no targetRevision: a branch, not whatever is the default"
        automated = (spec.get("syncPolicy") or {}).get("automated") or {}
        if "prune" not in automated:
            yield f"{title(document)}: does not say whether it prunes (data may say false)"
        if automated.get("selfHeal") is not True:
            yield f"{title(document)}: no automated selfHeal"


def every_function_has_its_application(documents: list[Document]) -> Iterator[str]:
    """The ApplicationSet of functions names each Knative Service and what the Jobs run, and none that is not there."""
    for document in of_kind(documents, ARGO, "ApplicationSet"):
        listed = {value for path, value in strings(document["spec"]["generators"]) if path.endswith(".function")}
        jobs = {labels(job).get("app.kubernetes.io/name", "") for job in of_kind(documents, "batch/v1", "Job")} - {""}
        there = {name(service) for service in services(documents)} | jobs
        for function in sorted(listed ^ there) if listed else []:
            yield f"{title(document)}: {function} is a function without an Application, or the other way round"


CHECKS = [every_function_has_its_application]
