"""The index: the compiled corpus in PostgreSQL, with the embedding of every item and rule.

One transaction, so that readers see the old index or the new one, never half of either; only texts that changed are
embedded, unless another model is to be used: vectors of two models cannot be compared, so then all are made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from time import perf_counter

from psycopg.types.json import Jsonb

from functions.setup.compiled import Corpus, ItemRow, RuleRow
from functions.shared.embeddings import DIMENSIONS, Embeds, binary, literal
from functions.shared.postgres import Database, Tx
from functions.shared.search import OF_THINGS

_LOCK = 7_305_119
_CHUNK = 256
_COPY_NAMES = "COPY item_names (item_id, key, name, is_name, embedding) FROM STDIN (FORMAT BINARY)"
_SAMPLE = 160  # names that are asked for to learn what nearness means

#: From so many rows on, an approximate index is worth what it misses: below, comparing with every one takes less time
#: than making the embedding did (`make curve`).
HNSW_FROM = 50_000


class WrongDimension(ValueError):
    """The model's vectors do not fit the columns: the schema would have to change, not just the index."""


@dataclass(frozen=True)
class Summary:
    """What a build did. `seconds` is wall time."""

    items: int
    rules: int
    names: int
    embedded: int
    removed: int
    model: str
    version: str
    seconds: float

    def __str__(self) -> str:
        return (
            f"index {self.version}: {self.items} items, {self.names} names, {self.rules} rules; "
            f"{self.embedded} texts embedded with {self.model}, {self.removed} rows removed, {self.seconds:.1f} s"
        )


def build(database: Database, corpus: Corpus, embedder: Embeds, say: Callable[[str], None] = print) -> Summary:
    """Make the index equal to the corpus. Raises WrongDimension, EmbeddingFailed, Unavailable; then nothing changed."""
    started = perf_counter()
    if embedder.dimensions != DIMENSIONS:
        raise WrongDimension(f"{embedder.model} makes vectors of {embedder.dimensions}; the tables hold {DIMENSIONS}")
    with database.transaction() as tx:
        tx.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        _forget_other_model(tx, embedder, say)
        removed = _items(tx, corpus.items)
        names, gone = _names(tx, corpus.items, embedder, say)
        rules, obsolete = _rules(tx, corpus.rules, embedder, say)
        summary = Summary(
            items=len(corpus.items),
            rules=len(corpus.rules),
            names=sum(len(row.names) + len(row.said) for row in corpus.items),
            embedded=names + rules,
            removed=removed + gone + obsolete,
            model=embedder.model,
            version=_version([*corpus.items, *corpus.rules], embedder),
            seconds=perf_counter() - started,
        )
        _describe(tx, summary, _calibrated(tx, corpus.items, embedder) if names or gone else None)
        _approximate(tx, "item_names", summary.names)
        _approximate(tx, "rules", summary.rules)
    with database.transaction() as tx:
        tx.execute("ANALYZE items, item_names, rules")
    say(str(summary))
    return summary


def _forget_other_model(tx: Tx, embedder: Embeds, say: Callable[[str], None]) -> None:
    row = tx.execute("SELECT model, dimension FROM rule_index").fetchone()
    if row and (row["model"], row["dimension"]) != (embedder.model, embedder.dimensions):
        say(f"index: built with {row['model']}, now {embedder.model}: every text is embedded again")
        tx.execute("DELETE FROM item_names")
        tx.execute("DELETE FROM rules")


def _items(tx: Tx, rows: Sequence[ItemRow]) -> int:
    stored = {row["id"]: row["digest"] for row in tx.execute("SELECT id, digest FROM items")}
    removed = tx.execute("DELETE FROM items WHERE NOT id = ANY(%s)", ([row.id for row in rows],)).rowcount
    for row in rows:
        if stored.get(row.id) != row.digest:
            tx.execute(
                "INSERT INTO items (id, kind, name_ko, name_en, doc, digest) VALUES (%s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (id) DO UPDATE SET kind = EXCLUDED.kind, name_ko = EXCLUDED.name_ko, "
                "name_en = EXCLUDED.name_en, doc = EXCLUDED.doc, digest = EXCLUDED.digest",
                (row.id, row.kind, row.name_ko, row.name_en, Jsonb(row.doc), row.digest),
            )
    return removed


def _names(tx: Tx, rows: Sequence[ItemRow], embedder: Embeds, say: Callable[[str], None]) -> tuple[int, int]:
    """How many names were embedded and how many removed."""
    wanted = {(row.id, key): (phrase, True, False) for row in rows for key, phrase in row.said.items()}
    wanted |= {(row.id, key): (name, row.kind == "item", True) for row in rows for key, name in row.names.items()}
    stored = {
        (row["item_id"], row["key"]): (row["name"], row["embedded"], row["is_name"])
        for row in tx.execute("SELECT item_id, key, name, is_name, embedding IS NOT NULL AS embedded FROM item_names")
    }
    gone = [place for place, name in stored.items() if wanted.get(place) != name]
    new = {place: name for place, name in wanted.items() if stored.get(place) != name}
    vectors = _embed([name for name, embedded, _ in new.values() if embedded], embedder, "names", say)
    with tx.cursor() as cursor:
        cursor.executemany("DELETE FROM item_names WHERE item_id = %s AND key = %s", gone)
        with cursor.copy(_COPY_NAMES) as copy:
            for (item, key), (name, embedded, is_name) in new.items():
                copy.write_row((item, key, name, is_name, binary(vectors[name]) if embedded else None))
    return len(vectors), len(set(gone) - set(wanted))


