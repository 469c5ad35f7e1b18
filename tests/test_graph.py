"""The flows as they are committed hold together, and the check notices when they would not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from functions.shared.events import CATALOGUE
from knative.check.graph import problems
from knative.local.manifests import BASE, FUNCTIONS, PIPELINES, ROOT, Manifests, Service

TRIGGERS, BROKER, SCHEDULES = PIPELINES / "analysis/triggers.yaml", BASE / "broker.yaml", BASE / "schedules.yaml"
IDENTIFY = FUNCTIONS / "identify.yaml"

#: file, what stands there, what a mistake makes of it (every occurrence), what the check must then say.
MISTAKES = [
    # edges of the graph
    (TRIGGERS, "waste.photo.v1.ingested", "waste.photo.v1.injested", "photo.v1.injested is not in the catalogue"),
    (TRIGGERS, "type: app.growbin.waste.item.v1.clarified", "type: app.growbin.waste.item.v1.identified",
     "nobody has to consume app.growbin.waste.item.v1.clarified"),
    (TRIGGERS, "  name: identify-on-photo-ingested\n", "  name: look-on-photo-ingested\n", "the name does not say"),
    (TRIGGERS, "http://generate.growbin.svc", "http://generator.growbin.svc", "no Knative Service answers as"),
    (TRIGGERS, "http://generate.growbin.svc", "http://generate.grown.svc", "no Knative Service answers as"),
    (TRIGGERS, "http://generate.growbin.svc", "http://generator.growbin.svc", "functions/generator has no main.py"),
    (TRIGGERS, "schedule: recover}", "schedule: revover}", "no Trigger takes schedule='recover'"),
    (TRIGGERS, "  broker: waste\n", "  broker: wast\n", "there is no Broker wast in namespace growbin-events"),
    (TRIGGERS, '    rabbitmq.eventing.knative.dev/parallelism: "24"', '    growbin.app/best-effort: "true"',
     "nobody has to consume app.growbin.waste.rules.v1.retrieved"),
    # what a Trigger must state
    (TRIGGERS, "    retry: 7\n", "", "delivery does not state retry"),
    (TRIGGERS, "    timeout: PT60S\n", "", "delivery does not state timeout"),
    (TRIGGERS, "    deadLetterSink:\n      uri: http://recover.growbin.svc.cluster.local/dead-letters\n", "",
     "delivery does not state dead_letter_sink"),
    (TRIGGERS, "rabbitmq.eventing.knative.dev/parallelism", "rabbitmq.eventing.knative.dev/parallelsim",
     "rabbitmq.eventing.knative.dev/parallelsim is not known here"),
    (TRIGGERS, '    rabbitmq.eventing.knative.dev/parallelism: "1"\n', "", "parallelism is not stated"),
    (TRIGGERS, 'parallelism: "24"', 'parallelism: "1001"', "parallelism is not within 1 and 1000"),
    (TRIGGERS, 'growbin.app/best-effort: "true"', 'growbin.app/best-effort: "yes"', 'best-effort is "true" or absent'),
    (TRIGGERS, "retry: 7", "retry: 6", "backoff of 25.2 s does not outlive a claim's lease of 30 s"),
    (TRIGGERS, "retry: 7", "retry: 12", "RabbitMQ waits 1800 s"),
    (TRIGGERS, "timeout: PT60S", "timeout: PT4M", "RabbitMQ waits 1800 s"),
    (TRIGGERS, "backoffDelay: PT0.2S", "backoffDelay: PT0.25S", "spec.delivery.backoffDelay: not an ISO 8601 duration"),
    (TRIGGERS, "backoffDelay: PT0.2S", "backoffDelay: 200ms", "spec.delivery.backoffDelay: not an ISO 8601 duration"),
    (TRIGGERS, "backoffPolicy: exponential", "backoffPolicy: quadratic", "spec.delivery.backoffPolicy"),
    # fields that nobody would read
    (TRIGGERS, "    retry: 7\n", "    retries: 7\n",
     "pipelines/analysis/triggers.yaml: Trigger ingest-on-upload-stored: spec.delivery.retries: unknown field"),
    (TRIGGERS, "  subscriber:\n    uri: http://generate.growbin.svc.cluster.local/", "  subscriber:\n    ref: {}",
     "spec.subscriber.ref: unknown field"),
    (TRIGGERS, "eventing.knative.dev/v1\n", "eventing.knative.dev/v1beta1\n", "not a kind of eventing."),
    (TRIGGERS, "  broker: waste\n", "  broker: waste: x\n", "not YAML with apiVersion, kind and metadata: mapp"),
    (TRIGGERS, "kind: Trigger\n", "kinds: Trigger\n", "not YAML with apiVersion, kind and metadata: 'kind'"),
    (TRIGGERS, '"24"', "24", "dev/parallelism: Input should be a valid string"),
    (PIPELINES / "kustomization.yaml", "resources:\n  - analysis/triggers.yaml\n", "resources:\n",
     "resources: triggers.yaml is not listed"),
    (PIPELINES / "kustomization.yaml", "=analysis/triggers.yaml", "=analyses/triggers.yaml", "there is no analyses/"),
    (BROKER, "broker.class: RabbitMQBroker", "broker.class: Kafka", "broker.class is not RabbitMQBroker"),
    (BROKER, "kind: RabbitmqBrokerConfig\n    name: waste", "kind: RabbitmqBrokerConfig\n    name: wastes",
     "there is no RabbitmqBrokerConfig wastes"),
    (BROKER, "queueType: quorum", "queueType: classic", "spec.queueType"),
    (BROKER, "  namespace: growbin-events\n", "  namespace: growbin-event\n", "there is no Namespace growbin-event "),
    (SCHEDULES, '{"schedule": "recover"}', '{"schedule": "nightly"}', "data and the extension `schedule` differ"),
    (SCHEDULES, '{"schedule": "recover"}', '{"schedul": "recover"}', "PingSource growbin-events/recover: dev.knative."),
    (SCHEDULES, '"* * * * *"', '"* * * * * *"', "spec.schedule"),
    (SCHEDULES, '"* * * * *"', '"61 * * * *"', "spec.schedule: Bad minute"),
    (SCHEDULES, "Asia/Seoul", "Asia/Soul", "spec.timezone: no such time zone"),
    # what Knative Serving refuses, or worse, ignores
    (IDENTIFY, "autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/maxScale", "maxScale: unknown field"),
    (IDENTIFY, 'autoscaling.knative.dev/min-scale: "0"', 'autoscaling.knative.dev/min-scale: "4"', "above max-scale"),
    (IDENTIFY, 'autoscaling.knative.dev/min-scale: "0"', "autoscaling.knative.dev/window: 5s", "window"),
    (IDENTIFY, 'autoscaling.knative.dev/min-scale: "0"', 'autoscaling.knative.dev/target-burst-capacity: "-0.5"',
     "neither -1 nor a number of requests"),
    (IDENTIFY, "  labels:\n    ", '  annotations:\n    autoscaling.knative.dev/max-scale: "3"\n  labels:\n    ',
     "autoscaling.knative.dev/max-scale is not known here"),
    (IDENTIFY, "timeoutSeconds: 60", "timeoutSeconds: 601", "spec.template.spec.timeoutSeconds"),
    (IDENTIFY, "containerConcurrency: 8", "containerConcurency: 8", "containerConcurency: unknown field"),
    (IDENTIFY, "          env:\n", '          env:\n            - {name: PORT, value: "1"}\n', "set by Knative"),
    (IDENTIFY, "          env:\n", '          env:\n            - {name: WORKERS, value: "1"}\n', "a variable twice"),
    (IDENTIFY, "name: platform, key: LOG_LEVEL", "name: platform, key: LOG_LEVLE", "has no key LOG_LEVLE"),
    (IDENTIFY, "    spec:\n", "    spec:\n      volumes: [{name: x}]\n", "volumes and volumeMounts differ"),
    (IDENTIFY, "{drop: [ALL]}", "{drop: [ALL], add: [NET_ADMIN]}", "capabilities.add: unknown field"),
]  # fmt: skip


def test_the_committed_flows_are_closed() -> None:
    assert problems(ROOT) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in (BASE, FUNCTIONS, PIPELINES):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for main in (ROOT / "functions").glob("*/main.py"):
        (tmp_path / "functions" / main.parent.name).mkdir(parents=True)
        (tmp_path / "functions" / main.parent.name / "main.py").touch()
    return tmp_path


def test_a_copy_without_mistakes_is_as_the_original(copy: Path) -> None:
    assert problems(copy) == problems(ROOT)


@pytest.mark.parametrize(("file", "right", "wrong", "said"), MISTAKES)
def test_a_mistake_is_noticed(copy: Path, file: Path, right: str, wrong: str, said: str) -> None:
    text = (copy / file).read_text(encoding="utf-8")
    assert right in text
    (copy / file).write_text(text.replace(right, wrong), encoding="utf-8")
    found = problems(copy)
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize("type_", sorted(name for name, payload in CATALOGUE.items() if not payload.TERMINAL))
def test_without_its_triggers_an_event_is_missed(copy: Path, type_: str) -> None:
    for path in (copy / PIPELINES).glob("*/triggers.yaml"):
        kept = [t for t in yaml.safe_load_all(path.read_text()) if t["spec"]["filter"]["attributes"]["type"] != type_]
        path.write_text(yaml.safe_dump_all(kept))
    assert f"nobody has to consume {type_}" in problems(copy)


def test_a_file_kustomize_would_not_apply_is_noticed(copy: Path) -> None:
    (copy / PIPELINES / "more.yaml").write_text("{}")
    assert any(re.search(r"resources: more\.yaml is not listed", problem) for problem in problems(copy))


def test_two_objects_of_one_name_are_noticed(copy: Path) -> None:
    text = (copy / SCHEDULES).read_text()
    (copy / SCHEDULES).write_text(f"{text}---\n{text}")
    assert "an object of the same kind, namespace and name is there twice" in problems(copy)


def test_the_strict_reader_takes_every_service() -> None:
    read = Manifests.load().all(Service)
    assert read.keys() == {path.parent.name for path in (ROOT / "functions").glob("*/main.py")}
    assert {service.host for service in read.values()} >= {"identify.growbin.svc.cluster.local"}
