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

#: Commands that only need the running system's environment: name → what Python is given, and what the last argument is
#: (None: there is none).
TOOLS: dict[str, tuple[list[str], str | None]] = {
    "trace": (["-m", "knative.local.trace"], "an analysis id"),
    "replay": (["-m", "functions.recover", "replay"], "a dead letter's number or an analysis id"),
    "recount": (["-m", "functions.aggregate", "recount"], None),
    "report": (["-m", "functions.aggregate", "report"], None),
    "centres": (["-m", "functions.locations", "import"], "the bulk file of the public data on recycling centres"),
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
        tool = commands.add_parser(name)
        if what:
            tool.add_argument("what", help=what)
        if name == "report":
            tool.add_argument("--days", default="30")
            tool.add_argument("--json", action="store_true")
    for command in commands.choices.values():
        command.add_argument("--state", type=Path, default=Path(".local"))
    given = parser.parse_args()
    if given.command in ("report", "centres") and "DATABASE_URL" in os.environ:  # all they need; nothing has to run
        return _tool(given, {})
    try:
        running = run.running(given.state)
        if given.command == "analyze":
            photo = given.photo or given.state / "sample.jpg"
            return 0 if run.analyze(running["gateway"], photo, given.question, print) else 1
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return _tool(given, running["env"])


def _tool(given: argparse.Namespace, running: dict[str, str]) -> int:
    """Run one of the TOOLS in the environment of what is `running`; its exit code."""
    arguments, needed = TOOLS[given.command]
    if needed:
        arguments = [*arguments, given.what]
    if given.command == "report":
        arguments = [*arguments, "--days", given.days, *(["--json"] if given.json else [])]
    environment = os.environ | running | {"PYTHONPATH": str(manifests.ROOT)}
    return subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
