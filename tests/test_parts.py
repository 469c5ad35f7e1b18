"""The real servers, started for these tests on free ports with their data in a temporary folder."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pika
import psycopg
import pytest
import redis
import requests
from botocore.config import Config

from knative.local.children import leftovers
from knative.local.packages import PackagesError, unpack
from knative.local.parts import PartError, Parts, Ports, StoredObject, stored_object
from tests.waiting import GRACE, PATIENCE, until

REPOSITORY = Path(__file__).parents[1]
ORIGIN = "http://127.0.0.1:8080"


def free_base() -> int:
    """A base from which every port that the parts listen on is free."""
    for base in range(22000 + os.getpid() % 40 * 100, 32000, 100):
        probes = [socket.socket() for _ in range(18)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        else:
            return base
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no free ports")


class Notifications:
    """A webhook that keeps what SeaweedFS posts to it, translated."""

    def __init__(self) -> None:
        self.stored: queue.Queue[StoredObject | None] = queue.Queue()
        received = self.stored

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.put(stored_object(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def until(self, key: str) -> list[StoredObject]:
        """Every finished object notified up to and including the one at `key`."""
        found: list[StoredObject] = []
        while not found or found[-1].key != key:
            if (stored := self.stored.get(timeout=PATIENCE)) is not None:
                found.append(stored)
        return found


@pytest.fixture(scope="module")
def notifications() -> Iterator[Notifications]:
    webhook = Notifications()
    yield webhook
    webhook.server.shutdown()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that shares only the unpacked RabbitMQ with `make run`, so that it is fetched once."""
    folder = tmp_path_factory.mktemp("parts")
    fetched = REPOSITORY / ".local" / "debian"
    fetched.mkdir(parents=True, exist_ok=True)
    (folder / "debian").symlink_to(fetched)
    return folder


@pytest.fixture(scope="module")
def parts(state: Path, notifications: Notifications) -> Iterator[Parts]:
    every = Parts(state, Ports.from_base(free_base()), notifications.url, {}, print)
    every.start_all()
    yield every
    every.stop_all()


def killed_and_started(parts: Parts, name: str) -> None:
    part = parts.each[name]
    assert part.pid
    os.kill(part.pid, signal.SIGKILL)
    while part.pid:
        time.sleep(0.001)
    part.start()
    part.wait_ready()


def keep_busy(connection: psycopg.Connection[Any]) -> None:
    """A backend that outlives its killed server for a moment, and holds the shared memory that the next one wants."""
    with contextlib.suppress(psycopg.OperationalError), connection:
        connection.execute("SELECT sum(n) FROM generate_series(1, 3000000) n")


def s3(parts: Parts) -> Any:
    at = parts.addresses
    return boto3.client(
        "s3",
        endpoint_url=at.s3_endpoint,
        region_name=at.s3_region,
        aws_access_key_id=at.s3_access_key,
        aws_secret_access_key=at.s3_secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )


