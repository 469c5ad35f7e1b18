"""Paid calls to the model: asked under a deadline, kept before they have any effect, never asked twice.

No LangChain here: the `llm.py` of a function makes the chain; this module asks it and keeps what it said.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeVar

from psycopg.errors import ForeignKeyViolation
from psycopg.types.json import Jsonb

from functions.shared import leaving, metrics, tracing
from functions.shared.function import ModelDown
from functions.shared.lifecycle import Superseded
from functions.shared.postgres import Database, Unavailable
from functions.shared.prices import cost_usd

T = TypeVar("T")

#: So long a paid answer is offered to a database that does not take it: with a call before it and the pool's patience
#: behind it, less than the lease.
KEEP_SECONDS, OFFERED_AGAIN_AFTER = 8.0, 0.2

_starting = threading.Lock()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said: `parsed` is the JSON object asked for, or None where `raw` holds none.

    `model` is the name the API reported, `standin` whether the built-in one answered, `refused` why it would not,
    `ms` the time it took in milliseconds.
    """

    parsed: dict[str, Any] | None
    raw: str
    model: str
    standin: bool
    tokens_in: int
    tokens_out: int
    ms: int
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """An answer as it is kept in `model_calls` under `id`."""

    id: int
    purpose: str
    prompt_version: str
    answer: Answer


class Chain(Protocol):
    """What `with_structured_output(…, include_raw=True)` makes: messages in, {"raw": message, …} out."""

    async def ainvoke(self, input: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How a model is asked: seconds for a whole call, `park_seconds` of patience in an outage, the `model` asked for,
    the exceptions that mean it did not answer, and which of them say that it would not."""

    seconds: float
    park_seconds: float
    model: str
    trouble: tuple[type[Exception], ...]
    refuses: Callable[[Exception], bool]


def ask(chain: Chain, messages: Any, terms: Terms) -> Answer:
    """One call. ModelDown where there is no answer; an answer that is no JSON object has `parsed` None.

    The JSON is read strictly: LangChain's own parser would close what was cut off and invent a shorter answer.
    """
    started = time.monotonic()
    with tracing.inside("model", **{"gen_ai.request.model": terms.model}) as span:
        try:
            answer = _asked(chain, messages, terms)
        except ModelDown:
            metrics.MODEL_CALLS.add(model=terms.model, outcome="down")
            metrics.MODEL_SECONDS.observe(time.monotonic() - started, model=terms.model)
            raise
        _count(answer, terms.model)
        if span:
            used = {"gen_ai.usage.input_tokens": answer.tokens_in, "gen_ai.usage.output_tokens": answer.tokens_out}
            span.attributes |= {"gen_ai.response.model": answer.model, **used}
    return answer


def _count(answer: Answer, asked: str) -> None:
    """By the model asked for: what an API calls the one that answered may change with every call."""
    outcome = "refused" if answer.refused is not None else "answered" if answer.parsed is not None else "malformed"
    metrics.MODEL_CALLS.add(model=asked, outcome=outcome)
    metrics.MODEL_SECONDS.observe(answer.ms / 1000, model=asked)
    metrics.MODEL_TOKENS.add(answer.tokens_in, model=asked, direction="in")
    metrics.MODEL_TOKENS.add(answer.tokens_out, model=asked, direction="out")
    metrics.MODEL_COST.add(float(cost_usd(answer.model, answer.tokens_in, answer.tokens_out) or 0), model=asked)


def _asked(chain: Chain, messages: Any, terms: Terms) -> Answer:
    started = time.monotonic()
    try:
        result = within(terms.seconds, lambda: chain.ainvoke(messages))
    except TimeoutError as error:
        raise ModelDown(f"no answer within {terms.seconds:g} s", terms.park_seconds) from error
    except terms.trouble as error:
        ms = round((time.monotonic() - started) * 1000)
        if (completion := getattr(error, "completion", None)) is not None:
            return _cut_off(completion, ms)
        if not terms.refuses(error):
            raise ModelDown(f"{type(error).__name__}: {error}"[:300], terms.park_seconds) from error
        return Answer(None, str(error), terms.model, False, 0, 0, ms, refused=str(error)[:300])
    return _read(result["raw"], round((time.monotonic() - started) * 1000))


def _cut_off(completion: Any, ms: int) -> Answer:
    """An answer that reached the length limit: the SDK raises it, but it was given, and is paid for."""
    return Answer(
        parsed=None,
        raw=completion.choices[0].message.content or "",
        model=completion.model,
        standin=completion.system_fingerprint == "standin",
        tokens_in=completion.usage.prompt_tokens if completion.usage else 0,
        tokens_out=completion.usage.completion_tokens if completion.usage else 0,
        ms=ms,
    )


def _read(message: Any, ms: int) -> Answer:
    meta, usage = message.response_metadata, message.usage_metadata or {}
    raw = message.content if isinstance(message.content, str) else json.dumps(message.content)
    try:
        parsed = json.loads(raw)
    except ValueError:
        parsed = None
    return Answer(
        parsed=parsed if isinstance(parsed, dict) else None,
        raw=raw,
        model=meta.get("model_name", ""),
        standin=meta.get("system_fingerprint") == "standin",
        tokens_in=usage.get("input_tokens", 0),
        tokens_out=usage.get("output_tokens", 0),
        ms=ms,
        refused=message.additional_kwargs.get("refusal"),
    )


def fenced(data: dict[str, Any]) -> str:
    """`data` as one line of JSON that cannot end the block it stands in, whatever the citizen wrote."""
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")


def plain_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema without lengths and ranges: we check those ourselves, and not every provider knows them."""
    checked = ("minLength", "maxLength", "minimum", "maximum", "maxItems")

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: plain(value) for name, value in part.items() if name not in checked}
        return [plain(value) for value in part] if isinstance(part, list) else part

    return {name: plain(value) for name, value in schema.items()}


