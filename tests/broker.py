"""The broker stand-in as its own process, on manifests made for a test, with subscribers that do as they are told."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml

from knative.local.manifests import BASE, BROKER_CLASS, PARALLELISM, PIPELINES, ROOT
from tests.waiting import GRACE, until

DELIVERY = {"retry": 3, "backoffPolicy": "exponential", "timeout": "PT2S"}  # no delay stated: Knative's own 50 ms


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Request:
    """One request a subscriber got: when (monotonic seconds), how, and what."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What a subscriber says, after `wait` seconds."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait: float = 0.0


class Subscriber:
    """A web server that keeps every request and answers by path: a function of the request and how many came before."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: dict[str, Callable[[Request, int], Answer]] = {}
        self.busy: dict[str, int] = {}
        self.busiest: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value.encode("latin-1").decode() for name, value in self.headers.items()}
                owner._handle(self, Request(time.monotonic(), self.command, self.path, headers, body))

            do_GET = do_POST = handle_any  # noqa: N815 (http.server's names)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                """A caller that did not wait for its answer is no error here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def at(self, path: str) -> list[Request]:
        return [request for request in list(self.requests) if request.path == path]

    def ids(self, path: str) -> list[str]:
        return [request.headers["ce-id"] for request in self.at(path)]

    def _handle(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        path = request.path
        with self._lock:
            answer = self.answers[path](request, len(self.at(path))) if path in self.answers else Answer()
            self.requests.append(request)
            self.busy[path] = self.busy.get(path, 0) + 1
            self.busiest[path] = max(self.busy[path], self.busiest.get(path, 0))
        self._closing.wait(answer.wait)
        with self._lock:
            self.busy[path] -= 1
        handler.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(answer.body)


class Wire:
    """A TCP relay that can be cut: what the broker takes for RabbitMQ."""

    def __init__(self, host: str, port: int) -> None:
        self._target, self._listener, self._open = (host, port), socket.create_server(("127.0.0.1", 0)), True
        self._pairs: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open = False
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def mend(self) -> None:
        self._open = True

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._open:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._pairs += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._relay, args=pair, daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def trigger(
    name: str,
    uri: str,
    dead: str | None,
    delivery: Mapping[str, Any] = DELIVERY,
    /,
    parallelism: int = 20,
    **match: str,
) -> dict[str, Any]:
    """A Trigger for events with the attributes `match`, by default those whose type is its name."""
    sink = {"deadLetterSink": {"uri": dead}} if dead else {}
    return {
        "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger",
        "metadata": {"name": name, "namespace": "tests", "annotations": {PARALLELISM: str(parallelism)}},
        "spec": {"broker": "", "filter": {"attributes": match or {"type": name}}, "subscriber": {"uri": uri},
                 "delivery": {**delivery, **sink}},
    }  # fmt: skip


class BrokerProcess:
    """`python -m knative.local.eventing` with queues of its own in the RabbitMQ at `amqp_url`."""

    def __init__(self, folder: Path, amqp_url: str, triggers: list[dict[str, Any]], resolve: str = "") -> None:
        self.name, self.folder, self.amqp_url = f"b{uuid.uuid4().hex[:12]}", folder, amqp_url
        self.url, self._resolve = "", resolve or "http://127.0.0.1:9"
        config = {"apiVersion": "eventing.knative.dev/v1alpha1", "kind": "RabbitmqBrokerConfig", "name": self.name,
                  "namespace": "tests"}  # fmt: skip
        about = {"name": self.name, "namespace": "tests"}
        cluster = {"rabbitmqClusterReference": {"name": "rabbitmq", "namespace": "rabbitmq"}, "queueType": "quorum"}
        self._write(BASE / "broker.yaml", [
            {**{k: config[k] for k in ("apiVersion", "kind")}, "metadata": about, "spec": cluster},
            {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker",
             "metadata": {**about, "annotations": {BROKER_CLASS: "RabbitMQBroker"}},
             "spec": {"config": config, "delivery": DELIVERY}},
        ])  # fmt: skip
        self.set(triggers)
        self._process: subprocess.Popen[bytes] | None = None

    def set(self, triggers: list[dict[str, Any]]) -> None:
        """The Triggers from the next start on."""
        mine = [{**each, "spec": {**each["spec"], "broker": self.name}} for each in triggers]
        self._write(PIPELINES / "triggers.yaml", mine)

    def _write(self, path: Path, objects: list[dict[str, Any]]) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(yaml.safe_dump_all(objects))

    def start(self, ready: bool = True) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "knative.local.eventing", "--amqp-url", self.amqp_url, "--port", str(port),
             "--manifests", str(self.folder), "--resolve", self._resolve],
            cwd=ROOT, stdout=(self.folder / "broker.log").open("ab"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        if ready:
            until(self.healthy)

    def stop(self, *, kill: bool = False) -> int:
        assert self._process is not None
        self._process.kill() if kill else self._process.terminate()
        return self._process.wait(GRACE)

    def health(self) -> int:
        """The status of /healthz, 0 while the process does not answer."""
        try:
            return requests.get(f"{self.url}/healthz", timeout=30).status_code
        except requests.ConnectionError:
            return 0

    def healthy(self) -> bool:
        assert self._process is None or self._process.poll() is None, (self.folder / "broker.log").read_text()
        return self.health() == 200

    def stats(self) -> dict[str, Any]:
        return dict(requests.get(f"{self.url}/stats", timeout=30).json())

    def idle(self) -> bool:
        return all(queue == {"ready": 0, "in_flight": 0} for queue in self.stats()["queues"].values())

    def post(self, type_: str, id_: str, body: bytes = b"{}", **attributes: str) -> int:
        """Post one binary event; the status."""
        headers = {"id": id_, "type": type_, "source": "/tests", "specversion": "1.0", **attributes}
        sent = {f"ce-{name}": value.encode() for name, value in headers.items()} | {"Content-Type": "application/json"}
        return requests.post(f"{self.url}/", data=body, headers=sent, timeout=30).status_code


@contextlib.contextmanager
def running(broker: BrokerProcess) -> Iterator[BrokerProcess]:
    """Start it; stop it in the end. Its queues are its own, and go with the RabbitMQ of the test run."""
    broker.start()
    try:
        yield broker
    finally:
        broker.stop(kill=True)
