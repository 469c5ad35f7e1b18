# ruff: noqa: UP013  (Kubernetes' own field names are not Python's)
"""The manifests of this repository, read strictly: what the stand-in does not understand it refuses, never ignores.

Fields, defaults and limits are those of Knative Serving and Eventing 1.16 and eventing-rabbitmq 1.16, cut down to what
we use. Anything else is one sentence naming file, kind, object and path. So are the mistakes Knative's webhooks refuse,
and two they do not: a misspelt annotation, and a duration finer than the 0.1 s that Knative keeps (it becomes 0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import yaml
from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

ROOT = Path(__file__).resolve().parents[2]
BASE, FUNCTIONS, PIPELINES = Path("knative/base"), Path("knative/functions"), Path("pipelines")
AUTOSCALING, RABBITMQ = "autoscaling.knative.dev/", "rabbitmq.eventing.knative.dev/"
BROKER_CLASS, PARALLELISM = "eventing.knative.dev/broker.class", RABBITMQ + "parallelism"
BEST_EFFORT = "growbin.app/best-effort"
POD = {RABBITMQ + resource for resource in ("cpu-request", "cpu-limit", "memory-request", "memory-limit")}

#: kind → labels and annotations below knative.dev and growbin.app that mean something on it.
KNOWN_KEYS = {
    "Service": {"networking.knative.dev/visibility"},
    "Trigger": {PARALLELISM, BEST_EFFORT} | POD,
    "Broker": {BROKER_CLASS} | POD,
}


class ManifestError(ValueError):
    """What is wrong with the manifests: `problems`, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _require(fine: object, complaint: str) -> None:
    if not fine:
        raise ValueError(complaint)


def _iso8601(text: object) -> object:
    shape = r"P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d)?S)?)?"
    _require(isinstance(text, str) and re.fullmatch(shape, text), "not an ISO 8601 duration in steps of 0.1 s")
    return text


def _seconds(text: object) -> timedelta:
    _require(re.fullmatch(r"\d+s", str(text)), "not a number of seconds such as 90s")
    return timedelta(seconds=int(str(text)[:-1]))


def _burst(capacity: float) -> float:
    _require(capacity >= 0 or capacity == -1, "neither -1 nor a number of requests")
    return capacity


