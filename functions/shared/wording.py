"""Which item a question's wording points to, whatever it calls it: what people wrote about each item, by its letters.

Meaning alone confuses neighbours ("the lid of the jar" and "the jar"); how people ask about either differs in letters.
A linear classifier over runs of letters, as fastText makes them (Joulin et al., 2016: the mean of learnt vectors, one
for each run, against one for each item), learnt from the practice questions (`rag-index/wordings.py` → `wording.bin`).
Standard library only.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from functools import cache
from operator import add, mul
from pathlib import Path

from functions.shared import hangul

FILE = Path(__file__).with_name("wording.bin")
#: Runs share so many places; a vector has so many numbers.
PLACES, WIDTH = 1 << 15, 64
#: Characters of a text that are looked at.
_LONGEST = 160
#: Stands for whoever wants something else, or another thing than those of the corpus.
OTHER = ""
#: From here on an item is looked at even if nothing else speaks for it.
LIKELY = 0.05
#: The file: how much a step of the signed bytes is worth (places', items'), the length of the items' ids (joined by
#: line breaks), the ids, WIDTH bytes for each place, then for each item.
HEAD = struct.Struct("<ffI")


def likely(text: str) -> Mapping[str, float]:
    """Item → how likely it is meant, by the wording alone; they and OTHER add up to 1. Empty where nothing is said."""
    worth, items, places, vectors = _learnt()
    found = runs(text)
    if not found:
        return {}
    total = [0] * WIDTH
    for place in found:
        total = list(map(add, total, places[place * WIDTH : (place + 1) * WIDTH]))
    worth /= math.sqrt(len(found))
    sums = [worth * sum(map(mul, total, vector)) for vector in vectors]
    top = max(sums)
    powers = [math.exp(value - top) for value in sums]
    whole = sum(powers)
    return {item: power / whole for item, power in zip(items, powers, strict=True)}


def runs(text: str) -> set[int]:
    """The places of a text's runs: of two to four letters within words, whose ends count as letters; of two or three
    across them, because spaces are typed or not; and of four to six sounds, of which a typo spoils fewer.
    """
    words = hangul.canonical(text[:_LONGEST]).split()
    found = {run for word in words for run in hangul.runs(f"<{word}>", (2, 3, 4))}
    found |= {f"_{run}" for run in hangul.runs("".join(words), (2, 3))}
    found |= {f"~{run}" for word in words for run in hangul.runs(f"<{hangul.sound(word)}>", (4, 5, 6))}
    return {zlib.crc32(run.encode(errors="replace")) % PLACES for run in found}


@cache
def _learnt() -> tuple[float, list[str], memoryview, list[tuple[int, ...]]]:
    """What a product of steps is worth, the items, every place's vector, and each item's."""
    data = FILE.read_bytes()
    of_places, of_items, length = HEAD.unpack_from(data)
    items = data[HEAD.size : HEAD.size + length].decode().split("\n")
    numbers = memoryview(data)[HEAD.size + length :].cast("b")
    places, rest = numbers[: PLACES * WIDTH], numbers[PLACES * WIDTH :]
    vectors = [tuple(rest[n * WIDTH : (n + 1) * WIDTH]) for n in range(len(items))]
    return of_places * of_items, items, places, vectors
