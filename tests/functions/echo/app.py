"""A function for the tests of serving: says what it got, waits, dies and echoes over a WebSocket when told to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import flask
from flask_sock import Sock
from simple_websocket import Server

app = flask.Flask("echo")
sock = Sock(app)
_lock = threading.Lock()
_now = _most = 0


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.route("/sleep/<float:seconds>", methods=["GET", "POST"])
def sleep(seconds: float) -> flask.Response:
    """Waits; {pid, most}: the most requests this process ever had at once."""
    global _now, _most  # noqa: PLW0603
    with _lock:
        _now += 1
        _most = max(_most, _now)
    time.sleep(seconds)
    with _lock:
        _now -= 1
    return flask.jsonify(pid=os.getppid(), most=_most)


@app.get("/sleeping")
def sleeping() -> str:
    """How many requests are waiting in `sleep`."""
    return str(_now)


@app.get("/dribble")
def dribble() -> flask.Response:
    """Begins an answer and dies in the middle of it."""

    def pieces() -> Iterator[bytes]:
        yield b"half"
        time.sleep(0.2)
        os._exit(3)

    return flask.Response(pieces(), headers={"Content-Length": "100"})


@app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
@app.route("/<path:path>", methods=["GET", "POST"])
def echo(path: str) -> flask.Response:
    """Everything the function sees of a request and of its surroundings."""
    return flask.jsonify(
        path=flask.request.full_path,
        headers={k.lower(): v for k, v in flask.request.headers.items()},
        length=len(flask.request.get_data()),
        environ=dict(os.environ),
        pid=os.getppid(),
    )


@sock.route("/ws")  # type: ignore[untyped-decorator]
def ws(socket: Server) -> None:
    while True:
        socket.send("echo " + socket.receive())
