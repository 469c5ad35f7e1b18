"""The rules at the command line: `python rag-index validate | build | search | evaluate …` (from the repository root).

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

import covered  # noqa: E402
import curve  # noqa: E402
import evaluation  # noqa: E402
import fit  # noqa: E402
import vectors  # noqa: E402
import wordings  # noqa: E402
from offline import Offline  # noqa: E402
from peers import peers  # noqa: E402

from functions.setup.compiled import load  # noqa: E402
from functions.setup.corpus import CorpusError  # noqa: E402
from functions.setup.index import WrongDimension, build  # noqa: E402
from functions.setup.migrate import MigrationError, migrate  # noqa: E402
from functions.shared.embeddings import Embedder, EmbeddingFailed, Embeds  # noqa: E402
from functions.shared.postgres import Database, Unavailable  # noqa: E402
from functions.shared.search import Found, Rulebook  # noqa: E402


def main() -> int:
    """0 when done; 1 with what is wrong on standard error, or when a goal of `evaluate` is missed."""
    arguments = _arguments()
    try:
        if arguments.command == "validate":
            return covered.show(load(arguments.corpus), arguments.official)
        if arguments.command == "vectors":
            return vectors.make(load(HERE / "corpus"))
        url = os.environ.get("DATABASE_URL")
        if not url:
            print("DATABASE_URL is not set", file=sys.stderr)
            return 1
        database = Database(url)
        try:
            return _with(database, arguments)
        finally:
            database.close()
    except _TROUBLE as error:
        print(error, file=sys.stderr)
        return 1


_TROUBLE = (
    CorpusError,
    EmbeddingFailed,
    MigrationError,
    OSError,
    Unavailable,
    UnicodeDecodeError,
    WrongDimension,
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python rag-index", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("validate", "check the corpus and print what it covers"), ("build", "make the index")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--corpus", type=Path, default=HERE / "corpus")
    commands.choices["validate"].add_argument("--official", type=Path, help="TSV of the official dictionary")
    search = commands.add_parser("search", help="ask one question, or one a line from a file; prints JSON")
    search.add_argument("question", nargs="?")
    search.add_argument("--file", type=Path)
    search.add_argument("--region")
    search.add_argument("--housing", choices=("apartment", "house"))
    search.add_argument("--names-only", action="store_true", help="without embeddings")
    test = commands.add_parser("evaluate", help="ask the labelled questions; also of three simpler searches")
    test.add_argument("--half", choices=("tune", "report"), default="report")
    test.add_argument("--names-only", action="store_true", help="without embeddings")
    test.add_argument("--alone", action="store_true", help="without the simpler searches")
    test.add_argument("--wrong", action="store_true", help="print what is not right, of the tuning half")
    learn = commands.add_parser("fit", help="fit what the search learns of the practice and tuning questions")
    learn.add_argument("--weights", action="store_true", help="only the weights: minutes, not half an hour")
    commands.add_parser("vectors", help="make vectors.npz: the embeddings that come with the project")
    commands.add_parser("curve", help="what a search costs, at this size and at synthetic sizes up to 100,000 rules")
    chosen = parser.parse_args()
    if chosen.command == "search" and (chosen.question is None) == (chosen.file is None):
        parser.error("search needs a question or --file")
    return chosen


def _with(database: Database, arguments: argparse.Namespace) -> int:
    if arguments.command == "build":
        migrate(database, say=lambda line: print(line, file=sys.stderr))
        build(database, load(arguments.corpus), _embedder(), say=lambda line: print(line, file=sys.stderr))
        return 0
    if arguments.command == "curve":
        asked = [row["question"] for row in evaluation.questions(HERE / "eval" / "questions.tsv")]
        curve.show(os.environ["DATABASE_URL"], _embedder(), asked)
        return 0
    if arguments.command == "fit":
        corpus, practice = load(HERE / "corpus"), evaluation.questions(HERE / "eval" / "practice.tsv")
        if not arguments.weights:
            print(fit.learn_topics(corpus, practice))
            print(wordings.learn(corpus, practice, _embedder()))
        print(fit.fit(Rulebook(database, _embedder()), Rulebook(database, None), evaluation.tuning(HERE / "eval")))
        return 0
    rulebook = Rulebook(database, None if arguments.names_only else _embedder())
    if arguments.command == "evaluate":
        return _evaluate(database, rulebook, arguments)
    lines = [arguments.question] if arguments.file is None else arguments.file.read_text("utf-8-sig").splitlines()
    for line in lines:
        found = rulebook.search(line, region=arguments.region or None, housing=arguments.housing or None)
        print(json.dumps(_shown(found), ensure_ascii=False), flush=True)
    return 0


def _evaluate(database: Database, rulebook: Rulebook, arguments: argparse.Namespace) -> int:
    tuning = evaluation.tuning(HERE / "eval")
    rows = [
        row
        for row in evaluation.questions(HERE / "eval" / "questions.tsv")
        if evaluation.half(row["question"]) == "report"
    ]
    if arguments.half == "tune":
        rows = tuning

    def fused(row: dict[str, str]) -> Found:
        return rulebook.search(row["question"], region=row["region"] or None, housing=row["housing"] or None)

    columns = {f"fused search, {arguments.half} half": evaluation.asked(fused, rows)}
    if not arguments.alone:
        for peer in peers(database, _embedder(), tuning):
            columns[f"{peer.name} (floor {peer.floor:.2f})"] = evaluation.asked(peer.ask, rows)
    print(evaluation.table(columns))
    answers = next(iter(columns.values()))
    if arguments.wrong and arguments.half == "tune":  # nobody shall tune on the other half
        print("\n".join(evaluation.told(answers)))
    missed = evaluation.missed(answers)
    for name, (value, goal) in missed.items():
        print(f"goal missed: {name} {value}, wanted {goal}", file=sys.stderr)
    return 1 if missed else 0


def _embedder() -> Embeds:
    key, base = os.environ.get("OPENAI_API_KEY", ""), os.environ.get("OPENAI_BASE_URL", "")
    if key or base:
        model = os.environ.get("EMBEDDING_MODEL", "text-embedding-3-small")
        return Embedder(base or "https://api.openai.com/v1", key, model, timeout=120)
    return Offline(HERE.parent / ".local" / "vectors" / "e5.sqlite")


def _shown(found: Found) -> dict[str, object]:
    shown = asdict(found)
    return {name: shown[name] for name in ("decision", "question", "candidates", "parts", "ms")}


if __name__ == "__main__":
    sys.exit(main())
