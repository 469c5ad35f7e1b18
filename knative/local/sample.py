"""The sample photo: a clear PET bottle with cap and label on a table, drawn by us, so that no picture is committed."""

from __future__ import annotations

import io
import itertools
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

WIDTH, HEIGHT = 960, 1280

#: Half width of the bottle (pixels) by height from its cap down: neck, shoulder, waist, foot.
_PROFILE = [(0, 46), (70, 46), (72, 58), (92, 58), (94, 50), (120, 54), (200, 120), (260, 150), (330, 158), (560, 158),
            (600, 148), (640, 158), (860, 158), (905, 150), (930, 120)]  # fmt: skip
_TOP, _MIDDLE = 170, WIDTH // 2


def _half_width(y: float) -> float:
    for (y0, w0), (y1, w1) in itertools.pairwise(_PROFILE):
        if y0 <= y <= y1:
            share = (y - y0) / (y1 - y0)
            return w0 + (w1 - w0) * (3 * share**2 - 2 * share**3)
    return 0.0


def _outline(top: float, bottom: float, shrink: float = 0.0) -> list[tuple[float, float]]:
    heights = [top + step * (bottom - top) / 200 for step in range(201)]
    left = [(_MIDDLE - _half_width(y) + shrink, _TOP + y) for y in heights]
    return left + [(2 * _MIDDLE - x, y) for x, y in reversed(left)]


