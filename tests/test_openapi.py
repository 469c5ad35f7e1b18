"""The document of the API is true: schemathesis runs over it with all its checks, on all functions together; and no
route leaks what is not the asker's."""

from __future__ import annotations

import ast
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest
import schemathesis
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator
from playwright.sync_api import Browser, Page, expect
from psycopg.rows import dict_row
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from functions.shared.api import operation
from knative.local import openapi
from knative.local.gateway import Routes
from knative.local.parts import Addresses
from tests.belongings import PRIVATE, SECRET, Belongings, Database, everything, user
from tests.conftest import copied
from tests.documented import Answered, Document
from tests.townhall import Townhall, listening, townhall
from tests.visitor import CONTRAST, STATE

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions"

#: What schemathesis tries for each operation and phase, the same in every run.
EXAMPLES, SEED = 10, 5


@pytest.fixture(scope="module")
def database_url(servers: Addresses, indexed_url: str) -> str:
    """A database of this module alone, with the real rules in it."""
    return copied(servers, indexed_url)


@pytest.fixture(scope="module")
def hall(servers: Addresses, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Townhall]:
    with townhall(servers, database_url, tmp_path_factory.mktemp("keys")) as hall:
        yield hall


@pytest.fixture(scope="module")
def address(hall: Townhall) -> Iterator[str]:
    """The same over HTTP."""
    with listening(hall) as address:
        yield address


@pytest.fixture(scope="module")
def db(database_url: str) -> Iterator[Database]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture(scope="module")
def owned(db: Database) -> Belongings:
    """What one citizen has, with a past of everything."""
    return everything(db)


# --- the document


def test_the_document_is_current_and_valid() -> None:
    """`make schemas` writes it."""
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.text()
    OpenAPIV31SpecValidator(openapi.committed()).validate()


def test_a_route_that_says_nothing_of_itself_or_cannot_be_reached_is_refused() -> None:
    gateway = Routes([{"path": "/api/v1/waste", "function": "waste"}])
    silent, hidden = Flask("silent"), Flask("hidden")
    silent.add_url_rule("/api/v1/waste/secret", view_func=lambda: "")
    with pytest.raises(openapi.Undocumented, match="GET /api/v1/waste/secret says nothing"):
        list(openapi.routes("waste", silent, gateway))

    @hidden.get("/api/v1/elsewhere")
    @operation(answers={204: None})
    def elsewhere() -> str:
        """Go elsewhere."""
        return ""

    with pytest.raises(openapi.Undocumented, match="GET /api/v1/elsewhere cannot be reached"):
        list(openapi.routes("waste", hidden, gateway))


def test_every_problem_of_the_code_is_in_the_document_and_no_other(hall: Townhall) -> None:
    """Beside those that are told of in words, because any address may answer them."""
    documented = {
        (int(status), code)
        for _, _, said in hall.document.operations()
        for status, response in said["responses"].items()
        if int(status) >= 400
        for code in _codes(hall.document, response)
    }
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for name in (*openapi.functions(), "shared")
        for path in (FUNCTIONS / name).glob("*.py")
    ]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    raised = {found for tree in trees for node in ast.walk(tree) if (found := _problem(node))}
    assert raised - documented == {(431, "headers_too_large"), (500, "internal")}
    assert {code for _, code in documented} <= texts


def _problem(node: ast.AST) -> tuple[int, str] | None:
    """The status and code of `Problem(404, "code", …)`."""
    if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Problem" or len(node.args) < 2:
        return None
    status, code = node.args[:2]
    if not isinstance(status, ast.Constant) or not isinstance(code, ast.Constant):
        return None
    return int(str(status.value)), str(code.value)


def _codes(document: Document, response: Any) -> list[str]:
    schema = document.resolve(response)["content"]["application/problem+json"]["schema"]
    codes: list[str] = schema["allOf"][1]["properties"]["code"]["enum"]
    return codes


# --- what is really answered


def _told(label: str, check: Any) -> str:
    failure = check.failure_info
    return f"{label}: {check.name}: {failure.failure.title} {failure.failure.message}\n    {failure.code_sample}"


