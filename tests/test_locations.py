"""locations: the right centres, whatever the data looks like; open or not; kept, stale, imported; no position kept."""

from __future__ import annotations

import json
import logging
import math
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from flask import Flask

from functions.locations import __main__ as command
from functions.locations import address, days, gathering, goods, hours, shown
from functions.locations.api import Api, SourceFailed
from functions.locations.centre import Centre, Span
from functions.locations.routes import create
from functions.locations.settings import Settings
from functions.locations.shelf import Shelf
from functions.shared import messages
from functions.shared.config import load
from functions.shared.memory import Memory
from functions.shared.postgres import Database
from functions.shared.regions import KOREA
from functions.shared.tokens import new_pair
from knative.local import centres as standin
from knative.local.parts import Addresses
from tests.conftest import ROOT, free_ports, migrated
from tests.portal import Portal, Said, envelope, gateway_error, running_portal
from tests.waiting import PATIENCE, until_it_answers

PATH = "/api/v1/locations"
REAL = ROOT.parent / "shared" / "data" / "recycling-centres.json"
needs_file = pytest.mark.skipif(not REAL.exists(), reason=f"the bulk file of the public data is not there: {REAL.name}")

#: A row as the API has it; positions are those of Seoul's city hall.
ROW = {
    "cnterNm": "가나재활용센터",
    "rdnmadr": "서울특별시 중구 세종대로 110",
    "lnmadr": "서울특별시 중구 태평로1가 31",
    "latitude": "37.5663",
    "longitude": "126.9779",
    "trtmntPrdlst": "가전+가구",
    "weekdayOperOpenHhmm": "09:00",
    "weekdayOperColseHhmm": "18:00",
    "holidayOperOpenHhmm": "00:00",
    "holidayCloseOpenHhmm": "00:00",
    "rstdeInfo": "일+공휴일",
    "operPhoneNumber": "02-111-2222",
    "phoneNumber": "02-333-4444",
    "cnterOperSe": "위탁",
    "operInstitutionNm": "가나자원",
    "instt_nm": "서울특별시 중구",
    "referenceDate": "2026-01-02",
}
HERE = {"lat": "37.566300", "lon": "126.977900"}


class Clock:
    """What time it is for `locations`."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def database(servers: Addresses) -> str:
    return migrated(servers)


@pytest.fixture(scope="module")
def opened(database: str) -> Iterator[Database]:
    opened = Database(database)
    yield opened
    opened.close()


@pytest.fixture
def db(opened: Database) -> Database:
    """No centre is imported."""
    with opened.transaction() as tx:
        tx.execute("DELETE FROM centres")
    return opened


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    new_pair(folder / "private.pem", folder / "public")
    return folder / "public"


@pytest.fixture(scope="module")
def running() -> Iterator[Portal]:
    with running_portal() as running:
        yield running


@pytest.fixture
def portal(running: Portal) -> Portal:
    """Nobody has asked it anything, and it has one row."""
    running.asked.clear()
    running.has([ROW])
    return running


@pytest.fixture
def cache_url(servers: Addresses) -> str:
    """A Redis database in which nothing is."""
    url = servers.redis_url.rpartition("/")[0] + "/9"
    redis.Redis.from_url(url).flushdb()
    return url


@pytest.fixture
def clock() -> Clock:
    return Clock()


App = Callable[..., Flask]


@pytest.fixture
def environ(db: Database, database: str, keys: Path, portal: Portal, cache_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database,
        "REDIS_URL": cache_url,
        "JWT_PUBLIC_KEYS_DIR": str(keys),
        "RATE_LIMIT_PER_MINUTE": "1000000",
        "CENTRES_API_URL": portal.url,
    }


@pytest.fixture
def new_app(environ: dict[str, str], clock: Clock) -> App:
    """`locations` at the portal, with a key of the operator's unless `key` is something else."""

    def make(key: str = "secret-key", **more: str) -> Flask:
        return create(load(Settings, environ | {"CENTRES_API_KEY": key} | more), now=clock)

    return make


@pytest.fixture
def app(new_app: App) -> Flask:
    return new_app()


def near(app: Flask, language: str = "ko", **query: Any) -> dict[str, Any]:
    answer = app.test_client().get(PATH, query_string=HERE | query, headers={"Accept-Language": language})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return dict(answer.get_json())


def refused(app: Flask) -> Any:
    answer = app.test_client().get(PATH, query_string=HERE)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "places_unavailable")
    assert answer.content_type == "application/problem+json"
    return answer


def only(app: Flask, **query: Any) -> dict[str, Any]:
    (one,) = near(app, **query)["centres"]
    return dict(one)


# --- who is near


