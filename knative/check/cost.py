"""What it costs a month, from prices.yaml, and what is true of the brief's $185 and of "27 % less than EKS"."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from knative.check.documents import ROOT, Document, load
from knative.check.storage import gigabytes


class Line(NamedTuple):
    """One line of the bill: USD a month, and whether its price was found in a source."""

    what: str
    usd: float
    verified: bool


def bill(documents: list[Document], root: Path = ROOT) -> list[Line]:
    """Every line of a month: machines, disks, volumes, load balancer, addresses, storage and what is used of it."""
    plan, book = load(root / "knative/nodes.yaml"), load(root / "knative/prices.yaml")
    hours, usage = float(book["hours"]), book["usage"]
    sizes = [node["size"] for node in plan["nodes"].values()]
    disks = sum(node["disk_gb"] for node in plan["nodes"].values())
    volumes, surplus = gigabytes(documents) + _of_charts(root), usage["surplus-vcpu-hours"]
    addresses = usage["nodes-public-ipv4"] + usage["alb-public-ipv4"]
    beyond = {key: max(0.0, usage[key] - book["free"][key]) for key in book["free"]}
    return [
        *(_line(book, size, f"{sizes.count(size)} × {size}", sizes.count(size) * hours) for size in sorted(set(sizes))),
        _line(book, "t3-surplus-credit", f"CPU above T3's share, {surplus} vCPU hours", surplus),
        _line(book, "gp3", f"disks of the nodes, {disks} GB gp3", disks),
        _line(book, "gp3", f"volumes that manifests and charts claim, {volumes:.0f} GB gp3", volumes),
        _line(book, "alb", "load balancer", usage["alb"] * hours),
        _line(book, "alb-lcu", f"its capacity units, {usage['alb-lcu']} on average", usage["alb-lcu"] * hours),
        _line(book, "public-ipv4", f"{addresses} public IPv4 addresses", addresses * hours),
        _line(book, "s3", f"S3, {usage['s3-gb']} GB", usage["s3-gb"]),
        _line(book, "s3-put", f"S3, {usage['s3-puts']} writes", usage["s3-puts"] / 1000),
        _line(book, "sqs", f"SQS, {usage['sqs-million']} million requests, the first free", beyond["sqs-million"]),
        _line(book, "route53-zone", "DNS zone", usage["route53-zones"]),
        _line(book, "data-out", f"traffic out, {usage['data-out-gb']} GB, the first 100 free", beyond["data-out-gb"]),
    ]


def _of_charts(root: Path) -> float:
    """GiB that the values of charts claim (Prometheus, Grafana)."""
    texts = [file.read_text(encoding="utf-8") for file in sorted((root / "knative/argocd/values").glob("*.yaml"))]
    return sum(float(size) for text in texts for size in re.findall(r"\bstorage: (\d+)Gi\b", text))


def _line(book: dict[str, Any], price: str, what: str, many: float) -> Line:
    entry = book["prices"][price]
    return Line(what, float(entry["usd"]) * many, bool(entry["verified"]))


def verdict(documents: list[Document], root: Path = ROOT) -> list[str]:
    """The brief's two figures beside the computed ones."""
    plan, book = load(root / "knative/nodes.yaml"), load(root / "knative/prices.yaml")
    claims, hours = book["claims"], float(book["hours"])
    usd = {name: float(entry["usd"]) for name, entry in book["prices"].items()}
    ours = sum(line.usd for line in bill(documents, root))
    machines = sum(usd[node["size"]] for node in plan["nodes"].values()) * hours
    # With EKS the control plane is AWS's: its node could be a t3.medium, since monitoring and the operators stay ours.
    eks, old = usd["eks"] * hours, usd["eks-extended-support"] * hours
    smaller = (usd["t3.large"] - usd["t3.medium"]) * hours
    machine, master = claims["nodes"]["t3.large"], ours + eks - smaller
    return [
        f"This cluster: ${ours:.0f} a month ({book['region']}, on demand, checked {book['checked']}).",
        f"The brief says ${claims['cluster']}: its four machines at ${machine} and "
        f"${claims['nodes']['t3.medium']} are those of another region; here they are ${machines:.0f} alone, and load "
        f"balancer, disks, volumes and addresses are left out.",
        f"The brief says {claims['saved_percent']} % less than EKS (${claims['eks']}): the same machines under EKS "
        f"are ${ours + eks:.0f}, so kubeadm saves ${eks:.0f}, {eks / (ours + eks):.0%}; with a t3.medium for the "
        f"master, because AWS runs the control plane, ${master:.0f}, and it saves {(eks - smaller) / master:.0%}.",
        f"EKS runs 1.28 no longer; a version in extended support costs ${old:.0f} more a month.",
    ]


def table(documents: list[Document], root: Path = ROOT) -> str:
    """What `make check-cluster` prints."""
    lines = bill(documents, root)
    width = max(len(line.what) for line in lines)
    rows = [
        f"  {line.what:{width}}  {line.usd:8.2f}{'' if line.verified else '  (price not verified)'}" for line in lines
    ]
    total = f"  {'together':{width}}  {sum(line.usd for line in lines):8.2f}"
    return "\n".join(["A month in USD:", *rows, total, *verdict(documents, root)])


def every_price_says_where_it_is_from(root: Path = ROOT) -> Iterator[str]:
    """A figure nobody can check is a rumour."""
    book = load(root / "knative/prices.yaml")
    for field in ("region", "checked", "currency"):
        if not book.get(field):
            yield f"knative/prices.yaml: no {field}"
    for name, entry in book["prices"].items():
        if not isinstance(entry.get("verified"), bool) or not entry.get("source"):
            yield f"knative/prices.yaml: {name} has no source, or does not say whether it was verified"
        if not isinstance(entry.get("usd"), int | float) or entry["usd"] <= 0:
            yield f"knative/prices.yaml: {name}: usd is {entry.get('usd')}"
    variables = (root / "terraform/variables.tf").read_text(encoding="utf-8")
    region = re.search(r'variable "region" \{[^}]*default\s*=\s*"([^"]+)"', variables)
    if region and book.get("region") != region[1]:
        yield f"knative/prices.yaml: prices of {book.get('region')}, terraform/variables.tf is in {region[1]}"
    if not 720 <= float(book.get("hours", 0)) <= 744:
        yield f"knative/prices.yaml: hours {book.get('hours')}: a month has 720 to 744"
    if book.get("checked") and not isinstance(book["checked"], datetime.date):
        yield f"knative/prices.yaml: checked {book['checked']} is no date"
