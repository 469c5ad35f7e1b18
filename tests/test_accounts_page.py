"""Account, profile and places on a phone: a journey through the whole system, and what a made-up API says to the page.

Most tests need no system: they get the page from `web` and every answer of the API from here.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect
from werkzeug.serving import make_server

from functions.locations.goods import CATEGORIES
from functions.shared import messages
from functions.web.routes import PAGE, create
from functions.web.settings import Settings
from tests.visitor import CONTRAST, CONTROLS, PHONE, Visitor, t

SEOUL = {"latitude": 37.5663, "longitude": 126.9779}
PASSWORD = "분리배출은 즐거워"


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_halls_are_those_of_the_seventeen_provinces() -> None:
    text = (PAGE / "halls.js").read_text(encoding="utf-8")
    halls = re.findall(r'\["(page\.places\.hall\.\w+)", ([\d.]+), ([\d.]+)\]', text)
    assert len({name for name, _, _ in halls}) == len(halls) == 17
    assert all(33 < float(north) < 38.5 and 126 < float(east) < 130 for _, north, east in halls)


# --- an API made up -------------------------------------------------------------------------------------------------


class Made:
    """The API as a test wants it: `answers` by method and path, what was `asked` in order, and the tokens it came with.

    An answer is a status and a body, or what is done with the request.
    """

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.bearers: list[str] = []
        self.says("POST /auth/guest", session("guest"), 201)
        self.says("POST /auth/refresh", session("guest"))
        self.is_person(kind="guest")

    def says(self, what: str, body: object, status: int = 200) -> None:
        self.answers[what] = (status, body)

    def refuses(self, what: str, status: int, code: str, **members: object) -> None:
        title, detail = (t(f"problem.{code}{part}", minutes=3, n=3) for part in ("", ".detail"))
        self.says(what, {"code": code, "title": title, "detail": detail, **members}, status)

    def is_person(self, **profile: object) -> None:
        person = {
            "user_id": str(uuid.uuid4()), "kind": "account", "email": None, "nickname": None, "region": None,
            "housing": None, "language": "ko", "consent": False, "created_at": "2026-01-01T00:00:00+00:00", **profile,
        }  # fmt: skip
        for what in ("GET /auth/me", "GET /users/me", "PATCH /users/me"):
            self.says(what, person)

    def bodies(self, what: str) -> list[dict[str, Any]]:
        return [sent for asked, sent in self.asked if asked == what]

    def answer(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        what = f"{route.request.method} {url.path.removeprefix('/api/v1')}"
        self.asked.append((what, dict(parse_qsl(url.query)) or json.loads(route.request.post_data or "{}")))
        self.bearers.append(route.request.headers.get("authorization", ""))
        status, body = self.answers[what]
        if callable(body):
            body(route)
        else:
            route.fulfill(status=status, json=body)


def session(kind: str) -> dict[str, Any]:
    return {
        "token": "access", "user_id": str(uuid.uuid4()), "kind": kind, "expires_in": 900,
        "refresh_token": "refresh", "refresh_expires_in": 604800,
    }  # fmt: skip


def centre(north: float = 0.0, east: float = 0.0, **more: object) -> dict[str, Any]:
    """A centre so many kilometres from Seoul's city hall."""
    return {
        "id": uuid.uuid4().hex, "name": "예시 센터", "distance_m": round(1000 * (north**2 + east**2) ** 0.5),
        "latitude": SEOUL["latitude"] + north / 111.2, "longitude": SEOUL["longitude"] + east / 88.14,
        "address": "서울특별시 가상구 예시로 1", "open": True, "suspended": False,
        "hours": {"weekday": {"open": "09:00", "close": "18:00"}, "rest_day": None, "closed": "일요일"},
        "accepts": ["furniture"], "accepts_names": ["가구"], "takes": "가구+가전", "type": None, "type_name": None,
        "operator": None, "phone": "02-000-0000", "phone_of": "centre", "reference_date": "2026-04-15", **more,
    }  # fmt: skip


