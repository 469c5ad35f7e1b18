"""The stand-in's HTTP face: the part of OpenAI's API the functions use, plus /control for tests.

It says what it is in every answer: `model` is "waste-coach-standin-1" whatever was asked for. weights/README.md tells
what it can and cannot do. The API: GET /healthz, GET /v1/models, POST /v1/chat/completions, POST /v1/embeddings;
control: GET /control/counts, POST and DELETE /control/faults, POST and DELETE /control/inject.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiohttp import web

from functions.shared.embeddings import E5
from knative.local.model import embeddings, faults
from knative.local.model.asked import Asked, BadRequest, parse, text_tokens
from knative.local.model.ledger import Ledger
from knative.local.model.mind import Mind
from knative.local.model.shipped import Vector

MODEL, FINGERPRINT = "waste-coach-standin-1", "standin"

#: Largest body: a 1024-px photo is about 300 kB as base64.
MAX_BODY = 32 * 2**20

#: Texts embedded before another caller gets a turn (about 35 ms each).
AT_ONCE = 4

#: OpenAI takes at most this many texts in one call for embeddings.
MAX_INPUTS = 2048

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An answer in OpenAI's error shape."""

    def __init__(self, status: int, message: str, kind: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class Standin:
    """The model behind the API. One thread works on texts, one of the mind on photos: the event loop stays free."""

    def __init__(self, journal: Path | None = None, vectors: Path | None = None) -> None:
        self.ledger = Ledger(journal)
        self.faults = faults.Faults()
        self._mind = Mind()
        self._embedder = embeddings.Embedder(vectors).loaded()
        self._embedding = ThreadPoolExecutor(1, "embedding")
        self._in_flight = 0

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[_openai_errors], client_max_size=MAX_BODY)
        app.router.add_get("/healthz", _health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/embeddings", self.embed)
        app.router.add_get("/control/counts", self.counts)
        app.router.add_post("/control/faults", self.set_fault)
        app.router.add_delete("/control/faults", self.reset_faults)
        app.router.add_post("/control/inject", self.inject)
        app.router.add_delete("/control/inject", self.forget_injected)
        app.on_cleanup.append(self._close)
        return app

    async def models(self, request: web.Request) -> web.StreamResponse:
        """The two models there are."""
        _authorise(request)
        names = (MODEL, E5)
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "ai-waste-coach"} for name in names]
        return web.json_response({"object": "list", "data": models})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer one chat completion; it is counted before anything else happens to it."""
        _authorise(request)
        self._in_flight += 1
        try:
            return await self._chat(request)
        finally:
            self._in_flight -= 1

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        trouble: BadRequest | None = None
        asked: Asked | None = None
        try:
            asked = parse(body)
        except BadRequest as error:
            trouble = error
        schema = asked.schema if asked else None
        self.ledger.note("chat", schema, body)
        fault = self.faults.meet(schema or "none")
        await _fail(fault)
        if asked is None or schema not in self._mind.schemas:
            known = ", ".join(self._mind.schemas)
            raise trouble or BadRequest(f"the stand-in answers {known}, not {schema!r}", "response_format")
        answer, sizes = await self._mind.answer(asked, fault)
        mode = fault.mode if fault else None
        content = faults.malformed(answer) if mode == "malformed" else json.dumps(answer, ensure_ascii=False)
        spent, said = asked.tokens(sizes), text_tokens(len(content.encode()))
        completion = {
            "id": f"chatcmpl-standin-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content, "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": spent, "completion_tokens": said, "total_tokens": spent + said},
            "system_fingerprint": FINGERPRINT,
        }
        return await _send(request, completion, fault)

    async def embed(self, request: web.Request) -> web.StreamResponse:
        """Vectors of one text or a list of texts, as floats or as base64 of little-endian float32."""
        _authorise(request)
        body = await request.read()
        self.ledger.note("embeddings", None, body)
        fault = self.faults.meet(faults.EMBEDDINGS)
        await _fail(fault)
        wish = _object(body)
        texts = [wish["input"]] if isinstance(wish.get("input"), str) else wish.get("input")
        if not isinstance(texts, list) or not 0 < len(texts) <= MAX_INPUTS or not all(_is_text(text) for text in texts):
            raise BadRequest(f"input must be a text or a list of 1 to {MAX_INPUTS} texts, none empty", "input")
        if wish.get("dimensions") not in (None, embeddings.DIMENSIONS):
            raise BadRequest(f"this model has {embeddings.DIMENSIONS} dimensions, no others", "dimensions")
        if wish.get("encoding_format", "float") not in ("float", "base64"):
            raise BadRequest("encoding_format must be float or base64", "encoding_format")
        vectors, tokens = await self._vectors(texts)
        packed = wish.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode() if packed else vector.tolist(),
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return await _send(request, {"object": "list", "data": data, "model": E5, "usage": usage}, fault)

    async def counts(self, request: web.Request) -> web.StreamResponse:
        """Calls so far, and chat calls not answered yet."""
        return web.json_response({**self.ledger.counts(), "in_flight": self._in_flight})

    async def set_fault(self, request: web.Request) -> web.StreamResponse:
        """Misbehave from the next call on."""
        try:
            fault = self.faults.set(_object(await request.read()))
        except ValueError as error:
            raise BadRequest(str(error)) from error
        return web.json_response(
            {"mode": fault.mode, "count": fault.left, "schema": fault.schema, "seconds": fault.seconds}
        )

    async def reset_faults(self, request: web.Request) -> web.StreamResponse:
        """Behave."""
        self.faults.reset()
        return web.json_response({})

    async def inject(self, request: web.Request) -> web.StreamResponse:
        """{"sha256": hex of a photo as sent, "objects": [...], "text_in_photo"?} → what to answer for that photo;
        {"sha256", "comparison": {...}} → what to answer where it is the photo after."""
        self._mind.inject(_object(await request.read()))
        return web.json_response({"injected": self._mind.injected})

    async def forget_injected(self, request: web.Request) -> web.StreamResponse:
        """Drop all injected verdicts."""
        self._mind.forget()
        return web.json_response({})

    async def _vectors(self, texts: list[str]) -> tuple[list[Vector], int]:
        """Vectors and tokens of the texts, a few at a time, so that one question need not wait for a whole index."""
        vectors: list[Vector] = []
        tokens = 0
        loop = asyncio.get_running_loop()
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            vectors += await loop.run_in_executor(self._embedding, self._embedder.vectors, some)
            tokens += await loop.run_in_executor(self._embedding, self._embedder.tokens, some)
        return vectors, tokens

    async def _close(self, app: web.Application) -> None:
        self._mind.close()
        self._embedding.shutdown(wait=False, cancel_futures=True)
        self.ledger.close()


async def _health(request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "ok", "model": MODEL})


def _authorise(request: web.Request) -> None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise ApiError(401, "You didn't provide an API key: Authorization: Bearer <any>", "invalid_request_error")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


async def _fail(fault: faults.Fault | None) -> None:
    """What a fault does before there is an answer."""
    if fault is None:
        return
    if fault.mode in ("hang", "slow"):
        await asyncio.sleep(fault.seconds)
    if fault.mode in ("hang", "500"):
        raise ApiError(500, "The server had an error while processing your request", "server_error")
    if fault.mode == "429":
        raise ApiError(429, "Rate limit reached for requests", "requests", "rate_limit_exceeded")


async def _send(request: web.Request, answer: dict[str, Any], fault: faults.Fault | None) -> web.StreamResponse:
    """The answer as JSON, at once or dripping."""
    if fault is None or fault.mode != "drip":
        return web.json_response(answer)
    body = json.dumps(answer).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    for byte in body:
        await response.write(bytes([byte]))
        await asyncio.sleep(fault.seconds)
    return response


@web.middleware
async def _openai_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error in OpenAI's shape."""
    try:
        return await handler(request)
    except BadRequest as error:
        return web.json_response(ApiError(400, str(error), "invalid_request_error", None, error.param).body, status=400)
    except ApiError as error:
        return web.json_response(
            error.body, status=error.status, headers={"Retry-After": "1"} if error.status == 429 else {}
        )
    except web.HTTPException as error:
        body = ApiError(error.status, error.reason, "invalid_request_error").body
        return web.json_response(body, status=error.status)


def serve(host: str, port: int, journal: Path | None, vectors: Path | None) -> None:
    """Serve until SIGTERM or Ctrl-C. OSError where the port is taken."""
    web.run_app(
        Standin(journal, vectors).app(),
        host=host,
        port=port,
        backlog=1024,
        access_log=None,
        print=None,
        shutdown_timeout=0.5,
        handler_cancellation=True,
    )
