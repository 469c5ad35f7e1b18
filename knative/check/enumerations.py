"""What the API server refuses and its published schema does not say: words that are one of a few, and label values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from knative.check.documents import Document, kind, quantity, strings, title
from knative.check.schemas import OWN

#: Field of an object of Kubernetes' own → what may stand there.
WORDS: dict[str, set[str]] = {
    "protocol": {"TCP", "UDP", "SCTP"},
    "policyTypes": {"Ingress", "Egress"},
    "concurrencyPolicy": {"Allow", "Forbid", "Replace"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "restartPolicy": {"Always", "OnFailure", "Never"},
    "operator": {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Equal"},
    "effect": {"NoSchedule", "PreferNoSchedule", "NoExecute"},
    "accessModes": {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"},
    "reclaimPolicy": {"Retain", "Delete"},
    "volumeBindingMode": {"Immediate", "WaitForFirstConsumer"},
    "medium": {"", "Memory"},
    "whenUnsatisfiable": {"DoNotSchedule", "ScheduleAnyway"},
    "podManagementPolicy": {"OrderedReady", "Parallel"},
    "fsGroupChangePolicy": {"OnRootMismatch", "Always"},
    "dnsPolicy": {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"},
    "terminationMessagePolicy": {"File", "FallbackToLogsOnError"},
    "externalTrafficPolicy": {"Cluster", "Local"},
    "internalTrafficPolicy": {"Cluster", "Local"},
    "sessionAffinity": {"None", "ClientIP"},
    "completionMode": {"NonIndexed", "Indexed"},
}
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def every_word_is_one_of_its_few(documents: Iterable[Document]) -> Iterator[str]:
    """Enumerations of Kubernetes' own kinds."""
    for document in documents:
        if OWN.match(kind(document)[0]):
            for path, field, value in _fields(document):
                if value not in WORDS[field]:
                    yield f"{title(document)}: {path}: {value!r} is none of {', '.join(sorted(WORDS[field]))}"


def _fields(value: object, path: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, field, word) of every field that is an enumeration."""
    if isinstance(value, dict):
        for key, below in value.items():
            here = f"{path}.{key}" if path else str(key)
            words: list[Any] = below if isinstance(below, list) else [below]
            if key in WORDS:
                yield from ((here, key, word) for word in words if isinstance(word, str))
            if key not in ("data", "annotations", "labels"):
                yield from _fields(below, here)
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from _fields(below, f"{path}[{place}]")


def every_label_is_one(documents: Iterable[Document]) -> Iterator[str]:
    """Keys and values of labels, wherever they stand: the API server refuses what does not fit."""
    for document in documents:
        for path, pairs in _labels(document):
            for key, value in pairs.items():
                if not KEY.fullmatch(str(key)) or not LABEL.fullmatch(str(value)):
                    yield f"{title(document)}: {path}: {key}: {value!r} is no label"


def _labels(value: object, path: str = "") -> Iterator[tuple[str, Document]]:
    if isinstance(value, dict):
        for key, below in value.items():
            here = f"{path}.{key}" if path else str(key)
            if key in ("labels", "matchLabels", "nodeSelector") and isinstance(below, dict):
                if "matchLabels" not in below and "matchExpressions" not in below:
                    yield here, below
            else:
                yield from _labels(below, here)
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from _labels(below, f"{path}[{place}]")


def every_quantity_is_one(documents: Iterable[Document]) -> Iterator[str]:
    """Amounts of what is asked for or allowed: "20GB" is refused, "20Gi" is not."""
    for document in documents:
        for path, text in strings(document.get("spec") or {}):
            if re.search(r"\b(requests|limits)\.(cpu|memory|storage|ephemeral-storage)$|\.sizeLimit$", path):
                try:
                    quantity(text)
                except ValueError as error:
                    yield f"{title(document)}: spec.{path}: {error}"


CHECKS = [every_quantity_is_one, every_word_is_one_of_its_few, every_label_is_one]
