"""What ansible-lint does not know of ansible/: names that lead somewhere, who may read what, and what a node must be.

The lint itself at its strictest is run beside these (knative/check/tools.py); that nobody loosens it is checked here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import yaml

from knative.check.documents import ROOT, load, strings
from knative.check.security import SECRET, SECRET_NAME

#: Files that only root may read, whatever their folder.
SECRET_FILES = re.compile(r"(join\.yaml|kubeadm\.yaml|\.env|\.key|\.conf/secret|admin\.conf|kubelet\.conf)$")
#: Commands that print what nobody may read.
SECRET_WORDS = re.compile(r"token create|--print-join-command|get secrets?\b|api/token|metadata-token", re.IGNORECASE)
#: Flags and commands that look away, or let everybody in.
LOOSE = re.compile(
    r"--ignore-preflight-errors|--validate=false|--insecure-skip-tls-verify|--insecure\b|chmod\s+(-R\s+)?[0-7]?777"
    r"|--no-check-certificate|--allow-unauthenticated|--force-yes|setenforce 0|ufw disable"
)
#: Settings of the kubelet, the API server, etcd and containerd that do the same.
OPEN = re.compile(
    r'anonymous-auth: "?true|AlwaysAllow|insecure-port|readOnlyPort: [1-9]|failSwapOn: false|seccompDefault: false'
    r"|rotateCertificates: false|insecure_skip_verify\s*=\s*true|(?:bind-address|metricsBindAddress): \"?0\.0\.0\.0"
    r"|listen-(?:client|metrics|peer)-urls: http://0\.0\.0\.0|StrictHostKeyChecking=no|UserKnownHostsFile=/dev/null"
)
PINNED = re.compile(r"\b(kubelet|kubeadm|kubectl|containerd|kubernetes_packages)\b")
#: Each role needs what those before it made.
ORDER = (
    "common",
    "containerd",
    "kubernetes",
    "control_plane",
    "calico",
    "storage",
    "worker",
    "tiers",
    "knative",
    "argocd",
)
#: The pause image that kubeadm of a minor version of Kubernetes expects.
PAUSE = {"1.28": "3.9", "1.29": "3.9", "1.30": "3.9", "1.31": "3.10"}
KUBEADM = "control_plane/templates/kubeadm.yaml.j2"
MODULES = ("command", "shell", "raw", "script")
JINJA = jinja2.Environment(autoescape=False)  # noqa: S701  (parsed, never rendered)


class _Any(dict[str, Any]):
    """Ansible's filters and tests: whichever is named is there (its linter knows them)."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, default) or str


JINJA.filters, JINJA.tests = _Any(JINJA.filters), _Any(JINJA.tests)
#: Ansible's own variables.
MAGIC = {
    "ansible_check_mode", "ansible_facts", "ansible_managed", "groups", "hostvars", "inventory_hostname", "item",
    "lookup",
    "omit", "playbook_dir", "query", "range", "role_path",
}  # fmt: skip
ACTIONS = {"template": "templates", "copy": "files"}


def every_task_is_careful(root: Path = ROOT) -> Iterator[str]:
    """Modes, secrets in logs, addresses without TLS, packages that float or are let go, drains that ask nobody."""
    for where, task in _tasks(root):
        here = f"{where}: {task.get('name', 'a task without a name')}"
        body = {key.rpartition(".")[2]: value for key, value in task.items()}
        for module, told in body.items():
            if isinstance(told, dict):
                yield from (f"{here}: {problem}" for problem in _module(module, told))
        words = yaml.safe_dump({key: body[key] for key in (*MODULES, "uri") if key in body})
        if task.get("failed_when") is False and "register" not in task:
            yield f"{here}: failed_when: false, and nobody looks at what came of it (register)"
        if "until" in task and str(task.get("retries", 3)) == "0":
            yield f"{here}: until without retries"
        if SECRET_WORDS.search(words) and task.get("no_log") is not True:
            yield f"{here}: without no_log: true what it is told stands in every log"
        if re.search(r"kubectl.* drain\b", words) and re.search(r"--force|--disable-eviction", words):
            yield f"{here}: a drain that asks no PodDisruptionBudget and takes what nobody brings back"
        if found := LOOSE.search(words):
            yield f"{here}: {found[0]}"
        for path, text in strings(task):
            if "# noqa" in text or path == "noqa":
                yield f"{here}: noqa: the linter is told to look away"


