"""Serving for one machine: every Knative Service becomes processes that come with the requests and go when idle.

Kept from Knative: the activator queues while a function is cold, `containerConcurrency` requests at most are in flight
in a process, the autoscaler's stable and panic windows with their default percentages, min-scale, max-scale,
`scale-to-zero-pod-retention-period`, `timeoutSeconds`, readiness by the manifest's probe, and the environment: exactly
what the manifest says, references resolved, a missing one refused. Left out: revisions side by side, traffic splits.

`python -m knative.local.serving CONFIG.json` is run by the supervisor; `Config` below is that file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from knative.local import manifests
from knative.local.children import MARK, die_with_parent, end_group, last_line

#: config-autoscaler's defaults (Knative Serving 1.16).
PANIC_SHARE, PANIC_FACTOR, UNLIMITED_TARGET = 0.1, 2.0, 100

#: What a process inherits from ours beside the manifest's environment: nothing a function may depend on.
INHERITED = ("HOME", "LANG", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY")

#: Seconds: how long a process may take to become ready, to drain, and how long a failed start is not repeated.
START_PATIENCE, DRAIN_PATIENCE, FAILED_PAUSE = 120.0, 10.0, 1.0


class CannotStart(Exception):
    """The function has no process and could not be given one; the message ends with its log's last line."""


class Misconfigured(ValueError):
    """A manifest asks for a ConfigMap or Secret value that is not there; every missing one is named."""


@dataclass(frozen=True, slots=True)
class Config:
    """How to serve. `values`: ConfigMap or Secret name → key → value. `pace`: real seconds for a manifest's second."""

    state: Path
    values: Mapping[str, Mapping[str, str]]
    function_ports: tuple[int, int]
    activator_port: int
    gateway_port: int
    ingress: str
    pace: float = 1.0
    root: Path = manifests.ROOT

    @classmethod
    def read(cls, path: Path) -> Config:
        raw = json.loads(path.read_text(encoding="utf-8"))
        first, last = raw.pop("function_ports")
        state, root = Path(raw.pop("state")), Path(raw.pop("root", manifests.ROOT))
        return cls(state=state, root=root, function_ports=(first, last), **raw)

    def specs(self) -> list[Spec]:
        """Every Service below knative/functions. ManifestError or Misconfigured say what is wrong with them."""
        found = manifests.Manifests.load(self.root, (manifests.FUNCTIONS,)).all(manifests.Service)
        return [Spec.of(service, self) for service in found.values()]


def environment(service: manifests.Service, values: Mapping[str, Mapping[str, str]], mounts: Path) -> dict[str, str]:
    """The variables of the manifest, references resolved and paths below a mount moved into `mounts`.

    Writes the mounted ConfigMaps and Secrets as files, readable by us alone. Misconfigured names all that is missing.
    """
    missing: list[str] = []
    moved: dict[str, Path] = {}
    for mount in service.mounts:
        folder = mounts / service.name / mount.source
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if mount.source not in values:
            missing.append(f"{mount.source} (mounted at {mount.path})")
        for name, text in values.get(mount.source, {}).items():
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o600)
        moved[mount.path] = folder
    result: dict[str, str] = {}
    for variable in service.env:
        value = variable.value
        if variable.source is not None:
            name, key = variable.source
            found = values.get(name, {}).get(key)
            if found is None:
                if not variable.optional:
                    missing.append(f"{name}/{key} ({variable.name})")
                continue
            value = found
        for path, folder in moved.items():
            if value == path or value.startswith(path + "/"):
                value = str(folder) + value.removeprefix(path)
        result[variable.name] = value
    if missing:
        raise Misconfigured(f"{service.name}: no value for " + ", ".join(missing))
    return result


