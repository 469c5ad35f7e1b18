"""Every HTTP function at once behind one WSGI door, as the gateway lays them out, on real servers."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import Client

from functions.shared.config import load
from functions.shared.tokens import Signer, new_pair
from knative.local import manifests, openapi
from knative.local.centres import PATH
from knative.local.gateway import Routes
from knative.local.parts import Addresses
from tests.documented import Answered, Document
from tests.steps import collecting_ingress
from tests.waiting import PATIENCE, until_it_answers

ROOT = Path(__file__).parents[1]
#: Nobody answers there: searching does without meaning.
NOBODY = "http://127.0.0.1:9/v1"


class Townhall:
    """The WSGI app. `asked` counts requests by function."""

    def __init__(self, apps: Mapping[str, Flask], signer: Signer, document: Document) -> None:
        self.apps, self._signer, self.document = apps, signer, document
        self.asked: Counter[str] = Counter()
        self._routes = Routes.load(ROOT / manifests.BASE / "routes.yaml")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        name = self._routes.function(environ["PATH_INFO"])
        assert name, environ["PATH_INFO"]
        self.asked[name] += 1
        environ["HTTP_X_FORWARDED_FOR"] = "192.0.2.7"
        return self.apps[name](environ, start_response)

    def token(self, user: str | uuid.UUID) -> str:
        """A token of that user, as `auth` signs it."""
        return self._signer.issue(uuid.UUID(str(user))).token

    def ask(self, method: str, path: str, body: Any = None, *, token: str = "", **headers: str) -> Answered:
        """One request; AssertionError for an answer that is not in the document."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        answer = Client(self).open(path, method=method, json=body, headers=sent)
        answered = Answered(answer.status_code, dict(answer.headers), answer.get_data())
        faults = self.document.faults(method, path.partition("?")[0], answered)
        assert not faults, (method, path, answered.status, faults)
        return answered


@dataclass(frozen=True)
class Service:
    """Where something is."""

    url: str


@contextmanager
def centres() -> Iterator[Service]:
    """The stand-in of the public API of recycling centres."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "knative.local.centres", "--port", str(port)], cwd=ROOT)
    try:
        until_it_answers(f"http://127.0.0.1:{port}/healthz", process)
        yield Service(f"http://127.0.0.1:{port}{PATH}")
    finally:
        process.terminate()
        process.wait(PATIENCE)


class _Quiet(WSGIRequestHandler):
    """Keeps connections, and says nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def listening(app: Townhall) -> Iterator[str]:
    """The same over HTTP; the address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def townhall(servers: Addresses, database_url: str, folder: Path) -> Iterator[Townhall]:
    """All of them, with the document as it is committed."""
    new_pair(folder / "private.pem", folder / "public")
    with collecting_ingress() as broker, centres() as public_api:
        environ = {
            "DATABASE_URL": database_url,
            "REDIS_URL": servers.redis_url,
            "RATE_LIMIT_PER_MINUTE": "1000000",
            "MODEL_DAILY_PER_USER": "1000000",
            "MODEL_DAILY_USD": "100000",
            "BROKER_URL": broker.url,
            "S3_PUBLIC_ENDPOINT": servers.s3_endpoint,
            "S3_REGION": servers.s3_region,
            "S3_BUCKET": servers.bucket,
            "AWS_ACCESS_KEY_ID": servers.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": servers.s3_secret_key,
            "JWT_PRIVATE_KEY_FILE": str(folder / "private.pem"),
            "JWT_PUBLIC_KEYS_DIR": str(folder / "public"),
            "BCRYPT_COST": "4",
            "TRIES_PER_ACCOUNT": "1000000",
            "TRIES_PER_ADDRESS": "1000000",
            "GUESTS_PER_HOUR": "1000000",
            "CENTRES_API_URL": public_api.url,
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": NOBODY,
        }
        apps = {name: _app(name, environ) for name in openapi.functions()}
        document = Document(openapi.committed())
        yield Townhall(apps, Signer(folder / "private.pem"), document)


def _app(name: str, environ: Mapping[str, str]) -> Flask:
    settings = importlib.import_module(f"functions.{name}.settings").Settings
    made: Flask = importlib.import_module(f"functions.{name}.routes").create(load(settings, {**os.environ, **environ}))
    return made
