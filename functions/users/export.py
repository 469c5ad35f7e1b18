"""Everything we keep of a citizen, as one JSON document of their own, in codes and in the words that were said.

Left out is what is not about them or would only help somebody else: hashes, object keys, what lets a request be
repeated, which photo of anybody resembles theirs, and the model's answers as they came (what was made of them is here).

It is written page by page, each in a transaction of its own: a long history costs no memory, a slow reader holds no
connection, and what happens meanwhile may or may not be in it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from functions.shared import messages, naming
from functions.shared.outward import links
from functions.shared.postgres import Database, Tx
from functions.users import profile

FORMAT = "growbin-export/1"
#: Analyses that are read at once.
PAGE = 50


def document(db: Database, user_id: uuid.UUID, now: datetime) -> Iterator[str]:
    """The document in pieces. What can go wrong at the beginning (Unavailable, Problem 401) does so before the first.

    {format, made_at, photos, profile, account, days, items, reports, lessons, analyses}: `photos` says how to get the
    pictures.
    """
    with db.transaction() as tx:
        opening = {
            "format": FORMAT,
            "made_at": now,
            "photos": {locale: messages.text("export.photos", locale) for locale in messages.LOCALES},
            "profile": profile.read(tx, user_id),
            "account": _account(tx, user_id),
            "days": _days(tx, user_id),
            "items": _items(tx, user_id),
            "reports": _reports(tx, user_id),
            "lessons": _lessons(tx, user_id),
        }
    return _written(db, user_id, opening)


def _written(db: Database, user_id: uuid.UUID, opening: Mapping[str, Any]) -> Iterator[str]:
    yield _json(opening)[:-1] + ', "analyses": [\n'
    after: tuple[datetime, uuid.UUID] | None = None
    between = ""
    while True:
        with db.transaction() as tx:
            rows = _page(tx, user_id, after)
            analyses = [_json(one) for one in _analyses(tx, rows)]
        for text in analyses:
            yield between + text
            between = ",\n"
        if len(rows) < PAGE:
            break
        after = (rows[-1]["created_at"], rows[-1]["id"])
    yield "\n]}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _account(tx: Tx, user_id: uuid.UUID) -> dict[str, Any] | None:
    """When they agreed that photos go to the model provider; of an account also when it was made, and its password."""
    return tx.execute(
        """SELECT u.consent_at AS consented_at, a.created_at, a.changed_at AS password_changed_at
           FROM users u LEFT JOIN accounts a ON a.user_id = u.id WHERE u.id = %s""",
        (user_id,),
    ).fetchone()


def _days(tx: Tx, user_id: uuid.UUID) -> list[dict[str, Any]]:
    return tx.execute(
        """SELECT day, analyses, high, middle, low, score_sum, corrected FROM user_days WHERE user_id = %s
           ORDER BY day""",
        (user_id,),
    ).fetchall()


def _items(tx: Tx, user_id: uuid.UUID) -> list[dict[str, Any]]:
    return tx.execute(
        """SELECT day, item_id, destination, graded, right_ones AS right, missed FROM user_day_items WHERE user_id = %s
           ORDER BY day, item_id, destination""",
        (user_id,),
    ).fetchall()


def _reports(tx: Tx, user_id: uuid.UUID) -> list[dict[str, Any]]:
    return tx.execute(
        "SELECT week, content, made_at FROM weekly_reports WHERE user_id = %s ORDER BY week", (user_id,)
    ).fetchall()


def _lessons(tx: Tx, user_id: uuid.UUID) -> list[dict[str, Any]]:
    """Each with every answer to its quiz that is kept."""
    lessons = tx.execute(
        """SELECT l.id, l.item_id, i.name_ko, i.name_en, l.proof_id, l.wrong, l.right_since, l.missed, l.opened_at,
                  l.learned_at, l.withdrawn, l.taken
           FROM lessons l LEFT JOIN items i ON i.id = l.item_id WHERE l.user_id = %s ORDER BY l.opened_at, l.id""",
        (user_id,),
    ).fetchall()
    answers = tx.execute(
        """SELECT lesson_id, answers, right_ones AS right, created_at FROM quiz_answers WHERE user_id = %s
           ORDER BY created_at, id""",
        (user_id,),
    ).fetchall()
    given = _by(answers, "lesson_id")
    return [{**lesson, "quiz": given.get(lesson["id"], [])} for lesson in lessons]


def _page(tx: Tx, user_id: uuid.UUID, after: tuple[datetime, uuid.UUID] | None) -> list[dict[str, Any]]:
    """The next analyses, oldest first, also those that were never asked for."""
    at, id_ = after or (None, None)
    return tx.execute(
        """SELECT id, status, outcome, round, question, region, housing, content_type, failure ->> 'reason' AS failure,
                  created_at, requested_at, updated_at, finished_at
           FROM analyses
           WHERE user_id = %s AND (%s::timestamptz IS NULL OR (created_at, id) > (%s::timestamptz, %s::uuid))
           ORDER BY created_at, id LIMIT %s""",
        (user_id, at, at, id_, PAGE),
    ).fetchall()


def _analyses(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """All that hangs on these analyses, each kind of it fetched once."""
    ids = [row["id"] for row in rows]
    parts = {name: _by(tx.execute(query, (ids,)).fetchall(), "analysis_id") for name, query in _PARTS.items()}
    for row in rows:
        mine = {name: of.get(row["id"], []) for name, of in parts.items()}
        for event in mine["stages"]:
            event["stage"] = naming.stage(event["stage"])
        yield {**row, **mine, "photos_at": links(row["id"])["photos"]}


def _by(rows: Iterable[dict[str, Any]], name: str) -> dict[Any, list[dict[str, Any]]]:
    """Grouped by that column, which goes."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row.pop(name), []).append(row)
    return groups


