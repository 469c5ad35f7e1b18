"""Playbooks run on this machine: a folder is the root of each host of the example inventory, a fake cluster answers."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT, unmeasured

ANSIBLE = ROOT / "ansible"
BIN = Path(sys.executable).parent
EXAMPLE = ANSIBLE / "inventory" / "hosts.example.yml"
PLAYBOOKS = ("site.yml", "upgrade.yml", "reset.yml", "backup-restore.yml")
#: A control plane and one node that joins it, which also keeps the data: between them they pass every role.
HOSTS = ("growbin-master", "growbin-storage")
#: What Ubuntu has before any role runs.
FOLDERS = (
    "etc/modules-load.d", "etc/sysctl.d", "etc/security/limits.d", "etc/tmpfiles.d", "etc/systemd/system",
    "etc/chrony/sources.d", "usr/local/sbin", "var/lib",
)  # fmt: skip


#: The Python that runs modules. It knows Ansible's library already, compiled, and so needs half the CPU: a module
#: brings the same library along as source in an archive, and compiles it each time.
MODULE_PYTHON = """#!{}
import sys
import ansible.module_utils.basic
exec(compile(sys.stdin.buffer.read(), "<module>", "exec"), {{"__name__": "__main__", "__builtins__": __builtins__}})
"""


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the virtual environment in `folder`, without coverage, which every module would pay for."""
    # A machine's own Ansible settings are not ours.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    with unmeasured():
        inherited.pop("COVERAGE_PROCESS_CONFIG", None)
        return subprocess.run(
            [str(BIN / arguments[0]), *arguments[1:]],
            cwd=folder, check=False, capture_output=True, text=True, timeout=300,
            env={**inherited, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1", **environment},
        )  # fmt: skip


class Run:
    """What came of a playbook."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.output = done.stdout + done.stderr
        self.ok = done.returncode == 0
        recap = done.stdout.rpartition("PLAY RECAP")[2]
        self.changed = sum(int(n) for n in re.findall(r"changed=(\d+)", recap))
        self.hosts = re.findall(r"^(\S+) +: ok=", recap, re.M)

    @property
    def changes(self) -> list[str]:
        """The tasks that changed something."""
        task, found = "", []
        for line in self.output.splitlines():
            if line.startswith("TASK ["):
                task = line[6:].partition("]")[0]
            elif line.startswith("changed:") and task not in found:
                found.append(task)
        return found


class Machines:
    """Folders that stand for the machines, and the cluster they make."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "cluster.json"
        for name in ("kubeadm", "kubectl"):
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/cluster_fake.py {name} "$@"\n')
            program.chmod(0o755)
        python = folder / "bin" / "python"
        python.write_text(MODULE_PYTHON.format(sys.executable))
        python.chmod(0o755)
        for host in HOSTS:
            for path in FOLDERS:
                (self.root(host) / path).mkdir(parents=True)

    def root(self, host: str) -> Path:
        return self.folder / "root" / host

    def file(self, host: str, path: str) -> str:
        return (self.root(host) / path).read_text(encoding="utf-8")

    @property
    def cluster(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state.read_text(encoding="utf-8"))
        return found

    def play(
        self,
        playbook: str,
        *arguments: str,
        ansible: Path = ANSIBLE,
        environment: dict[str, str] | None = None,
        **variables: Any,
    ) -> Run:
        """Run a playbook of ours (of a copy: `ansible`) on `HOSTS`, without what needs systemd, packages, a kernel."""
        own = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": str(self.folder / "bin" / "python"),
            "files_root": f"{self.folder}/root/{{{{ inventory_hostname }}}}",
            "release_tries": 1,
            **({} if os.getuid() == 0 else mine()),
            **variables,
        }
        done = command(
            ansible, "ansible-playbook", "--inventory", str(EXAMPLE), "--limit", ",".join(HOSTS),
            "--skip-tags", "packages,services,machine", "--extra-vars", json.dumps(own), *arguments, playbook,
            ANSIBLE_HOME=str(self.folder / "ansible"), ANSIBLE_GATHERING="explicit", ANSIBLE_PIPELINING="1",
            FAKE_CLUSTER=str(self.state),
            PATH=f"{self.folder}/bin:{BIN}:{os.environ['PATH']}", **(environment or {}),
        )  # fmt: skip
        return Run(done)


def mine() -> dict[str, Any]:
    """Who is not root gives files to nobody else."""
    folders = yaml.safe_load((ANSIBLE / "roles/storage/defaults/main.yml").read_text())["storage_folders"]
    owner = str(os.getuid())
    return {"files_owner": owner, "storage_folders": [{**folder, "owner": owner} for folder in folders]}


def defaults(role: str) -> dict[str, Any]:
    """A role's defaults, as they are written."""
    found: dict[str, Any] = yaml.safe_load((ANSIBLE / "roles" / role / "defaults/main.yml").read_text())
    return found


def copy_of_ansible(folder: Path) -> Path:
    """All of ansible/, to be spoilt."""
    return Path(shutil.copytree(ANSIBLE, folder / "ansible", ignore=shutil.ignore_patterns(".ansible", "hosts.yml")))


@contextmanager
def releases(objects: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Serves file name → its objects wherever it is asked for; yields the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = objects.get(self.path.rpartition("/")[2])
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(yaml.safe_dump_all(found or []).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
