"""How an analysis, an item and a rule look from outside (JSON). Read only; texts in the reader's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, cast

from functions.shared import messages, naming, proofs
from functions.shared.events import AnalysisExpired, ItemIdentified
from functions.shared.outward import Named, links, place, places
from functions.shared.postgres import Tx
from functions.shared.rules import PHASES, Passage
from functions.shared.search import Entry, Found, Otherwise, Part, Question
from functions.waste import analyses, shown
from functions.waste import answers as a


def analysis(tx: Tx, row: Mapping[str, Any], round_: int, locale: str) -> a.Analysis:
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


def passage(rule: Passage, locale: str) -> a.Rule:
    """A rule as a citation opens it."""
    return {
        "id": rule.id,
        "phase": cast(a.Phase, rule.phase),
        "text": rule.text,
        "destination": place(rule.destination, None, locale),
        "basis": cast(a.Basis, rule.basis),
        "basis_name": _basis(rule.basis, locale),
        "source": {"title": rule.source.title, "url": rule.source.url},
        "effective_from": rule.effective_from.isoformat(),
        "checked": rule.checked.isoformat(),
        "disagreement": rule.disagreement,
    }


def search(asked: str, found: Found, locale: str) -> a.Findings:
    """What a search found: a decision, the candidates, and the question that would decide, where one is needed."""
    return {
        "query": asked,
        "decision": cast(a.Decision, found.decision),
        "state": cast(a.State, asdict(found.state)),
        "candidates": [
            {
                "id": c.id,
                "name": c.name,
                "score": c.score,
                "destinations": places(c.destinations, None, locale),
            }
            for c in found.candidates
        ],
        "question": question(found.question, locale),
        "together": question(found.together, locale),
        "parts": parts(found.parts, locale),
        "ms": found.ms,
    }


def question(asked: Question | None, locale: str) -> a.Question | None:
    """What has to be asked, and the answers there are."""
    return _question(asdict(asked), locale) if asked else None


def otherwise(of: Iterable[Otherwise], housing: str | None, locale: str) -> list[a.Otherwise]:
    """What would send the thing elsewhere: [{label, state, destinations}]."""
    return [
        {
            "label": other.label[locale],
            "state": cast(a.State, other.state),
            "destinations": places(other.destinations, housing, locale),
        }
        for other in of
    ]


def entry(item: Entry, locale: str) -> a.Line:
    """A line of the guide for all items."""
    names = (item.name_en, item.name) if locale == "en" else (item.name, item.name_en)
    where = [place["name"] for place in places(item.destinations, None, locale)]
    return {"id": item.id, "name": names[0], "aliases": [names[1], *item.aliases], "destinations": where}


def parts(of: Iterable[Part], locale: str) -> list[a.Part]:
    """What comes off and goes elsewhere: [{name, destination}]."""
    return [{"name": part.name, "destination": place(part.destination, None, locale)} for part in of]


def _stage(event: Mapping[str, Any]) -> a.Stage:
    stage: a.Stage = {"n": event["n"], "stage": naming.stage(event["type"]), "at": event["created_at"].isoformat()}
    return {**stage, "round": event["data"]["round"]} if "round" in event["data"] else stage


def _item(tx: Tx, said: Mapping[str, Any], events: Iterable[Mapping[str, Any]], locale: str) -> a.Item:
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


def _others(tx: Tx, said: Mapping[str, Any], locale: str) -> list[Named]:
    """What else was in the photo, where `identify` asked which thing is meant: it stays one tap away."""
    first = tx.execute(
        "SELECT question FROM identifications WHERE analysis_id = %s AND round = 1", (said["analysis_id"],)
    ).fetchone()
    options = ((first or {}).get("question") or {"options": []})["options"]
    shown = {
        o["item_id"]: o["label"][locale] for o in options if analyses.is_thing(o) and o["item_id"] != said["item_id"]
    }
    return [{"id": id_, "name": name} for id_, name in shown.items()] if said["item_id"] else []


def _question(asked: Mapping[str, Any], locale: str) -> a.Question:
    options: list[a.Option] = [
        {"id": o["id"], "label": o["label"][locale], "item_id": o["item_id"], "state": o["state"]}
        for o in asked["options"]
    ]
    return {"question": asked["text"][locale], "options": options}


def _guide(tx: Tx, row: Mapping[str, Any], guide: Mapping[str, Any], locale: str) -> a.Guide:
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
    nothing = {messages.text(f"guide.nothing.{phase}") for phase in PHASES[:4]}
    steps = [
        {**step, "phase_name": messages.text(f"phase.{step['phase']}", locale), "to_do": step["text"] not in nothing}
        for step in content["steps"]
    ]
    passages = (kept or {"passages": []})["passages"]
    rules = [{**rule, "basis_name": _basis(rule["basis"], locale)} for rule in passages]
    return {
        "id": str(guide["id"]),
        "round": guide["round"],
        "summary": content["summary"],
        "destination": place(content["destination"], row["housing"], locale),
        "steps": cast(list[a.Step], steps),
        "cautions": content["cautions"],
        "answer": content["answer"],
        "rules": cast(list[a.Cited], rules),
        "made_by": cast(a.GuideMaker, {**guide["made_by"], **(cost or {})}),
    }


def _failure(row: Mapping[str, Any], events: Iterable[Mapping[str, Any]], locale: str) -> a.Reason | None:
    if row["status"] == "failed":
        code, detail = row["failure"]["reason"], row["failure"]["detail"]
        general = messages.text_or(f"failure.{code}", code, locale)
        return {"code": code, "message": messages.text_or(f"failure.{code}.{detail}", general, locale)}
    if row["status"] == "expired":
        code = next((e["data"]["reason"] for e in events if e["type"] == AnalysisExpired.TYPE), "no_photo")
        return {"code": code, "message": messages.text_or(f"failure.{code}", code, locale)}
    return None


def _basis(basis: str, locale: str) -> str:
    return messages.text_or(f"basis.{basis}", basis, locale)
