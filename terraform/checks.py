"""Every check of the Terraform files that needs neither Terraform nor AWS.

`python -m terraform.checks` prints what is wrong, and where.
"""

from __future__ import annotations

import ipaddress
import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from terraform import fitting, reach, rights
from terraform.reading import Tree, expression, files, literal, references, tree

#: Rights to get rights, to run commands on nodes, and to end or open what holds data.
POWERFUL = re.compile(
    r"(iam|organizations|account|kms):|sts:(?!AssumeRole$)|s3:(PutBucket|DeleteBucket|PutObjectAcl|PutEncryption)"
    r"|ssm:(Put|Delete|Send|Start)|ec2:(RunInstances|TerminateInstances|AuthorizeSecurityGroup|ModifyInstanceMetadata)"
    r"|sqs:(DeleteQueue|SetQueueAttributes|AddPermission)"
)
#: Seconds that the poller may hold a message for one turn (functions/s3source), and a day.
POLLER_SECONDS, DAY = 60, 24 * 3600


def encrypted(found: Tree) -> Iterator[str]:
    """Disks, buckets, queues and the wire."""
    for block in found.all("resource", "aws_instance"):
        disks = block.nested("root_block_device")
        if not disks or any(one.get("encrypted") is not True for one in disks + block.nested("ebs_block_device")):
            yield f"{block.address}: a disk is not encrypted"
    for block in found.all("resource", "aws_ebs_volume", "aws_efs_file_system"):
        if block.body.get("encrypted") is not True:
            yield f"{block.address}: is not encrypted"
    for block in found.all("resource", "aws_s3_bucket"):
        ways = found.modules[block.module].of("resource", "aws_s3_bucket_server_side_encryption_configuration")
        if not any(expression(way.body.get("bucket")) == f"aws_s3_bucket.{block.name}.id" for way in ways):
            yield f"{block.address}: is not encrypted"
    for block in found.all("resource", "aws_sqs_queue"):
        if block.body.get("sqs_managed_sse_enabled") is not True and "kms_master_key_id" not in block.body:
            yield f"{block.address}: is not encrypted"
    for block in found.all("resource", "aws_lb_listener"):
        if literal(block.body.get("protocol")) == "HTTPS":
            if not str(literal(block.body.get("ssl_policy"))).startswith("ELBSecurityPolicy-TLS13-1-2"):
                yield f"{block.address}: old TLS"
        elif [literal(one.get("type")) for one in block.nested("default_action")] != ["redirect"]:
            yield f"{block.address}: answers without TLS"


def guarded(found: Tree) -> Iterator[str]:
    """IMDSv2 with two hops on every node; nothing made by a script nobody sees."""
    for block in found.all("resource"):
        if "provisioner" in block.body:
            yield f"{block.address}: a provisioner does what no plan shows"
        if block.type == "aws_instance":
            options = block.nested("metadata_options") or [{}]
            if (
                literal(options[0].get("http_tokens")) != "required"
                or options[0].get("http_put_response_hop_limit") != 2
            ):
                yield f"{block.address}: IMDSv2 must be required, with two hops"
            if "user_data" in block.body or "key_name" not in block.body:
                yield f"{block.address}: Ansible makes a node, over SSH"


def delivered(found: Tree) -> Iterator[str]:
    """Every queue has dead letters, every event its permission, and the poller time to work."""
    for module in found.modules.values():
        queues = {block.name: block for block in module.of("resource", "aws_sqs_queue")}
        dead = {
            reference[1]
            for block in queues.values()
            for reference in references(block.body.get("redrive_policy"))
            if reference[0] == "aws_sqs_queue"
        }
        yield from (
            f"{queues[n].address}: has no dead letters"
            for n in queues.keys() - dead
            if "redrive_policy" not in queues[n].body
        )
        for event in module.of("resource", "aws_s3_bucket_notification"):
            heard = {ref[1] for one in event.nested("queue") for ref in references(one) if ref[0] == "aws_sqs_queue"}
            allowed = {
                ref[1]
                for one in module.of("resource", "aws_sqs_queue_policy")
                for ref in references(one.body)
                if ref[0] == "aws_sqs_queue"
            }
            if not heard or not heard <= allowed:
                yield f"{event.address}: speaks to a queue that does not listen"


