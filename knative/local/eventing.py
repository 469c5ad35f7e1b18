"""One machine's stand-in for Knative's RabbitMQ broker: same manifests, same queues, same answers, one process.

    python -m knative.local.eventing --amqp-url … --port 18081 --manifests . --resolve http://127.0.0.1:18082

POST / is the broker's ingress (202 once RabbitMQ has confirmed). For each Trigger there is a quorum queue bound to the
broker's headers exchange, and workers that post its events to the subscriber, publish what it replies, retry what
Knative retries, and dead-letter the rest. What the real one was seen to do is in tests/data/broker-behaviour.json.
Three things are better here: an event is acknowledged after its reply or dead letter is confirmed (there it is before),
an answer cut off half-way is a failed attempt (there it counts as delivered), and the wait for RabbitMQ is endless.
GET /healthz says whether RabbitMQ is there; GET /stats how much waits where.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import socket
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, ThreadedResolver, web
from aiohttp.abc import AbstractResolver, ResolveResult

from functions.shared import telemetry
from knative.local import schedule
from knative.local.amqp import Link, Lost
from knative.local.manifests import Broker, Delivery, ManifestError, Manifests, PingSource, Trigger

STRUCTURED = "application/cloudevents+json"
TRACE = ("traceparent", "tracestate")

#: Characters of all attributes together: they travel in one AMQP frame, and RabbitMQ hangs up on one that is too long.
LARGEST_CONTEXT = 24_000

#: Seconds: longest wait for a confirmation at the ingress, and between two attempts to reach RabbitMQ.
INGRESS_PATIENCE, RECONNECT = 1.8, (0.1, 0.2, 0.4, 0.8, 1.0)

log = telemetry.logger("broker")


@dataclass(frozen=True, slots=True)
class Event:
    """A CloudEvent on its way through: attributes by name without prefix, data as it came, W3C trace headers."""

    attributes: Mapping[str, str]
    data: bytes
    trace: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_http(cls, headers: Mapping[str, str], body: bytes) -> Event | None:
        """None where this does not even mean to be a CloudEvent 1.0. See `complaint` for the rest."""
        trace = {name: _clean(headers[name]) for name in TRACE if name in headers}
        media = headers.get("Content-Type", "")
        if media.partition(";")[0].strip().lower() == STRUCTURED:
            return cls._structured(body, trace)
        if headers.get("ce-specversion") != "1.0":
            return None
        attributes = {name.lower()[3:]: _clean(headers[name]) for name in headers if name.lower()[:3] == "ce-"}
        return cls(attributes | ({"datacontenttype": media} if media else {}), body, trace)

    @classmethod
    def _structured(cls, body: bytes, trace: Mapping[str, str]) -> Event | None:
        try:
            fields = json.loads(body)
            data, encoded = fields.pop("data", None), fields.pop("data_base64", None)
            if fields["specversion"] != "1.0":
                return None
            if encoded is not None:
                raw = base64.b64decode(encoded, validate=True)
            elif isinstance(data, str) and "json" not in fields.get("datacontenttype", "json"):
                raw = data.encode()
            else:
                raw = json.dumps(data, ensure_ascii=False).encode() if data is not None else b""
            texts = {k: _clean(v if isinstance(v, str) else json.dumps(v)) for k, v in fields.items() if v is not None}
        except (ValueError, KeyError, AttributeError, TypeError):
            return None
        return cls(texts, raw, trace)

    @classmethod
    def from_amqp(cls, properties: pika.BasicProperties, body: bytes) -> Event:
        headers = {str(k).lower(): str(v) for k, v in (properties.headers or {}).items() if str(k)[:2] != "x-"}
        trace = {name: headers.pop(name) for name in TRACE if name in headers}
        if media := headers.pop("content-type", ""):
            headers["datacontenttype"] = media
        return cls(headers, body, trace)

    def to_amqp(self) -> pika.BasicProperties:
        """As Knative names them: AMQP headers have no prefix. Persistent."""
        headers = {**self.trace, **self.attributes}
        if media := headers.pop("datacontenttype", ""):
            headers["content-type"] = media
        return pika.BasicProperties(headers=headers, delivery_mode=2)

    def to_http(self) -> dict[str, str]:
        headers = {f"ce-{name}": text for name, text in self.attributes.items() if name != "datacontenttype"}
        if media := self.attributes.get("datacontenttype"):
            headers["Content-Type"] = media
        return headers | dict(self.trace)

    def complaint(self) -> str | None:
        """Why this is not a valid CloudEvent, or None."""
        missing = [name for name in ("id", "source", "type") if not self.attributes.get(name, "").strip()]
        strange = [name for name in self.attributes if not (name.isascii() and name.isalnum() and len(name) < 256)]
        if missing or strange:
            return f"without {missing}" if missing else f"with the attribute names {strange}"
        if sum(map(len, (*self.attributes, *self.attributes.values()))) > LARGEST_CONTEXT:
            return "with more attributes than an AMQP frame holds"
        try:
            datetime.fromisoformat(self.attributes.get("time", "2000-01-01"))
        except ValueError as error:
            return str(error)
        return None

    def having(self, **more: str) -> Event:
        return Event({**self.attributes, **more}, self.data, self.trace)


def _clean(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


Message = tuple[int, pika.BasicProperties, bytes]


@dataclass(slots=True)
class Line:
    """A queue and what becomes of its events: one for each Trigger, and one for the dead letters of each."""

    queue: str
    exchange: str
    match: dict[str, str]
    uri: str
    delivery: Delivery
    parallelism: int
    dead_letters: str | None = None
    inbox: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    unacked: int = 0

    def receive(self, *message: Any) -> None:
        self.unacked += 1
        self.inbox.put_nowait(message)


def lines(broker: Broker, manifests: Manifests) -> list[Line]:
    """Names are Knative's; a uid comes from the name, so that a restart finds its queues again."""
    result = []
    space, uid = broker.metadata.namespace, _uid(broker.name)
    for trigger in manifests.all(Trigger).values():
        if (trigger.metadata.namespace, trigger.spec.broker) != (space, broker.name):
            continue
        delivery = trigger.spec.delivery or broker.spec.delivery
        name, own = f"{space}.{trigger.name}", _uid(f"{broker.name}.{trigger.name}")
        match = {**trigger.spec.filter["attributes"], "x-knative-trigger": trigger.name}
        dead = f"t.{name}.dlx.{own}" if delivery.dead_letter_sink else None
        rest = (delivery, trigger.parallelism)
        result.append(Line(f"{name}.{uid}", _exchange(broker), match, trigger.spec.subscriber["uri"], *rest, dead))
        if delivery.dead_letter_sink and dead:
            result.append(Line(f"t.{name}.dlq.{own}", dead, {}, delivery.dead_letter_sink["uri"], *rest))
    return result


