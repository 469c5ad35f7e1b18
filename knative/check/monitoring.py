"""Rules, runbooks, dashboards and who is asked for numbers: an alert on what nobody exports never fires."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import promql_parser

from functions.shared import metrics
from functions.shared.metrics import Histogram
from knative.check.documents import (
    ROOT,
    SERVING,
    Document,
    kind,
    labels,
    load_all,
    name,
    namespace,
    of_kind,
    pods,
    services,
    title,
)
from knative.check.flows import INSTALLED

MONITORING = "monitoring.coreos.com/v1"
RUNBOOKS = "docs/runbooks"
ADDRESS = "https://github.com/sesacthon/waste-coach/blob/main/docs/runbooks/"
#: Series of others that are asked for: Knative's activator and autoscaler, Envoy, RabbitMQ's exporter,
#: kube-state-metrics, the kubelet and cAdvisor.
FOREIGN = {
    "activator_request_count",
    "activator_request_latencies_bucket",
    "autoscaler_actual_pods",
    "container_memory_working_set_bytes",
    "envoy_cluster_upstream_rq_xx",
    "envoy_server_live",
    "kube_cronjob_status_last_successful_time",
    "kube_pod_container_status_restarts_total",
    "kube_statefulset_replicas",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "rabbitmq_detailed_queue_consumers",
    "rabbitmq_detailed_queue_messages_ready",
    "rabbitmq_detailed_queue_messages_unacked",
    "rabbitmq_identity_info",
}
#: Labels that Prometheus adds to our series (knative/monitoring/scrape.yaml).
ADDED = {"function", "revision", "le"}
SEVERITIES = ("page", "ticket")
#: A burn-rate alert: a long window and a short one above the same multiple of what the objective allows.
BURNING = re.compile(r"^growbin:(\w+):errors_(\w+) > ([\d.]+) \* ([\d.]+) and growbin:\1:errors_(\w+) > \3 \* \4\s")
#: Long window → how many times too fast (Google's SRE workbook: 2 % in an hour, 5 % in six, 10 % in two days).
FACTORS = {"1h": "14.4", "6h": "6", "2d": "1.5"}
MINUTES = {"5m": 5, "30m": 30, "1h": 60, "6h": 360, "2d": 2880}


def _rules(documents: Iterable[Document]) -> Iterator[tuple[Document, Document]]:
    for each in of_kind(documents, MONITORING, "PrometheusRule"):
        for group in each["spec"].get("groups") or []:
            yield from ((each, rule) for rule in group.get("rules") or [])


def _dashboards(documents: Iterable[Document]) -> Iterator[tuple[Document, str, str]]:
    """(ConfigMap, file, its text) of every dashboard as Grafana's sidecar would find it."""
    for table in of_kind(documents, "v1", "ConfigMap"):
        if name(table).startswith("dashboard-"):
            yield from ((table, file, text) for file, text in (table.get("data") or {}).items())


def _queries(documents: list[Document]) -> Iterator[tuple[str, str]]:
    """Every PromQL expression and where it stands; Grafana's variables are filled in."""
    for each, rule in _rules(documents):
        yield f"{title(each)}: {rule.get('alert') or rule.get('record')}", str(rule["expr"])
    for table, file, text in _dashboards(documents):
        try:
            board = json.loads(text)
        except ValueError:
            continue  # said below
        for panel in board.get("panels", []):
            for target in panel.get("targets", []):
                query = str(target.get("expr", "")).replace("[$__rate_interval]", "[5m]").replace("$function", ".+")
                yield f"{title(table)}: {file}: {panel.get('title')}", query
        for variable in board.get("templating", {}).get("list", []):
            query = re.sub(r"label_values\((.*), \w+\)", r"\1", str(variable.get("query", "")))
            yield f"{title(table)}: {file}: ${variable.get('name')}", query


def series(query: str) -> list[Any]:
    """Every series a query asks for. ValueError where it is no PromQL, or its types do not fit."""
    found: list[Any] = []
    promql_parser.walk(
        promql_parser.parse(query),
        lambda node: found.append(node) if isinstance(node, promql_parser.VectorSelector) else None,
    )
    return found


