"""Images without an engine: the Dockerfile is clean, sizes are known, and functions start from a read-only layout.

And the gateway, which is an image of somebody else's with a configuration of ours: asked as itself, where it runs.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from functions.shared import messages
from functions.shared.http import SECURITY_HEADERS
from knative.check import images
from knative.check.documents import ROOT, load, load_all
from knative.edge import envoy
from knative.local.children import die_with_parent
from tests.conftest import free_ports
from tests.waiting import GRACE, until_it_answers

NOWHERE = {"DATABASE_URL": "postgresql://127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}

#: Run inside an image, with what root may do taken away: what is found there, and what may be written.
LOOK = """
import importlib.util, json, pathlib, sys
def written(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as error:
        return type(error).__name__
there = {name: bool(importlib.util.find_spec(name)) for name in sys.argv[2].split()}
print(json.dumps({"there": there, "path": sys.path, "written": [written(each) for each in sys.argv[1].split()]}))
"""


def test_hadolint_finds_nothing() -> None:
    assert list(images.the_dockerfile_is_clean()) == []


@pytest.mark.parametrize(("right", "wrong", "said"), [
    ("FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS build",
     "FROM python AS build", "DL3006"),
    ("WORKDIR /app", "WORKDIR app", "DL3000"),
    ("USER 10001:10001", "USER root", "DL3002"),
    ("USER 10001:10001", "USRE 10001:10001", "cannot read it|DL1000"),
])  # fmt: skip
def test_hadolint_finds_what_is_planted(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    text = (ROOT / "functions/Dockerfile").read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions/Dockerfile").write_text(text.replace(right, wrong), encoding="utf-8")
    found = list(images.the_dockerfile_is_clean(tmp_path))
    assert any(code in problem for problem in found for code in said.split("|")), found


def test_every_image_has_a_size(record_property: Any) -> None:
    table = images.table()
    record_property("figures", table)
    rows = [line.split() for line in table.splitlines()[1:-1]]
    assert sorted(row[0] for row in rows) == images.functions()
    assert [float(row[1]) for row in rows] == sorted((float(row[1]) for row in rows), reverse=True)
    assert all(row[3] in images.pinned(row[0]) for row in rows)


def test_a_package_in_another_version_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "functions/web").mkdir(parents=True)
    for pin, said in (("flask==0.1", "flask==0.1, installed is 3"), ("no-such==1", "no-such==1, installed is nothing")):
        (tmp_path / "functions/web/requirements.txt").write_text(f"{pin} \\\n    --hash=sha256:0\n")
        with pytest.raises(images.ImageError, match=said):
            images.pinned("web", tmp_path)


@pytest.mark.parametrize("function", ["web", "aggregate"])
def test_a_function_starts_from_a_read_only_image(function: str, tmp_path: Path) -> None:
    images.lay(function, tmp_path)
    laid = _everything(tmp_path)
    size = sum(path.stat().st_size for path in (tmp_path / "app").rglob("*") if path.is_file())
    assert size == pytest.approx(images.size(function).code, rel=0.05)
    _read_only(tmp_path)
    try:
        app, venv = tmp_path / "app", tmp_path / "venv"
        places = [app / "new", app / f"functions/{function}/main.py", venv / "lib/new", venv / "bin/new"]
        mine = ["flask", "gunicorn", f"functions.{function}", "functions.shared"]
        foreign = ["pytest", "yaml", "numpy", "knative", "functions.grade", "functions.setup"]
        words = [
            *_powerless(),
            str(venv / "bin/python"),
            "-c",
            LOOK,
            " ".join(map(str, places)),
            " ".join(mine + foreign),
        ]
        seen = json.loads(subprocess.run(words, env=_inside(tmp_path), cwd=app, capture_output=True, check=True).stdout)
        assert seen["written"] == ["PermissionError"] * 4
        assert seen["there"] == dict.fromkeys(mine, True) | dict.fromkeys(foreign, False)
        assert not any(str(ROOT) in place for place in seen["path"])

        with _started(function, tmp_path) as port:
            assert _asked(port, "/healthz")[0] == 200
            if function == "web":
                status, headers, body = _asked(port, "/")
                assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
                assert "<html" in body
        assert _everything(tmp_path) == laid
    finally:
        _read_only(tmp_path, 0o200)


def _everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _read_only(folder: Path, also: int = 0) -> None:
    """Nothing below may be written to by anybody; `also`: mode bits added to folders again."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o555 | (also if path.is_dir() else 0))


def _powerless() -> list[str]:
    """Root writes where nobody may; without its capabilities it does not. Others need no such thing."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root without setpriv (util-linux) may write everywhere")
    return [setpriv, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


def _inside(image: Path) -> dict[str, str]:
    """The image's own ENV."""
    return {
        "PATH": f"{image}/venv/bin:/usr/bin:/bin", "PYTHONPATH": f"{image}/app", "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp",
    }  # fmt: skip


@contextmanager
def _started(function: str, image: Path) -> Iterator[int]:
    """The function, by its manifest's own command and environment; yields its port on loopback."""
    (container,) = load(ROOT / f"knative/functions/{function}.yaml")["spec"]["template"]["spec"]["containers"]
    port = free_ports(30000) + 100
    platform = next(each["data"] for each in load_all(ROOT / "knative/base/config.yaml") if each["kind"] == "ConfigMap")
    told = {each["name"]: each.get("value") or _from(each["valueFrom"], platform) for each in container["env"]}
    told |= {"PORT": str(port), "HOST": "127.0.0.1", "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}"}
    program = str(image / "venv/bin" / container["command"][0])
    words = [*_powerless(), program, *container["command"][1:], *container["args"]]
    with _running(words, image / "app", _inside(image) | told) as process:
        until_it_answers(f"http://127.0.0.1:{port}/healthz", process)
        yield port


def _from(reference: dict[str, dict[str, str]], platform: dict[str, str]) -> str:
    if "configMapKeyRef" in reference:
        return platform[reference["configMapKeyRef"]["key"]]
    return NOWHERE[reference["secretKeyRef"]["key"]]


@contextmanager
def _running(words: list[str], cwd: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process and its children, ended with the block; what it says is in the test's own output."""
    process = subprocess.Popen(words, cwd=cwd, env=env, start_new_session=True, preexec_fn=die_with_parent)  # noqa: PLW1509
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(GRACE)


def _asked(port: int, path: str, *lines: tuple[str, str], host: str = "growbin.app") -> tuple[int, Any, str]:
    """(status, headers, body) of GET `path`; header lines as they are given, one name as often as wished."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in (("Host", host), *lines):
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


# --- the gateway ---


class Echo(BaseHTTPRequestHandler):
    """Kourier's place: answers with the request as it arrived."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        lines = [[name.lower(), value] for name, value in self.headers.items()]
        body = json.dumps({"path": self.path, "lines": lines}).encode()
        upgrade = self.headers.get("Upgrade")
        self.send_response(101 if upgrade else 200)
        if upgrade:
            self.send_header("Upgrade", upgrade)
            self.send_header("Connection", "Upgrade")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not upgrade:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def binary() -> Path:
    """Envoy itself, of the minor version that the cluster runs."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("no package of a sane size has Envoy for this machine; the one used is for Linux on x86_64")
    return Path(sysconfig.get_path("scripts")) / "envoy"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The gateway as it is deployed, but for its ports and where its clusters are; yields its public port."""
    program, port = binary(), free_ports(30400) + 100
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=upstream.serve_forever, daemon=True).start()
    config = envoy.config()
    config["admin"]["address"] = envoy._address("127.0.0.1", port + 1)
    for place, listener in enumerate(config["static_resources"]["listeners"]):
        listener["address"] = envoy._address("127.0.0.1", port + 2 * place)
    there = {"functions": upstream.server_port, "admin": port + 1}
    for cluster in config["static_resources"]["clusters"]:
        (ends,) = cluster["load_assignment"]["endpoints"]
        ends["lb_endpoints"][0]["endpoint"]["address"] = envoy._address("127.0.0.1", there.get(cluster["name"], 1))
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "envoy.json").write_text(json.dumps(config))
    words = [str(folder / "envoy.json") if word.endswith("envoy.yaml") else word for word in _arguments()]
    try:
        with _running([str(program), *words], folder, {}) as process:
            until_it_answers(f"http://127.0.0.1:{port}/healthz", process)
            yield port
    finally:
        upstream.shutdown()
        upstream.server_close()


