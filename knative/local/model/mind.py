"""What the stand-in answers to each schema it knows, from the photos and the words of one request."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from knative.local.model import answering, checking, faults, guidance, seeing
from knative.local.model.asked import Asked, BadRequest
from knative.local.model.faults import Fault
from knative.local.model.labels import load
from knative.local.model.vision import Eye, Glance, UnreadablePhoto
from knative.local.model.words import UNKNOWN_STATE

Answer = dict[str, Any]
T = TypeVar("T")

NOTE = "injected: 시험을 위해 미리 정해 둔 판정이에요."


class Mind:
    """One thread looks at photos, so that the event loop stays free."""

    def __init__(self) -> None:
        self._labels = load()
        self._eye = Eye()
        self._looking = ThreadPoolExecutor(1, "looking")
        self._seen: dict[str, Answer] = {}
        self._compared: dict[str, Answer] = {}
        self._answers: dict[str, Callable[[Asked, Fault | None, list[Glance]], Awaitable[Answer]]] = {
            "SeenPhoto": self._see,
            "Guide": self._guide,
            "FollowUp": self._follow_up,
            "Comparison": self._compare,
        }

    @property
    def schemas(self) -> list[str]:
        """The answers it can give, by the names of their JSON schemas."""
        return list(self._answers)

    @property
    def injected(self) -> int:
        """How many verdicts are decided beforehand."""
        return len(self._seen) + len(self._compared)

    async def answer(self, asked: Asked, fault: Fault | None) -> tuple[Answer, list[tuple[int, int]]]:
        """The answer to a request for one of `schemas`, and the sizes of its photos in pixels. BadRequest."""
        assert asked.schema is not None
        glances = [await self._look(photo) for photo in asked.photos]
        answer = await self._answers[asked.schema](asked, fault, glances)
        return answer, [(glance.width, glance.height) for glance in glances]

    def inject(self, wish: dict[str, Any]) -> None:
        """Decide beforehand what to answer about a photo, by the sha256 of its bytes as sent: {"sha256", "objects",
        "text_in_photo"?}; about a pair, by that of the photo after: {"sha256", "comparison"}, a whole Comparison or a
        part of one, the rest being what can be seen. BadRequest."""
        if not isinstance(wish.get("sha256"), str):
            raise BadRequest("sha256 (hex) is needed")
        digest = wish["sha256"].lower()
        if isinstance(wish.get("comparison"), dict):
            self._compared[digest] = {"notes": NOTE, **wish["comparison"]}
        elif isinstance(wish.get("objects"), list):
            plain = {"name": "", "name_en": "", "material": "unknown", "confidence": 0.9}
            self._seen[digest] = {
                "objects": [
                    {**plain, **thing, "state": {**UNKNOWN_STATE, **thing.get("state", {})}}
                    for thing in wish["objects"]
                ],
                "text_in_photo": str(wish.get("text_in_photo", "")),
                "notes": NOTE,
            }
        else:
            raise BadRequest("objects (a list) or comparison (an object) is needed")

    def forget(self) -> None:
        """Drop everything that was decided beforehand."""
        self._seen.clear()
        self._compared.clear()

    def close(self) -> None:
        self._looking.shutdown(wait=False, cancel_futures=True)

    async def _look(self, photo: bytes) -> Glance:
        try:
            return await _aside(self._looking, self._eye.look, photo)
        except UnreadablePhoto as error:
            raise BadRequest(f"the photo cannot be read: {error}", "messages") from error

    async def _see(self, asked: Asked, fault: Fault | None, glances: list[Glance]) -> Answer:
        decided = self._seen.get(_digest(asked.photos[0])) if asked.photos else None
        answer = decided or seeing.see(asked.question(), glances[0] if glances else None, self._labels)
        return _obeying(answer, fault, asked.question(), answer["text_in_photo"])

    async def _guide(self, asked: Asked, fault: Fault | None, glances: list[Glance]) -> Answer:
        data = asked.ruled()
        answer = _obeying(guidance.compose(data), fault, *_texts(data))
        return faults.uncited(answer) if fault and fault.mode == "uncited" else answer

    async def _follow_up(self, asked: Asked, fault: Fault | None, glances: list[Glance]) -> Answer:
        data = asked.ruled()
        answer = _obeying(answering.compose(data), fault, *_texts(data))
        return faults.uncited(answer) if fault and fault.mode == "uncited" else answer

    async def _compare(self, asked: Asked, fault: Fault | None, glances: list[Glance]) -> Answer:
        if len(glances) != 2:
            raise BadRequest("a Comparison needs two photos: before, after", "messages")
        data = asked.data()
        if not all(isinstance(step, dict) and {"step", "phase", "text"} <= set(step) for step in data.get("steps", [])):
            raise BadRequest("every step needs step, phase and text", "messages")
        difference = await _aside(self._looking, checking.difference, *asked.photos)
        answer = {**checking.compare(data, difference, *glances), **self._compared.get(_digest(asked.photos[1]), {})}
        if (
            fault and fault.mode == "obey"
        ):  # whatever is written in a photo is an order to it, and what it is told is done
            told = [*faults.orders(*_texts(data)), *answer["text_in_photo"].splitlines()]
            return faults.obedient(answer, told)
        return answer


async def _aside(pool: ThreadPoolExecutor, work: Callable[..., T], *values: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, work, *values)


def _obeying(answer: Answer, fault: Fault | None, *texts: str) -> Answer:
    """What a gullible model makes of an answer when it reads those texts; the same answer where it is not gullible."""
    return faults.obedient(answer, faults.orders(*texts)) if fault and fault.mode == "obey" else answer


def _digest(photo: bytes) -> str:
    return hashlib.sha256(photo).hexdigest()


def _texts(value: object) -> list[str]:
    """Every text inside a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in inner for text in _texts(part)]