def angle(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Metres between two positions by the angle of their vectors: not the formula that is tested."""
    (x, y, z), (u, v, w) = vector(a), vector(b)
    cross = math.hypot(y * w - z * v, z * u - x * w, x * v - y * u)
    return math.atan2(cross, x * u + y * v + z * w) * 6_371_000


@cache
def vector(at: tuple[float, float]) -> tuple[float, float, float]:
    north, east = map(math.radians, at)
    return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)


def brute(rows: list[dict[str, str]], here: tuple[float, float], radius: int) -> tuple[list[tuple[float, str]], bool]:
    """The nearest ten of all rows, straight from the file, and whether they are within the radius."""
    every = sorted((angle(here, (float(r["LATITUDE"]), float(r["LONGITUDE"]))), r["CNTER_NM"]) for r in rows)
    within = [one for one in every if one[0] <= radius]
    return (within or every)[:10], bool(within)


@needs_file
@pytest.mark.unmeasured
@pytest.mark.parametrize("through", ["import", "api"])
def test_the_nearest_are_those_a_comparison_with_every_row_finds(
    through: str, new_app: App, portal: Portal, record_property: Callable[[str, object], None]
) -> None:
    rows = json.loads(REAL.read_text(encoding="utf-8"))
    assert len(rows) == 183
    portal.has([{camel(name): value for name, value in row.items()} for row in rows])
    if through == "import":
        assert imported(REAL) == 0
    client = new_app("" if through == "import" else "k").test_client()
    chance = random.Random(5)
    inland = [chance.choice(rows) for _ in range(100)]
    points = [
        (float(r["LATITUDE"]) + chance.gauss(0, 0.2), float(r["LONGITUDE"]) + chance.gauss(0, 0.2)) for r in inland
    ]
    points += [(chance.uniform(32, 39.5), chance.uniform(122.5, 133)) for _ in range(100)]
    empty = 0
    for point in points:
        radius = chance.choice([500, 5000, 5000, 20_000, 100_000])
        query = {"lat": f"{point[0]:.6f}", "lon": f"{point[1]:.6f}", "radius": radius}
        answer = client.get(PATH, query_string=query).get_json()
        here = float(f"{point[0]:.6f}"), float(f"{point[1]:.6f}")
        expected, within = brute(rows, here, radius)
        assert [one["name"] for one in answer["centres"]] == [name for _, name in expected], query
        for one, (metres, _) in zip(answer["centres"], expected, strict=True):
            assert abs(one["distance_m"] - metres) <= 1, query
        assert (answer["note"] is None) is within, query
        empty += not within
    assert 20 < empty < 180, "both kinds of points were tried"
    record_property("figures", f"{through}: 200 points, {empty} of them with nothing within the radius")
    assert portal.times == (0 if through == "import" else 2)


def camel(name: str) -> str:
    first, *rest = name.lower().split("_")
    return first + "".join(part.title() for part in rest)


def test_an_empty_radius_is_said_and_the_nearest_are_shown(app: Flask, portal: Portal) -> None:
    far = {**ROW, "cnterNm": "부산재활용센터", "latitude": "35.1796", "longitude": "129.0756", "trtmntPrdlst": "의류"}
    portal.has([ROW, far])
    answer = near(app, lat="33.4", lon="126.5")
    assert [one["name"] for one in answer["centres"]] == ["부산재활용센터", "가나재활용센터"]
    assert answer["note"] == "5 km 안에는 재활용센터가 없어서 가장 가까운 곳을 보여 드려요."
    english = near(app, "en", lat="33.4", lon="126.5", radius=500)["note"]
    assert english == "There is no recycling centre within 0.5 km, so these are the nearest ones."
    filtered = near(app, accepts="clothing")
    assert [one["name"] for one in filtered["centres"]] == ["부산재활용센터"]
    assert filtered["note"] == messages.text("places.note.outside.filtered", "ko", radius="5 km")
    assert near(app, accepts="lamp")["note"] == messages.text("places.note.none.filtered", "ko")
    assert near(app)["note"] is None


def test_filters_let_through_what_was_asked_for(app: Flask, portal: Portal) -> None:
    portal.has([ROW, {**ROW, "cnterNm": "직영센터", "rdnmadr": "서울특별시 중구 가로 2", "latitude": "37.57",
                      "cnterOperSe": "직영", "trtmntPrdlst": "종이류+캔류"}])  # fmt: skip
    for query, names in [
        ({"type": "direct"}, ["직영센터"]),
        ({"type": "직영"}, ["직영센터"]),
        ({"type": "위탁"}, ["가나재활용센터"]),
        ({"accepts": "paper"}, ["직영센터"]),
        ({"accepts": "furniture", "type": "contracted"}, ["가나재활용센터"]),
        ({"type": "", "accepts": ""}, ["가나재활용센터", "직영센터"]),
    ]:
        assert [one["name"] for one in near(app, **query)["centres"]] == names, query
    both = near(app, accepts="paper", type="contracted")
    assert (both["centres"], both["note"]) == ([], messages.text("places.note.none.filtered", "ko"))


def test_a_centre_is_shown_with_all_that_is_known(app: Flask, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 25, 10, 0, tzinfo=KOREA)
    answer = near(app)
    (one,) = answer["centres"]
    assert re.fullmatch(r"[0-9a-f]{16}", one.pop("id"))
    assert one == {
        "name": "가나재활용센터",
        "distance_m": 0,
        "latitude": 37.5663,
        "longitude": 126.9779,
        "address": "서울특별시 중구 세종대로 110",
        "open": True,
        "suspended": False,
        "hours": {"weekday": {"open": "09:00", "close": "18:00"}, "rest_day": None, "closed": "일+공휴일"},
        "accepts": ["furniture", "appliances"],
        "accepts_names": ["가구", "가전제품"],
        "takes": "가전+가구",
        "type": "contracted",
        "type_name": "위탁",
        "operator": "가나자원",
        "phone": "02-111-2222",
        "phone_of": "centre",
        "reference_date": "2026-01-02",
    }
    assert answer["radius"] == 5000
    assert answer["source"] == {
        "name": messages.text("places.source.api", "ko"),
        "sample": False,
        "fetched_at": "2026-11-25T01:00:00+00:00",
        "age_seconds": 0,
        "stale": False,
    }
    assert only(app, language="en")["accepts_names"] == ["Furniture", "Appliances"]


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ({"lat": "91"}, "lat", "range"),
        ({"lat": "-90.001"}, "lat", "range"),
        ({"lon": "180.5"}, "lon", "range"),
        ({"lat": "nan"}, "lat", "type"),
        ({"lon": "inf"}, "lon", "type"),
        ({"lon": "1e999"}, "lon", "range"),
        ({"lat": "37,5"}, "lat", "type"),
        ({"lat": "３７"}, "lat", "type"),
        ({"lat": " 37"}, "lat", "type"),
        ({"lat": ""}, "lat", "type"),
        ({"lat": "3" * 50}, "lat", "type"),
        ({"radius": "0"}, "radius", "range"),
        ({"radius": "100001"}, "radius", "range"),
        ({"radius": "5000.5"}, "radius", "type"),
        ({"radius": "-5"}, "radius", "type"),
        ({"type": "private"}, "type", "choice"),
        ({"accepts": "uranium"}, "accepts", "choice"),
        ({"url": "http://127.0.0.1/"}, "url", "unknown"),
    ],
)
def test_bad_questions_are_refused(app: Flask, portal: Portal, query: dict[str, str], field: str, code: str) -> None:
    answer = app.test_client().get(PATH, query_string=HERE | query)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert [(one["field"], one["code"]) for one in answer.get_json()["problems"]] == [(field, code)]
    assert portal.times == 0


def test_a_position_is_needed(app: Flask) -> None:
    answer = app.test_client().get(PATH)
    assert answer.status_code == 422
    assert {one["field"] for one in answer.get_json()["problems"]} == {"lat", "lon"}
    assert app.test_client().post(PATH).status_code == 405


# --- open or not


def centre(
    closed: str | None = None, weekday: str | None = "09:00-18:00", rest: str | None = None, **more: Any
) -> Centre:
    def span(text: str | None) -> Span | None:
        return Span(*text.split("-")) if text else None

    return Centre(
        id="x", name="x", latitude=37, longitude=127, weekday=span(weekday), rest=span(rest), closed=closed, **more
    )


# 2026-11-25 is a Wednesday. Seollal of 2026 is Tuesday 17 February, Chuseok Friday 25 September.
@pytest.mark.parametrize(
    ("one", "at", "open_"),
    [
        (centre(), "2026-11-25 09:00", True),
        (centre(), "2026-11-25 08:59", False),
        (centre(), "2026-11-25 17:59", True),
        (centre(), "2026-11-25 18:00", False),
        (centre(weekday=None), "2026-11-25 12:00", None),
        (centre(suspended=True), "2026-11-25 12:00", False),
        # days off
        (centre("일요일"), "2026-11-29 12:00", False),
        (centre("일+공휴일"), "2026-12-25 12:00", False),
        (centre("토+일+공휴일"), "2026-11-28 12:00", False),
        (centre("토+일+공휴일"), "2026-11-27 12:00", True),
        (centre("공휴일"), "2026-11-29 12:00", False),  # Sundays are public holidays of offices
        (centre("국가공휴일 및 주말"), "2026-11-28 12:00", False),
        (centre("토일+공휴일"), "2026-11-28 12:00", False),
        (centre("공휴일(토요일포함)"), "2026-11-28 12:00", False),
        (centre("공휴일(토요일운영)"), "2026-11-28 12:00", True),
        (centre("월요일"), "2026-11-23 12:00", False),
        (centre("월+화요일"), "2026-11-24 12:00", False),
        # hours of days of rest: stated, or not
        (centre("일요일", rest="10:00-13:00"), "2026-12-25 11:00", True),
        (centre("일요일", rest="10:00-13:00"), "2026-12-25 14:00", False),
        (centre("일요일"), "2026-12-25 11:00", None),
        (centre(), "2026-11-29 11:00", None),
        (centre("연중무휴", rest="09:00-18:00"), "2026-12-25 11:00", True),
        (centre("연중무휴"), "2026-12-25 11:00", None),
        # a Saturday is a weekday to some and a day of rest to others
        (centre("일+공휴일", rest="09:00-13:00"), "2026-11-28 10:00", True),
        (centre("일+공휴일", rest="09:00-13:00"), "2026-11-28 15:00", None),
        (centre("일+공휴일", rest="09:00-13:00"), "2026-11-28 19:00", False),
        (centre("일+공휴일"), "2026-11-28 10:00", None),
        (centre("일요일+공휴일(토요일운영_08:30~15:00)"), "2026-11-28 14:59", True),
        (centre("일요일+공휴일(토요일운영_08:30~15:00)"), "2026-11-28 15:00", False),
        (centre("토요일(11:00이후)+일요일+공휴일"), "2026-11-28 10:59", True),
        (centre("토요일(11:00이후)+일요일+공휴일"), "2026-11-28 11:00", False),
        (centre("격주 토+격주 일", rest="10:00-18:00"), "2026-11-28 12:00", None),
        (centre("격주 토+격주 일", rest="10:00-18:00"), "2026-11-28 20:00", False),
        (centre("격주 토+일", rest="10:00-18:00"), "2026-11-29 12:00", None),  # every Sunday, or every other one?
        (centre("격주 토, 일요일 휴무", rest="10:00-18:00"), "2026-11-29 12:00", None),
        (centre("격주 토일", rest="10:00-18:00"), "2026-11-29 12:00", None),
        (centre("격주 토+매주 일", rest="10:00-18:00"), "2026-11-29 12:00", False),
        (centre("격주 토+공휴일+일", rest="10:00-18:00"), "2026-11-29 12:00", False),
        # only 공휴일 is named: Sundays are meant, too, unless there are hours for days of rest
        (centre("공휴일", rest="10:00-18:00"), "2026-11-29 12:00", None),
        (centre("공휴일", rest="10:00-18:00"), "2026-11-29 20:00", False),
        (centre("공휴일", rest="10:00-18:00"), "2026-12-25 12:00", False),
        (centre("일+공휴일", rest="10:00-18:00"), "2026-11-29 12:00", False),
        (centre("격주 일+공휴일"), "2026-11-29 12:00", None),
        (centre("토(격주)+일+설 연휴"), "2026-11-29 12:00", False),
        # feasts
        (centre("설 당일+추석 당일", rest="09:00-18:00"), "2026-02-17 12:00", False),
        (centre("설 당일+추석 당일", rest="09:00-18:00"), "2026-02-18 12:00", True),
        (centre("설 연휴+추석 연휴", rest="09:00-18:00"), "2026-09-24 12:00", False),
        (centre("설 연휴+추석 연휴", rest="09:00-18:00"), "2027-02-09 12:00", False),  # the substitute
        (centre("명절전일 및 당일 휴무,일요일", rest="09:00-18:00"), "2026-02-16 12:00", False),
        (centre("명절전일 및 당일 휴무,일요일", rest="09:00-18:00"), "2026-02-18 12:00", True),
        (centre("일요일+명절 당일+명절 익일+근로자의 날", rest="09:00-18:00"), "2026-02-18 12:00", False),
        (centre("일+1월1일", rest="09:00-18:00"), "2027-01-01 12:00", False),
        (centre("주휴일+근로자의날", rest="09:00-18:00"), "2026-05-01 12:00", False),
        (centre("일+공휴일"), "2026-08-17 12:00", False),  # the substitute of a Saturday
        (centre("일+공휴일"), "2026-07-17 12:00", False),  # a public holiday again since 2026
        # what is not understood proves nothing open
        (centre("둘째 주 화요일"), "2026-11-25 12:00", None),
        (centre("둘째 주 화요일"), "2026-11-24 12:00", None),
        (centre("둘째 주 화요일"), "2026-11-25 20:00", False),
        (centre("일요일+둘째 주 화요일"), "2026-11-29 12:00", False),
        # past midnight
        (centre(weekday="20:00-04:00"), "2026-11-25 21:00", True),
        (centre(weekday="20:00-04:00"), "2026-11-26 03:59", True),
        (centre(weekday="20:00-04:00"), "2026-11-26 04:00", False),
        (centre("일", weekday="20:00-04:00"), "2026-11-23 02:00", False),  # Sunday's night
        (centre("일", weekday="20:00-04:00", rest="20:00-02:00"), "2026-11-29 01:00", True),  # Saturday's night
        (centre("일", weekday="20:00-04:00", rest="20:00-02:00"), "2026-11-29 03:00", None),
        (centre(weekday="00:00-24:00"), "2026-11-25 00:00", True),
        (centre(weekday="00:00-23:59"), "2026-11-25 23:58", True),
    ],
)  # fmt: skip
def test_it_is_open_closed_or_not_known(one: Centre, at: str, open_: bool | None) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=KOREA)
    assert hours.is_open(one, moment) is open_
    assert hours.is_open(one, moment.astimezone(UTC)) is open_, "a moment is one in every time zone"


# --- dirty rows


def mended(**changes: Any) -> gathering.Gathered:
    return gathering.gather([{**ROW, **changes}])


@pytest.mark.parametrize(
    ("changes", "field", "value", "kind"),
    [
        ({"rdnmadr": "서을특별시 노원구 가로 1"}, "address", "서울특별시 노원구 가로 1", "name of the province"),
        ({"rdnmadr": "강원도 철원군 가로 1"}, "address", "강원특별자치도 철원군 가로 1", "name of the province"),
        ({"rdnmadr": "전북 전주시 가로 1"}, "address", "전북특별자치도 전주시 가로 1", "name of the province"),
        ({"rdnmadr": "서울시 중구 가로 1"}, "address", "서울특별시 중구 가로 1", "name of the province"),
        ({"rdnmadr": "븏산광역시 남구 가로 1", "instt_nm": "부산광역시 남구"}, "address", "부산광역시 남구 가로 1",
         "name of the province"),
        ({"rdnmadr": ""}, "address", "서울특별시 중구 태평로1가 31", "no address by road: the one by lot"),
        ({"rdnmadr": "서울특별시 중구 정동 5", "lnmadr": "서울특별시 중구 가길 7"}, "address", "서울특별시 중구 가길 7",
         "the addresses by road and by lot were swapped"),
        ({"latitude": "126.9779", "longitude": "37.5663"}, "latitude", 37.5663, "latitude and longitude were swapped"),
        ({"weekdayOperOpenHhmm": "00:00", "weekdayOperColseHhmm": "00:00"}, "weekday", None,
         "hours 00:00–00:00 of weekdays are unknown"),
        ({"operPhoneNumber": ""}, "phone", "02-333-4444", "no phone of the centre: its municipality's"),
        ({"operPhoneNumber": "(02)111 2222"}, "phone", "02-111-2222", "phone number"),
        ({"operPhoneNumber": "021112222"}, "phone", "02-111-2222", "phone number"),
        ({"operPhoneNumber": "0311112222 / 031-999-0000"}, "phone", "031-111-2222", "phone number"),
        ({"operPhoneNumber": "1588.1234"}, "phone", "1588-1234", "phone number"),
        ({"operPhoneNumber": "0212345678"}, "phone", "02-1234-5678", "phone number"),
        ({"operPhoneNumber": "0211112222"}, "phone", "02-1111-2222", "phone number"),
        ({"operPhoneNumber": "050712345678"}, "phone", "0507-1234-5678", "phone number"),
        ({"operPhoneNumber": "01012345678"}, "phone", "010-1234-5678", "phone number"),
        ({"operPhoneNumber": "02-111-2222~3"}, "phone", "02-111-2222", "phone number"),
        ({"rdnmadr": "광주시 서구 가로 1", "instt_nm": "광주광역시 서구"}, "address", "광주광역시 서구 가로 1",
         "name of the province"),
        ({"rdnmadr": "광주시 경안로 1", "instt_nm": "경기도 광주시"}, "address", "경기도 광주시 경안로 1",
         "name of the province"),
        ({"rdnmadr": "제주도 제주시 가로 1"}, "address", "제주특별자치도 제주시 가로 1", "name of the province"),
    ],
)  # fmt: skip
def test_what_is_plainly_wrong_is_mended(changes: dict[str, str], field: str, value: Any, kind: str) -> None:
    found = mended(**changes)
    assert getattr(found.centres[0], field) == value
    assert kind in [remark.kind for remark in found.repaired if remark.number == 1]


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ("서울 서울시 서을특별시", "서울특별시"),
        ("부산 부산시 부산광억시", "부산광역시"),
        ("대구 대구시 데구광역시", "대구광역시"),
        ("인천 인천시 인쳔광역시", "인천광역시"),
        ("광주광역사", "광주광역시"),
        ("대전 대전시 대전광여시", "대전광역시"),
        ("울산 울산시 울신광역시", "울산광역시"),
        ("세종 세종시 세종특별자치사", "세종특별자치시"),
        ("경기 경가도", "경기도"),
        ("강원 강원도 강완특별자치도", "강원특별자치도"),
        ("충북 충청북두", "충청북도"),
        ("충남 충쳥남도", "충청남도"),
        ("전북 전라북도 전복특별자치도", "전북특별자치도"),
        ("전남 전리남도", "전라남도"),
        ("경북 경상북드", "경상북도"),
        ("경남 겅상남도", "경상남도"),
        ("제주 제주도 제쥬특별자치도", "제주특별자치도"),
    ],
)
def test_all_seventeen_provinces_are_known_by_every_name(names: str, name: str) -> None:
    assert address.mended(f"{name} 가로 1", "") == (f"{name} 가로 1", "")
    for one in names.split():
        assert address.mended(f"{one} 가로 1", "") == (f"{name} 가로 1", f"{one} → {name}")


@pytest.mark.parametrize("number", ["0507-1234-5678", "02-1234-5678", "031-123-4567", "070-1234-5678", "1588-1234"])
def test_a_number_as_it_should_be_is_left_alone(number: str) -> None:
    found = mended(operPhoneNumber=number, holidayOperOpenHhmm="10:00", holidayCloseOpenHhmm="15:00")
    assert (found.centres[0].phone, found.repaired, found.doubtful) == (number, [], [])


def test_the_clean_row_is_left_alone() -> None:
    found = mended(holidayOperOpenHhmm="10:00", holidayCloseOpenHhmm="15:00")
    assert (found.read, found.repaired, found.doubtful, found.dropped) == (1, [], [], [])
    assert (found.centres[0].weekday, found.centres[0].rest) == (("09:00", "18:00"), ("10:00", "15:00"))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"rdnmadr": "", "lnmadr": ""}, "no address"),
        ({"rdnmadr": "어디로 가 1"}, "an address without a known province"),
        ({"rdnmadr": "븏산광역시 남구 가로 1"}, "an address without a known province"),  # 부산 or 울산: nobody says
        ({"weekdayOperOpenHhmm": "아침"}, "unreadable hours of weekdays are unknown"),
        ({"weekdayOperOpenHhmm": "09:75"}, "unreadable hours of weekdays are unknown"),
        ({"weekdayOperColseHhmm": "25:00"}, "unreadable hours of weekdays are unknown"),
        ({"rstdeInfo": "둘째 주 화요일"}, "days off that were not understood"),
        ({"trtmntPrdlst": "이것저것"}, "goods in no category"),
        ({"cnterOperSe": "민간"}, "neither 직영 nor 위탁"),
        ({"referenceDate": "작년"}, "no reference date"),
        ({"operPhoneNumber": "없음", "phoneNumber": ""}, "no phone number"),
        *(
            ({"operPhoneNumber": odd, "phoneNumber": ""}, "no phone number")
            for odd in ("02-123-45678", "02-11-22222", "0501234567", "021-234-5678", "1-02-123-4567", "031-123-4567-89")
        ),
        ({"rdnmadr": "광주시 가로 1", "instt_nm": ""}, "an address without a known province"),
        ({"rdnmadr": "광주 가로 1", "instt_nm": "광주도시공사"}, "an address without a known province"),
        ({"cnterNm": "가나센터(운영중단)"}, "its name says that it does not work"),
    ],
)
def test_what_cannot_be_known_is_reported_and_not_invented(changes: dict[str, str], kind: str) -> None:
    found = mended(**changes)
    assert kind in [remark.kind for remark in found.doubtful]
    (one,) = found.centres
    said = json.dumps({**ROW, **changes}, ensure_ascii=False)
    for text in (one.address, one.takes, one.closed, one.operator, one.phone):
        assert text is None or text in said


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cnterNm": ""}, "no name"),
        ({"cnterNm": None}, "no name"),
        ({"latitude": ""}, "no coordinates"),
        ({"longitude": "동경 127도"}, "no coordinates"),
        ({"latitude": "0", "longitude": "0"}, "coordinates outside Korea"),
        ({"latitude": "35.68", "longitude": "139.76"}, "coordinates outside Korea"),
        ({"latitude": "nan"}, "no coordinates"),
    ],
)
def test_what_cannot_be_used_is_left_out_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    found = mended(**changes)
    assert found.centres == []
    assert [(remark.number, remark.kind) for remark in found.dropped] == [(1, reason)]


def test_a_row_that_is_there_twice_counts_once_the_newest() -> None:
    older = {**ROW, "referenceDate": "2020-01-01", "operPhoneNumber": "02-000-0001"}
    for rows, dropped in [([older, ROW], 1), ([ROW, older], 2)]:
        found = gathering.gather(rows)
        assert [one.phone for one in found.centres] == ["02-111-2222"]
        assert [remark.number for remark in found.dropped] == [dropped]
    moved = {
        **ROW,
        "latitude": "37.5665",
        "rdnmadr": "서울특별시 중구 세종대로 110 (태평로1가)",
        "cnterNm": "가나 재활용센터",
    }
    assert len(gathering.gather([ROW, moved]).centres) == 1, "the same name some metres away"
    branch = {**ROW, "latitude": "37.6", "rdnmadr": "서울특별시 노원구 가로 1"}
    assert len(gathering.gather([ROW, branch]).centres) == 2, "a branch of the same name"
    other = gathering.gather([ROW, {**ROW, "cnterNm": "다라센터", "rdnmadr": "서울특별시 중구 다른로 1"}])
    assert len(other.centres) == 2
    assert [remark.kind for remark in other.doubtful] == ["perhaps the same centre as another row"]


def test_both_spellings_of_the_names_are_the_same_row() -> None:
    upper = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper(): value for name, value in ROW.items()}
    assert "WEEKDAY_OPER_COLSE_HHMM" in upper
    mended_one = {**ROW, "weekdayOperCloseHhmm": ROW["weekdayOperColseHhmm"]}
    del mended_one["weekdayOperColseHhmm"]
    assert (
        gathering.gather([upper]).centres == gathering.gather([ROW]).centres == gathering.gather([mended_one]).centres
    )


@needs_file
def test_every_row_of_the_real_file_is_used_and_nothing_is_invented() -> None:
    rows = json.loads(REAL.read_text(encoding="utf-8"))
    found = gathering.gather(rows)
    assert (found.read, len(found.centres), found.dropped) == (183, 183, [])
    kinds = {remark.kind: 0 for remark in found.repaired}
    for remark in found.repaired:
        kinds[remark.kind] += 1
    assert kinds["hours 00:00–00:00 of days of rest are unknown"] == 105
    assert kinds["name of the province"] == 2
    for row, one in zip(rows, found.centres, strict=True):
        assert (one.name, one.latitude, one.longitude) == (
            row["CNTER_NM"],
            float(row["LATITUDE"]),
            float(row["LONGITUDE"]),
        )
        assert one.takes == row["TRTMNT_PRDLST"]
        assert one.phone in (row["OPER_PHONE_NUMBER"], row["PHONE_NUMBER"])
        assert one.address is not None
        assert one.address.split(" ", 1)[1] in row["RDNMADR"] + row["LNMADR"]
        assert one.accepts, one.takes
        assert days.read(one.closed or "").unread == ""
    assert len({one.id for one in found.centres}) == 183


@pytest.mark.parametrize(
    ("words", "categories"),
    [
        ("가전+가구", {"appliances", "furniture"}),
        ("중고가구가전제품", {"appliances", "furniture"}),
        ("가구+전제품+헌옷 등", {"furniture", "appliances", "clothing"}),
        ("플라스틱+철+병+종이+스티로폼,헌옷,소형가전",
         {"plastic", "scrap_metal", "glass_bottle", "paper", "styrofoam", "clothing", "appliances", "small_appliance"}),
        ("PET+EPS인고트+알루미늄 캔 등", {"plastic", "styrofoam", "can"}),
        ("알루미늄", {"scrap_metal"}),
        ("투명 페트병", {"clear_pet", "plastic"}),
        ("요구르트병+페트병", {"plastic"}),
        ("종이팩", {"carton"}),
        ("비닐류+염화비닐수지", {"vinyl", "plastic"}),
        ("재활용 장난감+재활용비누", {"toys", "household"}),
        ("재활용 전품목", {"recyclables"}),
        ("이것저것", set()),
    ],
)  # fmt: skip
def test_words_become_categories(words: str, categories: set[str]) -> None:
    assert set(goods.categories(words)) == categories


def test_every_category_and_note_has_its_texts() -> None:
    for locale in messages.LOCALES:
        for category in goods.CATEGORIES:
            assert messages.text_or(f"places.accepts.{category}", "", locale)
        notes = {
            shown.note(5000, filtered=filtered, anywhere=anywhere, locale=locale)
            for filtered in (False, True)
            for anywhere in (False, True)
        }
        assert len(notes) == 4
        assert not any("{" in note or "places." in note for note in notes)


# --- the quirks of the API


@pytest.mark.parametrize(
    "said",
    [
        envelope([ROW], 1),
        envelope([ROW], 1, response=False),
        envelope([ROW], 1, numbers=int),
        envelope([ROW], 1, item=True),
        envelope(ROW, 1),
        envelope(ROW, 1, item=True, response=False),
        envelope([{**ROW, "latitude": 37.5663, "longitude": 126.9779}], 1),
        {"response": {"body": {"items": [ROW], "totalCount": "1"}}},
        {"header": {"resultCode": 0}, "body": {"items": [ROW]}},
        b"\xef\xbb\xbf" + json.dumps(envelope([ROW], 1)).encode(),
    ],
)  # fmt: skip
def test_every_shape_of_the_envelope_is_read(app: Flask, portal: Portal, said: Any) -> None:
    portal.says(said)
    assert only(app)["name"] == "가나재활용센터"
    assert portal.times == 1


def many(count: int) -> list[dict[str, str]]:
    return [
        {**ROW, "cnterNm": f"센터 {n}", "rdnmadr": f"서울특별시 중구 가로 {n}", "latitude": f"{37.5 + n / 1000:.4f}"}
        for n in range(count)
    ]


def test_every_page_is_fetched(app: Flask, portal: Portal) -> None:
    portal.has(many(250))
    answer = near(app, lat="37.749", radius=100)
    assert [one["name"] for one in answer["centres"]] == ["센터 249"], "the last one of the last page"
    assert [re.search(r"pageNo=(\d+)&numOfRows=(\d+)", path).groups() for path in portal.asked] == [  # type: ignore[union-attr]
        ("1", "100"), ("2", "100"), ("3", "100"),
    ]  # fmt: skip


def test_pages_shorter_than_asked_for_are_fetched_too(app: Flask, portal: Portal) -> None:
    rows = many(45)
    portal.answer = lambda q: Said(envelope(rows[(int(q["pageNo"]) - 1) * 20 : int(q["pageNo"]) * 20], 45))
    assert near(app, lat="37.544", radius=100)["centres"][0]["name"] == "센터 44"
    assert portal.times == 3


def test_a_total_nobody_told_ends_with_no_data(app: Flask, portal: Portal) -> None:
    page = {"response": {"header": {"resultCode": "00"}, "body": {"items": many(100)}}}
    portal.says(page, envelope([], 0, code="03"))
    assert len(near(app, radius=100_000)["centres"]) == 10
    assert portal.times == 2


@pytest.mark.parametrize(
    "said", [envelope([], 0, code="03"), {"response": {"header": {"resultCode": "03"}}}, gateway_error("NODATA", "03"),
             envelope("", 0), envelope(None, "0")]
)  # fmt: skip
def test_no_data_is_an_answer(app: Flask, portal: Portal, clock: Clock, said: Any) -> None:
    portal.says(said)
    answer = near(app)
    assert (answer["centres"], answer["note"]) == ([], messages.text("places.note.none", "ko"))
    near(app)
    assert portal.times == 1
    clock.now += timedelta(minutes=2)
    near(app)
    assert portal.times == 2, "an empty country is looked at again soon"


HUGE = b'{"response": "' + b"x" * (8 * 2**20) + b'"}'
QUOTA, KEY = "LIMITED_NUMBER_OF_SERVICE_REQUESTS_EXCEEDS_ERROR", "SERVICE_KEY_IS_NOT_REGISTERED_ERROR"


@pytest.mark.parametrize(
    ("said", "again_after"),
    [
        (Said(gateway_error(QUOTA, "22")), 3600),
        (Said(gateway_error(KEY, "30")), 600),
        (Said({"response": {"header": {"resultCode": "22", "resultMsg": QUOTA}}}), 3600),
        (Said({"header": {"resultCode": "30", "resultMsg": KEY}}), 600),
        (Said({"response": {"header": {"resultCode": "01", "resultMsg": "APPLICATION_ERROR"}}}), 60),
        (Said("Forbidden", 403), 600),
        (Said("Too Many Requests", 429), 3600),
        (Said("Unexpected errors", 500), 60),
        (Said(envelope([ROW], 1), 502), 60),
        (Said("<html>점검 중입니다</html>"), 60),
        (Said("<response><header><resultCode>00</resultCode></header></response>"), 60),
        (Said("not json"), 60),
        (Said("[" * 100_000), 60),
        (Said([ROW]), 60),
        (Said({"code": -4, "msg": "등록되지 않은 인증키 입니다."}), 60),
        (Said(envelope("rows", 1)), 60),
        (Said(envelope(["row"], 1)), 60),
        (Said(envelope([ROW], 5)), 60),
        (Said(envelope([{**ROW, "latitude": ""}], 1)), 60),
        (Said(envelope(many(100), 1000)), 60),
        (Said(HUGE), 60),
        (Said("", headers={"Content-Length": "100"}), 60),
    ],
)
def test_what_is_no_answer_is_said_and_the_portal_is_left_alone(
    app: Flask, portal: Portal, said: Said, again_after: int
) -> None:
    portal.says(said)
    answer = refused(app)
    assert again_after - 3 <= int(answer.headers["Retry-After"]) <= again_after
    asked = portal.times
    assert 1 <= asked <= 2
    refused(app)
    assert portal.times == asked


def test_a_slow_portal_is_given_up(portal: Portal) -> None:
    """Silent for longer than a step may take, or dripping for longer than all of them may."""
    portal.says(Said(envelope([ROW], 1), pause=0.05))
    for patience in ({"timeout": 0.03}, {"patience": 0.3}):
        started = time.monotonic()
        with pytest.raises(SourceFailed):
            Api(portal.url, "k", **patience).rows()
        assert time.monotonic() - started < 2


def test_no_redirect_is_followed(app: Flask, portal: Portal) -> None:
    with running_portal() as elsewhere:
        portal.says(Said("", 302, {"Location": f"{elsewhere.url}?serviceKey=k"}))
        refused(app)
        assert elsewhere.times == 0


@pytest.mark.parametrize(
    ("key", "sent"),
    [("aB3%2Bd%2F9w%3D%3D", "aB3%2Bd%2F9w%3D%3D"), ("aB3+d/9w==", "aB3%2Bd%2F9w%3D%3D"), ("plain", "plain")],
)
def test_a_key_is_encoded_once(new_app: App, portal: Portal, key: str, sent: str) -> None:
    near(new_app(key))
    assert f"serviceKey={sent}&" in portal.asked[0]


class Lines(logging.Handler):
    """What a function logs."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.getMessage()} {getattr(record, 'fields', {})} {record.exc_info}")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines = Lines()
    names = ("locations", "memory", "edge", "werkzeug", "urllib3")
    for name in names:
        logging.getLogger(name).addHandler(lines)
    yield lines.said
    for name in names:
        logging.getLogger(name).removeHandler(lines)


