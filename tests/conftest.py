"""The real servers every test may use, each started once a run on free loopback ports, state below `.local/tests`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from xdist.scheduler import LoadScopeScheduling

from functions.setup.compiled import load as load_corpus
from functions.setup.index import build
from functions.shared.embeddings import E5
from functions.shared.memory import Memory
from functions.shared.postgres import Database
from functions.shared.revocations import Revocations
from knative.local.parts import Addresses, Parts, Ports
from knative.local.run import LocalCluster, share
from tests.rulebooks import LetterPairs
from tests.running import Running
from tests.standin import Standin
from tests.waiting import PATIENCE, until_it_answers

pytest_plugins = ["tests.steps", "tests.visitor"]

#: Before anybody imports numpy: its threads wait for each other by spinning, so that a vector costs four times the CPU.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
#: Each worker (`-n 3`) has servers of its own; what was fetched and embedded is shared.
STATE = ROOT / ".local" / "tests" / os.environ.get("PYTEST_XDIST_WORKER", "alone")

#: The clocks of `recover`, shortened, so that a test sees in seconds what takes a minute elsewhere.
FAST = {"RECOVER_AFTER_SECONDS": "40", "MODEL_PARK_SECONDS": "2"}
#: A suite asks more often than a citizen may, and from one address.
FAST |= {"RATE_LIMIT_PER_MINUTE": "100000", "FILES_PER_MINUTE": "100000", "GUESTS_PER_HOUR": "100000"}
FAST |= {"MODEL_DAILY_PER_USER": "100000", "MODEL_DAILY_USD": "1000"}


#: Files that share one worker because they share one running system; and what takes longest, which begins first (of the
#: three that start whole systems, no more than two at once).
TOGETHER = {
    "test_outage": "cluster",
    "test_page": "cluster",
    "test_accounts_page": "cluster",
    "test_docs": "cluster",
    "test_trashnet": "cluster",
}
LONGEST = ("test_chaos", "cluster", "test_evaluation", "test_run", "test_serving", "test_rules")

_reserved: list[socket.socket] = []
#: Server → the database with nothing but the schema in it.
_schema: dict[str, str] = {}


def _group(path: str) -> str:
    """Whose work a test is, by its file."""
    name = Path(path).stem
    return TOGETHER.get(name, name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that all workers end at the same time."""
    order = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(_group(item.path.name), len(order)))


@contextmanager
def unmeasured() -> Iterator[None]:
    """No coverage of what runs in here, or in processes that are started in here: it costs a fifth to two
    thirds of the speed, also outside our own code. For what runs many times the lines that another test has run."""
    tracing, in_threads = sys.gettrace(), threading.gettrace()
    process = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        if process:
            os.environ["COVERAGE_PROCESS_CONFIG"] = process
        threading.settrace(in_threads)
        sys.settrace(tracing)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test marked `unmeasured` is."""
    with unmeasured() if item.get_closest_marker("unmeasured") else nullcontext():
        return (yield)


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
    with psycopg.connect(parts.addresses.database_url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # no test of these servers cuts the power
        connection.execute("SELECT pg_reload_conf()")
    with redis.Redis.from_url(parts.addresses.redis_url) as client:
        client.config_set("appendfsync", "no")
    Revocations(Memory(parts.addresses.redis_url)).now()  # what tests sign is not older than the list of refused
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
    with unmeasured():
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
    """The URL of a new database with the schema in it: the first is migrated, the others are copies of that one."""
    url = _schema.get(servers.database_url)
    if url is None:
        url = _schema[servers.database_url] = _created(servers)
        subprocess.run(
            [sys.executable, "-m", "functions.setup", "migrate"],
            env={**os.environ, "DATABASE_URL": url},
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    return copied(servers, url)


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
    with unmeasured():  # test_model.py measures one of its own
        process = subprocess.Popen(command, cwd=ROOT)
    try:
        root = f"http://127.0.0.1:{port}"
        until_it_answers(f"{root}/healthz", process)
        yield Standin(root)
    finally:
        process.terminate()
        process.wait(PATIENCE)


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
    """The whole system, as `make run` starts it, unmeasured: the tests of the parts have run the same lines."""
    local = LocalCluster(fresh_state(name), free_ports(first_port), FAST)
    with ExitStack() as stack:
        with unmeasured():
            stack.enter_context(local)
        yield Running(local)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Running]:
    """The whole system, for the tests that look at it from outside."""
    with whole_system("cluster", 27000) as running:
        yield running
