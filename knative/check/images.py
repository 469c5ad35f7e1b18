"""What is in each function's image, known without an engine: the Dockerfile's own steps, from what is installed here.

`lay` makes an image's /venv and /app as folders (a test starts functions from them); `table` says how large they are,
unpacked and without the base image. Packages are those that the function's requirements pin, file by file as their
RECORD lists them, with the bytecode that the Dockerfile compiles.
"""

from __future__ import annotations

import compileall
import functools
import importlib.metadata
import importlib.util
import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from knative.check.deploy import inputs
from knative.check.documents import ROOT

#: Run as `python -m functions.<name>`, not served.
JOBS = {"setup", "s3source"}


class ImageError(RuntimeError):
    """An image cannot be laid out here: says what is missing."""


@dataclass(frozen=True)
class Size:
    """Bytes of one image beyond its base: packages, our code, and which packages are the largest."""

    function: str
    packages: dict[str, int]
    code: int

    @property
    def whole(self) -> int:
        return sum(self.packages.values()) + self.code

    @property
    def largest(self) -> str:
        first = sorted(self.packages, key=lambda name: -self.packages[name])[:3]
        return ", ".join(f"{name} {self.packages[name] / 1e6:.1f}" for name in first)


def functions(root: Path = ROOT) -> list[str]:
    """Every function that has an image."""
    return sorted(path.parent.name for path in root.glob("functions/*/requirements.txt"))


def pinned(function: str, root: Path = ROOT) -> list[str]:
    """Distributions in the image of `function`. ImageError where one is not installed here in just that version."""
    found = []
    for line in (root / "functions" / function / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith((" ", "#")):
            continue
        wanted = Requirement(line.rstrip("\\ "))
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            here = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            here = "nothing"
        if not wanted.specifier.contains(here if here != "nothing" else "0", prereleases=True):
            raise ImageError(f"{function} is pinned to {wanted.name}{wanted.specifier}, installed is {here}")
        found.append(wanted.name)
    return found


@functools.cache
def files(distribution: str) -> dict[Path, Path]:
    """Place below /venv → file here: what RECORD lists, and the bytecode of it."""
    there = importlib.metadata.distribution(distribution)
    found = {}
    for each in there.files or ():
        source = Path(os.path.normpath(str(there.locate_file(each))))
        if source.suffix == ".pyc" or not source.is_file():
            continue
        found[source.relative_to(sys.prefix)] = source
        compiled = Path(importlib.util.cache_from_source(str(source)))
        if source.suffix == ".py" and compiled.is_file():
            found[compiled.relative_to(sys.prefix)] = compiled
    return found


def code(function: str, root: Path = ROOT) -> list[Path]:
    """Files of ours in the image of `function`, whose place below /app is that below `root`."""
    return [path for path in inputs(function, root) if path.name != "Dockerfile"]


def lay(function: str, into: Path, root: Path = ROOT) -> None:
    """The image's /venv and /app as folders below `into`, which is not there yet or empty."""
    venv.create(into / "venv", symlinks=True)
    python = f"#!{into / 'venv/bin/python'}\n".encode()
    for distribution in pinned(function, root):
        for place, source in files(distribution).items():
            target = into / "venv" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
            if place.parts[0] == "bin" and (body := source.read_bytes()).startswith(b"#!"):
                target.write_bytes(python + body.partition(b"\n")[2])
    for source in code(function, root):
        target = into / "app" / source.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    compileall.compile_dir(into / "app", quiet=2)


def size(function: str, root: Path = ROOT) -> Size:
    """How large the image of `function` is beyond its base."""
    packages = {name: _weight(name) for name in pinned(function, root)}
    return Size(function, packages, sum(path.stat().st_size + _bytecode(path) for path in code(function, root)))


@functools.cache
def _weight(distribution: str) -> int:
    return sum(path.stat().st_size for path in files(distribution).values())


@functools.cache
def _bytecode(path: Path) -> int:
    if path.suffix != ".py":
        return 0
    return 16 + len(marshal.dumps(compile(path.read_bytes(), str(path), "exec", dont_inherit=True)))


def table(root: Path = ROOT) -> str:
    """Every image's size in MB (10^6 bytes, unpacked), the largest first."""
    rows = sorted((size(function, root) for function in functions(root)), key=lambda each: -each.whole)
    lines = [f"{'image':<10} {'MB':>6} {'ours':>5}  its largest packages"]
    lines += [f"{row.function:<10} {row.whole / 1e6:6.1f} {row.code / 1e6:5.1f}  {row.largest}" for row in rows]
    return "\n".join([*lines, "Unpacked, with bytecode, on top of python:3.11-slim-bookworm, which all of them share."])


def the_dockerfile_is_clean(root: Path = ROOT) -> Iterator[str]:
    """What hadolint says against functions/Dockerfile."""
    yield from _complaints((root / "functions/Dockerfile").read_text(encoding="utf-8"))


def every_image_can_be_laid_out(root: Path = ROOT) -> Iterator[str]:
    """Every function has a program, its settings, and packages by version and hash that are those tried here."""
    for function in functions(root):
        folder = f"functions/{function}"
        if not (root / folder / ("__main__.py" if function in JOBS else "main.py")).is_file():
            yield f"{folder}: no program (main.py)"
        text = (root / folder / "requirements.txt").read_text(encoding="utf-8")
        for block in re.findall(r"(?m)^[A-Za-z0-9].*(?:\n +--hash.*)*", text):
            if "==" not in block or "--hash=sha256:" not in block:
                yield f"{folder}/requirements.txt: {block.split()[0]}: neither version nor hash (make lock)"
        try:
            pinned(function, root)
        except ImageError as error:
            yield f"{folder}/requirements.txt: {error} (make lock, then make .venv/.stamp)"


@functools.cache
def _complaints(dockerfile: str) -> tuple[str, ...]:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    if not hadolint.exists():
        return ("functions/Dockerfile was not looked at: hadolint is not installed (make makes .venv anew)",)
    words = [str(hadolint), "--no-color", "--format", "json", "-"]
    done = subprocess.run(words, input=dockerfile, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)
    except json.JSONDecodeError:
        return (f"functions/Dockerfile: hadolint cannot read it: {(done.stderr or done.stdout).strip()[:300]}",)
    return tuple(f"functions/Dockerfile:{each['line']}: {each['code']} {each['message']}" for each in found)