def what_is_secret_is_taken_away(root: Path = ROOT) -> Iterator[str]:
    """The token by which a node joins is removed whatever happens (always, state: absent)."""
    for file in sorted((root / "ansible/roles").glob("*/tasks/*.yml")):
        for part in load(file) or []:
            block = yaml.safe_dump(part.get("block", [])) if isinstance(part, dict) else ""
            if re.search(r"dest: .*join\.yaml", block):
                gone = yaml.safe_dump(part.get("always", []))
                if not re.search(r"join\.yaml", gone) or "state: absent" not in gone:
                    yield f"{file.relative_to(root)}: {part.get('name')}: join.yaml with its token stays (always)"


def _module(module: str, told: dict[str, Any]) -> Iterator[str]:
    if "mode" in told and isinstance(told["mode"], str) and re.fullmatch(r"0?[0-7]{3,4}", told["mode"]):
        mode, place = int(told["mode"], 8), str(told.get("dest", told.get("path", "")))
        if mode & 0o022:
            yield f"mode {told['mode']}: others than its owner may write"
        if SECRET_FILES.search(place) and mode & 0o077:
            yield f"mode {told['mode']} of {place}: only its owner may read it (0600)"
    if told.get("validate_certs") in (False, "no", "false"):
        yield "validate_certs: false trusts whoever answers"
    if told.get("allow_unauthenticated") or told.get("disable_gpg_check"):
        yield "packages that nobody signed"
    if module == "apt" and PINNED.search(str(told.get("name"))) and "=" not in str(told["name"]):
        yield f"{told['name']}: without a version it is whatever the archive has that day"
    if module == "dpkg_selections" and told.get("selection") != "hold":
        yield f"selection {told.get('selection')}: unattended upgrades would restart the node's pods (hold)"


def every_name_leads_somewhere(root: Path = ROOT) -> Iterator[str]:
    """Templates, files, handlers and roles are there."""
    folder = root / "ansible/roles"
    for role in sorted(path for path in folder.glob("*") if path.is_dir()):
        tasks = [(where, task) for where, task in _tasks(root) if where.startswith(f"ansible/roles/{role.name}/")]
        handlers = {str(task.get("name")) for where, task in tasks if "/handlers/" in where}
        for where, task in tasks:
            notified = task.get("notify") or []
            for handler in [notified] if isinstance(notified, str) else notified:
                if handler not in handlers:
                    yield f"{where}: {task.get('name')}: notify: there is no handler {handler!r}"
            for action, place in ACTIONS.items():
                source = (task.get(f"ansible.builtin.{action}") or {}).get("src", "")
                if source and "{{" not in source and not (role / place / source).is_file():
                    yield f"{where}: {task.get('name')}: there is no {place}/{source}"
    there = {path.name for path in folder.glob("*")}
    for where, play in _plays(root):
        for each in play.get("roles") or []:
            named = each if isinstance(each, str) else each.get("role")
            if named not in there:
                yield f"{where}: {play.get('name')}: there is no role {named}"
    if root.joinpath("ansible/site.yml").is_file():
        yield from _site(root, there)


def every_variable_is_set(root: Path = ROOT) -> Iterator[str]:
    """What expressions and templates read is a key somewhere in ansible/, registered, or Ansible's own."""
    base = root / "ansible"
    texts = {
        file: file.read_text(encoding="utf-8")
        for file in sorted(base.rglob("*"))
        if file.suffix in (".yml", ".j2") and ".ansible" not in file.parts
    }
    told = {word for file, text in texts.items() if file.suffix == ".yml" for word in re.findall(r"(\w+):", text)}
    for text in texts.values():
        told |= set(re.findall(r"(?:register|loop_var): *(\w+)", text))
        told |= {word for pair in re.findall(r"(\w+) \| default\(|(\w+) is (?:not )?defined", text) for word in pair}
    for file, text in texts.items():
        where, parts = file.relative_to(root), [text]
        if file.suffix == ".yml":
            parts = [part for path, part in strings(load(file)) if "{{" in part or _bare(path)]
            parts = [part if "{{" in part else f"{{{{ {part} }}}}" for part in parts]
        for part in parts:
            try:
                read = jinja2.meta.find_undeclared_variables(JINJA.parse(part))
            except jinja2.TemplateError as error:
                yield f"{where}: {' '.join(part.split())[:60]}: {error}"
                continue
            yield from (f"{where}: {word} is set nowhere" for word in sorted(read - told - MAGIC))


