"""What the tests of the pipeline functions share: analyses in any state, their events, the real folders.

A plugin (`pytest_plugins = ["tests.steps"]`): one migrated database for all of them, emptied before each test.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import functions_framework
import pytest
import redis
from flask import Flask
from PIL import Image

from functions.shared import naming, outbox, wire
from functions.shared.config import load as load_settings
from functions.shared.events import Event, Payload, PhotoIngested
from functions.shared.memory import Memory
from functions.shared.objects import Objects
from functions.shared.postgres import Database
from functions.shared.revocations import Revocations
from functions.shared.tokens import new_pair
from knative.local.parts import Addresses
from tests.conftest import copied

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions"


def load(function: str) -> Flask:
    """The real `functions/<function>/main.py`, with the environment as it is now."""
    app: Flask = functions_framework.create_app("main", str(FUNCTIONS / function / "main.py"), "http")
    return app


class OnlyDatabase:
    """Deps of a function that needs nothing else."""

    def __init__(self, db: Database) -> None:
        self.db = db

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        raise NotImplementedError

    def ping(self) -> None:
        self.db.ping()

    def close(self) -> None:
        self.db.close()


@dataclass(frozen=True)
class Reply:
    """What a function answered: the HTTP status, and the event where it said one."""

    status: int
    event: Event[Any] | None


def deliver(app: Flask, event: Event[Any]) -> Reply:
    """Send `event` as the broker would."""
    headers, body = wire.to_http(event)
    answer = app.test_client().post("/", data=body, headers=headers)
    reply = wire.parse(dict(answer.headers), answer.get_data()) if answer.headers.get("ce-id") else None
    return Reply(answer.status_code, reply)


def deliver_at_once(app: Flask, *events: Event[Any]) -> list[Reply]:
    """Send them all at the same time."""
    with ThreadPoolExecutor(len(events)) as pool:
        return list(pool.map(lambda event: deliver(app, event), events))


class Ingress:
    """A broker's door that only collects: `sent` holds every request; `open` False answers 503 instead of 202."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.open = True
        self.sent: list[tuple[dict[str, str], bytes]] = []

    @property
    def events(self) -> list[Event[Any]]:
        return [wire.parse(headers, body) for headers, body in self.sent]

    def take(self) -> list[Event[Any]]:
        """Everything sent so far, and forget it."""
        events = self.events
        self.sent.clear()
        return events


class Provider:
    """A provider of models that says what a test puts into `answers`, last one for good, and keeps every request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[dict[str, Any]] = []

    def says(self, content: Any, *, finish: str = "stop", **message: Any) -> None:
        """Next, a chat completion with this content (a JSON value, or text as it is)."""
        text = content if isinstance(content, str) or content is None else json.dumps(content, ensure_ascii=False)
        said = {"role": "assistant", "content": text, "refusal": None, **message}
        choice = {"index": 0, "message": said, "finish_reason": finish, "logprobs": None}
        usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
        whole = {"id": "c", "object": "chat.completion", "created": 0, "choices": [choice], "usage": usage}
        self.answers.append((200, {**whole, "model": "gpt-4o-2024-08-06", "system_fingerprint": "fp_1"}))

    def fails(self, status: int, code: str) -> None:
        """Next, an error in OpenAI's form."""
        self.answers.append((status, {"error": {"message": code, "type": "x", "param": None, "code": code}}))


