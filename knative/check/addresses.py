"""Names that lead elsewhere: hosts inside the cluster, secrets that AWS keeps, and what Terraform makes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from knative.check.documents import (
    EVENTING,
    ROOT,
    Document,
    labels,
    load,
    name,
    namespace,
    of_kind,
    services,
    strings,
    title,
)

HOST = re.compile(r"\b([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.cluster\.local)?(?::(\d+))?\b")
#: one-node is told what dev's Terraform made.
MADE_FOR = {"one-node": "dev"}


def every_address_is_answered(documents: list[Document], by_hand: Sequence[Document] = ()) -> Iterator[str]:
    """A host `x.y.svc` in any text is a Service that is there, at a port that it has."""
    ports = {
        (namespace(each), name(each)): {str(port["port"]) for port in each["spec"].get("ports", [])}
        for each in of_kind(documents, "v1", "Service")
    }
    ports |= {(namespace(each), name(each)): {"80"} for each in services(documents)}
    for broker in of_kind(documents, EVENTING, "Broker"):
        ports[namespace(broker), f"{name(broker)}-broker-ingress"] = {"80"}
    for cluster in of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster"):
        ports[namespace(cluster), name(cluster)] = {"5672", "15672"}
    ours = {name(each) for each in of_kind(documents, "v1", "Namespace")}
    for document in (*documents, *by_hand):
        if document["kind"] == "ConfigMap" and not labels(document) and name(document) in ("gateway", "pipelines"):
            continue  # made from what is looked at by itself
        for path, text in strings(document):
            for called, space, port in HOST.findall(text):
                there = ports.get((space, called))
                if space in ours and there is None:
                    yield f"{title(document)}: {path}: nothing answers as {called}.{space}.svc"
                elif there and port and port not in there:
                    yield f"{title(document)}: {path}: {called}.{space}.svc has no port {port}"


def every_secret_can_be_made(documents: Iterable[Document]) -> Iterator[str]:
    """An ExternalSecret's store is there, its template uses what it fetches, and its role is that of its function."""
    documents = list(documents)
    stores = {(each["kind"], name(each)) for each in documents if each["kind"].endswith("SecretStore")}
    for secret in (each for each in documents if each["kind"] == "ExternalSecret"):
        spec = secret["spec"]
        store = spec.get("secretStoreRef") or {}
        if (store.get("kind"), store.get("name")) not in stores:
            yield f"{title(secret)}: there is no {store.get('kind')} {store.get('name')}"
        fetched = {each["secretKey"] for each in spec.get("data") or []}
        template = ((spec.get("target") or {}).get("template") or {}).get("data") or {}
        used = {word for text in template.values() for word in re.findall(r"\{\{\s*\.(\w+)", str(text))}
        for word in sorted(used - fetched):
            yield f"{title(secret)}: its template uses {word}, which is not fetched"
        for word in sorted(fetched - used) if template else []:
            yield f"{title(secret)}: {word} is fetched and its template does not use it"
        owner = name(secret).removeprefix("postgres-")
        for text in template.values() if name(secret).startswith("postgres-") else []:
            role = re.match(r"postgres(?:ql)?://([\w-]+):", str(text))
            if role and role[1] != (owner if owner != "setup" else "postgres"):
                yield f"{title(secret)}: the role {role[1]} is not that of {owner}"
        for entry in (spec.get("data") or []) if "DATABASE_URL" in template else []:
            ref = entry["remoteRef"]
            if name(secret).startswith("postgres-") and ref.get("property") not in (
                owner if owner != "setup" else "superuser",
                None,
            ):
                yield f"{title(secret)}: the password is that of {ref['property']}"


def what_aws_made_is_named(documents: list[Document], root: Path = ROOT, environment: str = "prod") -> Iterator[str]:
    """ConfigMaps say what `terraform apply` with the environment's example makes: buckets, queue, name, region."""
    example = MADE_FOR.get(environment, environment)
    file = root / f"terraform/examples/{example}.tfvars"
    told = dict(re.findall(r'(?m)^(\w+)\s*=\s*"([^"]*)"', file.read_text(encoding="utf-8")))
    variables = (root / "terraform/variables.tf").read_text(encoding="utf-8")
    found = re.search(r'variable "region" \{[^}]*default\s*=\s*"([^"]+)"', variables)
    region = told.get("region") or (found[1] if found else "")
    wanted = {
        "S3_BUCKET": told["photo_bucket"],
        "BACKUP_BUCKET": told["backup_bucket"],
        "CORS_ORIGINS": f"https://{told['domain_name']}",
        "S3_REGION": region,
        "AWS_REGION": region,
    }
    for table in of_kind(documents, "v1", "ConfigMap"):
        data = table.get("data") or {}
        for key in sorted(wanted.keys() & data.keys()):
            if data[key] != wanted[key]:
                yield f"{title(table)}: {key} is {data[key]}, terraform/examples/{example}.tfvars makes {wanted[key]}"
        queue = rf"https://sqs\.{region}\.amazonaws\.com/\d{{12}}/growbin-{example}-uploads"
        if "QUEUE_URL" in data and not re.fullmatch(queue, data["QUEUE_URL"]):
            yield f"{title(table)}: QUEUE_URL {data['QUEUE_URL']} is not growbin-{example}-uploads in {region}"
    for store in (each for each in documents if each["kind"] == "ClusterSecretStore"):
        aws = store["spec"]["provider"]["aws"]
        if (aws.get("prefix"), aws.get("region")) != (f"/growbin-{example}/", region):
            read = f"{aws.get('prefix')} in {aws.get('region')}"
            yield f"{title(store)}: reads {read}, not /growbin-{example}/ in {region}"