def _cron(expression: str) -> str:
    try:
        CronSim(expression, datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(str(error)) from error
    return expression


def _timezone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except KeyError as error:
        raise ValueError("no such time zone") from error


def _plain_http(url: str) -> str:
    _require(urlsplit(url).scheme == "http" and urlsplit(url).hostname, "not an absolute http URL")
    return url


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Attribute = Annotated[str, Field(pattern=r"^[a-z0-9]+$")]
AbsolutePath = Annotated[str, Field(pattern="^/")]
Iso8601 = Annotated[timedelta, BeforeValidator(_iso8601), Field(strict=False, gt=timedelta())]
Seconds = Annotated[timedelta, BeforeValidator(_seconds)]
Cron = Annotated[str, Field(pattern=r"^[\d*,/-]+( [\d*,/-]+){4}$"), AfterValidator(_cron)]
Attributes = Annotated[dict[Attribute, str], Field(min_length=1)]

Reference = TypedDict("Reference", {"apiVersion": str, "kind": str, "name": Name, "namespace": NotRequired[Name]})
#: By address only: a `ref` would have to be resolved by an API server.
Destination = TypedDict("Destination", {"uri": Annotated[str, AfterValidator(_plain_http)]})
Filter = TypedDict("Filter", {"attributes": Attributes})
BrokerSink = TypedDict("BrokerSink", {"ref": Reference})
Overrides = TypedDict("Overrides", {"extensions": Attributes})
Cluster = TypedDict("Cluster", {"name": Name, "namespace": Name})
RabbitmqSpec = TypedDict("RabbitmqSpec", {"rabbitmqClusterReference": Cluster, "queueType": Literal["quorum"]})
KeyReference = TypedDict("KeyReference", {"name": Name, "key": str, "optional": NotRequired[bool]})
Port = TypedDict("Port", {"containerPort": Literal[8080]})
Resources = TypedDict("Resources", {"cpu": str, "memory": str}, total=False)
Limits = TypedDict("Limits", {"requests": Resources, "limits": Resources}, total=False)
Capabilities = TypedDict("Capabilities", {"drop": list[Literal["ALL"]]})
Seccomp = TypedDict("Seccomp", {"type": Literal["RuntimeDefault"]})
VolumeMount = TypedDict("VolumeMount", {"name": Name, "mountPath": AbsolutePath, "readOnly": NotRequired[bool]})
SecretVolume = TypedDict("SecretVolume", {"secretName": Name})
ConfigMapVolume = TypedDict("ConfigMapVolume", {"name": Name})
EmptyDir = TypedDict("EmptyDir", {"medium": str, "sizeLimit": str}, total=False)
Generator = TypedDict("Generator", {"name": Name, "namespace": Name, "files": list[str]})
GeneratorOptions = TypedDict("GeneratorOptions", {"disableNameSuffixHash": Literal[True]})


class Model(BaseModel):
    """camelCase in YAML, no field beyond the declared ones, no value silently converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


class Metadata(Model):
    name: Name
    namespace: Name = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Object(Model):
    """What every kind has."""

    api_version: str
    kind: str
    metadata: Metadata

    @model_validator(mode="after")
    def _placed(self) -> Self:
        _require(self.kind == "Namespace" or self.metadata.namespace, "metadata.namespace is missing")
        for key in (*self.metadata.labels, *self.metadata.annotations):
            watched = key.partition("/")[0].endswith(("knative.dev", "growbin.app"))
            _require(not watched or key in KNOWN_KEYS.get(self.kind, ()), f"metadata: {key} is not known here")
        return self

    @property
    def name(self) -> str:
        return self.metadata.name


class Namespace(Object):
    """A namespace, for its pod security labels."""


class PolicySpec(Model):
    pod_selector: dict[Literal["matchLabels", "matchExpressions"], Any]
    policy_types: list[Literal["Ingress", "Egress"]] = Field(min_length=1)
    ingress: list[dict[Literal["from", "ports"], list[dict[str, Any]]]] = []
    egress: list[dict[Literal["to", "ports"], list[dict[str, Any]]]] = []


class NetworkPolicy(Object):
    """Who may talk to whom in the cluster; on one machine everything is on loopback."""

    spec: PolicySpec


class ConfigMap(Object):
    """Settings and tables by key."""

    data: dict[str, str]


# --- Serving ---------------------------------------------------------------------------------------------------------


class Autoscaling(BaseModel):
    """The annotations `autoscaling.knative.dev/*` of a revision; `max_scale` 0 is no limit, `target` in requests,
    so is `target_burst_capacity`; -1 is one for which the activator never steps out of the way (here it never does)."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-"))
    min_scale: int = Field(default=0, ge=0)
    max_scale: int = Field(default=0, ge=0)
    target: float | None = Field(default=None, ge=0.01)
    target_burst_capacity: Annotated[float, AfterValidator(_burst)] = 211
    target_utilization_percentage: float = Field(default=70, ge=1, le=100)
    window: Seconds = Field(default=timedelta(seconds=60), ge=timedelta(seconds=6), le=timedelta(hours=1))
    scale_to_zero_pod_retention_period: Seconds = timedelta()


class EnvVar(Model):
    """One variable: a literal, or a key of a ConfigMap or Secret."""

    name: Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")]
    value: str = ""
    value_from: dict[Literal["configMapKeyRef", "secretKeyRef"], KeyReference] = Field(default={}, max_length=1)

    @model_validator(mode="after")
    def _ours(self) -> Self:
        _require(not (self.value and self.value_from), "value and valueFrom exclude each other")
        _require(self.name != "PORT" and not self.name.startswith("K_"), f"{self.name} is set by Knative")
        return self

    @property
    def source(self) -> tuple[str, str] | None:
        """(ConfigMap or Secret, key), or None for a literal."""
        return next(((ref["name"], ref["key"]) for ref in self.value_from.values()), None)

    @property
    def optional(self) -> bool:
        return any(ref.get("optional", False) for ref in self.value_from.values())


