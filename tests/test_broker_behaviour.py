"""The stand-in answers as Knative's own RabbitMQ broker was seen to: every recorded row, against a real RabbitMQ.

Beyond the rows: what survives a crash, what happens while RabbitMQ is away, and what becomes of removed Triggers.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
import requests

from tests.broker import Answer, BrokerProcess, Request, Subscriber, Wire, running, trigger
from tests.waiting import GRACE, until

OBSERVED = json.loads((Path(__file__).parent / "data/broker-behaviour.json").read_text(encoding="utf-8"))
ROWS, REQUESTS = OBSERVED["dispatcher"], OBSERVED["ingress"]
NAMES = [f"{n:02} {row['answer']} {row['body']}" for n, row in enumerate(ROWS)]

JSON = {"Content-Type": "application/json"}
REPLY = {"ce-specversion": "1.0", "ce-type": "reply", "ce-source": "/subscriber", "ce-subject": "s"}
STRUCTURED = {"specversion": "1.0", "type": "reply", "source": "/subscriber", "subject": "s", "data": {"reply": "가"},
              "datacontenttype": "application/json"}  # fmt: skip


@pytest.fixture(scope="module")
def subscriber() -> Iterator[Subscriber]:
    server = Subscriber()
    yield server
    server.close()


def answer(row: dict[str, Any], n: int, earlier: int) -> Answer:
    """What the subscriber of row `n` says to its attempt number `earlier` + 1."""
    status, id_, structured = row["answer"], {"ce-id": f"reply-{n}"}, {"Content-Type": "application/cloudevents+json"}
    return {
        "none": Answer(status, {"Location": "/target"} if status == 302 else {}),
        "binary CloudEvent (ce-* headers)": Answer(status, {**REPLY, **JSON, **id_}, '{"reply": "가"}'.encode()),
        "structured CloudEvent": Answer(status, structured, json.dumps({**STRUCTURED, "id": f"reply-{n}"}).encode()),
        "text/html OK": Answer(status, {"Content-Type": "text/html"}, b"OK"),
        "application/json, no ce-* headers": Answer(status, JSON, b"{}"),
        "ce-* headers without type and source": Answer(status, {"ce-specversion": "1.0", **id_}, b"{}"),
        "no answer for 6 s": Answer(status, wait=6),
        "this answer once, then 200": Answer(status if earlier == 0 else 200),
    }[row["body"]]


@dataclass(frozen=True)
class Seen:
    """What happened to the events, one for each row, by its number."""

    attempts: dict[int, list[Request]]
    dead: dict[int, list[Request]]
    replies: dict[str, Request]
    redirected: list[Request]
    url: str


@pytest.fixture(scope="module")
def seen(amqp_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """All rows at once; over when every queue is empty again."""
    subscriber, settings = Subscriber(), OBSERVED["dispatcher_settings"]
    delivery = {"retry": settings["retry"], "backoffPolicy": settings["backoffPolicy"], "timeout": "PT2S"}
    rows = trigger("row", f"{subscriber.url}/rows", f"{subscriber.url}/dead", delivery, parallelism=len(ROWS))
    numbers = range(len(ROWS))

    def answers(request: Request, _: int) -> Answer:
        n = int(request.headers["ce-id"])
        return answer(ROWS[n], n, subscriber.ids("/rows").count(str(n)))

    subscriber.answers["/rows"] = answers
    triggers = [rows, trigger("reply", f"{subscriber.url}/replies", None)]
    with running(BrokerProcess(tmp_path_factory.mktemp("rows"), amqp_url, triggers)) as broker:
        for n in numbers:
            assert broker.post("row", str(n), f'{{"가": {n}}}'.encode(), correlationid="c") == 202
            time.sleep(0.05)  # so that gaps of 100 ms are measured on a quiet machine
        until(broker.idle)
    by_number = {path: {n: [r for r in subscriber.at(path) if r.headers["ce-id"] == str(n)] for n in numbers}
                 for path in ("/rows", "/dead")}  # fmt: skip
    replies = {request.headers["ce-id"]: request for request in subscriber.at("/replies")}
    yield Seen(by_number["/rows"], by_number["/dead"], replies, subscriber.at("/target"), subscriber.url)
    subscriber.close()


@pytest.mark.parametrize(("n", "row"), list(enumerate(ROWS)), ids=NAMES)
def test_a_subscribers_answer(seen: Seen, n: int, row: dict[str, Any]) -> None:
    attempts, dead = seen.attempts[n], seen.dead[n]
    assert [(r.method, r.body) for r in attempts] == [("POST", f'{{"가": {n}}}'.encode())] * row["attempts"]
    gaps = [(later.at - earlier.at) * 1000 for earlier, later in itertools.pairwise(attempts)]
    assert len(gaps) == len(row["gaps_ms"])
    for gap, wanted in zip(gaps, row["gaps_ms"], strict=True):
        early, late = wanted - min(50, wanted * 0.3), wanted * 1.35 + 500  # a busy machine may make one of them late
        if row["body"] == "no answer for 6 s":  # counted from when it was sent; noted later
            early -= 500
        assert early <= gap <= late, f"{gaps} instead of {row['gaps_ms']}"
    assert sum(gaps) >= sum(row["gaps_ms"]) - 500, "what one gap lacks the next has"
    assert len(dead) == row["dead_lettered"]
    for letter in dead:
        assert letter.headers["ce-knativeerrordest"] == f"{seen.url}/rows"
        assert letter.headers["ce-knativeerrorcode"] == str(row["knativeerrorcode"])
        assert letter.headers["ce-type"] == "row"
        assert letter.body == attempts[0].body
    assert (f"reply-{n}" in seen.replies) == row["reply_published"]


def test_backoff_is_exact(seen: Seen) -> None:
    """The n-th gap of the rows that have it: in the median no shorter than what was observed, and the quickest, which a
    busy machine held up least, no longer than that by 35 % and 25 ms."""
    same = [n for n, row in enumerate(ROWS) if row["gaps_ms"] == [100, 200, 400]]
    assert len(same) == 10
    for which, wanted in enumerate((100, 200, 400)):
        gaps = [(seen.attempts[n][which + 1].at - seen.attempts[n][which].at) * 1000 for n in same]
        assert wanted - 5 <= statistics.median(gaps), gaps
        assert min(gaps) <= wanted * 1.35 + 25, gaps


def test_a_redirect_is_followed_with_get(seen: Seen) -> None:
    assert [request.method for request in seen.redirected] == ["GET"]


def test_events_are_delivered_in_binary_mode(seen: Seen) -> None:
    """Attributes as ce- headers, a reply too, whichever way it was written; a time is added where none was."""
    first = seen.attempts[0][0].headers
    assert first["content-type"] == "application/json"
    assert (first["ce-specversion"], first["ce-correlationid"]) == ("1.0", "c")
    assert first["ce-time"]
    for n, row in enumerate(ROWS):
        if row["reply_published"]:
            reply = seen.replies[f"reply-{n}"]
            assert (reply.headers["ce-type"], reply.headers["ce-subject"]) == ("reply", "s")
            assert json.loads(reply.body) == {"reply": "가"}


VALID = {"ce-id": "1", "ce-type": "taken", "ce-source": "/tests", "ce-specversion": "1.0"}


def request(url: str, what: str) -> int:
    """Send what a row of `ingress` names; the status."""
    event = {**VALID, **JSON, "ce-id": what}
    whole: dict[str, Any] = {"method": "POST", "url": f"{url}/", "headers": event, "data": b'{"a":1}'}
    changed: dict[str, dict[str, Any]] = {
        "valid, no trigger matches": {"headers": {**event, "ce-type": "untaken"}},
        "missing ce-id": {"headers": {k: v for k, v in event.items() if k != "ce-id"}},
        "missing ce-type": {"headers": {k: v for k, v in event.items() if k != "ce-type"}},
        "missing ce-source": {"headers": {k: v for k, v in event.items() if k != "ce-source"}},
        "specversion 9.9": {"headers": {**event, "ce-specversion": "9.9"}},
        "no ce headers": {"headers": JSON},
        "structured": {
            "headers": {"Content-Type": "application/cloudevents+json"},
            "data": json.dumps({k.removeprefix("ce-"): v for k, v in event.items() if k in VALID} | {"data": {"a": 1}}),
        },
        "batch": {"headers": {"Content-Type": "application/cloudevents-batch+json"}, "data": "[]"},
        "GET": {"method": "GET", "data": None},
        "PUT": {"method": "PUT"},
        "other path": {"url": f"{url}/other"},
        "1 MiB body": {"data": b'"' + b"x" * (1 << 20) + b'"'},
        "malformed json body": {"data": b'{"a":'},
        "no body": {"data": b""},
        "no content-type": {"headers": {k: v for k, v in event.items() if k != "Content-Type"}},
        "non-ascii extension value": {"headers": {**event, "ce-name": "한글".encode()}},
    }
    return requests.request(**{**whole, **changed[what]}, timeout=5).status_code


@pytest.fixture(scope="module")
def ingress(amqp_url: str, subscriber: Subscriber, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker with a Trigger for the type `taken`, a pickier one, and one for a name of the cluster."""
    taken = [
        trigger("taken", f"{subscriber.url}/taken", None),
        trigger("both", f"{subscriber.url}/both", None, type="taken", name="한글"),
        trigger("named", "http://named.tests.svc.cluster.local/inside?x=1", None),
    ]
    with running(BrokerProcess(tmp_path_factory.mktemp("in"), amqp_url, taken, resolve=subscriber.url)) as broker:
        yield broker