@contextmanager
def scripted_provider(embed: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> Iterator[Provider]:
    """A Provider on a free loopback port; `embed` answers every request in place of the script."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            provider.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            if embed:
                status, answer = 200, embed(provider.asked[-1])
            else:
                status, answer = provider.answers.pop(0) if len(provider.answers) > 1 else provider.answers[0]
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    provider = Provider(f"http://127.0.0.1:{server.server_port}/v1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield provider
    server.shutdown()
    server.server_close()


@contextmanager
def collecting_ingress() -> Iterator[Ingress]:
    """An Ingress that listens on a free loopback port."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if ingress.open:
                ingress.sent.append((dict(self.headers.items()), body))
            self.send_response(202 if ingress.open else 503)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    ingress = Ingress(f"http://127.0.0.1:{server.server_port}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield ingress
    server.shutdown()
    server.server_close()


class World:
    """The database as a test sees it: it arranges analyses and looks at what became of them."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def analysis(self, status: str = "requested", **columns: Any) -> str:
        """A new analysis of a new guest; further columns by name."""
        user, analysis = uuid.uuid4(), uuid.uuid4()
        values = {
            "id": analysis,
            "user_id": user,
            "status": status,
            "key": naming.upload_key(analysis, columns.get("content_type", "image/jpeg")),
            "content_type": "image/jpeg",
            "correlation_id": f"test-{analysis}",
            **columns,
        }
        names, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
        with self.db.transaction() as tx:
            tx.execute("INSERT INTO users (id, kind, consent_at) VALUES (%s, 'guest', now())", (user,))
            tx.execute(f"INSERT INTO analyses ({names}) VALUES ({places})", values)
        return str(analysis)

    def key(self, analysis: str) -> str:
        return str(self.row("SELECT key FROM analyses WHERE id = %s", analysis)["key"])

    def said(self, analysis: str, data: Payload, *, by: str = "waste", stored: bool = True) -> Event[Payload]:
        """An event of the analysis, in the outbox unless `stored` is false."""
        event = Event(
            id=str(uuid.uuid4()),
            source=naming.source(by),
            subject=analysis,
            data=data,
            time=datetime.now(UTC),
            correlation_id=f"test-{analysis}",
        )
        if stored:
            with self.db.transaction() as tx:
                outbox.append(tx, event)
        return event

    def ingested(self, objects: Objects, **columns: Any) -> tuple[Event[PhotoIngested], str]:
        """An analysis with a photo like no other; what ingest said of it, and the sha256 of the copy for the model."""
        analysis = self.analysis("ingested", **columns)
        noise = random.Random(analysis)
        buffer = io.BytesIO()
        Image.frombytes("RGB", (64, 64), noise.randbytes(64 * 64 * 3)).save(buffer, "JPEG")
        body, key = buffer.getvalue(), naming.photo_key(uuid.UUID(analysis), "model")
        objects.put(key, body, "image/jpeg")
        photo = uuid.uuid4()
        self.do(
            """INSERT INTO photos
                   (id, analysis_id, user_id, kind, kept_key, model_key, sha256, phash, width, height, bytes)
               SELECT %s, id, user_id, 'before', 'kept', %s, 's', 'p', 64, 64, 1 FROM analyses WHERE id = %s""",
            photo,
            key,
            analysis,
        )
        said = PhotoIngested(photo_id=str(photo), sha256="s", width=64, height=64)
        event = self.said(analysis, said, by="ingest")
        return event, hashlib.sha256(body).hexdigest()  # type: ignore[return-value]

    def proof(self, analysis: str, status: str = "requested", attempt: int = 1, **columns: Any) -> str:
        """A proof of an analysis (unless it is `presigned`, requested); further columns by name."""
        key = naming.upload_key(uuid.UUID(analysis), "image/jpeg", attempt)
        proof = naming.child_id(naming.source("presign"), analysis, f"proof:{attempt}")
        values = {
            "id": proof,
            "analysis_id": analysis,
            "attempt": attempt,
            "status": status,
            "key": key,
            "content_type": "image/jpeg",
            "round": 1,
            "requested_at": None if status == "presigned" else datetime.now(UTC),
            "finished_at": datetime.now(UTC) if status in ("graded", "refused") else None,
            **columns,
        }
        names, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
        with self.db.transaction() as tx:
            tx.execute(
                f"""INSERT INTO proofs (user_id, {names})
                    SELECT user_id, {places} FROM analyses WHERE id = %(analysis_id)s""",
                values,
            )
        return proof

    def proof_state(self, proof: str) -> dict[str, Any]:
        return self.row("SELECT * FROM proofs WHERE id = %s", proof)

    def question(self, analysis: str, n: int = 1, status: str = "asked") -> str:
        """Question number `n` about the guide of round 1."""
        question = str(uuid.uuid4())
        self.do(
            "INSERT INTO questions (id, analysis_id, n, round, text, status) VALUES (%s, %s, %s, 1, '뚜껑은요?', %s)",
            question,
            analysis,
            n,
            status,
        )
        return question

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self.db.transaction() as tx:
            return tx.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> dict[str, Any]:
        (only,) = self.rows(query, *values)
        return only

    def state(self, analysis: str) -> dict[str, Any]:
        return self.row("SELECT * FROM analyses WHERE id = %s", analysis)

    def types(self, analysis: str) -> list[str]:
        """Types of everything the analysis said so far, without the common prefix."""
        rows = self.rows("SELECT type FROM analysis_events WHERE analysis_id = %s ORDER BY n", analysis)
        return [row["type"].removeprefix(f"{naming.EVENT_PREFIX}.") for row in rows]

    def do(self, statement: str, *values: Any) -> int:
        with self.db.transaction() as tx:
            return tx.execute(statement, values).rowcount


@pytest.fixture(scope="session")
def pipeline_database(servers: Addresses, indexed_url: str) -> str:
    """A database of the pipeline tests' own, with the real rules in it, which are found by their names there."""
    return copied(servers, indexed_url)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys that sign and verify: private.pem, public/<kid>.pem."""
    folder = tmp_path_factory.mktemp("keys")
    new_pair(folder / "private.pem", folder / "public")
    return folder


@pytest.fixture(scope="module")
def users_app(pipeline_database: str, redis_url: str, keys: Path) -> Flask:
    """`users`, which believes what `keys` sign."""
    from functions.users.routes import create
    from functions.users.settings import Settings

    environ = {
        "DATABASE_URL": pipeline_database,
        "REDIS_URL": redis_url,
        "RATE_LIMIT_PER_MINUTE": "100000",
        "JWT_PUBLIC_KEYS_DIR": str(keys / "public"),
    }
    return create(load_settings(Settings, environ))


@pytest.fixture
def world(pipeline_database: str) -> Iterator[World]:
    """That database, empty but for the rules."""
    db = Database(pipeline_database, pool_size=12)
    with db.transaction() as tx:
        tx.execute("TRUNCATE users, claims, dead_letters CASCADE")
    yield World(db)
    db.close()


@pytest.fixture
def objects(servers: Addresses) -> Objects:
    """The object store as the functions see it."""
    return Objects(
        endpoint=servers.s3_endpoint,
        region=servers.s3_region,
        bucket=servers.bucket,
        access_key=servers.s3_access_key,
        secret_key=servers.s3_secret_key,
    )


@pytest.fixture
def pipeline_env(pipeline_database: str, servers: Addresses, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Every service a pipeline function needs, in the environment; the cache is empty."""
    cache = servers.redis_url.rpartition("/")[0] + "/7"
    redis.Redis.from_url(cache).flushdb()
    Revocations(Memory(cache)).now()  # what a test signs from here on is not older than the list of refused tokens
    env = {
        "DATABASE_URL": pipeline_database,
        "POOL_SIZE": "12",
        "REDIS_URL": cache,
        "S3_ENDPOINT": servers.s3_endpoint,
        "S3_REGION": servers.s3_region,
        "S3_BUCKET": servers.bucket,
        "AWS_ACCESS_KEY_ID": servers.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": servers.s3_secret_key,
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env