def _arguments() -> list[str]:
    (deployment,) = (each for each in load_all(ROOT / "knative/edge/gateway.yaml") if each["kind"] == "Deployment")
    arguments: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return arguments


def _arrived(port: int, path: str, *lines: tuple[str, str], host: str = "growbin.app") -> dict[str, list[str]]:
    """What the function got to see: header → its values, the path as `path`."""
    status, _, body = _asked(port, path, *lines, host=host)
    assert status == 200, body
    seen = json.loads(body)
    found: dict[str, list[str]] = {"path": [seen["path"]]}
    for name, value in seen["lines"]:
        found.setdefault(name, []).append(value)
    return found


def test_envoy_takes_the_configuration(tmp_path: Path) -> None:
    def validated(file: Path) -> subprocess.CompletedProcess[str]:
        words = [str(binary()), "--mode", "validate", "--config-path", str(file), "--log-level", "error"]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)

    assert validated(ROOT / "knative/edge/envoy.yaml").returncode == 0
    text = (ROOT / "knative/edge/envoy.yaml").read_text(encoding="utf-8")
    for right, wrong in (("merge_slashes", "merge_slashs"), ("for name, _ in pairs", "for name, _ of pairs")):
        assert right in text
        (tmp_path / "envoy.yaml").write_text(text.replace(right, wrong), encoding="utf-8")
        assert validated(tmp_path / "envoy.yaml").returncode != 0, wrong


