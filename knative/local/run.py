"""`make run`: start everything at once, keep it alive, show that it works, and leave nothing behind.

The servers (parts.py), the stand-ins for the model and for the public data on centres, the broker (eventing.py) and
serving are children of this one process; each dies with it, however it dies, and each that dies is started again.
Where they are stands in `<state>/run.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from functions.shared import tokens
from functions.shared.embeddings import E5
from knative.local import centres, client, manifests, sample
from knative.local.children import MARK, end_group, last_line, sweep, write_private
from knative.local.packages import PackagesError
from knative.local.parts import Part, PartError, Parts, Ports
from knative.local.serving import INHERITED

SAMPLE_QUESTION = "이 페트병은 어떻게 버려요? 뚜껑도 떼야 하나요?"
FUNCTION_PORTS = 100

#: Variables of ours that are taken from the environment where they are set there.
OURS = ("OPENAI_", "EMBEDDING_", "MODEL_", "CENTRES_", "LOG_", "OTEL_")

#: Seconds until every function must have answered, and until the first sign of life while we wait (then 4, 8, 16).
PATIENCE, SIGN = 120.0, 2.0

#: Seconds to end by itself: for what is still starting (RabbitMQ listens to nobody then), and for what has answered.
PATIENCE_AT_END = (2.0, 15.0)

TROUBLE = (PartError, PackagesError, manifests.ManifestError, client.Refused, OSError)


class Stopped(Exception):
    """Somebody wants us to end."""


class Program(Part):
    """One of our own processes, looked after like the servers. `variable` moves its port."""

    module: ClassVar[str]
    path: ClassVar[str] = "/healthz"

    def __init__(self, state: Path, listens: tuple[int, ...], *arguments: object) -> None:
        super().__init__(state, listens, f"http://127.0.0.1:{listens[0]}", {})
        self._arguments = [str(argument) for argument in arguments]

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        inherited = {k: v for k, v in os.environ.items() if k in INHERITED or k.startswith("COVERAGE_")}
        environment = inherited | {"PYTHONPATH": str(manifests.ROOT), "HOME": str(self.folder)}
        return [sys.executable, "-m", f"knative.local.{self.module}", *self._arguments], environment

    def check(self) -> None:
        fetch(self.url + self.path)

    def _await_free(self, port: int) -> None:
        try:
            super()._await_free(port)
        except PartError:
            way = f"{self.variable}=<another number>"
            raise PartError(f"Port {port} is in use by another program: stop that, or say {way}.") from None


class Model(Program):
    name, variable, module = "model", "PORT_BASE", "model"


class Centres(Program):
    name, variable, module = "centres", "PORT_BASE", "centres"


class Eventing(Program):
    name, variable, module = "eventing", "PORT_BASE", "eventing"


class Serving(Program):
    """`listens`: the activator's port, the gateway's."""

    name, variable, module, path = "serving", "PORT", "gateway", "/revisions"


def fetch(url: str, host: str | None = None) -> bytes:
    """GET on loopback; OSError (HTTPError with its status) for everything but a good answer."""
    request = urllib.request.Request(url, headers={"Host": host} if host else {})  # noqa: S310 - our own http addresses
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return bytes(answer.read())


@dataclass
class Supervisor:
    """Everything that runs on one machine. `overrides` replace values of the ConfigMap `platform`."""

    state: Path
    ports: Ports
    overrides: Mapping[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        os.environ[MARK] = str(self.state)  # whatever is started from here on can be found again
        self.objects, at = manifests.Manifests.load(), self.ports
        hook = f"http://127.0.0.1:{at.activator}/hooks/s3"
        self.parts = Parts(self.state, at, hook, os.environ, self._tell)
        names = {"PostgreSQL": "postgres", "Valkey": "redis", "RabbitMQ": "rabbitmq", "SeaweedFS": "s3"}
        self.children: dict[str, Part] = {names[name]: part for name, part in self.parts.each.items()}
        if not (os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")):
            files = ("--journal", self.state / "model" / "journal", "--vectors", self.state / "vectors" / "e5.sqlite")
            self.children["model"] = Model(self.state, (at.model,), "--port", at.model, *files)
        if not (os.environ.get("CENTRES_API_KEY") or os.environ.get("CENTRES_API_URL")):
            self.children["centres"] = Centres(self.state, (at.centres,), "--port", at.centres)
        amqp, activator = self.parts.addresses.amqp_url, f"http://127.0.0.1:{at.activator}"
        eventing = ("--amqp-url", amqp, "--port", at.ingress, "--manifests", manifests.ROOT, "--resolve", activator)
        self.children["eventing"] = Eventing(self.state, (at.ingress,), *eventing)
        self.children["serving"] = Serving(self.state, (at.activator, at.gateway), self.state / "serving.json")
        self._steps: dict[str, float] = {}
        self._ready: set[str] = set()
        self._reviving: set[str] = set()
        self._heard = 0
        self._writing = threading.Lock()

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.ports.gateway}"

    def say(self, text: str) -> None:
        """A line for the person at the terminal. Where they closed our output they are gone, and so are we, soon."""
        try:
            print(text, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            self.stopping.set()

    def start(self) -> None:
        """Everything at once; returns when every function has answered. TROUBLE says what is wrong."""
        self._configure()
        log = self.children["serving"].log
        self._heard = log.stat().st_size if log.exists() else 0
        failures: list[Exception] = []
        started: dict[str, threading.Thread] = {}
        for name in self.children:  # the broker after RabbitMQ, which may have to be fetched first
            after = [started["rabbitmq"]] if name == "eventing" else []
            started[name] = self._thread(partial(self._bring, name, after), failures)
        known = [started[name] for name in ("postgres", "model") if name in started]
        self._await([*started.values(), self._thread(partial(self._data, known), failures)], failures)
        services = self.objects.all(manifests.Service)
        self._await([self._thread(partial(self._answers, name), failures) for name in services], failures)
        self._tell(f"{len(services)} functions answer")
        self._write_run()

    def watch(self) -> None:
        """Until somebody stops us: start again what dies, pass on what serving has to say."""
        while not self.stopping.wait(0.2):
            self._pass_on()
            for name, part in self.children.items():
                if not part.given and part.pid is None and name not in self._reviving:
                    self._reviving.add(name)
                    self._thread(partial(self._revive, name), [])

    def stop(self) -> None:
        """End everything, the doors first, and see that nothing is left."""
        self.stopping.set()
        for names in (("serving",), ("eventing", "model", "centres"), ("postgres", "redis", "rabbitmq", "s3")):
            ending = []
            for name in (name for name in names if name in self.children):
                patience = PATIENCE_AT_END[name in self._ready]
                ending.append(self._thread(partial(self.children[name].stop, patience), []))
            for thread in ending:
                thread.join()
        sweep(self.state)
        (self.state / "run.json").unlink(missing_ok=True)

    def _configure(self) -> None:
        """What the manifests leave to the platform: addresses, Secrets and keys, in a file for serving alone."""
        maps = {name: dict(found.data) for name, found in self.objects.all(manifests.ConfigMap).items()}
        at, platform = self.parts.addresses, maps["platform"]
        platform |= {
            "BROKER_URL": f"http://127.0.0.1:{self.ports.ingress}/",
            "S3_ENDPOINT": at.s3_endpoint,
            "S3_PUBLIC_ENDPOINT": at.s3_endpoint,
            "S3_REGION": at.s3_region,
            "S3_BUCKET": at.bucket,
            "GUESTS_PER_HOUR": "1000",  # on one machine everybody comes from one address: every `make analyze`, a bench
        }
        if "model" in self.children:
            platform["OPENAI_BASE_URL"] = f"http://127.0.0.1:{self.ports.model}/v1"
            platform |= {"OPENAI_MODEL": "waste-coach-standin-1", "EMBEDDING_MODEL": E5}
        if "centres" in self.children:
            platform["CENTRES_API_URL"] = f"http://127.0.0.1:{self.ports.centres}{centres.PATH}"
        platform |= {name: os.environ[name] for name in platform if name.startswith(OURS) and os.environ.get(name)}
        if unknown := self.overrides.keys() - platform.keys():
            raise PartError(f"The ConfigMap platform has no {', '.join(sorted(unknown))} to override.")
        platform |= self.overrides
        private, public = self.state / "keys" / "private.pem", self.state / "keys" / "public"
        if not private.exists():
            tokens.new_pair(private, public)
        self._values: dict[str, dict[str, str]] = maps | {
            "postgres": {"DATABASE_URL": at.database_url},
            "redis": {"REDIS_URL": at.redis_url},
            "s3": {"AWS_ACCESS_KEY_ID": at.s3_access_key, "AWS_SECRET_ACCESS_KEY": at.s3_secret_key},
            "openai": {"OPENAI_API_KEY": os.environ.get("OPENAI_API_KEY") or "none"},
            "centres": {"CENTRES_API_KEY": os.environ.get("CENTRES_API_KEY", "")},
            "jwt-private": {"private.pem": private.read_text()},
            "jwt-public": {file.name: file.read_text() for file in public.glob("*.pem")},
        }
        for name in self.objects.all(manifests.Service):  # a key and a role of its own in the cluster, everybody's here
            self._values |= {f"postgres-{name}": self._values["postgres"], f"s3-{name}": self._values["s3"]}
        config = {
            "state": str(self.state),
            "values": self._values,
            "function_ports": [self.ports.functions, self.ports.functions + FUNCTION_PORTS - 1],
            "activator_port": self.ports.activator,
            "gateway_port": self.ports.gateway,
            "ingress": platform["BROKER_URL"],
        }
        write_private(self.state / "serving.json", json.dumps(config))

    def _bring(self, name: str, after: list[threading.Thread]) -> None:
        for thread in after:
            thread.join()
        with self._step(self.children[name].name):
            self.children[name].start()
            self.children[name].wait_ready(PATIENCE)
        self._ready.add(name)
        self._tell(f"{self.children[name].name} answers")

    def _data(self, after: list[threading.Thread]) -> None:
        for thread in after:
            thread.join()
        for command, what in (("migrate", "database schema"), ("index", "index of the rules")):
            with self._step(what):
                self._setup(command)
        self._tell("the database and the index of the rules are up to date")

    def _answers(self, name: str) -> None:
        """Wait until function `name` reaches everything it needs."""
        host, deadline = f"{name}.growbin.svc.cluster.local", time.monotonic() + PATIENCE
        with self._step(name):
            while not self.stopping.is_set():
                try:
                    fetch(f"http://127.0.0.1:{self.ports.activator}/readyz", host)
                    return
                except urllib.error.HTTPError as error:
                    why = error.read(500).decode(errors="replace").strip()
                except OSError as error:
                    why = str(error)
                if "did not start" in why or time.monotonic() > deadline:
                    raise PartError(f"Function {name} does not answer: {why} (log: {self.state}/logs/{name}.log).")
                self.stopping.wait(0.1)

    def _setup(self, command: str) -> None:
        log = self.state / "logs" / "setup.log"
        with log.open("ab") as output:
            done = subprocess.run(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "functions.setup", command],
                cwd=manifests.ROOT, env=os.environ | self._flat(), stdout=output, stderr=output, check=False,
            )  # fmt: skip
        if done.returncode:
            raise PartError(f"`functions.setup {command}` failed: {last_line(log)} (log: {log}).")

    def _revive(self, name: str) -> None:
        part = self.children[name]
        self._tell(f"{part.name} has ended; starting it again")
        while not self.stopping.is_set():
            try:
                part.start()
                part.wait_ready()
                self._tell(f"{part.name} answers again")
                self._write_run()
                break
            except TROUBLE as error:
                self._tell(str(error))
                self.stopping.wait(2)
        self._reviving.discard(name)

    def _pass_on(self) -> None:
        with contextlib.suppress(OSError), self.children["serving"].log.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._heard)
            for line in log.read().splitlines():
                self.say(f"  {line}")
            self._heard = log.tell()

    def _flat(self) -> dict[str, str]:
        """What the functions are told, as one environment for the tools beside them."""
        names = ("platform", "postgres", "redis", "s3", "openai")
        return {key: value for name in names for key, value in self._values[name].items()}

    def _write_run(self) -> None:
        """Where everything is, for the commands beside us: addresses, pids by name, and the functions' environment."""
        at = self.ports
        with self._writing:
            run = {
                "pid": os.getpid(),
                "gateway": self.gateway,
                "activator": f"http://127.0.0.1:{at.activator}",
                "ingress": f"http://127.0.0.1:{at.ingress}/",
                "model": f"http://127.0.0.1:{at.model}" if "model" in self.children else None,
                "amqp_url": self.parts.addresses.amqp_url,
                "database_url": self.parts.addresses.database_url,
                "redis_url": self.parts.addresses.redis_url,
                "pids": {name: part.pid for name, part in self.children.items()},
                "env": self._flat(),
            }
            write_private(self.state / "run.json", json.dumps(run, indent=2))

    def _thread(self, work: Callable[[], None], failures: list[Exception]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def _await(self, threads: list[threading.Thread], failures: list[Exception]) -> None:
        said, pause = time.monotonic(), SIGN
        while (alive := [thread for thread in threads if thread.is_alive()]) and not failures:
            if self.stopping.is_set():
                raise Stopped
            alive[0].join(0.1)
            if time.monotonic() - said > pause:
                said, pause = time.monotonic(), min(pause * 2, 16)
                steps = [f"{what} ({said - since:.0f} s)" for what, since in list(self._steps.items())]
                self._tell(f"  still at it: {', '.join(steps)}")
        self._pass_on()
        if failures:
            self.stopping.set()
            raise failures[0]

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        self._steps[what] = time.monotonic()
        try:
            yield
        finally:
            self._steps.pop(what, None)

    def _tell(self, text: str) -> None:
        if not self.stopping.is_set():
            self.say(f"[{time.monotonic() - self.began:5.1f} s] {text}")


@contextlib.contextmanager
def only_one(state: Path) -> Iterator[bool]:
    """True while no other run uses this state folder, and then for as long as the context lasts."""
    state.mkdir(parents=True, exist_ok=True)
    path = state / "lock"
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        path.unlink(missing_ok=True)


def running(state: Path) -> dict[str, Any]:
    """`run.json` of the system that runs in `state`. Refused where none does."""
    with contextlib.suppress(FileNotFoundError), (state / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return dict(json.loads((state / "run.json").read_text(encoding="utf-8")))
    raise client.Refused("Nothing is running here: start it with `make run`.")


def analyze(gateway: str, photo: Path, question: str | None, say: Callable[[str], None]) -> bool:
    """Send a photo through the public API and say what comes back; whether it was a guide, or a question to answer."""
    try:
        result = asyncio.run(client.analyze(gateway, photo, question, say))
    except TimeoutError:
        raise client.Refused(f"The analysis had not ended after {client.PATIENCE:.0f} s.") from None
    say("\n" + client.rendered(result) + "\n")
    return result["guide"] is not None or result["clarify"] is not None


def _port(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 65000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: PORT and PORT_BASE are numbers from 1024 to 65000")
    return int(text)


def main(arguments: list[str]) -> int:
    """`run`: 0 after a good end, 1 with one sentence on stderr otherwise."""
    parser = argparse.ArgumentParser(prog="python -m knative.local run", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".local"))
    parser.add_argument("--port", type=_port, help="of the page and the public API (8080)", default=8080)
    parser.add_argument("--base-port", type=_port, default=os.environ.get("PORT_BASE", "18000"))
    parser.add_argument("--overrides", type=Path, help="JSON file: values of the ConfigMap platform to replace")
    parser.add_argument("--once", action="store_true", help="stop after the sample")
    parser.add_argument("--no-sample", action="store_true")
    given = parser.parse_args(arguments)
    state: Path = given.state.resolve()
    with only_one(state) as alone:
        if not alone:
            print(f"It is already running in {state}: stop that one first (Ctrl-C), or use it.", file=sys.stderr)
            return 1
        sweep(state)
        (state / "run.json").unlink(missing_ok=True)
        ports = dataclasses.replace(Ports.from_base(given.base_port), gateway=given.port)
        supervisor: Supervisor | None = None
        try:
            overrides = json.loads(given.overrides.read_text()) if given.overrides else {}
            supervisor = Supervisor(state, ports, overrides)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda *_: supervisor.stopping.set())
            return _run(supervisor, once=given.once, with_sample=not given.no_sample)
        except Stopped:
            print("Stopping …")
            return 1 if given.once else 0
        except TROUBLE as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            if supervisor:
                supervisor.stop()


def _run(supervisor: Supervisor, *, once: bool, with_sample: bool) -> int:
    supervisor.start()
    guided = True
    if with_sample:
        photo = supervisor.state / "sample.jpg"
        if not photo.exists():
            photo.write_bytes(sample.jpeg())
        supervisor.say(f"\nThe sample photo ({photo}), asked: {SAMPLE_QUESTION}")
        guided = analyze(supervisor.gateway, photo, SAMPLE_QUESTION, supervisor.say)
    if once:
        return 0 if guided else 1
    supervisor.say(f"The page: {supervisor.gateway}/   (Ctrl-C stops everything)")
    supervisor.watch()
    supervisor.say("Stopping …")
    return 0


class ClusterError(Exception):
    """The local cluster did not come up; the message ends with what it said."""


def share(state: Path) -> None:
    """Let `state` use what was fetched and embedded once: the packages and vectors of `.local`."""
    state.mkdir(parents=True, exist_ok=True)
    for name in ("debian", "vectors"):
        common = manifests.ROOT / ".local" / name
        common.mkdir(parents=True, exist_ok=True)
        if not (state / name).exists():
            (state / name).symlink_to(common)


class LocalCluster:
    """The whole system for tests: `with LocalCluster(state, base_port) as cluster: cluster.run["gateway"] …`.

    It is the same supervisor in a process of its own, without the sample; `overrides` replace values of the ConfigMap
    `platform`. Servers of the machine's user (DATABASE_URL, OPENAI_API_KEY …) are not touched; AMQP_URL is used.
    """

    def __init__(self, state: Path, base_port: int, overrides: Mapping[str, str] | None = None) -> None:
        self.state, self.base_port, self.overrides = state.resolve(), base_port, dict(overrides or {})
        self.output = self.state / "logs" / "run.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def run(self) -> dict[str, Any]:
        """`run.json` as it stands now: gateway, activator, ingress, model, database_url, pids, env …"""
        return running(self.state)

    def __enter__(self) -> LocalCluster:
        self.output.parent.mkdir(parents=True, exist_ok=True)
        overrides = self.state / "overrides.json"
        overrides.write_text(json.dumps(self.overrides))
        others = {"DATABASE_URL", "REDIS_URL", "S3_ENDPOINT", "OPENAI_API_KEY", "OPENAI_BASE_URL"}
        others |= {"CENTRES_API_KEY", "CENTRES_API_URL"}
        environment = {name: value for name, value in os.environ.items() if name not in others}
        command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "knative.local", "run", "--no-sample"]
        command += ["--state", str(self.state), "--overrides", str(overrides)]
        command += ["--base-port", str(self.base_port), "--port", str(Ports.from_base(self.base_port).gateway)]
        share(self.state)
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=manifests.ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        while self._process.poll() is None:
            with contextlib.suppress(client.Refused):
                if self.run["pid"] == self._process.pid:
                    return self
            time.sleep(0.1)
        raise ClusterError(f"{last_line(self.output)} (all of it: {self.output})")

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(60)
            finally:
                self._process.kill()

    def pids(self, name: str) -> list[int]:
        """Processes of a child (postgres, redis, rabbitmq, s3, model, eventing, serving) or of a function."""
        run = self.run
        if name in run["pids"]:
            return [run["pids"][name]] if run["pids"][name] else []
        return list(json.loads(fetch(run["activator"] + "/revisions"))[name]["pids"])

    def kill(self, name: str) -> list[int]:
        """SIGKILL those processes and what they started; answers their pids. They come back by themselves."""
        pids = self.pids(name)
        for pid in pids:
            end_group(pid)
        return pids