def _room() -> Image.Image:
    """A bright wall over a wooden table, out of focus."""
    chance = random.Random(7)  # noqa: S311 - the grain of the wood, the same every time
    room = Image.new("RGB", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(room)
    for line in range(HEIGHT):
        wall, shade = line < 880, line / 880 if line < 880 else (line - 880) / 400
        light, dark = ((226, 228, 226), (204, 204, 198)) if wall else ((178, 134, 92), (138, 100, 64))
        pen.line([(0, line), (WIDTH, line)], fill=_mixed(light, dark, shade))
    for _ in range(260):
        y, x = chance.uniform(885, HEIGHT), chance.uniform(-200, WIDTH)
        pen.line([(x, y), (x + chance.uniform(100, 500), y + 2)], fill=(146, 106, 70), width=1)
    return room.filter(ImageFilter.GaussianBlur(3))


def _mixed(one: tuple[int, int, int], other: tuple[int, int, int], share: float) -> tuple[int, ...]:
    return tuple(int(a + (b - a) * share) for a, b in zip(one, other, strict=True))


def draw() -> Image.Image:
    """The scene, 960 × 1280."""
    room = _room()
    shadow = Image.new("L", room.size, 0)
    ImageDraw.Draw(shadow).ellipse([_MIDDLE - 190, _TOP + 890, _MIDDLE + 330, _TOP + 975], fill=150)
    room = Image.composite(Image.new("RGB", room.size, (70, 48, 32)), room, shadow.filter(ImageFilter.GaussianBlur(22)))
    body = Image.new("L", room.size, 0)
    ImageDraw.Draw(body).polygon(_outline(60, 930), fill=255)
    body = body.filter(ImageFilter.GaussianBlur(1.2))
    behind = room.transform(room.size, Image.Transform.AFFINE, (0.72, 0, 134, 0, 1, -18)).filter(
        ImageFilter.GaussianBlur(2)
    )
    glass = Image.blend(behind, Image.new("RGB", room.size, (206, 226, 236)), 0.34)
    inner = Image.new("L", room.size, 0)
    ImageDraw.Draw(inner).polygon(_outline(64, 926, 16), fill=255)
    rim = ImageChops.subtract(body, inner.filter(ImageFilter.GaussianBlur(12)))
    glass = Image.composite(Image.new("RGB", room.size, (112, 136, 150)), glass, rim.point(lambda v: int(v * 0.62)))
    room.paste(glass, mask=body)
    _ridges(room, body)
    _label(room)
    _shine(room, body)
    _cap(room)
    return room.filter(ImageFilter.GaussianBlur(0.8))


def _ridges(room: Image.Image, body: Image.Image) -> None:
    """Rings pressed into the plastic, above and below the label, and the petals of the foot."""
    rings = Image.new("RGBA", room.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(rings)
    for y in (290, 322, 640, 672, 704, 736, 768, 800):
        width = _half_width(y)
        for offset, color in ((0, (96, 122, 138, 150)), (5, (255, 255, 255, 170))):
            box = [_MIDDLE - width, _TOP + y - 16 + offset, _MIDDLE + width, _TOP + y + 16 + offset]
            pen.arc(box, 10, 170, fill=color, width=4)
    for x in (-110, -55, 0, 55, 110):
        pen.line([(_MIDDLE + x * 0.7, _TOP + 925), (_MIDDLE + x, _TOP + 850)], fill=(104, 130, 146, 150), width=5)
    rings.putalpha(ImageChops.multiply(rings.getchannel("A").filter(ImageFilter.GaussianBlur(1)), body))
    room.paste(rings, mask=rings)


def _label(room: Image.Image) -> None:
    """A blue paper label round the middle, darker towards its sides, with a wave and stripes instead of words."""
    label = Image.new("RGB", room.size)
    pen = ImageDraw.Draw(label)
    for x in range(_MIDDLE - 165, _MIDDLE + 166):
        side = abs(x - _MIDDLE) / 165
        shade = 1.0 - 0.55 * side**2.2
        pen.line([(x, 0), (x, HEIGHT)], fill=(int(38 * shade), int(112 * shade), int(196 * shade)))
    wave = [(-170, 520), (-60, 470), (60, 510), (170, 455), (170, 500), (60, 550), (-60, 512), (-170, 560)]
    pen.polygon([(_MIDDLE + x, _TOP + y) for x, y in wave], fill=(228, 240, 250))
    for y in (400, 420, 438):
        pen.rounded_rectangle([_MIDDLE - 80, _TOP + y, _MIDDLE + 60, _TOP + y + 10], 5, fill=(240, 246, 252))
    mask = Image.new("L", room.size, 0)
    ImageDraw.Draw(mask).polygon(_outline(365, 595, -1), fill=255)
    room.paste(label, mask=mask.filter(ImageFilter.GaussianBlur(1)))


def _shine(room: Image.Image, body: Image.Image) -> None:
    """A window's reflection down the left side and a thin one on the right."""
    light = Image.new("L", room.size, 0)
    pen = ImageDraw.Draw(light)
    for share, width, power in ((-0.62, 26, 215), (-0.42, 9, 130), (0.7, 12, 150)):
        pen.line([(_MIDDLE + _half_width(y) * share, _TOP + y) for y in range(130, 905, 5)], fill=power, width=width)
    light = ImageChops.multiply(light.filter(ImageFilter.GaussianBlur(6)), body)
    room.paste((255, 255, 255), mask=light)


def _cap(room: Image.Image) -> None:
    """A white screw cap with its grip."""
    pen = ImageDraw.Draw(room)
    for x in range(-52, 53):
        shade = 1.0 - 0.45 * (abs(x + 12) / 64) ** 2 - (0.1 if x % 8 < 3 else 0.0)
        color = tuple(int(c * shade) for c in (246, 248, 250))
        pen.line([(_MIDDLE + x, _TOP - 6), (_MIDDLE + x, _TOP + 62)], fill=color)
    pen.ellipse([_MIDDLE - 52, _TOP - 16, _MIDDLE + 52, _TOP + 6], fill=(250, 251, 252))
    pen.line([(_MIDDLE - 50, _TOP + 66), (_MIDDLE + 50, _TOP + 66)], fill=(150, 165, 175), width=3)


def jpeg() -> bytes:
    """The scene as a JPEG."""
    buffer = io.BytesIO()
    draw().save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
