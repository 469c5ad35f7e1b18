"""Every check of the Terraform files that needs neither Terraform nor AWS.

`python -m terraform.checks` prints what is wrong, and where.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from terraform import fitting, reach, rights
from terraform.reading import Tree, expression, files, literal, references, tree


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
