"""Write `vectors.npz`: the offline model's vectors of everything the index embeds, so that nobody waits for them."""

from __future__ import annotations

from pathlib import Path

from functions.setup.compiled import Corpus
from functions.setup.index import sample
from knative.local.model.embeddings import Embedder
from knative.local.model.shipped import FILE, Shipped, write

_KEPT = Path(__file__).parents[1] / ".local" / "vectors" / "e5.sqlite"


def texts(corpus: Corpus) -> list[str]:
    """Every text the index asks the model for, as the model is asked."""
    named = [row for row in corpus.items if row.kind in ("item", "outside")]
    names = [name for row in named for name in (*row.names.values(), *row.said.values())]
    rules = [rule.text for rule in corpus.rules if rule.leaf is None]
    passages = [f"passage: {text}" for text in dict.fromkeys([*names, *rules])]
    return passages + [f"query: {name}" for _, name in sample(corpus.items)]


def make(corpus: Corpus) -> int:
    """Embed what is new and write the file; says how far it is. Always 0."""
    wanted, embedder = texts(corpus), Embedder(_KEPT)
    made = {}
    for number, text in enumerate(wanted, 1):
        asks = text.startswith("query: ")  # the tuned layers may be others than those of the file
        made[text] = embedder.made(text) if asks else embedder.vectors([text])[0]
        if number % 500 == 0:
            print(f"{number}/{len(wanted)}", flush=True)
    write(made)
    print(f"{FILE.name}: {len(made)} vectors, {FILE.stat().st_size / 1e6:.1f} MB")
    return 0


def missing(corpus: Corpus) -> list[str]:
    """Texts that vectors.npz does not have."""
    shipped = Shipped()
    return [text for text in texts(corpus) if shipped.get(text) is None]
