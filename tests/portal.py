"""The public data portal for tests: a real HTTP server that answers what a test tells it, and remembers what came."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Row = Mapping[str, Any]


@dataclass
class Said:
    """One answer: its body (an object becomes JSON), how long until it comes, and before each byte if not at once."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    wait: float = 0.0

    def bytes(self) -> bytes:
        body = self.body if isinstance(self.body, str | bytes) else json.dumps(self.body, ensure_ascii=False)
        return body if isinstance(body, bytes) else body.encode()


@dataclass
class Portal:
    """`answer` makes an answer of a query; `asked` holds the path and query of every request, as they came."""

    url: str
    asked: list[str] = field(default_factory=list)
    answer: Callable[[Mapping[str, str]], Said] = lambda query: Said("", 500)

    def says(self, *answers: Any) -> None:
        """One answer after another, the last one again and again."""
        rest = [one if isinstance(one, Said) else Said(one) for one in answers]
        self.answer = lambda query: rest.pop(0) if len(rest) > 1 else rest[0]

    def has(self, rows: Sequence[Row], **shape: Any) -> None:
        """Answer properly, page by page, in `envelope(…, **shape)`."""

        def page(query: Mapping[str, str]) -> Said:
            number, size = int(query["pageNo"]), int(query["numOfRows"])
            return Said(envelope(rows[(number - 1) * size : number * size], len(rows), **shape))

        self.answer = page

    @property
    def times(self) -> int:
        return len(self.asked)


def envelope(
    items: Any, total: Any, *, response: bool = True, item: bool = False, numbers: type = str, code: str = "00"
) -> dict[str, Any]:
    """What the API wraps its rows in."""
    header = {"resultCode": code, "resultMsg": "NORMAL_SERVICE"}
    body = {"items": {"item": items} if item else items, "totalCount": numbers(total), "pageNo": numbers(1)}
    whole = {"header": header, "body": body}
    return {"response": whole} if response else whole


def gateway_error(said: str, code: str) -> str:
    """What the portal's gateway answers, with HTTP 200."""
    return (
        "<OpenAPI_ServiceResponse>\n<cmmMsgHeader>\n<errMsg>SERVICE ERROR</errMsg>\n"
        f"<returnAuthMsg>{said}</returnAuthMsg>\n<returnReasonCode>{code}</returnReasonCode>\n"
        "</cmmMsgHeader>\n</OpenAPI_ServiceResponse>"
    )


@contextmanager
def running_portal() -> Iterator[Portal]:
    """A portal on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            portal.asked.append(self.path)
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            said = portal.answer(query)
            body = said.bytes()
            self.send_response(said.status)
            for name, value in {"Content-Length": str(len(body)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            time.sleep(said.wait)
            try:
                for start in range(0, len(body), 1 if said.pause else len(body)):
                    time.sleep(said.pause)
                    self.wfile.write(body[start : start + 1] if said.pause else body)
            except OSError:
                return  # the other side has had enough

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    portal = Portal(f"http://127.0.0.1:{server.server_port}/openapi/centres")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield portal
    finally:
        server.shutdown()
        server.server_close()
