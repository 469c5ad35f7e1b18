"""The glue of every event function: wire → claim → handle → one transaction → reply.

A handler knows one event in and at most one event out; it never sees HTTP, retries, duplicates or the broker.
What it raises decides what the broker does (design §3):

=====================  =======================================================  ==================================
outcome                HTTP                                                     effect
=====================  =======================================================  ==================================
Done(payload)          200 + CloudEvent                                         published
Done() / parked        204                                                      acknowledged
Retry, Unavailable     503                                                      backoff, then dead letter
held by another        409                                                      retried
done before            200 + the stored reply while nobody claimed it, or 204   same reply again
Rejected               200 + analysis.v1.failed                                 visible to the citizen
the citizen has left   204, whatever else was the matter                        acknowledged
undecodable, a bug     500                                                      retries, dead letter, kept by recover
=====================  =======================================================  ==================================

Never 400/401/403/413/422: the broker takes those for success and the event is gone.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import flask

from functions.shared import claims, lifecycle, metrics, outbox, telemetry, tracing, wire
from functions.shared.claims import Claim, Held, LeaseLost, Vanished
from functions.shared.events import AnalysisFailed, Event, Payload, Undecodable
from functions.shared.lifecycle import Superseded
from functions.shared.postgres import Database, Tx, Unavailable


class Retry(Exception):
    """Cannot be done now (network, a lock): the broker tries again."""


class ModelDown(Exception):
    """The model did not answer, or not sensibly: two retries, then parked for `park_seconds` and more."""

    def __init__(self, reason: str, park_seconds: float = 60.0) -> None:
        super().__init__(reason)
        self.park_seconds = park_seconds


class Rejected(Exception):
    """Can never be done (a broken photo): the analysis ends as failed(`reason`), with `detail` for the curious."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Done:
    """What a step made. `save` runs in the one transaction that also appends `payload` as the next event and finishes
    the claim (raise Superseded in it when the state has moved on); `after` runs after the commit, best effort."""

    payload: Payload | None = None
    save: Callable[[Tx], None] | None = None
    after: Callable[[], None] | None = None


class Deps(Protocol):
    """What a function needs from outside; everything lazy, nothing connects before the first request."""

    db: Database

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self: ...
    def ping(self) -> None:
        """Raise an exception that says which service is down."""

    def close(self) -> None: ...


D = TypeVar("D", bound=Deps)


def step(
    name: str,
    *,
    handle: Callable[[Event[Any], D], Done],
    deps: type[D] | D,
    warm: Callable[[D], None] | None = None,
) -> Callable[[flask.Request], flask.Response]:
    """The HTTP function of consumer `name`. `warm` answers upload.v1.presigned: it makes ready, and owes no claim.

    `deps` is the class, made from the environment, or one that main.py made because it serves another path too.
    """
    runner = _Runner(name, handle, deps.from_env(os.environ) if isinstance(deps, type) else deps, warm)

    def main(request: flask.Request) -> flask.Response:  # functions-framework takes plain functions only
        return runner.answer(request)

    return main


