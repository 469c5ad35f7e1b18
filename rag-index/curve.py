"""What a search costs beside the bare SQL it makes, and how that grows with the number of names, exact or approximate.

The larger indexes are synthetic, in a database of their own that is dropped again: names put together from two real
ones, vectors that are real ones with noise. So sizes are real and meanings are not; recall is against the exact answer.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median, quantiles
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import DictRow

from functions.shared.embeddings import Embeds, literal
from functions.shared.hangul import sound
from functions.shared.postgres import Database
from functions.shared.search import NEAREST, Rulebook

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
#: Questions for each measurement of the curve.
_ASKED = 40
_NOISE = 0.03


class _Watched(Database):
    """Keeps the last statement, so that it can be made again bare."""

    last: tuple[str, Mapping[str, Any] | None] = ("", None)

    def read(self, query: str, params: Mapping[str, Any] | None = None) -> list[DictRow]:
        self.last = (query, params)
        return super().read(query, params)


def show(url: str, embedder: Embeds, asked: Sequence[str]) -> None:
    """Print both, in one run."""
    _cost(url, asked)
    with _scratch(url) as scratch:
        _curve(url, scratch, embedder, random.Random(2026).sample(list(asked), _ASKED))  # noqa: S311


def _cost(url: str, asked: Sequence[str]) -> None:
    database = _Watched(url)
    rulebook = Rulebook(database, None)
    whole, bare = [], []
    with psycopg.connect(url, autocommit=True) as connection:
        for question in asked:
            rulebook.search(question)
        for question in asked:
            whole.append(_ms(partial(rulebook.search, question)))
            bare.append(_ms(partial(_bare, connection, database.last)))
    items = database.read("SELECT items, names, rules FROM rule_index")[0]
    database.close()
    ratio = sum(whole) / sum(bare)
    print(f"{len(asked)} questions without an embedding call; {items['items']} items, {items['names']} names:")
    print(f"  search     p50 {median(whole):6.2f}  p95 {_p95(whole):6.2f} ms")
    print(f"  bare SQL   p50 {median(bare):6.2f}  p95 {_p95(bare):6.2f} ms")
    print(f"  the search costs {ratio:.2f} times its SQL (sum over all questions)")


def _bare(connection: psycopg.Connection[Any], statement: tuple[str, Mapping[str, Any] | None]) -> None:
    connection.execute(*statement).fetchall()


def _curve(url: str, scratch: str, embedder: Embeds, asked: Sequence[str]) -> None:
    vectors = [literal(vector) for vector in embedder.query(asked)]
    chance = random.Random(2026)  # noqa: S311
    with psycopg.connect(url) as source:
        real = source.execute(
            "SELECT name, embedding::text FROM item_names WHERE embedding IS NOT NULL ORDER BY item_id, key"
        ).fetchall()
    names = [name for name, _ in real]
    points = [[float(x) for x in vector[1:-1].split(",")] for _, vector in real]
    print("\nnearest 40 of so many names, ms p50 (recall against exact):")
    print(f"  {'names':>8} {'exact':>8} {'HNSW':>8} {'recall':>8} {'built in':>10} {'by name':>9}")
    with psycopg.connect(scratch, autocommit=True) as connection:
        _tables(connection)
        filled = 0
        for size in SIZES:
            connection.execute("DROP INDEX IF EXISTS near")
            with connection.cursor().copy("COPY item_names (item_id, key, name, embedding) FROM STDIN") as copy:
                for number in range(filled, size):
                    name = f"{chance.choice(names)} {chance.choice(names)}"
                    point = [x + chance.gauss(0, _NOISE) for x in chance.choice(points)]
                    copy.write_row((f"i{number}", f"{sound(name)}{number}", name, literal(point)))
            filled = size
            connection.execute("VACUUM ANALYZE item_names")
            exact, nearest = _nearest(connection, vectors)
            built = _ms(
                lambda: connection.execute("CREATE INDEX near ON item_names USING hnsw (embedding vector_cosine_ops)")
            )
            fast, found = _nearest(connection, vectors)
            hit = sum(len(a & b) for a, b in zip(nearest, found, strict=True)) / sum(map(len, nearest))
            named = median(_ms(partial(_alike, connection, sound(question)[:24])) for question in asked)
            row = f"  {size:>8} {exact:>8.1f} {fast:>8.1f} {hit:>8.3f} {built / 1000:>8.1f} s {named:>9.1f}"
            print(row, flush=True)


def _tables(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE EXTENSION vector")
    connection.execute("CREATE EXTENSION pg_trgm")
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute("CREATE TABLE items (id text, kind text)")
    connection.execute("CREATE TABLE item_names (item_id text, key text, name text, embedding vector(384))")
    connection.execute("CREATE INDEX ON item_names USING gin (key gin_trgm_ops)")


def _alike(connection: psycopg.Connection[Any], key: str) -> None:
    query = "SELECT item_id FROM item_names WHERE key %% %s ORDER BY similarity(key, %s) DESC, key LIMIT 6"
    connection.execute(query, (key, key)).fetchall()


def _nearest(connection: psycopg.Connection[Any], vectors: Sequence[str]) -> tuple[float, list[set[str]]]:
    """Milliseconds (median), and what was found, for each vector."""
    took, found = [], []
    for vector in vectors:
        started = perf_counter()
        rows = connection.execute(NEAREST, {"vector": vector}).fetchall()
        took.append((perf_counter() - started) * 1000)
        found.append({row[0] for row in rows})
    return median(took), found


@contextmanager
def _scratch(url: str) -> Iterator[str]:
    """The URL of an empty database beside the one at `url`."""
    name = f"curve_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]


def _ms(work: Callable[[], Any]) -> float:
    started = perf_counter()
    work()
    return (perf_counter() - started) * 1000


def _p95(took: Sequence[float]) -> float:
    return quantiles(took, n=20)[18]
