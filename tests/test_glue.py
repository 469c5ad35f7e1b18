"""The glue, through a real function folder and a real database: each outcome, duplicates, lost leases, parking."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import functions_framework
import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from functions.shared import wire
from functions.shared.claims import LEASE_SECONDS
from functions.shared.events import AnalysisRequested, Event
from functions.shared.function import Done, step
from functions.shared.postgres import Database
from tests.steps import OnlyDatabase

FUNCTION = Path(__file__).parent / "functions" / "step" / "main.py"


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("DATABASE_URL", database_url)
    created: Flask = functions_framework.create_app("main", str(FUNCTION), "http")
    return created


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def requested(db: Database, key: str) -> Event[AnalysisRequested]:
    """An analysis in state `requested` and the event that says so."""
    user, analysis = uuid.uuid4(), uuid.uuid4()
    with db.transaction() as tx:
        tx.execute("INSERT INTO users (id, kind) VALUES (%s, 'guest')", (user,))
        tx.execute(
            """INSERT INTO analyses (id, user_id, status, key, content_type, correlation_id)
               VALUES (%s, %s, 'requested', %s, 'image/jpeg', 'c')""",
            (analysis, user, f"uploads/{analysis}"),
        )
    return Event(
        id=str(uuid.uuid4()),
        source="/functions/waste",
        subject=str(analysis),
        data=AnalysisRequested(key=key),
        time=datetime.now(UTC),
        correlation_id="c",
    )


def deliver(client: FlaskClient, event: Event[AnalysisRequested]) -> tuple[int, str | None]:
    headers, body = wire.to_http(event)
    answer = client.post("/", data=body, headers=headers)
    return answer.status_code, answer.headers.get("ce-id")


def analysis(db: Database, event: Event[AnalysisRequested]) -> dict[str, object]:
    with db.transaction() as tx:
        row = tx.execute(
            """SELECT a.status, a.question, a.failure, a.last_n, c.state, c.outcome, c.attempts
               FROM analyses a LEFT JOIN claims c ON c.analysis_id = a.id WHERE a.id = %s""",
            (event.subject,),
        ).fetchone()
    assert row is not None
    return row


def test_work_is_stored_and_answered_and_a_duplicate_gets_the_same_reply(client: FlaskClient, db: Database) -> None:
    event = requested(db, "ok")
    first, second = deliver(client, event), deliver(client, event)
    assert first == second
    assert first[0] == 200
    assert analysis(db, event) == {
        "status": "ingested",
        "question": "x",
        "failure": None,
        "last_n": 1,
        "state": "done",
        "outcome": "event",
        "attempts": 1,
    }


def test_once_somebody_claimed_the_reply_it_is_not_said_again(client: FlaskClient, db: Database) -> None:
    event = requested(db, "ok")
    _, reply = deliver(client, event)
    with db.transaction() as tx:
        tx.execute(
            """INSERT INTO claims (consumer, event_source, event_id, analysis_id, state, lease_until)
               VALUES ('next', '/functions/step', %s, %s, 'running', now())""",
            (reply, event.subject),
        )
    assert deliver(client, event) == (204, None)


def test_ten_deliveries_at_once_do_the_work_once(app: Flask, db: Database) -> None:
    event = requested(db, "slow")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: deliver(app.test_client(), event)[0], range(10)))
    assert sorted(set(answers)) == [200, 409]
    assert analysis(db, event)["question"] == "x"
    assert analysis(db, event)["last_n"] == 1


def test_the_store_does_not_know_the_correlation_id_but_the_analysis_does(client: FlaskClient, db: Database) -> None:
    event = dataclasses.replace(requested(db, "ok"), correlation_id="of-the-object-store")
    headers, body = wire.to_http(event)
    assert client.post("/", data=body, headers=headers).headers["ce-correlationid"] == "c"


def test_two_different_events_for_the_same_step_have_one_effect(client: FlaskClient, db: Database) -> None:
    event = requested(db, "ok")
    other = Event(
        id="other", source="/functions/s3", subject=event.subject, data=event.data, time=event.time, correlation_id="c"
    )
    assert [deliver(client, event)[0], deliver(client, other)[0]] == [200, 204]
    with db.transaction() as tx:
        rows = tx.execute("SELECT outcome FROM claims WHERE analysis_id = %s", (event.subject,)).fetchall()
    assert sorted(row["outcome"] for row in rows) == ["event", "superseded"]
    assert analysis(db, event)["question"] == "x"


def test_nothing_to_say_is_204_and_acknowledged(client: FlaskClient, db: Database) -> None:
    event = requested(db, "nothing")
    assert deliver(client, event) == (204, None)
    assert analysis(db, event)["outcome"] == "nothing"


@pytest.mark.parametrize(("key", "status"), [("retry", 503), ("bug", 500)])
def test_a_failed_attempt_gives_the_claim_back_at_once(
    client: FlaskClient, db: Database, key: str, status: int
) -> None:
    event = requested(db, key)
    assert [deliver(client, event)[0] for _ in range(3)] == [status] * 3
    row = analysis(db, event)
    assert (row["state"], row["attempts"], row["status"]) == ("released", 3, "requested")


def test_a_model_outage_parks_after_two_retries_and_comes_back_when_due(client: FlaskClient, db: Database) -> None:
    event = requested(db, "model-down")
    assert [deliver(client, event)[0] for _ in range(4)] == [503, 503, 204, 204]
    with db.transaction() as tx:
        row = tx.execute(
            """UPDATE claims SET next_attempt_at = now() WHERE analysis_id = %s
               RETURNING state, attempts, model_failures""",
            (event.subject,),
        ).fetchone()
    assert row == {"state": "parked", "attempts": 3, "model_failures": 3}
    assert deliver(client, event)[0] == 204
    assert analysis(db, event)["attempts"] == 4


def test_rejected_ends_the_analysis_and_says_why(client: FlaskClient, db: Database) -> None:
    event = requested(db, "rejected")
    assert deliver(client, event)[0] == 200
    row = analysis(db, event)
    assert row["failure"] == {"reason": "bad_photo", "detail": "truncated", "from": "requested"}
    assert (row["status"], row["outcome"]) == ("failed", "rejected")


def test_work_held_elsewhere_is_409_until_the_lease_ends(client: FlaskClient, db: Database) -> None:
    event = requested(db, "ok")
    with db.transaction() as tx:
        tx.execute(
            """INSERT INTO claims (consumer, event_source, event_id, analysis_id, state, lease_until)
               VALUES ('step', %s, %s, %s, 'running', now() + make_interval(secs => %s))""",
            (event.source, event.id, event.subject, LEASE_SECONDS),
        )
    assert deliver(client, event)[0] == 409
    with db.transaction() as tx:
        tx.execute("UPDATE claims SET lease_until = now() - interval '1 s' WHERE analysis_id = %s", (event.subject,))
    assert deliver(client, event)[0] == 200
    assert analysis(db, event)["attempts"] == 2


def test_a_holder_whose_lease_was_taken_over_stores_nothing(app: Flask, db: Database) -> None:
    event = requested(db, "slow")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(deliver, app.test_client(), event)
        while True:  # wait for the claim, then take it away as a second holder would
            with db.transaction() as tx:
                taken = tx.execute(
                    "UPDATE claims SET attempts = attempts + 1 WHERE analysis_id = %s", (event.subject,)
                ).rowcount
            if taken:
                break
        assert slow.result()[0] == 409
    assert (analysis(db, event)["question"], analysis(db, event)["last_n"]) == (None, 0)


def test_a_cold_start_is_over_before_the_lease_begins(db: Database) -> None:
    """It may take longer than the lease; and where it fails, the work itself says what is wrong."""
    leases: list[object] = []

    def warm(_: OnlyDatabase) -> None:
        leases.append(analysis(db, first)["state"])
        raise ConnectionError("a store is away")

    main = step("step", handle=lambda event, deps: Done(), deps=OnlyDatabase(db), warm=warm)
    app = Flask("step")
    app.add_url_rule("/", view_func=lambda: main(request), methods=["POST"])
    first, second = requested(db, "ok"), requested(db, "ok")
    assert [deliver(app.test_client(), event)[0] for event in (first, second)] == [204, 204]
    assert leases == [None]
    assert analysis(db, second)["state"] == "done"


def test_an_undecodable_event_is_500_so_that_it_becomes_a_dead_letter(client: FlaskClient) -> None:
    assert client.post("/", data=b"{", headers={"ce-id": "1"}).status_code == 500


def test_a_lost_database_is_503_and_health_tells(monkeypatch: pytest.MonkeyPatch, db: Database) -> None:
    event = requested(db, "ok")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    client = functions_framework.create_app("main", str(FUNCTION), "http").test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert deliver(client, event)[0] == 503
