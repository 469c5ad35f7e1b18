"""The page in a real browser on a phone-sized window: what a person sees, in the order they see it.

The first tests need no browser: they read the page's files and what `web` answers.
"""

from __future__ import annotations

import io
import itertools
import json
import random
import re
import uuid
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Locator, Page, Route, expect

from functions.grade.likeness import COPY, Picture
from functions.shared import messages
from functions.web.routes import PAGE, create
from functions.web.settings import Settings
from knative.local.model.checking import difference
from knative.local.sample import draw
from tests.visitor import CONTRAST, CONTROLS, t
from tests.waiting import PATIENCE

pytestmark = pytest.mark.unmeasured

#: Keys that are put together from a code: the part before it.
BUILT = (
    "phase.",
    "stage.",
    "page.stage.",
    "page.home.",
    "page.status.",
    "page.guide.chosen.",
    "page.failed",
    "page.expired",
    "page.grade.high",
    "page.grade.middle",
    "page.grade.low",
    "page.proof.stage.",
    "page.stats.period.",
    "page.stats.analyses",
    "page.stats.accuracy",
    "page.stats.score",
    "page.stats.streak",
)


def sources() -> dict[str, str]:
    """The page's files; what the API's document says is for programmers."""
    return {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir() if path.suffix != ".json"}


# --- files ----------------------------------------------------------------------------------------------------------


def test_every_word_of_the_page_is_in_the_catalogue() -> None:
    hangul = {name for name, text in sources().items() if re.search("[가-힣ㄱ-ㅎㅏ-ㅣ]", text)}
    assert not hangul
    used = {key for text in sources().values() for key in re.findall(r"""['"]((?:page|phase)\.[a-z_.]+)['"]""", text)}
    assert len(used) > 50
    assert used - messages.catalogue().keys() == set()


def test_no_message_of_the_page_is_left_over() -> None:
    everything = "".join(sources().values())
    unused = {
        key
        for key in messages.catalogue()
        if key.startswith("page.") and not re.search(rf"['\"]{re.escape(key)}['\"]", everything)
    }
    assert {key for key in unused if not key.startswith(BUILT)} == set()


def test_both_languages_say_the_same_things() -> None:
    for key, entry in messages.catalogue().items():
        assert set(entry) == {"ko", "en"}, key
        assert all(text.strip() for text in entry.values()), key
        places = [set(re.findall(r"\{(\w+)\}", text)) for text in entry.values()]
        assert places[0] == places[1], key
        if not key.endswith("other_language"):
            assert not re.search("[가-힣]", re.sub(r"^e\.g\..*", "", entry["en"])), key


def test_nothing_is_loaded_from_elsewhere() -> None:
    for name, text in sources().items():
        for address in re.findall(r"https?://[^\s\"'`)]+", text):
            assert address.startswith("http://www.w3.org/"), f"{name} names {address}"


@pytest.fixture
def web() -> FlaskClient:
    return create(
        Settings(s3_public_endpoint="https://photos.example:9000/ignored", redis_url="redis://127.0.0.1:9/0")
    ).test_client()


def test_the_page_is_korean_unless_the_visitor_chose_english(web: FlaskClient) -> None:
    korean = web.get("/", headers={"Accept-Language": "en"})
    assert korean.status_code == 200
    assert '<html lang="ko">' in korean.text
    assert t("page.title") in korean.text
    web.set_cookie("lang", "en")
    assert '<html lang="en">' in web.get("/").text
    web.set_cookie("lang", "xx")
    assert '<html lang="ko">' in web.get("/").text


def test_the_policy_allows_our_files_and_the_photo_store_only(web: FlaskClient) -> None:
    policy = web.get("/").headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["connect-src"] == "'self' https://photos.example:9000"
    assert rules["img-src"] == "'self' blob: https://photos.example:9000"
    assert "unsafe" not in policy


def test_files_are_asked_for_again_but_not_sent_again(web: FlaskClient) -> None:
    for path in ("/", "/page/main.js", "/page/style.css", "/messages.json?lang=en"):
        first = web.get(path)
        assert first.status_code == 200, path
        assert first.headers["Cache-Control"] == "no-cache"
        assert web.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert web.get("/page/main.js").mimetype == "text/javascript"
    for path in ("/page/index.html", "/page/../settings.py", "/page/%2e%2e/settings.py", "/page/none.js"):
        assert web.get(path).status_code == 404, path


def test_the_catalogue_comes_in_one_language(web: FlaskClient) -> None:
    assert web.get("/messages.json?lang=en").json["page.close"] == "Close"  # type: ignore[index]
    assert web.get("/messages.json?lang=ko").json["page.close"] == "닫기"  # type: ignore[index]
    assert web.get("/messages.json").json["page.close"] == "닫기"  # type: ignore[index]


# --- in a browser ---------------------------------------------------------------------------------------------------


