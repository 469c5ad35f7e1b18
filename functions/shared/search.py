"""The one search over the rules: what is meant, where it goes, or the one question that decides.

A name said exactly needs no model; a typo is found by its sound, other words by their meaning. What is found must
account for the whole sentence (`phrases.py`), so that a sentence about something else finds nothing instead of a
guess. PostgreSQL does its part in one round trip, and in a second one only where an embedding had to be made anyway.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from functions.shared import conditions, telemetry
from functions.shared.conditions import State
from functions.shared.embeddings import EmbeddingFailed, Embeds, literal
from functions.shared.findings import Candidate, Finding, Found, Option, Part, Question, facts, outcome, parts
from functions.shared.hangul import normal
from functions.shared.matching import Match, rank
from functions.shared.phrases import Reading
from functions.shared.postgres import Database, Tx, Unavailable
from functions.shared.regions import KOREA, exception_for
from functions.shared.rules import MOST, Passage, holding, leaf_key, ordered

__all__ = ["Candidate", "Found", "Item", "Option", "Part", "Question", "Rulebook", "Selection"]

log = telemetry.logger("search")

#: A name that accounts for this much of the question needs no embedding.
_PLAIN = 0.9
#: After a failure the embeddings are left alone for so many seconds: a photo of several things must not cost the
#: timeout of each.
REST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the dictionary. `official` maps official classes to page numbers."""

    id: str
    name: str
    name_en: str
    official: dict[str, list[int]]
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules as chosen. `cut`: more held than fit; `ranked`: those nearest to the question stayed (else the first)."""

    passages: list[Passage]
    cut: bool
    ranked: bool


class Rulebook:
    """Everything the functions ask of the rules. `embedder` None (or failing) means: names only, no meaning."""

    def __init__(self, database: Database, embedder: Embeds | None) -> None:
        self._database, self._embedder = database, embedder
        self._resting_until = 0.0

    def search(
        self,
        text: str,
        *,
        state: State | None = None,
        region: str | None = None,
        housing: str | None = None,
        limit: int = 5,
        on: date | None = None,
    ) -> Found:
        """What `text` means. What it says of the state outweighs the given `state`. Raises Unavailable."""
        started = time.perf_counter()
        reading = Reading(text)
        finding = Finding(
            reading=reading,
            state=(state or State()).merged(conditions.read(text)),
            region=region,
            housing=housing,
            on=on or _today(),
            limit=limit,
        )
        with self._database.transaction() as tx:
            index, rows = _by_name(tx, reading)
        finding.add(rows)
        matches = rank(reading, rows, {})
        if self._embedder and not (matches and matches[0].named >= _PLAIN) and reading.letters:
            matches = self._by_meaning(finding, index, rows) or matches
        found = finding.decide(matches)
        return replace(found, ms=round((time.perf_counter() - started) * 1000, 1))

    def item(self, item_id: str) -> Item | None:
        """One item, or None where the index has none of that id."""
        with self._database.transaction() as tx:
            row = _item(tx, item_id)
        if row is None:
            return None
        return Item(row["id"], row["name_ko"], row["name_en"], row["doc"]["official"], parts(row["doc"]))

    def rules(
        self,
        item_id: str,
        state: State | None = None,
        *,
        region: str | None = None,
        housing: str | None = None,
        on: date | None = None,
        limit: int = MOST,
        question: str | None = None,
    ) -> list[Passage]:
        """The rules for an item in a state, in the order of a guide; empty for an unknown item.

        While the state leaves several outcomes open, all of them are among the rules. Where more rules hold than
        `limit`, those nearest to the `question` stay.
        """
        return self.select(
            item_id, state, region=region, housing=housing, on=on, limit=limit, question=question
        ).passages

    def select(
        self,
        item_id: str,
        state: State | None = None,
        *,
        region: str | None = None,
        housing: str | None = None,
        on: date | None = None,
        limit: int = MOST,
        question: str | None = None,
    ) -> Selection:
        """As `rules`, and how they were chosen. An embedding is asked for only where more rules hold than fit."""
        on = on or _today()
        with self._database.transaction() as tx:
            row = _item(tx, item_id)
            if row is None:
                return Selection([], cut=False, ranked=False)
            model = _index(tx)["model"]
            known = facts(state or State(), housing)
            exception = exception_for(row["doc"], region, on)
            found = outcome(row["doc"], known, region, on)
            leaves = {leaf_key(leaf["to"]) for leaf in found.leaves}
            owners = [item_id, found.leaves[0]["family"], *([exception["id"]] if exception else [])]
            rows = tx.execute("SELECT * FROM rules WHERE owner = ANY(%s)", (owners,)).fetchall()
        rules = [
            rule
            for rule in holding(rows, known, on)
            if rule["id"] not in row["doc"]["without"]
            and (rule["leaf"] is None or (rule["leaf"] in leaves and not exception))
        ]
        cut = len(rules) > limit
        vector = self._vector(question, model) if cut and question else None
        if vector:
            rules = self._measured(rules, vector)
        fit = ordered(rules, {item_id, *owners[2:]}, limit)
        chosen = [Passage.of(rule, decided=len(leaves) == 1) for rule in fit]
        return Selection(chosen, cut=cut, ranked=vector is not None)

    def rule(self, rule_id: str) -> Passage | None:
        """One rule as it reads today, or None."""
        with self._database.transaction() as tx:
            row = tx.execute("SELECT * FROM rules WHERE id = %s", (rule_id,)).fetchone()
        return Passage.of(row) if row else None

    def index_version(self) -> str:
        """Changes whenever an item, a rule, the model or its dimension does. Raises Unavailable before the first
        build.
        """
        with self._database.transaction() as tx:
            return str(_index(tx)["version"])

    def _by_meaning(self, finding: Finding, index: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[Match]:
        vector = self._vector(finding.reading.text, index["model"])
        if vector is None:
            return []
        with self._database.transaction() as tx:
            nearest = tx.execute(_NEAREST, {"vector": vector}).fetchall()
        finding.add(nearest)
        low, high = index["near_low"], index["near_high"]
        letters = finding.reading.letters
        near = {
            row["id"]: min(max((row["near"] - low) / (high - low), 0.0), 1.0)
            for row in nearest
            if not normal(row["name"]).startswith(letters)  # "강아지" is not a "강아지 패드"
        }
        return rank(finding.reading, rows, near)

    def _vector(self, text: str, model: str) -> str | None:
        """The question's embedding, or None where there is no way to make one that compares with the index.

        Never called within a transaction: an HTTP call must not hold a connection of the pool.
        """
        if self._embedder is None or self._embedder.model != model or time.monotonic() < self._resting_until:
            return None
        try:
            return literal(self._embedder.query([text])[0])
        except EmbeddingFailed as error:
            self._resting_until = time.monotonic() + REST_SECONDS
            log.warning("searching by name only", error=str(error))
            return None

    def _measured(self, rules: Sequence[Mapping[str, Any]], vector: str) -> list[Mapping[str, Any]]:
        """The rules with their distance from the vector as `far`, which `ordered` goes by."""
        with self._database.transaction() as tx:
            far = tx.execute(
                "SELECT id, embedding <=> %s::vector AS far FROM rules WHERE id = ANY(%s)",
                (vector, [rule["id"] for rule in rules]),
            ).fetchall()
        distances = {row["id"]: row["far"] for row in far}
        return [{**rule, "far": distances.get(rule["id"])} for rule in rules]


def _today() -> date:
    return datetime.now(KOREA).date()


def _index(tx: Tx) -> dict[str, Any]:
    row = tx.execute("SELECT * FROM rule_index").fetchone()
    if row is None:
        raise Unavailable("the rules index has not been built yet (python -m functions.setup index)")
    return row


def _item(tx: Tx, item_id: str) -> dict[str, Any] | None:
    return tx.execute("SELECT * FROM items WHERE id = %s AND kind = 'item'", (item_id,)).fetchone()


def _by_name(tx: Tx, reading: Reading) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The index's own row, and every item one of whose names was said, exactly or nearly; one round trip."""
    rows = tx.execute(
        _NAMED,
        {
            "spans": list({span.key for span in reading.spans}),
            "whole": [span.key for span in reading.windows if reading.explained(span) == 1],
            "windows": [span.key for span in reading.windows],
        },
    ).fetchall()
    if not rows:
        raise Unavailable("the rules index has not been built yet (python -m functions.setup index)")
    return rows[0], [row for row in rows if row["id"]]


