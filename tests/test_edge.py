"""The edge: nobody asks too often, only known origins come in, nobody chooses their own address; and without Redis."""

from __future__ import annotations

import ipaddress
import json
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from functions.presign.routes import create as create_presign
from functions.presign.settings import Settings as PresignSettings
from functions.shared import http, limits
from functions.shared.config import load
from functions.shared.memory import Away, Memory
from functions.shared.revocations import SENTINEL
from functions.shared.tokens import Signer
from functions.waste.routes import create
from functions.waste.settings import Settings
from functions.web.routes import create as create_web
from functions.web.settings import Settings as WebSettings
from tests.steps import World

ROOT = Path(__file__).parents[1]
HISTORY, ANALYZE, UPLOADS = "/api/v1/waste/analyses", "/api/v1/waste/analyze", "/api/v1/waste/uploads"
APP, ELSEWHERE = "https://growbin.app", "https://evil.example"
NOBODY = "redis://127.0.0.1:9/0"

#: Counts 250 requests in four threads, one every 12 ms; prints the times (Redis's, microseconds) of those let in.
ASKING = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from functions.shared.limits import Limits
from functions.shared.memory import Memory
url, who, limit, window = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
counted = Limits(Memory(url, timeout=5.0), limit, window)
begin = time.monotonic() + 0.1
def ask(n):
    time.sleep(max(0.0, begin + n * 0.012 - time.monotonic()))
    return counted.count(who)
with ThreadPoolExecutor(4) as pool:
    print([standing.at for standing in pool.map(ask, range(250)) if standing.admitted])
"""


@dataclass
class Citizen:
    """Somebody whose requests come through one proxy of ours."""

    app: Flask
    token: str = ""
    address: str = "203.0.113.7"

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        sent = {"X-Forwarded-For": self.address} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.app.test_client().open(path, method=method, json=body, headers=sent)


Serve = Callable[..., Flask]


@pytest.fixture
def serve(pipeline_env: dict[str, str], keys: Path) -> Serve:
    """`waste` from its environment, with other values where a test needs them."""

    def serve(**values: str) -> Flask:
        environ = {
            **pipeline_env,
            "BROKER_URL": "http://127.0.0.1:9/",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
            "JWT_PUBLIC_KEYS_DIR": str(keys / "public"),
            "CORS_ORIGINS": f"{APP}, https://staging.growbin.app",
            **values,
        }
        return create(load(Settings, environ))

    return serve


@pytest.fixture
def presign(pipeline_env: dict[str, str], keys: Path) -> Serve:
    """`presign`, in the same way."""

    def serve(**values: str) -> Flask:
        more = {"BROKER_URL": "http://127.0.0.1:9/", "S3_PUBLIC_ENDPOINT": pipeline_env["S3_ENDPOINT"]}
        environ = {**pipeline_env, **more, "JWT_PUBLIC_KEYS_DIR": str(keys / "public"), **values}
        return create_presign(load(PresignSettings, environ))

    return serve


def address() -> str:
    """Of the nets that are nobody's: one in 2^28, so that no two tests are at the same one."""
    return str(ipaddress.IPv4Address((15 << 28) + random.getrandbits(28)))


def signed(keys: Path, user: str | None = None) -> str:
    return Signer(keys / "private.pem").issue(uuid.UUID(user) if user else uuid.uuid4()).token


def code(answer: TestResponse) -> str:
    assert answer.content_type == http.PROBLEM_JSON
    return str(answer.json["code"])  # type: ignore[index]


# --- how often


def most_in_any(window: int, times: list[int]) -> int:
    """The largest number of `times` (sorted) within a window, both ends included."""
    return max(sum(start <= at <= start + window for at in times[i:]) for i, start in enumerate(times))


def test_two_processes_at_a_windows_edge_never_pass_the_limit(redis_url: str) -> None:
    who, limit, window = uuid.uuid4().hex, 60, 1.0
    command = [sys.executable, "-c", ASKING, redis_url, who, str(limit), str(window)]
    asking = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    times = sorted(at for process in asking for at in json.loads(process.communicate(timeout=60)[0]))
    assert [process.returncode for process in asking] == [0, 0]
    assert most_in_any(int(window * 1e6), times) == limit
    assert len(times) > 2 * limit, "the edges of at least two windows were passed"


