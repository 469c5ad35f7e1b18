"""What is applied to the cluster holds together, and each mistake planted in it is noticed (knative/check)."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from knative.check import __main__ as check
from knative.check import capacity, cost, security, serving, tools
from knative.check.deploy import DeployError, Shell, deploy, inputs, kustomization, previous, rollback, tag, written
from knative.check.documents import ENVIRONMENTS, ROOT, Document, kind, load, name, namespace, pods
from knative.check.graph import problems as graph_problems
from knative.check.problems import applied, of_documents, of_files, problems
from knative.check.render import RenderError, render
from tests.planted import PLANTED, SCALE, function, notes, only, pod


@functools.cache
def _clean() -> str:
    return json.dumps(applied("prod"), default=str)


@functools.cache
def _unbroken() -> tuple[str, ...]:
    return tuple(of_documents(json.loads(_clean())))


@pytest.fixture
def prod() -> list[Document]:
    """Everything that is applied in prod, to be broken."""
    return list(json.loads(_clean()))


def test_the_tree_is_clean() -> None:
    began = time.monotonic()
    found = problems()
    assert found == []
    assert time.monotonic() - began < 180


@pytest.mark.unmeasured
@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_noticed(mistake: str, prod: list[Document]) -> None:
    plant, said = PLANTED[mistake]
    assert not any(said in problem for problem in _unbroken())
    plant(prod)
    found = list(of_documents(prod))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(("field", "value", "flag"), [
    ("nodeSelector", {"growbin.app/tier": "async"}, "kubernetes.podspec-nodeselector"),
    ("tolerations", [{"key": "x", "operator": "Exists"}], "kubernetes.podspec-tolerations"),
    ("affinity", {"nodeAffinity": {}}, "kubernetes.podspec-affinity"),
    ("priorityClassName", "high", "kubernetes.podspec-priorityclassname"),
    ("securityContext", {"fsGroup": 1}, "kubernetes.podspec-securitycontext"),
    ("initContainers", [{"name": "x", "image": "y:1"}], "kubernetes.podspec-init-containers"),
])  # fmt: skip
def test_what_needs_a_flag_of_knative_is_refused_without_it(
    field: str, value: object, flag: str, prod: list[Document]
) -> None:
    pod(prod, "grade")[field] = value
    said = f"Service growbin/grade: {field} is refused without the flag {flag} (knative/serving/features.yaml)"
    given = next(each for each in prod if name(each) == "config-features")["data"]
    given[flag] = "enabled"
    assert said not in list(serving.the_webhook_takes_every_service(prod))
    given[flag] = "disabled"
    assert said in list(serving.the_webhook_takes_every_service(prod))


def test_field_references_need_a_flag(prod: list[Document]) -> None:
    only(prod, "grade")["env"].append({"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    assert any("fieldRef is refused" in each for each in serving.the_webhook_takes_every_service(prod))


# --- files -----------------------------------------------------------------------------------------------------------

FOLDERS = ("knative", "pipelines", "ansible", "terraform", ".github", "docs")

#: file, what stands there, what a mistake makes of it, what must then be said. All are planted at once: each in a place
#: of its own, so that none hides another.
FILE_MISTAKES = [
    ("knative/prices.yaml", "    source: not found for Seoul\n", "", "has no source"),
    ("knative/prices.yaml", "usd: 0.0225", "usd: 0", "knative/prices.yaml: alb: usd is 0"),
    ("knative/prices.yaml", "region: ap-northeast-2\n", "region: us-east-1\n",
     "knative/prices.yaml: prices of us-east-1"),
    ("knative/nodes.yaml", "async, size: t3.medium", "async, size: t3.large", "terraform/variables.tf makes"),
    ("knative/nodes.yaml", "  memory: 712Mi", "  memory: 100Mi", "the kubelets keep"),
    ("knative/nodes.yaml", "value: storage, effect", "value: store, effect", "labels or taints of storage"),
    ("knative/nodes.yaml", 't3.medium: {cpu: "2"', 't3.medium: {cpu: "8"', "t3.medium with {'cpu': '8'"),
    ("knative/nodes.yaml", "requests: {cpu: 100m, memory: 900Mi}", "requests: {cpu: 90m, memory: 900Mi}",
     "prometheus is counted with"),
    ("ansible/roles/knative/defaults/main.yml", "requests: [activator, ", "requests: [", "activator is counted with"),
    ("ansible/roles/knative/vars/main.yml", 'logging: "false"', 'logging: "true"', "Kourier logs queries"),
    ("ansible/roles/knative/defaults/main.yml", "podspec-tolerations: enabled", "podspec-tolerations: disabled",
     "kubernetes.podspec-tolerations is not enabled"),
    ("knative/overlays/prod/platform/kustomization.yaml", "  - ../../../edge\n", "  - ../../../serving\n",
     "applies knative/serving, which Ansible owns"),
    ("ansible/versions.yml", "  knative_serving: 1.16.3", "  knative_serving: 1.16.0", "versions.yaml says 1.16.3"),
    ("ansible/versions.yml", "  argocd: ", "  istio: 1.20.0\n  argocd: ",
     "istio 1.20.0 is not in knative/versions.yaml"),
    ("ansible/versions.yml", 'pause: "3.9"', 'pause: "3.6"', "kubeadm 1.28 expects 3.9"),
    ("knative/versions.yaml", "  why: goes with Eventing 1.16\n", "", "knative_rabbitmq has no why"),
    ("knative/versions.yaml", "  version: 1.16.0\n", "  version: 1.17.0\n", "Kubernetes 1.28 runs 1.16 at most"),
    ("knative/versions.yaml", "0.8.2-pg14\n", "0.8.2-pg17\n", "label version 14, image of 17"),
    ("knative/data/kustomization.yaml", "  - redis.yaml\n", "", "knative/data/redis.yaml: not listed in"),
    ("knative/functions/grade.yaml", "waste-coach-grade:dev", "waste-coach-grade:latest", "is another tomorrow"),
    # what charts are told
    ("knative/argocd/values/kube-prometheus-stack.yaml", "auth.anonymous: {enabled: false}",
     "auth.anonymous: {enabled: true}", "auth.anonymous.enabled is True, not False"),
    ("knative/argocd/values/kube-prometheus-stack.yaml", "{existingSecret: grafana, ", "{password: hunter2, ",
     "grafana.admin.password stands in the open"),
    ("knative/argocd/values/kube-prometheus-stack.yaml", "  fullnameOverride: grafana",
     "  service: {type: LoadBalancer}\n  fullnameOverride: grafana", "grafana.service.type: LoadBalancer"),
    ("knative/argocd/values/external-secrets.yaml", "certController: {nodeSelector: *master, tolerations: *tolerated, ",
     "certController: {nodeSelector: *master, ", "certController: not placed on control-plane"),
    ("docs/runbooks/QueueDeep.md", "(ModelSlow.md)", "(ModelSlower.md)", "leads to ModelSlower.md, which is not there"),
    ("docs/runbooks/DeadLetters.md", "# DeadLetters\n", "# Letters\n",
     "docs/runbooks/DeadLetters.md: not `# DeadLetters`"),
    # the image
    ("functions/Dockerfile", " --require-hashes", "", "pip without --require-hashes"),
    ("functions/Dockerfile", "ARG FUNCTION\n", "ARG FUNCTION\nADD https://example.com/x /x\n",
     "ADD https://example.com/x /x"),
    ("functions/Dockerfile", "--invalidation-mode unchecked-hash ", "", "compileall: /venv/lib and /app, by"),
    ("functions/Dockerfile", "WORKDIR /app\n", "WORKDIR /app\nRUN chmod 755 /app\n", "the last stage is put together"),
    ("functions/Dockerfile", "USER 10001:10001", "USER 0:0", "USER 0:0: a number that is not root's"),
    ("functions/Dockerfile", "PYTHONDONTWRITEBYTECODE=1 ", "", "ENV PYTHONDONTWRITEBYTECODE is missing"),
    # the workflows
    (".github/workflows/ci.yaml", "runs-on: ubuntu-24.04", "runs-on: ubuntu-latest", "runs-on ubuntu-latest"),
    (".github/workflows/ci.yaml", "      - run: .ci/run\n", "      - run: .ci/run || true\n", "no job runs .ci/run"),
    (".github/workflows/ci.yaml", "  pull_request:\n", "  pull_request_target:\n",
     "on: pull_request_target is not for here"),
    (".github/workflows/ci.yaml", "permissions: {contents: read}", "permissions: write-all", "permissions write-all"),
    (".github/workflows/ci.yaml", "        run: make check-cluster\n",
     "        run: make check-cluster\n        continue-on-error: true\n", "continue-on-error: no such field"),
    (".github/workflows/build.yaml", '          cosign sign --yes "$SUBJECT"\n', "", "no image is signed"),
    (".github/workflows/build.yaml", "${{ matrix.tag }}", "latest", "tags ${{ env.IMAGE }}:latest"),
    (".github/workflows/build.yaml", "needs.changed.outputs.any", "needs.changed.outputs.some",
     "hands on no output some"),
    (".github/workflows/build.yaml", "permissions: {contents: read, packages: read}",
     "permissions: {contents: write, packages: read}", "permissions contents: write, and nothing in it needs that"),
    (".github/dependabot.yml", "github-actions\n", "github-action\n", "version 2 with github-actions at /"),
    # Ansible, beyond its linter
    ("ansible/roles/worker/tasks/join.yml", "  changed_when: true\n  no_log: true\n", "  changed_when: true\n",
     "without no_log: true"),
    ("ansible/roles/storage/tasks/main.yml", 'mode: "0700"', 'mode: "0777"',
     "mode 0777: others than its owner may write"),
    ("ansible/roles/control_plane/tasks/main.yml", 'mode: "0600"', 'mode: "0644"', "only its owner may read it (0600)"),
    ("ansible/roles/kubernetes/tasks/main.yml", "selection: hold", "selection: install", "selection install"),
    ("ansible/roles/common/tasks/main.yml", "notify: Load the kernel modules", "notify: Load them",
     "there is no handler 'Load them'"),
    ("ansible/roles/common/templates/journald.conf.j2", "common_journal_size", "common_jornal_size",
     "common_jornal_size is set nowhere"),
    ("ansible/roles/common/defaults/main.yml", "net.ipv4.ip_forward: 1", "net.ipv4.ip_forward: 0",
     "net.ipv4.ip_forward is 0"),
    ("ansible/roles/control_plane/templates/kubeadm.yaml.j2", "cgroupDriver: systemd", "cgroupDriver: cgroupfs",
     "cgroupDriver is not systemd"),
    ("ansible/roles/calico/defaults/main.yml", "CALICO_IPV4POOL_VXLAN, value: Always",
     "CALICO_IPV4POOL_VXLAN, value: Never",
     "not VXLAN alone"),
    ("ansible/group_vars/all.yml", "cluster_pod_cidr: 192.168.0.0/16", "cluster_pod_cidr: 10.0.0.0/16",
     "overlaps the VPC"),
    ("ansible/.ansible-lint", "profile: production", "profile: basic", "ansible/.ansible-lint: profile: production"),
    ("ansible/ansible.cfg", "[defaults]\n", "[defaults]\nhost_key_checking = False\n", "host_key_checking is off"),
    ("ansible/site.yml", "    - containerd\n", "", "the role containerd is in no play"),
    ("ansible/inventory/hosts.example.yml", "cluster_name: growbin-example", "cluster_label: growbin-example",
     "ansible_inventory says no cluster_label"),
    # Terraform
    ("terraform/modules/iam/functions.tf", '"s3:PutObject"', '"s3:*"', "allows s3:*"),
    ("terraform/modules/iam/functions.tf", '["s3:GetObject", "s3:DeleteObject"]', '["s3:Get*", "s3:Delete*"]',
     "allows s3:Delete*"),
    ("terraform/modules/iam/functions.tf", '["${var.photo_bucket_arn}/uploads/*", "${var.photo_bucket_arn}/photos/*"]',
     '["*"]', "on every resource"),
    ("terraform/modules/security_groups/main.tf", "  from_port         = 443\n", "  from_port         = 22\n",
     "the world reaches ports 22, 443"),
    ("terraform/examples/prod.tfvars", '"203.0.113.10/32"', '"0.0.0.0/0"', "admin_networks wider than /16"),
    ("terraform/examples/prod.tfvars", 'environment   = "prod"', 'environment   = "prod"\nprotected = false',
     "protected = false in prod"),
    ("terraform/modules/storage/main.tf", "visibility_timeout_seconds = 60", "visibility_timeout_seconds = 5",
     "terraform/modules/storage/main.tf: modules/storage: aws_sqs_queue.uploads: visibility_timeout_seconds below"),
    ("terraform/modules/storage/main.tf", "versioned   = true", "versioned   = false", "versioned: a backup"),
    ("terraform/modules/storage/main.tf", '["POST", "GET", "HEAD"]', '["GET", "HEAD"]', "CORS without POST"),
    ("terraform/modules/security_groups/main.tf", "port = 4789", "port = 8472", "between_nodes has no udp 4789"),
    ("terraform/variables.tf", "default     = 30080", "default     = 30443", "gateway_node_port 30443"),
    ("terraform/bootstrap/.terraform.lock.hcl", '= "5.100.0"', '= "5.99.0"', "bootstrap/.terraform.lock.hcl: not of"),
    ("knative/nodes.yaml", 'values: "external-secrets#webhook", ', "",
     "webhook of external-secrets.yaml asks for resources"),
    ("knative/overlays/prod/kustomization.yaml", "  - data\n", "", "prod/kustomization.yaml: data is not listed"),
    ("knative/argocd/values/kube-prometheus-stack.yaml", "ruleSelectorNilUsesHelmValues: false",
     "ruleSelectorNilUsesHelmValues: true", "ruleSelectorNilUsesHelmValues is True, not False"),
    ("functions/Dockerfile", "COPY functions/shared /app", "COPY functions /app/all\nCOPY functions/shared /app",
     "COPY functions: one function and what all share"),
    (".github/workflows/ci.yaml", "terraform_version: 1.11.4", "terraform_version: 1.5.7", "1.5.7: 1.11 or newer"),
    (".github/workflows/build.yaml", "REGISTRY: ghcr.io/", "REGISTRY: docker.io/",
     "the manifests take images from ghcr.io"),
    ("ansible/roles/control_plane/tasks/main.yml", "--skip-token-print",
     "--skip-token-print --ignore-preflight-errors=all",
     "Make the control plane: --ignore-preflight-errors"),
    ("ansible/roles/control_plane/templates/kubeadm.yaml.j2", "rotateCertificates: true", "failSwapOn: false",
     "failSwapOn: false: open to everybody"),
    ("ansible/roles/backup/defaults/main.yml", 'backup_schedule: "*-*-* 18:10:00"', "backup_schedule: yearly",
     "backup_schedule yearly: every day"),
    ("ansible/reset.yml", "that: reset_cluster | default('') == cluster_name", "that: true",
     "ansible/reset.yml: no assert that reset_cluster"),
    ("terraform/examples/dev.s3.tfbackend", "dev/terraform", "prod/terraform",
     "key prod/terraform.tfstate is not of dev"),
    ("terraform/examples/dev.tfvars", '"growbin-waste-photos-dev"', '"growbin-waste-photos"',
     "photo_bucket growbin-waste-photos is that of"),
    ("terraform/modules/iam/nodes.tf", '"s3:AbortMultipartUpload", "s3:GetObject"]', '"iam:PassRole", "s3:GetObject"]',
     "aws_iam_policy_document.backup: iam:PassRole"),
    ("terraform/variables.tf", '= "10.0.2.0/24"', '= "10.0.1.0/25"', "overlaps ap-northeast-2b 10.0.1.0/25"),
    ("terraform/variables.tf", 'disk_gb = 60, zone = "ap-northeast-2c"', 'disk_gb = 60, zone = "ap-northeast-2d"',
     "worker-2 is in ap-northeast-2d, where no subnet is"),
    ("terraform/modules/edge/main.tf", 'matcher             = "200"', 'matcher             = "200-499"',
     "health_check.matcher is"),
    ("terraform/variables.tf", '["worker-1", "worker-2"]', '["worker-1", "worker-3"]', "there is no node worker-3"),
    ("terraform/modules/iam/main.tf", "    grade    = data.aws_iam_policy_document.grade.json\n", "",
     "data.aws_iam_policy_document.grade: nothing uses it"),
    ("terraform/modules/security_groups/main.tf",
     'group_id = aws_security_group.control_plane.id\n  description       = "Kubernetes API',
     'group_id = aws_security_group.nodes.id\n  description       = "Kubernetes API', "port 6443 is one of"),
    ("knative/monitoring/kustomization.yaml", "files: [dashboards/cost.json]", "files: [dashboards/functions.json]",
     "knative/monitoring/dashboards/cost.json: not listed"),
    ("knative/prices.yaml", "hours: 730", "hours: 73", "hours 73: a month has"),
    ("knative/nodes.yaml", "pods: 110", "pods: 1100", "pods 1100: the kubelet takes 110"),
    ("functions/Dockerfile", "COPY --from=build /app", "COPY --from=build --chown=10001 /app",
     "its own process may change"),
    (".github/workflows/build.yaml", "build-args: FUNCTION=", "build-args: NAME=", "build: context . and build-args"),
    (".github/workflows/build.yaml", ", id-token: write}", "}", "cosign attest without permissions id-token: write"),
    (".github/workflows/build.yaml", "-m knative.argocd.digests prod", "-m knative.argocd.digest prod",
     "python -m knative.argocd.digest: no such module"),
    ("ansible/roles/worker/tasks/join.yml", "  always:\n", "  rescue:\n", "join.yaml with its token stays"),
    ("ansible/roles/control_plane/tasks/main.yml", "  retries: 30\n", "  retries: 0\n", "until without retries"),
    ("ansible/roles/knative/defaults/main.yml", "knative_serving_tier: application", "knative_serving_tier: storage",
     "knative_serving_tier storage, knative/nodes.yaml counts activator on application"),
    ("ansible/roles/argocd/defaults/main.yml", "argocd_root_path: knative/argocd", "argocd_root_path: knative/argo",
     "argocd_root_path knative/argo: there is no"),
    ("terraform/modules/edge/main.tf", "    host_header {", "    source_ip {", "no condition by host_header"),
]  # fmt: skip


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("tree")
    leave = shutil.ignore_patterns("__pycache__", "weights", ".terraform", ".ansible", "hosts.yml", "schema")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, to / folder, ignore=leave)
    _mains(to)
    shutil.copy(ROOT / "functions/Dockerfile", to / "functions/Dockerfile")
    return to


def _mains(to: Path) -> None:
    """Empty functions: the graph asks only whether they are there."""
    for main in (ROOT / "functions").glob("*/main.py"):
        (to / "functions" / main.parent.name).mkdir(parents=True)
        (to / "functions" / main.parent.name / "main.py").touch()


@pytest.fixture(scope="module")
def spoilt(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of a copy with every mistake in it."""
    to = tmp_path_factory.mktemp("spoilt") / "tree"
    shutil.copytree(copied, to)
    for file, right, wrong, _ in FILE_MISTAKES:
        before = (to / file).read_text(encoding="utf-8")
        assert right in before, f"{file}: {right}"
        (to / file).write_text(before.replace(right, wrong, 1), encoding="utf-8")
    return list(of_files(to))