def _bare(path: str) -> bool:
    """Whether a text stands where Ansible evaluates it without braces."""
    return re.sub(r"\[\d+\]", "", path).rpartition(".")[2] in ("when", "until", "that", "changed_when", "failed_when")


def _site(root: Path, there: set[str]) -> Iterator[str]:
    where, seen = "ansible/site.yml", list[str]()
    for play in load(root / where):
        seen += [each if isinstance(each, str) else str(each.get("role")) for each in play.get("roles") or []]
    yield from (f"{where}: the role {role} is in no play" for role in sorted(there - set(seen) - {"release"}))
    places = [seen.index(role) for role in ORDER if role in seen]
    if places != sorted(places):
        yield f"{where}: the order is {', '.join(seen)}; each needs what those before it made: {', '.join(ORDER)}"
    for found, play in _plays(root):
        if play.get("become") is not True:
            yield f"{found}: {play.get('name')}: without become: true nothing on a node may be changed"
        if found == "ansible/upgrade.yml" and str(play.get("hosts")) != "control_plane[0]" and play.get("serial") != 1:
            yield f"{found}: {play.get('name')}: serial {play.get('serial')}: one node at a time"


def a_node_is_what_kubernetes_needs(root: Path = ROOT) -> Iterator[str]:
    """Swap off, forwarding on, one owner of the cgroups, the provider's id, VXLAN, networks that do not overlap."""
    base = root / "ansible"
    if not (base / "site.yml").is_file():
        return
    roles = base / "roles"
    common, texts = load(roles / "common/defaults/main.yml"), _texts(roles)
    sysctl = common.get("common_sysctl") or {}
    for key in ("net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"):
        if str(sysctl.get(key)) != "1":
            yield f"ansible/roles/common/defaults/main.yml: {key} is {sysctl.get(key)}: pods' packets would be dropped"
    if missing := {"overlay", "br_netfilter", "vxlan"} - set(common.get("common_modules") or []):
        yield f"ansible/roles/common/defaults/main.yml: common_modules without {', '.join(sorted(missing))}"
    swap = texts["common/tasks/main.yml"]
    if "cmd: swapoff --all" not in swap or "etc/fstab" not in swap:
        yield "ansible/roles/common/tasks/main.yml: swap is not turned off now (swapoff --all) and at boot (/etc/fstab)"
    for file, wanted, why in (
        (KUBEADM, r"(?m)^cgroupDriver: systemd$", "cgroupDriver is not systemd"),
        (KUBEADM, r"provider-id: \{\{ kubernetes_provider_id \}\}",
         "no provider-id: AWS's controllers would not know the node"),
        (KUBEADM, r"(?m)^kubernetesVersion: v\{\{ control_plane_version \}\}$",
         "kubernetesVersion is not that of versions.yml"),
        (KUBEADM, r"NodeRestriction", "no NodeRestriction"),
        ("worker/templates/join.yaml.j2", r"kubernetes_provider_id", "no provider-id"),
        ("containerd/templates/config.toml.j2", r"(?m)^SystemdCgroup = true$", "SystemdCgroup is not true"),
        ("kubernetes/defaults/main.yml", r'kubernetes_version: "\{\{ versions\.kubernetes', "the version floats"),
    ):  # fmt: skip
        if not re.search(wanted, texts[file]):
            yield f"ansible/roles/{file}: {why}"
    yield from _closed(root, texts)
    yield from _versions(root)
    yield from _networks(root)


