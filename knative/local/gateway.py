"""The two doors of serving: the activator (inside, by Host) and the gateway (outside, by path), in one process.

Inside, a function is called by its cluster name; the reason why it cannot answer is told. Outside, `routes.yaml` maps a
path to a function, nothing a caller sends may pass for an event or for another caller's address, and every error is
problem+json in the citizen's language. `POST /hooks/s3` on the inside door stands in for S3 → SQS → s3source.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
import weakref
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import yaml
from aiohttp import WSCloseCode, WSMsgType, web
from multidict import CIMultiDict
from yarl import URL

from functions.shared import messages, naming, wire
from functions.shared.events import Event, UploadStored
from functions.shared.http import MAX_HEADERS, SECURITY_HEADERS
from knative.local import manifests, parts
from knative.local.serving import CannotStart, Config, Revision, Spec, free_ports, notice

#: Longest request body, bytes. Photos go straight to the object store, never through here.
LARGEST_BODY = 1 << 20

#: What is longer than this is not even read; shorter than this and too long all the same is told so (414, 431).
LARGEST_HEAD = 1 << 16

#: Longest path with its query, bytes: a function's server (gunicorn) takes 4094 for the whole request line.
LONGEST_PATH = 4000

#: A function's server reads no longer header (8,190 bytes with its line) and no more of them (100, ours among them).
LONGEST_HEADER, MOST_HEADERS = 8000, 90

FAILURES = (CannotStart, aiohttp.ClientError, TimeoutError)
BEGUN = web.RequestKey("begun", web.StreamResponse)

#: Meant for the next hop only; Expect too, for it is answered here.
_HOP_BY_HOP = frozenset({"connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}) | {
    f"proxy-{name}" for name in ("authenticate", "authorization", "connection")
}
_FROM_OUTSIDE = re.compile(r"^(ce-|x-forwarded-|forwarded$|k-|knative-)", re.IGNORECASE)
#: Who is between the gateway and a function in the cluster, the activator and queue-proxy, each adding from whom it has
#: the request; here all of them are this process.
_HOPS = ("127.0.0.1", "127.0.0.1")
_HOST = re.compile(r"^([a-z0-9-]+)\.growbin\.svc\.cluster\.local(:\d+)?$")
_WEBSOCKET_OWN = re.compile(r"^(sec-websocket-|host$|content-length$)", re.IGNORECASE)


class Routes:
    """Path → function: the first row wins; a path stands for itself and all below it, `{id}` for one segment."""

    def __init__(self, rows: Iterable[Mapping[str, str]]) -> None:
        self._rows = [(_pattern(row["path"]), row["function"]) for row in rows]

    @classmethod
    def load(cls, path: Path) -> Routes:
        """From the ConfigMap `routes`, the one table of the cluster's gateway and of ours."""
        return cls(yaml.safe_load(yaml.safe_load(path.read_text(encoding="utf-8"))["data"]["routes.yaml"]))

    @property
    def functions(self) -> set[str]:
        """All that can be reached from outside."""
        return {name for _, name in self._rows}

    def function(self, path: str) -> str | None:
        return next((name for pattern, name in self._rows if pattern.match(path)), None)


def _pattern(path: str) -> re.Pattern[str]:
    segments = ["[^/]+" if part.startswith("{") else re.escape(part) for part in path.strip("/").split("/") if part]
    return re.compile("".join(f"/{segment}" for segment in segments) + r"(?=[/?]|$)")