def crushed(seed: str) -> Image.Image:
    """The same bottle later, elsewhere: crushed, without its label, in a dark box on a tiled floor. No two seeds look
    the same, for a picture can be used once only."""
    chance = random.Random(seed)
    scene = Image.new("RGB", (1200, 900), (96, 122, 104))
    pen = ImageDraw.Draw(scene)
    for x, y in itertools.product(range(-60, 1200, 150), range(-40, 900, 150)):
        tile = tuple(value + chance.randint(-14, 14) for value in (126, 156, 132))
        pen.rectangle([x, y, x + 142, y + 142], fill=tile)
    pen.polygon([(330, 210), (1130, 260), (1080, 850), (250, 800)], fill=(74, 76, 84))
    pen.polygon([(380, 260), (1070, 300), (1030, 790), (310, 750)], fill=(44, 46, 52))
    left, top = chance.randint(500, 580), chance.randint(380, 440)
    ridges = [(0, 60), (40, 20), (90, 48), (140, 8), (200, 42), (260, 14), (310, 50)]
    lower = [(x, 150 - y + chance.randint(-12, 12)) for x, y in reversed(ridges)]
    pen.polygon(
        [(left + x, top + y) for x, y in ridges + lower], fill=(190, 208, 216), outline=(232, 240, 244), width=4
    )
    for (x0, y0), (x1, y1) in zip(ridges, reversed(lower), strict=True):
        pen.line(
            [(left + x0, top + y0), (left + x1 + chance.randint(-30, 30), top + y1)], fill=(140, 162, 174), width=5
        )
    pen.rounded_rectangle([left - 34, top + 58, left + 4, top + 96], 8, fill=(246, 248, 250))
    return scene.filter(ImageFilter.GaussianBlur(1.2))


@pytest.fixture
def result(tmp_path: Path) -> Path:
    crushed(uuid.uuid4().hex).save(tmp_path / "result.jpg", quality=88)
    return tmp_path / "result.jpg"


def test_the_result_is_no_copy_of_the_photo() -> None:
    """What the journey below rests on, whoever grades: other colours, other forms, and none made out of the other."""
    before, after = (encoded(picture) for picture in (draw(), crushed("a")))
    for turned in (0, 90, 180, 270):
        assert Picture(before).likeness(Picture(encoded(crushed("a").rotate(turned, expand=True)))) < COPY - 0.1
    found = difference(before, after)
    assert all(found.changed(phase) for phase in ("prepare", "wash", "separate", "dispose"))
    assert encoded(crushed("b")) != after


def encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


@pytest.fixture
def live_is_awake(cluster: Any) -> None:
    """A page whose socket is answered late looks again by itself."""
    events = f"{cluster.gateway}/api/v1/waste/analyses/{uuid.uuid4()}/events"
    assert requests.get(events, timeout=PATIENCE).status_code < 500


@pytest.mark.usefixtures("live_is_awake")
def test_from_photo_to_guide(visit: Any, photo: Path) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        visitor.shoot("1-start")
        visitor.choose(photo, "투명 페트병이에요. 라벨을 떼야 하나요?")
        visitor.agree()
        expect(page.locator("h1")).to_have_text(t("page.analysis.title"))
        expect(page.locator(".stages li")).to_have_count(5)
        visitor.guide()
        diary = page.evaluate("window.diary")
        assert diary == ["sent", "photo", "item", "rules", "guide", "shown"], "every stage was seen before the guide"

        assert len([url for url in asked if re.search(r"/analyses/[0-9a-f-]{36}$", url)]) <= 2, "told, not polled"

        phases = page.locator(".phase h3")
        expect(phases).to_have_count(4)
        for position, phase in enumerate(("prepare", "wash", "separate", "dispose")):
            expect(phases.nth(position)).to_contain_text(t(f"phase.{phase}"))
        place = page.locator(".destination .place")
        expect(place).to_be_in_viewport()
        sizes = [
            float(node.evaluate("e => parseFloat(getComputedStyle(e).fontSize)")) for node in (place, phases.first)
        ]
        assert sizes[0] >= 1.4 * sizes[1], "where it goes is the largest thing on the page"
        expect(page.get_by_text(t("page.made.standin"))).to_be_visible()
        visitor.shoot("2-guide")

        citation = page.locator(".phase .cite").first
        citation.click()
        rule = page.get_by_role("dialog")
        expect(rule.locator(".rule-text")).not_to_be_empty()
        for term in ("basis", "source", "effective_from", "checked"):
            expect(rule.get_by_text(t(f"page.rule.{term}"), exact=True)).to_be_visible()
        visitor.shoot("3-rule")
        rule.get_by_role("button", name=t("page.close")).click()
        expect(rule).to_have_count(0)
        expect(citation).to_be_focused()

        citation.click()
        text = page.locator("dialog .rule-text").inner_text()
        page.get_by_role("link", name=t("page.rule.address")).click()
        expect(page.locator("main .rule-text")).to_have_text(text)
        assert visitor.complaints == []


