"""Read a chat-completion request: which answer is wanted (the name of its JSON schema), from which words and photos."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class BadRequest(ValueError):
    """The request cannot be answered; the message says why, `param` which part of it."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Asked:
    """One chat call. `schema`: name of the wanted JSON schema, None where it names none. `photos`: encoded, as sent."""

    schema: str | None
    user: tuple[str, ...]
    photos: tuple[bytes, ...]
    detail: str
    letters: int

    def question(self) -> str:
        """The citizen's words: what stands between the lines <<<QUESTION and QUESTION>>>, "" where there is none."""
        return next((found for text in self.user if (found := _block(text, "QUESTION")) is not None), "").strip()

    def data(self) -> dict[str, Any]:
        """The JSON between the lines <<<DATA and DATA>>> of the first user message with it. BadRequest otherwise."""
        block = next((found for text in self.user if (found := _block(text, "DATA")) is not None), None)
        if block is None:
            raise BadRequest(f"a {self.schema} needs a JSON block between the lines <<<DATA and DATA>>>", "messages")
        try:
            return dict(json.loads(block))
        except (ValueError, TypeError) as error:
            raise BadRequest(f"the DATA block: {error!r}", "messages") from error

    def ruled(self) -> dict[str, Any]:
        """The same, with "rules" in it that can be cited. BadRequest."""
        data = self.data()
        try:
            complete = all({"id", "phase", "text"} <= set(rule) for rule in data["rules"])
        except (KeyError, TypeError) as error:
            raise BadRequest(f"the DATA block: {error!r}", "messages") from error
        if not complete:
            raise BadRequest("every rule needs id, phase and text", "messages")
        return data

    def tokens(self, sizes: Iterable[tuple[int, int]]) -> int:
        """Prompt tokens: text as in text_tokens, photos of `sizes` in pixels by OpenAI's tile formula for gpt-4o."""
        return text_tokens(self.letters) + sum(photo_tokens(*size, self.detail) for size in sizes)


def parse(body: bytes) -> Asked:
    """Read a request body. BadRequest where it is no chat request the stand-in can answer in principle."""
    try:
        request = json.loads(body)
        messages = request["messages"]
        if request.get("stream"):
            raise BadRequest("the stand-in does not stream", "stream")
        parts = [(message["role"], part) for message in messages for part in _parts(message.get("content"))]
        wanted = request.get("response_format") or {}
        schema = (wanted.get("json_schema") or {}).get("name")
        texts = [(role, part["text"]) for role, part in parts if part["type"] == "text"]
        images = [part["image_url"] for _, part in parts if part["type"] == "image_url"]
        letters = len(json.dumps(wanted, ensure_ascii=False).encode()) if wanted else 0
        letters += sum(len(text.encode()) for _, text in texts)
        photos = tuple(_photo(image["url"]) for image in images)
    except BadRequest:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadRequest(f"not a chat completion request: {error!r}") from error
    user = tuple(text for role, text in texts if role == "user")
    return Asked(schema, user, photos, images[0].get("detail", "auto") if images else "auto", letters)


def text_tokens(letters: int) -> int:
    """UTF-8 bytes / 3, rounded up: a token a Korean syllable, one per three English letters. A high estimate."""
    return math.ceil(letters / 3)


def photo_tokens(width: int, height: int, detail: str) -> int:
    """gpt-4o: 85 at low detail; else fit into 2048 x 2048, shrink the short side to 768, 170 a 512-px tile plus 85."""
    if detail == "low":
        return 85
    scale = min(1.0, 2048 / max(width, height), 768 / min(width, height))
    return 85 + 170 * math.ceil(round(width * scale) / 512) * math.ceil(round(height * scale) / 512)


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def _photo(url: str) -> bytes:
    head, _, payload = url.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        raise BadRequest("image_url must be a data: URL with base64; the stand-in fetches nothing", "messages")
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as error:
        raise BadRequest(f"image_url: {error}", "messages") from error


def _block(text: str, name: str) -> str | None:
    """What stands between the first line `<<<name` and the last line `name>>>`; None where one is missing."""
    lines = text.splitlines()
    opening, closing = f"<<<{name}", f"{name}>>>"
    if opening not in lines or closing not in lines[lines.index(opening) :]:
        return None
    last = len(lines) - 1 - lines[::-1].index(closing)
    return "\n".join(lines[lines.index(opening) + 1 : last])