class Doors:
    """Every function's revision behind the two doors."""

    def __init__(self, config: Config, functions: Iterable[Spec], routes: Routes, http: aiohttp.ClientSession) -> None:
        ports = free_ports(*config.function_ports)
        self.revisions = {spec.name: Revision(spec, config, http, ports) for spec in functions}
        self._routes, self._http, self._ingress = routes, http, config.ingress
        self._sockets: weakref.WeakSet[web.WebSocketResponse] = weakref.WeakSet()

    def inside(self) -> web.Application:
        """The activator: a function by Host; /revisions and /hooks/s3 under any other name."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._activate)
        return app

    def outside(self) -> web.Application:
        """The gateway."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._admit)
        return app

    async def close(self) -> None:
        """Say goodbye to every socket, then end every process."""
        await asyncio.gather(*(s.close(code=WSCloseCode.GOING_AWAY) for s in list(self._sockets)))
        await asyncio.gather(*(revision.close() for revision in self.revisions.values()))

    async def _activate(self, request: web.Request) -> web.StreamResponse:
        host = _HOST.match(request.host)
        if host and host[1] in self.revisions:
            headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in _hop_by_hop(request))
            try:
                return await self._forward(request, host[1], headers)
            except FAILURES as error:
                return _begun(request) or web.Response(status=_status(error), text=f"{error or type(error).__name__}\n")
        if (request.method, request.path) == ("GET", "/revisions"):
            return web.json_response({name: _report(revision) for name, revision in self.revisions.items()})
        if (request.method, request.path) == ("POST", "/hooks/s3"):
            return await self._stored(await request.read())
        return web.Response(status=404, text=f"no function is called {request.host}\n")

    async def _admit(self, request: web.Request) -> web.StreamResponse:
        name = self._routes.function(request.path)
        if name not in self.revisions:
            return _problem(request, 404, "not_found")
        if len(request.raw_path) > LONGEST_PATH:
            return _problem(request, 414, "bad_request")
        sizes = [len(k) + len(v) for k, v in request.headers.items()]
        if sum(sizes) > MAX_HEADERS or max(sizes) > LONGEST_HEADER or len(sizes) > MOST_HEADERS:
            return _problem(request, 431, "headers_too_large")
        headers: CIMultiDict[str] = CIMultiDict(
            (k, v)
            for k, v in request.headers.items()
            if k.lower() not in _hop_by_hop(request) and not _FROM_OUTSIDE.match(k) and k.lower() != "host"
        )
        headers["Host"] = f"{name}.growbin.svc.cluster.local"
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"], headers["X-Forwarded-Host"] = "http", request.host
        try:
            return await self._forward(request, name, headers)
        except web.HTTPRequestEntityTooLarge:
            return _problem(request, 413, "body_too_large")
        except FAILURES as error:
            return _begun(request) or _problem(request, _status(error), "unavailable")

    async def _forward(self, request: web.Request, name: str, headers: CIMultiDict[str]) -> web.StreamResponse:
        revision = self.revisions[name]
        headers["X-Forwarded-For"] = ", ".join((*headers.popall("X-Forwarded-For", ()), *_HOPS))
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request, revision, headers)
        body = await request.read()
        async with asyncio.timeout(revision.spec.timeout):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectorError):  # its process just ended: nothing was sent
                    return await self._exchange(request, revision, headers, body)
                await asyncio.sleep(0.05)

    # A GET that lost its process once sent is sent again (aiohttp does that); a POST may have had an effect: 502.
    async def _exchange(
        self, request: web.Request, revision: Revision, headers: CIMultiDict[str], body: bytes
    ) -> web.StreamResponse:
        async with revision.slot() as instance:
            url = URL(f"http://127.0.0.1:{instance.port}{request.rel_url.raw_path_qs}", encoded=True)
            async with self._http.request(
                request.method, url, headers=headers, data=body or None, allow_redirects=False
            ) as answer:
                response = web.StreamResponse(status=answer.status, reason=answer.reason)
                response.headers.extend((k, v) for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP)
                request[BEGUN] = response
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

    async def _socket(self, request: web.Request, revision: Revision, headers: CIMultiDict[str]) -> web.StreamResponse:
        rest = CIMultiDict((k, v) for k, v in headers.items() if not _WEBSOCKET_OWN.match(k))
        rest["Host"] = headers["Host"]
        offered = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
        async with revision.slot() as instance:
            url = URL(f"http://127.0.0.1:{instance.port}{request.rel_url.raw_path_qs}", encoded=True)
            try:
                far = await self._http.ws_connect(url, headers=rest, protocols=offered, max_msg_size=LARGEST_BODY)
            except aiohttp.WSServerHandshakeError as error:
                return web.Response(status=error.status)
            chosen = [far.protocol] if far.protocol else []
            near = web.WebSocketResponse(protocols=chosen, max_msg_size=LARGEST_BODY)
            await near.prepare(request)
            self._sockets.add(near)
            pumps = [asyncio.ensure_future(_pump(near, far)), asyncio.ensure_future(_pump(far, near))]
            try:
                await asyncio.wait(pumps, timeout=revision.spec.timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await near.close(code=far.close_code or WSCloseCode.GOING_AWAY)
                await far.close()
            return near

    async def _stored(self, body: bytes) -> web.Response:
        """The object store's webhook → upload.v1.stored, answered 204 once the broker has it (or it is not for us)."""
        try:
            stored = parts.stored_object(json.loads(body))
        except (ValueError, AttributeError):
            return web.Response(status=400)
        analysis = naming.analysis_of_key(stored.key) if stored else None
        if stored is None or analysis is None:
            return web.Response(status=204)
        here = naming.source("s3source")
        event_id = naming.child_id(here, f"{stored.key}\n{stored.etag or ''}", UploadStored.TYPE)
        event = Event(
            id=event_id,
            source=here,
            subject=str(analysis),
            data=UploadStored(key=stored.key, size=stored.size, etag=stored.etag or ""),
            time=datetime.now(UTC),
            correlation_id=event_id,
        )
        headers, data = wire.to_http(event)
        try:
            async with self._http.post(self._ingress, data=data, headers=headers) as answer:
                return web.Response(status=204 if answer.status == 202 else 503)
        except (aiohttp.ClientError, TimeoutError):
            return web.Response(status=503)


Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pump(source: Socket, sink: Socket) -> None:
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)