def every_parameter_may_be_read(documents: Iterable[Document], root: Path = ROOT) -> Iterator[str]:
    """The role of the nodes reads the parameters that terraform/variables.tf names, one by one."""
    text = (root / "terraform/variables.tf").read_text(encoding="utf-8")
    found = re.search(r'variable "secrets" \{.*?default = \[(.*?)\]', text, re.DOTALL)
    allowed = set(re.findall(r'"([\w-]+)"', found[1])) if found else set()
    for secret in (each for each in documents if each["kind"] == "ExternalSecret"):
        for entry in secret["spec"].get("data") or []:
            if entry["remoteRef"]["key"] not in allowed:
                yield f"{title(secret)}: nobody may read {entry['remoteRef']['key']} (terraform/variables.tf, secrets)"


def no_two_environments_share(root: Path = ROOT) -> Iterator[str]:
    """Each example has buckets, a name and a place for its state of its own, or one would overwrite the other's."""
    seen: dict[tuple[str, str], str] = {}
    for file in sorted((root / "terraform/examples").glob("*.*")):
        where, environment = file.relative_to(root).as_posix(), file.name.split(".")[0]
        text = file.read_text(encoding="utf-8")
        for key, value in re.findall(
            r'(?m)^(key|domain_name|photo_bucket|backup_bucket|environment)\s*=\s*"([^"]*)"', text
        ):
            if (key, value) in seen:
                yield f"{where}: {key} {value} is that of {seen[key, value]}, too"
            seen[key, value] = where
            if key in ("key", "environment") and environment not in value:
                yield f"{where}: {key} {value} is not of {environment}"


def the_cluster_is_where_terraform_knocks(root: Path = ROOT) -> Iterator[str]:
    """The gateway's NodePort and health path, days that things are kept, the inventory, locked versions."""
    folder = root / "terraform"
    if not (folder / "main.tf").is_file():
        return
    text = (folder / "variables.tf").read_text(encoding="utf-8")
    told = dict(re.findall(r'variable "(\w+)" \{[^}]*?default\s*=\s*"?([^"\n]+)"?\n', text))
    gateway = (root / "knative/edge/gateway.yaml").read_text(encoding="utf-8")
    envoy = (root / "knative/edge/envoy.yaml").read_text(encoding="utf-8")
    port, path = told.get("gateway_node_port"), told.get("gateway_health_path")
    if f"nodePort: {port}}}" not in gateway:
        yield f"terraform/variables.tf: gateway_node_port {port} is not that of knative/edge/gateway.yaml"
    if f"path: {path}\n" not in envoy:
        yield f"terraform/variables.tf: gateway_health_path {path} is no path of knative/edge/envoy.yaml"
    kept = load(root / "knative/base/config.yaml")["data"]
    for variable, least, why in (
        ("upload_days", 7, "days in which a failure can be replayed"),
        ("photo_days", int(kept["PHOTO_DAYS"]), "PHOTO_DAYS of knative/base/config.yaml"),
        ("backup_days", 6, "days of backups"),
    ):
        if not told.get(variable, "").isdigit() or int(told[variable]) <= least:
            yield f"terraform/variables.tf: {variable} {told.get(variable)} is not above {least}, the {why}"
    inventory, outputs = (
        root / "ansible/inventory/hosts.example.yml",
        (folder / "outputs.tf").read_text(encoding="utf-8"),
    )
    asked = set(re.findall(r"(?m)^ +((?:node|cluster|ansible|backup)_\w+):", inventory.read_text(encoding="utf-8")))
    for key in sorted(asked - set(re.findall(r"(\w+)\s*=", outputs))):
        yield f"terraform/outputs.tf: ansible_inventory says no {key}, which ansible/inventory/hosts.example.yml has"
    pinned = re.search(r'version = "([\d.]+)"', (folder / "versions.tf").read_text(encoding="utf-8"))
    for place in (".", "bootstrap"):
        lock = folder / place / ".terraform.lock.hcl"
        if not lock.is_file():
            yield f"{lock.relative_to(root)}: missing: the provider would be taken without a checksum"
        elif pinned and f'version     = "{pinned[1]}"' not in lock.read_text(encoding="utf-8"):
            yield f"{lock.relative_to(root)}: not of the provider {pinned[1]} (terraform providers lock)"


FILES = [the_cluster_is_where_terraform_knocks, no_two_environments_share]
