"""Look at one photo: an ImageNet classifier and a head of ours for the material. Names of waste are in seeing.py.

The network is EfficientNet-Lite0 (ImageNet-1k); the head is a linear layer over its 1280 pooled features, trained by us
on TrashNet (train_head.py). Figures, licences and limits stand in weights/README.md.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image, ImageOps, UnidentifiedImageError

WEIGHTS = Path(__file__).parent / "weights"

#: The network's input is SIDE × SIDE pixels.
SIDE = 224

#: How the network was trained to see a pixel: (value - 127) / 128, as TensorFlow's EfficientNet-Lite does.
MEAN, SPREAD = 127.0, 128.0

#: Most pixels a photo may have (a caller sends at most 1024 × 1024; more than this is refused, not decoded).
MAX_PIXELS = 40_000_000

_FORMATS = ("JPEG", "PNG", "WEBP")

Floats = npt.NDArray[np.float32]


class UnreadablePhoto(ValueError):
    """The bytes are no JPEG, PNG or WebP, are broken, or are far too large."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look at a photo gives.

    `classes`: probability of each of the 1000 ImageNet classes; `materials`: TrashNet class (cardboard, glass, metal,
    paper, plastic, trash) → probability; `contrast`: standard deviation of the grey values (0–255); `width` and
    `height` in pixels as sent.
    """

    classes: Floats
    materials: dict[str, float]
    contrast: float
    width: int
    height: int


def opened(photo: bytes) -> tuple[Image.Image, tuple[int, int]]:
    """The photo as an RGB picture, the right way up and decoded small where the format allows it, and its sent size."""
    try:
        image = Image.open(io.BytesIO(photo), formats=_FORMATS)
        size = image.size
        if size[0] * size[1] > MAX_PIXELS:
            raise UnreadablePhoto(f"{size[0]} x {size[1]} pixels is more than {MAX_PIXELS}")
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
        return ImageOps.exif_transpose(image).convert("RGB"), size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UnreadablePhoto(str(error)) from error


def normalised(image: Image.Image) -> Floats:
    """The whole picture, squeezed to SIDE × SIDE (nothing the citizen photographed is cut off), as float32[3,S,S]."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return ((np.asarray(small, np.float32) - MEAN) / SPREAD).transpose(2, 0, 1)


def pixels(photo: bytes) -> Floats:
    """float32[3,SIDE,SIDE] of an encoded photo."""
    return normalised(opened(photo)[0])


class Network:
    """The ONNX network on one CPU thread. Safe to call from several threads."""

    def __init__(self, path: Path = WEIGHTS / "efficientnet-lite0.onnx") -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, image: Floats) -> tuple[Floats, Floats]:
        """(logits[1000], features[1280]) of one normalised picture."""
        logits, features = self._session.run(["logits", "features"], {"image": image[None]})
        return logits[0], features[0]


class Eye:
    """The network and the material head together: what the stand-in sees with."""

    def __init__(self, network: Network | None = None, head: Path = WEIGHTS / "material-head.npz") -> None:
        self._network = network or Network()
        with np.load(head) as saved:
            self._weights, self._bias = saved["weights"], saved["bias"]
            self._materials = [str(name) for name in saved["classes"]]

    def look(self, photo: bytes) -> Glance:
        """One look at an encoded photo. UnreadablePhoto where it cannot be decoded. About 15 ms on one core."""
        image, (width, height) = opened(photo)
        logits, features = self._network.run(normalised(image))
        materials = softmax(self._weights @ features + self._bias)
        return Glance(
            classes=softmax(logits),
            materials={name: float(value) for name, value in zip(self._materials, materials, strict=True)},
            contrast=float(np.asarray(image.convert("L"), np.float32).std()),
            width=width,
            height=height,
        )


def softmax(values: Floats) -> Floats:
    """Probabilities of a vector of logits."""
    raised = np.exp(values - values.max())
    return np.asarray(raised / raised.sum(), np.float32)