@pytest.mark.parametrize(("file", "right", "wrong", "said"), FILE_MISTAKES)
def test_a_mistake_in_a_file_is_noticed(spoilt: list[str], file: str, right: str, wrong: str, said: str) -> None:
    assert any(said in problem for problem in spoilt), spoilt


@pytest.mark.unmeasured
@pytest.mark.parametrize(("file", "said"), [
    ("terraform/main.tf", "terraform/main.tf: no HCL"),
    ("ansible/site.yml", "ansible/site.yml: "),
    (".github/workflows/ci.yaml", ".github/workflows/ci.yaml: "),
    ("knative/argocd/values/external-secrets.yaml", "knative/argocd/values/external-secrets.yaml: "),
    ("knative/data/redis.yaml", "knative/data/redis.yaml: "),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_and_hides_nothing_else(copied: Path, file: str, said: str) -> None:
    before = (copied / file).read_text(encoding="utf-8")
    (copied / file).write_text(before + "\n}: {[\n", encoding="utf-8")
    try:
        found = problems(copied)
    finally:
        (copied / file).write_text(before, encoding="utf-8")
    assert any(said in problem for problem in found), found


def test_a_copy_without_mistakes_is_clean(copied: Path) -> None:
    assert list(of_files(copied)) == []


def test_a_deleted_trigger_breaks_the_graph_of_the_local_run(tmp_path: Path) -> None:
    for folder in ("knative/base", "knative/functions", "pipelines"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    _mains(tmp_path)
    assert graph_problems(tmp_path) == []
    file = tmp_path / "pipelines/analysis/triggers.yaml"
    assert "identify-on-photo-ingested" in file.read_text()
    kept = [e for e in yaml.safe_load_all(file.read_text()) if e["metadata"]["name"] != "identify-on-photo-ingested"]
    file.write_text(yaml.safe_dump_all(kept))
    assert "nobody has to consume app.growbin.waste.photo.v1.ingested" in graph_problems(tmp_path)


# --- the programs of others ----------------------------------------------------------------------------------------


def test_what_is_missing_is_skipped_aloud_and_what_is_wrong_is_placed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    says = "print('roles/common/tasks/main.yml:3: package-latest: no.'); print('Read more.'); raise SystemExit(2)"
    there = tools.Tool("a linter", (sys.executable, "-c", says), "ansible")
    monkeypatch.setattr(tools, "tools", lambda: [there, tools.Tool("another", ("no-such-program",), missing="get it")])
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "terraform" else which(name))
    monkeypatch.setattr(check, "problems", lambda: ["knative/x.yaml: a problem of ours"])
    assert check.main(["check"]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "PROBLEM  knative/x.yaml: a problem of ours",
        "PROBLEM  a linter: ansible/roles/common/tasks/main.yml:3: package-latest: no.",
    ]
    assert "SKIPPED  another: no-such-program is not here; get it" in said.out
    assert "SKIPPED  terraform fmt, validate, test, schema: install Terraform" in said.out
    assert re.search(r"\d+\.\d  a linter\n", said.out)
    assert re.search(r"\n2 problems in \d+ objects, and something was skipped\.$", said.out.rstrip())


def test_every_program_of_others_is_run() -> None:
    assert [tool.name.split(",")[0] for tool in tools.tools()] == [
        "terraform fmt", "ansible-lint", "ansible-playbook --syntax-check",
    ]  # fmt: skip


# --- render ----------------------------------------------------------------------------------------------------------


def _kustomizations() -> list[str]:
    """Those that no other one includes: between them they render everything."""
    found = [file.parent for file in (ROOT / "knative").rglob("kustomization.yaml")] + [ROOT / "pipelines"]
    wishes = {path: load(path / "kustomization.yaml") for path in found}
    inside = {(path / each).resolve() for path, wish in wishes.items() for each in wish.get("resources", [])}
    whole = [path for path, wish in wishes.items() if wish["kind"] == "Kustomization" and path not in inside]
    return sorted(path.relative_to(ROOT).as_posix() for path in whole)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")
@pytest.mark.parametrize("folder", _kustomizations())
def test_a_rendering_equals_kubectls(folder: str) -> None:
    done = subprocess.run(["kubectl", "kustomize", str(ROOT / folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = [each for each in yaml.safe_load_all(done.stdout) if each]
    ours = json.loads(json.dumps(render(ROOT / folder), default=str))

    def by_name(documents: list[Document]) -> dict[tuple[object, ...], Document]:
        return {(kind(each), namespace(each), name(each)): each for each in documents}

    assert by_name(ours) == by_name(json.loads(json.dumps(theirs, default=str)))
    assert len(ours) == len(theirs)


@pytest.mark.parametrize(("wish", "said"), [
    ({"resources": ["gone.yaml"]}, "there is no gone.yaml"),
    ({"namePrefix": "x-"}, "namePrefix: not understood here"),
    ({"resources": ["a.yaml", "b.yaml"]}, "there twice"),
    ({"resources": ["a.yaml"], "patches": [{"target": {"kind": "Role"}, "patch": "[]"}]}, "finds nothing to patch"),
])  # fmt: skip
def test_what_cannot_be_rendered_is_said(tmp_path: Path, wish: Document, said: str) -> None:
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {}}
    for file in ("a.yaml", "b.yaml"):
        (tmp_path / file).write_text(yaml.safe_dump(one))
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"kind": "Kustomization", **wish}))
    with pytest.raises(RenderError, match=said):
        render(tmp_path)


# --- capacity and cost -----------------------------------------------------------------------------------------------


def test_more_requests_make_more_pods_up_to_the_limit(prod: list[Document]) -> None:
    (made,) = pods([function(prod, "waste")])
    most = int(notes(prod, "waste")[SCALE + "max-scale"])
    counts = [capacity.scale(made, analyses) for analyses in (0, 1, 100, 10_000)]
    assert counts == [0, 1, most, most]


def test_every_pod_is_counted_once_or_missed_aloud(prod: list[Document]) -> None:
    plan = load(ROOT / "knative/nodes.yaml")
    for analyses in capacity.LOADS.values():
        filled, lost = capacity.place(prod, plan, analyses)
        assert lost == []
        assert sum(each.pods for each in filled) == sum(ask.pods for ask in capacity.asks(prod, plan, analyses))
    triggers = [each for each in prod if each["kind"] == "Trigger"]
    dispatchers = [ask for ask in capacity.asks(prod, plan, 0) if ask.name == "dispatchers of Triggers"]
    assert sum(ask.pods for ask in dispatchers) == 2 * len(triggers)


def test_the_bill_is_the_sum_of_its_lines_and_the_briefs_figures_do_not_hold(prod: list[Document]) -> None:
    lines = {line.what: line.usd for line in cost.bill(prod)}
    assert lines["2 × t3.large"] == pytest.approx(2 * 0.104 * 730)
    assert lines["7 public IPv4 addresses"] == pytest.approx(7 * 0.005 * 730)
    text = cost.table(prod)
    assert f"{sum(lines.values()):8.2f}" in text
    claims = load(ROOT / "knative/prices.yaml")["claims"]
    assert sum(lines.values()) > claims["cluster"]
    assert 0.1 / 1 * 730 / (sum(lines.values()) + 73) < claims["saved_percent"] / 100


# --- deploy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_deploy_says_what_it_would_do_and_touches_one_function(environment: str) -> None:
    said: list[str] = []
    before = kustomization("grade", environment).read_bytes()
    deploy("grade", environment, Shell(dry=True, out=said.append))
    assert kustomization("grade", environment).read_bytes() == before
    assert any("docker build" in line and "FUNCTION=grade" in line for line in said)
    assert any("kubectl apply" in line for line in said) == (environment != "prod"), "Argo CD alone applies in prod"
    assert any("ksvc/grade" in line for line in said)
    assert any("git commit" in line for line in said) == (environment == "prod")


def test_a_canary_splits_the_traffic_and_the_next_deploy_ends_it(tmp_path: Path) -> None:
    before = kustomization("grade", "prod").read_text(encoding="utf-8")
    split: list[Document] = [{"latestRevision": True, "percent": 10}, {"revisionName": "grade-00007", "percent": 90}]
    digest = "sha256:" + "a" * 64
    canary = written(before, "grade", split, digest)
    file = tmp_path / "kustomization.yaml"
    file.write_text(canary)
    assert [
        yaml.safe_load(each["patch"])[0]["value"] for each in load(file)["patches"] if "/spec/traffic" in str(each)
    ] == [split]
    assert {"name": "ghcr.io/sesacthon/waste-coach-grade", "digest": digest} in load(file)["images"]
    after = written(canary, "grade", None, "sha256:" + "b" * 64)
    assert "/spec/traffic" not in after
    assert written(written(before, "grade", split, ""), "grade", None, "") == written(before, "grade", None, "")


DOCKER = """#!/bin/sh
echo "docker $*" >> "$LOG"
case "$*" in *imagetools*) [ -e "$LOG.there" ] && echo '{"digest": "sha256:THERE"}'; exit ;; esac
case "$*" in *inspect*) echo "ghcr.io/sesacthon/waste-coach-grade@sha256:DIGEST" ;; esac
"""
KUBECTL = """#!/bin/sh
echo "kubectl $*" >> "$LOG"
case "$*" in
  *"get ksvc"*) echo '{"status": {"latestCreatedRevisionName": "grade-00002", "traffic": TRAFFIC}}' ;;
  *"get revisions"*) echo '{"items": []}' ;;
  *apply*) cat > "$LOG.applied" ;;
esac
"""


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy in a git repository with an origin; a docker and a kubectl that only write down what they are told."""
    root, tools = tmp_path / "tree", tmp_path / "tools"
    for folder in ("knative", "pipelines", "functions/shared", "functions/grade"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "weights", "local"))
    for file in ("functions/Dockerfile", "functions/__init__.py"):
        shutil.copy(ROOT / file, root / file)
    tools.mkdir()
    traffic = [{"revisionName": "grade-00002", "percent": 10}, {"revisionName": "grade-00001", "percent": 90}]
    scripts = {
        "docker": DOCKER.replace("DIGEST", "d" * 64).replace("THERE", "e" * 64),
        "kubectl": KUBECTL.replace("TRAFFIC", json.dumps(traffic)),
    }
    for called, script in scripts.items():
        (tools / called).write_text(script)
        (tools / called).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    for words in (("init", "-q", "--bare", str(tmp_path / "origin.git")), ("init", "-q", "-b", "main", str(root))):
        subprocess.run(("git", *words), check=True)
    for line in ("config user.name x", "config user.email x@example.com", "add --all", "commit -q -m first",
                 f"remote add origin {tmp_path}/origin.git", "push -q -u origin main"):  # fmt: skip
        subprocess.run(("git", *line.split()), cwd=root, check=True)
    return root


def test_a_deploy_to_prod_commits_the_digest_and_leaves_the_rest_to_argo_cd(workshop: Path) -> None:
    def traffic() -> Any:
        made = render(workshop / "knative/overlays/prod/functions")
        (service,) = (each for each in made if kind(each)[1] == "Service" and name(each) == "grade")
        return service["spec"].get("traffic")

    deploy("grade", "prod", Shell(out=lambda line: None, root=workshop), canary=10, root=workshop)
    digest, log = "sha256:" + "d" * 64, workshop.parent / "log"
    pushed = subprocess.run(
        ("git", "--git-dir", str(workshop.parent / "origin.git"), "show", "--name-only", "--format=%s", "main"),
        capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    assert [line for line in pushed if line] == [
        "Deploy grade to prod",
        "knative/overlays/prod/functions/kustomization.yaml",
    ]
    assert traffic() == [{"latestRevision": True, "percent": 10}, {"revisionName": "grade-00001", "percent": 90}]
    said = log.read_text()
    refreshed, *waits, ready = [line for line in said.splitlines() if re.match("kubectl (annotate|wait)", line)]
    assert refreshed.endswith("function-grade argocd.argoproj.io/refresh=normal")
    assert [re.findall("--for=jsonpath=(.*) --timeout", line)[0] for line in waits] == [
        f"{{.spec.template.spec.containers[0].image}}=ghcr.io/sesacthon/waste-coach-grade@{digest}",
        "{.spec.traffic[0].latestRevision}=true",
        "{.spec.traffic[0].percent}=10",
    ]
    assert "condition=Ready" in ready
    assert f"--tag ghcr.io/sesacthon/waste-coach-grade:{tag('grade', workshop)} ." in said
    assert "kubectl wait --namespace growbin ksvc/grade --for=condition=Ready" in said

    rollback("grade", "prod", Shell(out=lambda line: None, root=workshop), root=workshop)
    assert traffic() == [{"revisionName": "grade-00001", "percent": 100}]
    assert "{.spec.traffic[0].revisionName}=grade-00001 " in log.read_text()

    deploy("grade", "prod", Shell(out=lambda line: None, root=workshop), root=workshop)
    assert traffic() is None
    assert "{.spec.traffic[0].percent}=100 " in log.read_text().rpartition("docker push")[2]
    assert "apply" not in log.read_text(), "what kubectl applies is kubectl's, too, and Argo CD could not take it away"


def test_a_deploy_to_dev_applies_one_function(workshop: Path) -> None:
    deploy("grade", "dev", Shell(out=lambda line: None, root=workshop), root=workshop)
    (applied_,) = yaml.safe_load_all((workshop.parent / "log.applied").read_text())
    assert name(applied_) == "grade"
    assert applied_["spec"]["template"]["spec"]["containers"][0]["image"].endswith("@sha256:" + "d" * 64)


def test_an_image_that_is_in_the_registry_is_taken_as_it_is(workshop: Path) -> None:
    (workshop.parent / "log.there").touch()
    deploy("grade", "prod", Shell(out=lambda line: None, root=workshop), root=workshop)
    said = (workshop.parent / "log").read_text()
    assert "docker build --" not in said
    assert "docker push" not in said
    assert "sha256:" + "e" * 64 in kustomization("grade", "prod", workshop).read_text()


def test_what_is_not_committed_does_not_reach_prod(workshop: Path) -> None:
    (workshop / "functions/grade/main.py").write_text("# another\n")
    with pytest.raises(DeployError, match="commit the function first"):
        deploy("grade", "prod", Shell(out=lambda line: None, root=workshop), root=workshop)
    assert not (workshop.parent / "log").exists(), "nothing was asked of docker or the cluster"


def test_a_deploy_comes_after_what_ci_wrote_in_between(workshop: Path) -> None:
    other = workshop.parent / "other"
    subprocess.run(("git", "clone", "-q", "-b", "main", str(workshop.parent / "origin.git"), str(other)), check=True)
    (other / "knative/overlays/README.md").write_text("Images of 0123\n")
    for line in ("config user.name ci", "config user.email ci@example.com", "commit -q -a -m Images", "push -q"):
        subprocess.run(("git", *line.split()), cwd=other, check=True)
    deploy("grade", "prod", Shell(out=lambda line: None, root=workshop), root=workshop)
    words = ("git", "log", "--format=%s", "origin/main")
    log = subprocess.run(words, cwd=workshop, capture_output=True, text=True, check=True)
    assert log.stdout.split("\n")[:2] == ["Deploy grade to prod", "Images"]


def test_nothing_is_applied_where_nothing_was_built(workshop: Path) -> None:
    docker = workshop.parent / "tools/docker"
    docker.write_text(docker.read_text() + 'case "$1" in build) exit 1 ;; esac\n')
    before = kustomization("grade", "prod", workshop).read_bytes()
    with pytest.raises(DeployError, match="docker failed"):
        deploy("grade", "prod", Shell(out=lambda line: None, root=workshop), root=workshop)
    assert kustomization("grade", "prod", workshop).read_bytes() == before
    assert "apply" not in (workshop.parent / "log").read_text()


def _revision(number: int, ready: str = "True") -> Document:
    labels = {"serving.knative.dev/configurationGeneration": str(number)}
    conditions = [{"type": "Ready", "status": ready}]
    return {"metadata": {"name": f"grade-{number:05}", "labels": labels}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(("traffic", "revisions", "back"), [
    ([], [_revision(8), _revision(9), _revision(10)], "grade-00009"),
    ([], [_revision(9, "False"), _revision(10), _revision(8)], "grade-00008"),
    ([{"revisionName": "grade-00010", "percent": 10}, {"revisionName": "grade-00007", "percent": 90}],
     [_revision(7), _revision(9), _revision(10)], "grade-00007"),
])  # fmt: skip
def test_going_back_is_to_the_revision_that_served(traffic: Any, revisions: Any, back: str) -> None:
    status = {"latestCreatedRevisionName": "grade-00010", "traffic": traffic}
    assert previous({"status": status}, revisions) == back


def test_going_back_from_the_first_revision_is_refused() -> None:
    with pytest.raises(DeployError, match="no revision before"):
        previous({"status": {"latestCreatedRevisionName": "grade-00001"}}, [_revision(1)])


def test_a_rollback_pins_the_traffic_and_writes_it_down_in_prod() -> None:
    said: list[str] = []
    rollback("grade", "prod", Shell(dry=True, out=said.append))
    assert any("git commit" in line and "kustomization.yaml" in line for line in said)
    assert not any("kubectl apply" in line for line in said)
    assert not any("docker" in line for line in said)


@pytest.mark.parametrize(("called", "environment", "said"), [
    ("grader", "dev", "FUNCTION is one of"), ("grade", "staging", "ENV is one of"),
])  # fmt: skip
def test_a_deploy_of_what_is_not_there_is_refused(called: str, environment: str, said: str) -> None:
    with pytest.raises(DeployError, match=said):
        deploy(called, environment, Shell(dry=True, out=lambda line: None))


def test_a_tag_is_that_of_the_files_in_the_image_alone(tmp_path: Path) -> None:
    for folder in ("functions/shared", "functions/grade", "functions/web"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("functions/Dockerfile", "functions/__init__.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    first = tag("grade", tmp_path)
    assert tag("grade", tmp_path) == first
    assert tmp_path / "functions/grade/requirements.txt" in inputs("grade", tmp_path)
    changed: dict[str, bool] = {}
    for file in ("functions/shared/function.py", "functions/grade/handler.py", "functions/grade/requirements.txt",
                 "functions/Dockerfile", "functions/web/main.py"):  # fmt: skip
        before = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(before + b"\n# another\n")
        changed[file] = tag("grade", tmp_path) != first
        (tmp_path / file).write_bytes(before)
    assert changed.pop("functions/web/main.py") is False
    assert all(changed.values()), changed
    assert tag("web", tmp_path) != first


def test_a_long_text_is_looked_at_in_no_time(prod: list[Document]) -> None:
    prod.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"x": "a" * 1_100_000}})
    began = time.monotonic()
    assert list(security.no_secret_stands_in_the_open(prod)) == []
    assert time.monotonic() - began < 20


def test_secrets_are_known_by_their_shape() -> None:
    keys = ["sk-" + "a" * 24, "postgres://app:pw@host/db", "-----BEGIN PRIVATE KEY-----", "ghp_" + "a" * 36]
    fine = ["http://waste-broker-ingress.growbin-events.svc.cluster.local/", "postgres://${USER}:${PASSWORD}@host/db"]
    assert [bool(security.SECRET.search(each)) for each in (*keys, *fine)] == [True] * 4 + [False] * 2
