"""ansible/: linted, parsed, and really run where a folder can stand for a machine.

Not run here: packages, services, modules and kernel settings (they need a machine), and the real kubeadm and kubectl.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ansible_runs import (
    ANSIBLE,
    EXAMPLE,
    HOSTS,
    PLAYBOOKS,
    Machines,
    Run,
    command,
    copy_of_ansible,
    defaults,
    releases,
)

#: Little of what runs here is counted (pyproject.toml), and all of it would be slower.
pytestmark = pytest.mark.unmeasured

MASTER, STORAGE = HOSTS


def thing(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    version = "apps/v1" if kind in ("Deployment", "DaemonSet", "StatefulSet") else "v1"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    container = {"name": name, "image": "x", "resources": {"requests": {"cpu": "1"}}}
    spec: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [container]}}}}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **(spec if version == "apps/v1" else {}), **more}


#: Argo CD's parts that nobody uses here and knative/nodes.yaml has no room for.
UNUSED = ("argocd-dex-server", "argocd-notifications-controller")

#: Made with no replica; eventing-controller writes into it as soon as there is a clock.
CLOCK = thing("Deployment", "pingsource-mt-adapter", "knative-eventing")
CLOCK["metadata"]["labels"] = {"app.kubernetes.io/version": "1.16.7"}
CLOCK["spec"]["replicas"] = 0

#: By kind, whom the API server asks about Serving's objects.
ASKED = {"Mutating": "webhook.serving.knative.dev", "Validating": "validation.webhook.serving.knative.dev"}

#: As much of the real releases as our patches aim at and our roles wait for.
RELEASES = {
    "calico-vxlan.yaml": [thing("DaemonSet", "calico-node", "kube-system")],
    "serving-core.yaml": [
        thing("ConfigMap", "config-features", "knative-serving"),
        thing("ConfigMap", "config-network", "knative-serving"),
        *[thing("Deployment", n, "knative-serving") for n in ("activator", "autoscaler", "controller", "webhook")],
        thing("PodDisruptionBudget", "activator-pdb", "knative-serving", spec={"minAvailable": "80%"}),
        *[
            thing(f"{kind}WebhookConfiguration", name, webhooks=[{"name": name, "rules": [{"operations": ["CREATE"]}]}])
            for kind, name in ASKED.items()
        ],
    ],
    "eventing-core.yaml": [
        *[thing("Deployment", n, "knative-eventing") for n in ("eventing-controller", "eventing-webhook", "job-sink")],
        CLOCK,
        thing("PodDisruptionBudget", "eventing-webhook", "knative-eventing", spec={"minAvailable": "80%"}),
        thing("ClusterRole", "addressable-resolver", aggregationRule={"clusterRoleSelectors": []}, rules=[]),
        thing("ClusterRole", "service-addressable-resolver", rules=[{"verbs": ["get"]}]),
    ],
    "install.yaml": [
        thing("ConfigMap", "argocd-cmd-params-cm"),
        *[thing("Deployment", name) for name in ("argocd-server", "argocd-repo-server", *UNUSED)],
        thing("StatefulSet", "argocd-application-controller"),
    ],
}


def overlay(folder: Path, digest: str) -> str:
    """What Argo CD would be led to."""
    for part in ("platform", "functions"):
        (folder / part).mkdir(parents=True)
        (folder / part / "kustomization.yaml").write_text(f"images: [{{name: x, digest: '{digest}'}}]")
    return str(folder)


class Site:
    """site.yml run as a dry run, for real, and again."""

    def __init__(self, machines: Machines, dry: Run, first: Run, second: Run) -> None:
        self.machines, self.dry, self.first, self.second = machines, dry, first, second
        self.leftovers: list[str] = []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    machines = Machines(tmp_path_factory.mktemp("machines"))
    with releases(RELEASES) as address:
        known = [one for one in defaults("knative")["knative_releases"] if one["files"][0].endswith("-core.yaml")]
        told: dict[str, Any] = {
            "knative_github": address,
            "knative_releases": known,
            "argocd_overlay": overlay(machines.folder / "filled-in", "sha256:1f3a"),
            "calico_manifest": f"{address}/calico-vxlan.yaml",
            "argocd_manifest": f"{address}/install.yaml",
        }
        dry = machines.play("site.yml", "--check", "--tags", "files", "--limit", STORAGE)
        leftovers = [str(path) for path in (machines.folder / "root").rglob("*") if path.is_file()]
        first = machines.play("site.yml", "--tags", "files,fetch,cluster", **told)
        site = Site(machines, dry, first, machines.play("site.yml", "--tags", "files,fetch,cluster", **told))
        site.leftovers = leftovers
        yield site


def test_site_runs_and_the_second_run_changes_nothing(site: Site) -> None:
    assert site.first.ok, site.first.output
    assert set(site.first.hosts) == set(HOSTS)
    assert site.first.changed > 30
    assert site.second.ok, site.second.output
    assert (site.second.changed, site.second.changes) == (0, [])


def test_a_dry_run_says_what_it_would_do_and_does_nothing(site: Site) -> None:
    assert site.dry.ok, site.dry.output
    assert "common : Write the kernel settings" in site.dry.changes
    assert site.leftovers == []


def test_kubeadm_is_told_what_the_nodes_are(site: Site) -> None:
    init, cluster, kubelet, proxy = yaml.safe_load_all(site.machines.file(MASTER, "etc/growbin/kubeadm.yaml"))
    assert {d["apiVersion"] for d in (init, cluster)} == {"kubeadm.k8s.io/v1beta3"}
    assert [d["kind"] for d in (init, cluster, kubelet, proxy)] == [
        "InitConfiguration", "ClusterConfiguration", "KubeletConfiguration", "KubeProxyConfiguration",
    ]  # fmt: skip
    assert cluster["kubernetesVersion"] == "v1.28.15"
    assert cluster["networking"]["podSubnet"] == "192.168.0.0/16"
    assert cluster["apiServer"]["certSANs"] == ["10.0.1.10", MASTER, "203.0.113.10"]
    assert kubelet["cgroupDriver"] == "systemd"
    assert [(d["key"], d["effect"]) for d in init["nodeRegistration"]["taints"]] == [
        ("node-role.kubernetes.io/control-plane", "NoSchedule")
    ]
    parts = [cluster["apiServer"], cluster["controllerManager"], cluster["scheduler"], cluster["etcd"]["local"]]
    flags = [part["extraArgs"] for part in parts] + [init["nodeRegistration"]["kubeletExtraArgs"]]
    assert all(isinstance(value, str) for some in flags for value in some.values()), "v1beta3 takes strings only"
    assert cluster["controllerManager"]["extraArgs"]["bind-address"] == "127.0.0.1"
    assert cluster["scheduler"]["extraArgs"]["bind-address"] == "127.0.0.1"
    assert cluster["etcd"]["local"]["extraArgs"]["listen-metrics-urls"] == "http://127.0.0.1:2381"
    assert proxy["metricsBindAddress"] == "127.0.0.1:10249"
    assert kubelet["shutdownGracePeriod"] == "30s", "more than Ubuntu's logind allows, and the kubelet gives it up"


def test_nodes_join_with_their_identity_and_a_short_lived_token(site: Site) -> None:
    nodes, cluster = site.machines.cluster["nodes"], site.machines.cluster
    assert nodes[MASTER]["spec"]["providerID"] == "aws:///ap-northeast-2a/i-00000000000000001"
    assert nodes[STORAGE]["spec"]["providerID"] == "aws:///ap-northeast-2a/i-00000000000000004"
    assert nodes[STORAGE]["metadata"]["labels"]["growbin.app/tier"] == "storage"
    assert [taint["value"] for taint in nodes[STORAGE]["spec"]["taints"]] == ["storage"]
    assert [token["ttl"] for token in cluster["tokens"]] == ["10m"]  # one node joined, once
    root = site.machines.root(STORAGE)
    assert (root / "etc/kubernetes/kubelet.conf").exists()
    assert not (root / "etc/growbin/join.yaml").exists()
    token = cluster["tokens"][0]["token"]
    assert token not in site.first.output
    assert not [path for path in root.rglob("*") if path.is_file() and token in path.read_text(errors="replace")]


def test_containerd_lets_systemd_own_the_cgroups(site: Site) -> None:
    config = tomllib.loads(site.machines.file(STORAGE, "etc/containerd/config.toml"))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert config["version"] == 2
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": True}
    assert cri["sandbox_image"] == "registry.k8s.io/pause:3.9"
    assert yaml.safe_load(site.machines.file(STORAGE, "etc/crictl.yaml"))["runtime-endpoint"].startswith("unix:///run/")


def test_kernel_settings_modules_and_limits_are_whole(site: Site) -> None:
    lines = site.machines.file(STORAGE, "etc/sysctl.d/90-kubernetes.conf").splitlines()
    lines += site.machines.file(STORAGE, "etc/sysctl.d/91-storage.conf").splitlines()
    settings = dict(line.split(" = ") for line in lines if not line.startswith("#"))
    assert settings["net.ipv4.ip_forward"] == "1"
    assert settings["vm.overcommit_memory"] == "1"
    assert all(re.fullmatch(r"[a-z0-9_.-]+", key) and value.isdigit() for key, value in settings.items())
    assert site.machines.file(STORAGE, "etc/modules-load.d/kubernetes.conf").splitlines()[1:] == [
        "overlay", "br_netfilter", "vxlan",
    ]  # fmt: skip
    assert "server 169.254.169.123 " in site.machines.file(STORAGE, "etc/chrony/sources.d/amazon.sources")
    assert "* hard nofile 1048576" in site.machines.file(STORAGE, "etc/security/limits.d/90-kubernetes.conf")
    assert oct((site.machines.root(STORAGE) / "var/lib/growbin/postgres").stat().st_mode & 0o777) == "0o700"


def test_releases_are_placed_patched_and_no_larger_than_planned(site: Site) -> None:
    releases = site.machines.root(MASTER) / "etc/growbin/releases"
    assert site.machines.cluster["applied"] == ["calico", "knative-serving", "knative-eventing", "argocd"]
    calico, serving, argocd = (
        yaml.safe_load((releases / name / "kustomization.yaml").read_text())
        for name in ("calico", "knative-serving", "argocd")
    )
    environment = yaml.safe_load(calico["patches"][0]["patch"])["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "CALICO_IPV4POOL_VXLAN", "value": "Always"} in environment
    assert {"name": "CALICO_IPV4POOL_CIDR", "value": "192.168.0.0/16"} in environment
    told = serving["patches"]
    (placed,) = [yaml.safe_load(p["patch"])["spec"]["template"]["spec"] for p in told if "nodeSelector" in p["patch"]]
    assert placed["nodeSelector"] == {"growbin.app/tier": "application"}
    assert argocd["namespace"] == "argocd"
    root = list(yaml.safe_load_all((releases / "argocd/ours.yaml").read_text()))[1]
    assert (root["kind"], root["spec"]["source"]["path"]) == ("Application", "knative/argocd")
    named = [patch for patch in told if patch.get("target", {}).get("kind") == "Deployment|DaemonSet"]
    asked = {patch["target"]["name"]: json.loads(patch["patch"])[0]["value"] for patch in named}
    assert asked["activator"] == {"cpu": "100m", "memory": "60Mi"}


def test_only_who_acts_by_the_nodes_role_reaches_the_metadata_service(site: Site) -> None:
    (policy,) = yaml.safe_load_all(site.machines.file(MASTER, "etc/growbin/releases/calico/ours.yaml"))
    assert (policy["kind"], policy["spec"]["types"]) == ("GlobalNetworkPolicy", ["Egress"])
    first, last = policy["spec"]["egress"]
    assert first == {"action": "Deny", "destination": {"nets": ["169.254.169.254/32"]}}
    assert last == {"action": "Allow"}, "else everything is shut out"
    chosen, among = (set(re.findall(r'"([\w-]+)"', policy["spec"][name])) for name in ("selector", "namespaceSelector"))
    charts = set(re.findall(r"chart: (\S+)", (ANSIBLE.parent / "knative/argocd/base/charts.yaml").read_text()))
    assert chosen == charts - {"kube-prometheus-stack"}
    base = yaml.safe_load_all((ANSIBLE.parent / "knative/base/policies.yaml").read_text())
    assert among == {one["metadata"]["namespace"] for one in base if one["metadata"]["name"] == "default-deny"}


def test_nothing_is_handed_over_before_it_is_filled_in(tmp_path: Path) -> None:
    machines, folder = Machines(tmp_path), copy_of_ansible(tmp_path)
    play = {"name": "Part", "hosts": "control_plane", "vars_files": ["versions.yml"], "roles": ["argocd"]}
    (folder / "part.yml").write_text(yaml.safe_dump([play]))
    zeros = overlay(tmp_path / "zeros", "sha256:" + "0" * 64)
    refused = machines.play("part.yml", "--tags", "cluster", ansible=folder, argocd_overlay=zeros)
    assert not refused.ok
    assert "still has zeros" in refused.output
    installed = machines.play("part.yml", "--tags", "never", ansible=folder, argocd_overlay=zeros, argocd_root=False)
    assert installed.ok, installed.output


def test_the_way_up_takes_one_minor_version_node_by_node(tmp_path: Path, site: Site) -> None:
    machines, folder = Machines(tmp_path), copy_of_ansible(tmp_path)
    shutil.copytree(site.machines.root(MASTER), machines.root(MASTER), dirs_exist_ok=True)
    (machines.root(MASTER) / "usr/local/sbin/growbin-backup").write_text("#!/bin/sh\n")
    brokers = [f"pod/rabbitmq-server-{n}" for n in range(3)]
    machines.state.write_text(json.dumps(site.machines.cluster | {"asked": [], "brokers": {STORAGE: brokers}}))

    def play(version: str) -> Run:
        text = (ANSIBLE / "versions.yml").read_text()
        (folder / "versions.yml").write_text(text.replace("kubernetes: 1.28.15", f"kubernetes: {version}"))
        return machines.play("upgrade.yml", "--tags", "cluster", ansible=folder)

    refused = play("1.30.1")
    assert "one minor version at a time" in refused.output
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in machines.cluster["nodes"].values()} == {"v1.28.15"}
    done = play("1.29.3")
    assert done.ok, done.output
    steps = [re.search(r"(upgrade|label|drain|uncordon)\b.*", one) for one in machines.cluster["asked"]]
    assert [" ".join(step[0].split()[:2]) for step in steps if step] == [
        "upgrade apply", f"drain {MASTER}", f"uncordon {MASTER}",
        "upgrade node", "label --overwrite", f"drain {STORAGE}", f"uncordon {STORAGE}",
    ]  # fmt: skip
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in machines.cluster["nodes"].values()} == {"v1.29.3"}
    again = play("1.29.3")
    assert (again.ok, again.changed) == (True, 1), again.output  # the backup


def test_whatever_is_counted_below_what_its_release_asks_for_is_really_made_smaller() -> None:
    plan = yaml.safe_load((ANSIBLE.parent / "knative/nodes.yaml").read_text())["platform"]
    lowered = {
        pod["name"]
        for pod in plan
        if pod.get("upstream", {}).get("cpu", "-") != "-" and pod["upstream"] != pod["requests"] and "values" not in pod
    } - {"kube-apiserver", "kube-controller-manager", "kube-scheduler"}  # kubeadm's; only their memory is an estimate
    told = {name for known in defaults("knative")["knative_releases"] for name in known.get("requests", [])}
    assert lowered == told | {"calico-node"}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kustomize is part of kubectl, which is not here")
def test_kustomize_builds_every_release(site: Site) -> None:
    for release in (site.machines.root(MASTER) / "etc/growbin/releases").iterdir():
        built = subprocess.run(["kubectl", "kustomize", str(release)], check=False, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        objects = [found for found in yaml.safe_load_all(built.stdout) if found]
        assert "PodDisruptionBudget" not in {found["kind"] for found in objects}, "80 % of one is one: no drain ends"
        if release.name.startswith("knative-eventing"):
            rules = {found["metadata"]["name"]: "rules" in found for found in objects if found["kind"] == "ClusterRole"}
            assert rules == {"addressable-resolver": False, "service-addressable-resolver": True}
            names = {found["metadata"]["name"] for found in objects}
            assert (CLOCK["metadata"]["name"] in names) == (release.name == "knative-eventing")
        for found in objects:
            if found["kind"].endswith("WebhookConfiguration"):
                assert "rules" not in found["webhooks"][0], "its webhook writes them"
            if release.name == "knative-serving" and found["kind"] == "Deployment":
                assert found["spec"]["template"]["spec"]["nodeSelector"] == {"growbin.app/tier": "application"}
                assert found["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
            if release.name == "argocd" and found["kind"] in ("Deployment", "ConfigMap"):
                assert found["metadata"]["namespace"] == "argocd"
            if release.name == "argocd" and found["kind"] == "Deployment":
                assert found["spec"].get("replicas", 1) == (0 if found["metadata"]["name"] in UNUSED else 1)


def test_the_units_run_what_is_there(site: Site) -> None:
    service = site.machines.file(MASTER, "etc/systemd/system/growbin-backup.service")
    timer = site.machines.file(MASTER, "etc/systemd/system/growbin-backup.timer")
    program = re.findall(r"^ExecStart=(\S+) all$", service, re.M)[0]
    assert (site.machines.root(MASTER) / program[1:]).stat().st_mode & 0o111
    assert re.findall(r"^EnvironmentFile=(\S+)$", service, re.M) == ["/etc/growbin/backup.env"]
    assert (site.machines.root(MASTER) / "etc/growbin/backup.env").stat().st_mode & 0o777 == 0o600
    assert "OnCalendar=*-*-* 18:10:00" in timer
    assert "WantedBy=timers.target" in timer


def test_every_playbook_parses() -> None:
    done = command(ANSIBLE, "ansible-playbook", "--inventory", str(EXAMPLE), "--syntax-check", *PLAYBOOKS)
    assert done.returncode == 0, done.stderr
    assert "Could not match" not in done.stderr


def test_the_strictest_profile_finds_nothing() -> None:
    done = command(ANSIBLE, "ansible-lint", "--nocolor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed: 0 failure(s), 0 warning(s)" in done.stdout + done.stderr


#: A playbook with what nobody may commit: rule of the linter → the task that breaks it.
PLANTED = {
    "command-instead-of-module": {"name": "Use a shell", "ansible.builtin.command": "systemctl restart kubelet"},
    "no-changed-when": {"name": "Change in silence", "ansible.builtin.command": "kubeadm reset --force"},
    "fqcn": {"name": "Be short", "file": {"path": "/etc/x", "state": "directory", "mode": "0755"}},
    "package-latest": {"name": "Take what comes", "ansible.builtin.apt": {"name": "kubelet", "state": "latest"}},
    "risky-file-permissions": {"name": "Let the mode be", "ansible.builtin.copy": {"content": "x", "dest": "/etc/x"}},
    "ignore-errors": {"name": "Never mind", "ansible.builtin.command": "false", "ignore_errors": True},
    "name": {"name": "small letters", "ansible.builtin.debug": {"msg": "x"}},
}


def test_the_linter_finds_planted_mistakes(tmp_path: Path) -> None:
    folder = copy_of_ansible(tmp_path)
    play = {"name": "Plant", "hosts": "all", "tasks": list(PLANTED.values())}
    (folder / "planted.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    (folder / "roles/common/defaults/main.yml").write_text("---\nroot: /\n")
    done = command(folder, "ansible-lint", "--nocolor", "-p", "planted.yml", "roles/common/defaults/main.yml")
    assert done.returncode != 0
    missed = [rule for rule in (*PLANTED, "var-naming") if not re.search(rf"\b{rule}\b", done.stdout)]
    assert missed == [], done.stdout


def test_planted_mistakes_of_the_roles_are_seen(tmp_path: Path) -> None:
    machines, folder = Machines(tmp_path), copy_of_ansible(tmp_path)
    for file, old, new in (
        ("roles/containerd/templates/crictl.yaml.j2", "timeout:", "# {{ now() }}\ntimeout:"),  # never the same twice
        ("roles/containerd/templates/config.toml.j2", "SystemdCgroup = true", "SystemdCgroup = yes"),  # not TOML
    ):
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))
    play = {"name": "Part", "hosts": "all", "vars_files": ["versions.yml"], "roles": ["containerd"]}
    (folder / "part.yml").write_text(yaml.safe_dump([play]))
    runs = [machines.play("part.yml", "--tags", "files", "--limit", STORAGE, ansible=folder) for _ in range(2)]
    assert runs[1].changes == ["containerd : Tell crictl where containerd listens"], runs[1].output
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(machines.file(STORAGE, "etc/containerd/config.toml"))


def test_a_node_that_no_load_balancer_would_find_is_refused(tmp_path: Path) -> None:
    machines, folder = Machines(tmp_path), copy_of_ansible(tmp_path)
    play = {"name": "Part", "hosts": "all", "vars_files": ["versions.yml"], "roles": ["kubernetes"]}
    (folder / "part.yml").write_text(yaml.safe_dump([play]))
    run = machines.play("part.yml", "--tags", "files", "--limit", STORAGE, ansible=folder, node_instance_id="i-unknown")
    assert not run.ok
    assert "check its zone and instance id" in run.output
