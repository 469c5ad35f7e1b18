"""Honest proof: a photo that proves nothing is refused with its reason, and an honest one is not. On real photos.

The photos are those of TrashNet; without them the tests that need real ones are skipped, loudly (tests/README.md).
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from PIL import Image, ImageEnhance

from functions.grade.likeness import COPY, NEAR, VERY_NEAR, Picture, bits, hashes
from functions.ingest.photo import clean
from functions.shared.objects import Objects
from tests.proving import Shown, guided, judged, picture, shown
from tests.standin import Standin
from tests.steps import World, deliver, load

PHOTOS = Path(os.environ.get("TRASHNET", Path(__file__).parents[2] / "shared" / "data" / "trashnet"))
real = pytest.mark.skipif(not PHOTOS.is_dir(), reason="the TrashNet photos are not there (TRASHNET=)")

Edit = Callable[[Image.Image], Image.Image]


def cut(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop((int(width * left), int(height * top), int(width * (1 - right)), int(height * (1 - bottom))))


def jpeg(image: Image.Image, quality: int = 85) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def edited(body: bytes, edit: Edit) -> bytes:
    return jpeg(edit(Image.open(io.BytesIO(body)).convert("RGB")))


#: What somebody does to a photo to send it a second time, and how many of a hundred must at least be found out.
COPIES: dict[str, tuple[Edit, int]] = {
    "resized": (lambda image: image.resize((image.width * 6 // 10, image.height * 6 // 10)), 97),
    "recompressed": (lambda image: Image.open(io.BytesIO(jpeg(image, 30))).convert("RGB"), 97),
    "cut": (lambda image: cut(image, 0.03, 0.03, 0.03, 0.03), 94),
    "cut on one side": (lambda image: cut(image, 0.1, 0, 0, 0), 90),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.2), 90),
    "darker": (lambda image: ImageEnhance.Brightness(image).enhance(0.7), 97),
    "more contrast": (lambda image: ImageEnhance.Contrast(image).enhance(1.3), 97),
    "mirrored": (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 97),
    "turned left": (lambda image: image.transpose(Image.Transpose.ROTATE_90), 97),
    "turned round": (lambda image: image.transpose(Image.Transpose.ROTATE_180), 97),
    "turned and cut": (lambda image: cut(image.transpose(Image.Transpose.ROTATE_270), 0.03, 0.02, 0.03, 0.04), 90),
    "mirrored and cut": (
        lambda image: cut(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.04, 0.02, 0.03, 0.05),
        90,
    ),
}


@pytest.fixture
def app(pipeline_env: dict[str, str], model: Standin, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    return load("grade")


def sample(count: int, seed: int) -> list[bytes]:
    """So many real photos, the same for a seed."""
    files = sorted(PHOTOS.rglob("*.jpg"))
    return [path.read_bytes() for path in random.Random(seed).sample(files, count)]


def neighbours(count: int, seed: int) -> list[tuple[bytes, bytes]]:
    """Pairs of photos taken one after the other: often the same thing, moved a little, on the same table."""
    files = sorted(PHOTOS.rglob("*.jpg"), key=lambda path: (path.parent, int("".join(filter(str.isdigit, path.stem)))))
    starts = random.Random(seed).sample(range(len(files) - 1), count)
    return [
        (files[n].read_bytes(), files[n + 1].read_bytes()) for n in starts if files[n].parent == files[n + 1].parent
    ]


def taken_for_a_copy(one: bytes, other: bytes) -> bool:
    first, second = clean(one), clean(other)
    picture = Picture(first.model)
    return any(
        bits(first.phash, hash_) <= NEAR and picture.likeness(Picture(second.model, quarters)) >= COPY
        for quarters, hash_ in enumerate(hashes(second.model))
    )


def asked(model: Standin) -> int:
    return int(model.counts()["chat_by_schema"].get("Comparison", 0))


def end(app: Flask, world: World, model: Standin, one: Shown) -> str:
    """What becomes of a proof of which the model sees everything done: the reason, or the grade."""
    judged(model, one, "done", "done", "done", "done")
    deliver(app, one.event)
    row = world.proof_state(one.proof)
    return str(row["reason"] or row["grade"])


# How alike pictures are


@pytest.mark.unmeasured
@real
@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found_out(name: str) -> None:
    edit, least = COPIES[name]
    photos = sample(30, seed=11)
    found = sum(taken_for_a_copy(body, edited(body, edit)) for body in photos)
    assert 100 * found >= least * len(photos), f"{found} of {len(photos)}"


@pytest.mark.unmeasured
@real
def test_different_photos_are_not_taken_for_copies() -> None:
    photos = [clean(body) for body in sample(200, seed=12)]
    near = [
        (one, other)
        for n, one in enumerate(photos)
        for other in photos[n + 1 :]
        if bits(one.phash, other.phash) <= NEAR - 8
    ]
    assert len(near) > 50  # white boards look alike: the hash alone would refuse all of these
    alarms = sum(Picture(one.model).likeness(Picture(other.model)) >= COPY for one, other in near)
    assert alarms <= len(near) // 50


@pytest.mark.unmeasured
@real
def test_the_next_photo_of_the_same_thing_is_another_photo() -> None:
    pairs = neighbours(80, seed=13)
    assert len(pairs) > 70
    assert sum(taken_for_a_copy(one, other) for one, other in pairs) <= 1


def test_hashes_know_their_mirror_image() -> None:
    body = picture("a thing")
    mirrored = edited(body, COPIES["mirrored"][0])
    assert bits(clean(body).phash, clean(mirrored).phash) <= 4
    assert bits(clean(body).phash, clean(body).phash) == 0
    assert bits("0" * 16, "f" * 16) == 0  # all the same, and its mirror image
    assert bits("0" * 16, "0" * 15 + "1") == 1


def test_a_blank_wall_is_a_copy_of_no_other() -> None:
    walls = [jpeg(Image.new("RGB", (320, 240), (grey, grey, grey))) for grey in (200, 201)]
    assert Picture(walls[0]).likeness(Picture(walls[1])) < COPY


# What is refused


@pytest.mark.unmeasured
@real
@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_the_photo_before_proves_nothing_and_costs_nothing(
    app: Flask, world: World, objects: Objects, *, model: Standin, name: str
) -> None:
    before = sample(1, seed=14)[0]
    analysis = guided(world, objects, before)
    one = shown(world, objects, edited(before, COPIES[name][0]), analysis=analysis)
    calls = asked(model)
    assert end(app, world, model, one) == "near_copy"
    assert asked(model) == calls
    assert world.types(one.analysis)[-1] == "proof.v1.refused"


def test_the_same_file_proves_nothing(app: Flask, world: World, objects: Objects, model: Standin) -> None:
    photo = picture("a bottle")
    one = shown(world, objects, photo, analysis=guided(world, objects, photo))
    calls = asked(model)
    assert end(app, world, model, one) == "same_photo"
    assert asked(model) == calls


@pytest.mark.parametrize(
    "whose", ["a photo before of my own", "a photo after of my own", "a photo after of a stranger"]
)
def test_a_file_is_used_once_by_anybody(
    app: Flask, world: World, objects: Objects, *, model: Standin, whose: str
) -> None:
    photo = picture("a clean bottle")
    first = guided(world, objects, photo) if "before" in whose else shown(world, objects, photo).analysis
    one = shown(world, objects, photo)
    if "own" in whose:
        belong(world, one.analysis, first)
    assert end(app, world, model, one) == "reused_photo"


def belong(world: World, analysis: str, other: str) -> None:
    """The analysis, its photos and proofs are of the citizen who made the other one."""
    for table, column in (("analyses", "id"), ("photos", "analysis_id"), ("proofs", "analysis_id")):
        world.do(
            f"UPDATE {table} SET user_id = (SELECT user_id FROM analyses WHERE id = %s) WHERE {column} = %s",
            other,
            analysis,
        )


@real
def test_a_copy_of_an_earlier_result_proves_nothing_and_of_a_strangers_is_noted(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    photo = sample(1, seed=15)[0]
    earlier = shown(world, objects, photo)
    darker = edited(photo, COPIES["darker"][0])
    mine = shown(world, objects, darker)
    belong(world, mine.analysis, earlier.analysis)
    assert end(app, world, model, mine) == "near_copy"

    stranger = shown(world, objects, edited(photo, lambda image: image.resize((300, 225))))
    assert end(app, world, model, stranger) == "high"
    flags = world.proof_state(stranger.proof)["flags"]
    assert {flag["proof_id"] for flag in flags} == {earlier.proof, mine.proof}
    assert all(flag["bits"] <= VERY_NEAR for flag in flags)


@pytest.mark.unmeasured
@real
def test_an_honest_result_is_graded(app: Flask, world: World, objects: Objects, model: Standin) -> None:
    """The same thing on the same table, photographed again, after twenty others by the same citizen."""
    pairs = neighbours(30, seed=16)
    first = guided(world, objects, pairs[0][0])
    for before, _ in pairs[1:21]:
        belong(world, guided(world, objects, before), first)
    for n, (before, after) in enumerate(pairs[21:26]):
        analysis = guided(world, objects, before)
        belong(world, analysis, first)
        one = shown(world, objects, after, analysis=analysis)
        belong(world, analysis, first)
        assert end(app, world, model, one) == "high", n


def test_a_photo_without_its_copy_is_only_noted(app: Flask, world: World, objects: Objects, model: Standin) -> None:
    photo = picture("long ago")
    old = shown(world, objects, photo)
    world.do("UPDATE photos SET deleted_at = now() WHERE proof_id = %s", old.proof)
    one = shown(world, objects, edited(photo, COPIES["darker"][0]))
    belong(world, one.analysis, old.analysis)
    assert end(app, world, model, one) == "high"
    (flag,) = world.proof_state(one.proof)["flags"]
    assert flag["proof_id"] == old.proof


def test_only_earlier_photos_count(app: Flask, world: World, objects: Objects, model: Standin) -> None:
    """Two send the same file at once: the first keeps it, whoever is looked at first."""
    photo = picture("twice")
    first, second = shown(world, objects, photo), shown(world, objects, photo)
    judged(model, first, "done", "done", "done", "done")  # the same file: the same verdicts
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: deliver(app, one.event), (second, first)))
    assert world.proof_state(first.proof)["grade"] == "high"
    assert world.proof_state(second.proof)["reason"] == "reused_photo"


@pytest.mark.parametrize(("reason", "ends"), [("internal", "high"), ("unclear", "reused_photo")])
def test_a_photo_we_failed_to_grade_may_be_sent_again(
    app: Flask, world: World, objects: Objects, *, model: Standin, reason: str, ends: str
) -> None:
    photo = picture("an honest result")
    one = shown(world, objects, photo)
    world.do("UPDATE proofs SET status = 'refused', reason = %s WHERE id = %s", reason, one.proof)
    again = shown(world, objects, photo, analysis=one.analysis, attempt=2)
    assert end(app, world, model, again) == ends


def test_a_copy_that_has_vanished_from_the_store_stops_nobody(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    photo = picture("vanished")
    old = guided(world, objects, photo)
    key = world.row("SELECT model_key FROM photos WHERE analysis_id = %s", old)["model_key"]
    objects.delete([key])
    one = shown(world, objects, edited(photo, COPIES["darker"][0]))
    belong(world, one.analysis, old)
    assert end(app, world, model, one) == "high"


def test_many_earlier_photos_are_looked_at_nearest_first(
    app: Flask, world: World, objects: Objects, model: Standin
) -> None:
    photo = picture("the one")
    first = guided(world, objects, photo)
    for n in range(30):
        belong(world, guided(world, objects, picture(f"other {n}")), first)
    one = shown(world, objects, edited(photo, COPIES["mirrored"][0]))
    belong(world, one.analysis, first)
    assert end(app, world, model, one) == "near_copy"
