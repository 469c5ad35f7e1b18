"""Waiting for what takes a moment, long enough for a busy machine."""

from __future__ import annotations

import http.client
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

Found = TypeVar("Found")

#: So long a cluster waits for what was told to stop, before it kills it.
GRACE = 30.0
#: After so many seconds it will not happen any more, even on a machine that is busy with two other tests.
PATIENCE = 90.0


def until(look: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
    """Look again and again until there is something (truthy), and return it; AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def until_it_answers(url: str, process: subprocess.Popen[Any]) -> None:
    """Wait until the server that `process` starts answers there, and not that it is not ready (5xx)."""

    def answers() -> bool:
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except urllib.error.HTTPError as error:
            return error.code < 500
        except (OSError, http.client.HTTPException):
            return False

    until(answers)
