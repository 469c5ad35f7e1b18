"""The page in a real browser on a phone-sized window: what a person sees, in the order they see it.

The first tests need no browser: they read the page's files and what `web` answers.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from functions.shared import messages
from functions.web.routes import PAGE, create
from functions.web.settings import Settings
from knative.local.packages import chromium
from knative.local.sample import draw

STATE = Path(__file__).parents[1] / ".local" / "tests" / "page"
PHONE = {"width": 390, "height": 844}

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
)


def t(key: str, **values: object) -> str:
    return messages.text(key, "ko", **values)


def sources() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}


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
    return create(Settings(s3_public_endpoint="https://photos.example:9000/ignored")).test_client()


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

#: Remembers, as it happens, when a stage is done and when the guide stands on the page.
DIARY = """
window.diary = [];
const note = (entry) => { if (!window.diary.includes(entry)) window.diary.push(entry); };
new MutationObserver(() => {
  document.querySelectorAll(".stages .done").forEach((li) => note(li.dataset.stage));
  if (document.querySelector(".guide")) note("shown");
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


@pytest.fixture(scope="module")
def photo() -> Path:
    """The sample photo: a clear PET bottle."""
    STATE.mkdir(parents=True, exist_ok=True)
    draw().save(STATE / "bottle.jpg", quality=90)
    return STATE / "bottle.jpg"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable, environment = chromium(STATE.parents[1] / "debian")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, env=dict(environment), args=arguments)
        yield browser
        browser.close()


class Visitor:
    """A person with a phone; whatever the browser complains about is kept."""

    def __init__(self, context: BrowserContext, gateway: str) -> None:
        self.complaints: list[str] = []
        context.add_init_script(DIARY)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(gateway)
        expect(self.page.locator("h1")).to_have_text(t("page.heading"))

    def choose(self, photo: Path, question: str = "") -> None:
        self.page.set_input_files("#pick", photo)
        expect(self.page.locator(".preview img")).to_be_visible()
        self.page.get_by_label(t("page.question")).fill(question)
        self.page.get_by_text(t("page.home.apartment"), exact=True).click()
        self.page.get_by_role("button", name=t("page.analyze")).click()

    def agree(self) -> None:
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_contain_text(t("page.consent.title"))
        dialog.get_by_role("button", name=t("page.consent.agree")).click()

    def guide(self) -> None:
        """Wait for the guide; a clarifying question on the way gets its first answer."""
        self.page.wait_for_selector(".guide, .question", timeout=60_000)
        if self.page.locator(".question").count():
            self.page.locator(".question .option").first.click()
        expect(self.page.locator(".guide")).to_be_visible(timeout=60_000)

    def shoot(self, name: str) -> None:
        """Keep a picture of the page, and check that nothing sticks out to the side."""
        self.page.screenshot(path=STATE / f"{name}.png", full_page=True)
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name}: the page scrolls sideways by {wide} px"


@pytest.fixture
def visit(browser: Browser, cluster: Any) -> Callable[..., AbstractContextManager[Visitor]]:
    @contextmanager
    def open_page(*, deaf: bool = False, **options: Any) -> Iterator[Visitor]:
        context = browser.new_context(
            **{"viewport": PHONE, "locale": "ko-KR", "has_touch": True, "is_mobile": True, **options}
        )
        if deaf:
            context.add_init_script("window.WebSocket = class { constructor() { throw new Error('none'); } };")
        try:
            yield Visitor(context, cluster.gateway)
        finally:
            context.close()

    return open_page


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


#: For every text on the page: its colour against the first opaque ground behind it (WCAG 2.2 contrast ratio).
CONTRAST = r"""() => {
  const parse = (color) => color.match(/[\d.]+/g).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest(":disabled")) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(walk.currentNode.data.trim());
  }
  return poor;
}"""

#: Controls nobody can name, and those too small for a thumb (citations and links within a line of text may be).
CONTROLS = """() => {
  const inText = ".cite, .link, p a, dd a, .skip, summary, .row a";
  const name = (e) => e.getAttribute("aria-label") || e.innerText?.trim()
    || [...(e.labels ?? [])].map((label) => label.innerText).join("");
  const touched = (e) => e.matches("[type=radio], [type=file]") ? e.labels[0] : e;
  return [...document.querySelectorAll("button, a[href], input, textarea, summary")]
    .filter((e) => e.checkVisibility())
    .filter((e) => !name(e) || (!e.matches(inText) && touched(e).getBoundingClientRect().height < 40))
    .map((e) => e.outerHTML.slice(0, 80));
}"""


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
