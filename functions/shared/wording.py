"""Which item a question's wording points to, whatever it calls it: what people wrote about each item, by its letters.

Meaning alone confuses neighbours ("the lid of the jar" and "the jar"); how people ask about either differs in letters.
A linear classifier over runs of letters, as fastText makes them (Joulin et al., 2016: the mean of learnt vectors, one
for each run, against one for each item), to which the question's embedding adds as one run more would: letters alone
do not know that "밑창갈이" is a repair. Learnt from the practice questions (`rag-index/wordings.py` → `wording.bin`).
Standard library only.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import add, mul
from pathlib import Path

from functions.shared import hangul
from functions.shared.embeddings import DIMENSIONS

FILE = Path(__file__).with_name("wording.bin")
#: Runs share so many places; a vector has so many numbers.
PLACES, WIDTH = 1 << 15, 96
#: Characters of a text that are looked at.
_LONGEST = 160
#: Stands for whoever wants something else, or another thing than those of the corpus.
OTHER = ""
#: Stands for whoever wants to throw away what they do not name.
UNSAID = "?"
#: From here on an item is looked at even if nothing else speaks for it.
LIKELY = 0.05
#: The file: how much a step of the signed bytes is worth (places', items', meaning's), the length of the items' ids
#: (joined by line breaks) and of the name of the model whose embeddings it knows; ids and name; WIDTH bytes for each
#: place, then for each item; WIDTH rows of DIMENSIONS bytes, what an embedding adds to each number; WIDTH floats, what
#: any embedding adds.
HEAD = struct.Struct("<fffII")


def likely(text: str, meaning: Sequence[float] = (), model: str = "") -> Mapping[str, float]:
    """Item → how likely it is meant, by the wording; they, OTHER and UNSAID add up to 1. Empty where nothing is
    said. `meaning` is the text's embedding by `model`, of use only if that is the model that was learnt with.
    """
    learnt = _learnt()
    found = runs(text)
    if not found:
        return {}
    total = [0] * WIDTH
    for place in found:
        total = list(map(add, total, learnt.places[place * WIDTH : (place + 1) * WIDTH]))
    worth = learnt.of_places / math.sqrt(len(found))
    heard = [worth * number for number in total]
    if len(meaning) == DIMENSIONS and model == learnt.model:
        worth = learnt.of_meaning
        adds = [worth * sum(map(mul, meaning, row)) for row in learnt.meaning]
        heard = [sum(numbers) for numbers in zip(heard, adds, learnt.bias, strict=True)]
    sums = [learnt.of_items * sum(map(mul, heard, vector)) for vector in learnt.vectors]
    top = max(sums)
    powers = [math.exp(value - top) for value in sums]
    whole = sum(powers)
    return {item: power / whole for item, power in zip(learnt.items, powers, strict=True)}


def runs(text: str) -> set[int]:
    """The places of a text's runs: of two to four letters within words, whose ends count as letters; of two or three
    across them, because spaces are typed or not; and of four to six sounds, of which a typo spoils fewer.
    """
    words = hangul.canonical(text[:_LONGEST]).split()
    found = {run for word in words for run in hangul.runs(f"<{word}>", (2, 3, 4))}
    found |= {f"_{run}" for run in hangul.runs("".join(words), (2, 3))}
    found |= {f"~{run}" for word in words for run in hangul.runs(f"<{hangul.sound(word)}>", (4, 5, 6))}
    return {zlib.crc32(run.encode(errors="replace")) % PLACES for run in found}


@dataclass(frozen=True, slots=True)
class _Learnt:
    """The file as it is read."""

    of_places: float
    of_items: float
    of_meaning: float
    items: list[str]
    model: str
    places: memoryview
    vectors: list[tuple[int, ...]]
    meaning: list[tuple[int, ...]]
    bias: tuple[float, ...]


@cache
def _learnt() -> _Learnt:
    data = memoryview(FILE.read_bytes())
    of_places, of_items, of_meaning, of_ids, of_model = HEAD.unpack_from(data)
    at = HEAD.size + of_ids
    items, model = str(data[HEAD.size : at], "utf-8").split("\n"), str(data[at : at + of_model], "utf-8")
    numbers, bytes_of_places = data[at + of_model :].cast("b"), PLACES * WIDTH
    vectors = [
        tuple(numbers[start : start + WIDTH])
        for start in range(bytes_of_places, bytes_of_places + len(items) * WIDTH, WIDTH)
    ]
    at = bytes_of_places + len(items) * WIDTH
    meaning = [tuple(numbers[at + n * DIMENSIONS : at + (n + 1) * DIMENSIONS]) for n in range(WIDTH)]
    if len(numbers) != at + WIDTH * (DIMENSIONS + 4):
        raise ValueError(f"{FILE.name} was made by another version: python rag-index fit")
    bias = struct.unpack_from(f"<{WIDTH}f", numbers, at + WIDTH * DIMENSIONS)
    places = numbers[:bytes_of_places]
    return _Learnt(of_places, of_items, of_meaning, items, model, places, vectors, meaning, bias)
