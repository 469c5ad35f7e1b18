"""The perceptual hash of a picture: what looks alike differs in few bits. Needs Pillow."""

from __future__ import annotations

from PIL import Image


def phash(picture: Image.Image) -> str:
    """64-bit perceptual hash (difference hash): pictures that look alike differ in few bits. 16 hex digits."""
    grey = picture.convert("L").resize((9, 8), Image.Resampling.BOX).tobytes()
    bits = "".join("1" if grey[9 * y + x] > grey[9 * y + x + 1] else "0" for y in range(8) for x in range(8))
    return f"{int(bits, 2):016x}"