@pytest.mark.unmeasured
def test_schemathesis_finds_nothing(
    hall: Townhall, address: str, db: Database, record_property: Callable[[str, object], None]
) -> None:
    load_all_checks()
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "continue-on-failure": True,
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
        }
    )
    schema = schemathesis.openapi.from_dict(openapi.committed(), config=config)
    schema.config.update(base_url=address)

    @schema.auth(refresh_interval=None)
    class SomebodyNew:
        """Every request comes from a user of its own: some of them leave, or end their session."""

        def get(self, case: Any, context: Any) -> str:
            return hall.token(user(db))

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    found: list[str] = []
    ran: set[str] = set()
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            checks = [check for of_case in event.recorder.checks.values() for check in of_case]
            ran |= {check.name for check in checks}
            found += [_told(event.recorder.label, check) for check in checks if check.status == Status.FAILURE]
        if isinstance(event, NonFatalError | FatalError):
            found.append(f"{event!r}")
    assert not found, "\n".join(found)
    assert ran == set(CHECKS.get_all_names())
    assert hall.asked.total() > EXAMPLES * len(hall.document.operations())
    assert set(hall.asked) >= {"auth", "users", "presign", "waste", "locations"}
    record_property("figures", f"requests of schemathesis: {dict(hall.asked)}, {len(ran)} checks")


def test_what_is_not_described_is_refused_everywhere(hall: Townhall, db: Database) -> None:
    """An unknown parameter of every operation, an unknown field of every body."""
    bodies = 0
    for method, path, said in hall.document.operations():
        real = re.sub(r"\{[a-z_]+_id\}", str(uuid.uuid4()), path)
        body = _sample(hall.document, said)
        told = [hall.ask(method, f"{real}?surprise=1", body, token=hall.token(user(db)))]
        if "requestBody" in said:
            told.append(hall.ask(method, real, {**(body or {}), "surprise": 1}, token=hall.token(user(db))))
            bodies += 1
        for answer in told:
            faults = [(one["field"], one["code"]) for one in answer.body["problems"]]
            assert ("surprise", "unknown") in faults, (method, path)
    assert bodies > 10


def test_nobody_reaches_what_is_anothers(hall: Townhall, owned: Belongings, db: Database) -> None:
    """Every operation with an id × two users × ids they may guess: 404, for a stranger's id as for none."""
    stranger = user(db)
    tried = 0
    for method, path, said in hall.document.operations():
        names = {one["name"] for one in said["parameters"] if one.get("schema", {}).get("format") == "uuid"}
        if not names:
            continue
        tried += 1
        (name,) = names
        real = {"analysis_id": owned.analysis, "lesson_id": owned.lesson}[name]
        missing = f"{name.removesuffix('_id')}_not_found"
        body = _sample(hall.document, said)

        none = str(uuid.uuid4())
        guesses = [(stranger, none), (stranger, real), (stranger, real.upper()), (owned.user, none)]
        told, (own,) = [
            [hall.ask(method, path.replace(f"{{{name}}}", id_), body, token=hall.token(who)) for who, id_ in asked]
            for asked in (guesses, [(owned.user, real)])
        ]
        assert {(answer.status, answer.body["code"]) for answer in told} == {(404, missing)}, path
        assert len({answer.text for answer in told}) == 1, path  # nothing tells a stranger's id from none
        assert "not_found" not in own.text, path
    assert tried >= 8


def test_what_is_anothers_cannot_be_named_in_a_body_either(hall: Townhall, owned: Belongings, db: Database) -> None:
    token, own = hall.token(user(db)), f"/api/v1/waste/analyses/{owned.analysis}"
    for path, body, code in (
        ("/api/v1/waste/analyze", {"key": owned.key}, "unknown_key"),
        ("/api/v1/waste/uploads", {"content_type": "image/png", "after": owned.analysis}, "analysis_not_found"),
        (f"{own}/verify", {"key": owned.after_key}, "analysis_not_found"),
        (f"{own}/dispute", {"reason": "?", "proof_id": owned.proof}, "analysis_not_found"),
    ):
        answer = hall.ask("POST", path, body, token=token)
        assert (answer.status, answer.body["code"]) == (404, code), path


