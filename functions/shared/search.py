"""The one search over the rules: what is meant, where it goes, or the one question that decides.

A name said exactly needs no model; a typo is found by its sound, other words by their meaning. What is found must
account for the whole sentence (`phrases.py`), so that a sentence about something else finds nothing instead of a
guess. PostgreSQL does its part in one round trip.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from functions.shared import conditions, telemetry, wording
from functions.shared.conditions import State
from functions.shared.decisions import outcomes
from functions.shared.embeddings import EmbeddingFailed, Embeds, literal
from functions.shared.findings import (
    Candidate,
    Finding,
    Found,
    Option,
    Otherwise,
    Part,
    Question,
    facts,
    open_question,
    otherwise,
    outcome,
    parts,
)
from functions.shared.matching import rank
from functions.shared.parts import PART, Parts
from functions.shared.phrases import Reading
from functions.shared.postgres import Database, Tx, Unavailable
from functions.shared.regions import KOREA, exception_for
from functions.shared.rules import MOST, Passage, aside, holding, leaf_key, modest, ordered

__all__ = ["Candidate", "Entry", "Found", "Item", "Option", "Otherwise", "Part", "Question", "Rulebook", "Selection"]

log = telemetry.logger("search")

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
class Entry:
    """An item in the list of all: what else it is called, and where it may go, whatever its state."""

    id: str
    name: str
    name_en: str
    aliases: list[str]
    destinations: list[str]


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
        self._names: _Names | None = None

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
        sought = self.seek(text)
        finding = Finding(
            reading=sought.reading,
            state=(state or State()).merged(conditions.read(text)),
            region=region,
            housing=housing,
            on=on or _today(),
            limit=limit,
            unsaid=sought.unsaid,
        )
        finding.add(sought.rows)
        found = finding.decide(*rank(sought.reading, sought.rows, sought.near, sought.worded))
        return replace(found, ms=round((time.perf_counter() - started) * 1000, 1))

    def seek(self, text: str) -> Sought:
        """What the index holds that `text` may mean, before anything is weighed. Raises Unavailable."""
        names = self._names or self._remembered()
        reading = Reading(text, names.keys, names.parts)
        vector = None if reading.plain or not reading.letters else self._vector(text, names.model)
        worded, unsaid = _worded(reading, text, vector, names.model) if vector else ({}, 0.0)
        rows = self._database.read(
            _SOUGHT,
            {
                "said": [span.key for span in reading.said],
                "part_keys": list(reading.parts),
                "part_items": [item for item, _ in reading.parts.values()],
                "part_names": [name for _, name in reading.parts.values()],
                "windows": [] if reading.plain else [span.key for span in reading.windows],
                "vector": literal(vector) if vector else None,
                "model": names.model,
                "worded": [item for item, share in worded.items() if share >= wording.LIKELY],
            },
        )
        if not rows:
            raise Unavailable(_NOT_BUILT)
        index, rows = rows[0], [row for row in rows if row["id"]]
        if index["version"] != names.version:
            self._names = None  # a new index: its names are fetched by the next search
        if not vector or index["model"] != names.model:
            return Sought(reading, rows, None, {}, 0.0)
        return Sought(reading, rows, _near(index, rows), worded, unsaid)

    def item(self, item_id: str) -> Item | None:
        """One item, or None where the index has none of that id."""
        with self._database.transaction() as tx:
            row = _item(tx, item_id)
        if row is None:
            return None
        return Item(row["id"], row["name_ko"], row["name_en"], row["doc"]["official"], parts(row["doc"]))

    def entries(self, on: date | None = None) -> list[Entry]:
        """Every item, by its Korean name."""
        rows = self._database.read(
            "SELECT i.id, i.name_ko, i.name_en, i.doc -> 'decide' AS decide, "
            "array_agg(n.name ORDER BY n.name) AS names FROM items i JOIN item_names n ON n.item_id = i.id "
            "WHERE i.kind = 'item' AND n.is_name GROUP BY i.id ORDER BY i.name_ko, i.id"
        )
        return [
            Entry(
                row["id"],
                row["name_ko"],
                row["name_en"],
                [name for name in row["names"] if name not in (row["name_ko"], row["name_en"])],
                list(dict.fromkeys(code for leaf in outcomes(row["decide"], on or _today()) for code in leaf["to"])),
            )
            for row in rows
        ]

    def unsettled(
        self, item_id: str, state: State, *, region: str | None = None, housing: str | None = None
    ) -> tuple[Question | None, list[Otherwise]]:
        """The question that is still open for an item in that state (None where its way is clear), and what would send
        it elsewhere, but is not so unless somebody says it.
        """
        with self._database.transaction() as tx:
            row = _item(tx, item_id)
        if row is None:
            return None, []
        known = (row, state, region, housing, _today())
        return open_question(*known), otherwise(*known)

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
        fit = ordered(modest(rules, leaf_key(found.leaves[0]["to"])), {item_id, *owners[2:]}, limit)
        chosen = [Passage.of(rule, decided=len(leaves) == 1) for rule in fit]
        if not exception:
            places = {leaf["to"][0] if len(leaf["to"]) == 1 else None for leaf in found.leaves}
            unproven = {rule["id"] for rule in fit if rule["leaf"] is None and rule["conditions"].keys() - known.keys()}
            chosen = aside(chosen, places.pop() if len(places) == 1 else None, unproven)
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

    def _remembered(self) -> _Names:
        """Every name of the index by its key, once a process and index: which words name something at all."""
        with self._database.transaction() as tx:
            index = _index(tx)
            names = [(row["item_id"], row["key"], row["name"]) for row in tx.execute(_NAMES)]
            behind = [(row["id"], row["behind"]) for row in tx.execute(_BEHIND)]
        keys = frozenset(key for _, key, _ in names)
        self._names = _Names(index["version"], index["model"], keys, Parts.of(names, behind))
        return self._names

    def _vector(self, text: str, model: str) -> list[float] | None:
        """The question's embedding, or None where there is no way to make one that compares with the index.

        Never called within a transaction: an HTTP call must not hold a connection of the pool.
        """
        if self._embedder is None or self._embedder.model != model or time.monotonic() < self._resting_until:
            return None
        try:
            return self._embedder.query([text])[0]
        except EmbeddingFailed as error:
            self._resting_until = time.monotonic() + REST_SECONDS
            log.warning("searching by name only", error=str(error))
            return None

    def _measured(self, rules: Sequence[Mapping[str, Any]], vector: Sequence[float]) -> list[Mapping[str, Any]]:
        """The rules with their distance from the vector as `far`, which `ordered` goes by."""
        with self._database.transaction() as tx:
            far = tx.execute(
                "SELECT id, embedding <=> %s::vector AS far FROM rules WHERE id = ANY(%s)",
                (literal(vector), [rule["id"] for rule in rules]),
            ).fetchall()
        distances = {row["id"]: row["far"] for row in far}
        return [{**rule, "far": distances.get(rule["id"])} for rule in rules]


def _today() -> date:
    return datetime.now(KOREA).date()


@dataclass(frozen=True, slots=True)
class Sought:
    """A question, the rows of the index it may mean, how near each is (None where no embedding was made), how likely
    by the wording (looked at only beside an embedding, beside which it costs little), and how likely it is that
    the thing is not named at all.
    """

    reading: Reading
    rows: list[dict[str, Any]]
    near: dict[str, float] | None
    worded: Mapping[str, float]
    unsaid: float


@dataclass(frozen=True, slots=True)
class _Names:
    """What an index of that version, made with that model, calls things."""

    version: str
    model: str
    keys: frozenset[str]
    parts: Parts


def _worded(reading: Reading, text: str, vector: Sequence[float], model: str) -> tuple[dict[str, float], float]:
    """Item → how likely by the wording, and how likely no thing is named: not at all where one is, or where anything
    else is likelier.
    """
    worded = dict(wording.likely(text, vector, model))
    unsaid = worded.pop(wording.UNSAID, 0.0)
    if not reading.said:
        return worded, unsaid if unsaid > max(worded.values(), default=0.0) else 0.0
    return {item: share / (1 - unsaid) for item, share in worded.items() if unsaid < 1}, 0.0


def _near(index: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Item → nearness of meaning: 0 is chance, 1 another word for the same (measured by the build, with its model)."""
    low, high = index["near_low"], index["near_high"]
    return {
        row["id"]: min(max((row["near"] - low) / (high - low), -1.0), 1.5) for row in rows if row["near"] is not None
    }


