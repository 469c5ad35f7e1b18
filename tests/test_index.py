"""Migrations and the index: safe to run again and at once, only what changed is embedded, nobody sees half an index."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from functions.setup.__main__ import main
from functions.setup.compiled import Corpus, load
from functions.setup.index import WrongDimension, build
from functions.setup.migrate import MigrationError, migrate
from functions.shared.embeddings import Embedder, EmbeddingFailed
from functions.shared.postgres import Database
from functions.shared.search import Rulebook
from tests.rulebooks import LetterPairs, few
from tests.waiting import PATIENCE

CORPUS = Path(__file__).parents[1] / "rag-index" / "corpus"


def quiet(line: str) -> None:
    """Progress nobody reads."""


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """A small part of the corpus: these tests build many times."""
    return few(load(CORPUS, date(2026, 11, 25)), {"toy", "receipt"})


@pytest.fixture
def database(own_database_url: str) -> Iterator[Database]:
    database = Database(own_database_url)
    yield database
    database.close()


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.transaction() as tx:
        return [tuple(row.values()) for row in tx.execute(query)]


# --- migrations
# --------------------------------------------------------------------------------------------------------


@pytest.fixture
def empty_url(database_url: str) -> str:
    """A database with nothing in it."""
    name = f"empty{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return urlsplit(database_url)._replace(path=f"/{name}").geturl()


def test_migrations_run_once_however_many_ask_at_once(empty_url: str) -> None:
    together = threading.Barrier(4)

    def run(_: int) -> list[str]:
        database = Database(empty_url)
        try:
            together.wait(PATIENCE)
            return migrate(database, say=quiet)
        finally:
            database.close()

    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(run, range(4)) for name in names]
    assert sorted(applied) == sorted(set(applied))
    assert "0002_rules.sql" in applied
    database = Database(empty_url)
    assert migrate(database, say=quiet) == []
    database.close()


def test_a_failed_migration_leaves_nothing_and_a_changed_one_is_noticed(empty_url: str, tmp_path: Path) -> None:
    database = Database(empty_url)
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int);")
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE second (id int); SELECT nonsense;")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        migrate(database, tmp_path, quiet)
    assert rows(database, "SELECT name FROM schema_migrations") == [("0001_first.sql",)]
    assert rows(database, "SELECT to_regclass('second')::text") == [(None,)]
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id bigint);")
    with pytest.raises(MigrationError, match=r"0001_first\.sql was changed after it had been applied"):
        migrate(database, tmp_path, quiet)
    (tmp_path / "0001_other.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match="0001"):
        migrate(database, tmp_path, quiet)
    database.close()


def test_setup_says_in_one_sentence_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["migrate"]) == 1
    assert capsys.readouterr().err.strip() == "DATABASE_URL is not set"


# --- the index
# ---------------------------------------------------------------------------------------------------------


def test_only_what_changed_is_embedded(database: Database, corpus: Corpus) -> None:
    first, again = LetterPairs(), LetterPairs()
    built = build(database, corpus, first, quiet)
    assert len(first.embedded) == len(set(first.embedded)) == built.embedded > 500
    unchanged = build(database, corpus, again, quiet)
    assert (unchanged.embedded, unchanged.removed, again.embedded) == (0, 0, [])
    assert unchanged.version == built.version == Rulebook(database, None).index_version()

    reworded = [replace(r, text="새로 쓴 문장이에요.") if r.id == "soiled-paper.dont.1" else r for r in corpus.rules]
    changed = build(database, replace(corpus, rules=reworded), again, quiet)
    assert again.embedded == ["새로 쓴 문장이에요."]
    assert changed.version != built.version


def test_what_left_the_corpus_leaves_the_index(database: Database, corpus: Corpus) -> None:
    build(database, corpus, LetterPairs(), quiet)
    items = [row for row in corpus.items if row.id != "toy"]
    rules = [row for row in corpus.rules if row.owner != "toy"]
    summary = build(database, replace(corpus, items=items, rules=rules), LetterPairs(), quiet)
    assert summary.removed > 1
    assert rows(database, "SELECT id FROM items WHERE id = 'toy'") == []
    assert rows(database, "SELECT name FROM item_names WHERE item_id = 'toy'") == []
    assert rows(database, "SELECT id FROM rules WHERE owner = 'toy'") == []


def test_a_renamed_alias_is_found_by_its_new_name_only(database: Database, corpus: Corpus) -> None:
    build(database, corpus, LetterPairs(), quiet)
    items = [
        replace(row, names={"ㅎㅏㄴㅡㄹㅅㅗ": "하늘소"}) if row.id == "toy" else row for row in corpus.items
    ]  # sound("하늘소")
    embedder = LetterPairs()
    build(database, replace(corpus, items=items), embedder, quiet)
    assert embedder.embedded == ["하늘소"]
    search = Rulebook(database, None).search
    assert search("하늘소").candidates[0].id == "toy"
    assert all(candidate.id != "toy" for candidate in search("장난감").candidates)


def test_another_model_means_another_index(database: Database, corpus: Corpus) -> None:
    built = build(database, corpus, LetterPairs(), quiet)
    told: list[str] = []
    other = LetterPairs("other-model")
    rebuilt = build(database, corpus, other, told.append)
    assert rebuilt.embedded == built.embedded == len(other.embedded)
    assert rebuilt.version != built.version
    assert any("built with letter-pairs, now other-model" in line for line in told)


def test_vectors_that_do_not_fit_are_refused(database: Database, corpus: Corpus) -> None:
    built = build(database, corpus, LetterPairs(), quiet)
    large = LetterPairs("large")
    large.dimensions = 3072
    with pytest.raises(WrongDimension, match="large makes vectors of 3072; the tables hold 384"):
        build(database, corpus, large, quiet)
    assert Rulebook(database, None).index_version() == built.version


def test_readers_never_see_half_an_index_and_a_failure_changes_nothing(database: Database, corpus: Corpus) -> None:
    built = build(database, corpus, LetterPairs(), quiet)
    seen: set[tuple[object, ...]] = set()

    def read() -> None:
        seen.update(rows(database, "SELECT version, (SELECT count(*) FROM rules) FROM rule_index"))

    build(database, corpus, LetterPairs("second", during=read), quiet)
    assert seen == {(built.version, len(corpus.rules))}
    second = Rulebook(database, None).index_version()

    nobody = Embedder("http://127.0.0.1:9/v1", "", "third", timeout=1)
    with pytest.raises(EmbeddingFailed):
        build(database, corpus, nobody, quiet)
    assert Rulebook(database, None).index_version() == second


def test_builds_at_once_queue_up(database: Database, corpus: Corpus) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: build(database, corpus, LetterPairs(), quiet), range(2))
    assert one.version == other.version
    assert sorted([one.embedded > 0, other.embedded > 0]) == [False, True]