@pytest.fixture(scope="module")
def statuses(ingress: BrokerProcess) -> dict[str, int]:
    found = {row["request"]: request(ingress.url, row["request"]) for row in REQUESTS}
    until(ingress.idle)
    return found


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: row["request"])
def test_a_request_to_the_ingress(statuses: dict[str, int], subscriber: Subscriber, row: dict[str, Any]) -> None:
    """Accepted means delivered, once, to whom it matches; refused means nowhere."""
    assert statuses[row["request"]] == row["status"]
    expected = row["status"] == 202 and row["request"] != "valid, no trigger matches"
    assert subscriber.ids("/taken").count(row["request"]) == expected


def test_what_was_accepted_arrives_unchanged(statuses: dict[str, int], subscriber: Subscriber) -> None:
    arrived = {request.headers["ce-id"]: request for request in subscriber.at("/taken")}
    assert len(arrived["1 MiB body"].body) == (1 << 20) + 2
    assert arrived["malformed json body"].body == b'{"a":'
    assert arrived["no body"].body == b""
    assert "content-type" not in arrived["no content-type"].headers
    assert arrived["non-ascii extension value"].headers["ce-name"] == "한글"
    assert json.loads(arrived["structured"].body) == {"a": 1}


def test_a_filter_wants_all_its_attributes(statuses: dict[str, int], subscriber: Subscriber) -> None:
    assert subscriber.ids("/both") == ["non-ascii extension value"]


