"""The poller between SQS and the broker: the real program and the real boto3, a small SQS and a small ingress."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.s3source.notification import Unreadable, stored
from functions.s3source.settings import Settings
from functions.shared import naming
from functions.shared.config import variables
from functions.shared.events import UploadStored
from functions.shared.wire import parse
from tests.waiting import GRACE, until

ROOT = Path(__file__).parents[1]
BUCKET = "growbin-waste-photos"


def key(name: str = "before.jpg") -> str:
    return f"uploads/{uuid.uuid4()}/{name}"


def notification(*keys: str, event: str = "ObjectCreated:Post", bucket: str = BUCKET, etag: str = "0cc175b9") -> str:
    """What S3 sends for these keys, as they stand in it: URL-encoded."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventSource": "aws:s3",
                    "eventName": event,
                    "eventTime": "2026-11-26T03:04:05.678Z",
                    "s3": {"bucket": {"name": bucket}, "object": {"key": k, "size": 1234, "eTag": etag}},
                }
                for k in keys
            ]
        }
    )


@dataclass
class Message:
    body: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    hidden_until: float = 0.0
    receipt: str = ""
    received: int = 0


@dataclass
class Queue:
    """SQS as far as the poller needs it: visibility, receipts, long polls, batches. `away`: every request is a 500."""

    messages: list[Message] = field(default_factory=list)
    away: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, body: str) -> Message:
        with self.lock:
            self.messages.append(Message(body))
            return self.messages[-1]

    def do(self, action: str, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "ReceiveMessage": self._receive,
            "DeleteMessageBatch": self._delete,
            "ChangeMessageVisibilityBatch": self._hide,
        }[action](asked)

    def _receive(self, asked: dict[str, Any]) -> dict[str, Any]:
        ends = time.monotonic() + asked["WaitTimeSeconds"]
        while True:
            now = time.monotonic()
            with self.lock:
                found = [m for m in self.messages if m.hidden_until <= now][: asked["MaxNumberOfMessages"]]
                for message in found:
                    message.hidden_until = now + asked["VisibilityTimeout"]
                    message.receipt, message.received = uuid.uuid4().hex, message.received + 1
            if found or now > ends:
                told = [{"MessageId": m.id, "ReceiptHandle": m.receipt, "Body": m.body} for m in found]
                return {"Messages": told} if told else {}
            time.sleep(0.02)

    def _delete(self, asked: dict[str, Any]) -> dict[str, Any]:
        receipts = {entry["ReceiptHandle"] for entry in asked["Entries"]}
        with self.lock:
            self.messages = [m for m in self.messages if m.receipt not in receipts]
        return {"Successful": [{"Id": entry["Id"]} for entry in asked["Entries"]], "Failed": []}

    def _hide(self, asked: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            for entry in asked["Entries"]:
                for message in self.messages:
                    if message.receipt == entry["ReceiptHandle"]:
                        message.hidden_until = time.monotonic() + entry["VisibilityTimeout"]
        return {"Successful": [{"Id": entry["Id"]} for entry in asked["Entries"]], "Failed": []}


@dataclass
class Broker:
    """The ingress: keeps what it took. `answers` are the statuses of the next requests, then 202."""

    answers: list[int] = field(default_factory=list)
    taken: list[Any] = field(default_factory=list)
    asked: int = 0
    look: Callable[[], object] = lambda: None

    def post(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.asked += 1
        status = self.answers.pop(0) if self.answers else 202
        if status == 202:
            assert path == "/"
            self.look()
            self.taken.append(parse(headers, body))
        return status


@contextmanager
def listening(answer: Callable[[BaseHTTPRequestHandler, bytes], tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, body = answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@contextmanager
def poller(queue: Queue, broker: Broker, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program as the ContainerSource starts it."""

    def sqs(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=key/")
        if queue.away:
            return 500, b'{"__type": "InternalError"}'
        action = request.headers["X-Amz-Target"].removeprefix("AmazonSQS.")
        return 200, json.dumps(queue.do(action, json.loads(body))).encode()

    def ingress(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        return broker.post(request.path, dict(request.headers.items()), body), b""

    with listening(sqs) as endpoint, listening(ingress) as sink:
        environment = {
            **{name: value for name, value in os.environ.items() if name.startswith(("PATH", "COVERAGE_", "PYTHON"))},
            "K_SINK": sink,
            "QUEUE_URL": f"{endpoint}/000000000000/uploads",
            "SQS_ENDPOINT": endpoint,
            "S3_REGION": "ap-northeast-2",
            "S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "ALIVE_FILE": str(folder / "alive"),
            "WAIT_SECONDS": "1",
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "functions.s3source"], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()


def test_an_upload_becomes_one_event_and_its_message_goes_only_afterwards(
    queue: Queue, broker: Broker, tmp_path: Path
) -> None:
    there: list[int] = []
    broker.look = lambda: there.append(len(queue.messages))
    photo = key()
    queue.send(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}))
    queue.send(notification(photo))
    queue.send(notification(photo))  # SQS brings things twice
    with poller(queue, broker, tmp_path) as process:
        until(lambda: not queue.messages)
        assert [(e.type, e.source, e.subject) for e in broker.taken] == [
            (UploadStored.TYPE, "/functions/s3source", photo.split("/")[1])
        ] * 2
        assert len({event.id for event in broker.taken}) == 1
        assert broker.taken[0].data == UploadStored(key=photo, size=1234, etag="0cc175b9")
        assert there == [3, 3]  # nothing had been deleted when the broker was asked
        assert (tmp_path / "alive").exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(GRACE) == 0


def test_while_the_broker_is_away_nothing_is_deleted_or_delivered_anew(
    queue: Queue, broker: Broker, tmp_path: Path
) -> None:
    broker.answers = [503, 500, 200]  # who answers 200 is not the broker
    sent = [queue.send(notification(key())) for _ in range(3)]
    with poller(queue, broker, tmp_path):
        until(lambda: broker.asked >= 3)
        assert len(queue.messages) == 3
        until(lambda: not queue.messages)
    assert len(broker.taken) == 3
    assert [message.received for message in sent] == [1, 1, 1]


def test_who_is_told_to_stop_gives_back_what_it_holds(queue: Queue, broker: Broker, tmp_path: Path) -> None:
    broker.answers = [503] * 1000
    message = queue.send(notification(key()))
    with poller(queue, broker, tmp_path) as process:
        until(lambda: broker.asked)
        process.send_signal(signal.SIGTERM)
        assert process.wait(GRACE) == 0
    assert queue.messages == [message]
    assert message.hidden_until <= time.monotonic()


def test_poison_stays_for_the_dead_letter_queue_and_stops_nobody(queue: Queue, broker: Broker, tmp_path: Path) -> None:
    broken, refused = queue.send("<xml>"), queue.send(notification(key()))
    broker.answers = [400]
    queue.send(notification(key()))
    with poller(queue, broker, tmp_path):
        until(lambda: len(queue.messages) == 2)
        until(lambda: broker.taken)
    assert queue.messages == [broken, refused]


def test_a_queue_that_is_away_is_asked_again(queue: Queue, broker: Broker, tmp_path: Path) -> None:
    queue.away = True
    queue.send(notification(key()))
    with poller(queue, broker, tmp_path) as process:
        until(lambda: b"queue unreachable" in (tmp_path / "log").read_bytes())
        assert process.poll() is None
        queue.away = False
        until(lambda: broker.taken)


def test_keys_are_decoded_and_what_is_not_ours_is_passed_over() -> None:
    photo = key()
    (event,) = stored(notification(photo.replace("/", "%2F")), BUCKET)
    assert event.data.key == photo
    assert stored(notification("uploads/some+one%27s.jpg"), BUCKET) == []
    assert stored(notification(photo, event="ObjectRemoved:Delete"), BUCKET) == []
    assert stored(notification(photo, bucket="somebody-elses"), BUCKET) == []
    assert len(stored(notification(photo, key()), BUCKET)) == 2
    assert stored(notification(photo), BUCKET)[0].id == naming.child_id(
        "/functions/s3source", f"{photo}\n0cc175b9", UploadStored.TYPE
    )


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"Records": [{}]}', '{"Records": 7}', '"text"'])
def test_what_is_no_notification_is_never_taken_for_one(body: str) -> None:
    with pytest.raises(Unreadable):
        stored(body, BUCKET)


def test_its_manifest_sets_what_it_reads() -> None:
    documents = list(yaml.safe_load_all((ROOT / "knative/sources/s3.yaml").read_text(encoding="utf-8")))
    source = next(d for d in documents if d["kind"] == "ContainerSource")
    given = {variable["name"] for variable in source["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert given | {"K_SINK", "SQS_ENDPOINT", "WAIT_SECONDS"} == variables(Settings)
