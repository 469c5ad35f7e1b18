"""`make search` and its kin: they need nothing running, print what they promise, and leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from knative.local.run import share
from tests.conftest import ROOT, free_ports, fresh_state, unmeasured


def run(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    others = ("DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment |= {"STATE": str(state), "PORT_BASE": str(free_ports(29000))}
    command = [sys.executable, "-m", "knative.local.rules", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def state() -> Path:
    """Nothing runs here, and at first there is no index."""
    state = fresh_state("rules")
    share(state)
    return state


def test_one_question_is_one_json_document_and_a_file_a_line_each(state: Path, tmp_path: Path) -> None:
    with unmeasured():  # it builds the index
        one = run(state, "search", "--", "깨진 유리컵")
    assert one.returncode == 0, one.stderr
    found = json.loads(one.stdout)
    assert set(found) == {"decision", "question", "candidates", "parts", "ms"}
    assert (found["decision"], found["candidates"][0]["destinations"]) == ("match", ["noncombustible"])
    assert set(found["candidates"][0]) == {"id", "name", "score", "destinations"}

    asked = tmp_path / "asked.txt"
    asked.write_text("컵\n\n노끈\n오늘 날씨 어때\n", encoding="utf-8")
    several = run(state, "search", "--region", "서울특별시", "--file", str(asked))
    assert several.returncode == 0, several.stderr
    answers = [json.loads(line) for line in several.stdout.splitlines()]
    assert [answer["decision"] for answer in answers] == ["ambiguous", "not_found", "match", "not_found"]
    assert answers[0]["question"]["options"]
    assert answers[2]["candidates"][0]["destinations"] == ["vinyl"]  # elsewhere in Korea it is general waste
    assert all(len(answer["candidates"]) <= 5 for answer in answers)
    assert not (state / "lock").exists()
    assert "postgres" not in _commands(state)


def test_what_cannot_be_asked_is_said_in_one_sentence(state: Path, tmp_path: Path) -> None:
    lost = run(state, "search", "--file", str(tmp_path / "nothing.txt"))
    assert (lost.returncode, lost.stdout) == (1, "")
    assert "nothing.txt" in lost.stderr.splitlines()[-1]


def _commands(state: Path) -> str:
    """Commands of the processes that still run for this state."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(state.resolve()) in (process / "environ").read_bytes().decode(errors="replace"):
                found.append((process / "comm").read_text().strip())
        except OSError:
            continue
    return " ".join(found)