def test_a_name_of_the_cluster_is_the_activator(ingress: BrokerProcess, subscriber: Subscriber) -> None:
    """The request goes to the address given, its Host header still says whom it is for; trace context goes along."""
    ingress.post("named", "by name", traceparent="00-1-2-01")
    until(lambda: subscriber.at("/inside?x=1") != [])
    headers = subscriber.at("/inside?x=1")[0].headers
    assert (headers["host"], headers["traceparent"]) == ("named.tests.svc.cluster.local", "00-1-2-01")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"data_base64": "eyJhIjoxfQ=="}, 202),
        ({"datacontenttype": "text/plain", "data": "eins"}, 202),
        ({"data": {}, "number": 1, "flag": True}, 202),
        ({"id": "i" * 300, "data": {}}, 202),
        ({"x" * 256: "x"}, 400),
        ({"note": "x" * 200_000}, 400),
        ({"note": "\ud800"}, 400),
        ({"data": {}, "bad-name": "x"}, 400),
        ({"data": {}, "time": "yesterday"}, 400),
        ({"data_base64": "%"}, 400),
    ],
)
def test_structured_events(ingress: BrokerProcess, fields: dict[str, Any], status: int) -> None:
    """What AMQP could not carry is refused too: it would break the connection under everybody."""
    event = {"specversion": "1.0", "id": "s", "type": "untaken", "source": "/tests", **fields}
    headers = {"Content-Type": "application/cloudevents+json"}
    assert requests.post(f"{ingress.url}/", json=event, headers=headers, timeout=30).status_code == status


