"""The WebSocket of an analysis, on the real server: replay, follow, end; and what happens when there is no room.

`live` runs as it is deployed (gunicorn, gthread), because sockets, threads and signals are what is being tested.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import websocket

from functions.live.routes import BAD_HELLO, BAD_TOKEN, COME_BACK, NOT_FOUND, POLL_INSTEAD
from functions.shared import proofs
from functions.shared.events import (
    AnalysisRequested,
    Payload,
    PhotoIngested,
    ProofGraded,
    ProofIngested,
    ProofRefused,
    ProofRequested,
    QuestionAnswered,
    QuestionAsked,
)
from functions.shared.postgres import Database
from functions.shared.tokens import Signer
from tests.steps import World
from tests.waiting import GRACE, until, until_it_answers

ROOT = Path(__file__).parents[1]
MAX_SOCKETS = 3


@dataclass
class Server:
    """A running `live`."""

    port: int
    process: subprocess.Popen[bytes]
    signer: Signer

    def connect(self, analysis_id: str, user_id: str, after: int = 0, hello: Any = None) -> websocket.WebSocket:
        ws = websocket.create_connection(self._url(analysis_id), timeout=10)
        token = self.signer.issue(uuid.UUID(user_id)).token
        ws.send(json.dumps({"token": token, "after": after}) if hello is None else hello)
        return ws

    def _url(self, analysis_id: str) -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/waste/analyses/{analysis_id}/events"


@contextmanager
def serving(database_url: str, redis_url: str, keys: Path, **environ: str) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--workers", "1", "--threads", "8"),
        *("--bind", f"127.0.0.1:{port}", "--graceful-timeout", "20", "functions.live.main:app"),
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "RATE_LIMIT_PER_MINUTE": "100000",
            "JWT_PUBLIC_KEYS_DIR": str(keys / "public"),
            "MAX_SOCKETS": str(MAX_SOCKETS),
            "PGAPPNAME": "live-under-test",
            **environ,
        },
    )
    try:
        until_it_answers(f"http://127.0.0.1:{port}/healthz", process)
        yield Server(port, process, Signer(keys / "private.pem"))
    finally:
        process.terminate()
        process.wait(GRACE)


@pytest.fixture(scope="module")
def live(database_url: str, redis_url: str, keys: Path) -> Iterator[Server]:
    with serving(database_url, redis_url, keys) as server:
        yield server


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    db = Database(database_url)
    yield World(db)
    db.close()


@pytest.fixture
def begun(world: World) -> tuple[str, str]:
    """(analysis id, user id) of an analysis with one event."""
    analysis = world.analysis("requested")
    world.said(analysis, AnalysisRequested(key=world.key(analysis)))
    return analysis, str(world.row("SELECT user_id FROM analyses WHERE id = %s", analysis)["user_id"])


def ingested(world: World, analysis: str) -> None:
    world.said(analysis, PhotoIngested(photo_id=str(uuid.uuid4()), sha256="0" * 64, width=1, height=1), by="ingest")


def completed(world: World, analysis: str) -> None:
    with world.db.transaction() as tx:
        tx.execute("UPDATE analyses SET status = 'completed', outcome = 'guide' WHERE id = %s", (analysis,))


def receive(ws: websocket.WebSocket) -> dict[str, Any]:
    """The next message. AssertionError with the close code where the server closes instead."""
    opcode, data = ws.recv_data()
    assert opcode == websocket.ABNF.OPCODE_TEXT, f"closed with {int.from_bytes(data[:2], 'big')}"
    return dict(json.loads(data))


def close_code(ws: websocket.WebSocket) -> int:
    """The code the server closes with, whatever it says before."""
    while True:
        opcode, data = ws.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(data[:2], "big")


def test_what_was_missed_is_replayed_and_what_comes_follows(live: Server, world: World, begun: tuple[str, str]) -> None:
    analysis, user = begun
    ws = live.connect(analysis, user)
    first = receive(ws)
    assert (first["n"], first["stage"], first["status"]) == (1, "analysis.requested", "requested")

    ingested(world, analysis)
    started = time.monotonic()
    second = receive(ws)
    assert (second["n"], second["stage"]) == (2, "photo.ingested")
    assert time.monotonic() - started < 2.5, "PostgreSQL announced it: nobody had to wait for the next look"

    completed(world, analysis)
    ingested(world, analysis)
    assert receive(ws)["n"] == 3
    assert receive(ws) == {"status": "completed", "final": True}
    assert close_code(ws) == 1000


@pytest.fixture
def guided(world: World) -> tuple[str, str]:
    """(analysis id, user id) of a completed analysis that has said one thing."""
    analysis = world.analysis("completed", outcome="guide")
    world.said(analysis, AnalysisRequested(key=world.key(analysis)))
    return analysis, str(world.row("SELECT user_id FROM analyses WHERE id = %s", analysis)["user_id"])


@pytest.mark.parametrize("end", ["graded", "refused"])
def test_a_proof_is_followed_to_its_end(live: Server, world: World, guided: tuple[str, str], end: str) -> None:
    analysis, user = guided
    proof = world.proof(analysis)
    world.said(analysis, ProofRequested(proof_id=proof, key="k"))
    ws = live.connect(analysis, user, after=1)
    asked = receive(ws)
    assert (asked["n"], asked["stage"], asked["status"]) == (2, "proof.requested", "completed")

    with world.db.transaction() as tx:
        proofs.advance(tx, proof, frm={"requested"}, to="ingested")
    world.said(analysis, ProofIngested(proof_id=proof, photo_id="p", sha256="s"), by="ingest")
    started = time.monotonic()
    assert receive(ws)["stage"] == "proof.ingested"
    assert time.monotonic() - started < 2.5

    said: Payload = ProofRefused(proof_id=proof, reason="unclear")
    with world.db.transaction() as tx:
        if end == "refused":
            assert proofs.refuse(tx, proof, "unclear", "")
        else:
            said = ProofGraded(proof_id=proof, grade="high", score=95)
            proofs.grade(tx, proof, grade="high", score=95, verdicts=[], feedback={}, made_by={}, flags=[])
    world.said(analysis, said, by="grade")
    assert (receive(ws)["stage"]) == f"proof.{end}"
    assert receive(ws) == {"status": "completed", "final": True}
    assert close_code(ws) == 1000


def test_a_question_is_followed_to_its_answer(live: Server, world: World, guided: tuple[str, str]) -> None:
    analysis, user = guided
    question = world.question(analysis)
    world.said(analysis, QuestionAsked(question_id=question))
    ws = live.connect(analysis, user, after=1)
    assert receive(ws)["stage"] == "question.asked"
    world.do("UPDATE questions SET status = 'declined' WHERE id = %s", question)
    world.said(analysis, QuestionAnswered(question_id=question, outcome="declined"), by="generate")
    assert receive(ws)["stage"] == "question.answered"
    assert receive(ws)["final"] is True


def test_while_anything_is_open_nothing_is_final(live: Server, world: World, guided: tuple[str, str]) -> None:
    analysis, user = guided
    question, proof = world.question(analysis), world.proof(analysis)
    ws = live.connect(analysis, user)
    assert receive(ws)["n"] == 1
    world.do("UPDATE questions SET status = 'answered' WHERE id = %s", question)
    world.said(analysis, QuestionAnswered(question_id=question, outcome="answered"), by="generate")
    assert receive(ws)["stage"] == "question.answered"
    ingested(world, analysis)
    assert "stage" in receive(ws), "the proof is still open"
    with world.db.transaction() as tx:
        assert proofs.refuse(tx, proof, "no_photo", "")
    world.said(analysis, ProofRefused(proof_id=proof, reason="no_photo"), by="recover")
    assert receive(ws)["stage"] == "proof.refused"
    assert receive(ws)["final"] is True


def test_an_address_that_was_only_given_out_keeps_nothing_open(
    live: Server, world: World, guided: tuple[str, str]
) -> None:
    world.proof(guided[0], "presigned")
    ws = live.connect(*guided)
    assert receive(ws)["n"] == 1
    assert receive(ws) == {"status": "completed", "final": True}


def test_a_client_that_comes_back_hears_only_what_is_new(live: Server, world: World, begun: tuple[str, str]) -> None:
    analysis, user = begun
    for _ in range(3):
        ingested(world, analysis)
    completed(world, analysis)
    ws = live.connect(analysis, user, after=2)
    assert [receive(ws)["n"], receive(ws)["n"]] == [3, 4]
    assert receive(ws)["final"] is True


def test_an_analysis_is_only_its_owners(live: Server, world: World, begun: tuple[str, str]) -> None:
    analysis, user = begun
    stranger = str(world.row("SELECT user_id FROM analyses WHERE id = %s", world.analysis())["user_id"])
    assert close_code(live.connect(analysis, stranger)) == NOT_FOUND
    assert close_code(live.connect(str(uuid.uuid4()), user)) == NOT_FOUND


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ("not json", BAD_HELLO),
        ("[]", BAD_HELLO),
        ("{}", BAD_HELLO),
        ('{"token": 7}', BAD_HELLO),
        ('{"token": "x", "after": -1}', BAD_HELLO),
        ('{"token": "x", "after": true}', BAD_HELLO),
        ('{"token": "a.b.c", "befor": 1}', BAD_HELLO),
        ('{"token": "a.b.c"}', BAD_TOKEN),
    ],
)
def test_whoever_does_not_introduce_themselves_is_sent_away(
    live: Server, begun: tuple[str, str], hello: str, code: int
) -> None:
    assert close_code(live.connect(*begun, hello=hello)) == code


def test_without_room_the_client_is_told_to_poll_and_the_rest_still_works(live: Server, begun: tuple[str, str]) -> None:
    held = [live.connect(*begun) for _ in range(MAX_SOCKETS)]
    for ws in held:
        assert receive(ws)["n"] == 1
    turned_away = websocket.create_connection(live._url(begun[0]), timeout=10)
    assert close_code(turned_away) == POLL_INSTEAD
    with urllib.request.urlopen(f"http://127.0.0.1:{live.port}/readyz", timeout=5) as answer:
        assert answer.status == 200
    for ws in held:
        ws.close()
    again = until(lambda: _greeted(live, begun))
    again.close()


def _greeted(live: Server, begun: tuple[str, str]) -> websocket.WebSocket | None:
    ws = live.connect(*begun)
    opcode, _ = ws.recv_data()
    return ws if opcode == websocket.ABNF.OPCODE_TEXT else None


def test_nobody_takes_all_the_room(
    database_url: str, redis_url: str, keys: Path, world: World, begun: tuple[str, str]
) -> None:
    with serving(database_url, redis_url, keys, MAX_SOCKETS="4", MAX_SOCKETS_PER_USER="2") as server:
        held = [server.connect(*begun) for _ in range(2)]
        for ws in held:
            assert receive(ws)["n"] == 1
        assert close_code(server.connect(*begun)) == POLL_INSTEAD
        analysis = world.analysis("requested")
        world.said(analysis, AnalysisRequested(key=world.key(analysis)))
        other = server.connect(analysis, str(world.state(analysis)["user_id"]))
        assert receive(other)["n"] == 1, "there is room for others"
        held[0].close()
        until(lambda: _greeted(server, begun)).close()


def test_the_news_go_on_when_postgres_drops_every_connection(
    live: Server, world: World, begun: tuple[str, str], database_url: str
) -> None:
    analysis, user = begun
    ws = live.connect(analysis, user)
    assert receive(ws)["n"] == 1
    with psycopg.connect(database_url, autocommit=True) as admin:
        dropped = admin.execute(
            """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'live-under-test'"""
        ).fetchone()
    assert dropped
    assert dropped[0] >= 2, "the listening connection and the pool's"
    ingested(world, analysis)
    assert receive(ws)["n"] == 2
    ws.close()


def test_one_connection_listens_for_everybody(
    live: Server, world: World, begun: tuple[str, str], database_url: str
) -> None:
    sockets = [live.connect(*begun) for _ in range(MAX_SOCKETS)]
    for ws in sockets:
        assert receive(ws)["n"] == 1
    with psycopg.connect(database_url, autocommit=True) as admin:
        listening = until(
            lambda: admin.execute(
                """SELECT count(*) FROM pg_stat_activity
                   WHERE application_name = 'live-under-test' AND query LIKE 'LISTEN%' HAVING count(*) > 0"""
            ).fetchone()
        )
    assert listening == (1,)
    for ws in sockets:
        ws.close()


def test_a_socket_is_let_go_before_the_revision_times_out(
    database_url: str, redis_url: str, keys: Path, world: World, begun: tuple[str, str]
) -> None:
    with serving(database_url, redis_url, keys, SOCKET_SECONDS="0.5") as server:
        ws = server.connect(*begun)
        assert receive(ws)["n"] == 1
        assert close_code(ws) == COME_BACK
        ingested(world, begun[0])
        again = server.connect(*begun, after=1)
        assert receive(again)["n"] == 2, "it missed nothing"


def test_a_server_that_is_stopped_sends_its_sockets_away_at_once(
    database_url: str, redis_url: str, keys: Path, begun: tuple[str, str]
) -> None:
    with serving(database_url, redis_url, keys) as server:
        ws = server.connect(*begun)
        assert receive(ws)["n"] == 1
        server.process.send_signal(signal.SIGTERM)
        assert close_code(ws) == COME_BACK
        assert server.process.wait(GRACE) == 0