def test_that_is_not_it(visit: Any, photo: Path) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()
        first = page.locator(".item strong").inner_text()
        page.get_by_text(t("page.correct"), exact=True).click()
        page.get_by_label(t("page.correct.words")).fill("우유팩")
        page.get_by_role("button", name=t("page.correct.send")).click()
        expect(page.locator(".item small")).to_have_text(t("page.guide.chosen.correction"), timeout=60_000)
        assert page.locator(".item strong").inner_text() != first
        page.get_by_text(t("page.earlier", n=1)).click()
        page.get_by_role("button", name=t("page.earlier.one", n=1, name=first)).click()
        expect(page.locator(".guide .item").last).to_contain_text(first)
        visitor.shoot("4-corrected")

        page.get_by_role("link", name=t("page.nav.history")).click()
        expect(page.locator(".history li")).to_have_count(1)
        visitor.shoot("5-history")
        page.locator(".history a").click()
        expect(page.locator(".guide")).to_be_visible()
        assert visitor.complaints == []


@pytest.mark.usefixtures("live_is_awake")
def test_a_correction_that_asks_keeps_the_guide_and_one_socket(visit: Any, photo: Path) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()
        first = page.locator(".item strong").inner_text()

        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        looks: list[str] = []

        def fail_once(route: Route) -> None:
            looks.append(route.request.url)
            if len(looks) == 1:
                route.fulfill(status=503, json={"code": "unavailable"})
            else:
                route.continue_()

        page.route(re.compile(r"/analyses/[0-9a-f-]{36}$"), fail_once)
        page.get_by_text(t("page.correct"), exact=True).click()
        page.get_by_label(t("page.correct.words")).fill("컵")
        page.get_by_role("button", name=t("page.correct.send")).click()
        expect(page.locator(".question")).to_be_visible()
        assert len(looks) == 2, "once for all that is replayed, and again because that failed"
        assert len(sockets) == 1

        page.get_by_text(t("page.earlier", n=1)).click()
        page.get_by_role("button", name=t("page.earlier.one", n=1, name=first)).click()
        expect(page.locator(".guide .item")).to_contain_text(first)


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_a_correction_that_fails_keeps_the_guide(visit: Any, photo: Path, status: str) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()

        def end(route: Route) -> None:
            answer = route.fetch()
            failure = {"code": "internal", "message": t("failure.internal")}
            route.fulfill(
                response=answer,
                json={**answer.json(), "status": status, "outcome": None, "round": 2, "failure": failure},
            )

        page.route(re.compile(r"/analyses/[0-9a-f-]{36}$"), end)
        page.reload()
        expect(page.get_by_role("heading", name=t(f"page.{status}"))).to_be_visible()
        page.get_by_text(t("page.earlier", n=1)).click()
        page.locator("details .option").last.click()
        expect(page.locator(".guide .destination")).to_be_visible()


def box(place: Locator) -> dict[str, float]:
    """Where it is drawn: x, y, width, height in pixels."""
    found = place.bounding_box()
    assert found
    return {side: found[side] for side in ("x", "y", "width", "height")}


def shape(place: Locator) -> dict[str, float]:
    """The same of a shape within its drawing, without the line round it."""
    found: dict[str, float] = place.evaluate("e => (({x, y, width, height}) => ({x, y, width, height}))(e.getBBox())")
    return found