def test_the_key_is_in_no_log_and_no_answer(new_app: App, portal: Portal, logged: list[str]) -> None:
    port = free_ports(30000)
    for url, said in [
        (portal.url, Said(gateway_error("no such key: top+secret", "30"))),
        (f"http://127.0.0.1:{port}/", Said("")),
    ]:
        portal.says(said)
        answer = refused(new_app("top+secret%3D", CENTRES_API_URL=url))
        assert "secret" not in answer.get_data(as_text=True)
    assert any("not refreshed" in line for line in logged)
    assert not any("top%2Bsecret" in line or "secret%3D" in line for line in logged)


# --- kept for a day, and longer


def test_a_day_is_remembered_and_a_position_is_not(
    app: Flask, portal: Portal, cache_url: str, logged: list[str]
) -> None:
    for _ in range(3):
        answer = app.test_client().get(PATH, query_string={"lat": "37.512345", "lon": "126.954321"})
        assert answer.status_code == 200
    assert portal.times == 1
    server = redis.Redis.from_url(cache_url, decode_responses=True)
    keys = sorted(server.scan_iter("*"))
    centres = [key for key in keys if server.type(key) == "hash"]
    assert len(centres) == 1
    assert set(server.hkeys(centres[0])) == {"about", "37:126"}
    assert server.ttl(centres[0]) > 30 * 24 * 3600
    everything = json.dumps([keys, [server.hgetall(key) for key in centres], logged])
    for part in ("37.512345", "126.954321", "37.51", "126.95", "512345", "954321"):
        assert part not in everything
    assert [line for line in logged if line.startswith("request") and PATH in line]


