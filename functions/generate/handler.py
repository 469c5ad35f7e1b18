"""Rules → a guide a citizen can follow, in the four phases, every step with its rule.

The same guide is written once an hour (Redis, exact key); how one is written: writing.py. Further questions about a
guide: thread.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from psycopg.types.json import Jsonb

from functions.generate.guide import PROMPT_VERSION, Brief, Guide, parse, problems
from functions.generate.settings import Settings
from functions.generate.thread import respond
from functions.generate.writing import Task, Written, write
from functions.shared import cache, lifecycle, naming
from functions.shared.cache import Cache
from functions.shared.conditions import State
from functions.shared.config import load
from functions.shared.destinations import DESTINATIONS
from functions.shared.events import Event, GuidanceGenerated, QuestionAsked, RulesRetrieved
from functions.shared.function import Done, Rejected
from functions.shared.lifecycle import Superseded
from functions.shared.postgres import Database, Tx

if TYPE_CHECKING:
    from functions.generate.llm import Writer

CACHED_SECONDS = 3600


@dataclass
class Deps:
    """The database, the cache, and the model (imported by the first call or the warm-up: it is heavy)."""

    db: Database
    cache: Cache
    settings: Settings

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        settings = load(Settings, environ)
        db = Database(settings.database_url, pool_size=settings.pool_size)
        return cls(db, Cache(settings.redis_url), settings)

    @cached_property
    def writer(self) -> Writer:
        from functions.generate.llm import Writer

        return Writer(
            model=self.settings.openai_model,
            api_key=self.settings.openai_api_key,
            base_url=self.settings.openai_base_url,
            seconds=self.settings.model_timeout_seconds,
            park_seconds=self.settings.model_park_seconds,
        )

    def warm(self) -> None:
        """Make ready what the first guide will need; no call is paid for."""
        _ = self.writer
        self.ping()

    def ping(self) -> None:
        """Redis is not asked: this works without."""
        self.db.ping()

    def close(self) -> None:
        self.db.close()
        self.cache.close()


def handle(event: Event[Any], deps: Deps) -> Done:
    """Rules were retrieved: a guide. A further question was asked: its answer."""
    if isinstance(event.data, QuestionAsked):
        return respond(event, deps.db, lambda: deps.writer)
    return _guide(event, deps)


def _guide(event: Event[RulesRetrieved], deps: Deps) -> Done:
    """`guidance.v1.generated`; the analysis is completed. ModelDown while the model does not answer.

    Rejected("consent_withdrawn") where the citizen no longer agrees that their words go to the provider.
    """
    round_ = event.data.round
    analysis = _analysis(event, deps.db)
    if analysis["consent_at"] is None:
        raise Rejected("consent_withdrawn", "")
    brief = Brief(analysis["name"], analysis["passages"], analysis["question"] or "")
    key = _key(analysis, brief, deps.settings.openai_model)
    known = _remembered(deps.cache.get(key), brief)
    written = known or write(deps.db, deps.writer, Task(event.subject, round_, _data(analysis, brief)), brief)
    guide_id = naming.child_id(naming.source("generate"), event.subject, f"guide:{round_}")

    def save(tx: Tx) -> None:
        lifecycle.advance(tx, event.subject, frm={"retrieved"}, to="completed", round=round_, outcome="guide")
        content, made_by = Jsonb(written.guide.model_dump()), Jsonb(written.made_by)
        tx.execute(
            """INSERT INTO guides (id, analysis_id, round, item_id, content, made_by)
               VALUES (%s, %s, %s, %s, %s, %s)""",
            (guide_id, event.subject, round_, analysis["item_id"], content, made_by),
        )

    def remember() -> None:
        if not known and not written.made_by["fallback"]:
            deps.cache.put(key, {"guide": written.guide.model_dump(), "made_by": written.made_by}, CACHED_SECONDS)

    said = GuidanceGenerated(round=round_, guide_id=guide_id, item_id=analysis["item_id"])
    return Done(said, save, after=remember)


def _analysis(event: Event[RulesRetrieved], db: Database) -> dict[str, Any]:
    with db.transaction() as tx:
        row = tx.execute(
            """SELECT a.status, a.question, u.consent_at, i.state, r.item_id, r.passages, r.index_version,
                      coalesce(t.name_ko, r.item_id) AS name
               FROM analyses a
               JOIN users u ON u.id = a.user_id
               JOIN identifications i ON i.analysis_id = a.id AND i.round = a.round
               JOIN retrievals r ON r.analysis_id = a.id AND r.round = a.round
               LEFT JOIN items t ON t.id = r.item_id
               WHERE a.id = %s AND a.round = %s""",
            (event.subject, event.data.round),
        ).fetchone()
    if row is None or row["status"] != "retrieved":
        raise Superseded(f"analysis {event.subject} is not waiting for the guide of round {event.data.round}")
    return row


def _key(analysis: Mapping[str, Any], brief: Brief, model: str) -> str:
    return cache.key(
        "guide",
        item=analysis["item_id"],
        state=State.of(analysis["state"]).known(),
        index=analysis["index_version"],
        rules=[rule["id"] for rule in brief.rules],
        question=brief.question,
        prompt=PROMPT_VERSION,
        model=model,
    )


def _remembered(value: Any, brief: Brief) -> Written | None:
    """The guide in the cache, if it would pass today: what is shown is always checked."""
    if not isinstance(value, dict):
        return None
    guide = parse(value.get("guide"))
    if not isinstance(guide, Guide) or problems(guide, brief):
        return None
    return Written(guide, {**value["made_by"], "cached": True, "calls": []})


def _data(analysis: Mapping[str, Any], brief: Brief) -> dict[str, Any]:
    """All the model is told, and all of it is data. Where the citizen lives is not told: the rules allow for it."""
    return {
        "item": {"id": analysis["item_id"], "name": brief.item},
        "state": State.of(analysis["state"]).known(),
        "question": brief.question or None,
        "destinations": [{"code": code, "name": DESTINATIONS[code].ko} for code in brief.destinations],
        "rules": [{name: rule[name] for name in ("id", "phase", "text", "destination")} for rule in brief.rules],
    }
