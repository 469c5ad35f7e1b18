"""`python -m knative.local.model --port N [--host H] [--journal FILE] [--vectors FILE]`: start the model stand-in."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> int:
    """Parse, cap the threads of the numeric libraries (before they are imported), serve."""
    parser = argparse.ArgumentParser(prog="python -m knative.local.model", description="The built-in model stand-in.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--journal", type=Path, help="file that keeps the call counts across restarts")
    parser.add_argument("--vectors", type=Path, help="SQLite file that keeps every vector made")
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    from knative.local.model.server import serve

    try:
        serve(arguments.host, arguments.port, arguments.journal, arguments.vectors)
    except OSError as error:
        print(f"model stand-in: cannot listen on {arguments.host}:{arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