class HttpGet(Model):
    path: AbsolutePath


class Probe(Model):
    """Readiness or liveness by HTTP; times in seconds."""

    http_get: HttpGet
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    failure_threshold: int = 3


class SecurityContext(Model):
    allow_privilege_escalation: bool
    read_only_root_filesystem: bool
    run_as_non_root: bool
    run_as_user: int | None = None
    capabilities: Capabilities
    seccomp_profile: Seccomp


class Volume(Model):
    name: Name
    secret: SecretVolume | None = None
    config_map: ConfigMapVolume | None = None
    empty_dir: EmptyDir | None = None


class Container(Model):
    image: str
    command: list[str] = []
    args: list[str] = []
    ports: list[Port] = Field(default=[], max_length=1)
    env: list[EnvVar] = []
    resources: Limits = {}
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    security_context: SecurityContext | None = None
    volume_mounts: list[VolumeMount] = []


class PodSpec(Model):
    containers: list[Container] = Field(min_length=1, max_length=1)
    container_concurrency: int = Field(default=0, ge=0, le=1000)
    timeout_seconds: int = Field(default=300, ge=1, le=600)
    service_account_name: Name | None = None
    automount_service_account_token: bool = True
    enable_service_links: bool = True
    volumes: list[Volume] = []


class Revision(Model):
    metadata: dict[Literal["labels", "annotations"], dict[str, str]] = {}
    spec: PodSpec


class Mount(NamedTuple):
    """A ConfigMap or Secret (`source`) readable as files below `path`."""

    path: str
    source: str


class Service(Object):
    """A Knative Service: one function."""

    spec: dict[Literal["template"], Revision] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        scale, names = self.autoscaling, [variable.name for variable in self.env]
        _require(not scale.max_scale or scale.min_scale <= scale.max_scale, "min-scale is above max-scale")
        _require(len(names) == len(set(names)), "env names a variable twice")
        mounted = sorted(mount["name"] for mount in self.container.volume_mounts)
        _require(mounted == sorted(volume.name for volume in self.pod.volumes), "volumes and volumeMounts differ")
        return self

    @property
    def host(self) -> str:
        """The name other pods call it by."""
        return f"{self.name}.{self.metadata.namespace}.svc.cluster.local"

    @property
    def pod(self) -> PodSpec:
        return self.spec["template"].spec

    @property
    def container(self) -> Container:
        return self.pod.containers[0]

    @property
    def env(self) -> list[EnvVar]:
        return self.container.env

    @property
    def autoscaling(self) -> Autoscaling:
        keys = self.spec["template"].metadata.get("annotations", {})
        return Autoscaling.model_validate({key.removeprefix(AUTOSCALING): value for key, value in keys.items()})

    @property
    def mounts(self) -> list[Mount]:
        paths = {mount["name"]: mount["mountPath"] for mount in self.container.volume_mounts}
        secrets = [Mount(paths[v.name], v.secret["secretName"]) for v in self.pod.volumes if v.secret]
        return secrets + [Mount(paths[v.name], v.config_map["name"]) for v in self.pod.volumes if v.config_map]


# --- Eventing --------------------------------------------------------------------------------------------------------


class Delivery(Model):
    """How hard to try. The defaults are the dispatcher's own and too small for us: every Trigger states all of it."""

    retry: int = Field(default=5, ge=0, le=20)
    backoff_policy: Literal["exponential", "linear"] = "exponential"
    backoff_delay: Iso8601 = timedelta(milliseconds=50)
    timeout: Iso8601 | None = None
    dead_letter_sink: Destination | None = None

    def backoff(self, n: int) -> float:
        """Seconds to wait before retry `n` (1, 2, …)."""
        return self.backoff_delay.total_seconds() * (2**n if self.backoff_policy == "exponential" else n)

    @property
    def patience(self) -> float:
        """Seconds of waiting in all, the attempts themselves not counted."""
        return sum(self.backoff(n) for n in range(1, self.retry + 1))