def test_from_guide_to_grade_to_lesson(visit: Any, photo: Path, result: Path) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()
        address = page.url
        analysis = f"/waste/analyses/{address.rpartition('/')[2]}"
        guide = visitor.asked(analysis)["guide"]
        expect(page.locator(".check")).to_have_count(len(guide["steps"]))
        visitor.shoot("10-checklist")

        visitor.show_result(photo)  # the very same picture
        refused = page.locator(".proof.refused")
        expect(refused.locator(".note").first).to_have_text(t("proof.same_photo"), timeout=60_000)
        expect(refused.locator("h2")).to_be_focused()
        expect(page.locator(".result-form")).to_be_hidden()
        visitor.shoot("11-refused")
        page.get_by_role("button", name=t("page.proof.again")).click()
        expect(page.get_by_role("checkbox").first).to_be_checked()  # as ticked before

        visitor.show_result(result)
        graded = page.locator(".verify > div > .proof:not(.refused)")
        expect(graded).to_be_visible(timeout=60_000)
        expect(graded.locator("h2")).to_be_focused()
        diary = page.evaluate("window.diary")
        assert {"result.photo", "result.compare"} <= set(diary), "followed live"
        proof = visitor.asked(analysis)["proofs"][-1]
        assert proof["grade"]["code"] in ("middle", "low")
        expect(graded.locator(".badge")).to_contain_text(proof["grade"]["name"])
        expect(graded.locator(".verdict strong")).to_have_text(t("page.grade.score", score=proof["score"]))
        expect(graded.get_by_text(t("page.grade.standin"))).to_be_visible()
        drawn = graded.locator(".verdicts > li")
        assert [li.get_attribute("data-verdict") for li in drawn.all()] == [step["verdict"] for step in proof["steps"]]
        assert {step["phase"] for step in proof["steps"] if step["verdict"] == "not_done"} == {"wash"}
        expect(drawn.first).to_contain_text(t("page.proof.ticked"))
        expect(graded.locator(".summary")).to_have_text(proof["feedback"]["summary"])
        for picture in graded.locator(".pair img").all():
            expect(picture).to_have_js_property("complete", True)
            assert picture.evaluate("image => image.naturalWidth") > 100
        pair = [box(frame) for frame in graded.locator(".frame").all()]
        assert len(pair) == 2
        assert pair[0]["y"] == pair[1]["y"], "side by side"
        assert pair[0]["x"] + pair[0]["width"] <= pair[1]["x"]
        visitor.shoot("12-graded")
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(CONTROLS) == []

        page.get_by_text(t("page.dispute"), exact=True).click()
        page.get_by_label(t("page.dispute.reason")).fill("라벨은 이미 뗐어요.")
        page.get_by_role("button", name=t("page.dispute.send")).click()
        expect(page.locator("section.dispute")).to_contain_text("라벨은 이미 뗐어요.")
        expect(page.locator("section.dispute h2")).to_be_focused()
        earlier = page.locator(".attempts")
        expect(earlier.locator("img")).to_have_count(0)
        page.get_by_text(t("page.proof.earlier", n=1)).click()
        earlier.get_by_text(t("page.proof.attempt", n=1)).click()
        expect(earlier.locator(".proof.refused .note").first).to_have_text(t("proof.same_photo"))
        expect(earlier.locator(".pair img").first).to_be_visible()

        page.locator(".lesson-link a").click()
        lesson = page.locator(".lesson")
        expect(lesson).to_have_count(1)
        expect(lesson.locator("h2")).to_be_focused()
        (told,) = visitor.asked("/users/me/lessons")["lessons"]
        expect(lesson.locator("h2")).to_have_text(told["item"]["name"])
        expect(lesson.locator(".told").first).to_contain_text(told["rule"]["text"])
        washing = t("page.lessons.missed.step", name=t("phase.wash"), n=1)
        expect(lesson.locator("strong").first).to_have_text(washing)
        lesson.locator(".cite").first.click()
        expect(page.locator("dialog .rule-text")).to_contain_text(told["rule"]["text"])  # with its condition
        page.keyboard.press("Escape")

        page.get_by_text(t("page.quiz"), exact=True).click()
        questions = lesson.locator("fieldset")
        expect(questions).to_have_count(3)
        for question in questions.all():
            question.locator(".choice").first.click()
        page.get_by_role("button", name=t("page.quiz.send")).click()
        expect(lesson.locator(".sum")).to_be_focused()
        right = lesson.locator("p.said.right").count()
        assert right + lesson.locator("p.said.wrong").count() == 3
        expect(lesson.locator(".sum")).to_have_text(t("page.quiz.sum", of=3, right=right))
        for question in questions.all():
            expect(question.locator(".choice.right")).to_have_count(1)
        visitor.shoot("13-lesson")
        page.reload()
        page.get_by_text(t("page.quiz"), exact=True).click()
        expect(lesson.get_by_text(t("page.quiz.taken", times=1, best=right, of=3))).to_be_visible()

        page.get_by_role("link", name=t("page.nav.stats")).click()
        bar = page.locator(".columns .bar")
        expect(bar).to_have_count(1)
        assert (bar.get_attribute("data-grade"), bar.get_attribute("data-value")) == (proof["grade"]["code"], "1")
        grid = [shape(line)["y"] for line in page.locator(".grid").all()]
        assert shape(bar)["height"] == pytest.approx(max(grid) - min(grid), abs=0.1), "one of one: as high as the plot"
        width = box(page.locator(".columns"))["width"]
        assert shape(bar)["x"] > width - width * 0.91 / 30, "today is the last of thirty days"
        expect(page.locator("[data-tile=analyses] dd")).to_have_text("1")
        expect(page.locator("[data-tile=accuracy] dd").first).to_have_text("0%")
        expect(page.locator("[data-tile=score] dd")).to_have_text(str(proof["score"]))
        missed = page.locator("section", has=page.get_by_role("heading", name=t("page.stats.steps"))).locator(
            ".bars li"
        )
        expect(missed).to_have_count(1)
        expect(missed.locator("span")).to_have_text(t("phase.wash"))
        visitor.shoot("14-stats")

        page.get_by_role("link", name=t("page.nav.history")).click()
        expect(page.locator(".history .badge")).to_contain_text(proof["grade"]["name"])
        page.locator(".history a").click()
        page.get_by_role("button", name=t("page.grade.look")).click()
        expect(graded.locator("h2")).to_be_focused()
        expect(graded.locator("h2")).to_be_in_viewport()
        assert visitor.complaints == []


