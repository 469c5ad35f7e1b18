"""`make bench`: how fast `POST /api/v1/waste/analyze` answers while the pipeline is busy. Prints a table, then JSON.

Photos are uploaded first; then requests leave on a fixed schedule, whatever the answers do, and a latency counts from
the moment a request should have left (so a slow answer cannot hide those behind it). One machine does all the work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
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
from tests.citizen import Citizen


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


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def running(database_url: str) -> int:
    """How many analyses are being worked on."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM analyses WHERE status = ANY(%s)", (list(RUNNING),)).fetchone()
    return int(row[0]) if row else 0


async def measure(gateway: str, database_url: str, rate: int, seconds: int, at_least: int) -> dict[str, Any]:
    """Upload, then `rate` analyze requests a second for `seconds`."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        citizen = await Citizen(gateway, http).sign_in()
        total, gate = rate * seconds + at_least, asyncio.Semaphore(8)

        async def upload(seed: int) -> str:
            async with gate:
                return (await citizen.upload(photo(seed)))[1]

        print(f"uploading {total} photos …", file=sys.stderr, flush=True)
        keys = await asyncio.gather(*(upload(seed) for seed in range(total)))
        latencies: list[float] = []
        statuses: dict[int, int] = {}
        depths: list[int] = []

        async def ask(key: str, due: float) -> None:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            headers = {"Authorization": f"Bearer {citizen.token}", "Idempotency-Key": str(uuid.uuid4())}
            body = {"key": key, "question": f"이거 어떻게 버려요? {key[-20:-11]}"}
            async with http.post(f"{gateway}/api/v1/waste/analyze", json=body, headers=headers) as answer:
                await answer.read()
                latencies.append((time.perf_counter() - due) * 1000)
                statuses[answer.status] = statuses.get(answer.status, 0) + 1

        print(f"{at_least} analyses to start with, then {rate} a second for {seconds} s …", file=sys.stderr, flush=True)
        start = time.perf_counter()
        await asyncio.gather(*(ask(key, start) for key in keys[:at_least]))
        latencies.clear()
        statuses.clear()
        finished = asyncio.Event()

        async def watch() -> None:
            while not finished.is_set():
                depths.append(await asyncio.to_thread(running, database_url))
                await asyncio.sleep(1)

        watcher = asyncio.create_task(watch())
        start = time.perf_counter() + 0.2
        await asyncio.gather(*(ask(key, start + i / rate) for i, key in enumerate(keys[at_least:])))
        took = time.perf_counter() - start
        finished.set()
        await watcher
    return {
        "requests": len(latencies),
        "rate": round(len(latencies) / took, 1),
        "p50_ms": round(percentile(latencies, 0.5), 1),
        "p95_ms": round(percentile(latencies, 0.95), 1),
        "p99_ms": round(percentile(latencies, 0.99), 1),
        "max_ms": round(max(latencies), 1),
        "accepted": statuses.get(202, 0),
        "in_flight_min": min(depths),
        "in_flight_max": max(depths),
        "cores": os.cpu_count(),
        "target_p95_ms": 200,
    }


def main() -> int:
    """Exit 0 when every request was accepted, p95 is under the target and enough analyses were in flight."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".local"))
    parser.add_argument("--rate", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--in-flight", type=int, default=60)
    chosen = parser.parse_args()
    try:
        run = json.loads((chosen.state / "run.json").read_text())
    except (OSError, ValueError):
        print("Nothing is running: start it with `make run` in another terminal.", file=sys.stderr)
        return 1
    result = asyncio.run(measure(run["gateway"], run["database_url"], chosen.rate, chosen.seconds, chosen.in_flight))
    for name, value in result.items():
        print(f"{name:<14} {value}")
    print(json.dumps(result))
    good = result["accepted"] == result["requests"] and result["p95_ms"] < result["target_p95_ms"]
    return 0 if good and result["in_flight_min"] >= 50 else 1


if __name__ == "__main__":
    sys.exit(main())
