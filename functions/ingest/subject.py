"""Whose photo it is: of an analysis, or of a proof. Both are waited for, taken and refused, each in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from functions.ingest.photo import Photo
from functions.shared import lifecycle, naming, proofs
from functions.shared.events import (
    AnalysisRequested,
    Event,
    Payload,
    PhotoIngested,
    ProofIngested,
    ProofRefused,
    ProofRequested,
    UploadStored,
)
from functions.shared.function import Done, Rejected
from functions.shared.lifecycle import Superseded
from functions.shared.postgres import Tx

#: What may tell that a photo is there, or that it is asked for.
Occasion = UploadStored | AnalysisRequested | ProofRequested


class Subject(Protocol):
    """Something that waits for the photo at `key`. `attempt` and `proof_id` are None for the photo asked about."""

    @property
    def key(self) -> str: ...
    @property
    def attempt(self) -> int | None: ...
    @property
    def proof_id(self) -> str | None: ...

    def take(self, tx: Tx) -> None:
        """It waits no longer; Superseded where it did not."""

    def told(self, photo_id: str, photo: Photo) -> Payload:
        """What is said once the clean copies exist."""

    def refuse(self, why: str) -> Done:
        """What becomes of it when this is no photo (`why`: see BadPhoto)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An analysis waits for its photo; without one there is nothing to analyse."""

    analysis_id: str
    key: str
    attempt: None = None
    proof_id: None = None

    def take(self, tx: Tx) -> None:
        lifecycle.advance(tx, self.analysis_id, frm={"requested"}, to="ingested")

    def told(self, photo_id: str, photo: Photo) -> Payload:
        return PhotoIngested(photo_id=photo_id, sha256=photo.sha256, width=photo.width, height=photo.height)

    def refuse(self, why: str) -> Done:
        raise Rejected("bad_photo", why)


@dataclass(frozen=True, slots=True)
class Shown:
    """A proof waits for its photo; the analysis is completed and stays so, whatever this one is like."""

    proof_id: str
    key: str
    attempt: int

    def take(self, tx: Tx) -> None:
        proofs.advance(tx, self.proof_id, frm={"requested"}, to="ingested")

    def told(self, photo_id: str, photo: Photo) -> Payload:
        return ProofIngested(proof_id=self.proof_id, photo_id=photo_id, sha256=photo.sha256)

    def refuse(self, why: str) -> Done:
        def save(tx: Tx) -> None:
            if not proofs.refuse(tx, self.proof_id, "bad_photo", why, frm={"requested"}):
                raise Superseded(f"proof {self.proof_id} waits for no photo")

        return Done(ProofRefused(proof_id=self.proof_id, reason="bad_photo"), save)


def waiting(tx: Tx, event: Event[Occasion]) -> Subject | None:
    """Who waits for the photo that `event` speaks of; None where nobody does (yet, or any more)."""
    attempt = naming.attempt_of_key(event.data.key)
    if attempt is None:
        row = tx.execute("SELECT key FROM analyses WHERE id = %s AND status = 'requested'", (event.subject,)).fetchone()
        return Asked(event.subject, row["key"]) if row else None
    row = tx.execute(
        "SELECT id, key, attempt FROM proofs WHERE analysis_id = %s AND key = %s AND status = 'requested'",
        (event.subject, event.data.key),
    ).fetchone()
    return Shown(str(row["id"]), row["key"], row["attempt"]) if row else None