def test_a_result_is_followed_without_a_websocket_and_after_a_reload(visit: Any, photo: Path, result: Path) -> None:
    with visit(deaf=True) as visitor:
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()
        visitor.show_result(result)
        expect(visitor.page.locator("[data-proof-stage]").first).to_be_visible()
        visitor.page.reload()
        expect(visitor.page.locator(".proof .badge")).to_be_visible(timeout=60_000)
        assert visitor.complaints == []


def test_pictures_that_are_gone_leave_the_grade(visit: Any, photo: Path, result: Path) -> None:
    with visit(color_scheme="dark") as visitor:
        page: Page = visitor.page
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()
        visitor.show_result(result)
        expect(page.locator(".proof .badge")).to_be_visible(timeout=60_000)
        page.route(re.compile(r"/photos$"), lambda route: route.fulfill(json={"before": None, "after": {}}))
        page.reload()
        expect(page.get_by_text(t("page.proof.gone"))).to_have_count(2)
        expect(page.locator(".proof .badge")).to_be_visible()
        assert page.evaluate(CONTRAST) == []


def test_after_a_correction_the_result_is_one_of_an_earlier_guide(visit: Any, photo: Path, result: Path) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()
        visitor.show_result(result)
        expect(page.locator(".proof .badge")).to_be_visible(timeout=60_000)
        page.get_by_text(t("page.correct"), exact=True).click()
        page.get_by_label(t("page.correct.words")).fill("우유팩")
        page.get_by_role("button", name=t("page.correct.send")).click()
        expect(page.locator(".item small")).to_have_text(t("page.guide.chosen.correction"), timeout=60_000)
        expect(page.locator(".result-form")).to_be_visible()
        expect(page.locator(".grade-line")).to_have_count(0)
        page.get_by_text(t("page.proof.earlier", n=1)).click()
        expect(page.locator(".attempts").get_by_text(t("page.proof.old_guide"))).to_be_visible()
        page.get_by_role("link", name=t("page.nav.history")).click()
        expect(page.locator(".history li")).to_have_count(1)
        expect(page.locator(".history .badge")).to_have_count(0)
        assert visitor.complaints == []


def test_further_questions(visit: Any, photo: Path) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()
        left = page.locator("#questions-left")
        expect(left).to_have_text(t("page.ask.left", n=10, most=10))
        words = page.get_by_label(t("page.ask.label"))
        words.fill("라벨은 꼭 떼야 하나요?")
        page.get_by_role("button", name=t("page.ask.send")).click()
        first = page.locator("[data-question='1']")
        expect(first.locator(".words")).to_contain_text("라벨은 꼭 떼야 하나요?")
        expect(words).to_have_value("")
        expect(first).to_have_class("answered", timeout=60_000)
        first.locator(".cite").first.click()
        expect(page.locator("dialog .rule-text")).not_to_be_empty()
        page.keyboard.press("Escape")

        words.fill("내일 서울 날씨 알려 주세요")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        second = page.locator("[data-question='2']")
        expect(second).to_have_class("declined", timeout=60_000)
        expect(second.locator(".reply p")).not_to_be_empty()
        expect(second.locator(".cite")).to_have_count(0)
        expect(left).to_have_text(t("page.ask.left", n=8, most=10))
        visitor.shoot("15-thread")
        assert page.evaluate(CONTRAST) == []
        page.reload()
        expect(page.locator(".thread > li")).to_have_count(2)
        assert visitor.complaints == []


def grades_of(day: date, high: int = 0, middle: int = 0, low: int = 0) -> dict[str, Any]:
    return {"day": day.isoformat(), "analyses": 9, "high": high, "middle": middle, "low": low}


TODAY = date(2026, 11, 26)

