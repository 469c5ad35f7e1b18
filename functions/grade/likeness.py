"""How alike two photos are, as pictures: whether one was made out of the other. Pillow and the standard library.

Two steps, because the first alone does not separate. Measured on the 2,074 photos of TrashNet, the hardest case there
is (waste on a white board: 2.1 million pairs of different photos), and on transformed copies of 150 of them:

- The 64-bit difference hash of `ingest` finds candidates: within NEAR bits, itself or mirrored, are 0.93 to 1.00 of the
  copies of each kind, and 0.13 of the pairs of different photos.
- A candidate is laid over the photo, in either direction, mirrored too, cut as it fits best, and compared in its fine
  structure (64 x 64 grey, without what is blurred by 2 pixels, outlines toned down). Different photos agree by 0.3 at
  the median and 0.74 at the most, copies by 0.75 to 0.99.

Both together find all copies that were resized, recompressed (quality 30), darkened, given more contrast or mirrored;
0.99 of those cut by 3 or 5 % on every side, 0.96 cut by 10 % on one side, 0.92 at a corner, 0.93 brightened by a third.
0.97 of those mirrored, cut and recompressed, but only 0.55 of those turned by 2 degrees. Of the 2,140 pairs of
different photos within 8 bits, 18 count as copies, and none of 1,500 within 9 to 14 bits: two are one file twice, the
others two shots of a thing that nobody had moved.
"""

from __future__ import annotations

from io import BytesIO
from itertools import permutations, product
from math import sqrt
from operator import mul
from typing import NamedTuple

from PIL import Image, ImageChops, ImageFilter

from functions.shared.phash import phash

#: Bits in which two hashes may differ and the pictures are worth a look.
NEAR = 20
#: Bits in which hashes differ so little that it is noted without a look: 40 of a million pairs of different photos do.
VERY_NEAR = 3
#: Agreement from which one picture is a copy of the other.
COPY = 0.8

#: Sides of the pictures: as they are kept, and as they are laid over each other, first roughly, then finely.
_KEPT, _ROUGH, _FINE = 256, 20, 64
#: Agreement in the rough without which nobody looks finely, and how many of the best are looked at.
_WORTH, _LOOKS = 0.5, 4
#: Grey values that an outline may differ by from its surroundings: more says nothing more. Otherwise one round cap on a
#: white table is like any other, because its outline outweighs all that is on it.
_OUTLINE = 5
_CLIPPED = bytes(max(128 - _OUTLINE, min(128 + _OUTLINE, value)) for value in range(256))
#: Fine structure shorter than this is noise: a blank wall is a copy of no other blank wall.
_FLAT = 1.0
#: Shares of its sides by which a picture may have been cut, and how much finer that is then looked for.
_CUTS = (0.0, 0.05, 0.1)
_FINER = (0.025, 0.0125, 0.00625)
_QUARTERS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)

Cut = tuple[float, ...]


class Picture:
    """A photo as it is compared: small and grey. `photo` is a JPEG, looked at as it is or turned by `quarters`."""

    def __init__(self, photo: bytes, quarters: int = 0) -> None:
        self._kept = _turned(_opened(photo), quarters).resize((_KEPT, _KEPT), Image.Resampling.BOX)

    def likeness(self, other: Picture) -> float:
        """From -1 to 1: how far their fine structure agrees where they fit best. COPY and more: one is of the other."""
        mirrored = self._kept.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        ways = [(one, two) for mine in (self._kept, mirrored) for one, two in permutations((mine, other._kept))]
        rough = [(agreement, n, cut) for n, way in enumerate(ways) for agreement, cut in _roughly(*way)]
        best = sorted(rough, reverse=True)[:_LOOKS]
        return max(_finely(*ways[n], cut) if agreement >= _WORTH else agreement for agreement, n, cut in best)


class _Grain(NamedTuple):
    """Fine structure: grey differences, their mean and their length."""

    values: bytes
    mean: float
    length: float


def hashes(photo: bytes) -> list[str]:
    """The perceptual hash of a JPEG as it is, and turned by one, two and three quarters."""
    picture = _opened(photo)
    return [phash(_turned(picture, quarters)) for quarters in range(4)]


def bits(one: str, other: str) -> int:
    """In how many bits two hashes (16 hex digits) differ, or one and the mirror image of the other: the smaller."""
    first, second = int(one, 16), int(other, 16)
    return min((first ^ second).bit_count(), (_mirrored(first) ^ second).bit_count())


def _opened(photo: bytes) -> Image.Image:
    opened = Image.open(BytesIO(photo))
    opened.draft("L", (_KEPT, _KEPT))
    return opened.convert("L")


def _turned(picture: Image.Image, quarters: int) -> Image.Image:
    return picture.transpose(_QUARTERS[quarters - 1]) if quarters else picture


def _mirrored(hash_: int) -> int:
    """The difference hash of the mirror image: rows turned round, and what grew darker grows brighter."""
    rows = [hash_ >> 8 * n & 0xFF for n in range(8)]
    return sum((int(f"{row:08b}"[::-1], 2) ^ 0xFF) << 8 * n for n, row in enumerate(rows))


def _roughly(whole: Image.Image, part: Image.Image) -> list[tuple[float, Cut]]:
    """How much `whole` looks like `part` when it is cut in each of 81 ways."""
    whole, part = (picture.resize((_FINE, _FINE), Image.Resampling.BOX) for picture in (whole, part))
    wanted = _grain(part, (0, 0, 0, 0), _ROUGH)
    return [(_agreement(_grain(whole, cut, _ROUGH), wanted), cut) for cut in product(_CUTS, repeat=4)]


def _finely(whole: Image.Image, part: Image.Image, cut: Cut) -> float:
    """The agreement at the best cut near `cut`: side by side, in ever smaller steps, as long as it grows."""
    wanted = _grain(part, (0, 0, 0, 0), _FINE)
    best = _agreement(_grain(whole, cut, _FINE), wanted)
    for step in _FINER:
        for side, way in product(range(4), (-step, step)):
            while True:
                moved = tuple(max(0.0, share + way * (n == side)) for n, share in enumerate(cut))
                agreement = _agreement(_grain(whole, moved, _FINE), wanted)
                if agreement <= best or max(moved) > 2 * _CUTS[-1]:
                    break
                best, cut = agreement, moved
    return best


def _grain(picture: Image.Image, cut: Cut, side: int) -> _Grain:
    left, top, right, bottom = (share * picture.width for share in cut)
    box = (left, top, picture.width - right, picture.height - bottom)
    small = picture.resize((side, side), Image.Resampling.BOX, box=box)
    blurred = small.filter(ImageFilter.GaussianBlur(2))
    values = ImageChops.subtract(small, blurred, 1, 128).tobytes().translate(_CLIPPED)
    mean = sum(values) / len(values)
    return _Grain(values, mean, sqrt(max(0.0, sum(map(mul, values, values)) - len(values) * mean * mean)))


def _agreement(one: _Grain, other: _Grain) -> float:
    """Correlation; 0 where there is nothing to be seen in one of them."""
    if min(one.length, other.length) < _FLAT:
        return 0.0
    common = sum(map(mul, one.values, other.values)) - len(one.values) * one.mean * other.mean
    return float(common / (one.length * other.length))