def test_nothing_leaks(hall: Townhall, owned: Belongings, db: Database, servers: Addresses) -> None:
    """All that is answered to the owner, and all that a stranger gets for the same requests and for broken ones."""
    mine, strange = _journey(hall, owned, owned.user), _journey(hall, owned, user(db))
    assert {answer.status for answer in mine.values()} >= {200, 201, 202, 409}
    assert all(PRIVATE[name] in mine["GET /api/v1/users/me/export"].text for name in PRIVATE)
    password = urlsplit(servers.database_url).password or "…"
    inside = [*SECRET.values(), servers.s3_secret_key, password, "BEGIN PRIVATE"]
    inside += ["Traceback", 'File "', "psycopg", "redis.", "werkzeug", "SELECT ", "/functions/", str(ROOT)]
    for name, answer in {**mine, **{f"stranger: {name}": answer for name, answer in strange.items()}}.items():
        everything = f"{answer.headers}\n{answer.text}"
        assert [word for word in inside if word in everything] == [], name
    words = [*PRIVATE.values(), owned.user, owned.proof, owned.key]
    for name, answer in strange.items():
        assert [word for word in words if word in answer.text] == [], name


def _journey(hall: Townhall, owned: Belongings, who: str) -> dict[str, Answered]:
    """Every operation once with the owner's ids, once more as nobody, and with a broken body; who ends a session or
    leaves does so last."""
    heard: dict[str, Answered] = {}
    order = {"/export": 1, "/logout": 2}
    operations = sorted(
        hall.document.operations(),
        key=lambda one: (3 if one[0] == "delete" else order.get(one[1][one[1].rindex("/") :], 0), one[1]),
    )
    for method, path, said in operations:
        real = path.replace("{analysis_id}", owned.analysis).replace("{lesson_id}", owned.lesson)
        real = real.replace("{item_id}", "milk-carton").replace("{rule_id}", "milk-carton.dispose.carton")
        needed = {
            one["name"]: one["example"] for one in said["parameters"] if one.get("in") == "query" and one["required"]
        }
        address, name = f"{real}?{urlencode(needed)}".rstrip("?"), f"{method.upper()} {path}"
        body = _sample(hall.document, said)
        if method != "delete":
            heard[f"{name} broken"] = hall.ask(method, real, {"\x00": [{}], "body": "\ud800"}, token=hall.token(who))
        heard[f"{name} nobody"] = hall.ask(method, address, body)
        heard[name] = hall.ask(method, address, body, token=hall.token(who))
    return heard


def _sample(document: Document, said: dict[str, Any]) -> Any:
    """A body that an operation may take; None where it takes none, or may do without."""
    body = said.get("requestBody", {"required": False})
    return _value(document, body["content"]["application/json"]["schema"]) if body["required"] else None


def _value(document: Document, schema: Any) -> Any:
    schema = document.resolve(schema)
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        needed = [*schema.get("required", []), *schema.get("oneOf", [{"required": []}])[0]["required"]]
        return {name: _value(document, schema["properties"][name]) for name in needed}
    if schema["type"] == "array":
        return []
    if schema["type"] == "boolean":
        return True
    return "a@example.org" if "@" in schema.get("pattern", "") else "x" * max(schema.get("minLength", 1), 1)


# --- the page to try it


def test_the_page_lists_and_sends_every_operation_and_loads_nothing_from_elsewhere(
    hall: Townhall, address: str, browser: Browser
) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 1400})
    complaints: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.goto(f"{address}/api/docs")
    expect(page.locator("details.operation")).to_have_count(len(hall.document.operations()))
    _send(page, "auth.guest", 201)
    expect(page.get_by_label("Token")).not_to_have_value("")
    _send(page, "users.me", 200)
    search = page.locator("details[id='waste.items']")
    _send(page, "waste.items", 200)  # with the example of the document
    expect(search.locator(".answer")).to_contain_text('"decision": "match"')
    _send(page, "presign.upload", 201)  # with the body that is proposed
    page.screenshot(path=STATE / "api.png")
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert complaints == []
    assert hosts == {urlsplit(address).netloc}
    page.close()


def _send(page: Page, operation: str, status: int) -> None:
    place = page.locator(f"details[id='{operation}']")
    place.locator("summary").click()
    place.get_by_role("button", name="Send").click()
    expect(place.get_by_role("status").get_by_role("heading")).to_contain_text(str(status))
    expect(place.get_by_role("status")).to_have_count(1)
