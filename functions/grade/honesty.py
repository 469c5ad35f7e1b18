"""Whether a photo proves anything: what is refused before and after the model looks, each with its reason.

Before: the same file as the photo asked about, a file anybody has sent before, a copy of an earlier photo of the same
citizen (as pictures, likeness.py). Between citizens alike is only noted for an operator: plain bottles look alike. Only
earlier photos count, so that two at once do not refuse each other. After: another object, a screen, writing that
somebody put into the picture. A refusal is never a grade, so nothing here can raise one.

Not noticed: a copy that is turned by a few degrees, cut by more than a tenth of a side or painted over; two shots of a
thing nobody touched, from one tripod, may count as a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from functions.grade.comparison import Comparison
from functions.grade.likeness import COPY, NEAR, VERY_NEAR, Picture, bits, hashes
from functions.shared.objects import Missing, Objects
from functions.shared.postgres import Database, Tx

#: Earlier photos of the citizen that are looked at, the nearest first (70 ms of one core each).
MOST_LOOKED_AT = 12
#: Near photos of other citizens that are noted.
MOST_NOTED = 5

#: Refusals that say nothing about the photo: it may be sent again for the same analysis.
OURS = ("internal", "model_unavailable", "consent_withdrawn")

Flag = dict[str, Any]


class NoProof(Exception):
    """No grade. `reason` is a code of messages.json (`proof.<reason>`), `detail` for the curious."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class After:
    """The photo to be graded: the `id` of its row, its perceptual hash and the copy for the model."""

    id: str
    phash: str
    jpeg: bytes


def unused(db: Database, objects: Objects, after: After) -> list[Flag]:
    """What an operator may look at. NoProof: same_photo, reused_photo or near_copy."""
    with db.transaction() as tx:
        _never_sent(tx, after)
        own = _own(tx, after)
        strangers = _strangers(tx, after)
    turned = hashes(after.jpeg)
    near = sorted(_candidates(own, turned), key=lambda one: (not one.here, one.bits, one.photo["id"].hex))
    picture = cache(lambda quarters: Picture(after.jpeg, quarters))
    for one in near[:MOST_LOOKED_AT]:
        try:
            agreement = picture(one.quarters).likeness(Picture(objects.get(one.photo["model_key"])))
        except Missing:
            continue
        if agreement >= COPY:
            raise NoProof("near_copy", f"photo {one.photo['id']}, {agreement:.2f}")
    gone = [(bits(one["phash"], after.phash), one) for one in own if one["deleted_at"] is not None]
    flags = [_flag(one, distance, own=True) for distance, one in gone if distance <= VERY_NEAR]
    return flags + [_flag(one, one["bits"], own=False) for one in strangers]


class _Candidate(NamedTuple):
    """An earlier photo that may be the same picture, and by how many quarters it would have been turned. `here`: it is
    the photo that this very analysis is about."""

    photo: dict[str, Any]
    quarters: int
    bits: int
    here: bool


def _candidates(own: list[dict[str, Any]], turned: list[str]) -> Iterator[_Candidate]:
    """The photo asked about, whatever its hash says, and the citizen's others within NEAR bits, in each way of turning
    that comes near."""
    for photo in own:
        if photo["deleted_at"] is not None:
            continue
        ways = sorted((bits(photo["phash"], hash_), quarters) for quarters, hash_ in enumerate(turned))
        close = [way for way in ways if way[0] <= NEAR]
        for distance, quarters in close or ways[: 1 if photo["here"] else 0]:
            yield _Candidate(photo, quarters, distance, photo["here"])


def seen(comparison: Comparison) -> None:
    """NoProof: screen, different_object, or writing where somebody put words into the picture.

    What the words say does not matter, so no list of phrases has to be complete: a model may do or believe what it
    reads, and with a note in the picture no verdict can be trusted. A model that obeys a note and denies that there is
    one cannot be told from one that saw what it says.
    """
    if comparison.photographed == "screen":
        raise NoProof("screen", comparison.notes)
    if comparison.same_object == "no":
        raise NoProof("different_object", comparison.notes)
    if comparison.note == "yes" or comparison.text_in_photo.strip():
        raise NoProof("writing", comparison.text_in_photo)


_EARLIER = "(p.created_at, p.id) < (mine.created_at, mine.id)"


def _never_sent(tx: Tx, after: After) -> None:
    """NoProof where these bytes were sent before."""
    found = tx.execute(
        f"""SELECT p.id, p.kind = 'before' AND p.analysis_id = mine.analysis_id AS same
            FROM photos mine JOIN photos p ON p.sha256 = mine.sha256 AND {_EARLIER}
            LEFT JOIN proofs f ON f.id = p.proof_id
            WHERE mine.id = %s
              AND NOT (p.analysis_id = mine.analysis_id AND coalesce(f.reason, '') = ANY(%s))
            ORDER BY same DESC, p.created_at LIMIT 1""",  # noqa: S608
        (after.id, list(OURS)),
    ).fetchone()
    if found:
        raise NoProof("same_photo" if found["same"] else "reused_photo", f"photo {found['id']}")


def _own(tx: Tx, after: After) -> list[dict[str, Any]]:
    """The citizen's earlier photos."""
    return tx.execute(
        f"""SELECT p.id, p.proof_id, p.phash, p.model_key, p.deleted_at,
                   p.kind = 'before' AND p.analysis_id = mine.analysis_id AS here
            FROM photos mine JOIN photos p ON p.user_id = mine.user_id AND {_EARLIER}
            LEFT JOIN proofs f ON f.id = p.proof_id
            WHERE mine.id = %s
              AND NOT (p.analysis_id = mine.analysis_id AND coalesce(f.reason, '') = ANY(%s))""",  # noqa: S608
        (after.id, list(OURS)),
    ).fetchall()


def _strangers(tx: Tx, after: After) -> list[dict[str, Any]]:
    """Earlier photos of other citizens that an operator could still look at, by the hash alone."""
    return tx.execute(
        f"""SELECT * FROM (
                SELECT p.id, p.proof_id,
                       bit_count(('x' || p.phash)::bit(64) # ('x' || mine.phash)::bit(64)) AS bits
                FROM photos mine JOIN photos p ON p.user_id <> mine.user_id AND p.deleted_at IS NULL AND {_EARLIER}
                WHERE mine.id = %s) near
            WHERE bits <= %s ORDER BY bits, id LIMIT %s""",  # noqa: S608
        (after.id, VERY_NEAR, MOST_NOTED),
    ).fetchall()


def _flag(photo: dict[str, Any], distance: int, *, own: bool) -> Flag:
    """`own`: the photo is the citizen's, and can no longer be looked at; else it is somebody else's."""
    proof_id = str(photo["proof_id"]) if photo["proof_id"] else None
    return {"near": str(photo["id"]), "proof_id": proof_id, "bits": distance, "own": own}
