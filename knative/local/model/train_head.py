"""Train and judge the material head: a linear layer from the network's 1280 features to TrashNet's six classes.

    python -m knative.local.model.train_head --photos TRASHNET [--write]

TRASHNET holds one folder per class, as the data set is published (MIT licence); it is not part of this repository.
TrashNet shows the same object in photos with neighbouring numbers, so the split is by blocks of twelve numbers, never
by single photos: every fourth block is TEST, from which nothing here is learned or chosen. The strength of the
regularisation and the temperature of the probabilities are chosen by cross-validation over TRAIN. Prints accuracy,
confusion and calibration on TEST; `--write` also saves weights/material-head.npz.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from knative.local.model.vision import WEIGHTS, Floats, Network, normalised, opened, softmax

Indices = npt.NDArray[np.int64]

BLOCK, TEST_EVERY, FOLDS, STEPS = 12, 4, 4, 400
PENALTIES = (3e-4, 1e-3, 3e-3, 1e-2)


def _cropped(image: Image.Image, share: float) -> Image.Image:
    side = int(min(image.size) * share)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


#: Views of every TRAIN photo that the head learns from; it is judged on "whole" alone.
VIEWS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "whole": lambda image: image,
    "mirrored": ImageOps.mirror,
    "left": lambda image: image.rotate(90, expand=True),
    "upside down": lambda image: image.rotate(180),
    "right": lambda image: image.rotate(270, expand=True),
    "middle": lambda image: _cropped(image, 1.0),
    "close": lambda image: _cropped(image, 0.875),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "vivid": lambda image: ImageEnhance.Color(image).enhance(1.5),
}


def blocks(photos: list[Path]) -> Indices:
    """Number of the block of twelve neighbouring photo numbers each photo belongs to."""
    return np.array([int(re.sub(r"\D", "", photo.stem)) // BLOCK for photo in photos])


def held_out(photos: list[Path]) -> npt.NDArray[np.bool_]:
    """True for the photos of TEST."""
    return np.asarray(blocks(photos) % TEST_EVERY == TEST_EVERY - 1)


def features(photos: list[Path], network: Network) -> dict[str, Floats]:
    """View → float32[photos, 1280]."""
    seen: dict[str, list[Floats]] = {view: [] for view in VIEWS}
    for photo in photos:
        image, _ = opened(photo.read_bytes())
        for view, change in VIEWS.items():
            seen[view].append(network.run(normalised(change(image)))[1])
    return {view: np.stack(rows) for view, rows in seen.items()}


def fit(rows: Floats, labels: Indices, classes: int, penalty: float) -> tuple[Floats, Floats]:
    """Balanced multinomial logistic regression by Nesterov's method: (weights[classes,1280], bias[classes])."""
    centre, spread = rows.mean(0), rows.std(0) + 1e-3
    scaled = (rows - centre) / spread
    balance = (len(labels) / classes / np.bincount(labels, minlength=classes))[labels][:, None].astype(np.float32)
    wanted = np.eye(classes, dtype=np.float32)[labels]
    rate = np.float32(2.0 / np.linalg.eigvalsh(np.cov(scaled[:: max(1, len(scaled) // 2000)].T))[-1])
    weights = np.zeros((scaled.shape[1], classes), np.float32)
    bias = np.zeros(classes, np.float32)
    ahead, ahead_bias = weights, bias
    for step in range(STEPS):
        scores = scaled @ ahead + ahead_bias
        raised = np.exp(scores - scores.max(1, keepdims=True))
        wrong = (raised / raised.sum(1, keepdims=True) - wanted) * balance / len(labels)
        moved = ahead - rate * (scaled.T @ wrong + np.float32(penalty) * ahead)
        moved_bias = ahead_bias - rate * wrong.sum(0)
        momentum = np.float32(step / (step + 3))
        ahead, ahead_bias = moved + momentum * (moved - weights), moved_bias + momentum * (moved_bias - bias)
        weights, bias = moved, moved_bias
    plain = (weights / spread[:, None]).T.astype(np.float32)
    return plain, (bias - plain @ centre).astype(np.float32)


def stacked(seen: dict[str, Floats], labels: Indices, chosen: Indices) -> tuple[Floats, Indices]:
    """All views of the chosen photos as one table."""
    return np.concatenate([rows[chosen] for rows in seen.values()]), np.tile(labels[chosen], len(seen))


def log_loss(scores: Floats, labels: Indices) -> float:
    """Mean negative log-likelihood of the right class."""
    return float(-np.mean([np.log(softmax(row)[label] + 1e-9) for row, label in zip(scores, labels, strict=True)]))


def main() -> None:
    """Choose by cross-validation on TRAIN, fit on TRAIN, report on TEST."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="save weights/material-head.npz")
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.glob("*/*.jpg"))
    names = sorted({photo.parent.name for photo in photos})
    labels = np.array([names.index(photo.parent.name) for photo in photos])
    test = held_out(photos)
    train = np.flatnonzero(~test)
    # TRAIN's blocks in order (0 1 2, 4 5 6, …), dealt out to the folds in turn.
    folds = (blocks(photos) // TEST_EVERY * (TEST_EVERY - 1) + blocks(photos) % TEST_EVERY) % FOLDS
    print(f"{len(photos)} photos: {len(train)} TRAIN, {int(test.sum())} TEST", flush=True)
    seen = features(photos, Network())

    found: list[tuple[float, float, Floats, Indices]] = []
    for penalty in PENALTIES:
        scores, truth = [], []
        for fold in range(FOLDS):
            inside, outside = train[folds[train] != fold], train[folds[train] == fold]
            weights, bias = fit(*stacked(seen, labels, inside), len(names), penalty)
            scores.append(seen["whole"][outside] @ weights.T + bias)
            truth.append(labels[outside])
        all_scores, all_truth = np.concatenate(scores), np.concatenate(truth)
        right = float((all_scores.argmax(1) == all_truth).mean())
        print(f"penalty {penalty:g}: {FOLDS}-fold accuracy on TRAIN {right:.4f}", flush=True)
        found.append((right, penalty, all_scores, all_truth))
    _, penalty, all_scores, all_truth = max(found, key=lambda entry: entry[0])
    temperature = min(np.arange(0.5, 4.01, 0.05), key=lambda t: log_loss(all_scores / np.float32(t), all_truth))

    weights, bias = fit(*stacked(seen, labels, train), len(names), penalty)
    weights, bias = weights / np.float32(temperature), bias / np.float32(temperature)
    report(seen["whole"][test] @ weights.T + bias, labels[test], names, penalty, float(temperature))
    everything = (seen["whole"] @ weights.T + bias).argmax(1) == labels
    print(f"accuracy on TRAIN (seen, so no evidence) {everything[~test].mean():.4f}")
    if arguments.write:
        np.savez(WEIGHTS / "material-head.npz", weights=weights, bias=bias, classes=np.array(names))


def report(scores: Floats, labels: Indices, names: list[str], penalty: float, temperature: float) -> None:
    """Print accuracy, recall per class, confusion and calibration on TEST."""
    guesses = scores.argmax(1)
    sure = np.array([softmax(row).max() for row in scores])
    right = guesses == labels
    print(f"chosen: penalty {penalty:g}, temperature {temperature:.2f}")
    print(f"TEST accuracy {right.mean():.4f} ({right.sum()} of {len(right)})")
    print("rows: truth, columns: guess\n" + " " * 10 + "".join(f"{name[:9]:>10}" for name in names) + "    recall")
    for index, name in enumerate(names):
        row = np.bincount(guesses[labels == index], minlength=len(names))
        print(f"{name:<10}" + "".join(f"{count:>10}" for count in row) + f"{row[index] / row.sum():>10.2f}")
    for low, high in ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.97), (0.97, 1.01)):
        chosen = (sure >= low) & (sure < high)
        if chosen.any():
            print(f"said {sure[chosen].mean():.2f}, right {right[chosen].mean():.2f} (n={chosen.sum()})")


if __name__ == "__main__":
    main()
