"""A citizen's app, many at a time: the public API and nothing else. For load, chaos and photo tests and the bench."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import aiohttp

TERMINAL = {"completed", "failed", "expired"}


@dataclass
class Citizen:
    """One guest at `gateway`. Every call retries what a real app would retry: a lost connection, 502, 503, 504."""

    gateway: str
    http: aiohttp.ClientSession
    token: str = ""
    patience: float = 60.0
    retried: int = field(default=0)
    _refresh_token: str = ""
    _renew_at: float = 0.0
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def sign_in(self) -> Citizen:
        """Become a guest who agrees to photos being sent to the model provider."""
        self._adopt(await self.call("POST", "/api/v1/auth/guest"))
        await self.call("POST", "/api/v1/auth/consent", {"granted": True})
        return self

    def _adopt(self, session: dict[str, Any]) -> None:
        self.token, self._refresh_token = session["token"], session["refresh_token"]
        self._renew_at = time.monotonic() + session["expires_in"] - 60

    async def _renew(self) -> None:
        """The next tokens of the session shortly before the present one ends, as an app does in a long run."""
        async with self._renewing:
            if time.monotonic() > self._renew_at:
                body, self._refresh_token = {"refresh_token": self._refresh_token}, ""
                self._adopt(await self.call("POST", "/api/v1/auth/refresh", body))

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """One request; the JSON answer. AssertionError for an answer that is neither success nor worth a retry."""
        if self._refresh_token and time.monotonic() > self._renew_at:
            await self._renew()
        deadline = time.monotonic() + self.patience
        while True:
            try:
                sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
                async with self.http.request(
                    method, self.gateway + path, json=body, headers={**sent, **(headers or {})}
                ) as answer:
                    if answer.status < 400:
                        return dict(await answer.json())
                    text = await answer.text()
                    if answer.status not in (502, 503, 504):
                        raise AssertionError(f"{method} {path}: {answer.status} {text}")
                    problem = f"{answer.status} {text[:200]}"
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = repr(error)
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} {path}: still {problem} after {self.patience:.0f} s")
            self.retried += 1
            await asyncio.sleep(0.3)

    async def upload(self, photo: bytes, content_type: str = "image/jpeg") -> tuple[str, str]:
        """Presign and post a photo: analysis id and key."""
        granted = await self.call("POST", "/api/v1/waste/uploads", {"content_type": content_type})
        deadline = time.monotonic() + self.patience
        while True:
            form = aiohttp.FormData()
            for name, value in granted["upload"]["fields"].items():
                form.add_field(name, value)
            form.add_field("file", photo, filename="photo", content_type=content_type)
            try:
                async with self.http.post(granted["upload"]["url"], data=form) as answer:
                    if answer.status < 300:
                        return granted["id"], granted["key"]
                    problem = f"{answer.status} {(await answer.text())[:300]}"
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = repr(error)
            if time.monotonic() > deadline:
                raise AssertionError(f"upload: {problem}")
            await asyncio.sleep(0.5)

    async def analyze(self, photo: bytes, question: str = "", **more: str) -> str:
        """Upload and ask; the id of the accepted analysis."""
        id_, key = await self.upload(photo)
        body = {"key": key, **({"question": question} if question else {}), **more}
        accepted = await self.call(
            "POST", "/api/v1/waste/analyze", body, headers={"Idempotency-Key": str(uuid.uuid4())}
        )
        assert accepted["id"] == id_
        return id_

    async def state(self, id_: str) -> dict[str, Any]:
        return await self.call("GET", f"/api/v1/waste/analyses/{id_}")

    async def outcome(self, id_: str, *, within: float = 60.0, every: float = 0.3) -> dict[str, Any]:
        """Wait until the analysis has ended, or asks; its last state."""
        deadline = time.monotonic() + within
        while True:
            state = await self.state(id_)
            if state["status"] in TERMINAL or state["status"] == "needs_answer":
                return state
            if time.monotonic() > deadline:
                raise AssertionError(f"{id_} is still {state['status']} after {within:.0f} s")
            await asyncio.sleep(every)