def test_after_a_day_it_is_asked_again_and_without_an_answer_the_old_one_is_served(
    app: Flask, portal: Portal, clock: Clock
) -> None:
    near(app)
    clock.now += timedelta(hours=23, minutes=59)
    assert near(app)["source"]["age_seconds"] == 24 * 3600 - 60
    assert portal.times == 1
    portal.says(Said("", 500))
    clock.now += timedelta(days=20)
    for _ in range(3):
        answer = near(app)
        assert answer["centres"][0]["name"] == "가나재활용센터"
        assert answer["source"]["stale"] is True
        assert answer["source"]["age_seconds"] == 21 * 24 * 3600 - 60
    assert portal.times == 2, "one attempt, then the portal is left alone"


def rested(cache_url: str) -> None:
    """The portal has been left alone for long enough."""
    server = redis.Redis.from_url(cache_url, decode_responses=True)
    for key in server.scan_iter("places:*:rest"):
        server.delete(key)


def test_when_the_portal_is_back_so_is_its_data(new_app: App, portal: Portal, clock: Clock, cache_url: str) -> None:
    near(new_app())
    clock.now += timedelta(days=2)
    for said in (Said("", 500), Said(envelope([], 0, code="03")), Said(envelope([{**ROW, "latitude": ""}], 1))):
        portal.says(said)
        rested(cache_url)
        answer = near(new_app())  # another process, which did not fail yet
        assert (answer["source"]["stale"], len(answer["centres"])) == (True, 1)
    portal.has([{**ROW, "operPhoneNumber": "02-999-9999"}])
    rested(cache_url)
    answer = near(new_app())
    assert (answer["source"]["stale"], answer["source"]["age_seconds"]) == (False, 0)
    assert answer["centres"][0]["phone"] == "02-999-9999"


