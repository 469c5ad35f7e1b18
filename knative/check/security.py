"""Who may do what, what runs as whom, which image, and that no secret stands in the open."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from knative.check.documents import (
    ROOT,
    Document,
    Pods,
    labels,
    name,
    namespace,
    of_kind,
    pods,
    quantity,
    strings,
    title,
)

RBAC = "rbac.authorization.k8s.io/v1"
#: Texts that are a secret by their shape: keys of AWS, OpenAI, GitHub; private keys; an address with a password; a JWT.
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?<![a-z+])[a-z+]{2,20}://[^/\s:@$]{1,100}:[^/\s@$({<]+@|\beyJ[A-Za-z0-9_-]{20,}\.eyJ"
)
#: Names of variables and settings whose value is a secret.
SECRET_NAME = re.compile(
    r"(_KEY|_SECRET|PASSWORD|TOKEN|_ACCESS_KEY_ID|_PASS)$|^(DATABASE|REDIS|AMQP|POSTGRES|RABBIT\w*)_URL$"
)
#: A flag of a command that takes a secret; `$(VARIABLE)` and the path of a file are not in the open.
SECRET_FLAG = re.compile(r"^(?P<flag>--?[\w-]*(pass|password|token|secret))(=(?P<value>.*))?$")
#: Resources by which one becomes somebody else.
POWERS = {
    "secrets", "pods/exec", "pods/attach", "pods/portforward", "nodes/proxy", "services/proxy", "pods/proxy",
    "serviceaccounts/token", "certificatesigningrequests/approval",
}  # fmt: skip
#: Fields by which a pod goes its own way.
ODD = {"dnsPolicy", "dnsConfig", "hostAliases", "hostname", "nodeName", "runtimeClassName", "schedulerName"}
ROLES = ("Role", "ClusterRole")
MOVING = ("latest", "main", "master", "stable")
IMAGE = re.compile(
    r"^(?P<name>[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+)(:(?P<tag>[\w.-]+))?(@(?P<digest>sha256:[0-9a-f]{64}))?$"
)


def nobody_may_do_everything(documents: Iterable[Document]) -> Iterator[str]:
    """RBAC without `*`, and without what makes one somebody else."""
    documents = list(documents)
    for role in (role for kind in ROLES for role in of_kind(documents, RBAC, kind)):
        for rule in role.get("rules") or []:
            for field in ("verbs", "resources", "apiGroups", "nonResourceURLs"):
                if any("*" in str(value) for value in rule.get(field) or []):
                    yield f"{title(role)}: {field} with *"
            if {"escalate", "bind", "impersonate"} & set(rule.get("verbs") or []):
                yield f"{title(role)}: may give itself any right"
            for resource in sorted(POWERS & set(rule.get("resources") or [])):
                if resource != "secrets" or not rule.get("resourceNames"):
                    yield f"{title(role)}: {resource}: as good as every right of whoever runs there"
        if any(key.startswith("rbac.authorization.k8s.io/aggregate-to") for key in labels(role)):
            yield f"{title(role)}: adds its rights to a role that others have"


def rights_go_to_who_is_there(documents: Iterable[Document]) -> Iterator[str]:
    """Bindings: of roles of ours, without cluster-admin, to accounts of ours, never to everybody."""
    documents = list(documents)
    roles = {(each["kind"], namespace(each), name(each)) for each in documents if each["kind"] in ROLES}
    accounts = {(namespace(each), name(each)) for each in of_kind(documents, "v1", "ServiceAccount")}
    for binding in (each for kind in ROLES for each in of_kind(documents, RBAC, f"{kind}Binding")):
        ref = binding["roleRef"]
        if ref["name"] in ("cluster-admin", "admin", "edit"):
            yield f"{title(binding)}: binds {ref['name']}"
        if (ref["kind"], namespace(binding) if ref["kind"] == "Role" else "", ref["name"]) not in roles:
            yield f"{title(binding)}: there is no {ref['kind']} {ref['name']} here"
        for subject in binding.get("subjects") or []:
            place = (subject.get("namespace", namespace(binding)), subject["name"])
            if subject["name"].startswith("system:"):
                yield f"{title(binding)}: gives rights to everybody in {subject['name']}"
            if subject["kind"] == "ServiceAccount" and subject["name"] == "default":
                yield f"{title(binding)}: gives rights to every pod without an account of its own"
            elif subject["kind"] == "ServiceAccount" and place not in accounts:
                yield f"{title(binding)}: there is no ServiceAccount {'/'.join(place)}"


def no_project_takes_everything(documents: Iterable[Document]) -> Iterator[str]:
    """Argo CD applies what a project lets it: named repositories, named namespaces, named cluster-wide kinds."""
    for project in of_kind(documents, "argoproj.io/v1alpha1", "AppProject"):
        for field in ("sourceRepos", "destinations", "clusterResourceWhitelist", "roles"):
            if any("*" in value for _, value in strings(project["spec"].get(field) or [])):
                yield f"{title(project)}: {field} with *"


def nobody_in_aws_may_do_everything(root: Path = ROOT) -> Iterator[str]:
    """Terraform's policies: no action `*` or `service:*` is allowed, no writing action on every resource."""
    for file in sorted((root / "terraform").rglob("*.tf")):
        for body in _blocks(file.read_text(encoding="utf-8"), "statement"):
            where, denied = file.relative_to(root), re.search(r'effect\s*=\s*"Deny"', body)
            actions = re.findall(r'"([^"]*)"', _list(body, "actions"))
            for action in actions:
                if not denied and "*" in action and not re.match(r"[\w-]+:(Describe|List|Get)", action):
                    yield f"{where}: allows {action}"
            reading = all(re.match(r"[\w-]+:(Describe|List|Get|Modify\w*Attribute$)", action) for action in actions)
            if not denied and '"*"' in _list(body, "resources") and not reading and "condition" not in body:
                yield f"{where}: allows {', '.join(actions)} on every resource"
            if not denied and '"*"' in _list(body, "identifiers") and "condition" not in body:
                yield f"{where}: allows everybody"
        for body in re.findall(r"jsonencode\((.*?)\n\s*\}\)", file.read_text(encoding="utf-8"), re.DOTALL):
            if re.search(r'"?(Action|Resource)"?\s*[=:]\s*\[?\s*"(\*|[a-z0-9]+:\*)"', body) and "Deny" not in body:
                yield f"{file.relative_to(root)}: a policy with *"


