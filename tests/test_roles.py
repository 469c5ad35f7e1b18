"""Roles in the database: what a function may do there, and what it may not, as the database itself sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from psycopg.errors import InsufficientPrivilege

from functions.setup.grants import GRANTS
from functions.setup.roles import RolesError, give, passwords
from functions.shared.postgres import Database
from knative.local.manifests import Manifests, Service
from knative.secrets.__main__ import manifests

ROOT = Path(__file__).parents[1]


@pytest.fixture
def given(own_database_url: str) -> str:
    """A database of one's own in which every function has its role; the password is `secret`."""
    _give(own_database_url)
    return own_database_url


def _give(url: str) -> None:
    database = Database(url, pool_size=1)
    give(database, dict.fromkeys(GRANTS, "secret"), lambda line: None)
    database.close()


def _as(function: str, url: str) -> psycopg.Connection[tuple[object, ...]]:
    where = urlsplit(url)
    return psycopg.connect(
        where._replace(netloc=f"{function}:secret@{where.hostname}:{where.port}").geturl(), autocommit=True
    )


def _places(documents: list[dict[str, Any]], kind: str) -> set[tuple[str, str]]:
    abouts = [each["metadata"] for each in documents if each["kind"] == kind]
    return {(about["namespace"], about["name"]) for about in abouts}


def test_a_function_may_do_what_it_does_and_nothing_else(given: str) -> None:
    with _as("live", given) as live:
        live.execute("SELECT * FROM analysis_events")
        live.execute("LISTEN analysis_events")
        for statement in ("SELECT * FROM accounts", "DELETE FROM analyses", "CREATE TABLE mine (n int)"):
            with pytest.raises(InsufficientPrivilege):
                live.execute(statement)  # type: ignore[call-overload, unused-ignore]
    with _as("recover", given) as recover:
        recover.execute("SELECT 1 FROM analysis_events FOR UPDATE")
        with pytest.raises(InsufficientPrivilege):  # append-only for everybody
            recover.execute("UPDATE analysis_events SET data = '{}'")
    with _as("auth", given) as auth:
        auth.execute("DELETE FROM users")  # takes along, by cascade, what it could not delete itself


def test_a_right_taken_out_is_gone_afterwards(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRANTS, "recover", {"analyses": "r"})
    _give(given)
    with _as("recover", given) as recover:
        recover.execute("SELECT * FROM analyses")
        for statement in ("SELECT 1 FROM analysis_events FOR UPDATE", "UPDATE analyses SET key = key"):
            with pytest.raises(InsufficientPrivilege):
                recover.execute(statement)  # type: ignore[call-overload, unused-ignore]


def test_a_missing_password_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    for name in GRANTS:
        (tmp_path / name).write_text("secret\n")
    assert passwords(tmp_path) == dict.fromkeys(GRANTS, "secret")
    (tmp_path / "waste").write_text("")
    (tmp_path / "grade").unlink()
    with pytest.raises(RolesError, match="grade, waste"):
        passwords(tmp_path)


def test_every_function_with_a_database_has_its_role_and_its_secret() -> None:
    wanted = {
        reference["name"]
        for service in Manifests.load().all(Service).values()
        for variable in service.env
        for kind, reference in variable.value_from.items()
        if kind == "secretKeyRef"
    }
    assert {name for name in wanted if name.startswith("postgres-")} == {f"postgres-{name}" for name in GRANTS}
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    printed = manifests(keys, "openai", "centres")
    external = yaml.safe_load_all((ROOT / "knative/secrets/external.yaml").read_text(encoding="utf-8"))
    stored = _places(list(external), "ExternalSecret")
    assert stored == _places(printed, "Secret")
    assert {("growbin", name) for name in wanted} <= stored