def found(*centres: dict[str, Any], note: str | None = None, **source: object) -> dict[str, Any]:
    origin = {
        "name": "예시",
        "sample": False,
        "fetched_at": "2026-07-01T00:00:00+00:00",
        "age_seconds": 0,
        "stale": False,
    }
    return {"centres": list(centres), "radius": 5000, "note": note, "source": {**origin, **source}}


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The page alone, from `web`."""
    app = create(Settings(s3_public_endpoint="http://127.0.0.1:9", redis_url="redis://127.0.0.1:9/0"))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def open_at(browser: Browser, site: str, made: Made) -> Callable[..., AbstractContextManager[Visitor]]:
    """Opens a view of the page whose API is `made`."""

    @contextmanager
    def opened(view: str, **options: Any) -> Iterator[Visitor]:
        phone: dict[str, Any] = {"viewport": PHONE, "locale": "ko-KR", "has_touch": True, "is_mobile": True}
        context = browser.new_context(**phone | options)
        context.route(re.compile("/api/v1/"), made.answer)
        try:
            visitor = Visitor(context, site)
            visitor.page.set_default_timeout(30_000)
            visitor.page.goto(f"{site}#/{view}")
            yield visitor
        finally:
            context.close()

    return opened


HERE: dict[str, Any] = {"geolocation": SEOUL, "permissions": ["geolocation"]}


def wrong(page: Page, label: str) -> Locator:
    """What is said beside a field, once the field itself points to it."""
    field = page.get_by_label(label, exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    said = field.get_attribute("aria-describedby") or ""
    return page.locator(f"#{said.split()[-1]}")


def sign_in(page: Page, email: str, password: str, *, fresh: bool = False) -> None:
    page.get_by_text(t("page.account.sign_up" if fresh else "page.account.log_in"), exact=True).last.click()
    page.get_by_label(t("page.account.email"), exact=True).fill(email)
    page.get_by_label(t("page.account.password"), exact=True).fill(password)
    page.locator(".sign-in button[type=submit]").click()


def test_what_is_wrong_is_said_beside_its_field(open_at: Any, made: Made) -> None:
    with open_at("account") as visitor:
        page: Page = visitor.page
        email, password = t("page.account.email"), t("page.account.password")
        sign_in(page, "minji", "짧아요", fresh=True)
        expect(wrong(page, email)).to_have_text(t("page.account.email.wrong"))
        expect(wrong(page, password)).to_have_text(t("page.account.password.short"))
        expect(page.get_by_label(email, exact=True)).to_be_focused()
        assert made.asked == [], "nobody becomes a guest by looking at the form"
        visitor.shoot("21-sign-up-wrong")

        made.refuses("POST /auth/signup", 409, "email_taken")
        sign_in(page, "minji@growbin.app", PASSWORD, fresh=True)
        expect(wrong(page, email)).to_contain_text(t("problem.email_taken"))
        assert made.bodies("POST /auth/signup") == [{"email": "minji@growbin.app", "password": PASSWORD}]

        made.refuses(
            "POST /auth/signup",
            422,
            "invalid_request",
            problems=[{"field": "password", "code": "short", "detail": "더 길게"}],
        )
        sign_in(page, "minji@growbin.app", PASSWORD, fresh=True)
        expect(wrong(page, password)).to_have_text("더 길게")

        for code, status in (("wrong_credentials", 401), ("too_many_attempts", 429), ("unavailable", 503)):
            made.refuses("POST /auth/login", status, code)
            sign_in(page, "minji@growbin.app", PASSWORD)
            expect(page.get_by_role("alert")).to_contain_text(t(f"problem.{code}"))
        assert page.evaluate("localStorage.length") == 0


def test_a_password_can_be_looked_at_and_be_filled_in_by_the_browser(open_at: Any) -> None:
    with open_at("account") as visitor:
        page: Page = visitor.page
        field = page.locator("#password")
        expect(field).to_have_attribute("autocomplete", "current-password")
        expect(page.locator("#email")).to_have_attribute("autocomplete", "username")
        page.get_by_text(t("page.account.sign_up"), exact=True).click()
        expect(field).to_have_attribute("autocomplete", "new-password")
        expect(field).to_have_attribute("minlength", "8")
        field.fill(PASSWORD)
        expect(field).to_have_attribute("type", "password")
        page.get_by_role("button", name=t("page.account.password.show")).click()
        expect(field).to_have_attribute("type", "text")
        page.get_by_role("button", name=t("page.account.password.hide")).click()
        expect(field).to_have_attribute("type", "password")
        expect(field).to_have_value(PASSWORD)


def test_a_home_told_before_logging_in_goes_into_the_profile(open_at: Any, made: Made) -> None:
    made.says("POST /auth/login", session("account"))
    with open_at("") as visitor:
        page: Page = visitor.page
        page.get_by_text(t("page.home.house"), exact=True).click()
        page.get_by_label(t("page.region")).fill("부산 수영구")
        made.is_person(email="minji@growbin.app", region="서울 마포구")
        page.get_by_role("link", name=t("page.account.log_in")).click()
        sign_in(page, "minji@growbin.app", PASSWORD)
        expect(page.get_by_text(t("page.account.logged_in"))).to_be_visible()
        expect(page.locator("#account")).to_have_text("minji")
        assert made.bodies("PATCH /users/me") == [{"housing": "house"}], "what the profile knows is not overwritten"
        page.goto(page.url.partition("#")[0] + "#/")
        expect(page.get_by_label(t("page.region"))).to_have_value("서울 마포구")
        page.get_by_text(t("page.home.apartment"), exact=True).click()
        page.get_by_label(t("page.region")).fill("")
        page.get_by_label(t("page.question")).click()
        page.wait_for_function("JSON.parse(localStorage.getItem('growbin.home')).region === ''")
        assert made.bodies("PATCH /users/me")[1:] == [{"housing": "apartment"}, {"region": None}]
        assert visitor.complaints == []


def test_who_must_log_in_again_is_told_and_becomes_no_guest(open_at: Any, made: Made) -> None:
    made.says("POST /auth/login", session("account"))
    with open_at("account") as visitor:
        page: Page = visitor.page
        made.is_person(email="minji@growbin.app", nickname="민지")
        sign_in(page, "minji@growbin.app", PASSWORD)
        expect(page.get_by_text(t("page.account.logged_in"))).to_be_visible()
        made.refuses("GET /users/me", 401, "bad_token")
        made.refuses("GET /waste/analyses", 401, "bad_token")
        made.refuses("POST /auth/refresh", 401, "bad_refresh")
        page.get_by_role("link", name=t("page.nav.history")).click()
        expect(page.get_by_role("alert")).to_contain_text(t("page.signed_out"))
        expect(page.locator("#account")).to_have_text(t("page.account.log_in"))
        page.get_by_role("alert").get_by_role("link").click()
        expect(page.get_by_role("alert")).to_contain_text(t("page.signed_out.detail"))
        assert made.bodies("POST /auth/guest") == []

        page.get_by_role("button", name=t("page.account.go_on")).click()
        expect(page.get_by_role("alert")).to_have_count(0)
        assert page.evaluate("localStorage.length") == 0


#: What the API answers, or the code of the problem; "silence" after three seconds of it.
CALL = """path => Promise.race([
  import("/page/api.js").then((api) => api.call("GET", path)).catch((problem) => problem.code),
  new Promise((resolve) => { setTimeout(resolve, 3000, "silence"); }),
])"""

#: This browser speaks for somebody from now on, with tokens called `name`, for so many minutes.
SIGN_IN = """([name, kind, minutes]) => {
  const session = { refresh_token: name, kind, expires_at: Date.now() + minutes * 60000 };
  localStorage.setItem("growbin.session", JSON.stringify(session));
  localStorage.setItem("growbin.token", name);
}"""

KEPT = "JSON.parse(localStorage.getItem('growbin.session'))"


def lost(route: Route) -> None:
    route.abort()


def cut_off(route: Route) -> None:
    route.fulfill(status=200, content_type="application/json", body='{"token": "acc')


@pytest.mark.parametrize("kind", ["guest", "account"])
@pytest.mark.parametrize("fate", [lost, cut_off])
def test_the_answer_of_a_renewal_may_get_lost(open_at: Any, made: Made, kind: str, fate: Any) -> None:
    with open_at("places") as visitor:
        page: Page = visitor.page
        page.evaluate(SIGN_IN, ["old", kind, 0])
        made.says("POST /auth/refresh", fate)
        for _ in range(2):
            assert page.evaluate(CALL, "/auth/me") == "offline"
        assert page.evaluate("localStorage.getItem('growbin.token')") == "old"
        made.says("POST /auth/refresh", session(kind))
        assert page.evaluate(CALL, "/auth/me")["consent"] is False
        asked = made.bodies("POST /auth/refresh")
        assert asked == [asked[0]] * 3, "the same successor is asked for again"
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", asked[0]["next"])
        assert page.evaluate(KEPT)["refresh_token"] == "refresh"
        assert "next" not in page.evaluate(KEPT), "the one after it is another"
        assert made.bodies("POST /auth/guest") == []


@pytest.mark.parametrize(
    ("kind", "what", "status"),
    [
        ("guest", "POST /auth/refresh", 200),
        ("guest", "POST /auth/refresh", 401),
        ("account", "POST /auth/refresh", 401),
        ("guest", "POST /auth/guest", 201),
    ],
)
def test_who_logs_in_during_a_renewal_stays_logged_in(
    open_at: Any, made: Made, kind: str, what: str, status: int
) -> None:
    with open_at("places") as visitor:
        page: Page = visitor.page
        made.refuses("POST /auth/refresh", 401, "bad_refresh")

        def meanwhile(route: Route) -> None:
            page.evaluate(SIGN_IN, ["newer", "account", 15])
            route.fulfill(status=status, json=session(kind) if status < 400 else {"code": "bad_refresh"})

        made.says(what, meanwhile)
        page.evaluate(SIGN_IN, ["old", kind, 0])
        assert page.evaluate(CALL, "/auth/me")["consent"] is False
        assert made.bearers[-1] == "Bearer newer"
        assert page.evaluate("localStorage.getItem('growbin.token')") == "newer"
        assert {"refresh_token": "newer", "kind": "account"}.items() <= page.evaluate(KEPT).items()
        assert len(made.bodies("POST /auth/guest")) == (what == "POST /auth/guest")


def test_who_leaves_during_a_renewal_is_nobody_afterwards(open_at: Any, made: Made) -> None:
    with open_at("places") as visitor:
        page: Page = visitor.page

        def meanwhile(route: Route) -> None:
            page.evaluate("localStorage.clear()")
            route.fulfill(json=session("account"))

        made.says("POST /auth/refresh", meanwhile)
        page.evaluate(SIGN_IN, ["old", "account", 0])
        assert page.evaluate(CALL, "/auth/me") == "signed_out"
        assert page.evaluate("localStorage.length") == 0


def test_a_service_that_says_nothing_holds_no_tab_up(open_at: Any, made: Made) -> None:
    with open_at("places") as visitor:
        page: Page = visitor.page
        page.evaluate("""() => {
          window.patience = [];
          window.pace = 50;
          const wait = AbortSignal.timeout.bind(AbortSignal);
          AbortSignal.timeout = (ms) => { patience.push(ms); return wait(ms / pace); };
        }""")
        page.evaluate(SIGN_IN, ["old", "guest", 0])
        made.says("POST /auth/refresh", lambda route: None)
        assert page.evaluate(CALL, "/auth/me") == "offline"
        page.evaluate("window.pace = 1")
        made.says("POST /auth/refresh", session("guest"))
        assert page.evaluate(CALL, "/auth/me")["consent"] is False
        assert page.evaluate("patience") == [15000] * 3


def test_a_part_of_everything_is_not_taken_away(open_at: Any, made: Made) -> None:
    made.says("GET /users/me/export", cut_off)
    with open_at("places") as visitor:
        page: Page = visitor.page
        page.evaluate(SIGN_IN, ["mine", "guest", 15])
        go(page, "account")
        downloads: list[str] = []
        page.on("download", lambda download: downloads.append(download.suggested_filename))
        page.get_by_role("button", name=t("page.profile.export")).click()
        expect(page.get_by_role("alert")).to_contain_text(t("page.error.offline"))
        assert downloads == []


def test_who_could_not_be_logged_out_is_told(open_at: Any, made: Made) -> None:
    with open_at("places") as visitor:
        page: Page = visitor.page
        made.is_person(email="minji@growbin.app")
        page.evaluate(SIGN_IN, ["mine", "account", 15])
        go(page, "account")
        log_out = page.get_by_role("button", name=t("page.profile.log_out"))
        for status, code in ((503, "unavailable"), (429, "too_many_requests")):
            made.refuses("POST /auth/logout", status, code)
            log_out.click()
            expect(page.get_by_role("alert")).to_contain_text(t(f"problem.{code}"))
            expect(page.get_by_text(t("page.profile.log_out.failed"))).to_be_visible()
            assert page.evaluate("localStorage.getItem('growbin.token')") == "mine"
        made.refuses("POST /auth/logout", 401, "bad_token")
        made.refuses("POST /auth/refresh", 401, "bad_refresh")
        log_out.click()
        expect(page.get_by_text(t("page.account.logged_out"))).to_be_visible()
        assert page.evaluate("localStorage.length") == 0


def test_a_guest_can_have_everything_deleted_too(open_at: Any, made: Made) -> None:
    made.says("GET /waste/analyses", {"analyses": [], "next": None})
    made.says("DELETE /auth/account", {})
    with open_at("history") as visitor:
        page: Page = visitor.page
        expect(page.get_by_text(t("page.history.empty"))).to_be_visible()
        page.get_by_role("link", name=t("page.account.log_in")).click()
        expect(page.get_by_text(t("page.account.log_in.guest"))).to_be_visible()
        page.get_by_role("button", name=t("page.profile.delete.guest")).click()
        leave = page.get_by_role("dialog")
        expect(leave.locator("input")).to_have_count(0)
        leave.get_by_role("button", name=t("page.profile.delete.keep")).click()
        expect(leave).to_have_count(0)
        page.get_by_role("button", name=t("page.profile.delete.guest")).click()
        leave.get_by_role("button", name=t("page.profile.delete.do")).click()
        expect(page.get_by_text(t("page.profile.deleted"))).to_be_visible()
        assert made.bodies("DELETE /auth/account") == [{}]
        assert page.evaluate("localStorage.length") == 0
        assert visitor.complaints == []


def test_who_does_not_tell_where_they_are_can_choose_a_place(open_at: Any, made: Made) -> None:
    made.says("GET /locations", found(centre(1)))
    with open_at("places") as visitor:
        page: Page = visitor.page
        expect(page.get_by_text(t("page.places.private"))).to_be_visible()
        page.get_by_role("button", name=t("page.places.here")).click()
        expect(page.get_by_role("alert")).to_contain_text(t("page.places.refused.denied"))
        assert made.asked == []
        page.get_by_label(t("page.places.hall")).select_option(t("page.places.hall.jeju"))
        expect(page.locator(".place")).to_have_count(1)
        assert made.bodies("GET /locations")[-1] == {"lat": "33.4890", "lon": "126.4980", "radius": "5000"}
        expect(page.get_by_role("alert")).to_have_count(0)

        typed = t("page.places.coordinates")
        for text in ("제주", "37.5", "126.978, 37.566", "37.5, 127, 3"):
            page.get_by_label(typed).fill(text)
            page.keyboard.press("Enter")
            expect(wrong(page, typed)).to_have_text(t("page.places.coordinates.wrong"))
        page.get_by_label(typed).fill("37.56634, 126.97794")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="37.56634, 126.97794")).to_be_visible()
        assert made.bodies("GET /locations")[1:] == [{"lat": "37.5663", "lon": "126.9779", "radius": "5000"}]
        visitor.shoot("22-elsewhere")
        assert visitor.complaints == []


#: A browser that knows the position only when a test says so: `answer()`.
SLOW = """navigator.geolocation.getCurrentPosition = (done) => {
  window.answer = () => done({ coords: { latitude: 35, longitude: 128 } });
}"""


def test_a_place_chosen_while_the_position_is_awaited_stays(open_at: Any, made: Made) -> None:
    made.says("GET /locations", found(centre(1)))
    with open_at("places") as visitor:
        page: Page = visitor.page
        page.evaluate(SLOW)
        here = page.locator(".where .primary")
        here.focus()
        page.keyboard.press("Enter")
        expect(here).to_have_text(t("page.places.locating"))
        expect(here).to_have_attribute("aria-disabled", "true")
        expect(here).to_be_focused()
        first = page.evaluate_handle("() => answer")
        page.keyboard.press("Enter")
        assert page.evaluate("first => answer === first", first), "whoever waits does not ask again"

        page.get_by_text(t("page.places.elsewhere")).click()
        page.get_by_label(t("page.places.hall")).select_option(t("page.places.hall.jeju"))
        expect(here).to_have_text(t("page.places.here"))
        page.evaluate("answer()")
        expect(page.locator(".result h2")).to_contain_text(t("page.places.hall.jeju"))
        here.click()
        page.evaluate("first => first()", first)
        expect(here).to_have_text(t("page.places.locating"))
        page.evaluate("answer()")
        expect(page.locator(".result h2")).to_contain_text(t("page.places.you"))
        expect(here).not_to_have_attribute("aria-disabled", "true")
        assert [asked["lat"] for asked in made.bodies("GET /locations")] == ["33.4890", "35.0000"]


def test_the_list_says_what_the_api_says(open_at: Any, made: Made) -> None:
    made.says("GET /locations", found(
        centre(0.4, name="가까운 센터"),
        centre(0, 1.24, open=False, phone="031-000-0001", phone_of="agency"),
        centre(-3, open=None, hours={"weekday": None, "rest_day": None, "closed": None}, phone=None, takes=None),
        centre(0, -12.4, suspended=True, open=False),
        note="5 km 안에는 없어요.", sample=True, stale=True, age_seconds=3 * 86400,
    ))  # fmt: skip
    with open_at("places", **HERE) as visitor:
        page: Page = visitor.page
        assert made.asked == [], "nothing is asked before somebody wants it"
        goods = page.get_by_label(t("page.places.accepts")).locator("option")
        assert {one.get_attribute("value") for one in goods.all()} == {"", *CATEGORIES}
        page.get_by_role("button", name=t("page.places.here")).click()
        places = page.locator(".place")
        expect(places).to_have_count(4)
        for place, distance, state in zip(
            places.all(), ("400m", "1.2km", "3km", "12km"), ("open", "closed", "unknown", "suspended"), strict=True
        ):
            expect(place.locator(".far")).to_have_text(distance)
            expect(place.locator(".open-mark")).to_have_text(t(f"page.places.open.{state}"))
        expect(places.first).to_contain_text("평일 09:00~18:00")
        expect(places.first).to_contain_text("가구, 가전")
        expect(places.nth(0).get_by_role("link")).to_have_attribute("href", "tel:020000000")
        expect(places.nth(1).get_by_role("link")).to_have_text(t("page.places.call.agency", phone="031-000-0001"))
        expect(places.nth(2).get_by_role("link")).to_have_count(0)
        expect(page.get_by_text(t("page.places.sample"))).to_be_visible()
        expect(page.locator(".stale")).to_contain_text(t("page.places.days_old", n=3))
        expect(page.get_by_text("5 km 안에는 없어요.")).to_be_visible()
        visitor.shoot("23-places")

        page.get_by_text(t("page.places.km", n=20), exact=True).click()
        page.get_by_label(t("page.places.accepts")).select_option(t("places.accepts.clothing"))
        expect(places).to_have_count(4)
        assert [asked["radius"] for asked in made.bodies("GET /locations")] == ["5000", "20000", "20000"]
        assert made.bodies("GET /locations")[-1]["accepts"] == "clothing"
        assert page.evaluate("JSON.stringify(localStorage)") == "{}", "the position is kept nowhere"
        assert visitor.complaints == []


def test_the_map_has_north_up_and_every_number_in_its_place(open_at: Any, made: Made) -> None:
    made.says("GET /locations", found(centre(4), centre(0, 4), centre(0.02), centre(0.021), centre(-3, -3)))
    with open_at("places", **HERE) as visitor:
        page: Page = visitor.page
        page.get_by_role("button", name=t("page.places.here")).click()
        expect(page.locator(".map .bubble")).to_have_count(5)
        at = page.evaluate("""() => [...document.querySelectorAll(".map .bubble circle")].map(
            (circle) => [circle.cx.baseVal.value - 160, circle.cy.baseVal.value - 160])""")
        (north, east, near, beside, south_west) = at
        assert abs(north[0]) < 1
        assert north[1] == pytest.approx(-112, abs=2), "4 of 5 km of 140 units"
        assert east == pytest.approx([112, 0], abs=2)
        assert south_west == pytest.approx([-84, 84], abs=2)
        for one, other in ((near, beside), (near, [0, 0]), (beside, [0, 0])):
            assert ((one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2) ** 0.5 > 20, "no number covers another"
        ring = page.evaluate(
            "Math.max(...[...document.querySelectorAll('.map .ring')].map((one) => one.r.baseVal.value))"
        )
        assert ring == pytest.approx(140), "5 km"
        expect(page.get_by_role("img", name=t("page.places.north"))).to_be_visible()
        number = page.locator(".map .bubble").last
        assert number.evaluate("(one) => getComputedStyle(one).cursor") == "auto", "a picture promises no touch"


@pytest.mark.parametrize(("scheme", "lang"), [("light", "ko"), ("dark", "en")])
def test_accounts_and_places_fit_a_small_phone(open_at: Any, made: Made, scheme: str, lang: str) -> None:
    made.says("GET /locations", found(
        *(centre(0.3 * n, 0.2 * n, open=(True, False, None)[n % 3], suspended=n == 4) for n in range(1, 6)),
        note="5 km 안에는 없어요.", sample=True, stale=True, age_seconds=7200,
    ))  # fmt: skip
    options = {"viewport": {"width": 360, "height": 640}, "color_scheme": scheme, **HERE}

    def text(key: str) -> str:
        return messages.text(key, lang)

    def look(name: str) -> None:
        assert visitor.page.evaluate(CONTRAST) == []
        assert visitor.page.evaluate(CONTROLS) == []
        visitor.shoot(f"{name}-{scheme}")

    with open_at("account", **options) as visitor:
        page: Page = visitor.page
        if lang == "en":
            page.get_by_role("button", name="English").click()
        expect(page.locator("h1")).to_have_text(text("page.account"))
        rows = page.evaluate("new Set([...document.querySelectorAll('nav a')].map((link) => link.offsetTop)).size")
        assert rows == 1, "the menu is one line"
        page.get_by_text(text("page.account.sign_up"), exact=True).click()
        page.locator(".sign-in button[type=submit]").click()
        look("24-sign-up")
        made.is_person(
            email="a.very.long.address.of.somebody@growbin.app",
            nickname="분리배출을아주잘하는민지네가족",
            language=lang,
        )
        made.says("POST /auth/login", session("account"))
        page.get_by_text(text("page.account.log_in"), exact=True).last.click()
        page.get_by_label(text("page.account.email"), exact=True).fill("minji@growbin.app")
        page.get_by_label(text("page.account.password"), exact=True).fill(PASSWORD)
        page.locator(".sign-in button[type=submit]").click()
        expect(page.get_by_label(text("page.profile.nickname"))).to_be_visible()
        page.get_by_text(text("page.profile.password.change")).first.click()
        look("25-profile")
        page.get_by_role("button", name=text("page.profile.delete"), exact=True).click()
        look("26-leave")
        page.keyboard.press("Escape")
        page.goto(page.url.partition("#")[0] + "#/places")
        page.get_by_text(text("page.places.elsewhere")).click()
        page.get_by_role("button", name=text("page.places.here")).click()
        expect(page.locator(".place")).to_have_count(5)
        look("27-places")
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        visitor.shoot(f"28-large-{scheme}")
        assert visitor.complaints == []


# --- the whole system -----------------------------------------------------------------------------------------------


def test_a_guest_becomes_an_account_with_all_their_history_and_leaves(visit: Any, photo: Path) -> None:
    email = f"{uuid.uuid4().hex[:12]}@growbin.app"
    with visit(**HERE, accept_downloads=True) as phone, visit(color_scheme="dark") as tablet:
        page: Page = phone.page
        phone.choose(photo, "투명 페트병이에요.")
        phone.agree()
        phone.guide()
        (analysis,) = phone.asked("/waste/analyses")["analyses"]

        go(page, "account")
        sign_in(page, email, PASSWORD, fresh=True)
        expect(page.get_by_text(t("page.account.signed_up"))).to_be_visible()
        page.get_by_label(t("page.profile.nickname")).fill("민지")
        page.get_by_label(t("page.region")).fill("서울 마포구")
        page.get_by_role("button", name=t("page.profile.save")).click()
        expect(page.get_by_text(t("page.profile.saved"))).to_be_visible()
        expect(page.locator("#account")).to_have_text("민지")
        expect(page.get_by_label(t("page.profile.consent.what"))).to_be_checked()
        phone.shoot("30-profile")
        go(page, "history")
        expect(page.locator(".history li")).to_have_count(1)

        other: Page = tablet.page
        go(other, "account")
        sign_in(other, email, "틀린 비밀번호")
        expect(other.get_by_role("alert")).to_contain_text(t("problem.wrong_credentials"))
        sign_in(other, email.upper(), PASSWORD)
        expect(other.locator("#account")).to_have_text("민지")
        go(other, "history")
        expect(other.locator(f".history a[href='#/analyses/{analysis['id']}']")).to_be_visible()
        go(other, "")
        expect(other.get_by_label(t("page.region"))).to_have_value("서울 마포구")
        expect(other.get_by_label(t("page.home.apartment"))).to_be_checked()

        go(page, "account")
        page.get_by_text(t("page.profile.password.change")).first.click()
        for label, value in (("old", PASSWORD), ("new", PASSWORD[::-1])):
            page.get_by_label(t(f"page.profile.password.{label}"), exact=True).fill(value)
        page.get_by_role("button", name=t("page.profile.password.change")).click()
        expect(page.get_by_text(t("page.profile.password.changed"))).to_be_visible()
        go(other, "history")
        expect(other.get_by_role("alert")).to_contain_text(t("page.signed_out"))

        with page.expect_download() as download:
            page.get_by_role("button", name=t("page.profile.export")).click()
        exported = download.value.path().read_text(encoding="utf-8")
        assert analysis["id"] in exported
        assert email in exported
        assert download.value.suggested_filename.endswith(".json")

        page.get_by_role("button", name=t("page.profile.log_out")).click()
        expect(page.get_by_text(t("page.account.logged_out"))).to_be_visible()
        assert page.evaluate("localStorage.length") == 0
        sign_in(page, email, PASSWORD[::-1])
        page.get_by_role("button", name=t("page.profile.delete"), exact=True).click()
        leave = page.get_by_role("dialog")
        leave.get_by_label(t("page.account.password"), exact=True).fill(PASSWORD)
        leave.get_by_role("button", name=t("page.profile.delete.do")).click()
        expect(leave).to_contain_text(t("problem.wrong_password"))
        leave.get_by_label(t("page.account.password"), exact=True).fill(PASSWORD[::-1])
        leave.get_by_role("button", name=t("page.profile.delete.do")).click()
        expect(page.get_by_text(t("page.profile.deleted"))).to_be_visible()
        sign_in(page, email, PASSWORD[::-1])
        expect(page.get_by_role("alert")).to_contain_text(t("problem.wrong_credentials"))


def test_places_near_the_city_hall_are_samples_without_a_key(visit: Any) -> None:
    with visit(**HERE) as visitor:
        page: Page = visitor.page
        page.get_by_role("link", name=t("page.nav.places")).click()
        page.get_by_role("button", name=t("page.places.here")).click()
        expect(page.get_by_text(t("page.places.sample"))).to_be_visible()
        expect(page.locator(".place").first).to_be_visible()
        expect(page.locator(".map .bubble")).to_have_count(page.locator(".place").count())
        visitor.shoot("31-places")
        assert page.evaluate("localStorage.length") == 0, "nobody has to be somebody for this"
        assert visitor.complaints == []


def go(page: Page, view: str) -> None:
    """To a view, as a link to it would."""
    page.evaluate("view => { location.hash = `#/${view}`; }", view)
