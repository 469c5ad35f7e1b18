"""Who may reach what: the load balancer is the only thing the world may talk to.

Strict on purpose: a form of rule that is not known to be safe is a problem, even where it might be.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from terraform.reading import Block, Tree, expression, literal, nested, references

#: Whatever is wider is somebody else, too.
NARROWEST_WORLD = 16


#: What AWS takes as the description of a group or rule; the provider does not look.
DESCRIPTION = re.compile(r"[A-Za-z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}")


def private(found: Tree) -> Iterator[str]:
    """Nothing is public but the load balancer; SSH, the API server and NodePorts least of all."""
    for block in found.all("resource"):
        said = literal(block.body.get("description"))
        grouped = block.type.startswith(("aws_security_group", "aws_vpc_security_group"))
        if grouped and said and not DESCRIPTION.fullmatch(said):
            yield f"{block.address}: AWS takes no such description"
    for block in found.all("resource", "aws_security_group", "aws_default_security_group"):
        if block.nested("ingress") or block.nested("egress") or {"ingress", "egress"} & block.body.keys():
            yield f"{block.address}: rules are resources of their own"
    for rule in found.all("resource", "aws_vpc_security_group_ingress_rule"):
        yield from _admitted(rule)
    for block in found.all("resource", "aws_subnet"):
        if block.body.get("map_public_ip_on_launch") is not False:
            yield f"{block.address}: gives everything a public address"
    balancers = list(found.all("resource", "aws_lb", "aws_elb", "aws_alb"))
    yield from (f"{block.address}: a second way in" for block in balancers if block.module != "modules/edge")
    for block in found.all("resource", "aws_s3_bucket"):
        yield from _bucket(found, block)
    yield from _admins(found)


def _admitted(rule: Block) -> Iterator[str]:
    body, where = rule.body, rule.address
    low, high = body.get("from_port"), body.get("to_port")
    group = expression(body.get("security_group_id"))
    if low != high or literal(body.get("ip_protocol")) == "-1":
        yield f"{where}: one protocol and one port a rule"
    if literal(body.get("cidr_ipv4")) == "0.0.0.0/0":
        if group != "aws_security_group.alb.id" or low not in (80, 443):
            yield f"{where}: open to the world"
    elif "cidr_ipv4" in body:
        named = expression(body.get("for_each")) == "var.admin_networks" and body["cidr_ipv4"] == "${each.value}"
        if not named or low not in (22, 6443):
            yield f"{where}: only SSH and the API server, from var.admin_networks, may be named by address"
    else:
        yield from _between(rule, group, low)
    if {"cidr_ipv6", "prefix_list_id"} & body.keys():
        yield f"{where}: only IPv4 addresses and groups are admitted"


def _between(rule: Block, group: str, low: Any) -> Iterator[str]:
    origin = expression(rule.body.get("referenced_security_group_id"))
    gateway = expression(low) == "var.gateway_node_port"
    if not gateway and (low == 22 or (isinstance(low, int) and 30000 <= low <= 32767)):
        yield f"{rule.address}: port {low} for no group"
    elif origin != ("aws_security_group.alb.id" if gateway else "aws_security_group.nodes.id"):
        yield f"{rule.address}: NodePorts from the load balancer, the cluster's ports from nodes"
    elif group != "aws_security_group.nodes.id":
        yield f"{rule.address}: {group} hears of nobody's groups"


def _bucket(found: Tree, bucket: Block) -> Iterator[str]:
    def beside(type_: str) -> list[Block]:
        around = found.modules[bucket.module].of("resource", type_)
        return [one for one in around if expression(one.body.get("bucket")) == f"aws_s3_bucket.{bucket.name}.id"]

    switches = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    if not any(
        all(one.body.get(name) is True for name in switches) for one in beside("aws_s3_bucket_public_access_block")
    ):
        yield f"{bucket.address}: public access is not blocked"
    owners = [rule for one in beside("aws_s3_bucket_ownership_controls") for rule in one.nested("rule")]
    if [literal(rule.get("object_ownership")) for rule in owners] != ["BucketOwnerEnforced"]:
        yield f"{bucket.address}: objects may have ACLs"
    policies = {ref[2] for one in beside("aws_s3_bucket_policy") for ref in references(one.body) if ref[0] == "data"}
    documents = [
        one for one in found.modules[bucket.module].of("data", "aws_iam_policy_document") if one.name in policies
    ]
    if not any(_tls_only(document) for document in documents):
        yield f"{bucket.address}: may be read without TLS"


def _tls_only(document: Block) -> bool:
    return any(
        literal(statement.get("effect")) == "Deny"
        and [literal(one["values"]) for one in nested(statement, "condition")] == [["false"]]
        and literal(nested(statement, "condition")[0]["variable"]) == "aws:SecureTransport"
        for statement in document.nested("statement")
    )


def _admins(found: Tree) -> Iterator[str]:
    for block in found.all("variable"):
        if block.name == "admin_networks":
            if "default" in block.body:
                yield f"{block.address}: who may come is said, never assumed"
            rules = " ".join(str(one.get("condition")) for one in block.nested("validation"))
            width = re.search(r">= (\d+)", rules)
            if block.module and (not width or int(width[1]) < NARROWEST_WORLD):
                yield f"{block.address}: lets in networks wider than /{NARROWEST_WORLD}"
    for path, values in found.examples.items():
        for name, value in values.get("admin_networks", {}).items():
            if ipaddress.ip_network(literal(value)).prefixlen < NARROWEST_WORLD:
                yield f"{path}: {name} is the world"