def stored(db: Database, analysis_id: str, round_: int, kind: str) -> list[Call]:
    """The calls made so far for `kind` (`see`: see, see_repair …), oldest first."""
    with db.transaction() as tx:
        rows = tx.execute(
            """SELECT * FROM model_calls WHERE analysis_id = %s AND round = %s
               AND (purpose = %s OR starts_with(purpose, %s)) ORDER BY id""",
            (analysis_id, round_, kind, f"{kind}_"),
        ).fetchall()
    return [_call(row) for row in rows]


def keep(db: Database, answer: Answer, *, analysis_id: str, round_: int, purpose: str, prompt_version: str) -> Call:
    """Store an answer for good, whatever becomes of it; the first one stored for a purpose is the one that counts.

    It is paid for: a database that is away or has no connection free is asked again for KEEP_SECONDS before it is
    Unavailable. Superseded where the citizen left while the model was asked: nobody waits for the answer, only its cost
    is kept.
    """
    cost = cost_usd(answer.model, answer.tokens_in, answer.tokens_out)
    said = {"parsed": answer.parsed, "raw": answer.raw, "standin": answer.standin, "refused": answer.refused}
    values = {
        "analysis": analysis_id,
        "round": round_,
        "purpose": purpose,
        "model": answer.model,
        "version": prompt_version,
        "answer": Jsonb(_storable(said)),
        "tokens_in": answer.tokens_in,
        "tokens_out": answer.tokens_out,
        "cost": cost,
        "ms": answer.ms,
    }
    ends = time.monotonic() + KEEP_SECONDS
    while True:
        try:
            return _kept(db, values)
        except ForeignKeyViolation as error:
            with db.transaction() as tx:
                leaving.spent(tx, cost, standin=answer.standin)
            raise Superseded(f"analysis {analysis_id} is gone with its citizen") from error
        except Unavailable:
            if time.monotonic() >= ends:
                raise
            time.sleep(OFFERED_AGAIN_AFTER)


def _kept(db: Database, values: dict[str, Any]) -> Call:
    with db.transaction() as tx:
        tx.execute(
            """INSERT INTO model_calls
                   (analysis_id, round, purpose, model, prompt_version, answer, tokens_in, tokens_out, cost_usd, ms)
               VALUES (%(analysis)s, %(round)s, %(purpose)s, %(model)s, %(version)s, %(answer)s, %(tokens_in)s,
                       %(tokens_out)s, %(cost)s, %(ms)s)
               ON CONFLICT (analysis_id, round, purpose) DO NOTHING""",
            values,
        )
        row = tx.execute(
            "SELECT * FROM model_calls"
            " WHERE analysis_id = %(analysis)s AND round = %(round)s AND purpose = %(purpose)s",
            values,
        ).fetchone()
    assert row is not None
    return _call(row)


def within(seconds: float, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `work()` to its end or cancel it: TimeoutError after `seconds`, however the other side drips its answer.

    Everything runs on one event loop in a thread of its own, made on first use, so that connections are reused.
    """

    async def timed() -> T:
        async with asyncio.timeout(seconds):
            return await work()

    with _starting:
        loop = _loop()
    return asyncio.run_coroutine_threadsafe(timed(), loop).result()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="model-calls", daemon=True).start()
    return loop


def _storable(value: Any) -> Any:
    """Without what PostgreSQL's jsonb refuses (NUL, half a surrogate pair): a model may say anything."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(name): _storable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_storable(inner) for inner in value]
    return value


def _call(row: dict[str, Any]) -> Call:
    answer = row["answer"]
    return Call(
        id=row["id"],
        purpose=row["purpose"],
        prompt_version=row["prompt_version"],
        answer=Answer(
            parsed=answer["parsed"],
            raw=answer["raw"],
            model=row["model"],
            standin=answer["standin"],
            refused=answer["refused"],
            tokens_in=row["tokens_in"],
            tokens_out=row["tokens_out"],
            ms=row["ms"],
        ),
    )