def _closed(root: Path, texts: dict[str, str]) -> Iterator[str]:
    roles = root / "ansible/roles"
    for part in ("controllerManager", "scheduler"):
        if not re.search(rf"(?m)^{part}:\n  extraArgs:\n    bind-address: 127\.0\.0\.1$", texts[KUBEADM]):
            yield f"ansible/roles/{KUBEADM}: {part}: bind-address is not 127.0.0.1"
    daily = str(load(roles / "backup/defaults/main.yml").get("backup_schedule"))
    if not re.fullmatch(r"\*-\*-\* [0-2]\d:[0-5]\d:[0-5]\d", daily):
        yield f"ansible/roles/backup/defaults/main.yml: backup_schedule {daily}: every day, at a time (*-*-* 18:10:00)"
    pools = {each["name"]: each["value"] for each in load(roles / "calico/defaults/main.yml")["calico_environment"]}
    if (pools.get("CALICO_IPV4POOL_VXLAN"), pools.get("CALICO_IPV4POOL_IPIP")) != ("Always", "Never"):
        yield "ansible/roles/calico/defaults/main.yml: not VXLAN alone: the security groups let nothing else through"
    told = load(roles / "knative/defaults/main.yml").get("knative_ingress_class")
    if told != "kourier.ingress.networking.knative.dev":
        yield f"ansible/roles/knative/defaults/main.yml: knative_ingress_class {told}: Kourier is what is installed"
    end = str(load(roles / "control_plane/defaults/main.yml").get("control_plane_endpoint"))
    if not end.endswith(":6443"):
        yield f"ansible/roles/control_plane/defaults/main.yml: control_plane_endpoint {end}: 6443 is what is open"
    path = str(load(roles / "argocd/defaults/main.yml").get("argocd_root_path"))
    if not (root / path / "kustomization.yaml").is_file():
        yield f"ansible/roles/argocd/defaults/main.yml: argocd_root_path {path}: there is no kustomization"
    lives = re.fullmatch(r"(\d+)m", str(load(roles / "worker/defaults/main.yml").get("worker_token_ttl")))
    if not lives or not 0 < int(lives[1]) <= 60:
        yield "ansible/roles/worker/defaults/main.yml: worker_token_ttl: minutes, 60 at most (0 would be for ever)"


def _texts(roles: Path) -> dict[str, str]:
    return {
        file.relative_to(roles).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted(roles.rglob("*"))
        if file.suffix in (".yml", ".j2")
    }


def _versions(root: Path) -> Iterator[str]:
    told = load(root / "ansible/versions.yml")["versions"]
    minor = ".".join(str(told["kubernetes"]).split(".")[:2])
    if str(told.get("pause")) != PAUSE.get(minor, str(told.get("pause"))):
        yield f"ansible/versions.yml: pause {told.get('pause')}: kubeadm {minor} expects {PAUSE[minor]}"
    if [int(part) for part in str(told["containerd"]).split(".")[:2]] < [1, 6]:
        yield f"ansible/versions.yml: containerd {told['containerd']}: Kubernetes {minor} needs 1.6 or newer (CRI v1)"


def _networks(root: Path) -> Iterator[str]:
    told = load(root / "ansible/group_vars/all.yml")
    vpc = re.search(
        r'variable "vpc_cidr".*?default\s*=\s*"([^"]+)"', (root / "terraform/variables.tf").read_text(), re.S
    )
    named = {key: str(told[key]) for key in ("cluster_pod_cidr", "cluster_service_cidr")}
    named |= {"the VPC": vpc[1]} if vpc else {}
    ranges = {key: ipaddress.ip_network(value) for key, value in named.items()}
    keys = list(ranges)
    for place, one in enumerate(keys):
        for other in keys[place + 1 :]:
            if ranges[one].overlaps(ranges[other]):
                yield f"ansible/group_vars/all.yml: {one} {named[one]} overlaps {other} {named[other]}"


def what_cannot_be_undone_asks_first(root: Path = ROOT) -> Iterator[str]:
    """reset.yml and the restore do nothing before somebody said by name what is to go."""
    for file, variable in (("reset.yml", "reset_cluster"), ("backup-restore.yml", "restore_confirm")):
        path = root / "ansible" / file
        tasks = [task for where, task in _tasks(root) if where == f"ansible/{file}"] if path.is_file() else []
        asserts = [str(task.get("ansible.builtin.assert", {}).get("that")) for task in tasks]
        if tasks and not any(re.search(rf"\b{variable} \| default\(''\) == \w+", text) for text in asserts):
            yield f"ansible/{file}: no assert that {variable} names what is to go"


