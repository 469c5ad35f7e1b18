"""`python -m knative.local …`: what the Makefile's targets call."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

try:
    from knative.local import manifests, run
    from knative.local.client import Refused
except ModuleNotFoundError as missing:
    sys.exit(f"The package {missing.name} is missing here: `make run` installs what it needs into .venv.")

#: Commands that only need the running system's environment: name → what Python is given, and the last argument's name.
TOOLS = {
    "trace": (["-m", "knative.local.trace"], "an analysis id"),
    "replay": (["-m", "functions.recover", "replay"], "a dead letter's number or an analysis id"),
}


def main() -> int:
    """Exit code 0 for success, 1 with one sentence on stderr, 2 for a wrong call."""
    if sys.argv[1:2] == ["run"]:
        return run.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m knative.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start everything (run --help)")
    ask = commands.add_parser("analyze", help="send a photo to the running system")
    ask.add_argument("--photo", type=Path, help="JPEG, PNG, WebP or HEIC; the sample where none is given")
    ask.add_argument("--question")
    for name, (_, what) in TOOLS.items():
        commands.add_parser(name).add_argument("what", help=what)
    for command in commands.choices.values():
        command.add_argument("--state", type=Path, default=Path(".local"))
    given = parser.parse_args()
    try:
        running = run.running(given.state)
        if given.command == "analyze":
            photo = given.photo or given.state / "sample.jpg"
            return 0 if run.analyze(running["gateway"], photo, given.question, print) else 1
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    environment = os.environ | running["env"] | {"PYTHONPATH": str(manifests.ROOT)}
    return subprocess.run(
        [sys.executable, *TOOLS[given.command][0], given.what], env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
