"""A proof ready to be graded, for the tests of `grade`: an analysis with a guide, a photo before and a photo after."""

from __future__ import annotations

import hashlib
import io
import random
import uuid
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops
from psycopg.types.json import Jsonb

from functions.generate.guide import Brief, plain
from functions.ingest.photo import clean
from functions.shared import naming
from functions.shared.events import Event, ProofIngested
from functions.shared.objects import Objects
from tests.standin import Standin
from tests.steps import World


def rule(phase: str, number: int, text: str, destination: str | None = None) -> dict[str, Any]:
    return {
        "id": f"clear-pet.{phase}.{number}",
        "phase": phase,
        "text": text,
        "destination": destination,
        "basis": "directive",
        "source": {"title": "지침", "url": None},
        "effective_from": "2021-12-25",
        "checked": "2026-06-01",
        "disagreement": None,
    }


RULES = [
    rule("prepare", 1, "내용물을 깨끗이 비워 주세요."),
    rule("wash", 1, "물로 한 번 헹궈 주세요."),
    rule("separate", 1, "라벨(비닐)을 떼어 비닐류로 배출해 주세요."),
    rule("dispose", 1, "찌그러뜨려 뚜껑을 닫은 병을 투명 페트병 전용수거함에 넣어 주세요.", "clear_pet"),
    rule("dont", 1, "색이 있는 페트병과 섞지 마세요."),
]
#: Its steps are 0 prepare, 1 wash, 2 separate, 3 dispose.
GUIDE = plain(Brief("투명 페트병", RULES, "")).model_dump()
PHASES = ["prepare", "wash", "separate", "dispose"]


@dataclass(frozen=True)
class Shown:
    """A proof: the event that says its photo is there, and the sha256 of the copy that the model will see."""

    event: Event[Any]
    proof: str
    sha256: str

    @property
    def analysis(self) -> str:
        return self.event.subject


def picture(name: str, tint: tuple[int, int, int] = (255, 255, 255)) -> bytes:
    """A JPEG like no other name's, in the light of a colour."""
    noise = random.Random(name)
    small = Image.frombytes("RGB", (24, 18), noise.randbytes(24 * 18 * 3)).resize((384, 288), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    ImageChops.multiply(small, Image.new("RGB", small.size, tint)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def guided(world: World, objects: Objects, before: bytes | None = None, **columns: Any) -> str:
    """An analysis that is completed with the guide, and the photo it was about."""
    analysis = world.analysis("completed", outcome="guide", **columns)
    world.do(
        """INSERT INTO retrievals (analysis_id, round, item_id, passages, index_version, cached)
           VALUES (%s, 1, 'clear-pet-bottle', %s, 'v1', false)""",
        analysis,
        Jsonb(RULES),
    )
    world.do(
        """INSERT INTO guides (id, analysis_id, round, item_id, content, made_by)
           VALUES (%s, %s, 1, 'clear-pet-bottle', %s, '{}')""",
        uuid.uuid4(),
        analysis,
        Jsonb(GUIDE),
    )
    photographed(world, objects, analysis, before or picture(f"before {analysis}"))
    return analysis


def photographed(world: World, objects: Objects, analysis: str, body: bytes, attempt: int | None = None) -> str:
    """The photo as `ingest` keeps it: before, or after in proof `attempt`. The sha256 of the copy for the model."""
    photo = clean(body)
    kept, model = (naming.photo_key(uuid.UUID(analysis), size, attempt) for size in ("kept", "model"))
    objects.put(kept, photo.kept, "image/jpeg")
    objects.put(model, photo.model, "image/jpeg")
    world.do(
        """INSERT INTO photos
               (id, analysis_id, user_id, kind, proof_id, kept_key, model_key, sha256, phash, width, height, bytes)
           SELECT %s, a.id, a.user_id, %s, (SELECT id FROM proofs WHERE analysis_id = a.id AND attempt = %s),
                  %s, %s, %s, %s, %s, %s, %s FROM analyses a WHERE a.id = %s""",
        uuid.uuid4(),
        "before" if attempt is None else "after",
        attempt,
        kept,
        model,
        photo.sha256,
        photo.phash,
        photo.width,
        photo.height,
        len(body),
        analysis,
    )
    return hashlib.sha256(photo.model).hexdigest()


def shown(
    world: World,
    objects: Objects,
    after: bytes | None = None,
    *,
    analysis: str | None = None,
    attempt: int = 1,
    checklist: list[int] | None = None,
    **columns: Any,
) -> Shown:
    """A proof whose photo is there, of a new analysis (further columns of that by name) unless one is given."""
    analysis = analysis or guided(world, objects, **columns)
    proof = world.proof(analysis, "ingested", attempt, checklist=Jsonb(checklist))
    digest = photographed(world, objects, analysis, after or picture(f"after {attempt} {analysis}"), attempt)
    photo = world.row("SELECT id, sha256 FROM photos WHERE proof_id = %s", proof)
    said = ProofIngested(proof_id=proof, photo_id=str(photo["id"]), sha256=photo["sha256"])
    return Shown(world.said(analysis, said, by="ingest"), proof, digest)


def judged(model: Standin, one: Shown, *verdicts: str, **more: Any) -> None:
    """The model will see these verdicts of the steps in order, in this photo of the same object."""
    steps = [{"step": n, "verdict": verdict, "seen": "병의 모습이 보여요."} for n, verdict in enumerate(verdicts)]
    model.inject_comparison(one.sha256, **{"same_object": "yes", "photographed": "real", "steps": steps, **more})


def result(world: World, one: Shown) -> tuple[Any, ...]:
    """What became of a proof: its grade, score, verdicts and the reason where it has none."""
    row = world.proof_state(one.proof)
    return row["status"], row["grade"], row["score"], row["verdicts"], row["reason"]
