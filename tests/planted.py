"""Mistakes for tests/test_cluster.py: what is planted in the rendered objects, and what must then be said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from knative.check.documents import Document, kind, name, namespace

SCALE = "autoscaling.knative.dev/"
LABEL = "networking.knative.dev/visibility"
PARALLEL = "rabbitmq.eventing.knative.dev/parallelism"


def get(documents: list[Document], wanted: str, called: str) -> Document:
    return next(each for each in documents if each["kind"] == wanted and name(each) == called)


def function(documents: list[Document], called: str) -> Document:
    return next(
        each for each in documents if kind(each) == ("serving.knative.dev/v1", "Service") and name(each) == called
    )


def pod(documents: list[Document], called: str) -> Document:
    spec: Document = function(documents, called)["spec"]["template"]["spec"]
    return spec


def only(documents: list[Document], called: str) -> Document:
    one: Document = pod(documents, called)["containers"][0]
    return one


def trigger(documents: list[Document], called: str) -> Document:
    spec: Document = get(documents, "Trigger", called)["spec"]
    return spec


def drop(documents: list[Document], wanted: str, called: str, space: str = "") -> None:
    gone = [e for e in documents if e["kind"] == wanted and name(e) == called and (not space or namespace(e) == space)]
    assert gone
    for each in gone:
        documents.remove(each)


def notes(documents: list[Document], called: str) -> dict[str, str]:
    given: dict[str, str] = function(documents, called)["spec"]["template"]["metadata"]["annotations"]
    return given


def stateful(documents: list[Document], called: str) -> Document:
    spec: Document = get(documents, "StatefulSet", called)["spec"]
    return spec


def role(**rule: list[str]) -> Document:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "r", "namespace": "growbin"},
        "rules": [rule],
    }


def binding(called: str) -> Document:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": called},
        "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": "growbin"}],
    }


def plain_service(called: str, **spec: Any) -> Document:
    about = {"name": called, "namespace": "growbin"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": {"ports": [{"port": 80}], **spec}}


def limit(documents: list[Document], space: str) -> None:
    """Take the ports and peers out of every policy of a namespace: what is left lets everybody in."""
    for each in documents:
        if each["kind"] == "NetworkPolicy" and namespace(each) == space and each["spec"].get("ingress"):
            each["spec"]["ingress"] = [{}]


def routes(documents: list[Document], more: str) -> None:
    get(documents, "ConfigMap", "routes")["data"]["routes.yaml"] += more


#: what is planted in the rendered objects, what must then be said.
PLANTED: dict[str, tuple[Callable[[list[Document]], object], str]] = {
    # fields
    "a wrong field of Kubernetes": (
        lambda d: stateful(d, "postgres").update(replica=2),
        "StatefulSet growbin-data/postgres: spec.replica: unknown",
    ),
    "a field of the wrong type": (lambda d: stateful(d, "redis").update(replicas="one"), "spec.replicas"),
    "a wrong field of a function": (
        lambda d: pod(d, "grade").update(containerConcurency=8),
        "spec.template.spec.containerConcurency: unknown field",
    ),
    "a wrong field of a Trigger": (
        lambda d: trigger(d, "grade-on-proof-ingested")["delivery"].update(retries=7),
        "spec.delivery.retries: unknown",
    ),
    "a wrong field of a Broker": (
        lambda d: get(d, "Broker", "waste")["spec"].update(size=3),
        "spec.size: unknown field",
    ),
    "a wrong field of a PingSource": (
        lambda d: get(d, "PingSource", "recover")["spec"].update(timeZone="UTC"),
        "spec.timeZone: unknown field",
    ),
    "a wrong field of the poller": (
        lambda d: get(d, "ContainerSource", "s3")["spec"].update(sinks={}),
        "spec.sinks: unknown field",
    ),
    "a wrong field of RabbitMQ": (
        lambda d: get(d, "RabbitmqCluster", "rabbitmq")["spec"].update(replica=3),
        "spec.replica: unknown field",
    ),
    "a kind nobody knows": (
        lambda d: d.append({"apiVersion": "v1", "kind": "Servise", "metadata": {"name": "x"}}),
        "no schema for v1 Servise",
    ),
    "a version of the API that is gone": (
        lambda d: get(d, "CronJob", "postgres-backup").update(apiVersion="batch/v1beta1"),
        "no schema for batch/v1beta1",
    ),
    # the flow
    "no dead letter sink": (
        lambda d: trigger(d, "identify-on-photo-ingested")["delivery"].pop("deadLetterSink"),
        "Trigger growbin-events/identify-on-photo-ingested: no delivery.deadLetterSink",
    ),
    "no dead letter sink of the Broker": (
        lambda d: get(d, "Broker", "waste")["spec"]["delivery"].pop("deadLetterSink"),
        "waste: no delivery.deadLetterSink",
    ),
    "no retries": (lambda d: trigger(d, "ingest-on-upload-stored")["delivery"].pop("retry"), "no delivery.retry"),
    "no backoff": (
        lambda d: trigger(d, "ingest-on-upload-stored")["delivery"].pop("backoffPolicy"),
        "no delivery.backoffPolicy",
    ),
    "no delay": (
        lambda d: trigger(d, "ingest-on-upload-stored")["delivery"].pop("backoffDelay"),
        "no delivery.backoffDe",
    ),
    "no timeout": (lambda d: trigger(d, "ingest-on-upload-stored")["delivery"].pop("timeout"), "no delivery.timeout"),
    "no delivery at all": (lambda d: trigger(d, "ingest-on-upload-stored").pop("delivery"), "no delivery.retry"),
    "no parallelism": (
        lambda d: get(d, "Trigger", "aggregate-on-nightly")["metadata"]["annotations"].pop(PARALLEL),
        "no rabbitmq.eventing",
    ),
    "a misspelt annotation of a Trigger": (
        lambda d: get(d, "Trigger", "aggregate-on-nightly")["metadata"]["annotations"].update(
            {"rabbitmq.eventing.knative.dev/paralelism": "2"}
        ),
        "paralelism: no such annotation of a Trigger",
    ),
    "a Trigger to nobody": (
        lambda d: trigger(d, "grade-on-proof-ingested")["subscriber"].update(
            uri="http://grader.growbin.svc.cluster.local/"
        ),
        "subscriber http://grader.growbin.svc.cluster.local/: there is no such function",
    ),
    "dead letters to nobody": (
        lambda d: trigger(d, "grade-on-proof-ingested")["delivery"]["deadLetterSink"].update(
            uri="http://dead.example/"
        ),
        "deadLetterSink http://dead.example/: there is no such function",
    ),
    "dead letters by another path": (
        lambda d: trigger(d, "grade-on-proof-ingested")["delivery"]["deadLetterSink"].update(
            uri="http://recover.growbin.svc.cluster.local/dead"
        ),
        "grade-on-proof-ingested: its dead letters go to",
    ),
    "a Trigger of another Broker": (
        lambda d: trigger(d, "grade-on-proof-ingested").update(broker="wast"),
        "there is no Broker wast in its namespace",
    ),
    "a source without a Broker": (
        lambda d: get(d, "ContainerSource", "s3")["spec"]["sink"]["ref"].update(name="wast"),
        "its sink is no Broker",
    ),
    "the broker in a restricted namespace": (
        lambda d: get(d, "Namespace", "growbin-events")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "restricted"}
        ),
        "its namespace enforces restricted",
    ),
    "functions in a loose namespace": (
        lambda d: get(d, "Namespace", "growbin")["metadata"]["labels"].clear(),
        "does not enforce restricted",
    ),
    "another class of Broker": (
        lambda d: get(d, "Broker", "waste")["metadata"]["annotations"].update(
            {"eventing.knative.dev/broker.class": "MTChannelBasedBroker"}
        ),
        "broker.class is not RabbitMQBroker",
    ),
    "RabbitMQ does not let the Broker in": (
        lambda d: get(d, "RabbitmqCluster", "rabbitmq")["metadata"].pop("annotations"),
        "does not name growbin-events",
    ),
    "no RabbitMQ": (
        lambda d: drop(d, "RabbitmqCluster", "rabbitmq"),
        "there is no RabbitmqCluster rabbitmq in rabbitmq",
    ),
    # what Knative refuses, or takes in silence
    "a misspelt annotation of the autoscaler": (
        lambda d: notes(d, "grade").update({SCALE + "minScal": "1"}),
        "minScal: no such annotation",
    ),
    "no limit of scale": (lambda d: notes(d, "grade").pop(SCALE + "max-scale"), "grade: no max-scale"),
    "a window of 5 s": (lambda d: notes(d, "grade").update({SCALE + "window": "5s"}), "window"),
    "scaling told to the Service": (
        lambda d: function(d, "grade")["metadata"].update(annotations={SCALE + "max-scale": "2"}),
        "belong into spec.template",
    ),
    "more than 600 s": (lambda d: pod(d, "grade").update(timeoutSeconds=601), "timeoutSeconds 601 is not within"),
    "threads unlike the concurrency": (
        lambda d: pod(d, "grade").update(containerConcurrency=80),
        "threads for a containerConcurrency of 80",
    ),
    "two ports": (
        lambda d: only(d, "grade").update(ports=[{"containerPort": 8080}, {"containerPort": 8081}]),
        "grade: two ports",
    ),
    "Knative's port": (
        lambda d: only(d, "grade").update(ports=[{"containerPort": 9091}]),
        "port 9091 is Knative's own",
    ),
    "Knative's variable": (
        lambda d: only(d, "grade")["env"].append({"name": "PORT", "value": "1"}),
        "variable PORT is set by Knative",
    ),
    "K_SINK": (lambda d: only(d, "grade")["env"].append({"name": "K_SINK", "value": "x"}), "variable K_SINK is set"),
    "a lifecycle hook": (
        lambda d: only(d, "grade").update(lifecycle={"preStop": {"exec": {"command": ["sleep", "5"]}}}),
        "lifecycle hooks",
    ),
    "a volume nobody mounts": (
        lambda d: pod(d, "grade").setdefault("volumes", []).append({"name": "x", "emptyDir": {"sizeLimit": "1Mi"}}),
        "volume x is not mounted",
    ),
    "capabilities": (
        lambda d: only(d, "grade")["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
        "capabilities.add are ref",
    ),
    # outside
    "a function reachable from outside": (
        lambda d: function(d, "grade")["metadata"]["labels"].pop(LABEL),
        "Service growbin/grade: reachable from outside",
    ),
    "a function by another label": (
        lambda d: function(d, "grade")["metadata"]["labels"].update({LABEL: "public"}),
        "grade: reachable from outside",
    ),
    "a plain Service of a function's name": (lambda d: d.append(plain_service("grade")), "blocks the function's Route"),
    "a load balancer of its own": (
        lambda d: d.append(plain_service("door", type="LoadBalancer")),
        "Service growbin/door: reachable from outside",
    ),
    "an event function on a route": (
        lambda d: routes(d, "- {path: /x, function: recover}\n"),
        "recover takes events and is reachable from outside",
    ),
    "a route to nobody": (
        lambda d: routes(d, "- {path: /x, function: wast}\n"),
        "a route to wast, which is no function",
    ),
    # what a pod asks for and what it is
    "no requests": (lambda d: only(d, "grade")["resources"].pop("requests"), "grade: container: no request for cpu"),
    "no request for memory": (
        lambda d: stateful(d, "redis")["template"]["spec"]["containers"][0]["resources"]["requests"].pop("memory"),
        "StatefulSet growbin-data/redis: container redis: no request for memory",
    ),
    "no limit of memory": (
        lambda d: only(d, "grade")["resources"].pop("limits"),
        "grade: container: no limit of memory",
    ),
    "no probes": (lambda d: only(d, "grade").pop("readinessProbe"), "has no readinessProbe"),
    "no liveness of PostgreSQL": (
        lambda d: stateful(d, "postgres")["template"]["spec"]["containers"][0].pop("livenessProbe"),
        "has no livenessProbe",
    ),
    "privileged": (
        lambda d: stateful(d, "redis")["template"]["spec"]["containers"][0]["securityContext"].update(privileged=True),
        "container redis: privileged",
    ),
    "root": (lambda d: only(d, "grade")["securityContext"].update(runAsNonRoot=False), "container: may run as root"),
    "root by number": (
        lambda d: stateful(d, "postgres")["template"]["spec"]["securityContext"].update(runAsUser=0),
        "may run as root",
    ),
    "a file system to write to": (
        lambda d: only(d, "grade")["securityContext"].pop("readOnlyRootFilesystem"),
        "may write to its root file system",
    ),
    "the node's files": (
        lambda d: stateful(d, "redis")["template"]["spec"].update(volumes=[{"name": "h", "hostPath": {"path": "/"}}]),
        "a hostPath of the node",
    ),
    "a token of the API": (
        lambda d: pod(d, "grade").pop("automountServiceAccountToken"),
        "carries a token of the Kubernetes API",
    ),
    "a role with *": (lambda d: d.append(role(apiGroups=[""], resources=["*"], verbs=["get"])), "resources with *"),
    "verbs with *": (lambda d: d.append(role(apiGroups=[""], resources=["pods"], verbs=["*"])), "verbs with *"),
    "a project of Argo CD that takes everything": (
        lambda d: get(d, "AppProject", "growbin")["spec"].update(destinations=[{"server": "*", "namespace": "*"}]),
        "AppProject argocd/growbin: destinations with *",
    ),
    "cluster-admin": (lambda d: d.append(binding("cluster-admin")), "binds cluster-admin"),
    # images and secrets
    "latest": (
        lambda d: only(d, "grade").update(image="ghcr.io/sesacthon/waste-coach-grade:latest"),
        "is another tomorrow",
    ),
    "no tag": (
        lambda d: only(d, "grade").update(image="ghcr.io/sesacthon/waste-coach-grade"),
        "has neither tag nor digest",
    ),
    "an image that is not in the file of versions": (
        lambda d: stateful(d, "redis")["template"]["spec"]["containers"][0].update(image="docker.io/library/redis:6.2"),
        "image docker.io/library/redis:6.2 is not in versions.yaml",
    ),
    "a secret in the open": (
        lambda d: only(d, "grade")["env"].append({"name": "ADMIN_TOKEN", "value": "hunter2"}),
        "ADMIN_TOKEN stands in the",
    ),
    "a password in an address": (
        lambda d: get(d, "ConfigMap", "platform")["data"].update(BROKER_URL="amqp://guest:guest@rabbitmq/"),
        "data.BROKER_URL looks like a secret",
    ),
    "a Secret with its data": (
        lambda d: d.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "s", "namespace": "growbin"},
                "data": {"a": "Yg=="},
            }
        ),
        "a Secret with its data",
    ),
    "a key of AWS": (
        lambda d: get(d, "ConfigMap", "platform")["data"].update(LOG_LEVEL="AKIA" + "A" * 16),
        "looks like a secret",
    ),
    "a password in a command": (
        lambda d: stateful(d, "redis")["template"]["spec"]["containers"][0]["args"].__setitem__(1, "hunter2"),
        "--requirepass is told in the open",
    ),
    "no digest in prod": (
        lambda d: only(d, "grade").update(image="ghcr.io/sesacthon/waste-coach-grade:dev"),
        "waste-coach-grade:dev has no digest",
    ),
    # what Argo CD is told
    "a chart of another version": (
        lambda d: get(d, "Application", "external-secrets")["spec"]["sources"][0].update(targetRevision="*"),
        "chart external-secrets *, versions.yaml has",
    ),
    "a folder that is not there": (
        lambda d: get(d, "Application", "data")["spec"]["source"].update(path="knative/overlays/prod/date"),
        "there is no knative/overlays/prod/date",
    ),
    "nothing heals itself": (
        lambda d: get(d, "Application", "platform")["spec"]["syncPolicy"]["automated"].pop("selfHeal"),
        "Application argocd/platform: no automated selfHeal",
    ),
    "a function without its Application": (
        lambda d: get(d, "ApplicationSet", "functions")["spec"]["generators"][0]["list"]["elements"].pop(),
        "web is a function without an Application",
    ),
    # what Kubernetes takes without a word
    "a selector of other pods": (
        lambda d: stateful(d, "postgres")["selector"]["matchLabels"].update({"app.kubernetes.io/name": "pg"}),
        "StatefulSet growbin-data/postgres: its selector does not fit its own pods",
    ),
    "a Service of no pod": (
        lambda d: get(d, "Service", "redis")["spec"]["selector"].update({"app.kubernetes.io/name": "valkey"}),
        "Service growbin-data/redis: selects no pod",
    ),
    "a Service of a port that is not there": (
        lambda d: get(d, "Service", "redis")["spec"]["ports"][0].update(targetPort=6380),
        "Service growbin-data/redis: no pod behind it has port 6380",
    ),
    "a clock of four fields": (
        lambda d: get(d, "CronJob", "postgres-backup")["spec"].update(schedule="25 */6 * *"),
        "CronJob growbin-data/postgres-backup: schedule",
    ),
    "a limit below its request": (
        lambda d: only(d, "grade")["resources"]["limits"].update(memory="16Mi"),
        "grade: the limit of memory is below its request",
    ),
    "two databases": (lambda d: stateful(d, "postgres").update(replicas=2), "copies that know nothing of each other"),
    "a CPU limit": (lambda d: only(d, "grade")["resources"]["limits"].update(cpu="1"), "grade: a CPU limit"),
    "a probe elsewhere": (
        lambda d: only(d, "grade")["readinessProbe"]["httpGet"].update(path="/"),
        "grade: readinessProbe is not GET /healthz",
    ),
    "another function's database role": (
        lambda d: next(each for each in only(d, "grade")["env"] if each["name"] == "DATABASE_URL")["valueFrom"][
            "secretKeyRef"
        ].update(name="postgres-auth"),
        "grade: DATABASE_URL is another's: Secret postgres-auth",
    ),
    "another function's image": (
        lambda d: only(d, "grade").update(image="ghcr.io/sesacthon/waste-coach-web@sha256:" + "0" * 64),
        "grade: image waste-coach-web is that of another function",
    ),
    "an activator that steps out of the way": (
        lambda d: notes(d, "waste").pop(SCALE + "target-burst-capacity"),
        "waste: counts the activator among its proxies",
    ),
    "volumes in the clear": (
        lambda d: get(d, "StorageClass", "gp3")["parameters"].update(encrypted="false"),
        "StorageClass -/gp3: its volumes are not encrypted",
    ),
    # the network
    "a world that includes the nodes": (
        lambda d: [
            end["ipBlock"].pop("except", None)
            for rule in get(d, "NetworkPolicy", "functions-reach-out")["spec"]["egress"]
            for end in rule["to"]
        ],
        "NetworkPolicy growbin/functions-reach-out: the world includes 10.0.0.0/8",
    ),
    "no default deny": (
        lambda d: drop(d, "NetworkPolicy", "default-deny", "growbin"),
        "Namespace growbin: no NetworkPolicy denies",
    ),
    "no way to the database": (
        lambda d: drop(d, "NetworkPolicy", "postgres"),
        "no NetworkPolicy lets waste reach postgres at 5432 (ingress",
    ),
    "no way out to the database": (
        lambda d: drop(d, "NetworkPolicy", "functions-keep"),
        "lets grade reach postgres at 5432 (egress of growbin)",
    ),
    "no way to RabbitMQ": (
        lambda d: drop(d, "NetworkPolicy", "rabbitmq"),
        "lets the broker's dispatcher reach RabbitMQ at 5672 (ingress",
    ),
    "no way for the poller": (
        lambda d: drop(d, "NetworkPolicy", "s3source"),
        "lets s3 reach the broker's ingress at 8080 (egress",
    ),
    "no way to the functions": (
        lambda d: drop(d, "NetworkPolicy", "functions-answer"),
        "lets the activator reach grade at 8012 (ingress of",
    ),
    "a database open to all": (lambda d: limit(d, "growbin-data"), "a pod of another namespace may reach postgres"),
    # what is kept
    "a volume without a class": (
        lambda d: stateful(d, "postgres")["volumeClaimTemplates"][0]["spec"].pop("storageClassName"),
        "StatefulSet growbin-data/postgres: a volume claim without storageClassName",
    ),
    "a class that is not there": (
        lambda d: get(d, "RabbitmqCluster", "rabbitmq")["spec"]["persistence"].update(storageClassName="fast"),
        "there is no StorageClass fast",
    ),
    "more pools than connections": (
        lambda d: notes(d, "waste").update({SCALE + "max-scale": "60"}),
        "for max_connections = 200",
    ),
    "fewer connections than pools": (
        lambda d: stateful(d, "postgres")["template"]["spec"]["containers"][0]["args"].__setitem__(
            0, "-cmax_connections=90"
        ),
        "for max_connections = 90",
    ),
    "a key that is not there": (
        lambda d: get(d, "ConfigMap", "platform")["data"].pop("OPENAI_MODEL"),
        "ConfigMap platform has no key OPENAI_MODEL",
    ),
    "a ConfigMap that is not there": (
        lambda d: drop(d, "ConfigMap", "pipelines"),
        "there is no ConfigMap pipelines in growbin",
    ),
    # the nodes
    "more than its node has": (
        lambda d: only(d, "grade")["resources"]["requests"].update(memory="3Gi"),
        "with 100 analyses at once: no room in",
    ),
    "more than the storage node has, at rest": (
        lambda d: stateful(d, "postgres")["template"]["spec"]["containers"][0]["resources"]["requests"].update(
            cpu="1500m"
        ),
        "at zero load: no room in storage",
    ),
    "a tier that is not there": (
        lambda d: pod(d, "grade").update(nodeSelector={"growbin.app/tier": "gpu"}),
        "no node takes",
    ),
}
