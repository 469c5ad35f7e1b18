"""Serving and gateway of knative/local with real processes: scale, queues, crashes, doors. The functions are small."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
import yaml

from functions.shared import naming, wire
from functions.shared.events import Event, Payload, UploadStored
from knative.local import manifests
from knative.local.children import leftovers
from knative.local.gateway import Routes
from knative.local.serving import Config, Misconfigured, free_ports
from tests.waiting import GRACE, until

ECHO = ["--worker-class", "gthread", "--threads", "8", "tests.functions.echo.app:app"]


def service(
    name: str, *, command: list[str] | None = None, cc: int = 8, timeout: int = 30, env: Any = (), **scaling: object
) -> dict[str, Any]:
    """A Knative Service of the echo function, or of `command`."""
    window = {"window": "6s", **{k.replace("_", "-"): str(v) for k, v in scaling.items()}}
    container = {
        "image": "none", "command": command or ["gunicorn"], "args": [] if command else ECHO,
        "env": list(env), "readinessProbe": {"httpGet": {"path": "/healthz"}},
    }  # fmt: skip
    pod = {"containerConcurrency": cc, "timeoutSeconds": timeout, "containers": [container]}
    annotations = {manifests.AUTOSCALING + k: v for k, v in window.items()}
    return {
        "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name, "namespace": "growbin"},
        "spec": {"template": {"metadata": {"annotations": annotations}, "spec": pod}},
    }  # fmt: skip


def write(root: Path, services: list[dict[str, Any]], routes: list[dict[str, str]]) -> Path:
    for service_ in services:
        path = root / manifests.FUNCTIONS / f"{service_['metadata']['name']}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(service_))
    table = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "routes", "namespace": "growbin"},
        "data": {"routes.yaml": yaml.safe_dump(routes)},
    }  # fmt: skip
    (root / manifests.BASE).mkdir(parents=True, exist_ok=True)
    (root / manifests.BASE / "routes.yaml").write_text(yaml.safe_dump(table))
    return root


@dataclass
class Serving:
    """A running serving process and its two doors."""

    process: subprocess.Popen[str]
    state: Path
    activator: str
    gateway: str
    ingress_port: int

    def get(self, function: str, path: str = "/", method: str = "GET") -> requests.Response:
        host = {"Host": f"{function}.growbin.svc.cluster.local"}
        return requests.request(method, self.activator + path, headers=host, timeout=60)

    def report(self, function: str) -> dict[str, Any]:
        return dict(requests.get(self.activator + "/revisions", timeout=10).json()[function])

    def pids(self, function: str) -> list[int]:
        return list(self.report(function)["pids"])

    def ready(self, function: str) -> None:
        until(lambda: self.report(function)["ready"])


@contextlib.contextmanager
def serving(
    tmp_path: Path,
    services: list[dict[str, Any]],
    *,
    pace: float = 1.0,
    values: Mapping[str, Mapping[str, str]] | None = None,
    routes: list[dict[str, str]] | None = None,
) -> Iterator[Serving]:
    root = write(tmp_path / "root", services, routes or [{"path": "/", "function": services[0]["metadata"]["name"]}])
    ports = free_ports(21400, 21419)
    activator, gateway, ingress = next(ports), next(ports), next(ports)
    state = tmp_path / "state"
    (state / "logs").mkdir(parents=True)
    config = {
        "state": str(state), "root": str(root), "values": values or {}, "function_ports": [21420, 21489], "pace": pace,
        "activator_port": activator, "gateway_port": gateway, "ingress": f"http://127.0.0.1:{ingress}/",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    with (tmp_path / "notices").open("w") as notices:
        process = subprocess.Popen(
            [sys.executable, "-m", "knative.local.gateway", str(tmp_path / "config.json")], stderr=notices, text=True
        )
    found = Serving(process, state, f"http://127.0.0.1:{activator}", f"http://127.0.0.1:{gateway}", ingress)
    try:
        until(lambda: process.poll() is not None or _listens(gateway))
        assert process.poll() is None, (tmp_path / "notices").read_text()
        yield found
    finally:
        process.terminate()
        process.wait(GRACE)
        until(lambda: not leftovers(state))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_function_goes_to_zero_and_comes_back(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo")], pace=0.05) as running:
        assert running.get("echo").status_code == 200
        starts = running.report("echo")["starts"]
        until(lambda: not running.pids("echo"))
        assert not leftovers(running.state)
        answer = running.get("echo", "/a%20b?q=%2F")
        assert answer.status_code == 200
        assert answer.json()["path"] == "/a b?q=%2F"
        assert running.report("echo")["starts"] == starts + 1


def test_min_scale_and_the_retention_period_keep_a_process(tmp_path: Path) -> None:
    kept = service("kept", min_scale=1)
    lingering = service("lingering", scale_to_zero_pod_retention_period="3600s")
    with serving(tmp_path, [service("echo"), kept, lingering], pace=0.05) as running:
        assert running.get("echo").status_code == 200
        for name in ("kept", "lingering"):
            running.ready(name)
        until(lambda: not running.pids("echo"))
        assert running.pids("kept")
        assert running.pids("lingering")
        os.kill(running.pids("kept")[0], signal.SIGKILL)
        until(lambda: running.report("kept")["starts"] == 2 and running.report("kept")["ready"])


def test_a_process_gets_no_more_than_its_concurrency(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo", cc=2, max_scale=1)]) as running, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: running.get("echo", "/sleep/0.2").json(), range(8)))
        assert max(answer["most"] for answer in answers) == 2
        assert len({answer["pid"] for answer in answers}) == 1


def test_load_starts_processes_up_to_max_scale_and_quiet_ends_them(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo", cc=1, max_scale=3)], pace=0.1) as running:
        stop = threading.Event()

        def press() -> set[int]:
            seen = set()
            while not stop.is_set():
                seen.add(running.get("echo", "/sleep/0.05").json()["pid"])
            return seen

        with ThreadPoolExecutor(6) as pool:
            pressing = [pool.submit(press) for _ in range(6)]
            until(lambda: running.report("echo")["ready"] == 3)
            time.sleep(0.5)  # time in which a fourth one would come
            assert running.report("echo")["ready"] == 3
            stop.set()
            assert len(set().union(*(p.result() for p in pressing))) <= 3
        until(lambda: not running.pids("echo"))


def test_a_killed_process_is_replaced_and_its_request_answered_502(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo")]) as running, ThreadPoolExecutor(1) as pool:
        running.ready("echo")
        hanging = pool.submit(running.get, "echo", "/sleep/9.0", "POST")
        until(lambda: running.get("echo", "/sleeping").text == "1")
        (old,) = running.pids("echo")
        os.killpg(old, signal.SIGKILL)
        assert hanging.result().status_code == 502
        assert running.get("echo").json()["pid"] != old
        assert "echo ended: exit -9" in (tmp_path / "notices").read_text()


def test_an_answer_broken_off_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo")]) as running, pytest.raises(requests.RequestException):
        running.get("echo", "/dribble")


def test_a_function_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = service("broken", command=["python", "-c", "raise SystemExit('no such thing as a free lunch')"])
    with serving(tmp_path, [broken, service("missing", command=["no-such-program"])]) as running:
        answer = running.get("broken")
        assert answer.status_code == 503
        assert "no such thing as a free lunch" in answer.text
        assert running.get("missing").status_code == 503
        until(lambda: "free lunch" in (tmp_path / "notices").read_text())
        public = requests.get(running.gateway, timeout=60)
        assert (public.status_code, public.json()["code"]) == (503, "unavailable")
        assert "lunch" not in public.text


def test_a_request_ends_with_the_revision_timeout(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo", timeout=1)]) as running:
        running.ready("echo")
        assert running.get("echo", "/sleep/2.5").status_code == 504


def test_a_function_sees_its_manifest_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    given = {"name": "GIVEN", "valueFrom": {"secretKeyRef": {"name": "store", "key": "word"}}}
    absent = {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "store", "key": "none", "optional": True}}}
    env = [given, absent, {"name": "FILE", "value": "/etc/growbin/keys/one.pem"}, {"name": "OTHER", "value": "/etc/x"}]
    one = service("echo", env=env)
    pod = one["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "keys", "secret": {"secretName": "pair"}}]
    pod["containers"][0]["volumeMounts"] = [{"name": "keys", "mountPath": "/etc/growbin/keys", "readOnly": True}]
    values = {"store": {"word": "swordfish"}, "pair": {"one.pem": "the key"}}
    with serving(tmp_path, [one], values=values) as running:
        environ = running.get("echo").json()["environ"]
    assert environ["GIVEN"] == "swordfish"
    assert environ["OTHER"] == "/etc/x"
    assert not {"ABSENT", "DATABASE_URL"} & environ.keys()
    file = Path(environ["FILE"])
    assert file.is_relative_to(running.state)
    assert file.read_text() == "the key"
    assert file.stat().st_mode & 0o077 == 0


def test_every_missing_value_is_named(tmp_path: Path) -> None:
    env = [{"name": n, "valueFrom": {"secretKeyRef": {"name": "store", "key": n.lower()}}} for n in ("ONE", "TWO")]
    root = write(tmp_path / "root", [service("echo", env=env)], [])
    config = Config(tmp_path, {"store": {"one": "1"}}, (1, 2), 3, 4, "http://localhost/", root=root)
    with pytest.raises(Misconfigured, match=r"echo: no value for store/two \(TWO\)"):
        config.specs()


def test_nothing_from_outside_passes_for_an_event_or_another_address(tmp_path: Path) -> None:
    sent = {
        "ce-id": "1", "CE-Type": "app.growbin", "X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6",
        "X-Forwarded-Host": "evil", "Host": "echo.growbin.svc.cluster.local", "K-Proxy-Request": "activator",
        "Connection": "X-Secret-Hop", "X-Secret-Hop": "1", "Authorization": "Bearer t", "Accept-Language": "en",
    }  # fmt: skip
    with serving(tmp_path, [service("echo"), service("other")], routes=[{"path": "/", "function": "other"}]) as running:
        seen = requests.get(running.gateway + "/x", headers=sent, timeout=60).json()["headers"]
        assert seen["x-forwarded-for"] == "127.0.0.1, 127.0.0.1, 127.0.0.1", "the client, and two of ours"
        platform = manifests.Manifests.load().all(manifests.ConfigMap)["platform"]
        assert platform.data["TRUSTED_PROXIES"] == "3"
        assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("http", "echo.growbin.svc.cluster.local")
        assert (seen["authorization"], seen["accept-language"]) == ("Bearer t", "en")
        assert seen["host"] == "other.growbin.svc.cluster.local"
        assert not {"ce-id", "ce-type", "forwarded", "k-proxy-request", "x-secret-hop"} & seen.keys()


def test_a_body_over_the_limit_is_refused_in_the_citizens_language(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo")]) as running:
        fits = requests.post(running.gateway, data=b"x" * (1 << 20), timeout=60)
        assert fits.json()["length"] == 1 << 20
        for accept, language in (("", "ko"), ("en", "en")):
            answer = requests.post(
                running.gateway, data=b"x" * ((1 << 20) + 1), headers={"Accept-Language": accept}, timeout=60
            )
            assert answer.status_code == 413
            assert answer.headers["content-type"].startswith("application/problem+json")
            assert answer.json()["code"] == "body_too_large"
            assert answer.json()["title"].isascii() == (language == "en")


def test_the_gateway_has_limits_and_guards_what_it_says_itself(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo")]) as running:
        refused = [
            (414, requests.get(running.gateway + "/" + "x" * 4000, timeout=60)),
            (414, requests.get(running.gateway + "/" + "x" * 9000, timeout=60)),
            (431, requests.get(running.gateway, headers={f"X-Much-{n}": "x" * 6000 for n in range(3)}, timeout=60)),
            (431, requests.get(running.gateway, headers={"X-Long": "x" * 8300}, timeout=60)),
            (431, requests.get(running.gateway, headers={f"X-Many-{n}": "x" for n in range(120)}, timeout=60)),
        ]
        for status, answer in refused:
            assert answer.status_code == status
            assert answer.headers["content-type"].startswith("application/problem+json")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert requests.get(running.gateway + "/" + "x" * 3000, timeout=60).status_code == 200


def test_a_target_may_be_a_whole_address(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo")]) as running:
        running.ready("echo")
        for door, host in (
            (running.gateway, "elsewhere.example"),
            (running.activator, "echo.growbin.svc.cluster.local"),
        ):
            with socket.create_connection(("127.0.0.1", int(door.rpartition(":")[2])), timeout=30) as line:
                line.sendall(f"GET http://{host}/a%20b?q=%2F HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: line.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
            assert b'"/a b?q=%2F"' in answer


def test_whoever_counts_proxies_always_has_the_same() -> None:
    services = manifests.Manifests.load().all(manifests.Service)
    counting = {name for name, one in services.items() if "TRUSTED_PROXIES" in {env.name for env in one.env}}
    routes = Routes.load(manifests.ROOT / manifests.BASE / "routes.yaml")
    assert counting == {"auth", "users", "presign", "waste", "locations", "live", "web"} == routes.functions
    assert {services[name].autoscaling.target_burst_capacity for name in counting} == {-1}


def test_a_websocket_goes_through(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo")]) as running:
        address = running.gateway.replace("http", "ws")
        line = websocket.create_connection(address + "/ws", timeout=30)
        line.send("hello")
        assert line.recv() == "echo hello"
        assert running.report("echo")["in_flight"] == 1
        line.close()
        until(lambda: running.report("echo")["in_flight"] == 0)
        with pytest.raises(websocket.WebSocketBadStatusException):
            websocket.create_connection(address + "/healthz", timeout=30)


def test_the_first_row_that_fits_is_the_route() -> None:
    table = manifests.ROOT / manifests.BASE / "routes.yaml"
    routes = Routes.load(table)
    for path, function in {
        "/": "web",
        "/index.html": "web",
        "/api/v1/authority": "web",
        "/api/v1/auth/guest": "auth",
        "/api/v1/waste/uploads": "presign",
        "/api/v1/waste/analyze": "waste",
        "/api/v1/waste/analyses/1b/events": "live",
        "/api/v1/waste/analyses/1b": "waste",
        "/api/v1/waste/analyses/1b/eventsx": "waste",
    }.items():
        assert routes.function(path) == function, path


def test_an_upload_becomes_one_event_however_often_it_is_told(tmp_path: Path) -> None:
    key = naming.upload_key(uuid.uuid4(), "image/jpeg")
    folder, name = key.rsplit("/", 1)
    entry = {"name": name, "chunks": [{"size": 3, "e_tag": "x"}], "attributes": {"file_size": 3}, "extended": {}}
    told = {"event_type": "create", "message": {"new_entry": entry, "new_parent_path": f"/buckets/photos/{folder}"}}
    events: list[Event[Payload]] = []

    class Ingress(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events.append(wire.parse(dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(202)
            self.end_headers()

    with serving(tmp_path, [service("echo")]) as running:
        hook = running.activator + "/hooks/s3"
        assert requests.post(hook, json=told, timeout=10).status_code == 503  # no ingress yet: the store tries again
        server = HTTPServer(("127.0.0.1", running.ingress_port), Ingress)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert [requests.post(hook, json=told, timeout=10).status_code for _ in range(2)] == [204, 204]
        entry["name"] = "else.txt"
        assert requests.post(hook, json=told, timeout=10).status_code == 204
        assert requests.post(hook, data=b"nonsense", timeout=10).status_code == 400
        assert requests.post(running.gateway + "/hooks/s3", json=told, timeout=30).json()["path"] == "/hooks/s3?"
        server.shutdown()
        server.server_close()
    assert len(events) == 2
    assert events[0].id == events[1].id
    assert events[0].data == UploadStored(key=key, size=3, etag="")
    assert events[0].subject == str(naming.analysis_of_key(key))


def test_a_stop_lets_requests_finish_and_a_kill_leaves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, [service("echo")]) as running, ThreadPoolExecutor(1) as pool:
        running.ready("echo")
        last = pool.submit(running.get, "echo", "/sleep/4.0")
        until(lambda: running.report("echo")["in_flight"] == 1)
        running.process.terminate()
        assert last.result().status_code == 200
        assert running.process.wait(GRACE) == 0
        assert not leftovers(running.state)
    with serving(tmp_path / "again", [service("echo")]) as running:
        running.ready("echo")
        running.process.kill()
        until(lambda: not leftovers(running.state), GRACE)