def timed(found: Tree) -> Iterator[str]:
    """Queues give the poller time, try often enough, and keep what failed longest; somebody is told of the first."""
    for module in found.modules.values():
        queues = module.of("resource", "aws_sqs_queue")
        kept_for = {block.name: _number(block.body.get("message_retention_seconds", 345600)) for block in queues}
        for block in queues:
            if "redrive_policy" in block.body:
                yield from (f"{block.address}: {problem}" for problem in _queue(block.body, kept_for[block.name]))
            elif kept_for[block.name] < max(kept_for.values()):
                yield f"{block.address}: message_retention_seconds is shorter than that of what it catches"
    for event in found.all("resource", "aws_s3_bucket_notification"):
        if any("filter_prefix" not in one for one in event.nested("queue")):
            yield f"{event.address}: no filter_prefix: every object would be an upload"
        if "aws_sqs_queue_policy" not in str(event.body.get("depends_on")):
            yield f"{event.address}: no depends_on of the queue's policy: AWS refuses it before"
    for alarm in found.all("resource", "aws_cloudwatch_metric_alarm"):
        told = alarm.body.get("threshold"), literal(alarm.body.get("comparison_operator"))
        if told != (0, "GreaterThanThreshold"):
            yield f"{alarm.address}: one dead letter is one too many (threshold 0, GreaterThanThreshold)"


def _queue(body: dict[str, Any], kept_for: float) -> Iterator[str]:
    if _number(body.get("visibility_timeout_seconds", 30)) < POLLER_SECONDS:
        yield f"visibility_timeout_seconds below the {POLLER_SECONDS} of a turn of the poller"
    if kept_for < DAY:
        yield "message_retention_seconds of less than a day"
    tries = re.search(r"maxReceiveCount\W+(\d+)", str(body["redrive_policy"]))
    if not tries or not 3 <= int(tries[1]) <= 100:
        yield f"maxReceiveCount {tries[1] if tries else 'missing'}: 3 to 100 tries"


def kept(found: Tree) -> Iterator[str]:
    """Nothing that holds data goes by accident, and nothing is kept for ever."""
    for block in found.all("resource", "aws_s3_bucket"):
        if block.body.get("force_destroy") is not False:
            yield f"{block.address}: force_destroy takes what is in it along"
    for call in found.all("module"):
        if not str(literal(call.body.get("source"))).endswith("/bucket"):
            continue
        if call.body.get("expire_days") in (None, {}) and call.module != "bootstrap":
            yield f"{call.address}: expire_days is empty: photos and backups would stay for ever"
        if "backup" in call.name and call.body.get("versioned") is not True:
            yield f"{call.address}: versioned: a backup that is overwritten must still be there"
    for type_, field in (("aws_instance", "disable_api_termination"), ("aws_lb", "enable_deletion_protection")):
        for block in found.all("resource", type_):
            if expression(block.body.get(field)) != "var.protected":
                yield f"{block.address}: {field} is not var.protected"
    for block in found.all("resource", "aws_instance"):
        if "ami" not in str((block.nested("lifecycle") or [{}])[0].get("ignore_changes")):
            yield f"{block.address}: lifecycle: a newer image (ami) must not replace a node (ignore_changes)"
    yield from _unprotected(found)


def _unprotected(found: Tree) -> Iterator[str]:
    for block in found.all("variable"):
        if block.name == "protected" and not block.module and block.body.get("default") is not True:
            yield f"{block.address}: default is not true"
    for path, values in found.examples.items():
        if "prod" in path and values.get("protected") is False:
            yield f"{path}: protected = false in prod"


