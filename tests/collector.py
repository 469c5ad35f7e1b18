"""An OpenTelemetry collector for tests: OTLP over HTTP as JSON, held against OpenTelemetry's own definition."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """`spans`: every span as it was told, with `function`; `paths` they were posted to; `status` is answered."""

    url: str
    status: int = 200
    spans: list[dict[str, Any]] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)

    def of(self, function: str, kind: int) -> dict[str, Any]:
        """The one span of that kind that `function` told."""
        (found,) = [span for span in self.spans if (span["function"], span["kind"]) == (function, kind)]
        return found

    def take(self, body: bytes) -> None:
        given = json.loads(body)
        json_format.ParseDict(_binary(given), ExportTraceServiceRequest())  # ParseError for what OTLP does not know
        for resource in given["resourceSpans"]:
            function = attributes(resource["resource"])["service.name"]
            for scope in resource["scopeSpans"]:
                self.spans += [{**span, "function": function} for span in scope["spans"]]


def attributes(thing: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span or a resource as Python has them."""
    return {
        each["key"]: int(value) if kind == "intValue" else value
        for each in thing["attributes"]
        for kind, value in each["value"].items()
    }


def _binary(value: Any) -> Any:
    """OTLP's JSON has ids in hex where protobuf's own JSON has base64; the rest is the same."""
    if isinstance(value, list):
        return [_binary(each) for each in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in ids else _binary(v) for k, v in value.items()}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A Collector on a free loopback port."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.paths.add(self.path)
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield collector
    server.shutdown()
    server.server_close()
