"""Three simpler ways to search, asked the same questions: what the fused search has to be better than.

Each only ranks the items; states are read and decision tables walked as the real search does. Each may refuse below a
score of its own, the one that gives it the most right answers on the tuning half.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from evaluation import right

from functions.shared import conditions
from functions.shared.embeddings import Embeds, literal
from functions.shared.findings import Candidate, Found, Question, facts, outcome
from functions.shared.hangul import sound
from functions.shared.postgres import Database
from functions.shared.regions import KOREA

#: (item id, kind, document, name, score), best first.
Ranking = list[tuple[str, str, Mapping[str, Any], str, float]]

_EXACT = "SELECT item_id, 1.0 AS score FROM item_names WHERE key = %(key)s"
_TRIGRAM = """
SELECT item_id, max(similarity(key, %(key)s)) AS score FROM item_names WHERE is_name AND key %% %(key)s GROUP BY item_id
ORDER BY score DESC, item_id LIMIT 5
"""
_MEANING = """
SELECT item_id, max(near) AS score FROM (
    SELECT item_id, 1 - (embedding <=> %(vector)s::vector) AS near FROM item_names WHERE embedding IS NOT NULL
    ORDER BY embedding <=> %(vector)s::vector LIMIT 20
) AS nearest GROUP BY item_id ORDER BY score DESC, item_id LIMIT 5
"""


@dataclass(frozen=True)
class Peer:
    """One way of ranking, and the score below which it says that it does not know."""

    name: str
    rank: Callable[[str], Ranking]
    floor: float = 0.0

    def ask(self, row: Mapping[str, str]) -> Found:
        started = time.perf_counter()
        ranking = [hit for hit in self.rank(row["question"]) if hit[4] >= self.floor]
        if ranking and ranking[0][1] == "outside":
            ranking = []
        ranking = [hit for hit in ranking if hit[1] != "outside"]
        state = conditions.read(row["question"])
        known, today = facts(state, row["housing"] or None), datetime.now(KOREA).date()
        candidates, asking = [], False
        for place, (item_id, kind, doc, name, score) in enumerate(ranking):
            found = outcome(doc, known, row["region"] or None, today) if kind in ("item", "part") else None
            asking |= place == 0 and (found is None or found.asking is not None)
            candidates.append(Candidate(item_id, name, score, found.destinations if found else []))
        decision = ("ambiguous" if asking else "match") if candidates else "not_found"
        question = Question({}, []) if asking else None
        return Found(decision, candidates, question, [], state, (time.perf_counter() - started) * 1000)


def peers(database: Database, embedder: Embeds, tuning: Sequence[Mapping[str, str]]) -> list[Peer]:
    """Exact names, pg_trgm alone, embeddings alone; the last two with the floor that serves them best."""

    def by(query: str, params: Callable[[str], dict[str, Any]]) -> Callable[[str], Ranking]:
        joined = (
            f"SELECT i.id, i.kind, i.doc, i.name_ko, r.score FROM ({query}) AS r JOIN items i ON i.id = r.item_id "  # noqa: S608
            "ORDER BY r.score DESC, i.id"
        )

        def rank(text: str) -> Ranking:
            return [
                (row["id"], row["kind"], row["doc"], row["name_ko"], row["score"])
                for row in database.read(joined, params(text))
            ]

        return rank

    exact = Peer("exact names alone", by(_EXACT, lambda text: {"key": sound(text)}))
    trigram = Peer("pg_trgm alone", by(_TRIGRAM, lambda text: {"key": sound(text)}))
    meaning = Peer("embeddings alone", by(_MEANING, lambda text: {"vector": literal(embedder.query([text])[0])}))
    return [exact, _tuned(trigram, tuning), _tuned(meaning, tuning)]


def _tuned(peer: Peer, rows: Sequence[Mapping[str, str]]) -> Peer:
    answers = [(row, peer.ask(row)) for row in rows]

    def count(floor: float) -> int:
        refused = Found("not_found", [], None, [], conditions.State(), 0.0)
        return sum(
            right(row, found if found.candidates and found.candidates[0].score >= floor else refused)
            for row, found in answers
        )

    scores = sorted({found.candidates[0].score for _, found in answers if found.candidates})
    return replace(peer, floor=max([0.0, *scores], key=count))
