"""A clean photo of the result → a grade, or the reason why there is none.

The photo must prove something (honesty.py), the model says what it sees of each advised step (comparing.py), the rubric
makes a grade of that (rubric.py). What the citizen wrote is not read here at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from functions.grade import honesty, rubric
from functions.grade.comparing import Task, compare
from functions.grade.comparison import verdict
from functions.grade.honesty import After, NoProof
from functions.grade.rubric import Step
from functions.grade.settings import Settings
from functions.shared import proofs
from functions.shared.config import load
from functions.shared.events import Event, ProofGraded, ProofIngested, ProofRefused
from functions.shared.function import Done
from functions.shared.lifecycle import Superseded
from functions.shared.objects import Missing, Objects
from functions.shared.postgres import Database, Tx

if TYPE_CHECKING:
    from functions.grade.llm import Eyes


@dataclass
class Deps:
    """The database, the photos, and the model (imported by the first call: it is heavy)."""

    db: Database
    objects: Objects
    settings: Settings

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        settings = load(Settings, environ)
        objects = Objects(
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            bucket=settings.s3_bucket,
            access_key=settings.aws_access_key_id,
            secret_key=settings.aws_secret_access_key,
        )
        return cls(Database(settings.database_url, pool_size=settings.pool_size), objects, settings)

    @cached_property
    def eyes(self) -> Eyes:
        from functions.grade.llm import Eyes

        return Eyes(
            model=self.settings.openai_model,
            api_key=self.settings.openai_api_key,
            base_url=self.settings.openai_base_url,
            seconds=self.settings.model_timeout_seconds,
            park_seconds=self.settings.model_park_seconds,
        )

    def warm(self) -> None:
        """Make ready what the first comparison will need; no call is paid for."""
        _ = self.eyes
        self.ping()

    def ping(self) -> None:
        self.db.ping()
        self.objects.ping()

    def close(self) -> None:
        self.db.close()


def handle(event: Event[ProofIngested], deps: Deps) -> Done:
    """`proof.v1.graded` or `proof.v1.refused`. ModelDown while the model does not answer.

    Never Rejected: the analysis and its guide stay, whatever becomes of a proof.
    """
    try:
        return _graded(event, deps)
    except NoProof as refusal:
        return _refused(event.data.proof_id, refusal.reason, refusal.detail)


def _graded(event: Event[ProofIngested], deps: Deps) -> Done:
    proof_id, proof = event.data.proof_id, _proof(event, deps.db)
    if proof["consent_at"] is None:  # it may have waited for long: nothing is sent to the provider any more
        raise NoProof("consent_withdrawn", "")
    try:
        jpeg = deps.objects.get(proof["after_key"])
    except Missing as error:
        raise NoProof("no_photo", "gone") from error
    flags = honesty.unused(deps.db, deps.objects, After(str(proof["photo"]), proof["phash"], jpeg))
    steps = [step for step in rubric.advised(proof["content"]["steps"], proof["passages"]) if step.weight]
    if not steps:
        raise NoProof("nothing_to_show", "the guide has no step that could be shown")
    task = Task(event.subject, proof["round"], proof["attempt"], proof["before_key"], jpeg, _data(proof, steps))
    compared = compare(deps.db, deps.objects, deps.eyes, task)
    honesty.seen(compared.comparison)
    found = {one.step: one for one in compared.comparison.steps}
    verdicts = [(step, verdict(found[step.step], conditional=step.conditional)) for step in steps]
    result = rubric.rate((step.phase, given) for step, given in verdicts)
    rows = rubric.rows(verdicts, {n: one.seen for n, one in found.items()})
    if result.grade is None or result.score is None:
        judged = f"{float(result.judged):g} of {result.weight} could be judged"
        return _refused(event.data.proof_id, "unclear" if result.weight else "nothing_to_show", judged, rows)
    grade, score = result.grade, result.score

    def save(tx: Tx) -> None:
        proofs.grade(
            tx,
            proof_id,
            grade=grade,
            score=score,
            verdicts=rows,
            feedback=rubric.feedback(grade, verdicts),
            made_by=compared.made_by,
            flags=flags,
        )

    return Done(ProofGraded(proof_id=proof_id, grade=grade, score=score), save)


def _proof(event: Event[ProofIngested], db: Database) -> dict[str, Any]:
    """The proof with its two photos, the guide it is held against and the rules that guide rests on."""
    with db.transaction() as tx:
        row = tx.execute(
            """SELECT p.status, p.attempt, p.round, p.checklist, u.consent_at, g.content, g.item_id, r.passages,
                      coalesce(t.name_ko, g.item_id) AS item, b.model_key AS before_key,
                      a.id AS photo, a.phash, a.model_key AS after_key
               FROM proofs p
               JOIN users u ON u.id = p.user_id
               JOIN photos a ON a.proof_id = p.id
               JOIN photos b ON b.analysis_id = p.analysis_id AND b.kind = 'before'
               LEFT JOIN guides g ON g.analysis_id = p.analysis_id AND g.round = p.round
               LEFT JOIN retrievals r ON r.analysis_id = p.analysis_id AND r.round = p.round
               LEFT JOIN items t ON t.id = g.item_id
               WHERE p.id = %s AND p.analysis_id = %s""",
            (event.data.proof_id, event.subject),
        ).fetchone()
    if row is None or row["status"] != "ingested":
        raise Superseded(f"proof {event.data.proof_id} has no photo to be graded")
    return row


def _data(proof: Mapping[str, Any], steps: list[Step]) -> dict[str, Any]:
    """All the model is told: rules of ours, and which steps were ticked. No word of the citizen, and of no model."""
    asked = {step.step for step in steps}
    return {
        "item": {"id": proof["item_id"], "name": proof["item"]},
        "steps": [
            {"step": step.step, "phase": step.phase, "text": step.rule, "conditional": step.conditional}
            for step in steps
        ],
        "checklist": [step for step in proof["checklist"] or [] if step in asked],
    }


def _refused(proof_id: str, reason: str, detail: str, verdicts: Sequence[Mapping[str, Any]] = ()) -> Done:
    """`verdicts`: what was seen of each step, where the photos were compared."""

    def save(tx: Tx) -> None:
        if not proofs.refuse(tx, proof_id, reason, detail, frm={"ingested"}, verdicts=verdicts):
            raise Superseded(f"proof {proof_id} has ended")

    return Done(ProofRefused(proof_id=proof_id, reason=reason), save)