_NAMED = """
WITH said AS (
    SELECT item_id, key, name, NULL::text AS phrase FROM item_names WHERE key = ANY(%(spans)s)
), alike AS (
    SELECT near.item_id, near.key, near.name, w.phrase
    FROM unnest(%(windows)s::text[]) AS w(phrase)
    CROSS JOIN LATERAL (
        SELECT n.* FROM item_names n WHERE n.key %% w.phrase ORDER BY similarity(n.key, w.phrase) DESC, n.key LIMIT 6
    ) near
    WHERE NOT EXISTS (SELECT 1 FROM said WHERE key = ANY(%(whole)s))
), hits AS (
    SELECT item_id, jsonb_agg(jsonb_build_array(key, name, phrase)) AS hits
    FROM (SELECT * FROM said UNION ALL SELECT * FROM alike) AS both_kinds GROUP BY item_id
), wanted AS (
    SELECT item_id, hits FROM hits
    UNION ALL
    SELECT o.id, NULL FROM hits JOIN items c ON c.id = hits.item_id AND c.kind = 'choice'
    CROSS JOIN LATERAL jsonb_array_elements_text(c.doc -> 'options') AS o(id)
)
SELECT x.model, x.version, x.near_low, x.near_high, i.id, i.kind, i.name_ko, i.name_en, i.doc, w.hits
FROM rule_index x
LEFT JOIN (SELECT item_id, (array_agg(hits) FILTER (WHERE hits IS NOT NULL))[1] AS hits FROM wanted GROUP BY item_id)
w ON true LEFT JOIN items i ON i.id = w.item_id
"""

_NEAREST = """
WITH nearest AS (
    SELECT item_id, name, embedding FROM item_names WHERE embedding IS NOT NULL
    ORDER BY embedding <=> %(vector)s::vector LIMIT 40
)
SELECT i.id, i.kind, i.name_ko, i.name_en, i.doc, best.name, best.near
FROM (
    SELECT DISTINCT ON (item_id) item_id, name, near
    FROM (
        SELECT n.item_id, n.name, 1 - ((n.embedding - x.centre) <=> (%(vector)s::vector - x.centre)) AS near
        FROM nearest n CROSS JOIN rule_index x
    ) AS measured ORDER BY item_id, near DESC
) AS best JOIN items i ON i.id = best.item_id
"""