class TriggerSpec(Model):
    broker: Name
    filter: Filter
    subscriber: Destination
    delivery: Delivery | None = None


class Trigger(Object):
    """One arrow of a flow: events with these attributes go to that address."""

    spec: TriggerSpec

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        workers = self.metadata.annotations.get(PARALLELISM, "1")
        _require(workers.isdecimal() and 1 <= int(workers) <= 1000, f"{PARALLELISM} is not within 1 and 1000")
        _require(self.metadata.annotations.get(BEST_EFFORT, "true") == "true", f'{BEST_EFFORT} is "true" or absent')
        return self

    @property
    def parallelism(self) -> int:
        return int(self.metadata.annotations.get(PARALLELISM, "1"))

    @property
    def best_effort(self) -> bool:
        """True where nothing is owed: no claim is made and none is missed."""
        return BEST_EFFORT in self.metadata.annotations


class BrokerSpec(Model):
    config: Reference
    delivery: Delivery


class Broker(Object):
    """Where events are posted and from where Triggers take them."""

    spec: BrokerSpec

    @model_validator(mode="after")
    def _rabbit(self) -> Self:
        given = self.metadata.annotations.get(BROKER_CLASS)
        _require(given == "RabbitMQBroker", f"{BROKER_CLASS} is not RabbitMQBroker")
        return self


class RabbitmqBrokerConfig(Object):
    """Which RabbitMQ the cluster's Broker uses; on one machine it is the AMQP URL instead."""

    spec: RabbitmqSpec


class PingSpec(Model):
    schedule: Cron
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    content_type: Literal["application/json"] = "application/json"
    data: str = ""
    ce_overrides: Overrides | None = None
    sink: BrokerSink


class PingSource(Object):
    """A clock: an event for the Broker whenever the cron expression says so."""

    spec: PingSpec


# --- reading ---------------------------------------------------------------------------------------------------------


class Kustomization(Model):
    """What is applied to the cluster, so that nothing runs here that would be missing there."""

    api_version: Literal["kustomize.config.k8s.io/v1beta1"]
    kind: Literal["Kustomization"]
    resources: list[str]
    config_map_generator: list[Generator] = []
    generator_options: GeneratorOptions | None = None


KINDS: dict[object, type[Object]] = {
    ("v1", "Namespace"): Namespace,
    ("v1", "ConfigMap"): ConfigMap,
    ("networking.k8s.io/v1", "NetworkPolicy"): NetworkPolicy,
    ("serving.knative.dev/v1", "Service"): Service,
    ("eventing.knative.dev/v1", "Trigger"): Trigger,
    ("eventing.knative.dev/v1", "Broker"): Broker,
    ("eventing.knative.dev/v1alpha1", "RabbitmqBrokerConfig"): RabbitmqBrokerConfig,
    ("sources.knative.dev/v1", "PingSource"): PingSource,
}
Kind = TypeVar("Kind", bound=Object)


