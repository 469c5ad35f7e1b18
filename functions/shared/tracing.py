"""Spans: what a request or an event took, and what it came from, told to an OpenTelemetry collector.

On where OTEL_EXPORTER_OTLP_ENDPOINT names one (`http://collector:4318`; read here alone, like LOG_LEVEL). Off, nothing
is imported, started or remembered, and the traceparent of a request travels on as it came. On, every event names the
span that made it. What no span has caused (a request without a traceparent, an event of the object store) is a root of
the trace that its analysis has by its correlation id: one trace from the upload to the guide, a root for each request.

OTLP over HTTP, as JSON. The OpenTelemetry SDK and its exporter would take 70 to 115 ms of every cold start (measured
after Flask and urllib3). What it does and this does not: sampling (the caller's flag is kept, the rest is a
collector's), compression, retries. Spans are lost rather than waited for.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import queue
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from functions.shared import telemetry

#: Kinds of spans, by OTLP's numbers.
SERVER, CLIENT, CONSUMER = 2, 3, 5
#: So many spans may wait, so many are told at once, and seconds pass until then.
WAITING, BATCH, EVERY = 2048, 256, 1.0
#: Seconds for a collector to answer.
PATIENCE = 2.0

_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")

#: What a correlation id is that we make: any id of a trace but the one that means none.
_TRACE = re.compile(r"^(?!0{32})[0-9a-f]{32}\Z")

log = telemetry.logger("tracing")

_current: ContextVar[Span | None] = ContextVar("span", default=None)


@dataclass(slots=True)
class Span:
    """One piece of work; ids in hex. `attributes` and `failed` (what went wrong) may be set until it ends."""

    tracer: Tracer
    name: str
    kind: int
    trace_id: str
    parent_id: str
    sampled: bool
    attributes: dict[str, str | int | float]
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))
    started: int = field(default_factory=time.time_ns)
    failed: str = ""

    def joins(self, correlation_id: str) -> None:
        """It turned out to be about this: a root moves into the trace of it, before it has children."""
        if not self.parent_id:
            self.trace_id = trace_of(correlation_id)
            telemetry.amend(trace_id=self.trace_id)

    @property
    def traceparent(self) -> str:
        """W3C: what a child is told."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def told(self, ended: int) -> dict[str, object]:
        """As OTLP's JSON has it."""
        return {
            "traceId": self.trace_id,
            "spanId": self.span_id,
            **({"parentSpanId": self.parent_id} if self.parent_id else {}),
            "name": self.name,
            "kind": self.kind,
            "startTimeUnixNano": str(self.started),
            "endTimeUnixNano": str(ended),
            "attributes": _attributes(self.attributes),
            "status": {"code": 2, "message": self.failed} if self.failed else {},
        }


class Tracer:
    """Tells the spans of one function to the collector at `endpoint`, from a thread made with the first of them."""

    def __init__(self, function: str, endpoint: str) -> None:
        self._function, self._url = function, urlsplit(endpoint)
        self._spans: queue.Queue[dict[str, object]] = queue.Queue(WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._telling = threading.Lock()

    @contextmanager
    def span(self, name: str, kind: int, parent: str | None, /, **attributes: str | int | float) -> Iterator[Span]:
        """What runs inside is one span, child of traceparent `parent`, or a root of the trace of its correlation id."""
        about = str(attributes.get("growbin.correlation_id", ""))
        trace_id, parent_id, sampled = _parts(parent) or (trace_of(about), "", True)
        span = Span(self, name, kind, trace_id, parent_id, sampled, dict(attributes))
        token = _current.set(span)
        try:
            with telemetry.context(trace_id=span.trace_id):
                yield span
        except StopIteration:  # how a WebSocket leaves gunicorn
            raise
        except BaseException as error:
            span.failed = span.failed or type(error).__name__
            raise
        finally:
            _current.reset(token)
            if span.sampled:
                self._end(span)

    def flush(self) -> None:
        """Tell what waits, now."""
        with self._telling:
            while spans := self._waiting():
                self._tell(spans)

    def _end(self, span: Span) -> None:
        try:
            self._spans.put_nowait(span.told(time.time_ns()))
        except queue.Full:
            return
        with self._starting:
            if self._thread is None:  # not before the fork of gunicorn
                self._thread = threading.Thread(target=self._run, name="tracing", daemon=True)
                self._thread.start()
                atexit.register(self.flush)

    def _run(self) -> None:
        while True:
            time.sleep(EVERY)
            self.flush()

    def _waiting(self) -> list[dict[str, object]]:
        spans: list[dict[str, object]] = []
        while len(spans) < BATCH and not self._spans.empty():
            spans.append(self._spans.get_nowait())
        return spans

    def _tell(self, spans: list[dict[str, object]]) -> None:
        import http.client

        connection = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        door = connection(self._url.netloc, timeout=PATIENCE)
        resource = {"attributes": _attributes({"service.name": self._function, "service.namespace": "growbin"})}
        scope = {"scope": {"name": "growbin"}, "spans": spans}
        body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})
        path = f"{self._url.path.rstrip('/')}/v1/traces"
        try:
            door.request("POST", path, body, {"Content-Type": "application/json"})
            status = door.getresponse().status
            if status >= 400:
                log.warning("spans refused", status=status, spans=len(spans))
        except (OSError, http.client.HTTPException) as error:
            log.warning("spans lost", error=str(error), spans=len(spans))
        finally:
            door.close()


def tracer(function: str) -> Tracer | None:
    """The tracer of `function`, or None where nobody wants to know."""
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return Tracer(function, endpoint) if endpoint else None


def trace_of(correlation_id: str) -> str:
    """The id of the trace of what has this correlation id; of a new one where it has none."""
    if _TRACE.match(correlation_id):
        return correlation_id
    return hashlib.sha256(correlation_id.encode()).hexdigest()[:32] if correlation_id else secrets.token_hex(16)


def current() -> Span | None:
    """The span in force."""
    return _current.get()


@contextmanager
def inside(name: str, kind: int = CLIENT, /, **attributes: str | int | float) -> Iterator[Span | None]:
    """A child of the span in force; None where there is none."""
    around = _current.get()
    if around is None:
        yield None
        return
    with around.tracer.span(name, kind, around.traceparent, **attributes) as span:
        yield span


def _parts(traceparent: str | None) -> tuple[str, str, bool] | None:
    """Trace id, span id, whether it is told; None for what is no traceparent."""
    found = _TRACEPARENT.match(traceparent or "")
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return found[1], found[2], bool(int(found[3], 16) & 1)


def _attributes(values: dict[str, str | int | float]) -> list[dict[str, object]]:
    def typed(value: str | int | float) -> dict[str, object]:
        if isinstance(value, str):
            return {"stringValue": value}
        return {"intValue": str(value)} if isinstance(value, int) else {"doubleValue": value}

    return [{"key": key, "value": typed(value)} for key, value in values.items()]