#: What hangs on analyses: name in the document → query with the ids of the analyses.
_PARTS = {
    "stages": """SELECT analysis_id, n, type AS stage, created_at AS at FROM analysis_events
        WHERE analysis_id = ANY(%s) ORDER BY analysis_id, n""",
    "photos": """SELECT analysis_id, kind, proof_id, width, height, bytes, created_at, deleted_at FROM photos
        WHERE analysis_id = ANY(%s) ORDER BY created_at, id""",
    "identifications": """SELECT n.analysis_id, n.round, n.item_id, i.name_ko, i.name_en, n.decision, n.chosen_by,
            n.words, n.state, n.seen, n.candidates, n.question, n.created_at
        FROM identifications n LEFT JOIN items i ON i.id = n.item_id
        WHERE n.analysis_id = ANY(%s) ORDER BY n.analysis_id, n.round""",
    "rules": """SELECT analysis_id, round, item_id, index_version, created_at,
            (SELECT jsonb_agg(jsonb_build_object('id', p -> 'id', 'text', p -> 'text'))
             FROM jsonb_array_elements(passages) p) AS passages
        FROM retrievals WHERE analysis_id = ANY(%s) ORDER BY analysis_id, round""",
    "guides": """SELECT analysis_id, id, round, item_id, content, made_by ->> 'model' AS model,
            made_by -> 'standin' AS standin, created_at
        FROM guides WHERE analysis_id = ANY(%s) ORDER BY analysis_id, round""",
    "proofs": """SELECT p.analysis_id, p.id, p.attempt, p.round, p.status, p.content_type, p.checklist, p.grade,
            p.score, (SELECT jsonb_agg(v - 'weight') FROM jsonb_array_elements(p.verdicts) v) AS steps, p.feedback,
            made_by ->> 'model' AS model, made_by -> 'standin' AS standin, p.reason,
            CASE WHEN p.reason = 'bad_photo' THEN p.detail END AS detail,
            p.created_at, p.requested_at, p.finished_at, d.reason AS disputed, d.created_at AS disputed_at
        FROM proofs p LEFT JOIN disputes d ON d.proof_id = p.id
        WHERE p.analysis_id = ANY(%s) ORDER BY p.analysis_id, p.attempt""",
    "questions": """SELECT analysis_id, id, n, round, text, status, answer, made_by ->> 'model' AS model,
            made_by -> 'standin' AS standin, created_at, answered_at
        FROM questions WHERE analysis_id = ANY(%s) ORDER BY analysis_id, n""",
    "sent_to_model": """SELECT analysis_id, round, purpose, model, created_at AS at FROM model_calls
        WHERE analysis_id = ANY(%s) ORDER BY id""",
}