def every_query_asks_for_what_is_exported(documents: list[Document]) -> Iterator[str]:
    """PromQL that parses, over series that somebody exports, by labels and names that are there."""
    recorded = {rule["record"] for _, rule in _rules(documents) if "record" in rule}
    ours = {
        f"{called}{suffix}": metric
        for called, metric in metrics.CATALOGUE.items()
        for suffix in (("_bucket", "_sum", "_count") if isinstance(metric, Histogram) else ("",))
    }
    there, asked = _names(documents), set[str]()
    for where, query in _queries(documents):
        try:
            wanted = series(query)
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        yield from (f"{where}: {problem}" for problem in _misused(query, ours))
        for one in wanted:
            asked.add(str(one.name))
            if one.name not in recorded | FOREIGN | ours.keys():
                yield f"{where}: nobody exports {one.name}"
            for matcher in one.matchers.matchers:
                if one.name in ours and matcher.name not in {*ours[one.name].labels, *ADDED}:
                    yield f"{where}: {one.name} has no label {matcher.name}"
                if matcher.name in there:
                    yield from (f"{where}: {problem}" for problem in _unknown(matcher, there[matcher.name]))
    for each, rule in _rules(documents):
        if "record" in rule and rule["record"] not in asked:
            yield f"{title(each)}: nobody asks for {rule['record']}"


def _misused(query: str, ours: dict[str, Any]) -> Iterator[str]:
    """Rates of what may fall, counts that only grow compared as they are, quantiles without their buckets."""
    for function, called in re.findall(r"\b(rate|increase|irate)\((\w+)", query):
        if called in ours and ours[called].kind == "gauge":
            yield f"{function}() of {called}, which is a gauge"
    for called in ours:
        if called.endswith("_total") and re.search(rf"(?<!\w){called}\b(?!\S*\[)", re.sub(r"\s", "", query)):
            yield f"{called} as it is: it only grows, and begins anew with its pod (rate, increase)"
    for by in re.findall(r"histogram_quantile\([^,]+,\s*sum by \(([^)]*)\)", query):
        if "le" not in re.split(r"[,\s]+", by):
            yield f"histogram_quantile over a sum by ({by}), without le"


def _names(documents: list[Document]) -> dict[str, set[str]]:
    """Label of a series → what its value may be, where that is a name of ours."""
    spaces = {name(each) for each in of_kind(documents, "v1", "Namespace")} | INSTALLED
    rabbits = of_kind(documents, "rabbitmq.com/v1beta1", "RabbitmqCluster")
    stateful = {name(each) for each in of_kind(documents, "apps/v1", "StatefulSet")}
    queues = {f"{namespace(each)}." for each in documents if each["kind"] == "Trigger"}
    functions = {name(each) for each in services(documents)}
    return {
        "namespace": spaces,
        "namespace_name": spaces,
        "cronjob": {name(each) for each in of_kind(documents, "batch/v1", "CronJob")},
        "statefulset": stateful | {f"{name(each)}-server" for each in rabbits},
        "configuration_name": functions,
        "function": functions,
        "queue": queues,
    }


def _unknown(matcher: Any, there: set[str]) -> Iterator[str]:
    value = str(matcher.value)
    words = value.split("|") if re.fullmatch(r"[\w|-]+", value) else []
    if matcher.name == "queue":
        if not any(re.fullmatch(value, f"{way}{queue}x.1") for queue in there for way in ("", "t.", "b.")):
            yield f"no queue is called {value}"
    else:
        yield from (f'{matcher.name}="{word}": there is none' for word in words if word not in there)


