"""Every object against a schema that takes no unknown field: Kubernetes 1.28's own, or ours for the other kinds."""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema
import referencing.jsonschema
import yaml

from knative.check.documents import Document, kind, title

#: The version of the API server, as kubernetes-validate names it.
KUBERNETES = "v1.28.0-local-strict"

SHORT = {"fields", "needs", "each", "map", "is", "core"}

#: Kinds whose API group ends like this are Kubernetes' own.
GROUPS = "networking|rbac.authorization|storage|scheduling|apiextensions|admissionregistration".replace(".", r"\.")
OWN = re.compile(rf"^(v1|(apps|batch|autoscaling|policy|({GROUPS})\.k8s\.io)/v[0-9a-z]+)$")


#: What is applied here. Another kind does something that no check below looks at: say here why it is needed.
APPLIED = {
    "Namespace", "ConfigMap", "Service", "ServiceAccount", "Secret", "Deployment", "StatefulSet", "DaemonSet", "Job",
    "CronJob", "PersistentVolumeClaim", "StorageClass", "PodDisruptionBudget", "PriorityClass", "NetworkPolicy", "Role",
    "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Broker", "Trigger", "RabbitmqBrokerConfig", "RabbitmqCluster",
    "PingSource", "ContainerSource", "ServiceMonitor", "PodMonitor", "PrometheusRule", "AppProject", "Application",
    "ApplicationSet", "ExternalSecret", "SecretStore", "ClusterSecretStore",
}  # fmt: skip


def every_object_fits_its_schema(documents: Iterable[Document]) -> Iterator[str]:
    """Unknown kinds, unknown or missing fields, wrong types: one sentence with the path of each."""
    for document in documents:
        yield from (f"{title(document)}: {problem}" for problem in _problems(json.dumps(document, default=str)))


@functools.lru_cache(maxsize=4096)
def _problems(text: str) -> tuple[str, ...]:
    """Remembered by what the object says: most objects are the same in every environment."""
    document = json.loads(text)
    validator = _validator(*kind(document))
    if validator is not None and kind(document)[1] not in APPLIED:
        return (
            f"kind {kind(document)[1]} is not applied here: no check knows what it does (knative/check/schemas.py)",
        )
    if validator is None:
        return (f"no schema for {' '.join(kind(document))}",)
    return tuple(sentence for error in validator.iter_errors(document) for sentence in _sentences(error))


def _sentences(error: jsonschema.ValidationError) -> Iterator[str]:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path).lstrip(".")
    extra = re.findall(r"'([^']+)'", error.message) if error.validator == "additionalProperties" else []
    if extra:
        yield from (f"{path}.{field}".lstrip(".") + ": unknown field" for field in extra)
    elif error.validator == "required":
        field = error.message.split("'")[1]
        yield f"{path}.{field}".lstrip(".") + ": missing"
    else:
        yield f"{path}: {error.message[:200]}"


@functools.cache
def _validator(version: str, name: str) -> jsonschema.Draft202012Validator | None:
    if OWN.match(version):
        return _of_kubernetes(version, name)
    given = _ours()["kinds"].get(f"{version} {name}")
    if given is None:
        return None
    about = {"apiVersion": {"const": version}, "kind": {"const": name}, "metadata": {"is": "metadata"}, **given}
    needs = ["apiVersion", "kind", "metadata", *given]
    schema = {**_long({"fields": about, "needs": needs}), "$defs": _long_shapes()}
    return jsonschema.Draft202012Validator(schema, registry=_registry())


@functools.cache
def _ours() -> dict[str, Any]:
    file = importlib.resources.files("knative.check").joinpath("schemas.yaml")
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))


@functools.cache
def _long_shapes() -> dict[str, Any]:
    return {name: _long(shape) for name, shape in _ours()["shapes"].items()}


def _long(short: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema out of the short forms of schemas.yaml."""
    if "is" in short:
        return {"$ref": f"#/$defs/{short['is']}"}
    if "core" in short:
        return {"$ref": f"/api/_definitions.json#/$defs/io.k8s.api.core.v1.{short['core']}"}
    kept = {key: value for key, value in short.items() if key not in SHORT}
    if "fields" in short:
        properties = {name: _long(field) for name, field in short["fields"].items()}
        return {
            **kept, "type": "object", "properties": properties, "required": short.get("needs", []),
            "additionalProperties": False,
        }  # fmt: skip
    if "each" in short:
        return {**kept, "type": "array", "items": _long(short["each"])}
    if "map" in short:
        return {**kept, "type": "object", "additionalProperties": _long(short["map"])}
    return kept


@functools.cache
def _registry() -> Any:
    definitions = referencing.jsonschema.DRAFT202012.create_resource(_of_package("_definitions"))
    return referencing.Registry().with_resource("/api/_definitions.json", definitions).crawl()


def _of_package(name: str) -> dict[str, Any]:
    folder = importlib.resources.files("kubernetes_validate").joinpath(f"kubernetes-json-schema/{KUBERNETES}")
    return dict(json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8")))


@functools.cache
def _of_kubernetes(version: str, name: str) -> jsonschema.Draft202012Validator | None:
    group, _, number = version.rpartition("/")
    file = f"{name.lower()}-{group.split('.')[0] + '-' if group else ''}{number}"
    try:
        schema = _of_package(file)
    except FileNotFoundError:
        return None
    return jsonschema.Draft202012Validator(schema, registry=_registry())
