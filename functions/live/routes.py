"""WebSocket `…/analyses/{id}/events`: replays what the client has not seen, then follows until nothing is open.

The client speaks first: {"token": "…", "after": n}. Each event is one message {"n", "stage", "at", "status"}; the last
one is {"status", "final": true}. A socket holds a thread, so their number is capped, in all and for each citizen; who
finds no room polls instead.
"""

from __future__ import annotations

import json
import signal
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask
from flask_sock import Sock
from simple_websocket import ConnectionClosed, Server

from functions.live.announcements import Announcements
from functions.live.feed import News, news
from functions.live.room import Full, Room
from functions.live.settings import Settings
from functions.shared import http, telemetry
from functions.shared.edge import Edge
from functions.shared.postgres import Database, Unavailable
from functions.shared.revocations import Revocations
from functions.shared.tokens import BadToken, Verifier

#: Why we close, beside 1000 (the analysis ended). The page knows these numbers.
BAD_HELLO, BAD_TOKEN, NOT_FOUND, COME_BACK, POLL_INSTEAD = 4400, 4401, 4404, 4408, 4429

HELLO_SECONDS = 10.0
#: A wake-up may be lost while PostgreSQL restarts; nothing is noticed later than this.
LOOK_ANYWAY_SECONDS = 3.0

SOCKET = {
    "ping_interval": 25,
    "max_message_size": 8192,
    "thread_class": partial(threading.Thread, daemon=True),  # a mute client must not keep the process alive
}

log = telemetry.logger("live")


def create(settings: Settings) -> Flask:
    """The app of `live`. Nothing connects before the first socket."""
    edge = Edge(settings)
    db = Database(settings.database_url, pool_size=settings.pool_size)
    verifier = Verifier(settings.jwt_public_keys_dir, Revocations(edge.memory))
    announcements = Announcements(settings.database_url)
    room = Room(settings.max_sockets, settings.max_sockets_per_user)
    app = http.create_app("live", db=db, edge=edge, verifier=verifier)
    app.config["SOCK_SERVER_OPTIONS"] = SOCKET
    _before_exit(announcements.close)

    @Sock(app).route("/api/v1/waste/analyses/<uuid:analysis_id>/events")  # type: ignore[untyped-decorator]
    def events(ws: Server, analysis_id: uuid.UUID) -> None:
        try:
            with room.socket():
                _introduced(ws, analysis_id)
        except Full as error:
            log.warning("no room for another socket", why=str(error))
            ws.close(POLL_INSTEAD, "poll")
        except BadToken:
            ws.close(BAD_TOKEN, "token")
        except OSError:
            log.debug("client went away")

    def _introduced(ws: Server, analysis_id: uuid.UUID) -> None:
        hello = _hello(ws)
        if hello is None:
            ws.close(BAD_HELLO, "first message")
            return
        user_id = verifier.user(hello["token"])
        with room.citizen(user_id), announcements.follow(str(analysis_id), ws.event):
            _follow(ws, lambda after: news(db, user_id, analysis_id, after), hello["after"])

    def _follow(ws: Server, look: Callable[[int], News | None], after: int) -> None:
        until = time.monotonic() + settings.socket_seconds
        while True:
            ws.event.clear()
            ws.input_buffer.clear()  # nothing a client says after the first message is of interest
            if not ws.connected:
                return
            try:
                found = look(after)
            except Unavailable as error:
                log.warning("unavailable", error=str(error))
            else:
                if found is None:
                    ws.close(NOT_FOUND, "analysis")
                    return
                for message in found.messages:
                    ws.send(json.dumps(message))
                    after = message["n"]
                if found.final:
                    ws.send(json.dumps({"status": found.status, "final": True}))
                    ws.close()
                    return
            left = until - time.monotonic()
            if left <= 0 or announcements.closing:
                ws.close(COME_BACK, "come back")
                return
            ws.event.wait(min(left, LOOK_ANYWAY_SECONDS))

    return app


def _hello(ws: Server) -> dict[str, Any] | None:
    """The client's first message: {"token": str, "after": int ≥ 0 (0 where absent)}; None for anything else."""
    try:
        given = json.loads(ws.receive(timeout=HELLO_SECONDS) or "")
    except (ValueError, ConnectionClosed):
        return None
    if not isinstance(given, dict) or not isinstance(given.get("token"), str) or given.keys() - {"token", "after"}:
        return None
    after = given.get("after", 0)
    if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after < 2**31:
        return None
    return {"token": given["token"], "after": after}


def _before_exit(action: Callable[[], None]) -> None:
    """Run `action` when gunicorn is told to stop, before it waits for requests: a socket would wait for ever."""
    previous = signal.getsignal(signal.SIGTERM)
    if not callable(previous) or threading.current_thread() is not threading.main_thread():
        return

    def stop(number: int, frame: Any) -> None:
        action()
        previous(number, frame)

    signal.signal(signal.SIGTERM, stop)
