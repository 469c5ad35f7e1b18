"""What ends when an event can never be worked, and how it is taken up again: one place for all who give up.

An event is waited for by its analysis, by one of its proofs or by one of its questions, and only in one state: in any
other, the failure is nobody's, because another event has done the step, or will. What only counts (`aggregate`) is
waited for by nobody: the nightly count makes it good, however late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from functions.shared import lifecycle, naming, proofs
from functions.shared.events import (
    AnalysisFailed,
    AnalysisRequested,
    Event,
    ItemClarified,
    ItemIdentified,
    Payload,
    PhotoIngested,
    ProofIngested,
    ProofRefused,
    ProofRequested,
    QuestionAnswered,
    QuestionAsked,
    RulesRetrieved,
    UploadStored,
)
from functions.shared.postgres import Tx

#: The state in which an analysis waits for an event of that type.
_WORKED_IN = {
    UploadStored.TYPE: "requested",
    AnalysisRequested.TYPE: "requested",
    PhotoIngested.TYPE: "ingested",
    ItemIdentified.TYPE: "identified",
    ItemClarified.TYPE: "identified",
    RulesRetrieved.TYPE: "retrieved",
}


class Waiting(Protocol):
    """Who waits for an event. `consumer` is the function that could not work it."""

    def end(self, tx: Tx, reason: str, consumer: str) -> Payload | None:
        """End it for `reason` (internal, model_unavailable): what is to be said; None where it does not wait."""

    def revive(self, tx: Tx, consumer: str) -> None:
        """It stands where it stood, if it was this `consumer` that ended it as internal."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """Waits in `state`."""

    id: str
    state: str

    def end(self, tx: Tx, reason: str, consumer: str) -> Payload | None:
        row = tx.execute("SELECT status FROM analyses WHERE id = %s FOR NO KEY UPDATE", (self.id,)).fetchone()
        if row is None or row["status"] != self.state:
            return None
        lifecycle.fail(tx, self.id, reason, consumer)
        return AnalysisFailed(reason=reason, detail=consumer)

    def revive(self, tx: Tx, consumer: str) -> None:
        tx.execute(
            """UPDATE analyses SET status = failure ->> 'from', failure = NULL, finished_at = NULL, updated_at = now()
               WHERE id = %s AND status = 'failed' AND failure ->> 'reason' = 'internal'
                 AND failure ->> 'detail' = %s""",
            (self.id, consumer),
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """Waits in `state`; its analysis is completed and stays so."""

    id: str
    state: str

    def end(self, tx: Tx, reason: str, consumer: str) -> Payload | None:
        if not proofs.refuse(tx, self.id, reason, consumer, frm={self.state}):
            return None
        return ProofRefused(proof_id=self.id, reason=reason)

    def revive(self, tx: Tx, consumer: str) -> None:
        proofs.revive(tx, self.id, consumer)


@dataclass(frozen=True, slots=True)
class Question:
    """Waits for its answer, and nothing else with it."""

    id: str

    def end(self, tx: Tx, reason: str, consumer: str) -> Payload | None:
        failed = tx.execute(
            "UPDATE questions SET status = 'failed', answered_at = now() WHERE id = %s AND status = 'asked'", (self.id,)
        )
        return QuestionAnswered(question_id=self.id, outcome="failed") if failed.rowcount else None

    def revive(self, tx: Tx, consumer: str) -> None:
        tx.execute(
            "UPDATE questions SET status = 'asked', answered_at = NULL WHERE id = %s AND status = 'failed'", (self.id,)
        )


def waiting(tx: Tx, event: Event[Payload]) -> Waiting | None:
    """Who waits for `event` to be worked; None for one that nobody waits for."""
    said = event.data
    if isinstance(said, UploadStored) and naming.attempt_of_key(said.key) is not None:
        row = tx.execute("SELECT id FROM proofs WHERE key = %s", (said.key,)).fetchone()
        return Proof(str(row["id"]), "requested") if row else None
    if isinstance(said, ProofRequested | ProofIngested):
        return Proof(said.proof_id, "requested" if isinstance(said, ProofRequested) else "ingested")
    if isinstance(said, QuestionAsked):
        return Question(said.question_id)
    state = _WORKED_IN.get(event.type)
    return Analysis(event.subject, state) if state else None