def every_alert_says_what_to_do(documents: list[Document]) -> Iterator[str]:
    """A severity, a sentence, its own page, and a condition that is not always true; each name and labels once."""
    seen = set[tuple[str, str]]()
    for each in of_kind(documents, MONITORING, "PrometheusRule"):
        groups = [group.get("name") for group in each["spec"].get("groups") or []]
        yield from (
            f"{title(each)}: group {one}: there twice" for one in sorted({g for g in groups if groups.count(g) > 1})
        )
    for each, rule in _rules(documents):
        if "alert" not in rule:
            continue
        where, given = f"{title(each)}: {rule['alert']}", rule.get("annotations") or {}
        if (rule.get("labels") or {}).get("severity") not in SEVERITIES:
            yield f"{where}: severity {(rule.get('labels') or {}).get('severity')} is none of {', '.join(SEVERITIES)}"
        if "for" not in rule and "window" not in (rule.get("labels") or {}):
            yield f"{where}: no `for`: one bad look calls somebody"
        if not given.get("summary"):
            yield f"{where}: no summary"
        if given.get("runbook_url") != f"{ADDRESS}{rule['alert']}.md":
            yield f"{where}: runbook_url {given.get('runbook_url')} is not {ADDRESS}{rule['alert']}.md"
        if re.search(r">=\s*0(?![.\d])", str(rule["expr"])):
            yield f"{where}: >= 0 is always true"
        key = (rule["alert"], json.dumps(rule.get("labels"), sort_keys=True))
        if key in seen:
            yield f"{where}: there twice with the same labels"
        seen.add(key)


def every_objective_burns_on_two_windows(documents: list[Document]) -> Iterator[str]:
    """A record's range is that of its name; an alert takes a long and a short window above the same rate."""
    for each, rule in _rules(documents):
        record = str(rule.get("record", ""))
        ranges = set(re.findall(r"\[(\w+)\]", str(rule["expr"])))
        if record.startswith("growbin:") and ranges != {record.rpartition("_")[2]}:
            yield f"{title(each)}: {record} is made of {', '.join(sorted(ranges))}"
        if "alert" not in rule or "window" not in (rule.get("labels") or {}):
            continue
        match, where = BURNING.match(str(rule["expr"])), f"{title(each)}: {rule['alert']}"
        if not match:
            yield f"{where}: not one rate over a long and a short window: {' '.join(str(rule['expr']).split())[:90]}"
        elif rule["labels"]["window"] != match[2] or FACTORS.get(match[2]) != match[3]:
            yield f"{where}: window {rule['labels']['window']}, rate {match[3]} over {match[2]}: {FACTORS}"
        elif MINUTES[match[2]] < 2 * MINUTES.get(match[5], 10**6):
            yield f"{where}: the short window {match[5]} is not well below the long one {match[2]}"


def every_dashboard_is_found_and_read(documents: list[Document]) -> Iterator[str]:
    """JSON with the label that Grafana's sidecar looks for, panels that do not overlap, one source of data."""
    for table, file, text in _dashboards(documents):
        where = f"{title(table)}: {file}"
        if labels(table).get("grafana_dashboard") != "1":
            yield f'{where}: no label grafana_dashboard: "1", so Grafana does not see it'
        try:
            board = json.loads(text)
        except ValueError as error:
            yield f"{where}: no JSON: {error}"
            continue
        if board.get("uid") != f"growbin-{file.removesuffix('.json')}":
            yield f"{where}: uid {board.get('uid')} is not growbin-{file.removesuffix('.json')}"
        panels = board.get("panels", [])
        if not panels or len({panel["id"] for panel in panels}) != len(panels):
            yield f"{where}: no panels, or two of one id"
        sources = {(panel.get("datasource") or {}).get("uid") for panel in panels}
        if sources != {"prometheus"}:
            yield f"{where}: datasource {sorted(map(str, sources))}, Grafana has prometheus"