#: What `users` might answer, by period; the page draws what it is told.
STATS: dict[str, Any] = {
    "period": "week",
    "from": "2026-11-20",
    "to": "2026-11-26",
    "analyses": 21,
    "grades": {"high": 5, "middle": 2, "low": 3},
    "accuracy": 0.5,
    "average_score": 71.6,
    "streak": {"current": 3, "longest": 8},
    "days": [
        *(grades_of(TODAY - timedelta(days)) for days in range(6, 2, -1)),
        grades_of(TODAY - timedelta(2), high=4, middle=2, low=2),
        grades_of(TODAY - timedelta(1), high=1),
        grades_of(TODAY, low=1),
    ],
    "destinations": [
        {"code": "clear-pet", "name": "투명페트병 전용수거함", "graded": 8, "right": 4, "accuracy": 0.5},
        {"code": "bag", "name": "종량제봉투", "graded": 4, "right": 1, "accuracy": 0.25},
    ],
    "items": [
        {"id": "clear-pet-bottle", "name": "투명 페트병", "graded": 8, "right": 2},
        {"id": "can", "name": "캔", "graded": 2, "right": 2},  # always right: nothing to be named
    ],
    "steps": [{"phase": "separate", "name": "분리", "missed": 6}, {"phase": "wash", "name": "세척", "missed": 2}],
}
YEAR = {
    **STATS,
    "period": "year",
    "from": "2025-11-27",
    "days": [
        grades_of(date(2026, 8, 3), high=2),
        grades_of(date(2026, 8, 30), high=3, low=5),
        grades_of(date(2026, 11, 1), middle=4),
    ],
}
REPORT = {
    "week": "2026-11-16",
    "analyses": 6,
    "grades": {"high": 1, "middle": 1, "low": 1},
    "accuracy": 0.333,
    "change": None,
    "weak_items": [{"id": "clear-pet-bottle", "name": "투명 페트병", "graded": 2, "right": 0}],
    "sentence": "한 주의 문장",
}
SENTENCE = {"rule_id": "none-1", "text": "라벨을 떼어요.", "source": {"title": "지침"}, "basis_name": "정부 지침"}
LESSON = {
    "id": "00000000-0000-4000-8000-000000000001",
    "item": {"id": "clear-pet-bottle", "name": "투명 페트병"},
    "wrong": 2,
    "right_since": 1,
    "missed": [{"phase": "separate", "name": "분리", "missed": 2}],
    "opened_at": "2026-11-20T10:00:00+00:00",
    "rule": SENTENCE,
    "mistake": SENTENCE,
    "why": None,
    "quiz": [
        {"id": f"q{n}", "question": "어디에 버리나요?", "options": [{"id": id_, "text": id_ * 9} for id_ in "abc"]}
        for n in range(3)
    ],
    "taken": {"times": 0, "best": None},
}


def tell(page: Page) -> None:
    """Have `users` answer the above."""

    def answer(route: Route) -> None:
        path, _, query = route.request.url.partition("/users/me/")[2].partition("?")
        if path == "stats":
            route.fulfill(json=YEAR if query in ("period=year", "period=all") else STATS)
        elif path == "lessons":
            route.fulfill(json={"lessons": [LESSON], "learned": 2})
        elif path == "reports":
            route.fulfill(json={"reports": [REPORT]})
        else:
            answers = json.loads(route.request.post_data or "")["answers"]
            checked = [
                {**a, "right": a["option"] == "a", "correct": "a", "why": "그래야 다시 쓸 수 있어요.", "rule_id": "x"}
                for a in answers
            ]
            route.fulfill(status=201, json={"right": sum(a["right"] for a in checked), "of": 3, "answers": checked})

    page.route(re.compile("/users/me/"), answer)


