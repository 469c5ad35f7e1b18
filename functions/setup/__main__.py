"""The Jobs of a release: `python -m functions.setup migrate`, `… roles --passwords DIR`, `… index [--corpus DIR]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from functions.setup.compiled import load as load_corpus
from functions.setup.corpus import CorpusError
from functions.setup.index import WrongDimension, build
from functions.setup.migrate import MigrationError, migrate
from functions.setup.roles import RolesError, give, passwords
from functions.setup.settings import Settings
from functions.shared.config import ConfigError, load
from functions.shared.embeddings import Embedder, EmbeddingFailed
from functions.shared.postgres import Database, Unavailable

TROUBLE = (ConfigError, CorpusError, MigrationError, RolesError, WrongDimension, EmbeddingFailed, Unavailable)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when done; 1 with one plain sentence (or list) on standard error when not."""
    parser = argparse.ArgumentParser(prog="python -m functions.setup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="bring the database schema up to date")
    roles = commands.add_parser("roles", help="give every function its role in the database, with its rights alone")
    roles.add_argument("--passwords", type=Path, required=True, help="a folder with a file for each function")
    index = commands.add_parser("index", help="make the rules index equal to the corpus")
    index.add_argument("--corpus", type=Path, default=Path("rag-index/corpus"))
    chosen = parser.parse_args(arguments)
    try:
        settings = load(Settings, os.environ)
        database = Database(settings.database_url, pool_size=1)
        try:
            if chosen.command == "migrate":
                migrate(database)
            elif chosen.command == "roles":
                give(database, passwords(chosen.passwords))
            else:
                embedder = Embedder(
                    settings.openai_base_url, settings.openai_api_key, settings.embedding_model, timeout=120
                )
                build(database, load_corpus(chosen.corpus), embedder)
        finally:
            database.close()
    except (
        ConfigError,
        CorpusError,
        MigrationError,
        RolesError,
        WrongDimension,
        EmbeddingFailed,
        Unavailable,
    ) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