def wired(found: Tree) -> Iterator[str]:
    """Nodes hear each other, and nobody talks to everything."""
    for module in found.modules.values():
        if module.of("resource", "aws_vpc") and not module.of("resource", "aws_default_security_group"):
            yield f"{module.folder}: aws_vpc without an aws_default_security_group of ours: AWS's own is open"
        said = str(module.locals.get("between_nodes", ""))
        for protocol, port in (("udp", 4789), ("tcp", 10250)) if said else ():
            if not re.search(rf"'protocol': '\"{protocol}\"', 'port': {port}\b", said):
                yield f"{module.folder}: local.between_nodes has no {protocol} {port}"
    for rule in found.all("resource", "aws_vpc_security_group_egress_rule"):
        ports = rule.body.get("from_port"), rule.body.get("to_port")
        if ports[0] is None or ports[0] != ports[1] or literal(rule.body.get("ip_protocol")) == "-1":
            yield f"{rule.address}: egress: one protocol and one port a rule"
    for block in found.all("resource", "aws_lb"):
        if block.body.get("internal") is not False or block.body.get("drop_invalid_header_fields") is not True:
            yield f"{block.address}: internal = false, drop_invalid_header_fields = true"


def asked(found: Tree) -> Iterator[str]:
    """Browsers of our own page alone may ask the bucket, with what an upload needs."""
    for block in found.all("resource", "aws_s3_bucket_cors_configuration"):
        for rule in block.nested("cors_rule"):
            if "*" in f"{rule.get('allowed_origins')}{rule.get('allowed_headers')}":
                yield f"{block.address}: CORS for every page, or every header"
            if missing := {"POST", "GET"} - set(literal(rule.get("allowed_methods")) or []):
                yield f"{block.address}: CORS without {', '.join(sorted(missing))}"
    for call in found.all("module"):
        if "*" in str(call.body.get("cors_origins")):
            yield f"{call.address}: cors_origins *: every page"


def never(found: Tree) -> Iterator[str]:
    """Rights by which one gets others, or ends what holds data; secrets by a wildcard."""
    for document in found.all("data", "aws_iam_policy_document"):
        for statement in document.nested("statement"):
            if literal(statement.get("effect")) == "Deny":
                continue
            actions = literal(statement.get("actions")) or []
            yield from (f"{document.address}: {action}" for action in actions if POWERFUL.match(str(action)))
            if any(str(action).startswith("ssm:") for action in actions) and "/*" in str(statement.get("resources")):
                yield f"{document.address}: every parameter, where each is to be named"
    for rule in found.all("resource", "aws_vpc_security_group_egress_rule"):
        if "alb" in expression(rule.body.get("security_group_id")) and "cidr_ipv4" in rule.body:
            yield f"{rule.address}: the load balancer talks to the gateway's NodePort alone"
    for rule in found.all("resource", "aws_lb_listener_rule"):
        if not any(one.get("host_header") for one in rule.nested("condition")):
            yield f"{rule.address}: no condition by host_header: whoever comes without our name is let in"
    yield from _subnets(found)


def meant(found: Tree) -> Iterator[str]:
    """Values that work and are not what was ordered."""
    for type_, name, field, right in MEANT:
        for block in found.all("resource", type_):
            for inner in block.nested(name):
                if literal(inner.get(field)) != right:
                    yield f"{block.address}: {name}.{field} is {inner.get(field)}, not {right}"
    for block in found.all("resource", "aws_lb_listener"):
        if "certificate_arn" in block.body and "validation" not in expression(block.body["certificate_arn"]):
            yield f"{block.address}: certificate_arn is not that of the validation: AWS refuses it before"
    groups = {22: "aws_security_group.nodes.id", 6443: "aws_security_group.control_plane.id"}
    for rule in found.all("resource", "aws_vpc_security_group_ingress_rule"):
        port, group = rule.body.get("from_port"), expression(rule.body.get("security_group_id"))
        if "cidr_ipv4" in rule.body and isinstance(port, int) and groups.get(port, group) != group:
            yield f"{rule.address}: port {port} is one of {groups[port]}"
    default = {block.name: block.body.get("default") for block in found.modules[""].of("variable")}
    known = {str(node).strip('"') for node in default.get("nodes") or {}}
    for node in literal(default.get("gateway_nodes")) or []:
        if node not in known:
            yield f"root: variable.gateway_nodes: there is no node {node}"


