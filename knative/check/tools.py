"""Programs of others that look at the files beside our own checks: ansible-lint, ansible-playbook, Terraform.

One that is not on this machine is skipped aloud, with how to get it, and is no failure: a laptop without Terraform may
still look at manifests. CI names the folder of plugins (TERRAFORM_PLUGINS), and then nothing may be skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from knative.check.documents import ROOT
from terraform.provider import plugins

BIN = Path(sysconfig.get_path("scripts"))
PLAYBOOKS = ("site.yml", "upgrade.yml", "reset.yml", "backup-restore.yml")
#: How to get what is missing.
VENV = "it comes with .venv: rm -rf .venv && make .venv/.stamp"
TERRAFORM = "install Terraform 1.11 or newer (https://developer.hashicorp.com/terraform/install)"
PROVIDER = (
    "terraform -chdir=terraform get && terraform -chdir=terraform providers mirror FOLDER, once, with a network;"
    " then TERRAFORM_PLUGINS=FOLDER make check-cluster"
)


@dataclass(frozen=True)
class Tool:
    """What is run in which folder below the root, what it looks at, and what it needs that may be missing."""

    name: str
    words: tuple[str, ...]
    folder: str = "."
    missing: str = ""

    @property
    def program(self) -> bool:
        return bool(shutil.which(self.words[0]))


@dataclass(frozen=True)
class Ran:
    """How long a tool took, and what is wrong by its words; nothing where it agrees."""

    tool: Tool
    seconds: float
    wrong: list[str]


def tools() -> list[Tool]:
    """All of them."""
    lint, play = str(BIN / "ansible-lint"), str(BIN / "ansible-playbook")
    example = "inventory/hosts.example.yml"
    return [
        Tool("terraform fmt, validate, test, schema", (sys.executable, "-m", "terraform.provider")),
        Tool("ansible-lint, profile production", (lint, "--nocolor", "-f", "pep8"), "ansible", VENV),
        Tool("ansible-playbook --syntax-check", (play, "-i", example, "--syntax-check", *PLAYBOOKS), "ansible", VENV),
    ]


@contextmanager
def beside(root: Path = ROOT) -> Iterator[tuple[Iterator[Ran], list[str]]]:
    """All that are here, at work; one sentence for each that is skipped, all of it or a part."""
    here = [tool for tool in tools() if tool.program]
    skipped = [
        f"{tool.name}: {Path(tool.words[0]).name} is not here; {tool.missing}" for tool in tools() if tool not in here
    ]
    with ThreadPoolExecutor(len(here) or 1) as pool:
        work = [pool.submit(_run, tool, root) for tool in here]
        yield (each.result() for each in as_completed(work)), [*skipped, *_without()]


def _run(tool: Tool, root: Path) -> Ran:
    began = time.monotonic()
    done = subprocess.run(
        tool.words, cwd=root / tool.folder, capture_output=True, text=True, env=_environment(), check=False
    )
    wrong = _wrong(tool, done.stdout + done.stderr) if done.returncode else []
    return Ran(
        tool, time.monotonic() - began, wrong or [f"{tool.name}: exit {done.returncode}"] * bool(done.returncode)
    )


def _wrong(tool: Tool, said: str) -> list[str]:
    """A problem for each line that begins with a place in a file, or else all that was said as one."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip() and not line.endswith(": ok")]
    places = [f"{tool.name}: {_placed(line, tool.folder)}" for line in lines if re.match(r"[\w./-]+:\d+", line)]
    return places or ["\n    ".join([f"{tool.name}:", *(_placed(line, tool.folder) for line in lines)])]


def _placed(line: str, folder: str) -> str:
    """Paths are told from the tool's own folder."""
    prefix = "" if folder == "." else f"{folder}/"
    line = re.sub(r"^((?:---|\+\+\+) )(?:old|new)/", r"\1terraform/", line)
    return re.sub(r"^((?:roles|tasks|group_vars|inventory)/|[\w-]+\.ya?ml:)", rf"{prefix}\1", line)


def _without() -> Iterator[str]:
    if not shutil.which("terraform"):
        yield f"terraform fmt, validate, test, schema: {TERRAFORM}"
    elif plugins() is None:
        yield f"terraform validate, test, schema: no folder holds the AWS provider; {PROVIDER}"


def _environment() -> dict[str, str]:
    """A machine's own settings of Ansible are not ours; its programs find each other beside Python."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {**kept, "PATH": f"{BIN}:{os.environ.get('PATH', '')}", "NO_COLOR": "1"}