@dataclass
class Clock:
    """The script with a clock of ours in the place of Redis's."""

    client: redis.Redis
    who: str

    def count(self, at: int, limit: int = 100) -> list[int]:
        assert limits.SCRIPT.count("redis.call('TIME')") == 1
        script = limits.SCRIPT.replace("redis.call('TIME')", "{ARGV[3], ARGV[4]}")
        answer = self.client.eval(script, 1, self.who, limit, 60_000_000, at // 1_000_000, at % 1_000_000)
        return [int(value) for value in answer]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.integers(1, 12), crowd=st.integers(1, 40))
def test_no_minute_has_more_and_nobody_is_refused_who_may(redis_url: str, seed: int, limit: int, crowd: int) -> None:
    chance = random.Random(seed)
    with closing(redis.Redis.from_url(redis_url)) as client:
        clock, now, accepted = Clock(client, f"limit:{uuid.uuid4()}"), 1_790_000_000_000_000, list[int]()
        for _ in range(80):
            now += chance.choice((0, 1, chance.randrange(3_000_000 * 20 // crowd), 60_000_000 - 1, 60_000_000, 1_000))
            recent = sum(now - 60_000_000 <= at for at in accepted)
            admitted, used, wait, at = clock.count(now, limit)
            assert (admitted, at) == (recent < limit, now)
            accepted += [now] if admitted else []
            assert used == sum(now - 60_000_000 <= at for at in accepted)
            oldest = min(at for at in accepted if now - 60_000_000 <= at)
            assert wait == oldest + 60_000_000 - now
        client.delete(clock.who)
    assert most_in_any(60_000_000, accepted) <= limit


def test_a_clock_that_is_set_back_opens_nothing(redis_url: str) -> None:
    with closing(redis.Redis.from_url(redis_url)) as client:
        clock, noon = Clock(client, f"limit:{uuid.uuid4()}"), 1_790_000_000_000_000
        assert [clock.count(noon + n, 3)[0] for n in range(4)] == [1, 1, 1, 0]
        assert clock.count(noon - 3_600_000_000, 3)[0] == 0
        assert clock.count(noon + 60_000_000 + 1, 3)[0] == 1
        assert 0 < client.pttl(clock.who) <= 61_000


def test_a_citizen_is_told_where_they_stand(serve: Serve, keys: Path) -> None:
    app = serve(RATE_LIMIT_PER_MINUTE="3")
    me, other = Citizen(app, signed(keys)), Citizen(app, signed(keys))
    answers = [me("GET", HISTORY) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"3"}
    assert code(answers[3]) == "too_many_requests"
    assert "3" in answers[3].json["detail"]  # type: ignore[index]
    assert 55 <= int(answers[3].headers["Retry-After"]) <= 60
    assert answers[3].headers["RateLimit-Reset"] == answers[3].headers["Retry-After"]
    assert other("GET", HISTORY).status_code == 200, "from the same address, but somebody else"
    for path in ("/healthz", "/readyz"):
        healthy = me("GET", path)
        assert healthy.status_code == 200
        assert "RateLimit-Limit" not in healthy.headers


def test_who_shows_no_good_token_is_known_by_their_address(serve: Serve, keys: Path) -> None:
    app = serve(RATE_LIMIT_PER_MINUTE="3")
    here = address()
    asked = [Citizen(app, token, here)("GET", HISTORY) for token in ("", "no.token.atall", signed(keys)[:-4] + "AAAA")]
    assert [answer.status_code for answer in asked] == [401, 401, 401]
    assert Citizen(app, "", here)("GET", "/nowhere").status_code == 429
    assert Citizen(app, signed(keys), here)("GET", HISTORY).status_code == 200
    assert Citizen(app, "", address())("GET", HISTORY).status_code == 401


def left(answer: TestResponse) -> int:
    return int(answer.headers["RateLimit-Remaining"])


def test_nobody_chooses_their_own_address(serve: Serve) -> None:
    app, here = serve(RATE_LIMIT_PER_MINUTE="50"), address()
    spoofed = [f"{address()}, {here}", f"10.0.0.1,, ,{here}", f"'; DROP--, {here} ", here]
    assert [left(Citizen(app, "", said)("GET", HISTORY)) for said in spoofed] == [49, 48, 47, 46]
    twice = app.test_client().get(HISTORY, headers=[("X-Forwarded-For", address()), ("X-Forwarded-For", here)])
    assert left(twice) == 45
    assert left(Citizen(app, "", here)("GET", HISTORY, Forwarded=f"for={address()}", X_Real_Ip=address())) == 44


def test_the_number_of_our_proxies_decides_whom_we_believe(serve: Serve) -> None:
    two, none, here, proxy = serve(TRUSTED_PROXIES="2"), serve(TRUSTED_PROXIES="0"), address(), address()
    assert left(Citizen(two, "", f"{address()}, {here}, {proxy}")("GET", HISTORY)) == 99
    assert left(Citizen(two, "", f"{here}, {address()}")("GET", HISTORY)) == 98
    assert left(Citizen(two, "", here)("GET", HISTORY)) == 97, "it came past the outer proxy"
    before = left(Citizen(none, "", address())("GET", HISTORY))
    assert left(Citizen(none, "", address())("GET", HISTORY)) == before - 1, (
        "the connection's address, whatever is said"
    )


def test_one_subscriber_is_one_address(serve: Serve) -> None:
    app, net = serve(), f"2001:db8:{random.randrange(1, 65536):x}:{random.randrange(1, 65536):x}"
    assert left(Citizen(app, "", f"{net}::1")("GET", HISTORY)) == 99
    assert left(Citizen(app, "", f"{net}:ffff:1:2:3")("GET", HISTORY)) == 98
    here = address()
    assert left(Citizen(app, "", here)("GET", HISTORY)) == 99
    assert left(Citizen(app, "", f"::ffff:{here}")("GET", HISTORY)) == 98


def test_files_are_counted_too_but_apart(serve: Serve, pipeline_env: dict[str, str]) -> None:
    more = {"S3_PUBLIC_ENDPOINT": pipeline_env["S3_ENDPOINT"], "RATE_LIMIT_PER_MINUTE": "3"}
    web, here = create_web(load(WebSettings, {**pipeline_env, **more})), address()
    files = ("/", "/page/main.js", "/messages.json", "/api/openapi.json")
    assert [Citizen(web, "", here)("GET", path).status_code for path in files] == [200, 200, 200, 429]
    assert Citizen(web, "", address())("GET", "/").status_code == 200
    assert left(Citizen(serve(), "", here)("GET", HISTORY)) == 99, "who has loaded the page may still use it"


# --- from where


def corsed(answer: TestResponse) -> list[str]:
    """The headers that would let a page of another origin in."""
    return [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_only_known_origins_come_in(serve: Serve, keys: Path) -> None:
    me = Citizen(serve(), signed(keys))
    known = me("GET", HISTORY, Origin=APP)
    assert known.headers["Access-Control-Allow-Origin"] == APP
    assert "RateLimit-Remaining" in known.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in known.headers
    for origin in (ELSEWHERE, "null", "http://growbin.app", f"{APP}.evil.example", f"{APP}:8443", "*", ""):
        stranger = me("GET", HISTORY, Origin=origin)
        assert stranger.status_code == 200, "a browser keeps it from the page; nothing else is ours to forbid"
        assert not corsed(stranger)
        assert "Origin" in stranger.headers["Vary"]
    assert Citizen(me.app)("GET", HISTORY, Origin=APP).headers["Access-Control-Allow-Origin"] == APP, "problems, too"


def test_without_a_list_no_origin_is_known(serve: Serve, keys: Path) -> None:
    answer = Citizen(serve(CORS_ORIGINS=""), signed(keys))("GET", HISTORY, Origin=APP)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_browser_may_ask_beforehand(serve: Serve, keys: Path) -> None:
    app, here = serve(RATE_LIMIT_PER_MINUTE="3"), address()
    for _ in range(5):  # not counted
        asked = Citizen(app, "", here)("OPTIONS", ANALYZE, Origin=APP, Access_Control_Request_Method="POST")
        assert (asked.status_code, asked.data) == (204, b"")
    assert asked.headers["Access-Control-Allow-Origin"] == APP
    assert asked.headers["Access-Control-Allow-Methods"] == "OPTIONS, POST"
    assert {"Authorization", "Content-Type", "Idempotency-Key"} <= {
        name.strip() for name in asked.headers["Access-Control-Allow-Headers"].split(",")
    }
    assert asked.headers["Access-Control-Max-Age"] == "600"
    refused = Citizen(app, "", here)("OPTIONS", ANALYZE, Origin=ELSEWHERE, Access_Control_Request_Method="POST")
    assert not corsed(refused)
    plain = Citizen(app, "", here)("OPTIONS", ANALYZE)
    assert set(plain.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert not corsed(plain)
    nowhere = Citizen(app, "", here)("OPTIONS", "/nowhere", Origin=APP, Access_Control_Request_Method="POST")
    assert nowhere.status_code == 404
    assert [left(answer) for answer in (refused, plain, nowhere)] == [2, 1, 0], "only what a known page needs is free"
    assert code(Citizen(app, "", here)("OPTIONS", ANALYZE)) == "too_many_requests"
    assert Citizen(app, "", here)("OPTIONS", ANALYZE, Origin=APP, Access_Control_Request_Method="POST").data == b""


# --- what every answer carries, and what none may bring


def test_every_answer_is_guarded(serve: Serve, keys: Path) -> None:
    app = serve(RATE_LIMIT_PER_MINUTE="12")
    me, away = Citizen(app, signed(keys)), Citizen(serve(REDIS_URL=NOBODY), signed(keys))
    answers = [
        me("GET", HISTORY),
        Citizen(app, "", address())("GET", HISTORY),
        me("GET", "/nowhere"),
        me("DELETE", HISTORY),
        me("POST", ANALYZE, {"key": "x" * 70_000}),
        me("POST", ANALYZE, {"kez": "x"}),
        me("GET", HISTORY, X_Much="x" * 17_000),
        me("OPTIONS", ANALYZE, Origin=APP, Access_Control_Request_Method="POST"),
        away("GET", HISTORY),
        *(me("GET", HISTORY) for _ in range(12)),
    ]
    assert {answer.status_code for answer in answers} == {200, 204, 401, 404, 405, 413, 422, 429, 431}
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Cache-Control"] == "no-store"
        assert len(answer.headers["X-Correlation-Id"]) == 32
        assert "Strict-Transport-Security" not in answer.headers, "it came by http"


def test_who_came_by_https_stays_there(serve: Serve) -> None:
    answer = Citizen(serve())("GET", HISTORY, X_Forwarded_Proto="https")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


# --- without Redis


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that takes every connection and never says anything: its URL."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        kept: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    kept.append(door.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"redis://127.0.0.1:{door.getsockname()[1]}/0"
        door.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


@pytest.mark.parametrize("how", ["nobody listens", "never answers"])
def test_without_redis_reads_go_on_and_nothing_is_spent(
    serve: Serve, presign: Serve, world: World, keys: Path, mute: str, *, how: str
) -> None:
    url = NOBODY if how == "nobody listens" else mute
    analysis = world.analysis("presigned")
    token = signed(keys, str(world.state(analysis)["user_id"]))
    waste, uploads = serve(REDIS_URL=url), presign(REDIS_URL=url)
    took = []
    assert all(app.test_client().get("/readyz").status_code == 200 for app in (waste, uploads)), "and now connected"

    def timed(app: Flask, *request: Any) -> TestResponse:
        started = time.monotonic()
        answer = Citizen(app, token)(*request)
        took.append(time.monotonic() - started)
        return answer

    refused = timed(waste, "POST", ANALYZE, {"key": world.key(analysis)})
    assert (refused.status_code, code(refused)) == (503, "unavailable")
    assert refused.headers["Retry-After"] == "1"
    assert world.state(analysis)["status"] == "presigned", "nothing has begun"
    read = timed(waste, "GET", HISTORY)
    assert read.status_code == 200
    assert "RateLimit-Limit" not in read.headers
    assert timed(waste, "GET", f"{HISTORY}/{analysis}").status_code == 200
    assert timed(uploads, "POST", UPLOADS, {"content_type": "image/png"}).status_code == 201
    assert max(took) < 2.0


def test_a_redis_that_takes_nothing_lets_nobody_in(serve: Serve, pipeline_env: dict[str, str], keys: Path) -> None:
    me, full = Citizen(serve(), signed(keys)), Citizen(serve(), signed(keys))
    with closing(redis.Redis.from_url(pipeline_env["REDIS_URL"])) as client:
        client.config_set("maxmemory", 1)
        try:
            assert me("GET", HISTORY).status_code == 200, "it still says what was signed out"
            client.delete(SENTINEL)
            assert [full("GET", HISTORY).status_code for _ in range(3)] == [401] * 3
        finally:
            client.config_set("maxmemory", 0)
    assert full("GET", HISTORY).status_code == 401, "it was issued before the list began anew"
    assert Citizen(full.app, signed(keys))("GET", HISTORY).status_code == 200


def test_redis_that_comes_back_is_asked_again(redis_url: str, mute: str) -> None:
    memory, asked = Memory(mute, timeout=0.1, rest=2), []

    def ping(client: redis.Redis) -> Any:
        asked.append(client)
        return client.ping()

    for _ in range(20):
        with pytest.raises(Away):
            memory.ask(ping)
    assert len(asked) == 1, "one waited, the others did not"
    memory._url, memory._timeout = redis_url, 10
    del memory._redis
    time.sleep(2)
    assert memory.ask(ping)
