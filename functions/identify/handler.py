"""A clean photo → the item on it: the model says what it sees, the dictionary says what that is.

Nothing the citizen wrote, and no text in the photo, can do more than choose among our items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from psycopg.types.json import Jsonb

from functions.identify.decide import Decision, decide
from functions.identify.looking import Task, look
from functions.identify.seen import SeenPhoto
from functions.identify.settings import Settings
from functions.shared import lifecycle
from functions.shared.conditions import State
from functions.shared.config import load
from functions.shared.embeddings import Embedder
from functions.shared.events import Event, ItemAmbiguous, ItemIdentified, ItemUnmatched, Payload, PhotoIngested
from functions.shared.function import Done, Rejected
from functions.shared.lifecycle import Superseded
from functions.shared.objects import Objects
from functions.shared.postgres import Database, Tx
from functions.shared.search import Found, Rulebook

if TYPE_CHECKING:
    from functions.identify.llm import Vision

#: decision → status of the analysis.
_STATUS = {"match": "identified", "ambiguous": "needs_answer", "not_found": "completed"}


@dataclass
class Deps:
    """The database, the photos, the rules, and the model (imported by the first call or the warm-up: it is heavy)."""

    db: Database
    objects: Objects
    rulebook: Rulebook
    settings: Settings

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        settings = load(Settings, environ)
        db = Database(settings.database_url, pool_size=settings.pool_size)
        embedder = Embedder(settings.openai_base_url, settings.openai_api_key, settings.embedding_model, timeout=3.0)
        objects = Objects(
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            bucket=settings.s3_bucket,
            access_key=settings.aws_access_key_id,
            secret_key=settings.aws_secret_access_key,
        )
        return cls(db, objects, Rulebook(db, embedder), settings)

    @cached_property
    def vision(self) -> Vision:
        from functions.identify.llm import Vision

        return Vision(
            model=self.settings.openai_model,
            api_key=self.settings.openai_api_key,
            base_url=self.settings.openai_base_url,
            seconds=self.settings.model_timeout_seconds,
            park_seconds=self.settings.model_park_seconds,
        )

    def warm(self) -> None:
        """Make ready what the first photo will need; no call is paid for."""
        _ = self.vision
        self.ping()

    def ping(self) -> None:
        self.db.ping()
        self.objects.ping()

    def close(self) -> None:
        self.db.close()


def handle(event: Event[PhotoIngested], deps: Deps) -> Done:
    """`item.v1.identified`, `item.v1.ambiguous` (we ask) or `item.v1.unmatched` (completed: it is not in the rules).

    Rejected("consent_withdrawn") where the citizen no longer agrees that the photo goes to the provider: the work may
    have been parked for long since.
    """
    analysis = _analysis(event, deps.db)
    if analysis["consent_at"] is None:
        raise Rejected("consent_withdrawn", "")
    words: str = analysis["question"] or ""
    task = Task(event.subject, analysis["round"], analysis["model_key"], words)
    seen = look(deps.db, deps.objects, deps.vision, task)

    def search(text: str, state: State) -> Found:
        return deps.rulebook.search(text, state=state, region=analysis["region"], housing=analysis["housing"])

    decision = decide(seen.objects, words, search)

    def save(tx: Tx) -> None:
        lifecycle.advance(
            tx,
            event.subject,
            frm={"ingested"},
            to=_STATUS[decision.decision],
            round=analysis["round"],
            outcome="not_found" if decision.decision == "not_found" else None,
        )
        _insert(tx, event.subject, analysis["round"], seen, decision)

    return Done(_said(decision, analysis["round"]), save)


def _analysis(event: Event[PhotoIngested], db: Database) -> dict[str, Any]:
    with db.transaction() as tx:
        row = tx.execute(
            """SELECT a.status, a.round, a.question, a.region, a.housing, p.model_key, u.consent_at
               FROM analyses a JOIN users u ON u.id = a.user_id
               JOIN photos p ON p.analysis_id = a.id AND p.kind = 'before' WHERE a.id = %s""",
            (event.subject,),
        ).fetchone()
    if row is None or row["status"] != "ingested":
        raise Superseded(f"analysis {event.subject} has no photo to be identified")
    return row


def _said(decision: Decision, round_: int) -> Payload:
    if decision.decision == "match" and decision.item_id:
        return ItemIdentified(round=round_, item_id=decision.item_id, confidence=decision.confidence)
    if decision.question:
        return ItemAmbiguous(round=round_, options=[option["id"] for option in decision.question["options"]])
    return ItemUnmatched(round=round_, nearest=[candidate["id"] for candidate in decision.candidates])


def _insert(tx: Tx, analysis_id: str, round_: int, seen: SeenPhoto, decision: Decision) -> None:
    tx.execute(
        """INSERT INTO identifications
               (analysis_id, round, seen, candidates, decision, item_id, state, question, chosen_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'model')""",
        (
            analysis_id,
            round_,
            Jsonb(seen.model_dump()),
            Jsonb(decision.candidates),
            decision.decision,
            decision.item_id,
            Jsonb(asdict(decision.state)),
            Jsonb(decision.question) if decision.question else None,
        ),
    )
