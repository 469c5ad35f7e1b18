"""What the corpus covers, for people: `make corpus`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from functions.setup.compiled import Corpus
from functions.shared.destinations import segments
from functions.shared.hangul import sound


def show(corpus: Corpus, official: Path | None) -> int:
    """Print the figures, and with the official table which row is covered by what; 1 where there is a gap."""
    figures = corpus.coverage()
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):<28} {value if not isinstance(value, dict) else ''}".rstrip())
        for key, count in value.items() if isinstance(value, dict) else ():
            print(f"  {key:<26} {count}")
    gaps = []
    if figures["aliases_per_item"] < 5:
        gaps.append(f"only {figures['aliases_per_item']} aliases an item on average; at least 5 are needed")
    if official:
        gaps += _against(corpus, official)
    print(*gaps, sep="\n", end="\n" if gaps else "", file=sys.stderr)
    return 1 if gaps else 0


def _against(corpus: Corpus, official: Path) -> list[str]:
    with official.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    ids = corpus.official_ids()
    covering = [(row, covered_by(corpus, ids, row)) for row in rows]
    print(f"{'official rows covered':<28} {sum(item_id is not None for _, item_id in covering)} of {len(rows)}")
    for row, item_id in covering:
        print(f"  {row['niIdx']:>4} {row['name']} → {item_id}")
    return [f"not covered: {row['niIdx']} {row['name']}" for row, item_id in covering if item_id is None]


def covered_by(corpus: Corpus, ids: dict[int, str], row: dict[str, str]) -> str | None:
    """The item whose pages hold this row under its own class and one of whose names is the row's; else None."""
    item = corpus.entries.items.get(ids.get(int(row["niIdx"]), ""))
    if item is None:
        return None
    classes = [class_ for class_, pages in item.official.items() if int(row["niIdx"]) in pages]
    if segments(classes[0]) != segments(row["official_class"]):
        return None
    names = {sound(name) for name in (item.name.ko, *item.aliases)}
    return item.id if sound(row["name"]) in names else None