@dataclass(frozen=True, slots=True)
class Spec:
    """What serving needs of one Knative Service. Seconds; `concurrency` 0 is unlimited, `max_scale` 0 too."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    probe: str
    concurrency: int
    target: float
    timeout: float
    min_scale: int
    max_scale: int
    window: float
    retention: float

    @classmethod
    def of(cls, service: manifests.Service, config: Config) -> Spec:
        """Misconfigured where the environment cannot be put together."""
        scaling, concurrency = service.autoscaling, service.pod.container_concurrency
        (container,) = service.pod.containers
        return cls(
            name=service.name,
            command=(*container.command, *container.args),
            environment=environment(service, config.values, config.state / "mounts"),
            probe=container.readiness_probe.http_get.path if container.readiness_probe else "/",
            concurrency=concurrency,
            target=(scaling.target or concurrency or UNLIMITED_TARGET) * scaling.target_utilization_percentage / 100,
            timeout=service.pod.timeout_seconds,
            min_scale=scaling.min_scale,
            max_scale=scaling.max_scale,
            window=scaling.window.total_seconds(),
            retention=scaling.scale_to_zero_pod_retention_period.total_seconds(),
        )

    @property
    def room(self) -> float:
        """Requests one process may have in flight."""
        return self.concurrency or math.inf


@dataclass(eq=False)
class Instance:
    """One process of a function."""

    port: int
    child: asyncio.subprocess.Process | None = None
    ready: bool = False
    leaving: bool = False
    in_flight: int = 0


@dataclass(eq=False)
class Revision:
    """One function: its processes, the requests waiting for one, and the decisions of its autoscaler."""

    spec: Spec
    config: Config
    http: aiohttp.ClientSession
    ports: Iterator[int]
    instances: list[Instance] = field(default_factory=list)
    starts: int = 0
    _waiting: deque[asyncio.Future[Instance]] = field(default_factory=deque)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _samples: deque[tuple[float, float]] = field(default_factory=deque)
    _area: float = 0.0
    _counted: float = field(default_factory=monotonic)
    _sampled: float = field(default_factory=monotonic)
    _busy: float = field(default_factory=monotonic)
    _panic_until: float = 0.0
    _failed: tuple[float, str] = (-math.inf, "")
    _closing: bool = False

    @property
    def log(self) -> Path:
        return self.config.state / "logs" / f"{self.spec.name}.log"

    @property
    def load(self) -> int:
        """Requests in flight and waiting."""
        return sum(i.in_flight for i in self.instances) + len(self._waiting)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[Instance]:
        """A ready process with room for one more request; waits for one, and wakes the function where it sleeps.

        CannotStart where it cannot be woken.
        """
        if self._closing:
            raise CannotStart(f"{self.spec.name} is shutting down")
        if all(i.leaving for i in self.instances):
            at, why = self._failed
            if monotonic() - at < FAILED_PAUSE:
                raise CannotStart(why)
            self._start()
        self._count()
        turn: asyncio.Future[Instance] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._hand_out()
        try:
            instance = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self._give_back(turn.result())
            with contextlib.suppress(ValueError):
                self._waiting.remove(turn)
            raise
        try:
            yield instance
        finally:
            self._give_back(instance)

    def scale(self) -> None:
        """One decision of the autoscaler; call it about once a second."""
        now, pace, spec = monotonic(), self.config.pace, self.spec
        self._count()
        if now > self._sampled:
            self._samples.append((now, self._area / (now - self._sampled)))
            self._area, self._sampled = 0.0, now
        while self._samples and self._samples[0][0] < now - spec.window * pace:
            self._samples.popleft()
        recent = now - max(spec.window * PANIC_SHARE, 1.0) * pace
        stable, panic = _mean(v for _, v in self._samples), _mean(v for at, v in self._samples if at >= recent)
        running = [i for i in self.instances if not i.leaving]
        if running and panic >= PANIC_FACTOR * spec.target * len(running):
            self._panic_until = now + spec.window * pace
        want = math.ceil(stable / spec.target)
        if now < self._panic_until:
            want = max(want, math.ceil(panic / spec.target), len(running))
        if self.load or now - self._busy < (spec.window + spec.retention) * pace:
            want = max(want, min(len(running), 1))
        want = min(max(want, spec.min_scale), spec.max_scale or sys.maxsize)
        if len(running) < want and now - self._failed[0] > FAILED_PAUSE:
            for _ in range(want - len(running)):
                self._start()
        for instance in sorted(running, key=lambda i: (i.ready, i.in_flight))[: max(len(running) - want, 0)]:
            instance.leaving = True
            self._spawn(self._retire(instance))

    def wake(self) -> None:
        """Start the first process, as Knative does for a new revision (initial-scale 1)."""
        if not self.instances:
            self._start()

    async def close(self) -> None:
        """No new requests; those in flight get DRAIN_PATIENCE seconds; then no process is left."""
        self._closing = True
        self._refuse(f"{self.spec.name} is shutting down")
        leaving = [i for i in self.instances if not i.leaving]
        for instance in leaving:
            instance.leaving = True
        await asyncio.gather(*(self._retire(i) for i in leaving))
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self) -> None:
        if not self._closing:
            instance = Instance(next(self.ports))
            self.instances.append(instance)
            self._spawn(self._run(instance))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, instance: Instance) -> None:
        """The life of one process, from start to exit."""
        spec, self.starts = self.spec, self.starts + 1
        folder = Path(sys.executable).parent
        env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        env |= {k: v for k, v in os.environ.items() if k.startswith("COVERAGE_")}
        env |= {
            "PATH": f"{folder}:{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(manifests.ROOT),
            "PORT": str(instance.port),
            "HOST": "127.0.0.1",
            "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{instance.port}",
            "K_SERVICE": spec.name,
            MARK: str(self.config.state),
            **spec.environment,
        }
        why = "it was not ready in time"
        try:
            with self.log.open("ab") as log:
                instance.child = await asyncio.create_subprocess_exec(
                    *spec.command,
                    env=env,
                    cwd=manifests.ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            gone = asyncio.ensure_future(instance.child.wait())
            probing = asyncio.ensure_future(self._until_ready(instance))
            await asyncio.wait({gone, probing}, timeout=START_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            probing.cancel()
            if instance.ready:
                self._hand_out()
                await gone
            if gone.done():
                why = f"exit {gone.result()}, {last_line(self.log)}"
            end_group(instance.child.pid)
            await gone
        except OSError as error:
            why = str(error)
        self.instances.remove(instance)
        if not instance.leaving:
            what = "ended" if instance.ready else "did not start"
            notice(f"{spec.name} {what}: {why} (log: {self.log})")
            if not instance.ready:
                self._failed = (monotonic(), f"{spec.name} did not start: {why}")
        if self._waiting and all(i.leaving for i in self.instances):
            if instance.ready or instance.leaving:
                self._start()
            else:
                self._refuse(self._failed[1])

    async def _until_ready(self, instance: Instance) -> None:
        while not instance.ready:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with self.http.get(f"http://127.0.0.1:{instance.port}{self.spec.probe}") as answer:
                    instance.ready = answer.status == 200
            await asyncio.sleep(0 if instance.ready else 0.03)

    async def _retire(self, instance: Instance) -> None:
        """Drain a process that gets no more requests, then end it: SIGTERM, and SIGKILL if that is not enough."""
        patience = DRAIN_PATIENCE if self._closing else self.spec.timeout
        deadline = monotonic() + patience
        while (instance.in_flight or not instance.child) and instance in self.instances and monotonic() < deadline:
            await asyncio.sleep(0.02)
        if instance.child:
            with contextlib.suppress(ProcessLookupError):
                instance.child.terminate()
            try:
                await asyncio.wait_for(instance.child.wait(), DRAIN_PATIENCE)
            except TimeoutError:
                end_group(instance.child.pid)

    def _hand_out(self) -> None:
        while self._waiting:
            free = [i for i in self.instances if i.ready and not i.leaving and i.in_flight < self.spec.room]
            if not free:
                return
            turn = self._waiting.popleft()
            if not turn.done():
                instance = min(free, key=lambda i: i.in_flight)
                instance.in_flight += 1
                turn.set_result(instance)

    def _give_back(self, instance: Instance) -> None:
        self._count()
        instance.in_flight -= 1
        self._busy = monotonic()
        self._hand_out()

    def _refuse(self, why: str) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(CannotStart(why))

    def _count(self) -> None:
        now = monotonic()
        self._area += self.load * (now - self._counted)
        self._counted = now


def free_ports(first: int, last: int) -> Iterator[int]:
    """Loopback ports from the range that nobody listens on, round and round. CannotStart where all are taken."""
    port = last
    while True:
        for _ in range(first, last + 1):
            port = port + 1 if port < last else first
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
                break
        else:
            raise CannotStart(f"no free port between {first} and {last}")
        yield port


def notice(text: str) -> None:
    """A line for the person at the supervisor's terminal."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
