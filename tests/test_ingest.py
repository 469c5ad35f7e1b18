"""ingest: every kind of photo and of attack, both orders of its two events, duplicates, and nothing left of the GPS."""

from __future__ import annotations

import hashlib
import io
import struct
import uuid
import zlib
from typing import Any

import pytest
from flask import Flask
from PIL import Image, ImageDraw, PngImagePlugin

from functions.ingest.photo import LARGEST, clean
from functions.shared import naming, proofs
from functions.shared.events import (
    AnalysisRequested,
    Event,
    PhotoIngested,
    ProofIngested,
    ProofRefused,
    ProofRequested,
    UploadStored,
)
from functions.shared.objects import Objects
from functions.shared.phash import phash
from tests.steps import World, deliver, deliver_at_once, load

RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (255, 255, 255)
MARK = b"\xec\x84\x9c\xec\x9a\xb8 37.5665 N 126.9780 E"  # stands in every kind of metadata below


@pytest.fixture
def app(pipeline_env: dict[str, str]) -> Flask:
    return load("ingest")


def picture(size: tuple[int, int] = (1600, 1200)) -> Image.Image:
    """Red above left, green above right, blue below left, white below right."""
    width, height = size
    image = Image.new("RGB", size, WHITE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2, height // 2), RED)
    draw.rectangle((width // 2, 0, width, height // 2), GREEN)
    draw.rectangle((0, height // 2, width // 2, height), BLUE)
    return image


def encoded(image: Image.Image, format_: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = MARK.decode()
    gps = tags.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (37.0, 33.0, 59.4), "E", (126.0, 58.0, 40.8)
    return tags


def corners(body: bytes) -> list[tuple[int, int, int]]:
    """The nearest of the four colours above left, above right, below left, below right."""
    image = Image.open(io.BytesIO(body)).convert("RGB")
    width, height = image.size
    found = []
    for x, y in ((1, 1), (3, 1), (1, 3), (3, 3)):
        pixel = image.getpixel((width * x // 4, height * y // 4))
        assert isinstance(pixel, tuple)
        found.append(
            min((RED, GREEN, BLUE, WHITE), key=lambda c: sum((a - b) ** 2 for a, b in zip(c, pixel, strict=True)))
        )
    return found


def bomb(side: int) -> bytes:
    """A valid PNG of side × side pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    lines = b"".join(packer.compress(b"\0" * (side // 8 + 1) * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def requested(world: World, objects: Objects, body: bytes | None, status: str = "requested") -> Event[Any]:
    """An analysis whose photo, if any, is in the store, and the event that asks for it."""
    analysis = world.analysis(status)
    if body is not None:
        objects.put(world.key(analysis), body, "image/jpeg")
    return world.said(analysis, AnalysisRequested(key=world.key(analysis)))


def stored(world: World, event: Event[Any]) -> Event[Any]:
    """What the store says of that photo."""
    return world.said(event.subject, UploadStored(key=event.data.key, size=1, etag=""), by="s3")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_every_format_is_kept_small_upright_and_without_a_trace(
    app: Flask, world: World, objects: Objects, format_: str
) -> None:
    options: dict[str, Any] = {"exif": exif(6).tobytes()}
    if format_ == "JPEG":
        options |= {"comment": MARK, "xmp": b"<x:xmpmeta>" + MARK + b"</x:xmpmeta>", "icc_profile": MARK * 10}
    if format_ == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("Comment", MARK.decode())
    # with another file behind it: a photo that is also an archive
    body = encoded(picture((3000, 2000)), format_, **options) + b"PK\x03\x04" + MARK
    assert MARK in body
    event = requested(world, objects, body)

    reply = deliver(app, event)

    assert reply.status == 200
    assert reply.event is not None
    row = world.row("SELECT * FROM photos WHERE analysis_id = %s", event.subject)
    kept, model = objects.get(row["kept_key"]), objects.get(row["model_key"])
    for copy, side in ((kept, 2048), (model, 1024)):
        assert MARK not in copy
        assert b"Exif" not in copy
        assert b"PK\x03\x04" not in copy
        image = Image.open(io.BytesIO(copy))
        assert image.format == "JPEG"
        assert max(image.size) <= side
        assert image.height > image.width  # orientation 6: a quarter turn to the right
        assert not image.getexif()
        assert copy.rstrip().endswith(b"\xff\xd9")
        assert corners(copy) == [BLUE, RED, WHITE, GREEN]
    assert (row["sha256"], row["bytes"]) == (hashlib.sha256(body).hexdigest(), len(body))
    assert (row["width"], row["height"]) == Image.open(io.BytesIO(kept)).size
    assert reply.event.data == PhotoIngested(
        photo_id=str(row["id"]), sha256=row["sha256"], width=row["width"], height=row["height"]
    )
    assert objects.head(event.data.key) is None
    assert world.state(event.subject)["status"] == "ingested"


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
    ],
)
def test_all_orientations_are_applied(orientation: int, expected: list[tuple[int, int, int]]) -> None:
    photo = clean(encoded(picture((400, 300)), exif=exif(orientation).tobytes()))
    assert corners(photo.kept) == corners(photo.model) == expected
    assert (photo.width > photo.height) == (orientation < 5)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_break_a_sound_picture() -> None:
    body = encoded(picture((400, 300)), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40)
    assert corners(clean(body).kept) == [RED, GREEN, BLUE, WHITE]


def test_transparency_and_sixteen_bits_become_plain_colour() -> None:
    glass = picture((400, 300)).convert("RGBA")
    glass.putalpha(0)
    assert corners(clean(encoded(glass, "PNG")).kept) == [WHITE] * 4
    deep = Image.new("I;16", (64, 64), 65535)
    assert corners(clean(encoded(deep, "PNG")).kept) == [WHITE] * 4


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
SOUND = encoded(picture())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(SVG, "not_a_photo", id="svg renamed"),
        pytest.param(encoded(picture((64, 64)), "GIF"), "not_a_photo", id="gif"),
        pytest.param(b"\xff\xd8\xff" + b"<html></html>" * 9, "damaged", id="html behind jpeg magic"),
        pytest.param(SOUND[: len(SOUND) // 2], "damaged", id="truncated jpeg"),
        pytest.param(encoded(picture(), "PNG")[:900], "damaged", id="truncated png"),
        pytest.param(encoded(picture(), "HEIF")[:700], "damaged", id="truncated heic"),
        pytest.param(bomb(20_000), "too_many_pixels", id="bomb beyond the decoder's own limit"),
        pytest.param(bomb(8_000), "too_many_pixels", id="bomb just beyond ours"),
        pytest.param(SOUND + b"\0" * LARGEST, "too_large", id="too large"),
        pytest.param(b"", "empty", id="empty"),
    ],
)
def test_what_is_no_photo_ends_the_analysis_and_says_why(
    app: Flask, world: World, objects: Objects, body: bytes, why: str
) -> None:
    assert why == "too_large" or len(body) < 200_000
    event = requested(world, objects, body)
    reply = deliver(app, event)
    assert reply.status == 200
    state = world.state(event.subject)
    assert (state["status"], state["failure"]) == (
        "failed",
        {"reason": "bad_photo", "detail": why, "from": "requested"},
    )
    assert world.types(event.subject) == ["analysis.v1.requested", "analysis.v1.failed"]
    assert world.rows("SELECT * FROM photos") == []


def test_the_photo_first_then_the_request(app: Flask, world: World, objects: Objects) -> None:
    asked = requested(world, objects, SOUND, "presigned")
    assert deliver(app, stored(world, asked)).status == 204
    assert objects.head(naming.photo_key(uuid.UUID(asked.subject), "model")) is None  # nobody asked for that yet
    world.do("UPDATE analyses SET status = 'requested' WHERE id = %s", asked.subject)
    assert deliver(app, asked).status == 200
    assert world.state(asked.subject)["status"] == "ingested"


def test_the_request_first_then_the_photo(app: Flask, world: World, objects: Objects) -> None:
    asked = requested(world, objects, None)
    assert deliver(app, asked).status == 204
    objects.put(asked.data.key, SOUND, "image/jpeg")
    assert deliver(app, stored(world, asked)).status == 200
    assert world.state(asked.subject)["status"] == "ingested"


def test_both_events_ten_times_at_once_make_one_photo(app: Flask, world: World, objects: Objects) -> None:
    asked = requested(world, objects, SOUND)
    came = stored(world, asked)
    replies = deliver_at_once(app, *[asked, came] * 10)
    assert {reply.status for reply in replies} <= {200, 204, 409}
    assert len({reply.event.id for reply in replies if reply.event}) == 1
    assert world.types(asked.subject).count("photo.v1.ingested") == 1
    row = world.row("SELECT * FROM photos WHERE analysis_id = %s", asked.subject)
    assert corners(objects.get(row["model_key"])) == [RED, GREEN, BLUE, WHITE]


# after-photos


def verified(world: World, objects: Objects, body: bytes | None, status: str = "requested") -> Event[Any]:
    """A proof whose after-photo, if any, is in the store, and the event that asks for it."""
    analysis = world.analysis("completed", outcome="guide")
    proof = world.proof(analysis, status, 2)
    key = world.proof_state(proof)["key"]
    if body is not None:
        objects.put(key, body, "image/jpeg")
    return world.said(analysis, ProofRequested(proof_id=proof, key=key))


def test_an_after_photo_is_kept_as_clean_as_the_first(app: Flask, world: World, objects: Objects) -> None:
    body = encoded(picture((3000, 2000)), exif=exif(6).tobytes(), comment=MARK)
    event = verified(world, objects, body)
    before = world.state(event.subject)

    reply = deliver(app, event)

    row = world.row("SELECT * FROM photos WHERE analysis_id = %s", event.subject)
    assert (row["kind"], str(row["proof_id"])) == ("after", event.data.proof_id)
    assert (row["sha256"], row["bytes"]) == (hashlib.sha256(body).hexdigest(), len(body))
    assert [row["kept_key"], row["model_key"]] == [
        f"photos/{event.subject}/after-2-{size}.jpg" for size in ("kept", "model")
    ]
    for key in (row["kept_key"], row["model_key"]):
        copy = objects.get(key)
        assert MARK not in copy
        assert corners(copy) == [BLUE, RED, WHITE, GREEN]
    assert reply.event is not None
    assert reply.event.data == ProofIngested(
        proof_id=event.data.proof_id, photo_id=str(row["id"]), sha256=row["sha256"]
    )
    assert world.types(event.subject) == ["proof.v1.requested", "proof.v1.ingested"]
    assert world.proof_state(event.data.proof_id)["status"] == "ingested"
    assert objects.head(event.data.key) is None
    after = world.state(event.subject)
    assert (after["status"], after["finished_at"]) == (before["status"], before["finished_at"])


def test_the_after_photo_first_then_the_request(app: Flask, world: World, objects: Objects) -> None:
    asked = verified(world, objects, SOUND, "presigned")
    assert deliver(app, stored(world, asked)).status == 204
    assert objects.head(naming.photo_key(uuid.UUID(asked.subject), "model", 2)) is None
    with world.db.transaction() as tx:
        proofs.advance(tx, asked.data.proof_id, frm={"presigned"}, to="requested")
    assert deliver(app, asked).status == 200
    assert world.proof_state(asked.data.proof_id)["status"] == "ingested"


def test_the_request_first_then_the_after_photo(app: Flask, world: World, objects: Objects) -> None:
    asked = verified(world, objects, None)
    assert deliver(app, asked).status == 204
    objects.put(asked.data.key, SOUND, "image/jpeg")
    assert deliver(app, stored(world, asked)).status == 200
    assert world.proof_state(asked.data.proof_id)["status"] == "ingested"


def test_both_events_of_a_proof_ten_times_at_once_make_one_photo(app: Flask, world: World, objects: Objects) -> None:
    asked = verified(world, objects, SOUND)
    replies = deliver_at_once(app, *[asked, stored(world, asked)] * 10)
    assert {reply.status for reply in replies} <= {200, 204, 409}
    assert len({reply.event.id for reply in replies if reply.event}) == 1
    assert world.types(asked.subject).count("proof.v1.ingested") == 1
    world.row("SELECT 1 FROM photos WHERE proof_id = %s", asked.data.proof_id)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (SVG, "not_a_photo"),
        (SOUND[: len(SOUND) // 2], "damaged"),
        (bomb(8_000), "too_many_pixels"),
        (SOUND + b"\0" * LARGEST, "too_large"),
        (b"", "empty"),
    ],
    ids=["svg", "truncated", "bomb", "too large", "empty"],
)
def test_an_after_photo_that_is_none_ends_the_proof_and_never_the_analysis(
    app: Flask, world: World, objects: Objects, body: bytes, why: str
) -> None:
    event = verified(world, objects, body)
    replies = deliver_at_once(app, event, stored(world, event))
    assert {reply.status for reply in replies} <= {200, 204, 409}
    (told,) = {reply.event.data for reply in replies if reply.event}
    assert told == ProofRefused(proof_id=event.data.proof_id, reason="bad_photo")
    proof = world.proof_state(event.data.proof_id)
    assert (proof["status"], proof["reason"], proof["detail"]) == ("refused", "bad_photo", why)
    assert proof["finished_at"] is not None
    assert (world.state(event.subject)["status"], world.state(event.subject)["failure"]) == ("completed", None)
    assert world.types(event.subject).count("proof.v1.refused") == 1
    assert world.rows("SELECT * FROM photos") == []


@pytest.mark.parametrize("status", ["ingested", "graded", "refused"])
def test_a_late_event_of_a_proof_that_went_on_does_nothing(
    app: Flask, world: World, objects: Objects, status: str
) -> None:
    event = verified(world, objects, SOUND, "presigned")
    grade, reason = ("high" if status == "graded" else None), ("unclear" if status == "refused" else None)
    world.do(
        "UPDATE proofs SET status = %s, grade = %s, reason = %s WHERE id = %s",
        status,
        grade,
        reason,
        event.data.proof_id,
    )
    assert [deliver(app, late).status for late in (event, stored(world, event))] == [204, 204]
    assert world.proof_state(event.data.proof_id)["status"] == status
    assert world.rows("SELECT * FROM photos") == []


def test_neither_photo_is_taken_for_the_other(app: Flask, world: World, objects: Objects) -> None:
    asked = requested(world, objects, SOUND)
    proof = world.proof(asked.subject, "requested")
    assert deliver(app, asked).event is not None
    assert world.proof_state(proof)["status"] == "requested"
    key = world.proof_state(proof)["key"]
    objects.put(key, encoded(picture((64, 64))), "image/jpeg")
    other = world.said(asked.subject, UploadStored(key=key.replace("after-1", "after-2"), size=1, etag=""), by="s3")
    assert deliver(app, other).status == 204
    foreign = world.said(world.analysis("completed"), UploadStored(key=key, size=1, etag=""), by="s3")
    assert deliver(app, foreign).status == 204, "the key of another analysis"
    assert world.proof_state(proof)["status"] == "requested"
    mine = world.said(asked.subject, UploadStored(key=key, size=1, etag=""), by="s3")
    assert deliver(app, mine).status == 200
    sizes = {row["kind"]: row["width"] for row in world.rows("SELECT kind, width FROM photos")}
    assert sizes == {"before": 1600, "after": 64}


def test_an_event_of_no_analysis_of_ours_is_acknowledged(app: Flask, world: World) -> None:
    key = "uploads/00000000-0000-4000-8000-000000000000/before.jpg"
    event = world.said(
        "00000000-0000-4000-8000-000000000000", UploadStored(key=key, size=1, etag=""), by="s3", stored=False
    )
    assert deliver(app, event).status == 204


def test_while_the_store_is_down_nothing_is_lost(
    world: World, objects: Objects, pipeline_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    event = requested(world, objects, SOUND)
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    down = load("ingest")
    assert deliver(down, event).status == 503
    assert down.test_client().get("/readyz").status_code == 503
    monkeypatch.setenv("S3_ENDPOINT", pipeline_env["S3_ENDPOINT"])
    assert deliver(load("ingest"), event).status == 200


def test_the_perceptual_hash_knows_a_picture_again() -> None:
    scene = Image.effect_mandelbrot((800, 600), (-2, -1.2, 0.8, 1.2), 60)
    same = Image.open(io.BytesIO(encoded(scene.resize((410, 300)), quality=30)))
    other = scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def apart(a: Image.Image, b: Image.Image) -> int:
        return (int(phash(a), 16) ^ int(phash(b), 16)).bit_count()

    assert apart(scene, same) <= 4
    assert apart(scene, other) >= 16
