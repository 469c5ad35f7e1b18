"""The checks that need Terraform and the AWS provider, but no account and no network: `python -m terraform.provider`.

fmt, init from a folder of plugins, validate, `terraform test` (bootstrap too) against a mocked AWS, and whether
schema.json is what the provider says (with the argument `schema`, that is written instead). All in a copy: nothing is
left beside the files. Without a folder of plugins only fmt is checked, and that is said; where TERRAFORM_PLUGINS names
one, nothing may be skipped: exit code 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from terraform import schema
from terraform.reading import ROOT

#: Where a folder of plugins may be; TERRAFORM_PLUGINS names another one. The first three are Terraform's own places.
PLACES = ("~/.terraform.d/plugins", "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins", "/opt/*")


def plugins() -> Path | None:
    """The folder that holds the AWS provider for `terraform init -plugin-dir`, if there is one."""
    named = os.environ.get("TERRAFORM_PLUGINS")
    for place in [named] if named else PLACES:
        pattern = Path(place).expanduser()
        for folder in sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))):
            if (folder / schema.PROVIDER).is_dir():
                return folder
    return None


@contextmanager
def initialised(folder: Path) -> Iterator[Path]:
    """A copy of the files that knows the provider and of no state elsewhere. CalledProcessError where it cannot be."""
    with tempfile.TemporaryDirectory() as scratch:
        left = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.auto.tfvars")
        copy = shutil.copytree(ROOT, Path(scratch) / "terraform", ignore=left)
        (copy / "nowhere_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        terraform(copy, "init", "-input=false", f"-plugin-dir={folder}").check_returncode()
        yield copy


def terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it in `folder`, without what a person configured for it, and catch what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    command = ["terraform", f"-chdir={folder}", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment | {"CHECKPOINT_DISABLE": "1"}, check=False
    )


def formatted() -> str:
    """What `terraform fmt` would change; "" for nothing."""
    return _trouble(terraform(ROOT, "fmt", "-check", "-recursive", "-diff", "-no-color"))


def extracted(copy: Path) -> str:
    """What schema.json must be."""
    told = terraform(copy, "providers", "schema", "-json")
    told.check_returncode()
    return schema.text(told.stdout, terraform(copy, "version", "-json").stdout)


def accepted(folder: Path) -> Iterator[tuple[str, str]]:
    """(step, what is wrong or "") of all that the provider in `folder` must agree to."""
    with initialised(folder) as copy:
        for step in ("validate", "test"):
            yield step, _trouble(terraform(copy, step, "-no-color"))
        same = extracted(copy) == schema.SCHEMA.read_text()
        yield "schema", "" if same else "schema.json is old: python -m terraform.provider schema"


def _trouble(said: subprocess.CompletedProcess[str]) -> str:
    return "" if said.returncode == 0 else (said.stdout + said.stderr).strip() or f"exit code {said.returncode}"


def _steps(folder: Path | None) -> Iterator[tuple[str, str]]:
    yield "fmt", formatted()
    if folder:
        yield from accepted(folder)


def main(arguments: list[str]) -> int:
    folder = plugins()
    asked = "TERRAFORM_PLUGINS" in os.environ
    if not shutil.which("terraform"):
        print("terraform fmt, validate, test, schema: skipped, terraform is not on this machine")
        return int(asked)
    if arguments == ["schema"] and folder:
        with initialised(folder) as copy:
            schema.SCHEMA.write_text(extracted(copy))
        return 0
    failed = 0
    for step, trouble in _steps(folder):
        print(f"terraform {step}: {trouble or 'ok'}", flush=True)
        failed += bool(trouble)
    if not folder:
        print(
            "terraform validate, test, schema: skipped, no folder of plugins has the AWS provider (TERRAFORM_PLUGINS)"
        )
    return int(bool(failed) or (asked and not folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
