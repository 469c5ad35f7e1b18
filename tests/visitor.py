"""A person with a phone in a real browser: what the tests of the page share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from functions.shared import messages
from knative.local.packages import chromium
from knative.local.sample import draw

STATE = Path(__file__).parents[1] / ".local" / "tests" / "page"
PHONE = {"width": 390, "height": 844}

# Beside other workers that start whole systems, a page may wait long for its turn.
expect.set_options(timeout=30_000)


def t(key: str, **values: object) -> str:
    """The Korean text of the catalogue."""
    return messages.text(key, "ko", **values)


#: Remembers, as it happens, when a stage is done (of a proof: under way) and when the guide stands on the page.
DIARY = """
window.diary = [];
const note = (entry) => { if (!window.diary.includes(entry)) window.diary.push(entry); };
new MutationObserver(() => {
  document.querySelectorAll(".stages .done[data-stage]").forEach((li) => note(li.dataset.stage));
  document.querySelectorAll(".current[data-proof-stage]").forEach((li) => note(`result.${li.dataset.proofStage}`));
  if (document.querySelector(".guide")) note("shown");
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


ASK = """path => fetch(`/api/v1${path}`, {
  headers: { Authorization: `Bearer ${localStorage.getItem("growbin.token")}`, "Accept-Language": "ko" },
}).then((answer) => answer.json())"""

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
  const touched = (e) => e.matches("[type=radio], [type=checkbox], [type=file]") ? e.labels[0] : e;
  return [...document.querySelectorAll("button, a[href], input, select, textarea, summary")]
    .filter((e) => e.checkVisibility())
    .filter((e) => !name(e) || (!e.matches(inText) && touched(e).getBoundingClientRect().height < 40))
    .map((e) => e.outerHTML.slice(0, 80));
}"""


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

    def show_result(self, photo: Path, left_out: str = "wash") -> None:
        """Tick every step of the guide but those of one phase, and send the photo of the result."""
        form = self.page.locator(".result-form")
        for step in form.locator(".check").all():
            left = step.locator("small").inner_text() == t(f"phase.{left_out}")
            step.get_by_role("checkbox").set_checked(not left)
        self.page.set_input_files("#after-pick", photo)
        expect(form.locator(".preview img")).to_be_visible()
        form.get_by_role("button", name=t("page.proof.send")).click()

    def asked(self, path: str) -> Any:
        """What the API answers this visitor."""
        return self.page.evaluate(ASK, path)

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
