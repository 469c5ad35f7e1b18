"""Learn `functions/shared/wording.bin` from the practice questions and the names of the corpus. Needs numpy.

Stochastic gradient descent on the cross entropy of a softmax over all items, a text's runs of letters in a new random
choice each time (a quarter is left out), each number's pace by what it has moved so far (Adagrad, Duchi et al., 2011).
A text's embedding is left out at times as well, and always beside letters without spaces, so that these learn to do
without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from functions.setup.compiled import Corpus
from functions.shared import wording
from functions.shared.embeddings import DIMENSIONS, Embeds
from functions.shared.wording import HEAD, OTHER, PLACES, UNSAID, WIDTH

_ROUNDS, _TOGETHER, _PACE = 20, 256, 0.2
#: Every so many texts are learnt without their spaces as well.
_UNSPACED = 4
#: The share of runs and of embeddings left out, and of certainty spread over all items, because labels are human.
_LEFT_OUT, _UNMEANT, _DOUBT = 0.25, 0.2, 0.05
#: An embedding's numbers, less their mean, are so many times smaller than what letters add.
_LOUDER = 6.0
#: Texts that are embedded at once, and reported: as many as OpenAI takes in one request.
_EMBEDDED = 2048

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Text:
    """What is learnt from: the places of a text's runs, the number of what is meant, its embedding less the mean."""

    runs: npt.NDArray[np.int32]
    item: int
    meaning: Floats


def learn(corpus: Corpus, practice: Iterable[Mapping[str, str]], embedder: Embeds, seed: int = 1) -> str:
    """Write wording.bin; a line that says from how many texts."""
    asked = list(_asked(corpus, practice))
    items = sorted({item for _, item in asked})
    number = {item: n for n, item in enumerate(items)}
    meant = _embedded(embedder, [text for text, _ in asked])
    mean = meant.mean(0)
    meant = (meant - mean) * _LOUDER
    texts = [Text(_runs(text), number[item], meaning) for (text, item), meaning in zip(asked, meant, strict=True)]
    unmeant = np.zeros(DIMENSIONS, np.float32)
    texts += [Text(_runs("".join(text.split())), number[item], unmeant) for text, item in asked[::_UNSPACED]]
    places, vectors, meaning = _trained([text for text in texts if len(text.runs)], len(items), seed)
    parts, worths = zip(*(_narrowed(values) for values in (places, vectors, _LOUDER * meaning.T)), strict=True)
    names, model = "\n".join(items).encode(), embedder.model.encode()
    bias = (-_LOUDER * mean @ meaning).astype("<f4").tobytes()
    wording.FILE.write_bytes(HEAD.pack(*worths, len(names), len(model)) + names + model + b"".join(parts) + bias)
    return f"{len(texts)} texts about {len(items)} items, in {wording.FILE.stat().st_size / 1e6:.1f} MB"


def _asked(corpus: Corpus, practice: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Every text and what it means."""
    known = {row.id for row in corpus.items if row.kind == "item"}
    for row in corpus.items:
        if row.kind in ("item", "outside"):
            texts = [*row.names.values(), *row.said.values()]
            yield from ((text, row.id if row.kind == "item" else OTHER) for text in texts)
    for asked in practice:
        if asked["decision"] == "not_found":
            yield asked["question"], OTHER
        elif asked["kind"] == "vague":
            yield asked["question"], UNSAID
        elif (likeliest := asked["item"].partition("|")[0]) in known:
            yield asked["question"], likeliest


def _runs(text: str) -> npt.NDArray[np.int32]:
    return np.array(sorted(wording.runs(text)), np.int32)


def _embedded(embedder: Embeds, texts: Sequence[str]) -> Floats:
    """A row for each text; says on standard error how far it has come, because a hundred thousand take a while."""
    found = np.empty((len(texts), DIMENSIONS), np.float32)
    for start in range(0, len(texts), _EMBEDDED):
        found[start : start + _EMBEDDED] = embedder.query(texts[start : start + _EMBEDDED])
        print(f"embedded {min(start + _EMBEDDED, len(texts))} of {len(texts)} texts", file=sys.stderr)
    return found


def _trained(texts: Sequence[Text], count: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """The vectors of the places and of the items, and what each number of an embedding adds."""
    chance = np.random.default_rng(seed)
    places, vectors, meaning = (
        chance.normal(0, spread, (n, WIDTH)).astype(np.float32)
        for n, spread in ((PLACES, 0.05), (count, 0.05), (DIMENSIONS, 0.02))
    )
    moved, moved_items, moved_meaning = (np.full((n, 1), 1e-6, np.float32) for n in (PLACES, count, DIMENSIONS))
    order = np.arange(len(texts))
    for turn in range(_ROUNDS):
        chance.shuffle(order)
        for start in range(0, len(order), _TOGETHER):
            pace = _PACE * max(0.02, 1 - (turn + start / len(order)) / _ROUNDS)
            batch = [texts[n] for n in order[start : start + _TOGETHER]]
            left = [text.runs[chance.random(len(text.runs)) >= _LEFT_OUT] for text in batch]
            chosen = [some if len(some) else text.runs[:1] for some, text in zip(left, batch, strict=True)]
            sizes = np.array([len(some) for some in chosen])
            flat, share = np.concatenate(chosen), np.repeat(1 / np.sqrt(sizes), sizes).astype(np.float32)[:, None]
            starts = np.cumsum([0, *sizes[:-1]])
            meant = np.stack([text.meaning for text in batch])
            meant *= chance.random((len(batch), 1)) >= _UNMEANT
            heard = np.add.reduceat(places[flat] * share, starts) + meant @ meaning
            sums = heard @ vectors.T
            error = np.exp(sums - sums.max(1, keepdims=True))
            error /= error.sum(1, keepdims=True)
            error -= _DOUBT / count
            error[np.arange(len(batch)), [text.item for text in batch]] -= 1 - _DOUBT
            error /= len(batch)
            slopes, back = error.T @ heard, error @ vectors
            _step(vectors, moved_items, np.arange(count), slopes, pace)
            _step(meaning, moved_meaning, np.arange(DIMENSIONS), meant.T @ back, pace)
            used, at = np.unique(flat, return_inverse=True)
            by_place = np.argsort(at, kind="stable")
            firsts = np.searchsorted(at[by_place], np.arange(len(used)))
            of_places = np.add.reduceat((np.repeat(back, sizes, axis=0) * share)[by_place], firsts)
            _step(places, moved, used, of_places, pace)
    return places, vectors, meaning


def _step(values: Floats, moved: Floats, rows: npt.NDArray[np.int_], slopes: Floats, pace: float) -> None:
    moved[rows] += (slopes**2).mean(1, keepdims=True)
    values[rows] -= pace * slopes / np.sqrt(moved[rows])


def _narrowed(values: Floats) -> tuple[bytes, float]:
    """As signed bytes, and what a step of them is worth; the one in a thousand that is larger is cut."""
    worth = float(np.quantile(np.abs(values), 0.999)) / 127
    return np.clip(np.round(values / worth), -127, 127).astype(np.int8).tobytes(), worth