def the_linter_is_not_told_to_look_away(root: Path = ROOT) -> Iterator[str]:
    """The strictest profile, nothing skipped; SSH checks whom it talks to."""
    base = root / "ansible"
    if not base.is_dir():
        return
    told = load(base / ".ansible-lint")
    if (told.get("profile"), told.get("strict"), told.get("offline")) != ("production", True, True):
        yield "ansible/.ansible-lint: profile: production, strict: true, offline: true"
    for key in sorted(told.keys() - {"profile", "strict", "offline", "exclude_paths"}):
        yield f"ansible/.ansible-lint: {key}: the linter is told to look away"
    if told.get("exclude_paths") not in (None, [".ansible/"]):
        yield f"ansible/.ansible-lint: exclude_paths {told['exclude_paths']}: everything of ours is looked at"
    if re.search(r"(?mi)^host_key_checking\s*=\s*(false|no|0)", (base / "ansible.cfg").read_text(encoding="utf-8")):
        yield "ansible/ansible.cfg: host_key_checking is off: SSH would talk to whoever answers"


def no_file_tells_a_secret(root: Path = ROOT) -> Iterator[str]:
    """Neither by its shape nor by its name; nothing is fetched without TLS; the linter looks at every line."""
    base = root / "ansible"
    for file in sorted(base.rglob("*")):
        where = file.relative_to(root).as_posix()
        if file.suffix not in (".yml", ".j2") or ".ansible" in file.parts or file.name == "hosts.yml":
            continue
        text = file.read_text(encoding="utf-8")
        if "# noqa" in text:
            yield f"{where}: noqa: the linter is told to look away"
        yield from (f"{where}: {found}: open to everybody, or blind" for found in OPEN.findall(text))
        if SECRET.search(text):
            yield f"{where}: looks like a secret"
        for url in re.findall(r"http://[\w.-]+", text):
            if not re.match(r"http://(127\.0\.0\.1|localhost|169\.254\.169\.254)", url) and "xmlns" not in text:
                yield f"{where}: {url}: what is fetched without TLS is anybody's"
        for key, value in re.findall(r"(?m)^(\w+): *(\S.*)$", text) if "vars" in where or "defaults" in where else []:
            if SECRET_NAME.search(key.upper()) and not re.match(r"\"?(\{\{|$|\"\"|/)|true|false|\d+\w?$", value):
                yield f"{where}: {key} stands in the open"


def _plays(root: Path) -> Iterator[tuple[str, Any]]:
    for file in sorted((root / "ansible").glob("*.yml")):
        plays = load(file)
        for play in plays if isinstance(plays, list) else []:
            if isinstance(play, dict) and "hosts" in play:
                yield file.relative_to(root).as_posix(), play


def _tasks(root: Path) -> Iterator[tuple[str, Any]]:
    """Every task of roles and playbooks, those in blocks too."""
    base = root / "ansible"
    for file in sorted(
        [*base.glob("roles/*/tasks/*.yml"), *base.glob("roles/*/handlers/*.yml"), *base.glob("tasks/*.yml")]
    ):
        yield from ((file.relative_to(root).as_posix(), task) for task in _flat(load(file)))
    for where, play in _plays(root):
        for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
            yield from ((where, task) for task in _flat(play.get(part)))


def _flat(tasks: object) -> Iterator[Any]:
    for task in tasks if isinstance(tasks, list) else []:
        if isinstance(task, dict):
            inner = [each for part in ("block", "rescue", "always") for each in _flat(task.get(part))]
            yield from inner or [task]


FILES = [
    every_task_is_careful,
    what_is_secret_is_taken_away,
    every_name_leads_somewhere,
    every_variable_is_set,
    a_node_is_what_kubernetes_needs,
    what_cannot_be_undone_asks_first,
    the_linter_is_not_told_to_look_away,
    no_file_tells_a_secret,
]
