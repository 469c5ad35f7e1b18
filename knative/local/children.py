"""Processes that never outlive us: start in their own group, die with their parent, stop by pid, never by name."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

#: Variable in the environment of everything we start; its value is the state folder the process belongs to.
MARK = "WASTE_COACH_STATE"


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills this process when the thread that started it is gone, however that died."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_group(pid: int, sig: int = signal.SIGKILL) -> None:
    """Signal the process group that `pid` leads (it was started with `start_new_session`), if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, sig)


def leftovers(state: Path) -> list[int]:
    """Pids of living processes, ours excepted, that were started for `state`: what a killed run may have left."""
    mark, found = f"{MARK}={state}".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def sweep(state: Path, patience: float = 5.0) -> None:
    """End every process that was started for `state` and wait until it is gone."""
    deadline = time.monotonic() + patience
    while (pids := leftovers(state)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def last_line(log: Path) -> str:
    """The last telling line of a log file: what gunicorn says about itself counts only where nothing else is said."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    telling = [line for line in lines if not re.match(r"\[\d{4}-\d\d-\d\d ", line)]
    return (telling or lines or ["it printed nothing"])[-1][:400]


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    half = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as output:
        output.write(text)
    half.replace(file)
