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


def alerts(documents: list[Document], called: str = "growbin-alerts") -> list[Document]:
    found: list[Document] = get(documents, "PrometheusRule", called)["spec"]["groups"][0]["rules"]
    return found


def external(documents: list[Document], called: str) -> Document:
    spec: Document = get(documents, "ExternalSecret", called)["spec"]
    return spec


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
        "Namespace -/growbin: no NetworkPolicy denies",
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
    # what the API server refuses and its schema does not say
    "a word that is none of its few": (
        lambda d: get(d, "NetworkPolicy", "postgres")["spec"]["ingress"][0]["ports"][0].update(protocol="tcp"),
        "spec.ingress[0].ports[0].protocol: 'tcp' is none of SCTP, TCP, UDP",
    ),
    "a label with a space": (
        lambda d: function(d, "grade")["metadata"]["labels"].update({"team": "the graders"}),
        "Service growbin/grade: metadata.labels: team: 'the graders' is no label",
    ),
    "a wrong field far inside": (
        lambda d: get(d, "RabbitmqCluster", "rabbitmq")["spec"]["affinity"]["podAntiAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ][0].update(podAffinityTerms={}),
        "podAffinityTerms: unknown field",
    ),
    "a wrong field of Argo CD": (
        lambda d: get(d, "Application", "data")["spec"]["syncPolicy"]["automated"].update(selfHealing=True),
        "Application argocd/data: spec.syncPolicy.automated.selfHealing: unknown field",
    ),
    "a span of words": (
        lambda d: alerts(d)[0].update({"for": "5 minutes"}),
        "'5 minutes' does not match",
    ),
    # names that lead elsewhere
    "a host that nobody answers": (
        lambda d: get(d, "ConfigMap", "platform")["data"].update(BROKER_URL="http://waste-broker.growbin-events.svc/"),
        "ConfigMap growbin/platform: data.BROKER_URL: nothing answers as waste-broker.growbin-events.svc",
    ),
    "a store of secrets that is not there": (
        lambda d: external(d, "redis")["secretStoreRef"].update(name="params"),
        "there is no ClusterSecretStore params",
    ),
    "a secret made of what is not fetched": (
        lambda d: external(d, "postgres-grade")["target"]["template"]["data"].update(
            DATABASE_URL="postgresql://grade:{{ .passwort }}@postgres.growbin-data.svc:5432/waste"
        ),
        "ExternalSecret growbin/postgres-grade: its template uses passwort",
    ),
    "another role in a function's secret": (
        lambda d: external(d, "postgres-grade")["target"]["template"]["data"].update(
            DATABASE_URL="postgresql://postgres:{{ .password }}@postgres.growbin-data.svc:5432/waste"
        ),
        "the role postgres is not that of grade",
    ),
    "another environment's bucket": (
        lambda d: get(d, "ConfigMap", "platform")["data"].update(S3_BUCKET="growbin-waste-photos-dev"),
        "S3_BUCKET is growbin-waste-photos-dev, terraform/examples/prod.tfvars makes growbin-waste-photos",
    ),
    "another environment's queue": (
        lambda d: get(d, "ConfigMap", "s3source")["data"].update(
            QUEUE_URL="https://sqs.ap-northeast-2.amazonaws.com/000000000000/growbin-dev-uploads"
        ),
        "is not growbin-prod-uploads in ap-northeast-2",
    ),
    # what a function is told
    "a variable that is forgotten": (
        lambda d: only(d, "grade")["env"].remove(
            next(each for each in only(d, "grade")["env"] if each["name"] == "OPENAI_MODEL")
        ),
        "Service growbin/grade: OPENAI_MODEL is read and not set",
    ),
    "a variable nobody reads": (
        lambda d: only(d, "web")["env"].append({"name": "COLOUR", "value": "green"}),
        "Service growbin/web: COLOUR is set and not read",
    ),
    "a number in words": (
        lambda d: get(d, "ConfigMap", "platform")["data"].update(RATE_LIMIT_PER_MINUTE="a hundred"),
        "RATE_LIMIT_PER_MINUTE: 'a hundred' is not a number",
    ),
    "a level of logs that is none": (
        lambda d: get(d, "ConfigMap", "platform")["data"].update(LOG_LEVEL="VERBOSE"),
        "LOG_LEVEL is 'VERBOSE'",
    ),
    "a model that may take longer than the function": (
        lambda d: get(d, "ConfigMap", "platform")["data"].update(MODEL_TIMEOUT_SECONDS="600"),
        "MODEL_TIMEOUT_SECONDS 600",
    ),
    "every page in a citizen's name": (
        lambda d: get(d, "ConfigMap", "platform")["data"].update(CORS_ORIGINS="*"),
        "CORS_ORIGINS lets every page",
    ),
    "one proxy too few": (
        lambda d: get(d, "ConfigMap", "platform")["data"].update(TRUSTED_PROXIES="1"),
        "TRUSTED_PROXIES is 1",
    ),
    "a function that nobody runs": (
        lambda d: drop(d, "Service", "aggregate"),
        "functions/aggregate: no Knative Service runs it",
    ),
    "another function's program": (
        lambda d: only(d, "identify")["args"].__setitem__(1, "functions/generate/main.py"),
        "Service growbin/identify: started by",
    ),
    "four processes": (
        lambda d: next(each for each in only(d, "grade")["env"] if each["name"] == "WORKERS").update(value="4"),
        "Service growbin/grade: 4 workers",
    ),
    "a path that is not mounted": (
        lambda d: next(each for each in only(d, "waste")["env"] if each["name"] == "JWT_PUBLIC_KEYS_DIR").update(
            value="/etc/jwt"
        ),
        "JWT_PUBLIC_KEYS_DIR names /etc/jwt, which is not mounted",
    ),
    "an event function that says it is HTTP": (
        lambda d: function(d, "grade")["metadata"]["labels"].update({"app.kubernetes.io/component": "http"}),
        "component is http, by its Triggers it is event",
    ),
    "a model's function that sleeps at once": (
        lambda d: notes(d, "generate").pop(SCALE + "scale-to-zero-pod-retention-period"),
        "generate: asks the model and has no",
    ),
    "sockets on every thread": (
        lambda d: next(each for each in only(d, "live")["env"] if each["name"] == "MAX_SOCKETS").update(value="72"),
        "live: 72 sockets starve its 72 threads",
    ),
    "more deliveries than fit": (
        lambda d: get(d, "Trigger", "grade-on-proof-ingested")["metadata"]["annotations"].update({PARALLEL: "500"}),
        "grade: 5",
    ),
    "a Trigger that waits longer than its function may take": (
        lambda d: pod(d, "grade").update(timeoutSeconds=30),
        "grade may take 30 s (timeoutSeconds)",
    ),
    # the flow, once more
    "a filter by what nobody says": (
        lambda d: trigger(d, "grade-on-proof-ingested")["filter"]["attributes"].update(source="x"),
        "filter by source, which no event of ours is told by",
    ),
    "a subscriber at another path": (
        lambda d: trigger(d, "grade-on-proof-ingested")["subscriber"].update(
            uri="http://grade.growbin.svc.cluster.local/events"
        ),
        "http, without a port, and the path /",
    ),
    "a flow that recover does not know": (
        lambda d: get(d, "ConfigMap", "pipelines")["data"].pop("learning.yaml"),
        "Trigger growbin-events/aggregate-on-nightly: the ConfigMap pipelines",
    ),
    "a clock of another country": (
        lambda d: get(d, "PingSource", "nightly")["spec"].pop("timezone"),
        "PingSource growbin-events/nightly: timezone is missing",
    ),
    "a namespace without walls": (
        lambda d: get(d, "Namespace", "rabbitmq")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "privileged"}
        ),
        "Namespace -/rabbitmq: label pod-security.kubernetes.io/enforce is privileged: baseline",
    ),
    # rights
    "a role that reads every secret": (
        lambda d: d.append(role(apiGroups=[""], resources=["secrets"], verbs=["get"])),
        "Role growbin/r: secrets: as good as",
    ),
    "a role that runs commands in pods": (
        lambda d: d.append(role(apiGroups=[""], resources=["pods/exec"], verbs=["create"])),
        "Role growbin/r: pods/exec",
    ),
    "a binding of a role that is not there": (lambda d: d.append(binding("view")), "there is no ClusterRole view here"),
    "an account that is not there": (lambda d: d.append(binding("view")), "there is no ServiceAccount growbin/x"),
    # pods
    "root's group": (
        lambda d: stateful(d, "redis")["template"]["spec"]["securityContext"].update(fsGroup=0),
        "redis: in root's group",
    ),
    "a door of the node": (
        lambda d: stateful(d, "redis")["template"]["spec"]["containers"][0]["ports"][0].update(hostPort=6379),
        "hostPort 6379",
    ),
    "the node's /proc": (
        lambda d: stateful(d, "redis")["template"]["spec"]["containers"][0]["securityContext"].update(
            procMount="Unmasked"
        ),
        "procMount Unmasked",
    ),
    "the node's settings": (
        lambda d: stateful(d, "redis")["template"]["spec"]["securityContext"].update(
            sysctls=[{"name": "kernel.msgmax", "value": "1"}]
        ),
        "redis: sysctls of its node",
    ),
    "a folder without an end": (
        lambda d: stateful(d, "postgres")["template"]["spec"]["volumes"][1].update(emptyDir={}),
        "volume tmp: an emptyDir without a sizeLimit",
    ),
    "a broker without a limit": (
        lambda d: get(d, "RabbitmqCluster", "rabbitmq")["spec"]["resources"].pop("limits"),
        "RabbitmqCluster rabbitmq/rabbitmq: limit of memory None",
    ),
    "a name for somebody outside": (
        lambda d: d.append(plain_service("mirror", type="ExternalName", externalName="evil.example.com")),
        "Service growbin/mirror: ExternalName",
    ),
    # the network, rule by rule
    "everybody of a namespace of ours": (
        lambda d: get(d, "NetworkPolicy", "redis")["spec"]["ingress"][0]["from"][0].pop("podSelector"),
        "NetworkPolicy growbin-data/redis: ingress: all of growbin at 6379/TCP: that is aggregate, too",
    ),
    "every namespace": (
        lambda d: get(d, "NetworkPolicy", "redis")["spec"]["ingress"][0]["from"].append({"namespaceSelector": {}}),
        "all of every namespace: a namespaceSelector names one namespace",
    ),
    "a port nobody needs": (
        lambda d: get(d, "NetworkPolicy", "redis")["spec"]["ingress"][0]["ports"].append({"port": 22}),
        "at 22/TCP: nobody needs that",
    ),
    "every port": (
        lambda d: get(d, "NetworkPolicy", "redis")["spec"]["ingress"][0].pop("ports"),
        "NetworkPolicy growbin-data/redis: ingress: every port",
    ),
    "half of the world": (
        lambda d: get(d, "NetworkPolicy", "functions-reach-out")["spec"]["egress"][0]["to"].append(
            {"ipBlock": {"cidr": "0.0.0.0/1"}}
        ),
        "0.0.0.0/1: neither the world without the house",
    ),
    "a policy over nobody": (
        lambda d: get(d, "NetworkPolicy", "functions-trace")["spec"].update(podSelector={"matchLabels": {"a": "b"}}),
        "NetworkPolicy growbin/functions-trace: is over no pod that is there",
    ),
    "names only by TCP": (
        lambda d: [
            each["spec"]["egress"][0]["ports"].pop(0)
            for each in d
            if each["kind"] == "NetworkPolicy" and name(each) == "default-deny"
        ],
        "no NetworkPolicy lets waste reach DNS at 53/UDP",
    ),
    # what is kept, once more
    "data that goes with its pod": (
        lambda d: stateful(d, "redis").pop("volumeClaimTemplates"),
        "StatefulSet growbin-data/redis: mounts no volume of volumeClaimTemplates",
    ),
    "data beside its volume": (
        lambda d: next(
            each
            for each in stateful(d, "postgres")["template"]["spec"]["containers"][0]["env"]
            if each["name"] == "PGDATA"
        ).update(value="/tmp/pgdata"),
        "keeps its data in /tmp/pgdata",
    ),
    "volumes that go with their claim": (
        lambda d: get(d, "StorageClass", "gp3").update(reclaimPolicy="Delete"),
        "StorageClass -/gp3: reclaimPolicy is Delete, not Retain",
    ),
    "a disk for many": (
        lambda d: stateful(d, "redis")["volumeClaimTemplates"][0]["spec"].update(accessModes=["ReadWriteMany"]),
        "a disk of EBS is one node's",
    ),
    "a database that cannot sort Korean": (
        lambda d: next(
            each
            for each in stateful(d, "postgres")["template"]["spec"]["containers"][0]["env"]
            if each["name"] == "POSTGRES_INITDB_ARGS"
        ).update(value="--locale=C --data-checksums --auth-host=trust"),
        "POSTGRES_INITDB_ARGS without --locale=C.UTF-8",
    ),
    "a Redis that throws out": (
        lambda d: stateful(d, "redis")["template"]["spec"]["containers"][0]["args"].__setitem__(-3, "allkeys-lru"),
        "--maxmemory-policy is allkeys-lru, not noeviction",
    ),
    "a RabbitMQ that waits too short": (
        lambda d: get(d, "RabbitmqCluster", "rabbitmq")["spec"]["rabbitmq"].update(
            additionalConfig="consumer_timeout = 30000"
        ),
        "consumer_timeout is not 1800000",
    ),
    "no backup": (lambda d: drop(d, "CronJob", "postgres-backup"), "no CronJob dumps it"),
    "a backup once a year": (
        lambda d: get(d, "CronJob", "postgres-backup")["spec"].update(schedule="25 6 1 1 *"),
        "CronJob growbin-data/postgres-backup: schedule 25 6 1 1 *: not every day",
    ),
    # jobs and rollouts
    "two backups at once": (
        lambda d: get(d, "CronJob", "postgres-backup")["spec"].update(concurrencyPolicy="Allow"),
        "concurrencyPolicy Allow: two at once",
    ),
    "a backup that never runs": (
        lambda d: get(d, "CronJob", "postgres-backup")["spec"].update(suspend=True),
        "postgres-backup: suspend",
    ),
    "a Job without an end": (
        lambda d: get(d, "Job", "migrate")["spec"].pop("activeDeadlineSeconds"),
        "Job growbin/migrate: no activeDeadlineSeconds",
    ),
    "migrations after the rollout": (
        lambda d: get(d, "Job", "migrate")["metadata"]["annotations"].update({"argocd.argoproj.io/hook": "PostSync"}),
        "argocd.argoproj.io/hook is PostSync, not PreSync",
    ),
    "an index before its tables": (
        lambda d: get(d, "Job", "index")["metadata"]["annotations"].update({"argocd.argoproj.io/sync-wave": "-1"}),
        "Job growbin/index: sync-wave -1 is not after",
    ),
    "a gateway of no pod": (
        lambda d: get(d, "Deployment", "gateway")["spec"].update(replicas=0),
        "Deployment growbin-edge/gateway: replicas 0",
    ),
    "a rollout that cuts off": (
        lambda d: get(d, "Deployment", "gateway")["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
        "gateway: maxUnavailable 1",
    ),
    "a budget that no drain gets past": (
        lambda d: d.append(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "p", "namespace": "growbin-data"},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": "postgres"}}},
            }
        ),
        "PodDisruptionBudget growbin-data/p: no pod of 1 may go",
    ),
    "a function on any node": (
        lambda d: pod(d, "grade").pop("nodeSelector"),
        "grade: nodeSelector growbin.app/tier is missing, not async",
    ),
    # what Argo CD is told, once more
    "a project that is not there": (
        lambda d: get(d, "Application", "data")["spec"].update(project="default"),
        "Application argocd/data: there is no AppProject default",
    ),
    "somebody else's repository": (
        lambda d: get(d, "Application", "data")["spec"]["source"].update(
            repoURL="https://github.com/x/waste-coach.git"
        ),
        "repoURL https://github.com/x/waste-coach.git is not",
    ),
    "another cluster": (
        lambda d: get(d, "Application", "data")["spec"]["destination"].update(server="https://192.0.2.1"),
        "is not of the project growbin",
    ),
    "another branch": (
        lambda d: get(d, "Application", "data")["spec"]["source"].update(targetRevision="feature"),
        "targetRevision feature",
    ),
    "another environment": (
        lambda d: get(d, "Application", "data")["spec"]["source"].update(path="knative/overlays/dev/data"),
        "path knative/overlays/dev/data in prod",
    ),
    "data that is pruned": (
        lambda d: get(d, "Application", "data")["spec"]["syncPolicy"]["automated"].update(prune=True),
        "Application argocd/data: prune is True",
    ),
    "values that are not there": (
        lambda d: get(d, "Application", "external-secrets")["spec"]["sources"][0]["helm"].update(
            valueFiles=["$values/knative/argocd/values/none.yaml"]
        ),
        "there is no $values/knative/argocd/values/none.yaml",
    ),
    # what is watched
    "a series nobody exports": (
        lambda d: alerts(d)[0].update(expr="max(growbin_dead_leters) > 0"),
        "PrometheusRule monitoring/growbin-alerts: DeadLetters: nobody exports growbin_dead_leters",
    ),
    "a series by a label it has not": (
        lambda d: alerts(d)[0].update(expr='max(growbin_dead_letters_open{where="x"}) > 0'),
        "growbin_dead_letters_open has no label where",
    ),
    "a CronJob that is not there": (
        lambda d: alerts(d)[0].update(expr='kube_cronjob_status_last_successful_time{cronjob="backup"} > 0'),
        'cronjob="backup": there is none',
    ),
    "no PromQL": (lambda d: alerts(d)[0].update(expr="max("), "DeadLetters: unclosed left parenthesis"),
    "an alert that is always true": (
        lambda d: alerts(d)[0].update(expr="max(growbin_dead_letters_open) >= 0"),
        "DeadLetters: >= 0 is always true",
    ),
    "an alert for nobody": (lambda d: alerts(d)[0]["labels"].update(severity="none"), "severity none is none of"),
    "an alert without a page": (lambda d: alerts(d)[0]["annotations"].pop("runbook_url"), "runbook_url None is not"),
    "a burn rate of another window": (
        lambda d: next(each for each in alerts(d, "growbin-objectives") if "alert" in each)["labels"].update(
            window="6h"
        ),
        "RequestsFailing: window 6h, rate 14.4 over 1h",
    ),
    "a record of another range": (
        lambda d: alerts(d, "growbin-objectives")[0].update(
            expr=str(alerts(d, "growbin-objectives")[0]["expr"]).replace("[5m]", "[6h]")
        ),
        "growbin:requests:errors_5m is made of 6h",
    ),
    "a dashboard that Grafana does not see": (
        lambda d: get(d, "ConfigMap", "dashboard-cost")["metadata"].pop("labels"),
        "no label grafana_dashboard",
    ),
    "a monitor of nobody": (
        lambda d: get(d, "PodMonitor", "gateway")["spec"]["selector"]["matchLabels"].update(
            {"app.kubernetes.io/name": "envoy"}
        ),
        "PodMonitor monitoring/gateway: {'app.kubernetes.io/name': 'envoy'} are the labels of no pod",
    ),
    "a monitor of no port": (
        lambda d: get(d, "PodMonitor", "gateway")["spec"]["podMetricsEndpoints"][0].update(port="metrics"),
        "PodMonitor monitoring/gateway: no pod has a port metrics",
    ),
    # what looks harmless
    "an amount that is none": (
        lambda d: only(d, "grade")["resources"]["requests"].update(memory="96MB"),
        "Service growbin/grade: spec.template.spec.containers[0].resources.requests.memory: '96MB' is not a quantity",
    ),
    "a tenth of a byte": (
        lambda d: only(d, "grade")["resources"]["requests"].update(memory="96m"),
        "requests of 96m of memory: less than 4 MiB",
    ),
    "a path behind a shorter one": (
        lambda d: get(d, "ConfigMap", "routes")["data"].update(
            {"routes.yaml": "- {path: /, function: web}\n- {path: /api/v1/auth, function: auth}\n"}
        ),
        "/api/v1/auth of auth stands behind /, which takes it first",
    ),
    "a function on no path": (
        lambda d: get(d, "ConfigMap", "routes")["data"].update({"routes.yaml": "- {path: /, function: web}\n"}),
        "ConfigMap growbin/routes: no path leads to auth",
    ),
    "all of a Secret": (
        lambda d: only(d, "grade").update(envFrom=[{"secretRef": {"name": "postgres-grade"}}]),
        "Service growbin/grade: envFrom",
    ),
    "a poller that nobody restarts": (
        lambda d: get(d, "ContainerSource", "s3")["spec"]["template"]["spec"]["containers"][0].pop("livenessProbe"),
        "ContainerSource growbin-events/s3: no livenessProbe",
    ),
    "a Secret to pull with that is not there": (
        lambda d: stateful(d, "redis")["template"]["spec"].update(imagePullSecrets=[{"name": "regcred"}]),
        "there is no Secret regcred",
    ),
    "a Secret that others may write": (
        lambda d: get(d, "Job", "migrate")["spec"]["template"]["spec"]["volumes"][0]["secret"].update(defaultMode=511),
        "Job growbin/migrate: volume roles: defaultMode",
    ),
    "a parameter nobody may read": (
        lambda d: external(d, "redis")["data"][0]["remoteRef"].update(key="redis-2"),
        "ExternalSecret growbin/redis: nobody may read redis-2",
    ),
    "a Redis without a password": (
        lambda d: stateful(d, "redis")["template"]["spec"]["containers"][0]["args"].__delitem__(slice(2)),
        "--requirepass of its Secret is missing",
    ),
    "a database that does not wait for its disk": (
        lambda d: stateful(d, "postgres")["template"]["spec"]["containers"][0]["args"].append("-cfsync=off"),
        "-cfsync=off: a crash loses",
    ),
    "a database that trusts": (
        lambda d: stateful(d, "postgres")["template"]["spec"]["containers"][0]["env"].append(
            {"name": "POSTGRES_HOST_AUTH_METHOD", "value": "trust"}
        ),
        "POSTGRES_HOST_AUTH_METHOD trust",
    ),
    "two halves that both go on": (
        lambda d: get(d, "RabbitmqCluster", "rabbitmq")["spec"]["rabbitmq"].update(
            additionalConfig="consumer_timeout = 1800000\ncluster_partition_handling = ignore\n"
        ),
        "cluster_partition_handling is not pause_minority",
    ),
    "disks of another kind": (
        lambda d: get(d, "StorageClass", "gp3")["parameters"].update(type="gp2"),
        "StorageClass -/gp3: type gp2",
    ),
    "data that goes with its Application": (
        lambda d: get(d, "Application", "data")["metadata"].update(
            finalizers=["resources-finalizer.argocd.argoproj.io"]
        ),
        "Application argocd/data: finalizers",
    ),
    "differences that nobody sees": (
        lambda d: get(d, "Application", "platform")["spec"]["ignoreDifferences"].append(
            {"group": "eventing.knative.dev", "kind": "Broker", "jsonPointers": ["/spec"]}
        ),
        "ignoreDifferences Broker ['/spec']",
    ),
    "a sync that passes over what is refused": (
        lambda d: get(d, "Application", "platform")["spec"]["syncPolicy"]["syncOptions"].append("Validate=false"),
        "Application argocd/platform: syncOptions Validate=false",
    ),
    "the rate of a gauge": (
        lambda d: alerts(d)[0].update(expr="max(rate(growbin_dead_letters_open[5m])) > 0"),
        "rate() of growbin_dead_letters_open, which is a gauge",
    ),
    "a counter as it is": (
        lambda d: alerts(d)[0].update(expr='sum(growbin_cache_total{result="away"}) > 0'),
        "growbin_cache_total as it is: it only grows",
    ),
    "a quantile of nothing": (
        lambda d: alerts(d)[0].update(
            expr="histogram_quantile(0.95, sum by (model) (rate(growbin_model_seconds_bucket[15m]))) > 8"
        ),
        "histogram_quantile over a sum by (model), without le",
    ),
    "a scrape longer than its turn": (
        lambda d: get(d, "PodMonitor", "functions")["spec"]["podMetricsEndpoints"][0].update(scrapeTimeout="50s"),
        "scrapeTimeout 50s is longer than its interval",
    ),
    # kinds and places that nothing here looks at
    "a kind nobody checks": (
        lambda d: d.append(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "q", "namespace": "growbin"},
                "spec": {"hard": {"pods": "2"}},
            }
        ),
        "ResourceQuota growbin/q: kind ResourceQuota is not applied here",
    ),
    "a cluster-wide kind that Argo CD may not apply": (
        lambda d: d.append({**role(apiGroups=[""], resources=["pods"], verbs=["get"]), "kind": "ClusterRole"}),
        "no cluster-wide kind that AppProject growbin lets",
    ),
    "a namespace that Argo CD may not write to": (
        lambda d: get(d, "ConfigMap", "backup")["metadata"].update(namespace="default"),
        "namespace default is not of AppProject growbin",
    ),
    "a Trigger that only recover knows": (
        lambda d: drop(d, "Trigger", "aggregate-on-nightly"),
        "Trigger growbin-events/aggregate-on-nightly: is not applied",
    ),
    "one broker in prod": (
        lambda d: get(d, "RabbitmqCluster", "rabbitmq")["spec"].update(replicas=1),
        "1 replicas in prod: a quorum needs three",
    ),
    "one door in prod": (
        lambda d: get(d, "Deployment", "gateway")["spec"].update(replicas=1),
        "1 replicas in prod: the only door",
    ),
    "a second door at the gateway's port": (
        lambda d: d.append(plain_service("back", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])),
        "Service growbin/back: reachable from outside",
    ),
    "a priority that is not there": (
        lambda d: stateful(d, "redis")["template"]["spec"].update(priorityClassName="database"),
        "there is no PriorityClass database",
    ),
    "a server killed at once": (
        lambda d: stateful(d, "postgres")["template"]["spec"].update(terminationGracePeriodSeconds=1),
        "terminationGracePeriodSeconds below 30",
    ),
    "names of another place": (
        lambda d: stateful(d, "redis")["template"]["spec"].update(dnsPolicy="Default"),
        "StatefulSet growbin-data/redis: dnsPolicy",
    ),
    "files of another group": (
        lambda d: stateful(d, "redis")["template"]["spec"]["securityContext"].update(fsGroup=2000),
        "redis: fsGroup 2000 is not its group 1000",
    ),
    "a dump held in memory": (
        lambda d: get(d, "CronJob", "postgres-backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"][
            0
        ].update(emptyDir={"medium": "Memory", "sizeLimit": "10Gi"}),
        "emptyDirs in memory of 10Gi",
    ),
    "a backup where its node may not write": (
        lambda d: get(d, "CronJob", "postgres-backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][
            0
        ].update(args=["aws s3 cp /backup/waste.dump s3://$BACKUP_BUCKET/dumps/x"]),
        "writes below dumps/",
    ),
    # what is watched and deployed, a last time
    "two groups of one name": (
        lambda d: get(d, "PrometheusRule", "growbin-alerts")["spec"]["groups"][1].update(name="growbin-pipeline"),
        "growbin-alerts: group growbin-pipeline: there twice",
    ),
    "an alert at the first look": (lambda d: alerts(d)[0].pop("for"), "DeadLetters: no `for`"),
    "rules where nobody reads them": (
        lambda d: get(d, "PrometheusRule", "growbin-alerts")["metadata"].update(namespace="growbin"),
        "PrometheusRule growbin/growbin-alerts: namespace growbin, not monitoring",
    ),
    "a function listed twice": (
        lambda d: get(d, "ApplicationSet", "functions")["spec"]["generators"][0]["list"]["elements"].append(
            {"function": "web"}
        ),
        "ApplicationSet argocd/functions: web is listed twice",
    ),
    "an Application that deletes its own function": (
        lambda d: get(d, "ApplicationSet", "functions")["spec"]["template"]["spec"]["source"]["kustomize"]["patches"][
            0
        ]["target"].update(labelSelector="app.kubernetes.io/name={{ .function }}"),
        "not all but the function's own",
    ),
    # what a real API server said of mistakes that were planted into it
    "a revision's name of another function": (
        lambda d: function(d, "grade")["spec"]["template"]["metadata"].update(name="web-1"),
        "grade: template.metadata.name web-1 does not begin with grade-",
    ),
    "a share of the traffic that is nobody's": (
        lambda d: function(d, "grade")["spec"].update(traffic=[{"latestRevision": True, "percent": 90}]),
        "grade: traffic comes to 90 percent",
    ),
    "a mount of no volume": (
        lambda d: only(d, "waste")["volumeMounts"][0].update(name="keys"),
        "waste: container: mounts keys, which is no volume",
    ),
    "two mounts at one place": (
        lambda d: only(d, "waste")["volumeMounts"].append(only(d, "waste")["volumeMounts"][0]),
        "there twice",
    ),
    "a volume of no kind": (
        lambda d: get(d, "Deployment", "gateway")["spec"]["template"]["spec"]["volumes"].__setitem__(
            0, {"name": "config"}
        ),
        "gateway: volume config: of no kind",
    ),
    "a probe of a port that is not there": (
        lambda d: get(d, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"][
            "httpGet"
        ].update(port="web"),
        "readinessProbe: port web is none of its own",
    ),
    "a probe that counts backwards": (
        lambda d: only(d, "grade")["livenessProbe"].update(failureThreshold=-1),
        "livenessProbe: failureThreshold -1",
    ),
    "a probe of two kinds": (
        lambda d: stateful(d, "redis")["template"]["spec"]["containers"][0]["livenessProbe"].update(
            tcpSocket={"port": 6379}
        ),
        "livenessProbe: exec, tcpSocket: one handler",
    ),
    "a port that Knative does not take": (
        lambda d: only(d, "grade").update(ports=[{"containerPort": 8080, "name": "web"}]),
        "port web TCP: Knative takes",
    ),
    "a variable with a space": (
        lambda d: only(d, "grade")["env"].append({"name": "A B", "value": "1"}),
        "env 'A B': no name of a variable",
    ),
    "a value beside its source": (
        lambda d: only(d, "grade")["env"][-1].update(value="1"),
        "value and valueFrom, or two sources",
    ),
    "a user below zero": (
        lambda d: stateful(d, "redis")["template"]["spec"]["securityContext"].update(runAsUser=-1),
        "runAsUser -1: no id",
    ),
    "a Job that counts backwards": (
        lambda d: get(d, "Job", "migrate")["spec"].update(backoffLimit=-1),
        "Job growbin/migrate: spec.backoffLimit: -1, below zero",
    ),
    "a NodePort inside": (
        lambda d: get(d, "Service", "redis")["spec"]["ports"][0].update(nodePort=30080),
        "nodePort 30080 with type ClusterIP",
    ),
    "a rollout that cannot begin": (
        lambda d: get(d, "Deployment", "gateway")["spec"]["strategy"]["rollingUpdate"].update(maxSurge=0),
        "maxSurge and maxUnavailable are both 0",
    ),
    "data that is no JSON": (
        lambda d: get(d, "PingSource", "nightly")["spec"].update(data="{schedule: nightly}"),
        "PingSource growbin-events/nightly: data is no JSON",
    ),
    "a dispatcher that is never made": (
        lambda d: get(d, "Trigger", "aggregate-on-nightly")["metadata"]["annotations"].update(
            {"rabbitmq.eventing.knative.dev/memory-limit": "1Mi"}
        ),
        "memory-limit 1Mi below memory-request 18Mi",
    ),
    "a generator that is none": (
        lambda d: get(d, "ApplicationSet", "functions")["spec"]["generators"].append({"lists": {}}),
        "generators: lists: there is none",
    ),
}
