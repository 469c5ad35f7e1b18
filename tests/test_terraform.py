"""The AWS side without AWS: what the files say, held against what they must never say.

That the provider itself takes them (`terraform validate`, `terraform test`) is `python -m terraform.provider`: it needs
the provider, and a minute.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from functions.recover.photos import REPLAYABLE
from functions.shared import naming
from terraform import checks, provider, reading, schema

#: Little of what runs here is counted (pyproject.toml), and all of it would be slower.
pytestmark = pytest.mark.unmeasured

REPOSITORY = Path(__file__).parents[1]
FILES = reading.files()
TREE = reading.tree(FILES)
PLATFORM = yaml.safe_load((REPOSITORY / "knative/base/config.yaml").read_text())["data"]


def defaults(name: str) -> Any:
    """The default of a variable of the root."""
    (block,) = [block for block in TREE.modules[""].of("variable") if block.name == name]
    return block.body["default"]


def test_nothing_is_wrong() -> None:
    assert checks.problems(FILES) == {}


@pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not on this machine")
def test_everything_is_formatted() -> None:
    assert provider.formatted() == ""


def test_the_schema_knows_exactly_what_is_used() -> None:
    known = schema.known()
    assert {(kind, type_) for kind in ("resource", "data") for type_ in known[kind]} == schema.used()
    assert known["provider"].endswith(" 5.100.0")


def test_the_nodes_are_those_that_were_ordered() -> None:
    nodes = {
        name: (literal["tier"], literal["instance_type"], literal["disk_gb"], literal["zone"])
        for name, node in defaults("nodes").items()
        if (literal := {key: reading.literal(value) for key, value in node.items()})
    }
    assert nodes == {
        "master": ("control-plane", "t3.large", 80, "ap-northeast-2a"),
        "worker-1": ("application", "t3.medium", 60, "ap-northeast-2b"),
        "worker-2": ("async", "t3.medium", 60, "ap-northeast-2c"),
        "storage": ("storage", "t3.large", 60, "ap-northeast-2a"),
    }
    subnets = {zone: reading.literal(range_) for zone, range_ in defaults("subnets").items()}
    assert subnets == {
        "ap-northeast-2a": "10.0.1.0/24",
        "ap-northeast-2b": "10.0.2.0/24",
        "ap-northeast-2c": "10.0.3.0/24",
    }
    assert reading.literal(defaults("vpc_cidr")) == "10.0.0.0/16"


def test_ports_that_the_cluster_needs_are_open_between_nodes() -> None:
    ports = TREE.modules["modules/security_groups"].locals["between_nodes"].values()
    open_ = {(reading.literal(one["protocol"]), reading.literal(one["port"])) for one in ports}
    assert {("udp", 4789), ("tcp", 10250), ("tcp", 6443)} <= open_


def test_nothing_is_put_into_a_subnet_before_it_leads_out() -> None:
    (output,) = [block for block in TREE.modules["modules/network"].of("output") if block.name == "subnet_ids"]
    assert ("aws_route", "internet") in reading.references(output.body["depends_on"])


def test_the_lifecycle_takes_nothing_from_recover() -> None:
    assert defaults("upload_days") > REPLAYABLE.days
    assert defaults("photo_days") > int(PLATFORM["PHOTO_DAYS"])
    said = TREE.modules["modules/storage"].locals
    assert [reading.literal(said[name]) for name in ("uploads", "photos")] == [
        f"{naming.UPLOADS}/",
        f"{naming.PHOTOS}/",
    ]


def test_production_is_what_the_functions_are_told() -> None:
    prod = TREE.examples["examples/prod.tfvars"]
    assert reading.literal(prod["photo_bucket"]) == PLATFORM["S3_BUCKET"]
    assert f"https://{reading.literal(prod['domain_name'])}" == PLATFORM["CORS_ORIGINS"]
    assert reading.literal(defaults("region")) == PLATFORM["S3_REGION"]


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_overlay_says_what_is_made(environment: str) -> None:
    overlay = (REPOSITORY / f"knative/overlays/{environment}").rglob("*.yaml")
    said = set(re.findall(r"[\w:/.-]+", "\n".join(path.read_text() for path in overlay)))
    given = {name: reading.literal(value) for name, value in TREE.examples[f"examples/{environment}.tfvars"].items()}
    assert {given["photo_bucket"], given["backup_bucket"], f"https://{given['domain_name']}"} <= said
    assert any(word.endswith(f"/growbin-{environment}-uploads") for word in said)


def test_the_cluster_may_read_the_secrets_it_asks_for_and_no_others() -> None:
    asked = re.findall(r"remoteRef: \{key: ([\w/-]+)", (REPOSITORY / "knative/secrets/external.yaml").read_text())
    assert {key.rpartition("/")[2] for key in asked} == set(reading.literal(defaults("secrets")))


def test_the_load_balancer_knocks_where_the_gateway_is() -> None:
    gateway = yaml.safe_load_all((REPOSITORY / "knative/edge/gateway.yaml").read_text())
    (port,) = next(one for one in gateway if one["kind"] == "Service")["spec"]["ports"]
    assert port["nodePort"] == defaults("gateway_node_port")


def test_every_function_that_reads_the_store_has_a_user() -> None:
    manifests = (REPOSITORY / "knative/functions").glob("*.yaml")
    touching = {path.stem for path in manifests if "AWS_ACCESS_KEY_ID" in path.read_text()}
    assert touching | {"s3source"} == TREE.modules["modules/iam"].locals["functions"].keys()


def test_the_inventory_is_the_one_that_ansible_reads() -> None:
    example = yaml.safe_load((REPOSITORY / "ansible/inventory/hosts.example.yml").read_text())["all"]
    (output,) = [block for block in TREE.modules[""].of("output") if block.name == "ansible_inventory"]
    said = set(re.findall(r"(\w+)\s*=", output.body["value"]))
    hosts = {key for group in example["children"].values() for host in group["hosts"].values() for key in host}
    assert example["vars"].keys() | hosts <= said
    tiers = {reading.literal(node["tier"]).replace("-", "_") for node in defaults("nodes").values()}
    assert example["children"].keys() == tiers
    names = {name for group in example["children"].values() for name in group["hosts"]}
    assert names == {f"growbin-{name}" for name in defaults("nodes")}


def test_names_of_ones_own_are_one_command_each(tmp_path: Path) -> None:
    commands = re.findall(r"^git grep -lE .* \| xargs sed .*$", (REPOSITORY / "docs/deploy.md").read_text(), re.M)
    told = {"YOUR-ACCOUNT": "someone", "YOUR-PREFIX": "ours", "YOUR.DOMAIN": "example.org"}
    for name in ("knative", "terraform", "ansible", "functions", ".github", "tests", "docs"):
        left_out = shutil.ignore_patterns("__pycache__", "weights", ".terraform", "*.auto.tfvars")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=left_out)
    script = "\n".join(["set -e", "git init -q", "git add -A", *commands])
    for name, own in told.items():
        assert script.count(name) == 1
        script = script.replace(name, own)
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, capture_output=True)
    old = re.compile(r"(ghcr\.io|github\.com)/sesacthon|growbin-(waste|terraform-state)|//(dev\.)?growbin\.app")
    places = [*(tmp_path / "knative").rglob("*.yaml"), *(tmp_path / "terraform").rglob("*.tf*")]
    assert [str(path) for path in places if path.is_file() and old.search(path.read_text())] == []
    tiers = "knative/tiers/functions/kustomization.yaml"
    assert (tmp_path / tiers).read_text() == (REPOSITORY / tiers).read_text(), "labels keep their prefix"
    base = yaml.safe_load((tmp_path / "knative/base/config.yaml").read_text())["data"]
    assert base["S3_BUCKET"] == re.sub("^growbin-", "ours-", PLATFORM["S3_BUCKET"])
    assert base["CORS_ORIGINS"] == PLATFORM["CORS_ORIGINS"].replace("growbin.app", "example.org")


def test_what_a_reference_is() -> None:
    assert reading.references('"${var.a}-var.b ${join(",", ["local.c", local.d])}"') == {("var", "a"), ("local", "d")}
    assert reading.references("${aws_x.y[var.z].id}") == {("aws_x", "y", "id"), ("var", "z")}
    assert reading.references('${{ for a in data.aws_p.q : a => module.m.o["k"] }}') == {
        ("data", "aws_p", "q"),
        ("module", "m", "o"),
    }


GROUPS, BUCKET, STORAGE = "modules/security_groups/main.tf", "modules/bucket/main.tf", "modules/storage/main.tf"
NODES, EDGE, IAM, NETWORK = "modules/nodes/main.tf", "modules/edge/main.tf", "modules/iam/", "modules/network/main.tf"
RULE = """
resource "aws_vpc_security_group_ingress_rule" "planted" {{
  security_group_id = aws_security_group.{group}.id
  ip_protocol       = "tcp"
  from_port         = {port}
  to_port           = {port}
  {source}
}}
"""
STATEMENT = """
data "aws_iam_policy_document" "planted" {{
  statement {{
    actions   = ["{action}"]
    resources = ["{resource}"]
  }}
}}
"""
WORLD, FROM_NODES = 'cidr_ipv4 = "0.0.0.0/0"', "referenced_security_group_id = aws_security_group.nodes.id"

#: check → mistakes it must find: (file, what is there, what somebody wrote instead); "" is at the end of the file.
PLANTED = {
    "private": [
        (GROUPS, "", RULE.format(group="nodes", port=22, source=WORLD)),
        (GROUPS, "", RULE.format(group="control_plane", port=6443, source=WORLD)),
        (GROUPS, "", RULE.format(group="alb", port=8443, source=WORLD)),
        (GROUPS, "", RULE.format(group="nodes", port=30080, source=WORLD)),
        (GROUPS, "", RULE.format(group="nodes", port=31000, source=FROM_NODES)),
        (GROUPS, "", RULE.format(group="nodes", port=22, source=FROM_NODES)),
        (GROUPS, "", RULE.format(group="nodes", port=22, source='cidr_ipv4 = "198.51.0.0/16"')),
        (GROUPS, "", RULE.format(group="nodes", port=443, source='cidr_ipv6 = "::/0"')),
        (GROUPS, "Control plane: the Kubernetes API", "Control plane: the cluster's API"),
        (GROUPS, "  to_port           = 22\n", "  to_port           = 6443\n"),
        (GROUPS, "referenced_security_group_id = aws_security_group.alb.id", FROM_NODES),
        ("modules/security_groups/variables.tf", ">= 16", ">= 0"),
        (
            "variables.tf",
            'none wider than /16."\n  type        = map(string)',
            'any."\n  type = map(string)\n  default = {}',
        ),
        ("examples/prod.tfvars", "203.0.113.10/32", "0.0.0.0/0"),
        (NETWORK, "map_public_ip_on_launch = false", "map_public_ip_on_launch = true"),
        (NETWORK, 'Name = "${var.name}-default-closed" }', 'Name = "x" }\n  ingress {\n    protocol = "-1"\n  }'),
        (NODES, "", 'resource "aws_lb" "second" {\n  internal = false\n}\n'),
        (BUCKET, "block_public_policy     = true", "block_public_policy     = false"),
        (BUCKET, '"BucketOwnerEnforced"', '"ObjectWriter"'),
        (BUCKET, '"aws:SecureTransport"', '"aws:SourceIp"'),
    ],
    "encrypted": [
        (NODES, "encrypted   = true", "encrypted   = false"),
        (NODES, "    encrypted   = true\n", ""),
        (
            BUCKET,
            '"aws_s3_bucket_server_side_encryption_configuration" "this" {\n  bucket = aws_s3_bucket.this.id',
            '"aws_s3_bucket_server_side_encryption_configuration" "this" {\n  bucket = "another"',
        ),
        (STORAGE, "  sqs_managed_sse_enabled   = true\n", ""),
        (EDGE, "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-2016-08"),
        (EDGE, 'type = "redirect"', 'type = "forward"'),
    ],
    "guarded": [
        (NODES, 'http_tokens                 = "required"', 'http_tokens                 = "optional"'),
        (NODES, "http_put_response_hop_limit = 2", "http_put_response_hop_limit = 1"),
        (NODES, "  lifecycle {", '  provisioner "local-exec" {\n    command = "true"\n  }\n\n  lifecycle {'),
    ],
    "least": [
        (IAM + "functions.tf", '["s3:PutObject"]', '["s3:*"]'),
        (IAM + "functions.tf", '["${var.photo_bucket_arn}/uploads/*"]', '["*"]'),
        (IAM + "functions.tf", '["${var.photo_bucket_arn}/uploads/*"]', '["arn:aws:s3:::*"]'),
        (IAM + "functions.tf", "${var.photo_bucket_arn}/photos/*", "${var.photo_bucket_arn}/*"),
        (IAM + "functions.tf", 'actions   = ["s3:PutObject"]', 'not_actions   = ["s3:PutObject"]'),
        (IAM + "functions.tf", "", STATEMENT.format(action="*", resource="arn:aws:s3:::x")),
        (IAM + "ebs_csi.tf", '"ec2:DescribeTags",', '"ec2:DescribeTags", "ec2:DeleteVolume",'),
        (IAM + "main.tf", "policy = each.value\n", 'policy = jsonencode({ Statement = [{ Action = "*" }] })\n'),
        (IAM + "main.tf", '["ec2.amazonaws.com"]', '["*"]'),
        (IAM + "main.tf", "", 'resource "aws_iam_access_key" "presign" {\n  user = "presign"\n}\n'),
        (
            IAM + "main.tf",
            "",
            'resource "aws_iam_role_policy_attachment" "all" {\n  policy_arn = "AdministratorAccess"\n}\n',
        ),
        (STORAGE, 'variable = "aws:SourceArn"', 'variable = "aws:SourceVpc"'),
        (NODES, "", 'resource "tls_private_key" "admin" {\n  algorithm = "ED25519"\n}\n'),
    ],
    "delivered": [
        (STORAGE, "redrive_policy = jsonencode", "tags = merge"),
        (
            STORAGE,
            "queue_url = aws_sqs_queue.uploads.id\n  policy ",
            "queue_url = aws_sqs_queue.dead_letters.id\n  policy ",
        ),
    ],
    "resolved": [
        ("outputs.tf", "module.edge.url", "module.edge.address"),
        ("main.tf", "module.network.vpc_id", "module.vpc.id"),
        ("main.tf", "  backup_days   = var.backup_days\n", ""),
        ("main.tf", "  backup_days   = var.backup_days\n", "  backup_days   = var.backup_days\n  keep = 1\n"),
        ("variables.tf", "", 'variable "unused" {\n  description = "x"\n  type = string\n  default = ""\n}\n'),
        ("examples/dev.tfvars", "cpu_credits", "cpu_credit"),
        ("examples/dev.tfvars", 'environment   = "dev"\n', ""),
        (EDGE, "var.gateway_health_path", "var.health_path"),
        (EDGE, "aws_lb.this.dns_name", "aws_lb.this.dns"),
        (EDGE, "aws_lb_listener.https.arn", "aws_lb_listener.tls.arn"),
        (EDGE, "local.validation.resource_record_name", "local.valid.resource_record_name"),
        ("modules/edge/outputs.tf", "", 'output "unheard" {\n  description = "x"\n  value = aws_lb.this.arn\n}\n'),
    ],
    "arguments": [
        (NODES, "  ebs_optimized               = true", "  ebs_optimised               = true"),
        (NODES, "ebs_optimized               = true", 'ebs_optimized               = "yes"'),
        (NODES, "    volume_type =", "    type ="),
        (NODES, "credit_specification {", "credits {"),
        (NODES, "  ebs_optimized               = true", '  arn                         = "arn:x"'),
        (EDGE, "  vpc_id               = var.vpc_id\n", "  vpc_id               = [var.vpc_id]\n"),
        (EDGE, "  listener_arn = aws_lb_listener.https.arn\n", ""),
        (STORAGE, "visibility_timeout_seconds = 60", 'visibility_timeout_seconds = "1m"'),
        (STORAGE, 'resource "aws_sqs_queue_policy"', 'resource "aws_sqs_policy"'),
    ],
    "complete": [
        ("versions.tf", "use_lockfile = true", "use_lockfile = false"),
        ("versions.tf", '"5.100.0"', '"~> 5.0"'),
        ("modules/edge/versions.tf", 'version = ">= 5.100.0, < 6.0.0"', ""),
        ("modules/edge/variables.tf", '  description = "The VPC of the target group."\n', ""),
    ],
}


@pytest.mark.parametrize(
    ("check", "path", "there", "instead"),
    [(check, *mistake) for check, mistakes in PLANTED.items() for mistake in mistakes],
)
def test_a_planted_mistake_is_found(check: str, path: str, there: str, instead: str) -> None:
    text = FILES[path]
    assert there in text, "what was to be exchanged is not there any more"
    wrong = text.replace(there, instead, 1) if there else text + instead
    hcl2.loads(wrong)
    assert checks.problems(FILES | {path: wrong}, check)


def test_a_missing_file_is_found() -> None:
    without = {path: text for path, text in FILES.items() if path != "modules/edge/README.md"}
    assert checks.problems(without) == {"complete": ["modules/edge: README.md is missing"]}


def test_checks_say_what_is_wrong_and_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checks.main() == 0
    assert capsys.readouterr().out == ""
    open_ = FILES | {GROUPS: FILES[GROUPS] + RULE.format(group="nodes", port=22, source=WORLD)}
    monkeypatch.setattr(checks, "files", lambda: open_)
    assert checks.main() == 1
    assert "aws_vpc_security_group_ingress_rule.planted: open to the world" in capsys.readouterr().out


def test_the_provider_is_found_where_its_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRAFORM_PLUGINS", str(tmp_path))
    assert provider.plugins() is None
    (tmp_path / schema.PROVIDER).mkdir(parents=True)
    assert provider.plugins() == tmp_path


def test_what_was_asked_for_is_not_skipped_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(provider, "PLACES", (str(tmp_path),))
    for path in (os.environ["PATH"], ""):
        monkeypatch.setenv("PATH", path)
        monkeypatch.delenv("TERRAFORM_PLUGINS", raising=False)
        assert provider.main([]) == 0
        assert "validate, test, schema: skipped" in capsys.readouterr().out
        monkeypatch.setenv("TERRAFORM_PLUGINS", str(tmp_path))
        assert provider.main([]) == 1
        assert "validate, test, schema: skipped" in capsys.readouterr().out
