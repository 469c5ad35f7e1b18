"""A citizen's photo → clean copies: checked, turned upright, shrunk, and nothing in them but pixels.

Pillow only. The copies are encoded anew, so that EXIF (with it the GPS position), comments, colour profiles, embedded
previews and anything appended to the file are gone.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from io import BytesIO

import pillow_heif
from PIL import ExifTags, Image

from functions.shared.phash import phash

pillow_heif.register_heif_opener()

#: Bytes a photo may have (1 to LARGEST) and pixels it may unpack to: more is refused before it is decoded.
LARGEST = 10 * 1024 * 1024
MAX_PIXELS = 50_000_000
#: Longest side in pixels of what is kept, and of what the model sees (a larger picture costs no fewer tokens there).
KEPT_SIDE, MODEL_SIDE = 2048, 1024
#: A JPEG is unpacked at 1/2, 1/4 or 1/8 where that leaves at least this side: a third of the work, and good enough.
DRAFT_SIDE = 1600
QUALITY = 85

#: Transpositions that turn a picture with that EXIF orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}

#: Two at a time: 50 million pixels are 200 MB while they are being worked on.
_workbench = threading.BoundedSemaphore(2)


class BadPhoto(Exception):
    """No photo can be made of these bytes. `why`: empty, too_large, not_a_photo, too_many_pixels or damaged."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Photo:
    """Two JPEGs; width and height of `kept` in pixels; sha256 of the citizen's bytes; phash as 16 hex digits."""

    kept: bytes
    model: bytes
    width: int
    height: int
    sha256: str
    phash: str


def clean(body: bytes) -> Photo:
    """Check and clean a photo as it was uploaded. BadPhoto where it is none."""
    check_size(len(body))
    with _workbench:
        picture = _upright(_decode(body))
        kept = _pixels_only(picture)
        model = kept.copy()
        model.thumbnail((MODEL_SIDE, MODEL_SIDE))
        return Photo(
            kept=_jpeg(kept),
            model=_jpeg(model),
            width=kept.width,
            height=kept.height,
            sha256=hashlib.sha256(body).hexdigest(),
            phash=phash(model),
        )


def check_size(size: int) -> None:
    """BadPhoto unless `size` bytes may be a photo."""
    if size < 1:
        raise BadPhoto("empty")
    if size > LARGEST:
        raise BadPhoto("too_large")


def _format(body: bytes) -> str:
    """Pillow's name of the format, by the first bytes alone: what the file is called does not matter."""
    if body.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "WEBP"
    if body[4:8] == b"ftyp" and body[8:12] in _HEIF_BRANDS:
        return "HEIF"
    raise BadPhoto("not_a_photo")


def _decode(body: bytes) -> Image.Image:
    """Unpacked, and at most a little larger than it needs to be. The first frame, where there are several."""
    format_ = _format(body)
    try:
        picture = Image.open(BytesIO(body), formats=[format_])
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise BadPhoto("too_many_pixels")
        shrink = DRAFT_SIDE / max(width, height)
        if shrink < 1:
            picture.draft("RGB", (int(width * shrink), int(height * shrink)))
        picture.load()
    except (BadPhoto, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise BadPhoto("too_many_pixels") from error
    except Exception as error:  # a decoder may fail in any way on bytes that somebody made to break it
        raise BadPhoto("damaged") from error
    return picture


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken EXIF in a sound picture
        orientation = 1
    picture.thumbnail((KEPT_SIDE, KEPT_SIDE), reducing_gap=2.0)
    turn = _UPRIGHT.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _pixels_only(picture: Image.Image) -> Image.Image:
    """A new RGB picture that has never heard of the old one's metadata; what was transparent is white."""
    if picture.mode.startswith("I"):  # 16 bits of grey
        picture = picture.point(lambda value: value * (1 / 256)).convert("L")
    fresh = Image.new("RGB", picture.size, "white")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        fresh.paste(picture, mask=picture.getchannel("A"))
    else:
        fresh.paste(picture.convert("RGB"))
    return fresh


def _jpeg(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
