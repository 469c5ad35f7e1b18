"""The real servers every test may use, each started once a run on free loopback ports, state below `.local/tests`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from xdist.scheduler import LoadScopeScheduling

from functions.setup.compiled import load as load_corpus
from functions.setup.index import build
from functions.shared.embeddings import E5
from functions.shared.postgres import Database
from knative.local.parts import Addresses, Parts, Ports
from knative.local.run import LocalCluster, share
from tests.rulebooks import LetterPairs
from tests.running import Running
from tests.standin import Standin

pytest_plugins = ["tests.steps"]

ROOT = Path(__file__).parents[1]
#: Each worker (`-n 2`) has servers of its own; what was fetched and embedded is shared.
STATE = ROOT / ".local" / "tests" / os.environ.get("PYTEST_XDIST_WORKER", "alone")

#: The clocks of `recover`, shortened, so that a test sees in seconds what takes a minute elsewhere.
FAST = {"RECOVER_AFTER_SECONDS": "40", "MODEL_PARK_SECONDS": "2"}


#: Files that share one worker because they share one running system, and what takes longest: that begins first.
TOGETHER = {"test_outage": "cluster", "test_page": "cluster", "test_trashnet": "cluster"}
LONGEST = ("test_chaos", "cluster", "test_run", "test_rules", "test_evaluation", "test_serving")

_reserved: list[socket.socket] = []


def _group(path: str) -> str:
    """Whose work a test is, by its file."""
    name = Path(path).stem
    return TOGETHER.get(name, name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that both workers end at the same time."""
    order = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(_group(item.path.name), len(order)))


class ByGroup(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
    """One file, or what shares a system, is one worker's work."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid.split("::", maxsplit=1)[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    """How `-n` deals out the tests (xdist 3.8's own groups need what pytest 9.2 no longer has)."""
    return ByGroup(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests counted (`record_property("figures", …)`): a worker's own output is not shown."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, figures in report.user_properties:
            if name == "figures" and report.when == "call":
                terminalreporter.write_sep("-", report.nodeid)
                terminalreporter.write_line(str(figures))


def free_ports(first: int) -> int:
    """A base of 200 loopback ports, `first` or above, of which 130 are free and stay this process's."""
    for base in range(first, 32400, 200):  # above, the kernel takes ports for outgoing connections
        if all(_free(base + offset) for offset in range(130)) and _reserve(base + 199):
            return base
    raise RuntimeError(f"no 130 free ports in a row above {first}")


def _reserve(port: int) -> bool:
    mark = socket.socket()
    try:
        mark.bind(("127.0.0.1", port))
        mark.listen(1)
    except OSError:
        mark.close()
        return False
    _reserved.append(mark)
    return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def fresh_state(name: str) -> Path:
    """An empty state folder that shares what was already fetched and embedded."""
    state = STATE / name
    shutil.rmtree(state, ignore_errors=True)
    share(state)
    return state


@pytest.fixture(scope="session")
def servers() -> Iterator[Addresses]:
    """PostgreSQL, Valkey, RabbitMQ and an S3 store of the suite's own."""
    ports = Ports.from_base(free_ports(24000))
    hook = f"http://127.0.0.1:{ports.activator}/hooks/s3"
    parts = Parts(fresh_state("servers"), ports, hook, {}, lambda line: print(line, file=sys.stderr))
    parts.start_all()
    yield parts.addresses
    parts.stop_all()


@pytest.fixture(scope="session")
def database_url(servers: Addresses) -> str:
    """An empty database with the schema in it, shared by the tests of this run."""
    return migrated(servers)


@pytest.fixture
def own_database_url(servers: Addresses) -> str:
    """The same, for one test alone."""
    return migrated(servers)


@pytest.fixture(scope="session")
def indexed_url(servers: Addresses) -> str:
    """A database with the real rules in it, found by their spelling (LetterPairs): to be copied, never used itself."""
    url = migrated(servers)
    database = Database(url)
    build(database, load_corpus(ROOT / "rag-index" / "corpus"), LetterPairs(E5), lambda line: None)
    database.close()
    return url


def copied(servers: Addresses, url: str) -> str:
    """The URL of a new database with everything that is in the one at `url`; nobody may be connected to that."""
    return _created(servers, f"TEMPLATE {urlsplit(url).path[1:]}")


def _created(servers: Addresses, how: str = "") -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {how}")  # type: ignore[call-overload, unused-ignore]
    return urlsplit(servers.database_url)._replace(path=f"/{name}").geturl()


def migrated(servers: Addresses) -> str:
    """Create and migrate a database; its URL."""
    url = _created(servers)
    subprocess.run(
        [sys.executable, "-m", "functions.setup", "migrate"],
        env={**os.environ, "DATABASE_URL": url},
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return url


@pytest.fixture(scope="session")
def redis_url(servers: Addresses) -> str:
    return servers.redis_url


@pytest.fixture(scope="session")
def amqp_url(servers: Addresses) -> str:
    return servers.amqp_url


@pytest.fixture(scope="session")
def s3(servers: Addresses) -> Addresses:
    """The S3 store: `.s3_endpoint`, `.s3_access_key`, `.s3_secret_key`, `.bucket`."""
    return servers


@pytest.fixture(scope="session")
def standin() -> Iterator[Standin]:
    """The model stand-in, once for the run."""
    port = free_ports(26000) + 90
    vectors = ROOT / ".local" / "vectors" / "e5.sqlite"
    command = [sys.executable, "-m", "knative.local.model", "--port", str(port), "--vectors", str(vectors)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield Standin.await_ready(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def model(standin: Standin) -> Iterator[Standin]:
    """The model stand-in: `.url`, `.faults(…)`, `.counts()`; faults are gone after the test."""
    yield standin
    standin.well()


@pytest.fixture(scope="session")
def embedding_url(standin: Standin) -> str:
    """Base URL of the stand-in's API, for embeddings."""
    return standin.url


@contextmanager
def whole_system(name: str, first_port: int) -> Iterator[Running]:
    """The whole system, as `make run` starts it. Its processes are not measured: that costs a third of their speed, and
    the tests of the parts have run the same lines."""
    measuring = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    with ExitStack() as stack:
        try:
            local = stack.enter_context(LocalCluster(fresh_state(name), free_ports(first_port), FAST))
        finally:
            if measuring:
                os.environ["COVERAGE_PROCESS_CONFIG"] = measuring
        yield Running(local)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Running]:
    """The whole system, for the tests that look at it from outside."""
    with whole_system("cluster", 27000) as running:
        yield running
