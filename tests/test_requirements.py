"""Each function starts with its own requirements and nothing more: every other installed package is hidden from it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/requirements.txt"))

#: Hides every top-level module that none of the named distributions brings, then imports the function.
START = r"""
import importlib.abc, importlib.metadata, os, re, sys, typing
function, allowed = sys.argv[1], set(sys.argv[2].split())
norm = lambda name: re.sub(r"[-_.]+", "-", name).lower()
hidden = {
    module for module, dists in importlib.metadata.packages_distributions().items()
    if not {norm(dist) for dist in dists} & allowed
}
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not in the requirements of {function}", name=name)
sys.meta_path.insert(0, Hide())
settings = __import__(f"functions.{function}.settings", fromlist=["Settings"]).Settings
for name, hint in typing.get_type_hints(settings).items():
    os.environ[name.upper()] = {int: "9", float: "9", bool: "1"}.get(hint, "/nowhere")
__import__(f"functions.{function}.{'__main__' if function in ('setup', 's3source') else 'main'}", fromlist=["x"])
if os.path.exists(f"functions/{function}/llm.py"):
    __import__(f"functions.{function}.llm", fromlist=["x"])
print("started")
"""


def requirements(function: str) -> set[str]:
    """Distributions named in the function's file, every one pinned and hashed."""
    text = (ROOT / "functions" / function / "requirements.txt").read_text()
    entries = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert all("==" in entry for entry in entries)
    assert text.count("--hash=sha256:") >= len(entries)
    return {re.sub(r"[-_.]+", "-", entry.split("==")[0]).lower() for entry in entries}


def start(function: str, allowed: set[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START, function, " ".join(sorted(allowed))],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_with_its_own_requirements(function: str) -> None:
    result = start(function, requirements(function))
    assert result.stdout.strip() == "started", result.stderr[-800:]


def test_a_missing_requirement_is_noticed() -> None:
    result = start("auth", requirements("auth") - {"pyjwt"})
    assert "jwt is not in the requirements of auth" in result.stderr


def test_one_version_everywhere() -> None:
    def pins(folder: Path) -> set[str]:
        return set(re.findall(r"^\S+==\S+", (folder / "requirements.txt").read_text(), re.MULTILINE))

    for function in FUNCTIONS:
        assert pins(ROOT / "functions" / function) <= pins(ROOT), function