def the_world_reaches_the_load_balancer_alone(root: Path = ROOT) -> Iterator[str]:
    """Terraform's rules: from everywhere only to the load balancer; SSH and the API server by named networks."""
    for file in sorted((root / "terraform").rglob("*.tf")):
        text = file.read_text(encoding="utf-8")
        for body in _blocks(text, r'resource "aws_vpc_security_group_ingress_rule" "[\w-]+"'):
            ports = re.findall(r"(?:from|to)_port\s*=\s*(\S+)", body)
            if ("0.0.0.0/0" in body or "::/0" in body) and (
                "aws_security_group.alb." not in body or set(ports) - {"80", "443"}
            ):
                yield f"{file.relative_to(root)}: the world reaches ports {', '.join(ports) or 'of any number'}"
    for file in sorted((root / "terraform").rglob("*.tfvars")):
        for networks in re.findall(r"admin_networks\s*=\s*\{([^}]*)\}", file.read_text(encoding="utf-8")):
            if re.search(r"/(0|[1-9]|1[0-5])\"", networks):
                yield f"{file.relative_to(root)}: admin_networks wider than /16"


def _blocks(text: str, wanted: str) -> Iterator[str]:
    """The bodies of HCL blocks `wanted { … }`, braces counted."""
    for found in re.finditer(rf"^\s*{wanted}\s*\{{", text, re.MULTILINE):
        depth, place = 1, found.end()
        while depth and place < len(text):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            place += 1
        yield text[found.end() : place]


def _list(body: str, field: str) -> str:
    found = re.search(rf"\b{field}\s*=\s*\[(.*?)\]", body, re.DOTALL)
    return found[1] if found else ""


