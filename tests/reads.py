"""The reads of `make bench`: every GET route of the API at a fixed rate by many citizens, beside bare Flask.

Requests leave on a fixed schedule, whatever the answers do, and a latency counts from the moment a request should have
left. What is read exists: analyses with their guides, an item, a rule.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import math
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from functions.shared.config import load
from tests.citizen import Citizen
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
HTTP = ("auth", "users", "presign", "waste", "live", "locations", "web")
TARGET_MS = 200


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def summary(latencies: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: round(percentile(latencies, share), 1) for name, share in shares.items()}


def routes() -> list[str]:
    """Every GET route that the functions have, as Flask writes it; sockets and probes are no reads."""
    found: list[str] = []
    for name in HTTP:
        settings = importlib.import_module(f"functions.{name}.settings").Settings
        needed = [f.name.upper() for f in dataclasses.fields(settings) if f.default is dataclasses.MISSING]
        app = importlib.import_module(f"functions.{name}.routes").create(
            load(settings, dict.fromkeys(needed, "http://127.0.0.1:9/"))
        )
        rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and not rule.websocket]
        found += [rule.rule for rule in rules if rule.rule not in ("/healthz", "/readyz")]
    return found


#: A path for what stands in `<>` and the query of a route that needs one.
QUERIES = {
    "/api/v1/waste/items": f"?q={quote('깨진 유리컵')}",
    "/api/v1/locations": "?lat=37.5665&lon=126.9780",
}


@dataclasses.dataclass(frozen=True)
class Reader:
    """A citizen and what they may put into a path."""

    citizen: Citizen
    analyses: list[str]
    item: str
    rule: str

    def path(self, route: str, n: int) -> str:
        """The n-th path of a route. KeyError for a part that nobody here knows: say above what stands for it."""
        known = {
            "<uuid:analysis_id>": self.analyses[n % len(self.analyses)],
            "<item_id>": self.item,
            "<rule_id>": self.rule,
            "<path:name>": "main.js",
        }
        parts = [known[part] if part.startswith("<") else part for part in route.split("/")]
        return "/".join(parts) + QUERIES.get(route, "")


async def readers(citizens: Sequence[Citizen]) -> list[Reader]:
    """Those of the citizens who have asked for something, each with a living token."""
    found: list[Reader] = []
    rules = (await citizens[0].call("GET", "/api/v1/waste/items/milk-carton"))["rules"]
    for citizen in citizens:
        history = (await citizen.call("GET", "/api/v1/waste/analyses"))["analyses"]
        if history:
            found.append(Reader(citizen, [entry["id"] for entry in history], "milk-carton", rules[0]["id"]))
    return found


async def paced(rate: int, count: int, one: Callable[[int, float], Any]) -> None:
    """Call `one(n, when it was due)` for `count` numbers, `rate` a second by the clock."""
    start = time.perf_counter() + 0.2

    async def due(n: int) -> None:
        await asyncio.sleep(max(0.0, start + n / rate - time.perf_counter()))
        await one(n, start + n / rate)

    await asyncio.gather(*(due(n) for n in range(count)))


class Timed:
    """Answers of some routes: milliseconds by route, and what was no good answer."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self.latencies: dict[str, list[float]] = {}
        self.bad: list[str] = []

    async def get(self, route: str, url: str, due: float, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._http.get(url, headers=headers) as answer:
                await answer.read()
                if answer.status != 200:
                    self.bad.append(f"{route}: {answer.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.bad.append(f"{route}: {error!r}")
        self.latencies.setdefault(route, []).append((time.perf_counter() - due) * 1000)


@asynccontextmanager
async def bare_flask(http: aiohttp.ClientSession) -> AsyncIterator[str]:
    """tests/floor.py as a function is served, on a free loopback port: its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--workers", "1", "--threads", "16"]
    process = subprocess.Popen([*command, "--bind", f"127.0.0.1:{port}", "--log-level", "error", "tests.floor:app"])
    try:
        url = f"http://127.0.0.1:{port}/"
        for _ in range(200):
            try:
                async with http.get(url):
                    break
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)


async def measure(
    gateway: str, citizens: Sequence[Citizen], http: aiohttp.ClientSession, rate: int, seconds: int
) -> dict[str, Any]:
    """`rate` reads a second for `seconds`, every route in turn, and as many of bare Flask; milliseconds by route."""
    known, all_routes, count = await readers(citizens), routes(), rate * seconds
    floor, timed = Timed(http), Timed(http)
    for route in all_routes:  # whoever sleeps is woken before
        await Timed(http).get(route, gateway + known[0].path(route, 0), time.perf_counter(), known[0].citizen.token)

    async def read(n: int, due: float) -> None:
        route, reader = all_routes[n % len(all_routes)], known[n % len(known)]
        await timed.get(route, gateway + reader.path(route, n), due, reader.citizen.token)

    async with bare_flask(http) as url:
        await paced(rate, count // 4, lambda n, due: floor.get("bare Flask", url, due))
    await paced(rate, count, read)
    by_route = {route: summary(latencies) for route, latencies in sorted(timed.latencies.items())}
    return {
        "requests": count,
        "rate": rate,
        "citizens": len(known),
        "bad": sorted(set(timed.bad + floor.bad)),
        "bare_flask": summary(floor.latencies["bare Flask"]),
        "all": summary([ms for latencies in timed.latencies.values() for ms in latencies]),
        "worst_p95_ms": max(figures["p95_ms"] for figures in by_route.values()),
        "routes": by_route,
        "target_p95_ms": TARGET_MS,
    }


def shown(result: dict[str, Any]) -> str:
    """The table."""
    rows = {"bare Flask": result["bare_flask"], **result["routes"], "all reads": result["all"]}
    head = f"{'read':<48}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}  ms"
    lines = [
        f"{name:<48}" + "".join(f"{figures[n]:>9}" for n in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
        for name, figures in rows.items()
    ]
    return "\n".join([head, *lines, *(f"no good answer: {bad}" for bad in result["bad"])])
