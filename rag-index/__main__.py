"""The rules at the command line: `python rag-index validate | build | search | evaluate` (run from the repository
root).

Thin: everything happens in `functions.setup` and `functions.shared`. Needs DATABASE_URL (except `validate`). With
OPENAI_API_KEY or OPENAI_BASE_URL set, that model makes the embeddings; otherwise the offline one in this process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("LOG_LEVEL", "CRITICAL")  # standard output is for the answer

from evaluation import evaluate, questions  # noqa: E402
from offline import Offline  # noqa: E402

from functions.setup.compiled import load  # noqa: E402
from functions.setup.corpus import CorpusError  # noqa: E402
from functions.setup.index import WrongDimension, build  # noqa: E402
from functions.setup.migrate import MigrationError, migrate  # noqa: E402
from functions.shared.embeddings import Embedder, EmbeddingFailed, Embeds  # noqa: E402
from functions.shared.postgres import Database, Unavailable  # noqa: E402
from functions.shared.search import Found, Rulebook  # noqa: E402


def main() -> int:
    """0 when done; 1 with what is wrong on standard error, or when `evaluate` found a wrong destination."""
    arguments = _arguments()
    try:
        if arguments.command == "validate":
            print(json.dumps(load(arguments.corpus).coverage(), ensure_ascii=False, indent=2))
            return 0
        url = os.environ.get("DATABASE_URL")
        if not url:
            print("DATABASE_URL is not set", file=sys.stderr)
            return 1
        database = Database(url)
        try:
            return _with(database, arguments)
        finally:
            database.close()
    except (CorpusError, EmbeddingFailed, MigrationError, Unavailable, WrongDimension) as error:
        print(error, file=sys.stderr)
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python rag-index", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("validate", "check the corpus and print what it covers"), ("build", "make the index")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--corpus", type=Path, default=HERE / "corpus")
    search = commands.add_parser("search", help="ask one question, or one a line from a file; prints JSON")
    search.add_argument("question", nargs="?")
    search.add_argument("--file", type=Path)
    search.add_argument("--region")
    search.add_argument("--housing", choices=("apartment", "house"))
    search.add_argument("--names-only", action="store_true", help="without embeddings")
    test = commands.add_parser("evaluate", help="ask a labelled set and print how many answers are right")
    test.add_argument("set", type=Path, nargs="?", default=HERE / "eval" / "smoke.tsv")
    test.add_argument("--names-only", action="store_true", help="without embeddings")
    chosen = parser.parse_args()
    if chosen.command == "search" and (chosen.question is None) == (chosen.file is None):
        parser.error("search needs a question or --file")
    return chosen


def _with(database: Database, arguments: argparse.Namespace) -> int:
    if arguments.command == "build":
        migrate(database, say=lambda line: print(line, file=sys.stderr))
        build(database, load(arguments.corpus), _embedder(), say=lambda line: print(line, file=sys.stderr))
        return 0
    rulebook = Rulebook(database, None if arguments.names_only else _embedder())
    if arguments.command == "evaluate":
        figures = evaluate(rulebook, questions(arguments.set))
        print(json.dumps(figures, ensure_ascii=False, indent=2))
        return 1 if figures["wrong_certain"] else 0
    lines = [arguments.question] if arguments.file is None else arguments.file.read_text("utf-8").splitlines()
    for line in lines:
        found = rulebook.search(line, region=arguments.region or None, housing=arguments.housing or None)
        print(json.dumps(_shown(found), ensure_ascii=False), flush=True)
    return 0


def _embedder() -> Embeds:
    key, base = os.environ.get("OPENAI_API_KEY", ""), os.environ.get("OPENAI_BASE_URL", "")
    if key or base:
        model = os.environ.get("EMBEDDING_MODEL", "text-embedding-3-small")
        return Embedder(base or "https://api.openai.com/v1", key, model, timeout=120)
    return Offline()


def _shown(found: Found) -> dict[str, object]:
    shown = asdict(found)
    return {name: shown[name] for name in ("decision", "question", "candidates", "parts", "ms")}


if __name__ == "__main__":
    sys.exit(main())
