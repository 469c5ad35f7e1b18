"""What Prometheus reads at GET /metrics on a function's own port: counted in the process, printed as text.

On where METRICS is `on` (read here alone, like LOG_LEVEL); otherwise every call returns at its first line and the path
does not exist. Nothing is imported: prometheus_client would take 20 to 25 ms of every cold start (measured after Flask
and urllib3), and what we need of it is below; its parser checks our text in the tests.

A process lives from its first request to a minute after its last, and the first value that Prometheus sees of a series
is a start to it, no growth: what woke a function would be in no `rate()`. What only grows is therefore shown as 0 once.
What was counted between the last look and a kill is lost: what must not be missed is no counter, but read by `recover`
from the database.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Upper bounds in seconds: a request is quick, an event may wait for a model, an analysis for a citizen's patience.
QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LONG = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
PATIENCE = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)

M = TypeVar("M", bound="Metric")

_recording = os.environ.get("METRICS", "").lower() == "on"


def on() -> bool:
    """Whether anything is counted."""
    return _recording


class Metric:
    """Series of one name, told apart by the values of `labels`. `kind` as in the text format; does it only grow?"""

    kind, grows = "untyped", True

    def __init__(self, name: str, meaning: str, *labels: str) -> None:
        self.name, self.meaning, self.labels = name, meaning, labels
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], list[float]] = {}
        self._seen: set[tuple[str, ...]] = set()

    def forget(self) -> None:
        """As if nothing had been counted."""
        with self._lock:
            self._values.clear()
            self._seen.clear()

    def series(self) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
        """(suffix of the name, labels, value) of every line, for whoever looks: what grows is 0 at the first look."""
        with self._lock:
            found = [
                (key, [0.0] * len(values) if self.grows and key not in self._seen else list(values))
                for key, values in self._values.items()
            ]
            self._seen.update(self._values)
        for key, values in sorted(found):
            yield from self._lines(tuple(zip(self.labels, key, strict=True)), values)

    def _lines(
        self, labels: tuple[tuple[str, str], ...], values: list[float]
    ) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
        yield "", labels, values[0]

    def _key(self, given: dict[str, str]) -> tuple[str, ...]:
        if given.keys() != set(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {tuple(given)}")
        return tuple(given[label] for label in self.labels)


class Counter(Metric):
    """Only grows."""

    kind = "counter"

    def add(self, amount: float = 1, **labels: str) -> None:
        if _recording:
            key = self._key(labels)
            with self._lock:
                self._values.setdefault(key, [0.0])[0] += amount


class Gauge(Metric):
    """What is now."""

    kind, grows = "gauge", False

    def set(self, value: float, **labels: str) -> None:
        if _recording:
            key = self._key(labels)
            with self._lock:
                self._values[key] = [value]


class Histogram(Metric):
    """Durations in seconds, by upper bounds."""

    kind = "histogram"

    def __init__(self, name: str, meaning: str, bounds: tuple[float, ...], *labels: str) -> None:
        super().__init__(name, meaning, *labels)
        self._bounds = bounds

    def observe(self, seconds: float, **labels: str) -> None:
        if _recording:
            key = self._key(labels)
            place = next((n for n, bound in enumerate(self._bounds) if seconds <= bound), len(self._bounds))
            with self._lock:
                values = self._values.setdefault(key, [0.0] * (len(self._bounds) + 2))
                values[place] += 1
                values[-1] += seconds

    def _lines(
        self, labels: tuple[tuple[str, str], ...], values: list[float]
    ) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
        count = 0.0
        for bound, n in zip((*self._bounds, float("inf")), values[:-1], strict=True):
            count += n
            yield "_bucket", (*labels, ("le", "+Inf" if bound == float("inf") else f"{bound:g}")), count
        yield "_sum", labels, values[-1]
        yield "_count", labels, count


#: name → metric: everything a function of ours exports.
CATALOGUE: dict[str, Metric] = {}


def _known(metric: M) -> M:
    CATALOGUE[metric.name] = metric
    return metric


REQUESTS = _known(Counter("growbin_requests_total", "HTTP requests answered.", "route", "method", "status"))
REQUEST_SECONDS = _known(Histogram("growbin_request_seconds", "Time to answer a request.", QUICK, "route"))
EVENTS = _known(Counter("growbin_events_total", "Events handled, by what became of them.", "type", "outcome"))
EVENT_SECONDS = _known(Histogram("growbin_event_seconds", "Time to handle an event.", LONG, "type"))
PUBLISHED = _known(Counter("growbin_published_total", "Events posted to the broker.", "outcome"))
MODEL_CALLS = _known(Counter("growbin_model_calls_total", "Calls of a chat model.", "model", "outcome"))
MODEL_SECONDS = _known(Histogram("growbin_model_seconds", "Time of a call of a chat model.", LONG, "model"))
MODEL_TOKENS = _known(Counter("growbin_model_tokens_total", "Tokens paid for.", "model", "direction"))
MODEL_COST = _known(Counter("growbin_model_cost_usd_total", "What the calls cost, where the price is known.", "model"))
CACHE = _known(Counter("growbin_cache_total", "Looks into the cache.", "kind", "result"))
DEAD_LETTERS = _known(Counter("growbin_dead_letters_total", "Dead letters kept.", "consumer"))
# By `recover`, once a minute, from the database:
TICKED = _known(Gauge("growbin_last_tick_timestamp_seconds", "When the last tick of recover ended."))
DEAD_LETTERS_OPEN = _known(Gauge("growbin_dead_letters_open", "Dead letters kept and not sent again."))
STUCK = _known(Gauge("growbin_stuck", "Unfinished for an hour.", "what"))
OWED = _known(Gauge("growbin_owed_events", "Events without a finished claim for longer than they may take."))
OWED_SECONDS = _known(Gauge("growbin_oldest_owed_seconds", "Age of the oldest event without a finished claim."))
PARKED = _known(Gauge("growbin_parked_events", "Events that wait for the model to come back."))
SPENT = _known(Gauge("growbin_spent_today_usd", "Spent on the model since midnight in Seoul."))
SPENDABLE = _known(Gauge("growbin_spend_limit_usd", "What may be spent on the model a day."))
FINISHED = _known(Counter("growbin_analyses_finished_total", "Analyses that ended, since recover started.", "outcome"))
FINISHED_SECONDS = _known(
    Histogram("growbin_analysis_seconds", "From the request to the guide, where nothing was asked back.", PATIENCE)
)


def text() -> str:
    """Everything counted so far, in Prometheus' text format."""
    return "\n".join(_printed()) + "\n"


def _printed() -> Iterator[str]:
    for metric in CATALOGUE.values():
        lines = [f"{metric.name}{suffix}{_braced(labels)} {value:.12g}" for suffix, labels, value in metric.series()]
        if lines:
            yield f"# HELP {metric.name} {metric.meaning}"
            yield f"# TYPE {metric.name} {metric.kind}"
            yield from lines


def _braced(labels: tuple[tuple[str, str], ...]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