class _Runner(Generic[D]):
    def __init__(
        self, name: str, handle: Callable[[Event[Any], D], Done], deps: D, warm: Callable[[D], None] | None
    ) -> None:
        self.name, self.deps = name, deps
        self._handle, self._warm, self._warmed = handle, warm, False
        self.log = telemetry.logger(name)
        self._tracer = tracing.tracer(name)

    def answer(self, request: flask.Request) -> flask.Response:
        if request.method == "GET":
            return self._look(request)
        try:
            event = wire.parse(dict(request.headers), request.get_data())
        except Undecodable as error:
            self.log.warning("undecodable event", error=str(error), id=request.headers.get("ce-id"))
            metrics.EVENTS.add(type="unknown", outcome="undecodable")
            return flask.Response(str(error), status=500)
        with telemetry.context(
            correlation_id=event.correlation_id, analysis_id=event.subject, event_id=event.id, event_type=event.type
        ):
            return self._watched(event)

    def _watched(self, event: Event[Payload]) -> flask.Response:
        """One span, and one event more in the statistics."""
        if self._tracer is None:
            return self._counted(event)
        ids = {"growbin.correlation_id": event.correlation_id, "growbin.analysis_id": event.subject}
        with self._tracer.span(event.type, tracing.CONSUMER, event.traceparent, **ids) as span:
            response = self._counted(dataclasses.replace(event, traceparent=span.traceparent))
            span.attributes |= {"growbin.outcome": flask.g.outcome, "http.response.status_code": response.status_code}
            span.failed = flask.g.outcome if response.status_code >= 500 else ""
            return response

    def _counted(self, event: Event[Payload]) -> flask.Response:
        started = time.monotonic()
        response = self._answered(event)
        metrics.EVENTS.add(type=event.type, outcome=flask.g.outcome)
        metrics.EVENT_SECONDS.observe(time.monotonic() - started, type=event.type)
        return response

    def _answered(self, event: Event[Payload]) -> flask.Response:
        try:
            return self._respond(event)
        except LeaseLost as error:
            self.log.warning("lease lost", error=str(error))
            return _became("lease_lost", flask.Response(str(error), status=409))
        except (Unavailable, Retry) as error:
            self.log.warning("retry", error=str(error))
            return _became("retry", flask.Response(str(error), status=503))
        except Exception as error:
            self.log.exception("bug")
            return _became("bug", flask.Response(type(error).__name__, status=500))

    def _look(self, request: flask.Request) -> flask.Response:
        """Probes and scrapes; nobody outside the cluster reaches an event function."""
        path = request.path
        if path == "/metrics" and metrics.on():
            return flask.Response(metrics.text(), content_type=metrics.CONTENT_TYPE)
        if path == "/readyz":
            try:
                self.deps.ping()
            except Exception as error:
                return flask.Response(f"{type(error).__name__}: {error}", status=503)
        return flask.Response("ok" if path in ("/healthz", "/readyz") else "", status=200)

    def _respond(self, event: Event[Payload]) -> flask.Response:
        if self._warm and event.type.endswith(".presigned"):
            self._warm(self.deps)
            self._warmed = True
            return _became("warmed", flask.Response(status=204))
        if not event.subject:  # a schedule: the work itself is idempotent, there is no analysis to claim
            self._handle(event, self.deps)
            return _became("done", flask.Response(status=204))
        self._ready()
        with self.deps.db.transaction() as tx:
            mine = claims.claim(tx, self.name, event)
        if isinstance(mine, Held):
            return _became("held" if mine.state == "running" else "again", self._held(event, mine))
        if span := tracing.current():
            span.joins(mine.correlation_id)
            event = dataclasses.replace(event, traceparent=span.traceparent)
        with telemetry.context(correlation_id=mine.correlation_id):
            try:
                return self._work(dataclasses.replace(event, correlation_id=mine.correlation_id), mine)
            except Vanished as error:
                self.log.info("vanished", why=str(error))
                return _became("vanished", flask.Response(status=204))

    def _ready(self) -> None:
        """What a cold start makes ready (the model's libraries: half a second, on a starved node twenty) is made before
        the first lease begins: one that runs out meanwhile would be a model call paid twice.
        """
        if self._warm and not self._warmed:
            try:
                self._warm(self.deps)
            except Exception as error:  # it will say so again where it matters
                self.log.info("not warm", why=f"{type(error).__name__}: {error}")
            self._warmed = True

    def _work(self, event: Event[Payload], mine: Claim) -> flask.Response:
        db = self.deps.db
        try:
            done = self._handle(event, self.deps)
            reply = event.child(self.name, done.payload) if done.payload else None
            with db.transaction() as tx:
                if done.save:
                    done.save(tx)
                n = outbox.append(tx, reply) if reply else None
                claims.finish(tx, mine, "event" if reply else "nothing", n)
        except Superseded as error:
            self.log.info("superseded", why=str(error))
            with db.transaction() as tx:
                claims.finish(tx, mine, "superseded")
            return _became("superseded", flask.Response(status=204))
        except Rejected as error:
            return self._reject(event, mine, error)
        except ModelDown as error:
            with db.transaction() as tx:
                parked = claims.release_or_park(tx, mine, str(error), error.park_seconds)
            self.log.warning("model down", parked=parked, error=str(error))
            if parked:
                return _became("parked", flask.Response(status=204))
            return _became("model_down", flask.Response(str(error), status=503))
        except (LeaseLost, Vanished):
            raise
        except Exception as error:
            self._release(mine, error)
            if isinstance(error, Retry):
                self.log.info("retry", why=str(error))
                return _became("retry", flask.Response(str(error), status=503))
            raise
        self.log.info("done", reply=reply.type if reply else None, attempt=mine.attempt)
        self._after(done)
        return _became("done", _reply(reply))

    def _after(self, done: Done) -> None:
        if done.after:
            try:
                done.after()
            except Exception:
                self.log.exception("clean-up after the commit failed; recover will do it")

    def _release(self, mine: Claim, error: Exception) -> None:
        try:
            with self.deps.db.transaction() as tx:
                claims.release(tx, mine, f"{type(error).__name__}: {error}"[:500])
        except (Unavailable, LeaseLost):
            self.log.warning("could not release the claim; its lease will run out")

    def _reject(self, event: Event[Payload], mine: Claim, error: Rejected) -> flask.Response:
        reply = event.child(self.name, AnalysisFailed(reason=error.reason, detail=error.detail))
        with self.deps.db.transaction() as tx:
            ended = lifecycle.fail(tx, event.subject, error.reason, error.detail)
            n = outbox.append(tx, reply) if ended else None
            claims.finish(tx, mine, "rejected", n)
        self.log.info("rejected", reason=error.reason, detail=error.detail)
        return _became("rejected", _reply(reply if ended else None))

    def _held(self, event: Event[Payload], held: Held) -> flask.Response:
        if held.state in ("parked", "dead"):
            return flask.Response(status=204)
        if held.state != "done":
            return flask.Response("another delivery of this event is being worked on", status=409)
        if held.reply_n is None or held.reply_claimed:
            return flask.Response(status=204)
        try:
            with self.deps.db.transaction() as tx:
                return _reply(outbox.load(tx, event.subject, held.reply_n))
        except LookupError:  # it went with its citizen just now
            return flask.Response(status=204)


def _became(outcome: str, response: flask.Response) -> flask.Response:
    """The response, and what became of the event, for who counts it."""
    flask.g.outcome = outcome
    return response


def _reply(event: Event[Payload] | None) -> flask.Response:
    if event is None:
        return flask.Response(status=204)
    headers, body = wire.to_http(event)
    return flask.Response(body, status=200, headers=headers)