def test_rows_that_are_gone_are_gone(app: Flask, portal: Portal, clock: Clock) -> None:
    far = {**ROW, "cnterNm": "부산재활용센터", "latitude": "35.1796", "longitude": "129.0756"}
    portal.has([ROW, far])
    assert len(near(app, radius=100_000, lat="35.18", lon="129.07")["centres"]) == 1
    portal.has([ROW])
    clock.now += timedelta(days=1)
    answer = near(app, lat="35.18", lon="129.07")
    assert [one["name"] for one in answer["centres"]] == ["가나재활용센터"]


@pytest.mark.parametrize("stale", [False, True])
def test_many_at_once_make_one_refresh(new_app: App, portal: Portal, clock: Clock, stale: bool) -> None:
    apps = [new_app() for _ in range(3)]
    if stale:
        near(apps[0])
        clock.now += timedelta(days=2)
    asked = portal.times
    portal.says(Said(envelope([ROW], 1), wait=1.0))  # longer than 24 take to arrive
    together = threading.Barrier(24)

    def ask(n: int) -> str:
        together.wait()
        return str(near(apps[n % 3])["centres"][0]["name"])

    with ThreadPoolExecutor(24) as pool:
        assert set(pool.map(ask, range(24))) == {"가나재활용센터"}
    assert portal.times == asked + 1


