"""The real servers every test may use, each started once a run on free loopback ports, state below `.local/tests`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from knative.local.parts import Addresses, Parts, Ports
from knative.local.run import LocalCluster, share
from tests.running import Running
from tests.standin import Standin

pytest_plugins = ["tests.steps"]

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".local" / "tests"

#: The clocks of `recover`, shortened, so that a test sees in seconds what takes a minute elsewhere.
FAST = {"RECOVER_AFTER_SECONDS": "40", "MODEL_PARK_SECONDS": "2"}


def free_ports(first: int) -> int:
    """A base of 200 free loopback ports, `first` or above."""
    for base in range(first, 32400, 200):  # above, the kernel takes ports for outgoing connections
        if all(_free(base + offset) for offset in range(130)):
            return base
    raise RuntimeError(f"no 130 free ports in a row above {first}")


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


def migrated(servers: Addresses) -> str:
    """Create and migrate a database; its URL."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload, unused-ignore]
    url = urlsplit(servers.database_url)._replace(path=f"/{name}").geturl()
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


@pytest.fixture(scope="session")
def cluster() -> Iterator[Running]:
    """The whole system, as `make run` starts it, for the tests that look at it from outside."""
    with LocalCluster(fresh_state("cluster"), free_ports(27000), FAST) as local:
        yield Running(local)
