"""A client of the public data on recycling centres (전국재활용센터표준데이터, data.go.kr 15021108).

What the portal does that its page does not say: numbers are texts; the body comes with or without a `response` around
it; `items` is a list, an object with `item`, or a single object; "no data" is a result code; the gateway answers its
own errors in XML, with HTTP 200; a service key is handed out encoded or not.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import urllib3

from functions.locations.fields import is_row

#: Rows asked for at once (the portal's own limit is higher), pages at most, and bytes of an answer at most.
PAGE_ROWS, MOST_PAGES, MOST_BYTES = 100, 100, 8 * 2**20

#: Seconds until it is worth asking again: after a lost answer, a spent day's quota, a refused key.
LATER, AFTER_QUOTA, AFTER_REFUSAL = 60, 3600, 600

_FINE, _NO_DATA = {"", "0", "00", "000", "0000"}, {"3", "03"}
_QUOTA = {"22", "23"}
_REFUSED = {"20", "30", "31", "32", "33"}
_XML_CODE = re.compile(r"<(?:returnReasonCode|resultCode)>\s*(\w+)\s*<")
_XML_SAID = re.compile(r"<(?:returnAuthMsg|resultMsg|errMsg)>\s*([^<]{1,100})<")


class SourceFailed(Exception):
    """There is no complete answer; `rest` says after how many seconds it is worth asking again. The message never holds
    the service key."""

    def __init__(self, why: str, rest: int = LATER) -> None:
        super().__init__(why)
        self.rest = rest


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its rows, how many there are in all (None: not said), whether the answer calls itself sample data."""

    rows: list[dict[str, Any]]
    total: int | None
    sample: bool


class Api:
    """The API at `url`, by the operator's `key`. `timeout` in seconds for each step of a request, `patience` for all
    pages together, however slowly the other side drips. It follows no redirect."""

    def __init__(self, url: str, key: str, *, timeout: float = 4.0, patience: float = 10.0) -> None:
        self.url = url
        self.sample = not key
        self._key = key if "%" in key else quote(key or "none", safe="")
        self._patience = patience
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(timeout), retries=False)

    def rows(self) -> tuple[list[dict[str, Any]], bool]:
        """Every row of every page, as it came, and whether they are sample data. SourceFailed."""
        deadline = time.monotonic() + self._patience
        rows: list[dict[str, Any]] = []
        sample, total = self.sample, None
        for number in range(1, MOST_PAGES + 1):
            page = self._page(number, deadline)
            if page.rows and page.rows == rows[-len(page.rows) :]:
                raise SourceFailed("every page is the same one")
            rows += page.rows
            sample, total = sample or page.sample, total if page.total is None else page.total
            if len(rows) >= total if total is not None else len(page.rows) < PAGE_ROWS:
                return rows, sample
            if not page.rows:
                raise SourceFailed(f"{total} rows were promised, {len(rows)} came")
        raise SourceFailed(f"more than {MOST_PAGES} pages")

    def _page(self, number: int, deadline: float) -> Page:
        url = f"{self.url}?serviceKey={self._key}&pageNo={number}&numOfRows={PAGE_ROWS}&type=json"
        try:
            status, body = self._get(url, deadline)
        except urllib3.exceptions.HTTPError as error:  # its text may hold the address, and so the key
            raise SourceFailed(f"no answer: {type(error).__name__}") from None
        text = body.decode("utf-8-sig", errors="replace").strip()
        if text.startswith("<"):
            return _from_xml(text, status)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise _by_status(status) or SourceFailed("the answer is no JSON") from None
        return _from_json(document, status)

    def _get(self, url: str, deadline: float) -> tuple[int, bytes]:
        answer = self._http.request("GET", url, preload_content=False, redirect=False)
        try:
            body = bytearray()
            while chunk := answer.read1(65536):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise SourceFailed(f"an answer of more than {MOST_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise SourceFailed(f"not all of it came within {self._patience:g} s")
            return answer.status, bytes(body)
        finally:
            answer.close()


def _by_status(status: int) -> SourceFailed | None:
    if status == 429:
        return SourceFailed("HTTP 429", AFTER_QUOTA)
    if status in (401, 403):
        return SourceFailed(f"HTTP {status}", AFTER_REFUSAL)
    return SourceFailed(f"HTTP {status}") if status != 200 else None


def _by_code(code: str, said: str) -> SourceFailed:
    rest = AFTER_QUOTA if code in _QUOTA else AFTER_REFUSAL if code in _REFUSED else LATER
    return SourceFailed(f"result code {code}: {said[:100]}", rest)


def _from_xml(text: str, status: int) -> Page:
    """An error of the gateway, or an answer that ignores `type=json`: only its code is read."""
    code, said = _XML_CODE.search(text), _XML_SAID.search(text)
    if code and code[1] in _NO_DATA:
        return Page([], None, sample=False)
    if code and code[1] not in _FINE:
        raise _by_code(code[1], said[1].strip() if said else "")
    raise _by_status(status) or SourceFailed("the answer is XML")


def _from_json(document: Any, status: int) -> Page:
    if not isinstance(document, dict):
        raise _by_status(status) or SourceFailed("the answer is no object")
    outer = document["response"] if isinstance(document.get("response"), dict) else document
    header = outer["header"] if isinstance(outer.get("header"), dict) else {}
    body = outer["body"] if isinstance(outer.get("body"), dict) else outer
    code = str(header.get("resultCode", "")).strip()
    if code in _NO_DATA:
        return Page([], None, sample=bool(header.get("sample")))
    if code not in _FINE:
        raise _by_code(code, str(header.get("resultMsg", "")))
    if refused := _by_status(status):
        raise refused
    if "items" not in body:
        raise SourceFailed("the answer has no items")
    return Page(listed(body["items"]), _whole(body.get("totalCount")), bool(header.get("sample")))


def listed(items: Any) -> list[dict[str, Any]]:
    """The rows in `items`, whichever of the portal's shapes it has. SourceFailed for what is none."""
    if isinstance(items, dict) and "item" in items:
        items = items["item"]
    if is_row(items):
        items = [items]
    if items in (None, "", {}):
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise SourceFailed("items are no list of rows")
    return items


def _whole(value: Any) -> int | None:
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
