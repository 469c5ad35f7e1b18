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

MASTER, STORAGE = HOSTS


def thing(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    version = "apps/v1" if kind in ("Deployment", "DaemonSet", "StatefulSet") else "v1"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    container = {"name": name, "image": "x", "resources": {"requests": {"cpu": "1"}}}
    spec: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [container]}}}}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **(spec if version == "apps/v1" else {}), **more}


#: Argo CD's parts that nobody uses here and knative/nodes.yaml has no room for.
UNUSED = ("argocd-dex-server", "argocd-notifications-controller")

#: As much of the real releases as our patches aim at and our roles wait for.
RELEASES = {
    "calico-vxlan.yaml": [thing("DaemonSet", "calico-node", "kube-system")],
    "serving-core.yaml": [
        thing("ConfigMap", "config-features", "knative-serving"),
        thing("ConfigMap", "config-network", "knative-serving"),
        *[thing("Deployment", n, "knative-serving") for n in ("activator", "autoscaler", "controller", "webhook")],
    ],
    "install.yaml": [
        thing("ConfigMap", "argocd-cmd-params-cm"),
        *[thing("Deployment", name) for name in ("argocd-server", "argocd-repo-server", *UNUSED)],
        thing("StatefulSet", "argocd-application-controller"),
    ],
}


class Site:
    """site.yml run as a dry run, for real, and again."""

    def __init__(self, machines: Machines, dry: Run, first: Run, second: Run) -> None:
        self.machines, self.dry, self.first, self.second = machines, dry, first, second
        self.leftovers: list[str] = []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    machines = Machines(tmp_path_factory.mktemp("machines"))
    with releases(RELEASES) as address:
        serving = [known for known in defaults("knative")["knative_releases"] if known["name"] == "knative-serving"]
        told: dict[str, Any] = {
            "knative_github": address,
            "knative_releases": serving,
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
    assert "* hard nofile 1048576" in site.machines.file(STORAGE, "etc/security/limits.d/90-kubernetes.conf")
    assert oct((site.machines.root(STORAGE) / "var/lib/growbin/postgres").stat().st_mode & 0o777) == "0o700"


def test_releases_are_placed_patched_and_no_larger_than_planned(site: Site) -> None:
    releases = site.machines.root(MASTER) / "etc/growbin/releases"
    assert set(site.machines.cluster["applied"]) == {"calico", "knative-serving", "argocd"}
    calico, serving, argocd = (
        yaml.safe_load((releases / name / "kustomization.yaml").read_text())
        for name in ("calico", "knative-serving", "argocd")
    )
    environment = yaml.safe_load(calico["patches"][0]["patch"])["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "CALICO_IPV4POOL_VXLAN", "value": "Always"} in environment
    assert {"name": "CALICO_IPV4POOL_CIDR", "value": "192.168.0.0/16"} in environment
    placed = yaml.safe_load(serving["patches"][2]["patch"])["spec"]["template"]["spec"]
    assert placed["nodeSelector"] == {"growbin.app/tier": "application"}
    assert argocd["namespace"] == "argocd"
    root = list(yaml.safe_load_all((releases / "argocd/ours.yaml").read_text()))[1]
    assert (root["kind"], root["spec"]["source"]["path"]) == ("Application", "knative/argocd")
    named = [patch for patch in serving["patches"] if "name" in patch.get("target", {})]
    asked = {patch["target"]["name"]: json.loads(patch["patch"])[0]["value"] for patch in named}
    assert asked["activator"] == {"cpu": "100m", "memory": "60Mi"}


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
        for found in yaml.safe_load_all(built.stdout):
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