def _uid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.local.growbin.app"))


def _exchange(broker: Broker) -> str:
    return f"b.{broker.metadata.namespace}.{broker.name}.{_uid(broker.name)}"


class ClusterNames(AbstractResolver):
    """DNS for subscribers: every name of the cluster is the activator's address, anything else is looked up."""

    def __init__(self, activator: str) -> None:
        self._address, self._others = urlsplit(activator), ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if not host.endswith(".svc.cluster.local"):
            return await self._others.resolve(host, port, family)
        found = await self._others.resolve(self._address.hostname or "", self._address.port or 80, family)
        return [{**each, "hostname": host} for each in found]

    async def close(self) -> None:
        await self._others.close()


class Dispatcher:
    """Keeps the queues of one Broker, feeds them and empties them, for as long as it runs."""

    def __init__(self, broker: Broker, manifests: Manifests, amqp_url: str, http: ClientSession) -> None:
        self.exchange, self.lines = _exchange(broker), lines(broker, manifests)
        self._amqp_url, self._http = amqp_url, http
        self._link: Link | None = None
        self.counts: Counter[str] = Counter(delivered=0, replies=0, dead_letters=0, dropped=0)

    @property
    def connected(self) -> bool:
        return self._link is not None

    async def publish(self, event: Event) -> None:
        """Into the broker; returns once it is safe there. Lost where RabbitMQ is away."""
        if self._link is None:
            raise Lost("RabbitMQ is away")
        await self._link.publish(self.exchange, event.to_amqp(), event.data)

    async def stats(self) -> dict[str, Any]:
        """Events in each queue: `ready` in RabbitMQ, `in_flight` with us. Lost where RabbitMQ is away."""
        if (link := self._link) is None:
            raise Lost("RabbitMQ is away")
        queues = {line.queue: {"ready": await link.ready(line.queue), "in_flight": line.unacked} for line in self.lines}
        return {"queues": queues, **self.counts}

    async def run(self) -> None:
        """Connect, work until the connection breaks, connect again. What was not acknowledged then comes again."""
        failures = 0
        while True:
            try:
                await self._session()
            except* Exception as broken:
                failures = 0 if self._link else failures + 1
                log.warning("no RabbitMQ", reason=repr(broken.exceptions[0]))
            finally:
                self._link = None
            await asyncio.sleep(RECONNECT[min(failures, len(RECONNECT) - 1)])

    async def _session(self) -> None:
        link = await Link.open(self._amqp_url)
        try:
            await self._declare(link)
            async with asyncio.TaskGroup() as workers:
                for line in self.lines:
                    line.inbox, line.unacked = asyncio.Queue(), 0
                    for _ in range(line.parallelism):
                        workers.create_task(self._work(link, line))
                    await link.consume(line.queue, line.receive)
                self._link = link
                log.info("connected", queues=len(self.lines))
                await link.lost
        finally:
            link.close()

    async def _declare(self, link: Link) -> None:
        """Exchanges, queues and bindings; and what earlier manifests left behind.

        AMQP cannot list queues, so what we declared is written down in RabbitMQ itself: one message in a queue of ours.
        """
        notes = f"{self.exchange}.queues"
        known: dict[str, dict[str, dict[str, str]]] = {}  # queue → exchange → headers it is bound by
        for _ in range(await link.queue(notes, "classic")):
            for queue, bound in json.loads(await link.get(notes)).items():
                known.setdefault(queue, {}).update(bound)
        await link.exchange(self.exchange)
        wanted = {line.queue: {line.exchange: line.match} for line in self.lines}
        for line in self.lines:
            await link.exchange(line.exchange)
            await link.queue(line.queue)
            await link.bind(line.queue, line.exchange, line.match)
        for queue, bound in known.items():
            for exchange, match in bound.items():
                if wanted.get(queue, {}).get(exchange) != match:
                    await link.unbind(queue, exchange, match)
            if queue not in wanted:
                if left := await link.queue(queue):
                    log.warning("the queue of a deleted Trigger is kept: it is not empty", queue=queue, events=left)
                    wanted[queue] = {}
                else:
                    await link.delete(queue)
        await link.publish("", pika.BasicProperties(delivery_mode=2), json.dumps(wanted).encode(), key=notes)

    async def _work(self, link: Link, line: Line) -> None:
        while True:
            tag, properties, body = await line.inbox.get()
            try:
                await self._settle(link, line, Event.from_amqp(properties, body))
            except Lost:
                raise
            except Exception:  # ours to mend, but one event must not stop the rest
                self.counts["dropped"] += 1
                log.exception("dropped", uri=line.uri, headers=properties.headers)
            link.ack(tag)
            line.unacked -= 1

    async def _settle(self, link: Link, line: Line, event: Event) -> None:
        """Returns once the event's fate is sealed: delivered and its reply safe, or dead-lettered, or given up."""
        status, reply = await self._deliver(line, event)
        if reply is not None:
            reply = reply.having(id=reply.attributes.get("id") or str(uuid.uuid4()), **_time(reply))
        failed = _retried(status) or (reply is not None and reply.complaint() is not None)
        outcome = "delivered" if not failed else "dead_letters" if line.dead_letters else "dropped"
        self.counts[outcome] += 1
        if failed:
            log.warning("gave up", outcome=outcome, status=status, uri=line.uri, event=event.attributes.get("id"))
        if failed and line.dead_letters:
            dead = event.having(knativeerrordest=line.uri, knativeerrorcode=str(status))
            await link.publish(line.dead_letters, dead.to_amqp(), dead.data)
        elif reply is not None and not failed:
            self.counts["replies"] += 1
            await link.publish(self.exchange, reply.to_amqp(), reply.data)

    async def _deliver(self, line: Line, event: Event) -> tuple[int, Event | None]:
        """The last status, -1 for no answer, and the event it came with."""
        headers, limit = event.having(**_time(event)).to_http(), line.delivery.timeout
        timeout = ClientTimeout(total=limit.total_seconds() if limit else None)
        for attempt in range(line.delivery.retry + 1):
            if attempt:
                await asyncio.sleep(line.delivery.backoff(attempt))
            try:
                async with self._http.post(line.uri, data=event.data, headers=headers, timeout=timeout) as answer:
                    status, reply = answer.status, Event.from_http(answer.headers, await answer.read())
            except (ClientError, TimeoutError, OSError, ValueError) as error:
                log.debug("no answer", uri=line.uri, error=repr(error))
                status, reply = -1, None
            if not _retried(status):
                break
        return status, reply


