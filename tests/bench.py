"""`make bench`: how fast `POST /api/v1/waste/analyze` answers while the pipeline is busy, and each read when it is not.
It prints tables, then JSON.

Photos are uploaded first; then requests leave on a fixed schedule, whatever the answers do, and a latency counts from
the moment a request should have left (so a slow answer cannot hide those behind it). One machine does all the work, for
so many citizens that none of them meets a limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
import uuid
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from PIL import Image

from functions.shared.lifecycle import RUNNING
from tests import reads
from tests.citizen import Citizen

#: The pipeline has so long to finish what it was asked; an analysis that still runs then never will.
DRAIN_SECONDS = 600


def photo(seed: int) -> bytes:
    """A small photo that no other seed gives."""
    chance = random.Random(seed)
    image = Image.new("RGB", (480, 640), tuple(chance.randrange(120, 255) for _ in range(3)))
    for _ in range(12):
        box = (chance.randrange(400), chance.randrange(560))
        image.paste(tuple(chance.randrange(256) for _ in range(3)), (*box, box[0] + 70, box[1] + 70))
    stream = BytesIO()
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue()


def running(database_url: str) -> int:
    """How many analyses are being worked on."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM analyses WHERE status = ANY(%s)", (list(RUNNING),)).fetchone()
    return int(row[0]) if row else 0


async def guests(gateway: str, http: aiohttp.ClientSession, count: int) -> list[Citizen]:
    """So many new citizens."""
    gate = asyncio.Semaphore(8)

    async def guest() -> Citizen:
        async with gate:
            return await Citizen(gateway, http).sign_in()

    return list(await asyncio.gather(*(guest() for _ in range(count))))


async def measure(citizens: list[Citizen], database_url: str, rate: int, seconds: int, at_least: int) -> dict[str, Any]:
    """Upload, then `rate` analyze requests a second for `seconds`, the citizens in turn."""
    total, gate = rate * seconds + at_least, asyncio.Semaphore(8)

    async def upload(seed: int) -> tuple[Citizen, str]:
        async with gate:
            citizen = citizens[seed % len(citizens)]
            return citizen, (await citizen.upload(photo(seed)))[1]

    print(f"uploading {total} photos …", file=sys.stderr, flush=True)
    photos = await asyncio.gather(*(upload(seed) for seed in range(total)))
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    depths: list[int] = []

    async def ask(citizen: Citizen, key: str, due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        headers = {"Authorization": f"Bearer {citizen.token}", "Idempotency-Key": str(uuid.uuid4())}
        body = {"key": key, "question": f"이거 어떻게 버려요? {key[-20:-11]}"}
        async with citizen.http.post(f"{citizen.gateway}/api/v1/waste/analyze", json=body, headers=headers) as answer:
            await answer.read()
            latencies.append((time.perf_counter() - due) * 1000)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1

    print(f"{at_least} analyses to start with, then {rate} a second for {seconds} s …", file=sys.stderr, flush=True)
    start = time.perf_counter()
    await asyncio.gather(*(ask(*one, start) for one in photos[:at_least]))
    latencies.clear()
    statuses.clear()
    finished = asyncio.Event()

    async def watch() -> None:
        while not finished.is_set():
            depths.append(await asyncio.to_thread(running, database_url))
            await asyncio.sleep(1)

    watcher = asyncio.create_task(watch())
    start = time.perf_counter() + 0.2
    await asyncio.gather(*(ask(*one, start + i / rate) for i, one in enumerate(photos[at_least:])))
    took = time.perf_counter() - start
    finished.set()
    await watcher
    return {
        "requests": len(latencies),
        "rate": round(len(latencies) / took, 1),
        **reads.summary(latencies),
        "accepted": statuses.get(202, 0),
        "in_flight_min": min(depths),
        "in_flight_max": max(depths),
        "cores": os.cpu_count(),
        "target_p95_ms": 200,
    }


async def bench(run: dict[str, Any], chosen: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The requests, and the reads when the pipeline has nothing left to do."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        citizens = await guests(run["gateway"], http, chosen.citizens)
        posts = await measure(citizens, run["database_url"], chosen.rate, chosen.seconds, chosen.in_flight)
        print("until nothing is being worked on …", file=sys.stderr, flush=True)
        async with asyncio.timeout(DRAIN_SECONDS):
            while await asyncio.to_thread(running, run["database_url"]):
                await asyncio.sleep(1)
        print(f"{chosen.read_rate} reads a second for {chosen.read_seconds} s …", file=sys.stderr, flush=True)
        return posts, await reads.measure(run["gateway"], citizens, http, chosen.read_rate, chosen.read_seconds)


def main() -> int:
    """Exit 0 when every request was accepted and every read answered, p95 of analyze and of each route is under the
    target, and enough analyses were in flight.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".local"))
    parser.add_argument("--rate", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--in-flight", type=int, default=60)
    parser.add_argument("--citizens", type=int, default=60)
    parser.add_argument("--read-rate", type=int, default=50)
    parser.add_argument("--read-seconds", type=int, default=60)
    chosen = parser.parse_args()
    try:
        run = json.loads((chosen.state / "run.json").read_text())
    except (OSError, ValueError):
        print("Nothing is running: start it with `make run` in another terminal.", file=sys.stderr)
        return 1
    posts, read = asyncio.run(bench(run, chosen))
    for name, value in posts.items():
        print(f"{name:<14} {value}")
    print(reads.shown(read))
    print(json.dumps({"analyze": posts, "reads": read}))
    good = posts["accepted"] == posts["requests"] and posts["p95_ms"] < posts["target_p95_ms"]
    good &= posts["in_flight_min"] >= min(50, chosen.in_flight)
    return 0 if good and not read["bad"] and read["worst_p95_ms"] < read["target_p95_ms"] else 1


if __name__ == "__main__":
    sys.exit(main())
