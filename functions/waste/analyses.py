"""What a citizen may do with an analysis: ask for it, answer our question, say that we were wrong.

Each is one transaction that moves the state (or refuses) and writes the event that tells the pipeline; the routes post
that event after the commit. Two requests at once meet at the row's lock: one of them finds the state moved on.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from functions.shared import http, lifecycle, naming, outbox
from functions.shared.api import one_of
from functions.shared.budget import Spend
from functions.shared.conditions import State
from functions.shared.events import AnalysisRequested, Event, ItemAmbiguous, ItemClarified, Payload
from functions.shared.http import Problem, Text
from functions.shared.outward import Status, links
from functions.shared.postgres import Database, Tx
from functions.shared.search import Rulebook

CORRECTABLE = frozenset({"completed", "needs_answer"})

#: Units of the model (budget.py).
LOOK_AND_GUIDE, GUIDE = 2, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyze:
    """Body of POST /analyze. `key` came from /uploads; the rest helps: words, where the citizen lives, and how."""

    key: Annotated[str, Text(1, 200)]
    question: Annotated[str, Text(1, 500)] | None = None
    region: Annotated[str, Text(1, 60)] | None = None
    housing: Literal["apartment", "house"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Body of POST …/answer: the id of one of the options that were shown."""

    option: Annotated[str, Text(1, 100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Body of POST …/correction: another of the candidates, or what it is in words; exactly one of the two."""

    SCHEMA: ClassVar[dict[str, object]] = one_of("item_id", "words")
    item_id: Annotated[str, Text(1, 100)] | None = None
    words: Annotated[str, Text(1, 100)] | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of the request: the analysis now, and the event to post (None where nothing new was said)."""

    id: uuid.UUID
    status: Status
    round: int
    event: Event[Payload] | None = None


def request(db: Database, user_id: uuid.UUID, wish: Analyze, idempotency_key: str | None, spend: Spend) -> Accepted:
    """Start the analysis of an uploaded photo; the same idempotency key with the same body is the same request."""
    digest = hashlib.sha256(json.dumps(asdict(wish), sort_keys=True).encode()).hexdigest()
    try:
        with db.transaction() as tx:
            consented(tx, user_id)
            row = tx.execute(
                "SELECT * FROM analyses WHERE user_id = %s AND key = %s FOR UPDATE", (user_id, wish.key)
            ).fetchone()
            repeated = _repeated(tx, user_id, idempotency_key, digest)
            if repeated:
                return repeated
            if row is None:
                raise Problem(404, "unknown_key")
            if row["status"] != "presigned":
                code = "upload_expired" if row["requested_at"] is None else "already_requested"
                raise Problem(409, code, members={"id": str(row["id"]), "links": links(row["id"])})
            spend(tx, LOOK_AND_GUIDE)
            lifecycle.advance(tx, row["id"], frm={"presigned"}, to="requested")
            tx.execute(
                """UPDATE analyses SET question = %s, region = %s, housing = %s, idempotency_key = %s,
                          request_digest = %s, requested_at = now() WHERE id = %s""",
                (wish.question, wish.region, wish.housing, idempotency_key, digest, row["id"]),
            )
            event = deed(row, "analyze", AnalysisRequested(key=wish.key))
            outbox.append(tx, event)
            return Accepted(row["id"], "requested", row["round"], event)
    except UniqueViolation as error:  # the same idempotency key arrived with two photos in the same moment
        raise Problem(422, "idempotency_mismatch") from error


def answer(db: Database, user_id: uuid.UUID, analysis_id: uuid.UUID, wish: Answer, spend: Spend) -> Accepted:
    """Take the citizen's answer to our question; the pipeline goes on with the item it stands for."""
    with db.transaction() as tx:
        consented(tx, user_id)
        row = locked(tx, user_id, analysis_id)
        if row["status"] != "needs_answer":
            raise Problem(409, "not_waiting", members={"state": row["status"], "links": links(analysis_id)})
        said = identification(tx, analysis_id, row["round"])
        option = next((o for o in said["question"]["options"] if o["id"] == wish.option), None)
        if option is None:
            raise Problem(422, "unknown_option")
        spend(tx, GUIDE)
        lifecycle.advance(tx, analysis_id, frm={"needs_answer"}, to="identified", round=row["round"])
        state = State.of(said["state"]).merged(State.of(option["state"] or {}))
        tx.execute(
            """UPDATE identifications SET item_id = %s, state = %s, chosen_by = 'answer'
               WHERE analysis_id = %s AND round = %s""",
            (option["item_id"], Jsonb(asdict(state)), analysis_id, row["round"]),
        )
        event = deed(row, "answer", ItemClarified(round=row["round"], item_id=option["item_id"]))
        outbox.append(tx, event)
        return Accepted(analysis_id, "identified", row["round"], event)


def correct(
    db: Database, rulebook: Rulebook, user_id: uuid.UUID, analysis_id: uuid.UUID, wish: Correction, *, spend: Spend
) -> Accepted:
    """Open the next round with what the citizen says it is. Earlier rounds and their guides stay."""
    if (wish.item_id is None) == (wish.words is None):
        raise Problem(422, "correction_unclear")
    with db.transaction() as tx:
        consented(tx, user_id)  # before the search, which has the words embedded
        row = own(tx, user_id, analysis_id)
        if row["status"] not in CORRECTABLE:
            raise Problem(409, "not_correctable", members={"state": row["status"], "links": links(analysis_id)})
        before = identification(tx, analysis_id, row["round"])
        offered = _offered(tx, analysis_id)
    if wish.item_id:
        chosen = _chosen(rulebook, row, before, offered, wish.item_id)
    else:
        chosen = _searched(rulebook, row, before, wish.words or "")
    try:
        with db.transaction() as tx:
            to = "needs_answer" if chosen.item_id is None else "identified"
            if chosen.item_id:
                spend(tx, GUIDE)
            lifecycle.advance(tx, analysis_id, frm=CORRECTABLE, to=to, round=row["round"])
            return _next_round(tx, row, before, chosen, wish.words)
    except lifecycle.Superseded as error:
        raise Problem(409, "not_correctable", members={"links": links(analysis_id)}) from error


def consented(tx: Tx, user_id: uuid.UUID) -> None:
    """Problem 403 for a citizen who has not agreed that what they send goes to the model provider."""
    person = tx.execute("SELECT consent_at FROM users WHERE id = %s", (user_id,)).fetchone()
    if person is None:
        raise http.unknown_user()
    if person["consent_at"] is None:
        raise Problem(403, "consent_required")


def identification(tx: Tx, analysis_id: uuid.UUID, round_: int) -> dict[str, Any]:
    """What was seen and decided in a round."""
    row = tx.execute(
        "SELECT * FROM identifications WHERE analysis_id = %s AND round = %s", (analysis_id, round_)
    ).fetchone()
    assert row is not None, f"analysis {analysis_id} has no identification of round {round_}"
    return row


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the next round starts from: one item, or (item_id None) the question that decides."""

    decision: str
    item_id: str | None
    state: dict[str, Any]
    candidates: list[dict[str, Any]]
    question: dict[str, Any] | None = None


def _chosen(
    rulebook: Rulebook,
    row: Mapping[str, Any],
    before: Mapping[str, Any],
    offered: Mapping[str, dict[str, Any] | None],
    item_id: str,
) -> _Choice:
    if item_id not in offered:
        raise Problem(422, "unknown_candidate")
    if item_id == before["item_id"]:
        raise Problem(422, "same_item")
    state = offered[item_id] or _unsure(before["state"])
    question = _open(rulebook, row, item_id, state)
    if question is None or _ids(question) == _ids(before["question"]):  # whoever passes it over is not asked again
        return _Choice("match", item_id, state, before["candidates"])
    return _Choice("ambiguous", None, state, before["candidates"], question)


def _open(rulebook: Rulebook, row: Mapping[str, Any], item_id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an item's own table still has to ask in that state; None where its way is clear."""
    item = rulebook.item(item_id)
    if item is None:
        return None
    for name in (item.name, item.name_en):  # said exactly, it is found without a model; a name may hold another's
        found = rulebook.search(name, state=State.of(state), region=row["region"], housing=row["housing"])
        if found.question and {option.item_id for option in found.question.options} == {item_id}:
            return asdict(found.question)
        if found.decision == "match":
            break
    return None


def _ids(question: Mapping[str, Any] | None) -> list[str]:
    return [option["id"] for option in (question or {"options": []})["options"]]


def _searched(rulebook: Rulebook, row: Mapping[str, Any], before: Mapping[str, Any], words: str) -> _Choice:
    state = State.of(_unsure(before["state"]))
    found = rulebook.search(words, state=state, region=row["region"], housing=row["housing"])
    candidates = [{"id": c.id, "name": c.name, "score": c.score} for c in found.candidates]
    if found.decision == "not_found" or found.unsaid:
        nearest = [{"id": c["id"], "name": c["name"]} for c in candidates]
        raise Problem(422, "words_not_found", members={"nearest": nearest})
    settled = state.merged(found.state)
    if question := found.question or found.together:
        return _Choice("ambiguous", None, asdict(settled), candidates, asdict(question))
    if found.candidates[0].id == before["item_id"]:  # the right thing, perhaps in another state: "깨졌어요"
        seen = State.of(before["state"])
        settled = seen.merged(found.state)
        if settled == seen:
            raise Problem(422, "same_item")
    return _Choice("match", found.candidates[0].id, asdict(settled), candidates)


def _unsure(state: Mapping[str, Any]) -> dict[str, Any]:
    """What still holds when the thing turns out to be another item: not what it is made of, nor its variant."""
    return {axis: value for axis, value in state.items() if axis not in ("material", "kind")}


def _next_round(
    tx: Tx, row: Mapping[str, Any], before: Mapping[str, Any], chosen: _Choice, words: str | None
) -> Accepted:
    round_ = row["round"] + 1
    tx.execute("UPDATE analyses SET round = %s WHERE id = %s", (round_, row["id"]))
    tx.execute(
        """INSERT INTO identifications
               (analysis_id, round, seen, candidates, decision, item_id, state, question, chosen_by, words)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'correction', %s)""",
        (
            row["id"],
            round_,
            Jsonb(before["seen"]),
            Jsonb(chosen.candidates),
            chosen.decision,
            chosen.item_id,
            Jsonb(chosen.state),
            Jsonb(chosen.question) if chosen.question else None,
            words,
        ),
    )
    said: Payload
    if chosen.item_id is None:
        said = ItemAmbiguous(round=round_, options=[o["id"] for o in (chosen.question or {})["options"]])
    else:
        said = ItemClarified(round=round_, item_id=chosen.item_id)
    event = deed(row, f"{round_}:correction", said)
    outbox.append(tx, event)
    return Accepted(row["id"], "identified" if chosen.item_id else "needs_answer", round_, event)


def _repeated(tx: Tx, user_id: uuid.UUID, idempotency_key: str | None, digest: str) -> Accepted | None:
    if idempotency_key is None:
        return None
    row = tx.execute(
        "SELECT id, round, request_digest FROM analyses WHERE user_id = %s AND idempotency_key = %s",
        (user_id, idempotency_key),
    ).fetchone()
    if row is None:
        return None
    if row["request_digest"] != digest:
        raise Problem(422, "idempotency_mismatch")
    return Accepted(row["id"], "requested", 1)


def own(tx: Tx, user_id: uuid.UUID, analysis_id: uuid.UUID) -> dict[str, Any]:
    """The analysis, if it is the user's; somebody else's does not exist for them (Problem 404)."""
    row = tx.execute("SELECT * FROM analyses WHERE id = %s AND user_id = %s", (analysis_id, user_id)).fetchone()
    if row is None:
        raise Problem(404, "analysis_not_found")
    return row


def locked(tx: Tx, user_id: uuid.UUID, analysis_id: uuid.UUID) -> dict[str, Any]:
    """The same, and nobody else moves it before the transaction ends."""
    tx.execute("SELECT 1 FROM analyses WHERE id = %s AND user_id = %s FOR UPDATE", (analysis_id, user_id))
    return own(tx, user_id, analysis_id)


def _offered(tx: Tx, analysis_id: uuid.UUID) -> dict[str, dict[str, Any] | None]:
    """Every item any round of this analysis has shown; a citizen may go back to an earlier one.

    item id → the state of that very thing, where it was one of several in the photo, else None.
    """
    rows = tx.execute(
        "SELECT candidates, question FROM identifications WHERE analysis_id = %s ORDER BY round", (analysis_id,)
    ).fetchall()
    offered: dict[str, dict[str, Any] | None] = {c["id"]: None for row in rows for c in row["candidates"]}
    for option in (o for row in rows for o in (row["question"] or {"options": []})["options"]):
        offered[option["item_id"]] = offered.get(option["item_id"]) or (option["state"] if is_thing(option) else None)
    return offered


def is_thing(option: Mapping[str, Any]) -> bool:
    """Whether an option names one of several things in the photo (identify's `thing-<n>`), not a variant of one."""
    return str(option["id"]).startswith("thing-")


def deed(row: Mapping[str, Any], step: str, data: Payload) -> Event[Payload]:
    """The event of one deed: its id derives from the analysis and the deed, so that doing it twice says it once."""
    here = naming.source("waste")
    return Event(
        id=naming.child_id(here, f"{row['id']}:{row['round']}", step),
        source=here,
        subject=str(row["id"]),
        data=data,
        time=datetime.now(UTC),
        correlation_id=row["correlation_id"],
        traceparent=http.traceparent(row["correlation_id"]),
    )