def _retried(status: int) -> bool:
    """Everything else, a 400 or a 301 too, is success to Knative: acknowledged and forgotten."""
    return status >= 500 or status in {-1, 404, 408, 409, 429}


def _time(event: Event) -> dict[str, str]:
    return {"time": event.attributes.get("time") or datetime.now(UTC).isoformat()}


class Ingress:
    """The HTTP side of the broker."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def handle(self, request: web.Request) -> web.Response:
        """POST / as the real ingress answers it; on any path but ours."""
        if request.method != "POST" or request.raw_path != "/":
            return web.Response(status=404 if request.method == "POST" else 405)
        event = Event.from_http(request.headers, await request.read())
        if event is None or event.complaint():
            return web.Response(status=400, text=event.complaint() if event else "not a CloudEvent")
        return web.Response(status=202 if await self.send(event) else 500)

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self._dispatcher.connected else 503)

    async def stats(self, _: web.Request) -> web.Response:
        try:
            return web.json_response(await self._dispatcher.stats())
        except Lost:
            return web.Response(status=503)

    async def send(self, event: Event) -> bool:
        try:
            async with asyncio.timeout(INGRESS_PATIENCE):
                await self._dispatcher.publish(event)
        except (Lost, TimeoutError):
            return False
        return True


def application(manifests: Manifests, amqp_url: str, activator: str) -> web.Application:
    """The Broker of the manifests, its Triggers and its PingSources. ManifestError unless there is exactly one."""
    brokers = list(manifests.all(Broker).values())
    if len(brokers) != 1:
        raise ManifestError([f"there are {len(brokers)} Brokers in the manifests, one machine runs one"])

    async def running(app: web.Application) -> AsyncIterator[None]:
        connector = TCPConnector(limit=0, resolver=ClusterNames(activator))
        jar, bare = DummyCookieJar(), ["Content-Type"]  # subscribers are told nothing that no event says
        async with ClientSession(connector=connector, cookie_jar=jar, skip_auto_headers=bare) as http:
            dispatcher = Dispatcher(brokers[0], manifests, amqp_url, http)
            ingress = Ingress(dispatcher)
            app.router.add_get("/healthz", ingress.health)
            app.router.add_get("/stats", ingress.stats)
            app.router.add_route("*", "/{path:.*}", ingress.handle)
            pings = manifests.all(PingSource).values()
            work = [schedule.run(ping, lambda *made: ingress.send(Event(*made))) for ping in pings]
            tasks = [asyncio.create_task(each) for each in (dispatcher.run(), *work)]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(running)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m knative.local.eventing", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--amqp-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--manifests", type=Path, required=True, help="folder that holds knative/ and pipelines/")
    parser.add_argument("--resolve", required=True, help="address that every *.svc.cluster.local stands for")
    given = parser.parse_args()
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    try:
        app = application(Manifests.load(given.manifests), given.amqp_url, given.resolve)
        web.run_app(app, host=given.host, port=given.port, print=None, access_log=None, shutdown_timeout=1)
    except (ManifestError, OSError) as error:
        raise SystemExit(f"broker: {error}") from error


if __name__ == "__main__":
    main()
