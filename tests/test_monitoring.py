"""What is counted and traced, and what is asked of it: rules and dashboards name only what somebody exports, every
alert has its page, and what Argo CD and CI are told fits what they deploy."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from functions.presign.routes import create as create_presign
from functions.presign.settings import Settings as PresignSettings
from functions.recover import owed, standing
from functions.recover.standing import Standing
from functions.shared import calls, http, metrics, tracing, wire
from functions.shared.config import load as load_settings
from functions.shared.events import (
    AnalysisFailed,
    AnalysisRequested,
    Event,
    GuidanceGenerated,
    ItemAmbiguous,
    ItemUnmatched,
    PhotoIngested,
    UploadStored,
)
from functions.shared.function import ModelDown
from functions.shared.metrics import Counter, Gauge, Histogram
from functions.shared.objects import Objects
from functions.shared.tokens import Signer
from functions.waste.routes import create
from functions.waste.settings import Settings
from knative.argocd import digests
from knative.check import monitoring
from knative.check.deploy import DeployError, written
from knative.check.render import render
from knative.local.eventing import Event as Message
from knative.local.parts import Addresses
from knative.local.run import OURS
from tests.collector import Collector, attributes, collecting
from tests.conftest import migrated
from tests.steps import World, collecting_ingress, deliver, load, scripted_provider
from tests.waiting import until

ROOT = Path(__file__).parents[1]
MONITORING, RUNBOOKS, ARGOCD = ROOT / "knative/monitoring", ROOT / "docs/runbooks", ROOT / "knative/argocd"


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], dict[tuple[str, ...], float]]]:
    """Metrics on, from nothing. Called: (name, value of each label by the labels' order) → value, at a second look."""
    monkeypatch.setattr(metrics, "_recording", True)
    for metric in metrics.CATALOGUE.values():
        metric.forget()
    yield lambda: samples(metrics.text() and metrics.text())
    for metric in metrics.CATALOGUE.values():
        metric.forget()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """What Prometheus' own client library reads in the text."""
    families = text_string_to_metric_families(text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


@pytest.fixture(scope="module")
def pipeline_database(servers: Addresses) -> str:
    """Without rules: nothing is looked up here."""
    return migrated(servers)


# --- the text format


def test_the_text_is_what_the_library_reads(counting: Callable[[], dict[tuple[str, ...], float]]) -> None:
    counter, gauge = Counter("a_total", "A.", "what"), Gauge("b", "B.")
    histogram = Histogram("c_seconds", "C.", (0.5, 1.0), "where")
    counter.add(what='a "quoted" \\ line\nbreak')
    counter.add(2.5, what="x")
    gauge.set(3)
    gauge.set(-1)
    for seconds in (0.5, 0.7, 5.0):
        histogram.observe(seconds, where="here")

    def looked() -> dict[tuple[str, ...], float]:
        return samples(
            "".join(
                f"# TYPE {one.name} {one.kind}\n"
                + "".join(f"{one.name}{s}{metrics._braced(labels)} {value:.12g}\n" for s, labels, value in one.series())
                for one in (counter, gauge, histogram)
            )
        )

    first = looked()
    assert {value for key, value in first.items() if key != ("b",)} == {0}, "what grows begins at 0 for who looks"
    assert first["b",] == -1
    assert looked() == {
        ("a_total", 'a "quoted" \\ line\nbreak'): 1,
        ("a_total", "x"): 2.5,
        ("b",): -1,
        ("c_seconds_bucket", "here", "0.5"): 1,
        ("c_seconds_bucket", "here", "1"): 2,
        ("c_seconds_bucket", "here", "+Inf"): 3,
        ("c_seconds_sum", "here"): 6.2,
        ("c_seconds_count", "here"): 3,
    }
    counter.add(what="late")
    assert [(now["a_total", "late"], now["a_total", "x"]) for now in (looked(), looked())] == [(0, 2.5), (1, 2.5)]
    with pytest.raises(ValueError, match="labels"):
        counter.add(who="x")


def test_threads_lose_nothing(counting: Callable[[], dict[tuple[str, ...], float]]) -> None:
    def work() -> None:
        for _ in range(500):
            metrics.PUBLISHED.add(outcome="accepted")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counting()["growbin_published_total", "accepted"] == 4000


def test_off_nothing_is_kept_imported_or_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_recording", False)
    metrics.PUBLISHED.add(outcome="accepted")
    metrics.STUCK.set(1, what="proof")
    metrics.MODEL_SECONDS.observe(1, model="m")
    assert metrics.text() == "\n"
    assert http.create_app("test").test_client().get("/metrics").status_code == 404
    program = "import sys, functions.shared.function, functions.shared.http; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not [name for name in loaded.stdout.split() if name.startswith(("prometheus_client", "opentelemetry"))]


# --- what the functions count


def test_requests_are_counted_and_only_the_cluster_may_look(
    counting: Callable[[], dict[tuple[str, ...], float]],
) -> None:
    app = http.create_app("test")
    app.add_url_rule("/things/<name>", "thing", lambda name: name)
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    client = app.test_client()
    for path in ("/things/a", "/things/b", "/broken", "/nowhere", "/healthz", "/readyz", "/metrics"):
        client.get(path)
    client.open("/things/a", method="BREW")
    found = counting()
    requests = {key[1:]: value for key, value in found.items() if key[0] == "growbin_requests_total"}
    assert requests == {
        ("/things/<name>", "GET", "200"): 2,
        ("/broken", "GET", "500"): 1,
        ("none", "GET", "404"): 1,
        ("none", "other", "405"): 1,
    }
    assert found["growbin_request_seconds_count", "/things/<name>"] == 2
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"] == metrics.CONTENT_TYPE
    assert samples(answer.text) == found
    for header in ("X-Forwarded-For", "Forwarded"):
        assert client.get("/metrics", headers={header: "203.0.113.7"}).status_code == 404, "through the gateway"


def test_a_call_of_the_model_is_counted_by_what_came_of_it(
    counting: Callable[[], dict[tuple[str, ...], float]],
) -> None:
    def said(content: str) -> Any:
        meta, usage = {"model_name": "gpt-4o-2024-08-06"}, {"input_tokens": 1000, "output_tokens": 100}
        return SimpleNamespace(content=content, additional_kwargs={}, response_metadata=meta, usage_metadata=usage)

    @dataclass
    class Chain:
        answer: Any

        async def ainvoke(self, _: Any) -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return {"raw": self.answer}

    terms = calls.Terms(1.0, 60.0, "gpt-4o", (ValueError,), lambda error: "refuse" in str(error))
    for answer in (said("{}"), said("no JSON"), ValueError("refuse")):
        calls.ask(Chain(answer), [], terms)
    with pytest.raises(ModelDown):
        calls.ask(Chain(ValueError("boom")), [], terms)
    found = counting()
    outcomes = {key[2]: value for key, value in found.items() if key[0] == "growbin_model_calls_total"}
    assert outcomes == {"answered": 1, "malformed": 1, "refused": 1, "down": 1}
    assert found["growbin_model_tokens_total", "gpt-4o", "in"] == 2000
    assert found["growbin_model_tokens_total", "gpt-4o", "out"] == 200
    assert found["growbin_model_cost_usd_total", "gpt-4o"] == pytest.approx(2 * (0.0025 + 0.001))
    assert found["growbin_model_seconds_count", "gpt-4o"] == 4


def test_how_the_pipeline_stands_is_read_from_the_database(
    world: World, counting: Callable[[], dict[tuple[str, ...], float]]
) -> None:
    duties = owed.owed(owed.duties(ROOT / "pipelines"))
    told = Standing(duties, after_seconds=60, usd=50.0)

    def tell() -> dict[tuple[str, ...], float]:
        with world.db.transaction() as tx:
            standing.look(tx)
            told.tell(tx)
        return counting()

    empty = tell()
    assert empty["growbin_oldest_owed_seconds",] == 0
    outcomes = {key[1]: value for key, value in empty.items() if key[0] == "growbin_analyses_finished_total"}
    assert outcomes == dict.fromkeys(standing.OUTCOMES, 0), "there is a share, and it is 0, before the first breaks"

    before = datetime.now(UTC) - standing.SETTLED - timedelta(seconds=5)
    told._counted = before - timedelta(seconds=60)
    quick, asked, none, broken, refused = (
        world.analysis(requested_at=before - timedelta(seconds=20)) for _ in range(5)
    )
    guide = GuidanceGenerated(round=1, guide_id=str(uuid.uuid4()), item_id="pizza-box")
    world.said(quick, guide, by="generate")
    world.said(asked, ItemAmbiguous(round=1, options=["a"]), by="identify")
    world.said(asked, guide, by="generate")
    world.said(none, ItemUnmatched(round=1, nearest=[]), by="identify")
    world.said(broken, AnalysisFailed(reason="internal", detail="identify"), by="recover")
    world.said(refused, AnalysisFailed(reason="bad_photo", detail="refused"), by="identify")
    world.do("UPDATE analysis_events SET created_at = %s", before)
    waiting = world.said(world.analysis(), UploadStored(key="k", size=1, etag=""), by="recover")
    world.do("UPDATE analysis_events SET created_at = now() - interval '400 seconds' WHERE id = %s", waiting.id)
    world.do("UPDATE analyses SET updated_at = now() - interval '2 hours' WHERE id = %s", waiting.subject)
    world.do(
        """INSERT INTO model_calls (analysis_id, round, purpose, model, prompt_version, answer, tokens_in, tokens_out,
                                    cost_usd, ms) VALUES (%s, 1, 'see', 'm', '1', '{}', 1, 1, 1.25, 1)""",
        quick,
    )
    world.do(
        """INSERT INTO claims (consumer, event_source, event_id, state, lease_until)
           VALUES ('grade', 's', 'e', 'parked', now())"""
    )
    found = tell()
    outcomes = {key[1]: value for key, value in found.items() if key[0] == "growbin_analyses_finished_total"}
    assert outcomes == {"guided": 2, "not_found": 1, "broken": 1, "refused": 1, "expired": 0}
    assert found["growbin_analysis_seconds_count",] == 1, "what was asked back is no measure of speed"
    assert found["growbin_analysis_seconds_bucket", "30"] == 1
    assert found["growbin_analysis_seconds_bucket", "10"] == 0
    assert 399 < found["growbin_oldest_owed_seconds",] < 460
    assert found["growbin_owed_events",] >= 1
    assert (found["growbin_stuck", "analysis"], found["growbin_stuck", "proof"]) == (1, 0)
    assert (found["growbin_spent_today_usd",], found["growbin_spend_limit_usd",]) == (1.25, 50)
    assert found["growbin_parked_events",] == 1
    assert found["growbin_last_tick_timestamp_seconds",] == pytest.approx(datetime.now(UTC).timestamp(), abs=30)

    again = tell()
    assert again["growbin_analyses_finished_total", "guided"] == 2, "nothing is counted twice"
    world.do("UPDATE claims SET state = 'done'")
    world.do(
        """INSERT INTO claims (consumer, event_source, event_id, analysis_id, state, lease_until)
           SELECT o.consumer, e.source, e.id, e.analysis_id, 'done', now()
           FROM analysis_events e JOIN unnest(%s::text[], %s::text[]) AS o(type, consumer) ON o.type = e.type""",
        [duty.type for duty in duties],
        [duty.consumer for duty in duties],
    )
    assert tell()["growbin_oldest_owed_seconds",] == 0


# --- one trace from the upload on


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setattr(tracing, "EVERY", 0.05)
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{found.url}/")
        yield found


@pytest.mark.usefixtures("pipeline_env", "counting")
def test_one_trace_from_the_request_to_the_model(
    collector: Collector, world: World, objects: Objects, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = world.analysis("presigned")
    objects.put(world.key(analysis), _photo(), "image/jpeg")
    token = Signer(keys / "private.pem").issue(world.state(analysis)["user_id"]).token
    theirs = f"00-{'a' * 32}-{'b' * 16}-01"
    with collecting_ingress() as ingress, scripted_provider() as provider:
        provider.fails(500, "away")
        for name, value in {
            "BROKER_URL": ingress.url,
            "JWT_PUBLIC_KEYS_DIR": str(keys / "public"),
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": provider.url,
            "EMBEDDING_MODEL": "m",
        }.items():
            monkeypatch.setenv(name, value)
        waste = create(load_settings(Settings, os.environ))
        asked = waste.test_client().post(
            "/api/v1/waste/analyze",
            json={"key": world.key(analysis)},
            headers={"Authorization": f"Bearer {token}", "traceparent": theirs},
        )
        assert asked.status_code == 202, asked.text
        (requested,) = ingress.events
        ingested = deliver(load("ingest"), requested)
        assert ingested.event is not None
        identify_app = load("identify")
        assert deliver(identify_app, ingested.event).status == 503, "the model is away"
    until(lambda: len(collector.spans) == 4)

    assert collector.paths == {"/v1/traces"}
    assert {span["traceId"] for span in collector.spans} == {"a" * 32}
    request = collector.of("waste", tracing.SERVER)
    ingest, identify = (collector.of(name, tracing.CONSUMER) for name in ("ingest", "identify"))
    model = collector.of("identify", tracing.CLIENT)
    parents = [span["parentSpanId"] for span in (request, ingest, identify, model)]
    assert parents == ["b" * 16, request["spanId"], ingest["spanId"], identify["spanId"]]
    assert request["name"] == "POST /api/v1/waste/analyze"
    assert attributes(request)["http.response.status_code"] == 202
    assert ingest["name"] == AnalysisRequested.TYPE
    assert attributes(ingest) | {"growbin.correlation_id": ""} == {
        "growbin.correlation_id": "",
        "growbin.analysis_id": analysis,
        "growbin.outcome": "done",
        "http.response.status_code": 200,
    }
    assert identify["status"] == {"code": 2, "message": "model_down"}
    assert (model["name"], model["status"]) == ("model", {"code": 2, "message": "ModelDown"})
    for inner, outer in ((model, identify), (identify, request)):
        assert int(outer["startTimeUnixNano"]) <= int(inner["startTimeUnixNano"]) <= int(inner["endTimeUnixNano"])
    counted = [samples(identify_app.test_client().get("/metrics").text) for _ in range(2)][1]
    events = {key[1:]: value for key, value in counted.items() if key[0] == "growbin_events_total"}
    assert events == {(AnalysisRequested.TYPE, "done"): 1, (PhotoIngested.TYPE, "model_down"): 1}
    kept = world.rows("SELECT traceparent FROM analysis_events WHERE analysis_id = %s ORDER BY n", analysis)
    assert [row["traceparent"].split("-")[2] for row in kept] == [request["spanId"], ingest["spanId"]]


def test_who_comes_with_no_trace_begins_one_and_who_wants_none_tells_none(collector: Collector) -> None:
    app = http.create_app("test")
    app.add_url_rule("/", "root", lambda: http.traceparent("c" * 32) or "none")
    client = app.test_client()
    unsampled = client.get("/", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}).text
    broken = client.get("/", headers={"traceparent": f"00-{'0' * 32}-{'b' * 16}-01"}).text
    client.get("/healthz")
    until(lambda: collector.spans)
    (span,) = collector.spans
    assert re.fullmatch(r"00-a{32}-(?!b{16})[0-9a-f]{16}-00", unsampled)
    assert broken == f"00-{'c' * 32}-{span['spanId']}-01"
    assert span["traceId"] == "c" * 32, "nobody's child is in the trace of what it is about"
    assert "parentSpanId" not in span
    assert tracing.current() is None


def test_a_socket_that_ends_has_not_failed(collector: Collector) -> None:
    tracer = tracing.tracer("test")
    assert tracer is not None
    for error in (StopIteration(), ValueError()):
        with pytest.raises(type(error)), tracer.span("socket", tracing.SERVER, None):
            raise error
    tracer.flush()
    assert [span["status"] for span in collector.spans] == [{}, {"code": 2, "message": "ValueError"}]


def test_an_event_keeps_its_cause_on_its_way_through_the_broker() -> None:
    """Knative's broker drops the attribute `traceparent`, and its dispatcher sends a header of its own, unsampled."""
    cause = f"00-{'a' * 32}-{'b' * 16}-01"
    analysis = str(uuid.uuid4())
    event = Event(
        id="1", source="s", subject=analysis, data=UploadStored(key="k", size=1, etag=""), time=datetime.now(UTC),
        correlation_id="c", traceparent=cause,
    )  # fmt: skip
    headers, body = wire.to_http(event)
    posted = Message.from_http(headers, body)
    assert posted is not None
    passed = Message.from_amqp(posted.to_amqp(), body).to_http()
    kept = {name.title(): value for name, value in passed.items() if name.lower() != "ce-traceparent"}
    arrived = wire.parse(kept | {"Traceparent": f"00-{'c' * 32}-{'d' * 16}-00"}, body)
    assert arrived.traceparent == cause


@pytest.mark.usefixtures("pipeline_env")
def test_what_nobody_caused_is_in_the_trace_of_its_analysis(
    collector: Collector, world: World, objects: Objects, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photo's upload, the request that follows, and what the object store says: three roots of one trace."""
    monkeypatch.setenv("JWT_PUBLIC_KEYS_DIR", str(keys / "public"))
    user = world.state(world.analysis("presigned"))["user_id"]
    mine = {"Authorization": f"Bearer {Signer(keys / 'private.pem').issue(user).token}"}
    monkeypatch.setenv("S3_PUBLIC_ENDPOINT", os.environ["S3_ENDPOINT"])
    with collecting_ingress() as ingress:
        monkeypatch.setenv("BROKER_URL", ingress.url)
        presign = create_presign(load_settings(PresignSettings, os.environ))
        waste = create(load_settings(Settings, os.environ | {"OPENAI_API_KEY": "k", "EMBEDDING_MODEL": "m"}))
        granted = presign.test_client().post("/api/v1/waste/uploads", json={"content_type": "image/jpeg"}, headers=mine)
        assert granted.json is not None
        analysis, key = granted.json["id"], granted.json["key"]
        objects.put(key, _photo(), "image/jpeg")
        assert waste.test_client().post("/api/v1/waste/analyze", json={"key": key}, headers=mine).status_code == 202
    stored = Event(
        id="e", source="s3", subject=analysis, data=UploadStored(key=key, size=1, etag=""), time=datetime.now(UTC),
        correlation_id="e",
    )  # fmt: skip
    ingested = deliver(load("ingest"), stored)
    assert ingested.event is not None
    until(lambda: len(collector.spans) == 3)
    (trace,) = {span["traceId"] for span in collector.spans}
    assert tracing.trace_of(world.state(analysis)["correlation_id"]) == trace
    assert (ingested.event.traceparent or "").startswith(f"00-{trace}-")


def test_a_collector_that_is_away_or_unwilling_costs_spans_and_nothing_else(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collector.status = 503
    unwilling = tracing.tracer("test")
    assert unwilling is not None
    with unwilling.span("a", tracing.SERVER, None):
        pass
    until(lambda: "spans refused" in caplog.messages)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    away = tracing.tracer("test")
    assert away is not None
    for _ in range(tracing.WAITING + 5):  # more than may wait: nobody is held up
        with away.span("b", tracing.SERVER, None):
            pass
    away.flush()
    assert "spans lost" in caplog.messages


def test_without_a_collector_the_trace_of_a_request_only_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    app = http.create_app("test")
    app.add_url_rule("/", "root", lambda: http.traceparent("c" * 32) or "none")
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    assert app.test_client().get("/", headers={"traceparent": given}).text == given
    assert app.test_client().get("/").text == "none"
    with tracing.inside("model") as span:
        assert span is None


def test_on_one_machine_the_environment_names_the_collector() -> None:
    assert "OTEL_EXPORTER_OTLP_ENDPOINT".startswith(OURS)


def _photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (20, 200, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


# --- rules, dashboards, runbooks


def asked() -> list[Any]:
    """Every series that a rule or a dashboard asks for."""
    queries = [query for _, query in monitoring._queries(render(MONITORING))]
    assert len(queries) > 50
    return [one for query in queries for one in monitoring.series(query)]


def test_what_we_export_is_looked_at_and_foreign_names_are_needed() -> None:
    names = {str(one.name) for one in asked()}
    assert monitoring.FOREIGN - names == set()
    seen = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names} | names
    assert set(metrics.CATALOGUE) - seen <= {"growbin_dead_letters_total", "growbin_owed_events"}


def test_queues_of_dead_letters_are_watched_like_the_others() -> None:
    """By eventing-rabbitmq's names: of a Trigger's events, of what it gave up on, of what the Broker gave up on."""
    patterns = {matcher.value for one in asked() for matcher in one.matchers.matchers if matcher.name == "queue"}
    assert patterns
    for pattern in patterns:
        for queue in ("growbin-events.a.1", "t.growbin-events.a.dlq.1", "b.growbin-events.waste.dlq.1"):
            assert re.fullmatch(pattern, queue), f"{queue} is not in {pattern}"
        assert not re.fullmatch(pattern, "growbin-events-2.a.1")


def test_grafana_is_asked_below_the_path_it_answers_at() -> None:
    """Who leaves the path out is sent to the address outside; what it says of itself, it would say to everybody."""
    told = yaml.safe_load((ARGOCD / "values/kube-prometheus-stack.yaml").read_text(encoding="utf-8"))["grafana"]
    server, sidecar = told["grafana.ini"]["server"], told["sidecar"]
    assert server["serve_from_sub_path"] is True
    path = urlsplit(server["root_url"]).path
    assert path == "/grafana"
    probes = [told[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")]
    reloads = [urlsplit(sidecar[what]["reloadURL"]).path for what in ("dashboards", "datasources")]
    assert all(one.startswith(f"{path}/api/") for one in probes + reloads)
    assert told["grafana.ini"]["metrics"]["enabled"] is told["serviceMonitor"]["enabled"] is False


def test_dashboards_are_found_by_the_sidecar_and_do_not_overlap() -> None:
    kustomization = yaml.safe_load((MONITORING / "kustomization.yaml").read_text(encoding="utf-8"))
    listed = {file for entry in kustomization["configMapGenerator"] for file in entry["files"]}
    assert listed == {f"dashboards/{path.name}" for path in MONITORING.glob("dashboards/*.json")}
    label = kustomization["generatorOptions"]["labels"]
    sidecar = yaml.safe_load((ARGOCD / "values/kube-prometheus-stack.yaml").read_text())["grafana"]["sidecar"]
    assert label == {sidecar["dashboards"]["label"]: sidecar["dashboards"]["labelValue"]}
    assert sidecar["datasources"]["uid"] == "prometheus"
    for file in listed:
        panels = json.loads((MONITORING / file).read_text(encoding="utf-8"))["panels"]
        cells = [
            (x, y)
            for panel in panels
            for at in [panel["gridPos"]]
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(cells) == len(set(cells)), "panels overlap"
        assert max(x for x, _ in cells) < 24


# --- Argo CD and CI


def argocd(name: str) -> list[dict[str, Any]]:
    text = (ARGOCD / "base" / name).read_text(encoding="utf-8")
    return [document for document in yaml.safe_load_all(text) if document]


def test_applications_point_at_what_is_there() -> None:
    projects = {one["metadata"]["name"]: one["spec"] for one in argocd("projects.yaml")}
    for one in (*argocd("charts.yaml"), *argocd("apps.yaml"), *argocd("functions.yaml")):
        spec = one["spec"]["template"]["spec"] if one["kind"] == "ApplicationSet" else one["spec"]
        assert spec["syncPolicy"]["automated"]["selfHeal"] is True
        project = projects[spec["project"]]
        assert spec["destination"] in [
            {"server": place["server"], "namespace": place["namespace"]} for place in project["destinations"]
        ]
        for source in spec.get("sources") or [spec["source"]]:
            assert source["repoURL"] in project["sourceRepos"]
            if "path" in source:
                assert (ROOT / source["path"] / "kustomization.yaml").is_file()
                assert (ROOT / source["path"].replace("/prod/", "/dev/") / "kustomization.yaml").is_file()
            for values in source.get("helm", {}).get("valueFiles", []):
                assert yaml.safe_load((ROOT / values.removeprefix("$values/")).read_text(encoding="utf-8"))


def elements() -> list[str]:
    (generated,) = argocd("functions.yaml")
    return [each["function"] for each in generated["spec"]["generators"][0]["list"]["elements"]]


def test_there_is_an_application_for_every_function() -> None:
    listed = yaml.safe_load((ROOT / "knative/functions/kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert elements() == sorted({name.removesuffix(".yaml") for name in listed} | {"setup"})


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl renders a kustomization as Argo CD does")
@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("web", {("Service", "web"), ("Job", "migrate-web")}),
        ("setup", {("Job", "index"), ("Job", "migrate-setup")}),
    ],
)
def test_an_application_of_a_function_holds_that_one_alone(
    function: str, wanted: set[tuple[str, str]], tmp_path: Path
) -> None:
    (generated,) = argocd("functions.yaml")
    source = generated["spec"]["template"]["spec"]["source"]
    text = yaml.safe_dump(source["kustomize"]["patches"]).replace("{{ .function }}", function)
    shutil.copytree(ROOT / "knative", tmp_path / "knative", ignore=shutil.ignore_patterns("local", "__pycache__"))
    here = tmp_path / source["path"] / ".." / "one"
    here.mkdir()
    (here / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["../functions"], "patches": yaml.safe_load(text)}), encoding="utf-8"
    )
    done = subprocess.run(["kubectl", "kustomize", str(here)], capture_output=True, text=True, check=True)
    found = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}
    assert found.keys() == wanted
    hooked = {name for (_, name), one in found.items() if "hook" in str(one["metadata"].get("annotations"))}
    assert hooked == {f"migrate-{function}"}


def test_what_argo_cd_compares_by_a_dry_run_can_be_applied_to_what_is_there() -> None:
    """A Job cannot be changed: its dry run is refused, nothing is synced. What has defaults inside lists needs one."""
    (generated,) = argocd("functions.yaml")
    template = generated["spec"]["template"]
    wish = template["metadata"]["annotations"]["argocd.argoproj.io/compare-options"]
    chosen = re.fullmatch(
        r'ServerSideDiff=\{\{ if eq \.function "(\w+)" \}\}false\{\{ else \}\}true,.*\{\{ end \}\}', wish
    )
    index = yaml.safe_load((ROOT / "knative/jobs/index.yaml").read_text(encoding="utf-8"))
    assert chosen, wish
    assert chosen[1] == index["metadata"]["labels"]["app.kubernetes.io/name"], "the one with a Job that is no hook"
    compared = {one["metadata"]["name"]: one["metadata"].get("annotations", {}) for one in argocd("apps.yaml")}
    for name in ("platform", "monitoring"):
        assert "ServerSideDiff=true" in compared[name]["argocd.argoproj.io/compare-options"]


def test_a_digest_is_written_where_argo_cd_reads_it(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "knative/overlays", tmp_path / "knative/overlays")
    file = tmp_path / "knative/overlays/prod/functions/kustomization.yaml"
    before = yaml.safe_load(file.read_text(encoding="utf-8"))
    one, two = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    changed = digests.write("prod", {"web": one, "grade": two, "s3source": one}, tmp_path)
    assert {path.parent.name for path in changed} == {"functions", "platform"}
    after = yaml.safe_load(file.read_text(encoding="utf-8"))
    images = {image["name"].rpartition("-")[2]: image["digest"] for image in after["images"]}
    assert (images["web"], images["grade"]) == (one, two)
    assert {name: images[name] for name in images.keys() - {"web", "grade"}} == {
        image["name"].rpartition("-")[2]: image["digest"]
        for image in before["images"]
        if not image["name"].endswith(("-web", "-grade"))
    }
    assert digests.write("prod", {"web": one}, tmp_path) == [], "the same again changes nothing"
    back = written(file.read_text(encoding="utf-8"), "web", [{"revisionName": "web-00001", "percent": 100}], "")
    file.write_text(back, encoding="utf-8")
    assert digests.write("prod", {"web": one, "grade": one}, tmp_path) == [file]
    assert "web-00001" in file.read_text(encoding="utf-8"), "the image is the same: a way back stays"
    digests.write("prod", {"web": two, "grade": two}, tmp_path)
    assert "web-00001" not in file.read_text(encoding="utf-8")
    for bad in ({"web": "latest"}, {"nobody": one}):
        text = file.read_text(encoding="utf-8")
        with pytest.raises(DeployError):
            digests.write("prod", {"grade": one, **bad}, tmp_path)
        assert file.read_text(encoding="utf-8") == text


def test_workflows_run_what_there_is() -> None:
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in (ROOT / ".github/workflows").glob("*.yaml"):
        for job in workflow(path.name)["jobs"].values():
            for run in (step.get("run", "") for step in job["steps"]):
                for target in re.findall(r"\bmake ([\w./-]+)", run):
                    assert target in targets
                for module in re.findall(r"python -m ([\w.]+)", run):
                    assert importlib.util.find_spec(module), module


def workflow(name: str) -> dict[Any, Any]:
    read: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows" / name).read_text(encoding="utf-8"))
    return read


def test_images_are_built_of_what_ci_found_good_whatever_file_changed() -> None:
    build, ci = workflow("build.yaml"), workflow("ci.yaml")
    assert build[True] == {"workflow_run": {"workflows": [ci["name"]], "types": ["completed"], "branches": ["main"]}}
    assert ci[True]["push"] == {"branches": ["main"]}, "no list of paths, which would forget one"
    for needed in ("conclusion == 'success'", "event == 'push'"):
        assert needed in build["jobs"]["changed"]["if"], "not what failed, and not a fork's"
    for job in ("changed", "image"):
        assert build["jobs"][job]["steps"][0]["with"]["ref"] == "${{ env.SHA }}", "what ci tested, not what came later"
    assert "changed" in build["jobs"]["write-down"]["needs"]
    assert "skipped" not in build["jobs"]["write-down"]["if"], "also when nothing was to be built"


def test_ci_brings_the_provider_that_terraform_is_held_against() -> None:
    steps = workflow("ci.yaml")["jobs"]["cluster"]["steps"]
    told = [(step["run"], step["env"]["TERRAFORM_PLUGINS"]) for step in steps if "env" in step]
    (mirror, filled), (check, read) = told
    assert "providers mirror" in mirror
    assert check == "make check-cluster"
    assert filled == read
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ncheck-cluster:")[2].partition("\n\n")[0]
    tools = (ROOT / "knative/check/tools.py").read_text(encoding="utf-8")
    assert "-m knative.check check" in recipe
    assert '"-m", "terraform.provider"' in tools


#: A registry that holds one image whole, one that was never signed, and nothing else; and who asks for signatures.
REGISTRY = f"""#!/bin/sh
case "$*" in
  *"--format"*:tag-whole) echo '{{"digest": "sha256:{"a" * 64}"}}' ;;
  *"--format"*:tag-unsigned) echo '{{"digest": "sha256:{"b" * 64}"}}' ;;
  *) exit 1 ;;
esac
"""
COSIGN = f"""#!/bin/sh
case "$*" in
  "verify-attestation --type spdxjson --certificate-identity us "*" ghcr.io/x/waste-coach-whole"@sha256:{"a" * 64}) ;;
  *) exit 1 ;;
esac
"""


def step(job: str, name: str) -> str:
    """The script of one step of build.yaml, by the beginning of its name."""
    (found,) = [one for one in workflow("build.yaml")["jobs"][job]["steps"] if one.get("name", "").startswith(name)]
    return str(found["run"])


def programs(folder: Path, scripts: dict[str, str]) -> str:
    """Scripts as programs below `folder`; the PATH with its `tools` first."""
    for file, script in scripts.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(script)
        (folder / file).chmod(0o755)
    return f"{folder}/tools:{os.environ['PATH']}"


@pytest.mark.skipif(not shutil.which("jq"), reason="the step is made of bash and jq")
def test_an_image_that_is_there_is_written_down_and_the_rest_is_built(tmp_path: Path) -> None:
    python = '#!/bin/sh\necho "tag-$4"\n'
    path = programs(tmp_path, {"tools/docker": REGISTRY, "tools/cosign": COSIGN, ".venv/bin/python": python})
    for function in ("whole", "unsigned", "new"):
        (tmp_path / "functions" / function).mkdir(parents=True)
        (tmp_path / "functions" / function / "requirements.txt").touch()
    environment = {"PATH": path, "REGISTRY": "ghcr.io/x", "GITHUB_OUTPUT": "output", "SIGNER": "us"}
    subprocess.run(["bash", "-e", "-c", step("changed", "Which hashes")], cwd=tmp_path, env=environment, check=True)
    assert {file.name: file.read_text() for file in (tmp_path / "digests").iterdir()} == {
        "whole": f"sha256:{'a' * 64}\n"
    }
    said = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert json.loads(said["matrix"])["include"] == [
        {"function": "new", "tag": "tag-new", "unsigned": ""},
        {"function": "unsigned", "tag": "tag-unsigned", "unsigned": f"sha256:{'b' * 64}"},
    ]
    assert said["any"] == "true"


@pytest.mark.skipif(not shutil.which("jq"), reason="the step is made of bash and jq")
def test_building_the_same_code_anew_lifts_neither_a_canary_nor_a_way_back(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "knative/overlays", tmp_path / "knative/overlays")
    file = tmp_path / "knative/overlays/prod/functions/kustomization.yaml"
    canary: list[dict[str, Any]] = [
        {"latestRevision": True, "percent": 10},
        {"revisionName": "web-00001", "percent": 90},
    ]
    back = [{"revisionName": "grade-00001", "percent": 100}]
    by_hand, built, older = (f"sha256:{letter * 64}" for letter in "123")
    text = written(file.read_text(encoding="utf-8"), "web", canary, by_hand)
    file.write_text(written(text, "grade", back, older), encoding="utf-8")
    where = f"sys.path.insert(0, {str(ROOT)!r})"
    call = f"from pathlib import Path; from knative.argocd import digests; root = Path({str(tmp_path)!r})"
    do = "digests.write('prod', {one.name: one.read_text().strip() for one in (root / 'digests').iterdir()}, root)"
    python = f'#!/bin/sh\nexec {sys.executable} -c "import sys; {where}; {call}; {do}"\n'
    programs(tmp_path, {".venv/bin/python": python})
    (tmp_path / "digests").mkdir()
    for name in ("web", "grade"):
        (tmp_path / "digests" / name).write_text(built + "\n")
    made = [{"function": "web", "tag": "t", "unsigned": by_hand}, {"function": "grade", "tag": "t", "unsigned": ""}]
    made.append({"function": "auth", "tag": "t", "unsigned": older})  # which could not be built
    environment = {"PATH": os.environ["PATH"], "MATRIX": json.dumps({"include": made})}
    subprocess.run(["bash", "-e", "-c", step("write-down", "Digests")], cwd=tmp_path, env=environment, check=True)
    after = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert [yaml.safe_load(patch["patch"])[0]["value"] for patch in after["patches"]] == [canary], "grade is other code"
    images = {image["name"].rpartition("-")[2]: image["digest"] for image in after["images"]}
    assert (images["web"], images["grade"]) == (built, built)


def test_the_guide_and_the_runbooks_name_what_there_is() -> None:
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    roots = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    made_on_the_way = {"ansible/inventory/hosts.yml"}
    for page in (ROOT / "docs/deploy.md", *RUNBOOKS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\bmake ([a-z][\w-]*)(?= [A-Z]+=|`|$)", text, re.MULTILINE):
            assert target in targets, f"{page.name}: make {target}"
        for name in re.findall(rf"(?<![\w/.-])(?:{roots})/[\w./-]*\w", text):
            assert name in made_on_the_way or (ROOT / name).exists(), f"{page.name}: {name}"
        for module in re.findall(r"python -m ([\w.]+)", text):
            assert importlib.util.find_spec(module), f"{page.name}: {module}"
        for link in re.findall(r"\]\((\w[\w/]*(?:\.md)?)\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