def _begun(request: web.Request) -> web.StreamResponse | None:
    """The answer that was on its way when its function failed: it can only be cut off, not replaced."""
    response = request.get(BEGUN)
    if response is not None and request.transport is not None:
        request.transport.abort()
    return response


def _hop_by_hop(request: web.Request) -> frozenset[str]:
    return _HOP_BY_HOP | {name.strip().lower() for name in request.headers.get("Connection", "").split(",")}


def _status(error: Exception) -> int:
    return 503 if isinstance(error, CannotStart) else 504 if isinstance(error, TimeoutError) else 502


def _report(revision: Revision) -> dict[str, object]:
    pids = [i.child.pid for i in revision.instances if i.child]
    ready = sum(i.ready for i in revision.instances)
    return {"pids": pids, "ready": ready, "in_flight": revision.load, "starts": revision.starts}


def _problem(request: web.Request, status: int, code: str) -> web.Response:
    locale = messages.choose_locale(request.headers.get("Accept-Language"))
    document = {
        "type": f"urn:growbin:problem:{code}",
        "title": messages.text(f"problem.{code}", locale),
        "status": status,
        "code": code,
        "detail": messages.text(f"problem.{code}.detail", locale),
    }
    headers = SECURITY_HEADERS | ({"Retry-After": "1"} if status >= 500 else {})
    text = json.dumps(document, ensure_ascii=False)
    return web.Response(status=status, text=text, content_type="application/problem+json", headers=headers)


async def serve(config: Config) -> None:
    """Open both doors, wake every function once, decide about scale every second; until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)  # a kept connection may be closing just as we use it
    async with aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, connect=5),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    ) as http:
        doors = Doors(config, config.specs(), Routes.load(config.root / manifests.BASE / "routes.yaml"), http)
        runners = []
        for app, port in ((doors.inside(), config.activator_port), (doors.outside(), config.gateway_port)):
            runner = web.AppRunner(
                app, access_log=None, shutdown_timeout=1.0, auto_decompress=False,
                max_line_size=LARGEST_HEAD, max_field_size=LARGEST_HEAD,
            )  # fmt: skip
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
            runners.append(runner)
        for revision in doors.revisions.values():
            revision.wake()
        while not stop.is_set():
            for revision in doors.revisions.values():
                revision.scale()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(1.0, config.pace * 2))
        await doors.close()
        for runner in runners:
            await runner.cleanup()


if __name__ == "__main__":
    chosen = Config.read(Path(sys.argv[1]))
    try:
        asyncio.run(serve(chosen))
    except (OSError, ValueError, CannotStart) as error:
        notice(f"serving cannot start: {error}")
        sys.exit(1)