def every_pod_is_restricted(documents: Iterable[Document]) -> Iterator[str]:
    """Pod Security "restricted", and a root file system nobody can write to, for every container we write ourselves."""
    for made in pods(documents):
        for each in made.containers:
            who = f"{title(made.owner)}: container {each.get('name', '')}".rstrip()
            yield from (f"{who}: {problem}" for problem in _loose(made, each))
        for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if made.spec.get(field):
                yield f"{title(made.owner)}: {field}"
        if (made.spec.get("securityContext") or {}).get("sysctls"):
            yield f"{title(made.owner)}: sysctls of its node"
        for volume in made.spec.get("volumes", []):
            if int((volume.get("secret") or {}).get("defaultMode", 0o400)) & 0o022:
                yield f"{title(made.owner)}: volume {volume['name']}: defaultMode: others may write a Secret"
            if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
                yield f"{title(made.owner)}: volume {volume['name']}: an emptyDir without a sizeLimit fills the node"
        if any("hostPath" in volume for volume in made.spec.get("volumes", [])):
            yield f"{title(made.owner)}: a hostPath of the node"
        if made.spec.get("automountServiceAccountToken") is not False:
            yield f"{title(made.owner)}: carries a token of the Kubernetes API it does not need"


def no_pod_goes_its_own_way(documents: Iterable[Document]) -> Iterator[str]:
    """Names, places and groups are those of all others; what is held in memory fits into it."""
    for made in pods(documents):
        for field in sorted(ODD & made.spec.keys()):
            yield f"{title(made.owner)}: {field}: a pod of ours goes by names and places like all others"
        pod = made.spec.get("securityContext") or {}
        if "fsGroup" in pod and pod["fsGroup"] != pod.get("runAsGroup"):
            yield f"{title(made.owner)}: fsGroup {pod['fsGroup']} is not its group {pod.get('runAsGroup')}"
        held = [e["emptyDir"]["sizeLimit"] for e in made.spec.get("volumes", []) if _in_memory(e)]
        limits = [((each.get("resources") or {}).get("limits") or {}).get("memory", "0") for each in made.containers]
        if sum(map(quantity, held)) > sum(map(quantity, limits)):
            yield f"{title(made.owner)}: emptyDirs in memory of {', '.join(held)} against limits of {', '.join(limits)}"


def _in_memory(volume: Document) -> bool:
    held = volume.get("emptyDir") or {}
    return held.get("medium") == "Memory" and "sizeLimit" in held


