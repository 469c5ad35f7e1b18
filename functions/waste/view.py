"""How an analysis, an item and a rule look from outside (JSON). Read only; texts in the reader's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from functions.shared import messages, naming, proofs
from functions.shared.destinations import DESTINATIONS
from functions.shared.events import AnalysisExpired, ItemIdentified
from functions.shared.postgres import Tx
from functions.shared.rules import Passage
from functions.shared.search import Entry, Found, Part, Question
from functions.waste import analyses, shown
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
        "verifiable": proofs.obstacle(tx, row) is None and not proofs.open_one(tx, row["id"]),
        "proofs": shown.proofs(tx, row["id"], locale),
        "questions": shown.questions(tx, row["id"]),
        "failure": _failure(row, found, locale),
        "links": links(row["id"]),
    }


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
           FROM model_calls
           WHERE analysis_id = %s AND round = %s AND split_part(purpose, '_', 1) IN ('see', 'guide')""",
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