@dataclass(frozen=True)
class Manifests:
    """Everything that is applied."""

    objects: tuple[Object, ...]

    @classmethod
    def load(cls, root: Path = ROOT, folders: tuple[Path, ...] = (BASE, FUNCTIONS, PIPELINES)) -> Manifests:
        """All YAML files in the folders below `root`. ManifestError names every problem found."""
        objects: list[Object] = []
        problems: list[str] = []
        for file in sorted(file for folder in folders for file in (root / folder).rglob("*.yaml")):
            place = file.relative_to(root)
            try:
                documents = [document for document in yaml.safe_load_all(file.read_text(encoding="utf-8")) if document]
                abouts = [
                    (raw["apiVersion"], raw["kind"], raw.get("metadata", {}).get("name", "")) for raw in documents
                ]
            except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
                problems.append(f"{place}: not YAML with apiVersion, kind and metadata: {' '.join(str(error).split())}")
                continue
            for raw, (version, kind, name) in zip(documents, abouts, strict=True):
                where = f"{place}: {kind} {name}".rstrip()
                try:
                    if file.name == "kustomization.yaml":
                        made, wrong = _kustomized(file.parent, Kustomization.model_validate(raw))
                        objects += made
                        problems += [f"{where}: {problem}" for problem in wrong]
                    elif (version, kind) in KINDS:
                        objects.append(KINDS[version, kind].model_validate(raw))
                    else:
                        problems.append(f"{where}: not a kind of {version} that is known here")
                except ValidationError as error:
                    problems += [f"{where}: {_sentence(each)}" for each in error.errors()]
        found = cls(tuple(objects))
        problems += found._dangling()
        if problems:
            raise ManifestError(problems)
        return found

    def all(self, kind: type[Kind]) -> dict[str, Kind]:
        """The objects of one kind by name."""
        return {found.name: found for found in self.objects if isinstance(found, kind)}

    def _dangling(self) -> Iterator[str]:
        """Names used twice, and references to objects that are not there."""
        spaces, there = self.all(Namespace), {(o.kind, o.metadata.namespace, o.name) for o in self.objects}
        if len(there) < len(self.objects):
            yield "an object of the same kind, namespace and name is there twice"
        for o in self.objects:
            needs = [("Namespace", "", o.metadata.namespace)] if spaces and o.metadata.namespace else []
            if isinstance(o, Trigger | PingSource):
                broker = o.spec.broker if isinstance(o, Trigger) else o.spec.sink["ref"]["name"]
                needs.append(("Broker", o.metadata.namespace, broker))
            if isinstance(o, Broker):
                needs.append((o.spec.config["kind"], o.spec.config.get("namespace", ""), o.spec.config["name"]))
            yield from (
                f"{o.kind} {o.name}: there is no {kind} {name} in namespace {space or 'none'}"
                for kind, space, name in needs
                if (kind, space, name) not in there
            )
            maps = self.all(ConfigMap) if isinstance(o, Service) else {}
            for variable in o.env if isinstance(o, Service) else ():
                name, key = variable.source or ("", "")
                if name in maps and key not in maps[name].data and not variable.optional:
                    yield f"Service {o.name}: ConfigMap {name} has no key {key}"


def _kustomized(folder: Path, listed: Kustomization) -> tuple[list[Object], list[str]]:
    """The ConfigMaps made out of files, and what the list and the folder do not agree on."""
    wanted = {folder / name for name in listed.resources}
    files = {file for file in folder.rglob("*.yaml") if file.name != "kustomization.yaml"}
    problems = [f"resources: there is no {path.name}" for path in sorted(wanted) if not path.exists()]
    problems += [f"resources: {path.name} is not listed" for path in sorted(files - wanted)]
    made: list[Object] = []
    for generator in listed.config_map_generator:
        pairs = [entry.partition("=")[::2] for entry in generator["files"]]
        data = {key: (folder / path).read_text(encoding="utf-8") for key, path in pairs if (folder / path).is_file()}
        problems += [f"configMapGenerator: there is no {path or key}" for key, path in pairs if key not in data]
        about = Metadata(name=generator["name"], namespace=generator["namespace"])
        made.append(ConfigMap.model_construct(api_version="v1", kind="ConfigMap", metadata=about, data=data))
    return made, problems


def _sentence(error: Any) -> str:
    what = {"extra_forbidden": "unknown field", "missing": "missing"}.get(error["type"], error["msg"])
    path = ".".join(str(step) for step in error["loc"] if step != "[key]")
    return f"{path}: {what.removeprefix('Value error, ')}" if path else what.removeprefix("Value error, ")