def used(found: Tree) -> Iterator[str]:
    """Data sources that nobody asks: a policy that is in no list of rights is not given to anybody."""
    for module in found.modules.values():
        spoken = [block.body for block in module.blocks] + list(module.locals.values())
        asked_for = {reference[:3] for reference in references(spoken) if reference[0] == "data"}
        for block in module.of("data"):
            if ("data", block.type, block.name) not in asked_for:
                yield f"{block.address}: nothing uses it"
    for call in found.all("module"):
        if "protected" in call.body and expression(call.body["protected"]) != "var.protected":
            yield f"{call.address}: protected is not var.protected"


#: Type, nested block, field, what it is.
MEANT = (
    ("aws_instance", "root_block_device", "volume_type", "gp3"),
    ("aws_instance", "metadata_options", "http_endpoint", "enabled"),
    ("aws_lb_target_group", "health_check", "matcher", "200"),
    ("aws_s3_bucket_lifecycle_configuration", "rule", "status", "Enabled"),
)


def _subnets(found: Tree) -> Iterator[str]:
    default = {block.name: block.body.get("default") for block in found.modules[""].of("variable")}
    vpc = ipaddress.IPv4Network(literal(default.get("vpc_cidr")) or "0.0.0.0/0")
    zones = {
        literal(f'"{zone}"'.replace('""', '"')): literal(cidr) for zone, cidr in (default.get("subnets") or {}).items()
    }
    ranges = [(zone, ipaddress.IPv4Network(cidr)) for zone, cidr in zones.items() if cidr]
    for place, (zone, one) in enumerate(ranges):
        if not one.subnet_of(vpc):
            yield f"root: variable.subnets: {zone} {one} is not inside the VPC {vpc}"
        yield from (
            f"root: variable.subnets: {zone} {one} overlaps {other} {two}"
            for other, two in ranges[place + 1 :]
            if one.overlaps(two)
        )
    for node, told in (default.get("nodes") or {}).items():
        if isinstance(told, dict) and literal(told.get("zone")) not in zones:
            yield f"root: variable.nodes: {node} is in {literal(told.get('zone'))}, where no subnet is"


def _number(value: Any) -> float:
    """A number, or a product of numbers as it is written; infinite where it must be evaluated."""
    if isinstance(value, int | float):
        return value
    factors = re.fullmatch(r"[\d *]+", expression(value))
    return math.prod(float(one) for one in factors[0].split("*")) if factors else math.inf


#: Everything that is checked.
CHECKS: tuple[Callable[[Tree], Iterator[str]], ...] = (
    fitting.complete,
    fitting.resolved,
    fitting.arguments,
    reach.private,
    encrypted,
    guarded,
    rights.least,
    delivered,
    timed,
    kept,
    wired,
    asked,
    never,
    meant,
    used,
)


def problems(texts: dict[str, str], *names: str) -> dict[str, list[str]]:
    """Check → what it found, of all checks or those named; no key for a check that found nothing."""
    found = tree(texts)
    answers = {check.__name__: list(check(found)) for check in CHECKS if not names or check.__name__ in names}
    return {name: answer for name, answer in answers.items() if answer}


def main() -> int:
    wrong = problems(files())
    for name, found in wrong.items():
        print(*(f"{name}: {problem}" for problem in found), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
