"""What an app does, in the terminal: sign in as a guest, post a photo, ask, follow the stages, read the guide.

Only the public API is used: it is the smoke test of `make run` and the whole of `make analyze`.
"""

from __future__ import annotations

import asyncio
import mimetypes
import textwrap
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp

from functions.shared.lifecycle import TERMINAL
from functions.shared.messages import text
from functions.shared.naming import PHOTO_TYPES

Say = Callable[[str], None]

#: Seconds for the whole analysis, cold start and a slow model included.
PATIENCE = 90.0

#: An analysis that only the citizen can take further.
ASKING = "needs_answer"


class Refused(Exception):
    """The system said no, or nothing; the message is for the person who asked."""


async def analyze(gateway: str, photo: Path, question: str | None, say: Say) -> dict[str, Any]:
    """The analysis of `photo` in its last state (ended, or asking). Each stage is said as it happens."""
    if not photo.is_file():
        raise Refused(f"There is no photo {photo}: say which one, as in make analyze PHOTO=bottle.jpg.")
    if photo.stat().st_size == 0:
        raise Refused(f"{photo.name} is empty.")
    kind = {".heif": "image/heic", ".heic": "image/heic"}.get(photo.suffix.lower()) or mimetypes.guess_type(photo)[0]
    if kind not in PHOTO_TYPES:
        raise Refused(f"{photo.name} is not a photo: {', '.join(PHOTO_TYPES)} are.")
    async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE):
        app = _App(http, gateway)
        app.token = (await app.call("POST", "/api/v1/auth/guest"))["token"]
        await app.call("POST", "/api/v1/auth/consent", {"granted": True})
        granted = await app.call("POST", "/api/v1/waste/uploads", {"content_type": kind})
        form = aiohttp.FormData(granted["upload"]["fields"])
        form.add_field("file", photo.read_bytes(), filename=photo.name, content_type=kind)
        async with http.post(granted["upload"]["url"], data=form) as answer:
            if answer.status >= 300:
                raise Refused(f"The photo store answered {answer.status}: {(await answer.text())[:300]}")
        asked = {"key": granted["key"]} | ({"question": question} if question else {})
        accepted = await app.call("POST", "/api/v1/waste/analyze", asked)
        say(f"Analysis {accepted['id']}")
        return await app.follow(accepted["links"], say)


class _App:
    def __init__(self, http: aiohttp.ClientSession, gateway: str) -> None:
        self._http, self._gateway, self.token = http, gateway, ""

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self._http.request(method, self._gateway + path, json=body, headers=headers) as answer:
            if answer.status < 400:
                return dict(await answer.json())
            problem = await answer.json(content_type=None) if "json" in answer.content_type else {}
            told = problem.get("detail") or (await answer.text())[:200]
            raise Refused(f"{method} {path}: {answer.status} {problem.get('code', '')} {told}")

    async def follow(self, links: dict[str, str], say: Say) -> dict[str, Any]:
        """The socket says when to look; where it is closed on us, looking once a second gives the same facts."""
        first: datetime | None = None
        seen = 0
        while True:
            try:
                async with self._http.ws_connect(self._gateway + links["events"]) as socket:
                    await socket.send_json({"token": self.token, "after": seen})
                    async for message in socket:
                        told = message.json()
                        if "stage" in told:
                            seen, at = told["n"], datetime.fromisoformat(told["at"])
                            first = first or at
                            say(f"  {(at - first).total_seconds() * 1000:7.0f} ms  {told['stage']}")
                        if told["status"] in {*TERMINAL, ASKING}:
                            break
            except aiohttp.ClientError:
                await asyncio.sleep(1)
            state = await self.call("GET", links["self"])
            if state["status"] in {*TERMINAL, ASKING} and (not state["stages"] or state["stages"][-1]["n"] <= seen):
                return state


def rendered(analysis: dict[str, Any]) -> str:
    """The end of an analysis as a person reads it: the guide with its citations, the question, or what went wrong."""
    if failure := analysis["failure"]:
        return f"{failure['message']} ({failure['code']})"
    if clarify := analysis["clarify"]:
        return "\n".join([clarify["question"], *(f"  - {option['label']}" for option in clarify["options"])])
    guide, item = analysis["guide"], analysis["item"]
    if guide is None:
        nearest = [f"  - {candidate['name']}" for candidate in item["candidates"]] if item else []
        return "\n".join([text("page.not_found"), text("page.not_found.detail"), *nearest])
    numbers = {rule["id"]: number for number, rule in enumerate(guide["rules"], 1)}
    used = {rule_id for part in (*guide["steps"], *guide["cautions"]) for rule_id in part["rule_ids"]}
    place = guide["destination"]
    lines = [f"■ {item['name']} → {place['name']} ({place['where']})", *_wrapped(guide["summary"]), ""]
    for step in guide["steps"]:
        lines += _wrapped(f"[{step['phase_name']}] {step['text']} {_cited(step, numbers)}", "  ")
    for caution in guide["cautions"]:
        lines += _wrapped(f"! {caution['text']} {_cited(caution, numbers)}", "  ")
    lines += ["", text("page.guide.answer"), *_wrapped(guide["answer"], "  ")] if guide["answer"] else []
    lines += ["", text("page.guide.rules", n=len(used))]
    for rule in (rule for rule in guide["rules"] if rule["id"] in used):
        lines += _wrapped(f"[{numbers[rule['id']]}] {rule['text']}", "  ")
        lines.append(f"      {rule['basis_name']}: {rule['source']['title']} {unquote(rule['source']['url'] or '')}")
    return "\n".join([*lines, "", *_made(guide["made_by"])])


def _made(maker: dict[str, Any]) -> list[str]:
    parts = [text("page.made.model", model=maker["model"], version=maker["prompt_version"])]
    parts.append(text("page.made.tokens", input=maker["tokens_in"], output=maker["tokens_out"]))
    parts += [text("page.made.cost", usd=f"{maker['cost_usd']:.4f}")] if maker["cost_usd"] else []
    parts += [text(f"page.made.{how}") for how in ("cached", "repaired", "fallback") if maker[how]]
    return [" · ".join(parts), *([text("page.made.standin")] if maker["standin"] else [])]


def _cited(part: dict[str, Any], numbers: dict[str, int]) -> str:
    return "".join(f"[{numbers[rule_id]}]" for rule_id in part["rule_ids"] if rule_id in numbers)


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, 76, initial_indent=indent, subsequent_indent=indent + "  " * bool(indent)) or [""]
