"""`python -m knative.check [check|render|sizes|tag|deploy|rollback]`: the cluster's checks and the ways onto it.

check                        every check, ansible-lint and Terraform beside them; exit code 1 where there is a problem
render prod                  everything that is applied, as YAML
sizes                        how large each function's image is, in MB
tag grade                    the name of an image by what is in it
deploy grade dev [--canary 10] [--dry]
rollback grade prod [--dry]
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import textwrap
import time
from collections.abc import Iterator

from knative.check import capacity, cost, images, tools
from knative.check.deploy import DeployError, Shell, deploy, rollback, tag
from knative.check.documents import ENVIRONMENTS, Document
from knative.check.problems import applied, problems, spent
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
    """Ours, while the programs of others work; then what was run and for how long, what was skipped, what is wrong."""
    began = time.monotonic()
    prod = list[Document]()
    with tools.beside() as (running, skipped):
        found = problems()
        with contextlib.suppress(Exception):  # problems() has said it
            prod = applied("prod")
            print(capacity.table(prod), cost.table(prod), sep="\n\n")
        print("\nWhat was run, in seconds:", *_ran(), sep="\n", flush=True)
        for each in running:
            print(f"{each.seconds:7.1f}  {each.tool.name}", flush=True)
            found += each.wrong
    print(f"{time.monotonic() - began:7.1f}  together")
    for sentence in skipped:
        print(f"SKIPPED  {sentence}")
    sys.stdout.flush()
    for problem in found:
        print(f"PROBLEM  {problem}", file=sys.stderr)
    many = f"{len(found) or 'No'} problem{'' if len(found) == 1 else 's'}"
    print(f"\n{many} in {len(prod)} objects{', and something was skipped' * bool(skipped)}.")
    return int(bool(found))


def _ran() -> Iterator[str]:
    """A line for each module of checks: its seconds, its name, what it holds."""
    for module in sorted({module for module, _ in spent}):
        mine = {label: seconds for (of, label), seconds in spent.items() if of == module}
        lines = textwrap.wrap("; ".join(mine), width=100)
        yield f"{sum(mine.values()):7.1f}  {module:13} {lines[0]}"
        yield from (f"{'':23} {line}" for line in lines[1:])


if __name__ == "__main__":
    sys.exit(main())