def columns(page: Page) -> dict[str, dict[str, dict[str, float]]]:
    """What stands in the chart over time: column → grade → box, and its value."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for bar in page.locator(".columns .bar").all():
        column, grade, value = (str(bar.get_attribute(f"data-{name}")) for name in ("column", "grade", "value"))
        found.setdefault(column, {})[grade] = {**shape(bar), "value": float(value)}
    return found


def test_charts_draw_what_the_numbers_say(visit: Any) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        tell(page)
        page.goto(page.url.partition("#")[0] + "#/stats")
        expect(page.locator(".columns .bar")).to_have_count(5)
        drawn = columns(page)
        bars = [bar for grades in drawn.values() for bar in grades.values()]
        unit = bars[0]["height"] / bars[0]["value"]
        for drawn_bar in bars:
            assert drawn_bar["height"] == pytest.approx(unit * drawn_bar["value"], abs=0.1)
            assert drawn_bar["width"] == pytest.approx(bars[0]["width"], abs=0.1)
        (stack,) = (grades for grades in drawn.values() if len(grades) == 3)
        assert [stack[grade]["value"] for grade in ("high", "middle", "low")] == [4, 2, 2]
        assert stack["middle"]["y"] + stack["middle"]["height"] == pytest.approx(stack["high"]["y"], abs=0.1), "stacked"
        assert stack["low"]["y"] + stack["low"]["height"] == pytest.approx(stack["middle"]["y"], abs=0.1)
        grid = sorted(shape(line)["y"] for line in page.locator(".grid").all())
        assert [text.text_content() for text in page.locator(".columns text").all()[:3]] == ["0", "4", "8"]
        assert stack["high"]["y"] == pytest.approx(grid[1], abs=0.1), "four reach the line of four"
        assert stack["low"]["y"] == pytest.approx(grid[0], abs=0.1), "eight reach the top"
        floor = stack["high"]["y"] + stack["high"]["height"]
        assert all(grades[min(grades, key=["high", "middle", "low"].index)]["y"] < floor for grades in drawn.values())
        order = [next(iter(grades.values()))["x"] for grades in drawn.values()]
        assert order == sorted(order)
        gap = order[1] - order[0]
        assert order[2] - order[1] == pytest.approx(gap, abs=0.1), "a day is a day wide"
        chart = page.get_by_role("img", name=t("page.chart.sums", high=5, middle=2, low=3))
        expect(chart).to_be_visible()
        page.get_by_text(t("page.chart.table")).click()
        rows = [[cell.inner_text() for cell in row.locator("td").all()] for row in page.locator("tbody tr").all()]
        assert rows == [["4", "2", "2"], ["1", "0", "0"], ["0", "0", "1"]]

        for heading, shares in (("destinations", [0.5, 0.25]), ("steps", [1, 2 / 6]), ("items", [0.25])):
            section = page.locator("section", has=page.get_by_role("heading", name=t(f"page.stats.{heading}")))
            for bar, share in zip(section.locator(".row-bar").all(), shares, strict=True):
                track, filled = shape(bar.locator(".track")), shape(bar.locator(".bar"))
                assert filled["width"] == pytest.approx(share * track["width"], abs=0.1), heading
        expect(page.locator("[data-tile=streak]")).to_contain_text(t("page.stats.streak.longest", n=8))
        expect(page.locator(".reports")).to_contain_text("한 주의 문장")
        visitor.shoot("16-week")

        page.get_by_text(t("page.stats.period.year"), exact=True).click()
        expect(page.locator(".columns .bar")).to_have_count(3)
        drawn = columns(page)
        assert {name: {grade: bar["value"] for grade, bar in grades.items()} for name, grades in drawn.items()} == {
            "2026년 8월": {"high": 5, "low": 5},
            "2026년 11월": {"middle": 4},
        }, "days are summed by month"
        august, november = (next(iter(grades.values())) for grades in drawn.values())
        months = (november["x"] - august["x"]) / (box(page.locator(".columns"))["width"] * 0.91 / 4)
        assert months == pytest.approx(3, abs=0.05), "the months without a grade have their place too"
        visitor.shoot("17-year")
        assert visitor.complaints == []


def test_who_has_nothing_yet_is_told_what_to_do(visit: Any) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        page.get_by_role("link", name=t("page.nav.stats")).click()
        expect(page.get_by_text(t("page.stats.nothing"))).to_be_visible()
        expect(page.get_by_text(t("page.reports.none"))).to_be_visible()
        page.get_by_role("link", name=t("page.nav.lessons")).click()
        expect(page.get_by_text(t("page.lessons.none"))).to_be_visible()
        visitor.shoot("18-nothing")
        page.locator(".empty a").click()
        expect(page.get_by_text(t("page.history.empty"))).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_statistics_and_lessons_fit_a_small_phone(visit: Any, scheme: str) -> None:
    with visit(color_scheme=scheme, viewport={"width": 320, "height": 568}) as visitor:
        page: Page = visitor.page
        tell(page)
        tops = {box(link)["y"] for link in page.locator("nav a").all()}
        assert len(tops) == 1, "five entries in one line"
        for view, ready in (("stats", ".columns"), ("lessons", ".lesson")):
            page.goto(page.url.partition("#")[0] + f"#/{view}")
            expect(page.locator(ready)).to_be_visible()
            for summary in page.locator("summary").all():
                summary.click()
            if view == "lessons":
                for n, option in enumerate("aba"):
                    page.locator(f"[data-question=q{n}] [data-option={option}]").click()
                page.get_by_role("button", name=t("page.quiz.send")).click()
                expect(page.locator(".sum")).to_have_text(t("page.quiz.sum", of=3, right=2))
            assert page.evaluate(CONTRAST) == []
            assert page.evaluate(CONTROLS) == []
            visitor.shoot(f"19-{view}-{scheme}")
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        visitor.shoot(f"20-large-{scheme}")


def test_without_a_photo(visit: Any) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        page.get_by_role("link", name=t("page.nav.search")).click()
        page.get_by_label(t("page.search.what")).fill("우유팩")
        page.keyboard.press("Enter")
        expect(page.locator(".destination .place")).to_have_text("종이팩 전용수거함")
        expect(page.locator(".phase")).to_have_count(4)
        page.locator(".cite").first.click()
        expect(page.locator("dialog .rule-text")).not_to_be_empty()
        page.keyboard.press("Escape")
        visitor.shoot("6-search")
        assert visitor.complaints == []


def test_the_guide_for_all_items_is_searchable_and_linkable(visit: Any) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        page.goto(page.url.partition("#")[0] + "#/guide")
        expect(page.locator(".all li").nth(800)).to_be_attached()
        page.get_by_label(t("page.all.filter")).fill("피자곽")  # another name of it
        expect(page.locator(".all li")).to_have_count(1)
        page.locator(".all a").click()
        expect(page).to_have_url(re.compile("#/guide/pizza-box$"))
        page.locator(".option").nth(1).click()
        expect(page.locator(".destination")).to_have_count(1)  # two while the question was open
        expect(page.locator(".destination .place")).to_have_text("종량제봉투")
        visitor.shoot("7-guide")
        page.goto(page.url.partition("#")[0] + "#/guide/razor")
        other = page.locator("section", has=page.get_by_role("heading", name=t("page.item.otherwise")))
        expect(page.locator(".destination .place")).to_have_text("종량제봉투")
        visitor.shoot("7-guide-otherwise")
        other.get_by_role("button", name=re.compile("전기")).click()
        expect(page.locator(".destination .place")).to_have_text("소형가전 수거함")
        page.get_by_role("link", name=t("page.all.back")).click()
        expect(page.locator(".all li").first).to_be_visible()
        assert visitor.complaints == []


def test_without_a_websocket_asking_again_and_again_shows_the_same(visit: Any, photo: Path) -> None:
    with visit(deaf=True) as visitor:
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()
        assert visitor.page.evaluate("window.diary").index("shown") == 5
        assert visitor.complaints == []


def test_who_does_not_agree_sends_nothing(visit: Any, photo: Path) -> None:
    with visit() as visitor:
        sent: list[str] = []
        visitor.page.on("request", lambda request: sent.append(request.url))
        visitor.choose(photo)
        visitor.page.get_by_role("button", name=t("page.consent.decline")).click()
        expect(visitor.page.get_by_role("alert")).to_have_text(t("page.consent.needed"))
        assert not [url for url in sent if "uploads" in url or "analyze" in url]
        expect(visitor.page.get_by_role("button", name=t("page.analyze"))).to_be_enabled()


def test_what_cannot_be_sent_is_said_before_sending(visit: Any, tmp_path: Path) -> None:
    with visit() as visitor:
        alarm = visitor.page.get_by_role("alert")
        for name, size, key in (
            ("note.txt", 10, "page.photo.wrong_type"),
            ("empty.jpg", 0, "page.photo.empty"),
            ("large.jpg", 10 * 1024 * 1024 + 1, "page.photo.too_large"),
        ):
            (tmp_path / name).write_bytes(b"x" * size)
            visitor.page.set_input_files("#pick", tmp_path / name)
            expect(alarm).to_have_text(t(key))
            expect(visitor.page.get_by_role("button", name=t("page.analyze"))).to_be_disabled()


def test_a_bad_photo_is_explained(visit: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff" + b"nothing" * 50)
    with visit() as visitor:
        visitor.page.set_input_files("#pick", tmp_path / "broken.jpg")
        expect(visitor.page.locator(".no-preview")).to_have_text("broken.jpg")
        visitor.page.get_by_role("button", name=t("page.analyze")).click()
        visitor.agree()
        expect(visitor.page.get_by_role("heading", name=t("page.failed"))).to_be_visible(timeout=60_000)
        visitor.shoot("7-failed")
        visitor.page.get_by_role("link", name=t("page.again")).click()
        expect(visitor.page.locator("h1")).to_have_text(t("page.heading"))


def test_offline_is_said_plainly(visit: Any, photo: Path) -> None:
    with visit() as visitor:
        visitor.page.context.set_offline(True)
        visitor.choose(photo, "투명 페트병이에요.")
        expect(visitor.page.get_by_role("alert")).to_contain_text(t("page.error.offline"))
        visitor.page.context.set_offline(False)
        visitor.page.get_by_role("button", name=t("page.analyze")).click()
        visitor.agree()
        visitor.guide()


def test_the_other_language_and_back(visit: Any) -> None:
    with visit() as visitor:
        page: Page = visitor.page
        page.get_by_role("link", name=t("page.nav.history")).click()
        page.get_by_role("button", name="English").click()
        expect(page.locator("h1")).to_have_text(messages.text("page.history", "en"))
        assert not re.search("[가-힣]", page.locator("body").inner_text().replace("한국어", ""))
        page.get_by_role("button", name="한국어").click()
        expect(page.locator("h1")).to_have_text(t("page.history"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_and_touch_it(visit: Any, photo: Path, scheme: str) -> None:
    with visit(color_scheme=scheme) as visitor:
        page: Page = visitor.page
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(CONTROLS) == []
        visitor.choose(photo, "투명 페트병이에요.")
        visitor.agree()
        visitor.guide()
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(CONTROLS) == []
        page.locator(".cite").first.click()
        assert page.evaluate(CONTRAST) == []
        visitor.shoot(f"8-{scheme}")


def test_it_can_be_used_from_the_keyboard(visit: Any) -> None:
    with visit(has_touch=False, is_mobile=False) as visitor:
        page: Page = visitor.page
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=t("page.skip"))).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        reached = set()
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
        assert {"pick", "question", "housing", "region"} <= reached


def test_small_screens_and_large_letters_fit(visit: Any) -> None:
    with visit(viewport={"width": 320, "height": 568}) as visitor:
        visitor.shoot("9-small")
        visitor.page.evaluate("document.documentElement.style.fontSize = '200%'")
        wide = visitor.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0


def test_messages_file_is_sorted_and_well_formed() -> None:
    path = Path(messages.__file__).with_name("messages.json")
    text = path.read_text(encoding="utf-8")
    assert text == json.dumps(dict(sorted(json.loads(text).items())), ensure_ascii=False, indent=2) + "\n"