def test_envoy_is_of_the_minor_version_that_the_cluster_runs() -> None:
    said = subprocess.run([str(binary()), "--version"], capture_output=True, text=True, check=True).stdout
    minor = ".".join(said.split("/")[-4].split(".")[:2])
    assert f"-v{minor}." in load(ROOT / "knative/versions.yaml")["images"]["envoy"]["image"]


def test_nobody_outside_speaks_for_the_platform(gateway: int) -> None:
    forged = {
        "ce-id": "1", "Ce-Type": "x", "CE-Subject": "x", "K-Component": "x", "K-Revision": "x",
        "Knative-Serving-Tag": "x", "Forwarded": "for=1.2.3.4",
        "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1", "X-Forwarded-Prefix": "/x",
        "X-Forwarded-Client-Cert": "x", "X-Envoy-Original-Path": "/x", "X-Envoy-External-Address": "1.2.3.4",
        "X-Envoy-Upstream-Rq-Timeout-Ms": "1", "X_Forwarded_For": "1.2.3.4", "ce_id": "1",
        "X-Forwarded-Proto": "https", "X-Forwarded-For": "1.2.3.4, 203.0.113.9",
    }  # fmt: skip
    kept = {"authorization": "Bearer t", "accept-language": "en", "x-correlation-id": "c1"}
    seen = _arrived(gateway, "/api/v1/waste/analyses?limit=2", *forged.items(), *kept.items())
    told = {"x-forwarded-for": ["203.0.113.9"], "x-forwarded-proto": ["https"], "x-forwarded-host": ["growbin.app"]}
    told |= {"host": ["waste.growbin.svc.cluster.local"], "path": ["/api/v1/waste/analyses?limit=2"]}
    assert seen == told | {name: [value] for name, value in kept.items()}


