"""How an analysis, an item and a rule look from outside (JSON). Read only; texts in the reader's language."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from functions.shared import http, messages, naming
from functions.shared.destinations import DESTINATIONS
from functions.shared.events import AnalysisExpired, ItemIdentified
from functions.shared.postgres import Tx
from functions.shared.rules import Passage
from functions.shared.search import Entry, Found, Part, Question
from functions.waste import analyses
from functions.waste.analyses import links


def analysis(tx: Tx, row: Mapping[str, Any], round_: int, locale: str) -> dict[str, Any]:
    """Everything there is to know of an analysis, with the item and the guide of one round."""
    found = tx.execute("SELECT * FROM analysis_events WHERE analysis_id = %s ORDER BY n", (row["id"],)).fetchall()
    said = tx.execute(
        "SELECT * FROM identifications WHERE analysis_id = %s AND round = %s", (row["id"], round_)
    ).fetchone()
    guides = tx.execute(
        """SELECT g.*, i.name_ko, i.name_en FROM guides g LEFT JOIN items i ON i.id = g.item_id
           WHERE g.analysis_id = %s ORDER BY g.round""",
        (row["id"],),
    ).fetchall()
    current = next((g for g in guides if g["round"] == round_), None)
    asking = row["status"] == "needs_answer" and round_ == row["round"] and said
    return {
        "id": str(row["id"]),
        "status": row["status"],
        "outcome": row["outcome"],
        "round": round_,
        "created_at": row["created_at"].isoformat(),
        "updated_at": row["updated_at"].isoformat(),
        "question": row["question"],
        "region": row["region"],
        "housing": row["housing"],
        "stages": [_stage(event) for event in found],
        "item": _item(tx, said, found, locale) if said else None,
        "clarify": _question(said["question"], locale) if asking and said else None,
        "guide": _guide(tx, row, current, locale) if current else None,
        "guides": [
            {
                "id": str(g["id"]),
                "round": g["round"],
                "item_id": g["item_id"],
                "item_name": g[f"name_{locale}"] or g["item_id"],
                "created_at": g["created_at"].isoformat(),
            }
            for g in guides
        ],
        "failure": _failure(row, found, locale),
        "links": links(row["id"]),
    }


def history(
    tx: Tx, user_id: uuid.UUID, limit: int, cursor: str | None, locale: str
) -> tuple[list[dict[str, Any]], str | None]:
    """One page of the analyses a citizen asked for, newest first, and the cursor of the next page (None at the end)."""
    before = _position(cursor) if cursor else (None, None)
    rows = tx.execute(
        """SELECT a.id, a.status, a.outcome, a.round, a.question, a.created_at, a.updated_at, n.item_id, i.name_ko,
                  i.name_en, g.content->>'destination' AS destination
           FROM analyses a
           LEFT JOIN identifications n ON n.analysis_id = a.id AND n.round = a.round
           LEFT JOIN items i ON i.id = n.item_id
           LEFT JOIN guides g ON g.analysis_id = a.id AND g.round = a.round
           WHERE a.user_id = %s AND a.requested_at IS NOT NULL
             AND (%s::timestamptz IS NULL OR (a.created_at, a.id) < (%s::timestamptz, %s::uuid))
           ORDER BY a.created_at DESC, a.id DESC LIMIT %s""",
        (user_id, before[0], before[0], before[1], limit + 1),
    ).fetchall()
    entries = [
        {
            "id": str(row["id"]),
            "status": row["status"],
            "outcome": row["outcome"],
            "round": row["round"],
            "question": row["question"],
            "item": {"id": row["item_id"], "name": row[f"name_{locale}"] or row["item_id"]} if row["item_id"] else None,
            "destination": place(row["destination"], None, locale),
            "created_at": row["created_at"].isoformat(),
            "updated_at": row["updated_at"].isoformat(),
            "links": links(row["id"]),
        }
        for row in rows[:limit]
    ]
    last = rows[limit - 1] if len(rows) > limit else None
    return entries, _cursor(last["created_at"], last["id"]) if last else None


def passage(rule: Passage, locale: str) -> dict[str, Any]:
    """A rule as a citation opens it."""
    return {**_dated(asdict(rule)), **_named(rule.basis, rule.destination, locale)}


def search(found: Found, locale: str) -> dict[str, Any]:
    """What a search found: a decision, the candidates, and the question that would decide, where one is needed."""
    return {
        "decision": found.decision,
        "state": asdict(found.state),
        "candidates": [
            {
                "id": c.id,
                "name": c.name,
                "score": c.score,
                "destinations": [place(code, None, locale) for code in c.destinations],
            }
            for c in found.candidates
        ],
        "question": question(found.question, locale),
        "parts": parts(found.parts, locale),
        "ms": found.ms,
    }


def question(asked: Question | None, locale: str) -> dict[str, Any] | None:
    """What has to be asked, and the answers there are."""
    return _question(asdict(asked), locale) if asked else None


def entry(item: Entry, locale: str) -> dict[str, Any]:
    """A line of the guide for all items."""
    names = (item.name_en, item.name) if locale == "en" else (item.name, item.name_en)
    places = [(DESTINATIONS[code].en if locale == "en" else DESTINATIONS[code].ko) for code in item.destinations]
    return {"id": item.id, "name": names[0], "aliases": [names[1], *item.aliases], "destinations": places}


def parts(of: Iterable[Part], locale: str) -> list[dict[str, Any]]:
    """What comes off and goes elsewhere: [{name, destination}]."""
    return [{"name": part.name, "destination": place(part.destination, None, locale)} for part in of]


def place(code: str | None, housing: str | None, locale: str) -> dict[str, str] | None:
    """Where something goes: {code, name, where}; None for no code."""
    known = DESTINATIONS.get(code or "")
    if known is None:
        return None
    return {"code": known.code, "name": known.en if locale == "en" else known.ko, "where": known.where(housing)}


def _stage(event: Mapping[str, Any]) -> dict[str, Any]:
    stage = {"n": event["n"], "stage": naming.stage(event["type"]), "at": event["created_at"].isoformat()}
    return {**stage, "round": event["data"]["round"]} if "round" in event["data"] else stage


def _item(tx: Tx, said: Mapping[str, Any], events: Iterable[Mapping[str, Any]], locale: str) -> dict[str, Any]:
    known = tx.execute("SELECT name_ko, name_en FROM items WHERE id = %s", (said["item_id"],)).fetchone()
    sure = [
        e["data"]["confidence"]
        for e in events
        if e["type"] == ItemIdentified.TYPE and e["data"]["round"] == said["round"]
    ]
    return {
        "id": said["item_id"],
        "name": known[f"name_{locale}"] if known else said["item_id"],
        "confidence": sure[0] if sure and said["chosen_by"] == "model" else None,
        "decision": said["decision"],
        "chosen_by": said["chosen_by"],
        "state": said["state"],
        "seen": said["seen"],
        "candidates": said["candidates"],
        "others": _others(tx, said, locale),
    }


def _others(tx: Tx, said: Mapping[str, Any], locale: str) -> list[dict[str, str]]:
    """What else was in the photo, where `identify` asked which thing is meant: it stays one tap away."""
    first = tx.execute(
        "SELECT question FROM identifications WHERE analysis_id = %s AND round = 1", (said["analysis_id"],)
    ).fetchone()
    options = ((first or {}).get("question") or {"options": []})["options"]
    shown = {
        o["item_id"]: o["label"][locale] for o in options if analyses.is_thing(o) and o["item_id"] != said["item_id"]
    }
    return [{"id": id_, "name": name} for id_, name in shown.items()] if said["item_id"] else []


def _question(asked: Mapping[str, Any], locale: str) -> dict[str, Any]:
    options = [
        {"id": o["id"], "label": o["label"][locale], "item_id": o["item_id"], "state": o["state"]}
        for o in asked["options"]
    ]
    return {"question": asked["text"][locale], "options": options}


def _guide(tx: Tx, row: Mapping[str, Any], guide: Mapping[str, Any], locale: str) -> dict[str, Any]:
    kept = tx.execute(
        "SELECT passages FROM retrievals WHERE analysis_id = %s AND round = %s", (row["id"], guide["round"])
    ).fetchone()
    cost = tx.execute(
        """SELECT coalesce(sum(tokens_in), 0)::int AS tokens_in, coalesce(sum(tokens_out), 0)::int AS tokens_out,
                  CASE WHEN bool_and(cost_usd IS NOT NULL) THEN sum(cost_usd)::float END AS cost_usd,
                  coalesce(sum(ms), 0)::int AS ms
           FROM model_calls WHERE analysis_id = %s AND round = %s""",
        (row["id"], guide["round"]),
    ).fetchone()
    content = guide["content"]
    steps = [{**step, "phase_name": messages.text(f"phase.{step['phase']}", locale)} for step in content["steps"]]
    return {
        "id": str(guide["id"]),
        "round": guide["round"],
        **content,
        "destination": place(content["destination"], row["housing"], locale),
        "steps": steps,
        "rules": [{**rule, **_named(rule["basis"], None, locale)} for rule in (kept or {"passages": []})["passages"]],
        "made_by": {**guide["made_by"], **(cost or {})},
    }


def _failure(row: Mapping[str, Any], events: Iterable[Mapping[str, Any]], locale: str) -> dict[str, Any] | None:
    if row["status"] == "failed":
        code, detail = row["failure"]["reason"], row["failure"]["detail"]
        general = messages.text_or(f"failure.{code}", code, locale)
        return {"code": code, "message": messages.text_or(f"failure.{code}.{detail}", general, locale)}
    if row["status"] == "expired":
        code = next((e["data"]["reason"] for e in events if e["type"] == AnalysisExpired.TYPE), "no_photo")
        return {"code": code, "message": messages.text_or(f"failure.{code}", code, locale)}
    return None


def _named(basis: str, destination: str | None, locale: str) -> dict[str, Any]:
    names: dict[str, Any] = {"basis_name": messages.text_or(f"basis.{basis}", basis, locale)}
    return {**names, "destination": place(destination, None, locale)} if destination else names


def _dated(value: dict[str, Any]) -> dict[str, Any]:
    return {name: v.isoformat() if isinstance(v, date) else v for name, v in value.items()}


def _cursor(created_at: datetime, analysis_id: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(json.dumps([created_at.isoformat(), str(analysis_id)]).encode()).decode()


def _position(cursor: str) -> tuple[datetime, uuid.UUID]:
    try:
        created_at, analysis_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return datetime.fromisoformat(created_at), uuid.UUID(analysis_id)
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise http.Problem(422, "bad_cursor") from error
