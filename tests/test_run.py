"""`make run`: what it prints, what it survives, and that nothing is left of it, however it ends."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from functions.shared.naming import PHOTO_TYPES
from knative.local import client, sample
from knative.local.children import leftovers
from knative.local.model import labels, seeing, vision
from knative.local.run import ClusterError, LocalCluster, share
from tests.conftest import ROOT, STATE, free_ports
from tests.waiting import until

FUNCTIONS = {
    "auth", "locations", "users", "presign", "waste", "live", "web",
    "ingest", "identify", "retrieve", "generate", "grade", "aggregate", "recover",
}  # fmt: skip
SERVERS = ["postgres", "redis", "rabbitmq", "s3", "model", "centres", "eventing", "serving"]


@pytest.fixture(scope="module")
def state(base: int) -> Path:
    """Kept from one run of the suite to the next while schema and ports stay: most starts are second starts."""
    schema = b"".join(file.read_bytes() for file in sorted((ROOT / "functions/setup/migrations").glob("*.sql")))
    folder = STATE / f"run-{base}-{hashlib.sha256(schema).hexdigest()[:8]}"
    share(folder)
    return folder


@pytest.fixture(scope="module")
def base() -> int:
    return free_ports(27000)


def command(state: Path, base: int, *more: str) -> list[str]:
    gateway = ["--port", str(base + 80), "--base-port", str(base)]
    return [sys.executable, "-m", "knative.local", "run", "--state", str(state), *gateway, *more]


def done(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def start(state: Path, base: int, *more: str) -> subprocess.Popen[str]:
    hidden = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "DATABASE_URL", "REDIS_URL", "S3_ENDPOINT"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.Popen(
        command(state, base, *more),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.unmeasured
def test_once_analyses_the_sample_through_the_public_api(state: Path, base: int) -> None:
    process = start(state, base, "--once")
    output, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, ""), output
    lines = output.splitlines()
    assert any(line.endswith(f"{len(FUNCTIONS)} functions answer") for line in lines)
    stages = [line.split()[-1] for line in lines if " ms  " in line]
    order = ["analysis.requested", "photo.ingested", "item.identified", "rules.retrieved", "guidance.generated"]
    assert [stage for stage in stages if stage in order] == order
    for expected in ("페트", "[준비]", "[세척]", "[분리]", "[배출]", "https://", "waste-coach-standin-1"):
        assert expected in output, output
    assert "Traceback" not in output
    assert not leftovers(state)
    assert not (state / "lock").exists()
    assert not (state / "run.json").exists()


@pytest.fixture(scope="module")
def cluster(state: Path, base: int) -> Iterator[LocalCluster]:
    with LocalCluster(state, base, {"ANSWER_DAYS": "3"}) as running:
        yield running
    assert not leftovers(state)


def test_it_says_where_everything_is(cluster: LocalCluster) -> None:
    run = cluster.run
    assert sorted(run["pids"]) == sorted(SERVERS)
    assert requests.get(run["gateway"], timeout=30).status_code == 200
    assert requests.get(run["activator"] + "/revisions", timeout=30).json().keys() == FUNCTIONS
    assert run["env"]["ANSWER_DAYS"] == "3"
    assert run["env"]["DATABASE_URL"] == run["database_url"]
    assert (cluster.state / "run.json").stat().st_mode & 0o077 == 0


def test_a_second_one_says_so(cluster: LocalCluster, base: int) -> None:
    second = start(cluster.state, base)
    output, errors = second.communicate(timeout=30)
    assert (second.returncode, output) == (1, "")
    assert errors.startswith("It is already running")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("name", SERVERS)
def test_what_is_killed_comes_back(cluster: LocalCluster, name: str) -> None:
    old = cluster.kill(name)
    until(lambda: (new := cluster.pids(name)) and new != old)
    assert "ended; starting it again" in cluster.output.read_text()


def test_a_killed_function_comes_back_when_it_is_asked(cluster: LocalCluster) -> None:
    until(lambda: requests.get(cluster.run["gateway"], timeout=30).status_code == 200)
    old = cluster.kill("web")
    assert old
    until(lambda: requests.get(cluster.run["gateway"], timeout=30).status_code == 200)
    assert cluster.pids("web") != old


def test_a_photo_is_analysed_from_the_command_line(cluster: LocalCluster, tmp_path: Path) -> None:
    photo = tmp_path / "bottle.jpg"
    photo.write_bytes(sample.jpeg())
    until(lambda: requests.get(cluster.run["gateway"] + "/readyz", timeout=30).status_code == 200)
    ask = [sys.executable, "-m", "knative.local", "analyze", "--state", str(cluster.state)]
    asked = done(*ask, "--photo", str(photo), "--question", "페트병")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "guidance.generated" in asked.stdout
    wrong = done(*ask, "--photo", __file__)
    assert wrong.returncode == 1
    assert wrong.stderr == f"test_run.py is not a photo: {', '.join(PHOTO_TYPES)} are.\n"


def test_a_kill_of_the_whole_leaves_nothing(state: Path, base: int, cluster: LocalCluster) -> None:
    """Last of those that use the cluster: it is gone afterwards."""
    assert len(leftovers(state)) > len(SERVERS) + len(FUNCTIONS)
    os.kill(cluster.run["pid"], signal.SIGKILL)
    until(lambda: not leftovers(state))
    with pytest.raises(client.Refused, match="Nothing is running here"):
        assert cluster.run


def test_a_reader_who_leaves_ends_it(state: Path, base: int) -> None:
    process = start(state, base)
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    process.wait(60)
    assert not leftovers(state)


def test_ctrl_c_in_the_middle_of_the_start_ends_it(state: Path, base: int) -> None:
    process = start(state, base)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert not leftovers(state)
    assert not (state / "lock").exists()


def test_a_busy_port_is_one_sentence(state: Path, base: int) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", base + 80))
        other.listen()
        process = start(state, base)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == f"Port {base + 80} is in use by another program: stop that, or say PORT=<another number>.\n"
    assert not leftovers(state)


def test_an_override_of_nothing_is_refused(state: Path, base: int) -> None:
    with (
        pytest.raises(ClusterError, match="has no NO_SUCH_THING to override"),
        LocalCluster(state, base, {"NO_SUCH_THING": "1"}),
    ):
        pass


def test_the_sample_is_a_bottle_to_the_eye_that_will_see_it() -> None:
    guess = seeing.pictured(vision.Eye().look(sample.jpeg()), labels.load())
    assert guess
    assert guess.item.name == "투명 페트병"


RULE = {
    "id": "pet.label", "text": "라벨을 떼요.", "basis_name": "지침",
    "source": {"title": "분리배출 지침", "url": "https://example.org/1"},
}  # fmt: skip
GUIDE: dict[str, Any] = {
    "summary": "비우고 헹궈 투명 페트병 수거함에 넣어요.",
    "destination": {"code": "pet", "name": "투명 페트병", "where": "전용 수거함"},
    "steps": [{"phase_name": "분리", "text": "라벨을 떼요.", "rule_ids": ["pet.label"]}],
    "cautions": [{"text": "뚜껑은 닫아요.", "rule_ids": ["pet.why"]}],
    "answer": "네, 떼 주세요.",
    "rules": [RULE, {**RULE, "id": "pet.why", "source": {"title": "안내서", "url": None}},
              {**RULE, "id": "pet.unused", "text": "쓰이지 않은 기준"}],
    "made_by": {
        "model": "m", "prompt_version": "v1", "standin": True, "cached": False, "repaired": True, "fallback": False,
        "tokens_in": 10, "tokens_out": 5, "cost_usd": 0.0123,
    },
}  # fmt: skip
BARE: dict[str, Any] = {"failure": None, "clarify": None, "guide": None, "item": None}


def test_a_guide_is_printed_with_its_citations_and_who_made_it() -> None:
    text = client.rendered({**BARE, "guide": GUIDE, "item": {"name": "투명 페트병", "candidates": []}})
    assert "[분리] 라벨을 떼요. [1]" in text
    assert "[1] 라벨을 떼요." in text
    assert "분리배출 지침 https://example.org/1" in text
    assert "쓰이지 않은 기준" not in text
    for made in ("m (v1)", "10", "$0.0123", "연습용 모델", "한 번 고쳐 씀"):
        assert made in text


def test_what_is_not_a_guide_is_printed_too() -> None:
    assert "사진" in client.rendered({**BARE, "failure": {"message": "사진을 읽지 못했어요.", "code": "bad_photo"}})
    asked = {"question": "어떤 병인가요?", "options": [{"label": "유리병"}, {"label": "페트병"}]}
    assert client.rendered({**BARE, "clarify": asked}).splitlines()[1:] == ["  - 유리병", "  - 페트병"]
    near = {"candidates": [{"name": "장난감"}]}
    assert client.rendered({**BARE, "item": near}).splitlines()[-1] == "  - 장난감"


def test_a_python_that_is_missing_or_too_old_is_one_sentence(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    absent = done("make", "run", "PYTHON=/bin/false", folder=tmp_path)
    assert absent.returncode
    assert absent.stderr.startswith("Python 3.11 or newer is needed and was not found")
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1;; esac\n')
    bare.chmod(0o755)
    half = done("make", "run", f"PYTHON={bare}", folder=tmp_path)
    assert half.stderr.startswith("Python's venv module is missing: install the package python3-venv")
    assert not (tmp_path / ".venv").exists()


def test_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = makefile.partition(".PHONY:")[2].splitlines()[0].split()
    shown = done("make", "help").stdout
    assert all(f"make {target} " in shown for target in phony)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in ci
    assert "run: .ci/run" in (ROOT / ".github/workflows/ci.yaml").read_text(encoding="utf-8")
