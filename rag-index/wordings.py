"""Learn `functions/shared/wording.bin` from the practice questions and the names of the corpus. Needs numpy.

Stochastic gradient descent on the cross entropy of a softmax over all items, a text's runs of letters in a new random
choice each time (a quarter is left out), each number's pace by what it has moved so far (Adagrad, Duchi et al., 2011).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from functions.setup.compiled import Corpus
from functions.shared import wording
from functions.shared.wording import HEAD, OTHER, PLACES, WIDTH

_ROUNDS, _TOGETHER, _PACE = 20, 256, 0.2
#: Every so many texts are learnt without their spaces as well.
_UNSPACED = 4
#: The share of runs left out, and of certainty that is spread over all items, because labels are human.
_LEFT_OUT, _DOUBT = 0.25, 0.05

Floats = npt.NDArray[np.float32]


def learn(corpus: Corpus, practice: Iterable[Mapping[str, str]], seed: int = 1) -> str:
    """Write wording.bin; a line that says from how many texts."""
    texts = list(_texts(corpus, practice))
    texts += [("".join(text.split()), item) for text, item in texts[::_UNSPACED]]
    items = sorted({item for _, item in texts})
    number = {item: n for n, item in enumerate(items)}
    places, vectors = _trained([(text, number[item]) for text, item in texts], len(items), seed)
    kept, of_places = _narrowed(places)
    kept_items, of_items = _narrowed(vectors)
    names = "\n".join(items).encode()
    wording.FILE.write_bytes(HEAD.pack(of_places, of_items, len(names)) + names + kept + kept_items)
    return f"{len(texts)} texts about {len(items)} items, in {wording.FILE.stat().st_size / 1e6:.1f} MB"


def _texts(corpus: Corpus, practice: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    known = {row.id for row in corpus.items if row.kind == "item"}
    for row in corpus.items:
        if row.kind != "choice":
            texts = [*row.names.values(), *row.said.values()]
            yield from ((text, row.id if row.kind == "item" else OTHER) for text in texts)
    for asked in practice:
        if asked["decision"] == "not_found":
            yield asked["question"], OTHER
        elif asked["item"] in known:
            yield asked["question"], asked["item"]


def _trained(texts: Sequence[tuple[str, int]], count: int, seed: int) -> tuple[Floats, Floats]:
    """The vectors of the places and of the items."""
    chance = np.random.default_rng(seed)
    found = [np.array(sorted(wording.runs(text)), np.int32) for text, _ in texts]
    wanted = np.array([item for _, item in texts])
    places, vectors = (chance.normal(0, 0.05, (n, WIDTH)).astype(np.float32) for n in (PLACES, count))
    moved, moved_items = (np.full((n, 1), 1e-6, np.float32) for n in (PLACES, count))
    order = np.array([n for n, runs in enumerate(found) if len(runs)])
    for turn in range(_ROUNDS):
        chance.shuffle(order)
        for start in range(0, len(order), _TOGETHER):
            pace = _PACE * max(0.02, 1 - (turn + start / len(order)) / _ROUNDS)
            batch = order[start : start + _TOGETHER]
            left = [runs[chance.random(len(runs)) >= _LEFT_OUT] for runs in (found[n] for n in batch)]
            chosen = [some if len(some) else found[n][:1] for some, n in zip(left, batch, strict=True)]
            sizes = np.array([len(some) for some in chosen])
            flat, share = np.concatenate(chosen), np.repeat(1 / np.sqrt(sizes), sizes).astype(np.float32)[:, None]
            starts = np.cumsum([0, *sizes[:-1]])
            heard = np.add.reduceat(places[flat] * share, starts)
            sums = heard @ vectors.T
            error = np.exp(sums - sums.max(1, keepdims=True))
            error /= error.sum(1, keepdims=True)
            error -= _DOUBT / count
            error[np.arange(len(batch)), wanted[batch]] -= 1 - _DOUBT
            error /= len(batch)
            slopes, back = error.T @ heard, np.repeat(error @ vectors, sizes, axis=0) * share
            _step(vectors, moved_items, np.arange(count), slopes, pace)
            used, at = np.unique(flat, return_inverse=True)
            by_place = np.argsort(at, kind="stable")
            firsts = np.searchsorted(at[by_place], np.arange(len(used)))
            _step(places, moved, used, np.add.reduceat(back[by_place], firsts), pace)
    return places, vectors


def _step(values: Floats, moved: Floats, rows: npt.NDArray[np.int_], slopes: Floats, pace: float) -> None:
    moved[rows] += (slopes**2).mean(1, keepdims=True)
    values[rows] -= pace * slopes / np.sqrt(moved[rows])


def _narrowed(values: Floats) -> tuple[bytes, float]:
    """As signed bytes, and what a step of them is worth; the one in a thousand that is larger is cut."""
    worth = float(np.quantile(np.abs(values), 0.999)) / 127
    return np.clip(np.round(values / worth), -127, 127).astype(np.int8).tobytes(), worth