class Late(Shelf):
    """Gets its turn only when another process has just had its own."""

    before: Shelf

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        self.before.read(None)
        with super()._alone() as chosen:
            assert chosen
            yield chosen


def test_whose_turn_comes_after_a_refresh_makes_none(portal: Portal, cache_url: str) -> None:
    memory = Memory(cache_url)
    late = Late(Api(portal.url, "k"), memory)
    late.before = Shelf(Api(portal.url, "k"), memory)
    assert [one.name for one in late.read(frozenset({"37:126"})).centres] == ["가나재활용센터"]
    assert portal.times == 1


def test_without_redis_it_is_slower_and_works(new_app: App, portal: Portal, clock: Clock) -> None:
    app = new_app(REDIS_URL=f"redis://127.0.0.1:{free_ports(30000)}/0")
    for _ in range(3):
        started = time.monotonic()
        assert only(app)["name"] == "가나재활용센터"
        assert time.monotonic() - started < 3
    assert portal.times == 1
    clock.now += timedelta(days=2)
    portal.says(Said("", 500))
    assert [near(app)["source"]["stale"] for _ in range(2)] == [True, True]
    assert portal.times == 2


def test_a_flushed_redis_costs_nothing_here(app: Flask, portal: Portal, cache_url: str) -> None:
    near(app)
    redis.Redis.from_url(cache_url).flushdb()
    assert only(app)["name"] == "가나재활용센터"
    assert portal.times == 1