@pytest.fixture
def own() -> Iterator[Subscriber]:
    """A subscriber for one test alone."""
    server = Subscriber()
    yield server
    server.close()


@pytest.mark.parametrize("parallelism", [1, 4])
def test_parallelism_is_kept(amqp_url: str, own: Subscriber, tmp_path: Path, parallelism: int) -> None:
    own.answers["/work"] = lambda *_: Answer(wait=0.4)  # longer than four take to arrive
    triggers = [trigger("work", f"{own.url}/work", None, parallelism=parallelism)]
    with running(BrokerProcess(tmp_path, amqp_url, triggers)) as broker:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda n: broker.post("work", f"{n}"), range(8))) == {202}
        until(broker.idle)
    assert sorted(own.ids("/work")) == [f"{n}" for n in range(8)]
    assert own.busiest["/work"] == parallelism


def test_linear_backoff_and_no_dead_letter_sink(amqp_url: str, own: Subscriber, tmp_path: Path) -> None:
    """Waits of one, two, three delays; then, with nowhere to go, the event is gone and counted."""
    own.answers["/linear"] = lambda *_: Answer(503)
    delivery = {"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT0.5S"}
    with running(BrokerProcess(tmp_path, amqp_url, [trigger("linear", f"{own.url}/linear", None, delivery)])) as broker:
        broker.post("linear", "1")
        until(lambda: broker.stats()["dropped"] == 1 and broker.idle())
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(own.at("/linear"))]
    assert len(gaps) == 3
    for gap, wanted in zip(gaps, (0.5, 1.0, 1.5), strict=True):  # exponential would be 0.5 more at the last
        assert wanted - 0.02 <= gap <= wanted + 0.45, gaps


def test_a_dead_letter_waits_for_its_sink(amqp_url: str, own: Subscriber, tmp_path: Path) -> None:
    """It is retried like any event; after that it is dropped, as Knative does (eventing-rabbitmq issue 1385)."""
    own.answers["/fails"] = lambda *_: Answer(500)
    own.answers["/sink"] = lambda _, earlier: Answer(503 if earlier < 6 else 200)
    delivery = {"retry": 2, "backoffPolicy": "exponential"}
    triggers = [trigger("fails", f"{own.url}/fails", f"{own.url}/sink", delivery)]
    with running(BrokerProcess(tmp_path, amqp_url, triggers)) as broker:
        for n in range(3):
            broker.post("fails", f"{n}")
            until(broker.idle)
        assert (broker.stats()["dead_letters"], broker.stats()["dropped"]) == (3, 2)
    assert own.ids("/sink") == ["0"] * 3 + ["1"] * 3 + ["2"]


def test_a_reply_that_amqp_cannot_carry_is_no_reply(amqp_url: str, own: Subscriber, tmp_path: Path) -> None:
    """Its event is a dead letter, as with any invalid reply, and the connection lives."""
    own.answers["/vast"] = lambda *_: Answer(
        200, {"Content-Type": "application/cloudevents+json"}, json.dumps({**STRUCTURED, "x": "x" * 200_000}).encode()
    )
    triggers = [trigger("vast", f"{own.url}/vast", f"{own.url}/dead")]
    with running(BrokerProcess(tmp_path, amqp_url, triggers)) as broker:
        broker.post("vast", "1")
        until(lambda: own.at("/dead") != [] and broker.idle())
    assert own.ids("/vast") == ["1"]
    assert [request.headers["ce-knativeerrorcode"] for request in own.at("/dead")] == ["200"]