def every_monitor_finds_its_pods(documents: list[Document]) -> Iterator[str]:
    """In namespaces that are there; of pods of ours also by their labels and a port that they have."""
    spaces = {name(each) for each in of_kind(documents, "v1", "Namespace")} | INSTALLED
    made = [each for each in pods(documents) if each.owner["apiVersion"] != SERVING]
    for monitor in of_kind(documents, MONITORING, "PodMonitor"):
        spec = monitor["spec"]
        wanted = (spec.get("namespaceSelector") or {}).get("matchNames") or []
        for space in wanted:
            if space not in spaces:
                yield f"{title(monitor)}: there is no namespace {space}"
        for endpoint in spec.get("podMetricsEndpoints", []):
            told = [re.fullmatch(r"(\d+)s", endpoint.get(key, "10s")) for key in ("scrapeTimeout", "interval")]
            if all(told) and int(told[0][1]) > int(told[1][1]):  # type: ignore[index]
                yield f"{title(monitor)}: scrapeTimeout {endpoint['scrapeTimeout']} is longer than its interval"
        pairs = (spec.get("selector") or {}).get("matchLabels") or {}
        ours = [each for each in made if namespace(each.owner) in wanted]
        if not ours or not pairs or set(wanted) & {"growbin", "rabbitmq"}:
            continue  # pods that an operator makes
        found = [each for each in ours if pairs.items() <= each.labels.items()]
        if not found:
            yield f"{title(monitor)}: {pairs} are the labels of no pod"
        ports = {port.get("name") for each in found for one in each.containers for port in one.get("ports", [])}
        for endpoint in spec.get("podMetricsEndpoints", []) if found else []:
            if endpoint.get("port") not in ports:
                yield f"{title(monitor)}: no pod has a port {endpoint.get('port')}"


def everything_watched_is_beside_its_watcher(documents: list[Document]) -> Iterator[str]:
    """Rules, monitors and dashboards are in the namespace `monitoring`, where Argo CD's Application of them applies."""
    for each in documents:
        watching = kind(each)[0].startswith("monitoring.coreos.com/") or name(each).startswith("dashboard-")
        if watching and namespace(each) != "monitoring":
            yield f"{title(each)}: namespace {namespace(each)}, not monitoring"


def every_dashboard_is_listed(root: Path = ROOT) -> Iterator[str]:
    """A dashboard that no ConfigMap is made of is nowhere."""
    file = root / "knative/monitoring/kustomization.yaml"
    told = file.read_text(encoding="utf-8")
    for board in sorted((file.parent / "dashboards").glob("*.json")):
        if f"dashboards/{board.name}" not in told:
            yield f"{board.relative_to(root)}: not listed in knative/monitoring/kustomization.yaml"


def every_page_has_its_alert(root: Path = ROOT) -> Iterator[str]:
    """docs/runbooks: one page for each alert, with what to look at and what to do; links lead to pages."""
    folder, rules = root / RUNBOOKS, root / "knative/monitoring"
    if not folder.is_dir():
        return
    alerts = {
        rule["alert"]
        for file in sorted(rules.glob("*.yaml"))
        for document in load_all(file)
        for _, rule in _rules([document])
        if "alert" in rule
    }
    pages = {page.stem: page.read_text(encoding="utf-8") for page in sorted(folder.glob("*.md"))}
    yield from (
        f"{RUNBOOKS}/{alert}.md: missing: the alert {alert} leads there" for alert in sorted(alerts - pages.keys())
    )
    yield from (f"{RUNBOOKS}/{page}.md: no alert leads here" for page in sorted(pages.keys() - alerts))
    for page, text in pages.items():
        if not text.startswith(f"# {page}\n") or not all(part in text for part in ("\n## Look\n", "\n## Do\n")):
            yield f"{RUNBOOKS}/{page}.md: not `# {page}`, `## Look` and `## Do`"
        for link in re.findall(r"\]\((\w+)\.md\)", text):
            if link not in pages:
                yield f"{RUNBOOKS}/{page}.md: leads to {link}.md, which is not there"


CHECKS = [
    every_query_asks_for_what_is_exported,
    every_alert_says_what_to_do,
    every_objective_burns_on_two_windows,
    every_dashboard_is_found_and_read,
    every_monitor_finds_its_pods,
    everything_watched_is_beside_its_watcher,
]
FILES = [every_dashboard_is_listed, every_page_has_its_alert]
