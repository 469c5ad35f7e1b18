"""The rules without the rest of the system: `python -m knative.local.rules search | eval | curve …`.

Where the system runs, its database is asked. Otherwise PostgreSQL alone is started in the same state folder, its index
made equal to the corpus, and stopped again: nothing else is needed to search the rules, offline too.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from knative.local import manifests
from knative.local.client import Refused
from knative.local.parts import PartError, Parts, Ports
from knative.local.run import only_one, running

CLI = manifests.ROOT / "rag-index"

#: Seconds another command may keep the state folder before we give up waiting for it.
PATIENCE = 900.0


def main(arguments: list[str]) -> int:
    """Run `rag-index` with these arguments where its database is; its exit code, or 1 with one sentence on stderr."""
    state = Path(os.environ.get("STATE") or ".local")
    try:
        with database(state) as environment:
            return subprocess.run([sys.executable, str(CLI), *arguments], env=environment, check=False).returncode
    except (Refused, PartError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


@contextlib.contextmanager
def database(state: Path) -> Iterator[dict[str, str]]:
    """The environment in which the rules can be asked: the running system's, or one with a PostgreSQL of our own.

    Raises PartError where it does not start, Refused where another command keeps the state folder too long.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        if there := _running(state):
            yield os.environ | there
            return
        with only_one(state) as alone:
            if alone:
                with _postgres(state) as environment:
                    yield environment
                return
        if time.monotonic() > deadline:
            raise Refused(f"Another command has been using {state} for {PATIENCE:.0f} s.")
        time.sleep(0.2)


def _running(state: Path) -> dict[str, str] | None:
    try:
        return dict(running(state)["env"])
    except (Refused, FileNotFoundError):  # nothing runs, or it is only starting
        return None


@contextlib.contextmanager
def _postgres(state: Path) -> Iterator[dict[str, str]]:
    ports = Ports.from_base(int(os.environ.get("PORT_BASE") or 18000))
    part = Parts(state.resolve(), ports, "", os.environ, _say).each["PostgreSQL"]
    try:
        part.start()
        part.wait_ready()
        environment = os.environ | {"DATABASE_URL": part.url}
        built = subprocess.run([sys.executable, str(CLI), "build"], env=environment, check=False)
        if built.returncode:
            raise Refused("The index of the rules could not be built.")
        yield environment
    finally:
        part.stop()


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