def test_postgres_finds_korean_and_vectors_and_survives_a_kill(parts: Parts) -> None:
    with psycopg.connect(parts.addresses.database_url) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE EXTENSION pg_trgm")
        connection.execute("CREATE TABLE item (name text, embedding vector(3))")
        connection.execute("INSERT INTO item VALUES ('투명 페트병', '[1,0,0]'), ('종이팩', '[0,1,0]')")
        alike = connection.execute("SELECT name, similarity(name, '페트병') FROM item ORDER BY 2 DESC").fetchall()
        assert alike[0][0] == "투명 페트병"
        assert alike[0][1] > 0.3 > alike[1][1]
        assert connection.execute("SHOW max_connections").fetchone() == ("200",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    thread = threading.Thread(target=keep_busy, args=[psycopg.connect(parts.addresses.database_url)])
    thread.start()
    killed_and_started(parts, "PostgreSQL")
    thread.join()
    with psycopg.connect(parts.addresses.database_url) as connection:
        near = connection.execute("SELECT name FROM item ORDER BY embedding <=> '[0.1,0.9,0]' LIMIT 1").fetchone()
    assert near == ("종이팩",)


def test_redis_keeps_what_it_had_over_a_restart(parts: Parts) -> None:
    with redis.Redis.from_url(parts.addresses.redis_url) as client:
        assert client.ping()
        client.set("rules:페트병", "1")
    parts.each["Valkey"].stop()
    parts.each["Valkey"].start()
    parts.each["Valkey"].wait_ready()
    with redis.Redis.from_url(parts.addresses.redis_url) as client:
        assert client.get("rules:페트병") == b"1"


def test_confirmed_messages_survive_kill_9_of_rabbitmq(parts: Parts) -> None:
    parameters = pika.URLParameters(parts.addresses.amqp_url)
    queue_type = {"x-queue-type": "quorum", "x-delivery-limit": 3}
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.queue_declare("survivors", durable=True, arguments=queue_type)
    channel.confirm_delivery()
    persistent = pika.BasicProperties(delivery_mode=2)
    for number in range(1000):
        channel.basic_publish(
            "", "survivors", str(number).encode(), persistent, mandatory=True
        )  # raises unless confirmed
    broker = parts.each["RabbitMQ"].pid
    assert Path(f"/proc/{broker}/comm").read_text().strip() == "beam.smp"
    killed_and_started(parts, "RabbitMQ")
    assert parts.each["RabbitMQ"].pid != broker
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    got: list[int] = []
    for method, _, body in channel.consume("survivors", inactivity_timeout=PATIENCE):
        assert method is not None, f"only {len(got)} came back"
        got.append(int(body))
        channel.basic_ack(method.delivery_tag)
        if len(got) == 1000:
            break
    assert got == list(range(1000))
    connection.close()


def test_presigned_post_takes_exactly_what_was_signed(parts: Parts) -> None:
    bucket = parts.addresses.bucket
    signed = s3(parts).generate_presigned_post(
        bucket,
        "uploads/a/photo.jpg",
        Fields={"Content-Type": "image/jpeg"},
        Conditions=[{"Content-Type": "image/jpeg"}, ["content-length-range", 1, 1000]],
        ExpiresIn=300,
    )

    def post(content: bytes, **fields: str) -> requests.Response:
        form = signed["fields"] | fields
        return requests.post(signed["url"], form, files={"file": content}, headers={"Origin": ORIGIN}, timeout=10)

    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    preflight = requests.options(f"{signed['url']}/", headers=asked, timeout=10)
    assert preflight.ok
    assert preflight.headers["Access-Control-Allow-Origin"] in {"*", ORIGIN}
    answers = {
        "too large": post(b"j" * 1001),
        "empty": post(b""),
        "another key": post(b"j", key="uploads/b/photo.jpg"),
        "another type": post(b"j", **{"Content-Type": "image/svg+xml"}),
        "another signature": post(b"j", **{"x-amz-signature": "0" * 64}),
    }
    assert {what: answer.status_code for what, answer in answers.items() if answer.status_code not in {400, 403}} == {}
    assert "Contents" not in s3(parts).list_objects_v2(Bucket=bucket, Prefix="uploads/")
    accepted = post(b"j" * 1000)
    assert accepted.status_code == 204
    assert accepted.headers["Access-Control-Allow-Origin"] in {"*", ORIGIN}
    assert s3(parts).head_object(Bucket=bucket, Key="uploads/a/photo.jpg")["ContentLength"] == 1000


def test_webhook_tells_of_every_finished_upload_and_of_nothing_else(parts: Parts, notifications: Notifications) -> None:
    client, bucket = s3(parts), parts.addresses.bucket
    first = client.put_object(Bucket=bucket, Key="uploads/한글 사진.jpg", Body=b"12345")
    again = client.put_object(Bucket=bucket, Key="uploads/한글 사진.jpg", Body=b"123456")
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    client.put_object_tagging(Bucket=bucket, Key="uploads/한글 사진.jpg", Tagging=tags)
    client.put_object(Bucket=bucket, Key="photos/copy.jpg", Body=b"1")
    client.put_object(Bucket=bucket, Key="uploads/folder/", Body=b"")
    client.delete_object(Bucket=bucket, Key="uploads/한글 사진.jpg")
    killed_and_started(parts, "SeaweedFS")
    client.put_object(Bucket=bucket, Key="uploads/last.jpg", Body=b"1")
    told = [stored for stored in notifications.until("uploads/last.jpg") if stored.key.startswith("uploads/한글")]
    expected = [StoredObject(bucket, "uploads/한글 사진.jpg", 5, first["ETag"].strip('"'))]
    expected += [StoredObject(bucket, "uploads/한글 사진.jpg", 6, again["ETag"].strip('"'))]
    assert sorted(told, key=lambda stored: stored.size) == expected
    assert client.get_object(Bucket=bucket, Key="photos/copy.jpg")["Body"].read() == b"1"


def entry(name: str, written: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": name, "chunks": [{"modified_ts_ns": written, "e_tag": "x"}], **more}


@pytest.mark.parametrize(
    "message",
    [
        {"old_entry": entry("a.jpg")},
        {"new_entry": entry("a.jpg"), "old_entry": entry("a.jpg"), "new_parent_path": "/buckets/b/uploads"},
        {"new_entry": {"name": "a", "is_directory": True}, "new_parent_path": "/buckets/b/uploads"},
        {"new_entry": entry("0001.part"), "new_parent_path": "/buckets/b/.uploads/17c1"},
        {"new_entry": entry("a.jpg"), "new_parent_path": "/buckets/b/photos/uploads"},
        {"new_entry": entry("uploads"), "new_parent_path": "/buckets/b"},
        {"new_entry": "a.jpg", "new_parent_path": "/buckets/b/uploads"},
        "not a message",
    ],
)
def test_other_notifications_are_ignored(message: object) -> None:
    assert stored_object({"event_type": "create", "message": message}) is None


def test_servers_of_somebody_else_are_used_and_never_touched(parts: Parts, tmp_path: Path) -> None:
    at = parts.addresses
    given = {
        "DATABASE_URL": at.database_url, "REDIS_URL": at.redis_url, "AMQP_URL": at.amqp_url,
        "S3_ENDPOINT": at.s3_endpoint, "AWS_ACCESS_KEY_ID": at.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": at.s3_secret_key, "S3_BUCKET": at.bucket,
    }  # fmt: skip
    theirs = Parts(tmp_path, Ports.from_base(1), "http://127.0.0.1:1/", given, print)
    theirs.start_all(timeout=5)
    theirs.stop_all()
    assert theirs.addresses == at
    assert all(part.pid for part in parts.each.values())


def test_failures_are_one_sentence(parts: Parts, tmp_path: Path) -> None:
    taken = Parts(tmp_path, Ports.from_base(parts.each["PostgreSQL"].listens[0]), "", {}, print).each["Valkey"]
    with pytest.raises(PartError, match=rf"^Port {taken.listens[0]} for Valkey .* PORT_BASE.*REDIS_URL\.$"):
        taken.start()
    missing = Parts(tmp_path, Ports.from_base(1), "", {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, print)
    with pytest.raises(PartError, match=r"^PostgreSQL did not answer within 0 s: .*refused.* \(address: DATABASE_URL"):
        missing.each["PostgreSQL"].wait_ready(timeout=0)
    with pytest.raises(PartError, match="AWS_SECRET_ACCESS_KEY"):
        Parts(tmp_path, Ports.from_base(1), "", {"S3_ENDPOINT": "http://127.0.0.1:1"}, print)
    broken = Parts(tmp_path, Ports.from_base(free_base()), "", {}, print).each["Valkey"]
    (broken.folder / "appendonlydir").mkdir(parents=True)
    (broken.folder / "appendonlydir" / "appendonly.aof.manifest").write_text("this is no database\n")
    broken.start()
    with pytest.raises(
        PartError, match=r"^Valkey stopped by itself: .*AOF MANIFEST FILE ERROR.* \(log: .*valkey\.log\)\.$"
    ):
        broken.wait_ready(timeout=20)


def test_no_process_is_left_behind(parts: Parts, state: Path) -> None:
    """Neither by a stop, nor when the one who started them is killed; and both leave data the next start takes."""
    parts.stop_all()
    assert leftovers(state) == []
    base = parts.each["PostgreSQL"].listens[0]
    script = (
        "import os, sys; from pathlib import Path; from knative.local.parts import Parts, Ports\n"
        f"parts = Parts(Path({str(state)!r}), Ports.from_base({base}), 'http://127.0.0.1:1/', {{}}, print)\n"
        "parts.start_all(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    until(lambda: not leftovers(state), GRACE)
    for name in ("PostgreSQL", "Valkey", "SeaweedFS"):
        parts.each[name].start()
        parts.each[name].wait_ready()


apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="packages are fetched with apt-get, which is not here")


@apt
def test_a_package_is_unpacked_once(tmp_path: Path) -> None:
    root, told = tmp_path / "root", list[str]()
    assert unpack(["hello"], root, told.append) == root
    greeting = subprocess.run([root / "usr/bin/hello"], capture_output=True, text=True, check=True)
    assert greeting.stdout == "Hello, world!\n"
    assert any(line.startswith("Fetching 1 package") for line in told)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert unpack(["hello"], root, pytest.fail) == root


@apt
@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("http_proxy", "http://127.0.0.1:1", r"^Could not fetch this machine's package lists .*network or proxy"),
        ("PATH", "/nowhere", r"^This system has no apt-get, so install no-such-package yourself"),
    ],
)
def test_a_package_that_cannot_be_had_is_one_sentence(
    setting: str, value: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting, value)
    with pytest.raises(PackagesError, match=sentence):
        unpack(["no-such-package"], tmp_path / "root", print)
