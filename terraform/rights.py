"""Who may do what in AWS, and what must never be in the state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from terraform.reading import Tree, expression, literal, nested

#: Actions whose resource AWS does not let be named.
UNNAMEABLE = re.compile(r"^(ec2|elasticloadbalancing):Describe[A-Za-z]+$")
#: Put secrets into the state, or rights where no check here sees them.
FORBIDDEN = re.compile(
    r"^(aws_iam_access_key|aws_iam_user_login_profile|aws_iam_\w*policy_attachment|aws_iam_policy|aws_ssm_parameter"
    r"|aws_secretsmanager_secret_version|aws_s3_bucket_acl|aws_s3_object|aws_security_group_rule|aws_launch_template"
    r"|aws_network_\w+|tls_\w+|random_\w+)$"
)


def least(found: Tree) -> Iterator[str]:
    """No `*` in what is allowed, no secret in the state."""
    for kind in ("resource", "data"):
        for block in found.all(kind):
            if kind == "resource" and FORBIDDEN.match(block.type):
                yield f"{block.address}: {block.type} is not made here"
            for name in ("policy", "assume_role_policy", "inline_policy", "managed_policy_arns"):
                value = block.body.get(name)
                if value is not None and not re.fullmatch(
                    r"each\.value(\.policy)?|data\.aws_iam_policy_document\.\w+\.json", expression(value)
                ):
                    yield f"{block.address}: {name} must be a policy document, where it can be read"
    for document in found.all("data", "aws_iam_policy_document"):
        if {
            "source_policy_documents",
            "override_policy_documents",
            "source_json",
            "override_json",
        } & document.body.keys():
            yield f"{document.address}: is made of what cannot be read here"
        for statement in document.nested("statement"):
            if literal(statement.get("effect")) != "Deny":
                yield from (f"{document.address}: {problem}" for problem in _too_much(statement))


def _too_much(statement: dict[str, Any]) -> Iterator[str]:
    actions = literal(statement.get("actions"))
    if not isinstance(actions, list) or None in actions or {"not_actions", "not_resources"} & statement.keys():
        yield "actions and resources are said one by one"
        return
    yield from (f"action {action}" for action in actions if "*" in action)
    for resource in statement.get("resources", []):
        text = str(literal(resource) or resource)
        if text == "*" and not all(UNNAMEABLE.match(action) for action in actions):
            yield f"resource * for {', '.join(actions)}"
        elif "bucket_arn}/*" in text:
            yield f"the whole bucket: {text}"
        elif text != "*" and re.match(r'^"?arn:aws:\w+:[^"]*:\*', text):
            yield f"resource {text}"
    for principal in nested(statement, "principals"):
        kind, who = literal(principal.get("type")), literal(principal.get("identifiers")) or ["*"]
        if kind != "Service" or any("*" in str(one) for one in who):
            yield f"for {kind} {who}"
        if who == ["s3.amazonaws.com"]:
            said = {literal(one.get("variable")) for one in nested(statement, "condition")}
            if said != {"aws:SourceArn", "aws:SourceAccount"}:
                yield "for any bucket of anybody"
