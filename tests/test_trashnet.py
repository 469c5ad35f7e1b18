"""Real photos through the public API: 120 of TrashNet, the same number of each class, none may fail.

Skipped, loudly, where the photos are not there (they are not part of the project): see tests/README.md.
`python -m tests.test_trashnet GATEWAY [all]` sends them to a running system and prints the table.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.citizen import Citizen

PHOTOS = Path(os.environ.get("TRASHNET", Path(__file__).parents[2] / "shared" / "data" / "trashnet"))
PHASES = ["prepare", "wash", "separate", "dispose"]
STAGES = ["upload.presigned", "analysis.requested", "photo.ingested"]


def stratified(count: int) -> list[Path]:
    """`count` photos, the same number of every class (fewer where a class has fewer), spread over the class."""
    classes = sorted(folder for folder in PHOTOS.iterdir() if folder.is_dir())
    chosen: list[Path] = []
    for folder in classes:
        files = sorted(folder.glob("*.jpg"))
        wanted = min(count // len(classes), len(files))
        chosen += [files[i * len(files) // wanted] for i in range(wanted)]
    return chosen


async def send(gateway: str, photos: list[Path], at_once: int) -> list[dict[str, Any]]:
    """Each photo's last state; a question of ours is answered with its first option."""
    gate = asyncio.Semaphore(at_once)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        citizen = await Citizen(gateway, http).sign_in()

        async def one(photo: Path) -> dict[str, Any]:
            async with gate:
                id_ = await citizen.analyze(photo.read_bytes())
                state = await citizen.outcome(id_, within=120)
                asked = state["status"] == "needs_answer"
                if asked:
                    option = state["clarify"]["options"][0]["id"]
                    await citizen.call("POST", f"/api/v1/waste/analyses/{id_}/answer", {"option": option})
                    while state["status"] == "needs_answer":
                        state = await citizen.outcome(id_, within=120)
                return {**state, "class": photo.parent.name, "asked": asked}

        return list(await asyncio.gather(*(one(photo) for photo in photos)))


def table(states: list[dict[str, Any]]) -> str:
    """Outcome by class, as text."""
    rows = [f"{'class':<10} {'photos':>6} {'guide':>6} {'asked':>6} {'not found':>9} {'failed':>6}"]
    for name in [*sorted({state["class"] for state in states}), "all"]:
        of = [state for state in states if name in ("all", state["class"])]
        ends = Counter(state["outcome"] if state["status"] == "completed" else state["status"] for state in of)
        asked = sum(state["asked"] for state in of)
        failed = len(of) - ends["guide"] - ends["not_found"]
        rows.append(f"{name:<10} {len(of):>6} {ends['guide']:>6} {asked:>6} {ends['not_found']:>9} {failed:>6}")
    return "\n".join(rows)


@pytest.mark.unmeasured
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the TrashNet photos are not on this machine (tests/README.md)")
def test_120_photos_get_a_cited_guide_and_none_fails(
    cluster: Any, record_property: Callable[[str, object], None]
) -> None:
    photos = stratified(120)
    assert len(photos) >= 120
    states = asyncio.run(send(cluster.gateway, photos, at_once=8))
    record_property("figures", table(states))
    assert {state["status"] for state in states} == {"completed"}
    assert sum(state["outcome"] == "not_found" for state in states) <= len(photos) // 10
    guided = [state for state in states if state["outcome"] == "guide"]
    cited = set()
    for state in guided:
        seen = [stage["stage"] for stage in state["stages"]]
        assert seen[:3] == STAGES
        assert seen[-2:] == ["rules.retrieved", "guidance.generated"]
        guide = state["guide"]
        assert list(dict.fromkeys(step["phase"] for step in guide["steps"])) == PHASES
        known = {rule["id"] for rule in guide["rules"]}
        assert all(step["rule_ids"] and set(step["rule_ids"]) <= known for step in guide["steps"])
        assert guide["made_by"]["standin"] is True
        cited |= {rule for step in guide["steps"] for rule in step["rule_ids"]}
    opened = asyncio.run(open_rules(cluster.gateway, cited))
    assert all(rule["text"] and rule["source"]["title"] and rule["checked"] for rule in opened)


async def open_rules(gateway: str, ids: set[str]) -> list[dict[str, Any]]:
    """Every citation opens its rule."""
    async with aiohttp.ClientSession() as http:
        citizen = await Citizen(gateway, http).sign_in()
        return [await citizen.call("GET", f"/api/v1/waste/rules/{id_}") for id_ in sorted(ids)]


if __name__ == "__main__":
    everything = sorted(PHOTOS.glob("*/*.jpg")) if sys.argv[2:] == ["all"] else stratified(120)
    began = time.monotonic()
    ended = asyncio.run(send(sys.argv[1], everything, at_once=8))
    print(table(ended))
    print(f"{len(ended)} photos in {time.monotonic() - began:.0f} s")
