"""An item in its state → the rules that hold for it today, kept as they read: an old analysis keeps its rules.

The same item, state, place and day (and question, where it ranks the rules) are looked up once an hour (Redis, exact
key); without Redis, every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb

from functions.retrieve.settings import Settings
from functions.shared import cache, lifecycle
from functions.shared.cache import Cache
from functions.shared.conditions import State
from functions.shared.config import load
from functions.shared.embeddings import Embedder
from functions.shared.events import Event, ItemClarified, ItemIdentified, RulesRetrieved
from functions.shared.function import Done, Rejected
from functions.shared.lifecycle import Superseded
from functions.shared.postgres import Database, Tx
from functions.shared.search import Rulebook

KOREA = ZoneInfo("Asia/Seoul")
CACHED_SECONDS = 3600


@dataclass
class Deps:
    """The database, the rules, the cache."""

    db: Database
    rulebook: Rulebook
    cache: Cache

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        settings = load(Settings, environ)
        db = Database(settings.database_url, pool_size=settings.pool_size)
        embedder = Embedder(settings.openai_base_url, settings.openai_api_key, settings.embedding_model, timeout=3.0)
        return cls(db, Rulebook(db, embedder), Cache(settings.redis_url))

    def warm(self) -> None:
        """Import the retriever and connect."""
        from functions.retrieve import llm  # noqa: F401

        self.ping()

    def ping(self) -> None:
        """Redis is not asked: this works without."""
        self.db.ping()

    def close(self) -> None:
        self.db.close()
        self.cache.close()


def handle(event: Event[ItemIdentified | ItemClarified], deps: Deps) -> Done:
    """`rules.v1.retrieved`. Rejected("no_rules") for an item that has none: the index and the analysis do not fit.

    Rejected("consent_withdrawn") where the citizen no longer agrees that their words go to the provider (who
    embeds them).
    """
    item_id, round_ = event.data.item_id, event.data.round
    analysis = _analysis(event, deps.db)
    if analysis["consent_at"] is None:
        raise Rejected("consent_withdrawn", "")
    version = deps.rulebook.index_version()
    keys = _Keys.of(analysis, item_id, version)
    known = deps.cache.get(keys.any_question) or deps.cache.get(keys.this_question)
    found = _Rules(known, None) if known else _retrieve(analysis, item_id, deps.rulebook, keys)
    if not found.passages:
        raise Rejected("no_rules", item_id)

    def save(tx: Tx) -> None:
        lifecycle.advance(tx, event.subject, frm={"identified"}, to="retrieved", round=round_)
        tx.execute(
            """INSERT INTO retrievals (analysis_id, round, item_id, passages, index_version, cached)
               VALUES (%s, %s, %s, %s, %s, %s)""",
            (event.subject, round_, item_id, Jsonb(found.passages), version, bool(known)),
        )

    def remember() -> None:
        if found.key:
            deps.cache.put(found.key, found.passages, CACHED_SECONDS)

    said = RulesRetrieved(
        round=round_, item_id=item_id, rule_ids=[passage["id"] for passage in found.passages], index_version=version
    )
    return Done(said, save, after=remember)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Where rules are remembered: those that all fit are the same for every question, a ranking is for one."""

    any_question: str
    this_question: str

    @classmethod
    def of(cls, analysis: Mapping[str, Any], item_id: str, version: str) -> Self:
        place: dict[str, Any] = {
            "item": item_id,
            "state": State.of(analysis["state"]).known(),
            "region": analysis["region"],
            "housing": analysis["housing"],
            "index": version,
            "locale": "ko",
            "on": _today().isoformat(),
        }
        return cls(cache.key("rules", **place), cache.key("rules", **place, question=analysis["question"] or ""))


@dataclass(frozen=True, slots=True)
class _Rules:
    """Passages as JSON, and the key to remember them by: None for what must not be remembered."""

    passages: list[dict[str, Any]]
    key: str | None


def _analysis(event: Event[ItemIdentified | ItemClarified], db: Database) -> dict[str, Any]:
    with db.transaction() as tx:
        row = tx.execute(
            """SELECT a.status, a.question, a.region, a.housing, u.consent_at, i.state
               FROM analyses a JOIN users u ON u.id = a.user_id
               JOIN identifications i ON i.analysis_id = a.id AND i.round = a.round
               WHERE a.id = %s AND a.round = %s""",
            (event.subject, event.data.round),
        ).fetchone()
    if row is None or row["status"] != "identified":
        raise Superseded(f"analysis {event.subject} is not waiting for the rules of round {event.data.round}")
    return row


def _retrieve(analysis: Mapping[str, Any], item_id: str, rulebook: Rulebook, keys: _Keys) -> _Rules:
    """By LangChain's retriever; where more rules hold than fit, those nearest to the item, its state and the question.

    A choice made while no embedding could be had is used, but not remembered.
    """
    from functions.retrieve.llm import RuleRetriever

    state = State.of(analysis["state"])
    retriever = RuleRetriever(
        rulebook=rulebook,
        item_id=item_id,
        state=state,
        region=analysis["region"],
        housing=analysis["housing"],
        on=_today(),
    )
    item = rulebook.item(item_id)
    words = [item.name if item else item_id, *state.known().values(), analysis["question"] or ""]
    found = retriever.invoke(" ".join(words).strip())
    passages = [{**document.metadata, "text": document.page_content} for document in found]
    chosen = retriever.selection
    if chosen is None or not chosen.cut:
        return _Rules(passages, keys.any_question)
    return _Rules(passages, keys.this_question if chosen.ranked else None)


def _today() -> date:
    return datetime.now(KOREA).date()