@pytest.mark.parametrize(("lines", "client"), [
    ([], "127.0.0.1"),
    ([("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
    ([("X-Forwarded-For", "9.9.9.9"), ("X-Forwarded-For", "1.2.3.4 ,203.0.113.9 ")], "203.0.113.9"),
    ([("X-Forwarded-For", "2001:db8::1")], "2001:db8::1"),
    ([("X-Forwarded-For", " , ")], "127.0.0.1"),
])  # fmt: skip
def test_the_client_is_the_last_whom_the_load_balancer_names(
    gateway: int, lines: list[tuple[str, str]], client: str
) -> None:
    seen = _arrived(gateway, "/", *lines)
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ([client], ["http"])


def test_each_path_has_its_function(gateway: int) -> None:
    for path, function in {
        "/": "web", "/api/v1/auth/guest": "auth", "/api/v1/authx": "web", "/api/v1/waste/uploads": "presign",
        "/api/v1/waste/analyses/7/photos": "presign", "/api/v1/waste/analyses/7/events": "live",
        "/api/v1/users/me": "users", "/api/v1/waste/analyses/7": "waste", "/api/v1/locations/nearby?lat=1": "locations",
        "/api/v1//waste/../users/me": "users",
    }.items():  # fmt: skip
        assert _arrived(gateway, path)["host"] == [f"{function}.growbin.svc.cluster.local"], path


@pytest.mark.parametrize(("path", "lines", "status", "code"), [
    ("/metrics", (), 404, "not_found"),
    ("/readyz", (), 404, "not_found"),
    ("/api/v1/waste%2f..%2fusers", (), 400, "bad_request"),
    ("/" + "x" * 4000, (), 414, "bad_request"),
    ("/", (("X-Long", "x" * 17000),), 431, "headers_too_large"),
    ("/grafana/", (), 503, "unavailable"),
])  # fmt: skip
def test_what_the_gateway_says_itself_is_a_problem_document(
    gateway: int, path: str, lines: tuple[tuple[str, str], ...], status: int, code: str
) -> None:
    # Headers that were too long to be read say no language.
    for language, locale in (("en-GB,en;q=0.9", "ko" if status == 431 else "en"), ("ko", "ko"), ("", "ko")):
        answered, headers, body = _asked(gateway, path, *lines, ("Accept-Language", language))
        assert answered == status
        assert headers["Content-Type"] == "application/problem+json"
        assert headers["Retry-After"] == ("1" if status >= 500 else None)
        assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert json.loads(body) == {
            "type": f"urn:growbin:problem:{code}", "title": messages.text(f"problem.{code}", locale), "status": status,
            "code": code, "detail": messages.text(f"problem.{code}.detail", locale),
        }  # fmt: skip


def test_only_the_feed_is_a_websocket(gateway: int) -> None:
    asks = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    asks += [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
    assert _asked(gateway, "/api/v1/waste/analyses/7/events", *asks)[0] == 101
    assert _asked(gateway, "/api/v1/waste/analyses/7", *asks)[0] == 403


def test_prometheus_reads_the_numbers_and_nothing_else(gateway: int) -> None:
    status, _, body = _asked(gateway + 2, "/stats/prometheus")
    assert status == 200
    asked = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "knative/monitoring").glob("*.yaml"))
    (wanted,) = set(re.findall(r"envoy_\w+(?=\{)", asked)) - {"envoy_server_live"}
    assert re.search(r"^envoy_server_live\{\} 1$", body, re.MULTILINE)
    before = _counted(body, wanted)
    assert _asked(gateway, "/")[0] == 200
    assert _asked(gateway, "/grafana/")[0] == 503, "nobody is there"
    assert _asked(gateway, "/healthz")[0] == 200
    after = _counted(_asked(gateway + 2, "/stats/prometheus")[2], wanted)
    assert {which: count - before.get(which, 0) for which, count in after.items() if count != before.get(which)} == {
        ("functions", "2"): 1, ("grafana", "5"): 1, ("admin", "2"): 1,
    }  # fmt: skip
    assert _asked(gateway + 2, "/quitquitquit")[0] == _asked(gateway + 2, "/config_dump")[0] == 404


def _counted(body: str, name: str) -> dict[tuple[str, str], int]:
    """(cluster, class of the answer) → how many."""
    line = re.compile(rf'^{name}{{envoy_response_code_class="(\d)",envoy_cluster_name="(\w+)"}} (\d+)$', re.MULTILINE)
    return {(cluster, first): int(count) for first, cluster, count in line.findall(body)}
