"""`python -m knative.check [check|render|sizes|tag|deploy|rollback]`: the cluster's checks and the ways onto it.

check                        every check of both environments; exit code 1 where there is a problem
render prod                  everything that is applied, as YAML
sizes                        how large each function's image is, in MB
tag grade                    the name of an image by what is in it
deploy grade dev [--canary 10] [--dry]
rollback grade prod [--dry]
"""

from __future__ import annotations

import argparse
import sys
import time

from knative.check import capacity, cost, images
from knative.check.deploy import DeployError, Shell, deploy, rollback, tag
from knative.check.documents import ENVIRONMENTS
from knative.check.problems import applied, problems
from knative.check.render import RenderError, overlay, text


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 with the problems on stderr."""
    parser = argparse.ArgumentParser(prog="python -m knative.check", description=__doc__)
    ways = parser.add_subparsers(dest="way")
    ways.add_parser("check")
    ways.add_parser("render").add_argument("environment", choices=ENVIRONMENTS)
    ways.add_parser("sizes")
    ways.add_parser("tag").add_argument("function")
    for way in ("deploy", "rollback"):
        each = ways.add_parser(way)
        each.add_argument("function")
        each.add_argument("environment")
        each.add_argument("--dry", action="store_true")
        each.add_argument("--canary", type=int, default=0)
    wish = parser.parse_args(arguments)
    try:
        match wish.way:
            case "render":
                sys.stdout.write(text(overlay(wish.environment)))
            case "sizes":
                print(images.table())
            case "tag":
                print(tag(wish.function))
            case "deploy":
                deploy(wish.function, wish.environment, Shell(dry=wish.dry), wish.canary)
            case "rollback":
                rollback(wish.function, wish.environment, Shell(dry=wish.dry))
            case _:
                return _check()
    except (DeployError, RenderError, images.ImageError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _check() -> int:
    began = time.monotonic()
    found = problems()
    for problem in found:
        print(problem, file=sys.stderr)
    prod = applied("prod")
    print(capacity.table(prod), cost.table(prod), sep="\n\n")
    took = time.monotonic() - began
    print(f"\n{len(found) or 'No'} problem{'' if len(found) == 1 else 's'} in {len(prod)} objects, {took:.1f} s.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