def test_nonsense_in_redis_is_as_nothing(app: Flask, new_app: App, portal: Portal, cache_url: str) -> None:
    near(app)
    server = redis.Redis.from_url(cache_url)
    (key,) = [key for key in server.scan_iter("places:*") if server.type(key) == b"hash"]
    server.hset(key, "37:126", '[{"id": 1}]')
    assert only(new_app())["name"] == "가나재활용센터"
    assert portal.times == 2


# --- the stand-in


@pytest.fixture(scope="module")
def sample_url() -> Iterator[str]:
    port = free_ports(30000) + 1
    process = subprocess.Popen([sys.executable, "-m", "knative.local.centres", "--port", str(port)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    until_it_answers(url + "/healthz", process)
    yield url + standin.PATH
    process.terminate()
    process.wait(PATIENCE)


@pytest.mark.parametrize("key", ["", "a-key"])
def test_the_stand_in_says_what_it_is(new_app: App, sample_url: str, key: str) -> None:
    app = new_app(key, CENTRES_API_URL=sample_url)
    answer = near(app, radius=100_000)
    assert len(answer["centres"]) == 10
    assert all("(예시)" in one["name"] for one in answer["centres"])
    assert answer["source"]["sample"] is True
    assert answer["source"]["name"] == messages.text("places.source.sample", "ko")
    for latitude, longitude in ((33.5, 126.53), (35.18, 129.07), (38.2, 128.6)):
        assert all("(예시)" in one["name"] for one in near(app, lat=latitude, lon=longitude)["centres"])


def test_the_stand_in_has_the_quirks_of_the_api(sample_url: str) -> None:
    def ask(**query: object) -> requests.Response:
        return requests.get(sample_url, {"serviceKey": "k", "type": "json", **query}, timeout=30)  # type: ignore[arg-type]

    first = ask(pageNo=1, numOfRows=100).json()["response"]
    assert first["header"]["resultCode"] == "00"
    assert (first["body"]["totalCount"], len(first["body"]["items"])) == (str(len(standin.rows())), standin.MOST_ROWS)
    assert all(isinstance(value, str) for row in first["body"]["items"] for value in row.values())
    assert isinstance(ask(pageNo=1, numOfRows=1).json()["response"]["body"]["items"], dict)
    assert ask(pageNo=99, numOfRows=10).json()["response"]["header"]["resultCode"] == "03"
    keyless = requests.get(sample_url, timeout=30)
    assert (keyless.status_code, "<returnReasonCode>30<" in keyless.text) == (200, True)
    found = gathering.gather(standin.rows())
    assert (len(found.centres), found.dropped) == (len(standin.rows()), [])


# --- the bulk file


def imported(file: Path) -> int:
    """Import a file through the command; its exit code."""
    return command.main(["import", str(file)])


@pytest.fixture(autouse=True)
def _database_of_commands(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database)


def bulk(folder: Path, rows: Any, name: str = "centres.json") -> Path:
    file = folder / name
    file.write_bytes(rows if isinstance(rows, bytes) else json.dumps(rows, ensure_ascii=False).encode())
    return file


def test_imported_centres_win_over_the_sample(
    new_app: App, portal: Portal, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dirty = {**ROW, "cnterNm": "둘", "latitude": "126.9", "longitude": "37.5", "rdnmadr": "서을특별시 중구 가로 2"}
    lost = {**ROW, "cnterNm": "셋", "latitude": "0"}
    assert imported(bulk(tmp_path, [ROW, dirty, lost])) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 rows read, 2 centres imported\n")
    for line in ("latitude and longitude were swapped", "row 2: 둘 (서을특별시 → 서울특별시)", "dropped: 1 rows",
                 "coordinates outside Korea", "row 3: 셋"):  # fmt: skip
        assert line in said
    clock.now = datetime.now(UTC)
    answer = near(new_app(""), radius=100_000)
    assert [one["name"] for one in answer["centres"]] == ["가나재활용센터", "둘"]
    assert answer["centres"][1]["address"] == "서울특별시 중구 가로 2"
    assert answer["source"]["name"] == messages.text("places.source.import", "ko")
    assert (answer["source"]["sample"], answer["source"]["stale"]) == (False, False)
    assert portal.times == 0
    clock.now += timedelta(days=300)
    assert near(new_app(""))["source"]["stale"] is True


def test_an_imported_centre_is_the_one_from_the_api(new_app: App, db: Database, tmp_path: Path) -> None:
    assert imported(bulk(tmp_path, [ROW])) == 0
    from_file, from_api = only(new_app("")), only(new_app("k"))
    assert from_file == from_api


def test_with_a_key_the_api_counts_and_the_file_where_it_has_never_answered(
    new_app: App, db: Database, portal: Portal, tmp_path: Path
) -> None:
    assert imported(bulk(tmp_path, [{**ROW, "cnterNm": "파일"}])) == 0
    assert only(new_app())["name"] == "가나재활용센터"
    portal.says(Said("", 500))
    answer = near(new_app("another-key", CENTRES_API_URL=portal.url + "/v2"))
    assert answer["centres"][0]["name"] == "파일"
    assert answer["source"]["name"] == messages.text("places.source.import", "ko")


def test_a_second_import_replaces_the_first(new_app: App, db: Database, tmp_path: Path) -> None:
    for name in ("처음", "나중"):
        assert imported(bulk(tmp_path, [{**ROW, "cnterNm": name}])) == 0
    assert [one["name"] for one in near(new_app(""))["centres"]] == ["나중"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"PK\x03\x04 not json", "is no JSON"),
        (b"", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        ([], "has no list of rows"),
        ({"rows": 3}, "has no list of rows"),
        ([1, 2], "has no list of rows"),
        ([ROW, {"이름": "가나"}], "is another file: 1 of 2 rows have no CNTER_NM"),
        ([ROW, *[{**ROW, "latitude": ""}] * 2], "2 of 3 rows cannot be used (no coordinates)"),
    ],
)
def test_a_bad_file_changes_nothing(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any, why: str
) -> None:
    assert imported(bulk(tmp_path, [ROW])) == 0
    before = db.read("SELECT * FROM centres ORDER BY id")
    capsys.readouterr()
    file = tmp_path / "absent.json" if content is None else bulk(tmp_path, content, "bad.json")
    assert imported(file) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Nothing was imported: ")
    assert why in said.err
    assert said.err.count("\n") == 1
    assert db.read("SELECT * FROM centres ORDER BY id") == before


@pytest.mark.parametrize(
    "content",
    [
        {"records": [ROW]},
        envelope([ROW], 1, response=False)["body"],
        b"\xef\xbb\xbf" + json.dumps([ROW], ensure_ascii=False).encode(),
        json.dumps([ROW], ensure_ascii=False).encode("cp949"),
    ],
)
def test_every_form_of_the_file_is_read(new_app: App, db: Database, tmp_path: Path, content: Any) -> None:
    assert imported(bulk(tmp_path, content)) == 0
    assert only(new_app(""))["name"] == "가나재활용센터"


def test_the_command_of_the_makefile_reaches_it(database: str, db: Database, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "knative.local", "centres", "--state", str(tmp_path), str(bulk(tmp_path, [ROW]))],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 rows read, 1 centres imported" in done.stdout
    assert db.read("SELECT name FROM centres") == [{"name": "가나재활용센터"}]
