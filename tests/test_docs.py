"""docs/api.md, line by line in a shell against the whole system; every answer to it is as the API's document says."""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from functions.ingest.photo import clean
from knative.local import openapi
from tests.documented import Answered, Document
from tests.proving import picture
from tests.running import Running

DOCUMENT = Path(__file__).parents[1] / "docs" / "api.md"


@contextmanager
def listener(gateway: str, document: Document, heard: list[str], faults: list[str]) -> Iterator[str]:
    """A door before `gateway` that notes what passes (`METHOD path status`) and what of it is not in the document."""

    class Door(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "expect")}
            answer = requests.request(self.command, gateway + self.path, data=body, headers=headers, timeout=60)
            path = self.path.partition("?")[0]
            answered = Answered(answer.status_code, dict(answer.headers), answer.content)
            heard.append(f"{self.command} {path} {answer.status_code}")
            faults.extend(f"{heard[-1]}: {fault}" for fault in document.faults(self.command, path, answered))
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Location", "Retry-After"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def do_GET(self) -> None:
            self._pass()

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def seen(name: str, name_en: str, material: str) -> dict[str, object]:
    state = {"contents": "empty", "dirt": "clean", "label": "unknown", "cap": "unknown", "damage": "intact"}
    return {"name": name, "name_en": name_en, "material": material, "state": state, "confidence": 0.9}


@pytest.fixture
def photos(cluster: Running, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A photo with two things on it, so that we ask which; and one after (what is not ticked is taken to be undone)."""
    before, after = picture("docs before"), picture("docs after")
    shown = [hashlib.sha256(clean(photo).model).hexdigest() for photo in (before, after)]
    cluster.model.inject(
        shown[0], [seen("투명 페트병", "clear PET bottle", "plastic"), seen("우유팩", "carton", "paper")]
    )
    cluster.model.inject_comparison(shown[1], same_object="yes", photographed="real")
    (tmp_path / "before.jpg").write_bytes(before)
    (tmp_path / "after.jpg").write_bytes(after)
    yield {"PHOTO": "before.jpg", "AFTER": "after.jpg"}
    cluster.model.well()


@pytest.mark.unmeasured
def test_the_journey_of_the_page_works_as_it_stands(cluster: Running, photos: dict[str, str], tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    heard: list[str] = []
    faults: list[str] = []
    with listener(cluster.gateway, Document(openapi.committed()), heard, faults) as api:
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            cwd=tmp_path,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "API": api, **photos},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert ran.returncode == 0, f"{ran.stdout[-3000:]}\n{ran.stderr}\n{heard[-3:]}"
    assert faults == []
    deeds = {re.sub(r"[0-9a-f-]{36}", "{id}", one.removeprefix("/api/v1")) for one in heard}
    for deed in (
        "POST /api/v1/waste/analyze 202",
        "POST /api/v1/waste/analyses/{id}/answer 202",
        "POST /api/v1/waste/analyses/{id}/questions 202",
        "POST /api/v1/waste/analyses/{id}/verify 202",
        "POST /api/v1/waste/analyses/{id}/dispute 201",
        "POST /api/v1/users/me/lessons/{id}/answers 201",
        "POST /api/v1/auth/signup 201",
        "POST /api/v1/auth/refresh 200",
        "GET /api/v1/locations 200",
        "GET /api/v1/users/me/export 200",
        "DELETE /api/v1/auth/account 204",
        "GET /api/v1/auth/me 401",
    ):
        assert deed in deeds
    assert '"code": "' in ran.stdout