def _loose(made: Pods, container: Document) -> Iterator[str]:
    pod, safe = made.spec.get("securityContext") or {}, container.get("securityContext") or {}
    if safe.get("privileged"):
        yield "privileged"
    if not safe.get("runAsNonRoot", pod.get("runAsNonRoot")) or safe.get("runAsUser", pod.get("runAsUser")) == 0:
        yield "may run as root (runAsNonRoot)"
    if 0 in (safe.get("runAsGroup", pod.get("runAsGroup")), pod.get("fsGroup"), *(pod.get("supplementalGroups") or [])):
        yield "in root's group (runAsGroup, fsGroup, supplementalGroups)"
    if safe.get("procMount", "Default") != "Default":
        yield f"procMount {safe['procMount']}"
    yield from (f"hostPort {p['hostPort']}: a door of the node" for p in container.get("ports", []) if "hostPort" in p)
    if container.get("imagePullPolicy", "IfNotPresent") == "Never":
        yield "imagePullPolicy Never: no node has the image before it is pulled"
    if safe.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root file system (readOnlyRootFilesystem)"
    if safe.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges (allowPrivilegeEscalation)"
    if (safe.get("capabilities") or {}).get("drop") != ["ALL"] or (safe.get("capabilities") or {}).get("add"):
        yield "keeps capabilities"
    if (safe.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield "no seccompProfile RuntimeDefault"


def every_container_says_what_it_needs(documents: Iterable[Document]) -> Iterator[str]:
    """Requests for CPU and memory, and a limit of memory, or nobody can add them up."""
    for made in pods(documents):
        for each in made.containers:
            given = each.get("resources") or {}
            missing = {"cpu", "memory"} - (given.get("requests") or {}).keys()
            who = f"{title(made.owner)}: container {each.get('name', '')}".rstrip()
            yield from (f"{who}: no request for {resource}" for resource in sorted(missing))
            for what, told in given.items():
                if quantity(told.get("memory", "1Gi")) < 2**22:
                    yield f"{who}: {what} of {told['memory']} of memory: less than 4 MiB (Mi?)"
            if "memory" not in (given.get("limits") or {}):
                yield f"{who}: no limit of memory"
    for cluster in of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster"):
        told = cluster["spec"].get("resources") or {}
        given, most = told.get("requests") or {}, (told.get("limits") or {}).get("memory")
        yield from (f"{title(cluster)}: no request for {each}" for each in sorted({"cpu", "memory"} - given.keys()))
        if most is None or most != given.get("memory"):
            asked = given.get("memory")
            yield f"{title(cluster)}: limit of memory {most}, request {asked}: RabbitMQ sets its watermark by both"


def every_image_is_pinned(documents: Iterable[Document], digests: bool = False) -> Iterator[str]:
    """A tag that is not `latest`, or a digest. `digests` asks for a digest of every image of ours."""
    for document in documents:
        for path, value in strings(document.get("spec") or {}):
            if path.rpartition(".")[2] != "image" or "configMap" in path:
                continue
            found = IMAGE.match(value)
            if not found:
                yield f"{title(document)}: {value!r} is not a full image name (registry/name:tag)"
            elif not found["tag"] and not found["digest"]:
                yield f"{title(document)}: image {value} has neither tag nor digest"
            elif found["tag"] in MOVING and not found["digest"]:
                yield f"{title(document)}: image {value} is another tomorrow"
            elif digests and not found["digest"] and "waste-coach-" in value:
                yield f"{title(document)}: image {value} has no digest"


def every_image_in_a_file_is_pinned(root: Path = ROOT) -> Iterator[str]:
    """Also where an overlay names another tag: the next overlay may forget to."""
    for file in sorted((root / "knative").rglob("*.yaml")):
        for image in re.findall(
            r"(?m)^\s*(?:- )?image: *[\"']?([^\s\"'{]+)[\"']?\s*$", file.read_text(encoding="utf-8")
        ):
            found = IMAGE.match(image)
            if not found or not (found["digest"] or found["tag"]) or found["tag"] in MOVING:
                yield f"{file.relative_to(root)}: image {image} is another tomorrow"


def no_secret_stands_in_the_open(documents: Iterable[Document]) -> Iterator[str]:
    """Secrets are made elsewhere and named here: no Secret with data, no value that is one."""
    for document in documents:
        if document["kind"] == "Secret" and (document.get("data") or document.get("stringData")):
            yield f"{title(document)}: a Secret with its data"
        for path, value in strings(document):
            if SECRET.search(value):
                yield f"{title(document)}: {path} looks like a secret"
        if document["kind"] == "ConfigMap":
            for key, value in (document.get("data") or {}).items():
                if SECRET_NAME.search(key) and value:
                    yield f"{title(document)}: {key} belongs into a Secret"


def no_container_is_told_a_secret(documents: Iterable[Document]) -> Iterator[str]:
    """Neither by a variable with a value nor by an argument of its command."""
    for made in pods(documents):
        for each in made.containers:
            for variable in each.get("env", []):
                if SECRET_NAME.search(variable["name"]) and variable.get("value"):
                    yield f"{title(made.owner)}: {variable['name']} stands in the open"
            words = [*each.get("command", []), *each.get("args", [])]
            for word, after in zip(words, [*words[1:], ""], strict=True):
                told = SECRET_FLAG.match(word)
                if told and not (told["value"] or after).startswith(("$(", "/")):
                    yield f"{title(made.owner)}: {told['flag']} is told in the open"


CHECKS = [
    nobody_may_do_everything,
    rights_go_to_who_is_there,
    no_project_takes_everything,
    every_pod_is_restricted,
    no_pod_goes_its_own_way,
    every_container_says_what_it_needs,
    no_secret_stands_in_the_open,
    no_container_is_told_a_secret,
]