def _rules(tx: Tx, rows: Sequence[RuleRow], embedder: Embeds, say: Callable[[str], None]) -> tuple[int, int]:
    """How many rules were embedded and how many removed. Outcomes are always wanted, never searched: not embedded."""
    stored = {row["id"]: row for row in tx.execute("SELECT id, digest, text, embedding::text FROM rules")}
    removed = tx.execute("DELETE FROM rules WHERE NOT id = ANY(%s)", ([row.id for row in rows],)).rowcount
    changed = [row for row in rows if row.id not in stored or stored[row.id]["digest"] != row.digest]
    kept = {row["text"]: row["embedding"] for row in stored.values() if row["embedding"]}
    fresh = _embed([row.text for row in changed if row.leaf is None and row.text not in kept], embedder, "rules", say)
    vectors = {**kept, **{text: literal(vector) for text, vector in fresh.items()}}
    columns = [*RuleRow.__dataclass_fields__, "digest", "embedding"]
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns[1:])
    places = ", ".join(f"%({name})s" for name in columns)
    with tx.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO rules ({', '.join(columns)}) VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {sets}",  # noqa: S608
            [
                {
                    **vars(row),
                    "conditions": Jsonb(row.conditions),
                    "digest": row.digest,
                    "embedding": vectors[row.text] if row.leaf is None else None,
                }
                for row in changed
            ],
        )
    return len(fresh), removed


def _embed(texts: Iterable[str], embedder: Embeds, what: str, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Text → vector, each text once. Says every two seconds how far it is."""
    distinct = list(dict.fromkeys(texts))
    made: dict[str, list[float]] = {}
    told = perf_counter()
    for i in range(0, len(distinct), _CHUNK):
        chunk = distinct[i : i + _CHUNK]
        made.update(zip(chunk, embedder.passages(chunk), strict=True))
        if perf_counter() - told > 2:
            told = perf_counter()
            say(f"index: {what} {len(made)}/{len(distinct)} embedded")
    return made


def sample(rows: Sequence[ItemRow]) -> list[tuple[str, str]]:
    """(item, name) of the names the build asks for; the same ones as long as they are there."""
    names = [(row.id, name) for row in rows if row.kind == "item" for name in sorted(row.names.values())]
    return sorted(names, key=lambda pair: hashlib.sha256("/".join(pair).encode()).digest())[:_SAMPLE]


def _calibrated(tx: Tx, rows: Sequence[ItemRow], embedder: Embeds) -> dict[str, float]:
    """Which nearness means something with this model, learnt from the names themselves.

    A sample of them is asked for as a citizen would: how near the nearest name of another item is, is what chance gives
    (`near_low`); how near the nearest other name of the same item is, is what meaning gives (`near_high`).
    """
    chosen = sample(rows)
    asked = zip(chosen, map(literal, embedder.query([name for _, name in chosen])), strict=True)
    centre = tx.execute(
        f"SELECT avg(embedding)::text AS centre FROM item_names WHERE {OF_THINGS}"  # noqa: S608
    ).fetchone()
    found: list[tuple[float | None, float | None]] = []
    for (item_id, name), vector in asked:
        row = tx.execute(_NEARNESS, {"item": item_id, "name": name, "vector": vector, **(centre or {})}).fetchone()
        assert row is not None, "an aggregate without groups has one row"
        found.append((row["other"], row["same"]))
    others, same = (sorted(x for x in column if x is not None) for column in zip(*found, strict=True))
    low = quantiles(others, n=4)[0] if len(others) > 1 else 0.0
    high = quantiles(same, n=4)[2] if len(same) > 1 else 1.0
    return {"near_low": low, "near_high": max(high, low + 0.05)}


def _describe(tx: Tx, summary: Summary, nearness: Mapping[str, float] | None) -> None:
    values = {"near_low": None, "near_high": None, **(nearness or {}), **vars(summary), "dimension": DIMENSIONS}
    tx.execute(
        "INSERT INTO rule_index (version, model, dimension, centre, near_low, near_high, items, names, rules) "  # noqa: S608
        "SELECT %(version)s, %(model)s, %(dimension)s, avg(embedding), "
        "coalesce(%(near_low)s, (SELECT near_low FROM rule_index)), "
        "coalesce(%(near_high)s, (SELECT near_high FROM rule_index)), %(items)s, %(names)s, %(rules)s FROM item_names "
        f"WHERE {OF_THINGS} "
        "ON CONFLICT (only_row) DO UPDATE SET version = EXCLUDED.version, model = EXCLUDED.model, "
        "dimension = EXCLUDED.dimension, centre = EXCLUDED.centre, near_low = EXCLUDED.near_low, "
        "near_high = EXCLUDED.near_high, items = EXCLUDED.items, names = EXCLUDED.names, rules = EXCLUDED.rules, "
        "built_at = now()",
        values,
    )


_NEARNESS = f"""
SELECT max(near) FILTER (WHERE item_id <> %(item)s) AS other,
       max(near) FILTER (WHERE item_id = %(item)s AND name <> %(name)s) AS same
FROM (
    SELECT item_id, name, 1 - ((embedding - %(centre)s::vector) <=> (%(vector)s::vector - %(centre)s::vector)) AS near
    FROM item_names WHERE embedding IS NOT NULL AND {OF_THINGS}
) AS measured
"""  # noqa: S608


def _version(rows: Iterable[ItemRow | RuleRow], embedder: Embeds) -> str:
    parts = sorted(f"{row.id} {row.digest}" for row in rows)
    return hashlib.sha256("\n".join([embedder.model, str(DIMENSIONS), *parts]).encode()).hexdigest()[:12]


def _approximate(tx: Tx, table: str, rows: int) -> None:
    if rows >= HNSW_FROM:
        tx.execute(f"CREATE INDEX IF NOT EXISTS {table}_nearest ON {table} USING hnsw (embedding vector_cosine_ops)")
    else:
        tx.execute(f"DROP INDEX IF EXISTS {table}_nearest")