def test_a_killed_broker_delivers_again(amqp_url: str, own: Subscriber, tmp_path: Path) -> None:
    own.answers["/slow"] = lambda _, earlier: Answer(
        200, {**REPLY, "ce-type": "done", "ce-id": "r"}, wait=5 * (not earlier)
    )
    triggers = [trigger("slow", f"{own.url}/slow", None, {}), trigger("done", f"{own.url}/done", None)]
    with running(BrokerProcess(tmp_path, amqp_url, triggers)) as broker:
        broker.post("slow", "1")
        until(lambda: own.at("/slow") != [])
        broker.stop(kill=True)
        broker.start()
        until(lambda: own.at("/done") != [] and broker.idle())
    assert own.ids("/slow") == ["1", "1"]
    assert own.ids("/done") == ["r"]


def test_nothing_is_lost_while_rabbitmq_is_away(amqp_url: str, own: Subscriber, tmp_path: Path) -> None:
    """The ingress says so at once; an event in flight comes again; the broker is back without help."""
    address = urlsplit(amqp_url)
    wire = Wire(address.hostname or "", address.port or 5672)
    through = address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:{wire.port}").geturl()
    own.answers["/slow"] = lambda _, earlier: Answer(
        200, {**REPLY, "ce-type": "done", "ce-id": "r"}, wait=0 if earlier else 5
    )
    triggers = [trigger("slow", f"{own.url}/slow", None, {}), trigger("done", f"{own.url}/done", None)]
    broker = BrokerProcess(tmp_path, through, triggers)
    wire.cut()
    broker.start(ready=False)
    try:
        until(lambda: broker.health() == 503)
        wire.mend()
        until(broker.healthy)
        assert broker.post("slow", "1") == 202
        until(lambda: own.at("/slow") != [])
        wire.cut()
        until(lambda: not broker.healthy(), 5)
        began = time.monotonic()
        assert broker.post("slow", "2") == 500
        assert requests.get(f"{broker.url}/stats", timeout=30).status_code == 503
        assert time.monotonic() - began < 2
        wire.mend()
        until(broker.healthy, 10)
        until(lambda: own.at("/done") != [] and broker.idle())
        assert broker.post("slow", "3") == 202
        until(lambda: "3" in own.ids("/slow"))
        assert own.ids("/slow") == ["1", "1", "3"]
    finally:
        broker.stop(kill=True)
        wire.close()


def test_a_deleted_trigger_leaves_no_empty_queue(amqp_url: str, own: Subscriber, tmp_path: Path) -> None:
    """Its queue goes if empty; with events in it, it is kept, and gets no more. A changed filter replaces the old."""
    gone, kept, changed = (trigger(name, f"{own.url}/{name}", None, {}) for name in ("gone", "kept", "changed"))
    own.answers["/kept"] = lambda *_: Answer(wait=5)
    broker = BrokerProcess(tmp_path, amqp_url, [gone, kept, changed])
    broker.start()
    queues = {name.split(".")[1]: name for name in broker.stats()["queues"]}
    for n in range(3):
        broker.post("kept", f"{n}")
    until(lambda: own.at("/kept") != [])
    broker.stop(kill=True)
    changed["spec"]["filter"]["attributes"]["type"] = "other"
    broker.set([changed])
    with running(broker):
        assert broker.post("gone", "1") == broker.post("kept", "4") == broker.post("changed", "1") == 202
        assert broker.post("other", "2") == 202
        until(lambda: own.ids("/changed") != [] and broker.idle())
        assert own.ids("/changed") == ["2"]
        assert _messages(amqp_url, queues["gone"]) is None
        assert _messages(amqp_url, queues["kept"]) == 3


def _messages(amqp_url: str, queue: str) -> int | None:
    """How many events wait in a queue, None where it does not exist."""
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        try:
            found = connection.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return None
        return int(found.method.message_count)


def test_it_stops_when_told_and_complains_in_a_sentence(amqp_url: str, own: Subscriber, tmp_path: Path) -> None:
    broken = trigger("broken", f"{own.url}/broken", None)
    broken["spec"]["retries"] = 1
    broker = BrokerProcess(tmp_path, amqp_url, [broken])
    broker.start(ready=False)
    assert broker._process is not None
    assert broker._process.wait(GRACE) == 1
    said = (tmp_path / "broker.log").read_text()
    assert said == "broker: pipelines/triggers.yaml: Trigger broken: spec.retries: unknown field\n"