_NOT_BUILT = "the rules index has not been built yet (python -m functions.setup index)"


def _index(tx: Tx) -> dict[str, Any]:
    row = tx.execute("SELECT * FROM rule_index").fetchone()
    if row is None:
        raise Unavailable(_NOT_BUILT)
    return row


def _item(tx: Tx, item_id: str) -> dict[str, Any] | None:
    return tx.execute("SELECT * FROM items WHERE id = %s AND kind IN ('item', 'part')", (item_id,)).fetchone()


_NAMES = "SELECT item_id, key, name FROM item_names WHERE is_name"
_BEHIND = "SELECT id, doc -> 'behind' AS behind FROM items WHERE doc ? 'behind'"

#: Names of what is thrown away, not texts about something else.
OF_THINGS = "item_id NOT IN (SELECT id FROM items WHERE kind = 'outside')"

#: The names nearest to a vector, none without one.
NEAREST = f"""
SELECT item_id, name, embedding FROM item_names WHERE embedding IS NOT NULL AND %(vector)s::vector IS NOT NULL
AND {OF_THINGS} ORDER BY embedding <=> %(vector)s::vector LIMIT 40
"""  # noqa: S608

#: One statement: the index's own row, and with it every item that was said by name, exactly or nearly, that is near in
#: meaning, or that the wording points to. A word for several things brings those things along, a part the whole.
_SOUGHT = f"""
WITH said AS (
    SELECT item_id, key, name, NULL::text AS phrase FROM item_names WHERE key = ANY(%(said)s)
    UNION ALL
    SELECT item_id, key, name, NULL
    FROM unnest(%(part_items)s::text[], %(part_keys)s::text[], %(part_names)s::text[]) AS p(item_id, key, name)
), alike AS (
    SELECT near.item_id, near.key, near.name, w.phrase
    FROM unnest(%(windows)s::text[]) AS w(phrase)
    CROSS JOIN LATERAL (
        SELECT n.* FROM item_names n WHERE n.is_name AND n.key %% w.phrase
        ORDER BY similarity(n.key, w.phrase) DESC, n.key LIMIT 6
    ) near
), named AS (
    SELECT item_id, jsonb_agg(jsonb_build_array(key, name, phrase)) AS hits
    FROM (SELECT * FROM said UNION ALL SELECT * FROM alike) AS both_kinds GROUP BY item_id
), meant AS (
    SELECT item_id, array_agg(1 - ((n.embedding - x.centre) <=> (%(vector)s::vector - x.centre))) AS crowd
    FROM ({NEAREST}) n JOIN rule_index x ON x.model = %(model)s GROUP BY item_id
), besides AS (
    SELECT unnest(%(worded)s::text[]) AS item_id
    UNION SELECT split_part(item_id, '{PART}', 1) FROM said
    UNION SELECT id FROM items WHERE kind = 'outside' AND %(vector)s::vector IS NOT NULL
), wanted AS (
    SELECT item_id, named.hits, meant.crowd
    FROM named FULL JOIN meant USING (item_id) FULL JOIN besides USING (item_id)
), every AS (
    SELECT * FROM wanted
    UNION ALL
    SELECT DISTINCT o.id, NULL::jsonb, NULL::float8[]
    FROM wanted JOIN items c ON c.id = wanted.item_id AND c.kind = 'choice'
    CROSS JOIN LATERAL jsonb_array_elements_text(c.doc -> 'options') AS o(id)
    WHERE NOT EXISTS (SELECT 1 FROM wanted WHERE item_id = o.id)
)
SELECT x.version, x.model, x.near_low, x.near_high, i.id, i.kind, i.name_ko, i.name_en, i.doc - 'behind' AS doc,
e.hits, e.crowd, (
    SELECT max(1 - ((n.embedding - x.centre) <=> (%(vector)s::vector - x.centre))) FROM item_names n
    WHERE n.item_id = i.id AND %(vector)s::vector IS NOT NULL
) AS near
FROM rule_index x LEFT JOIN (every e JOIN items i ON i.id = e.item_id) ON true
"""  # noqa: S608
