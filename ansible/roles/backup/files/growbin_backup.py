#!/usr/bin/env python3
"""Back PostgreSQL (and etcd) up to S3, and bring a database back.

    growbin-backup all | postgres | etcd | list
    growbin-backup restore latest|<name> [--database NAME]

A backup is a folder <prefix>/<database>/<time> of three objects: database.dump (pg_dump's custom format), roles.sql
(every role, no passwords: those come from the cluster's secrets) and, written last, manifest.json, which says what sums
the files and how many rows the tables have. Without a manifest there is no backup. A restore fills a database of
another name, in one transaction, counts, and only then changes places with the old one, which stays as
<name>_before_<time> until somebody drops it. Settings: BACKUP_* (/etc/growbin/backup.env).
Runs on Ubuntu 22.04's own Python 3.10 with python3-boto3.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3

# /etc/growbin/backup.env, as seen from /usr/local/sbin.
ENVIRONMENT = Path(__file__).resolve().parents[3] / "etc/growbin/backup.env"

# What pg_dump leaves out when the database itself is made by somebody else: whose it is, who may enter, its settings.
PROPERTIES = """
SELECT json_build_object(
  'owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding),
  'collate', d.datcollate, 'ctype', d.datctype, 'closed', d.datacl IS NOT NULL,
  'grants', (SELECT coalesce(json_agg(json_build_array(
      CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END, a.privilege_type)), '[]')
    FROM aclexplode(d.datacl) a),
  'settings', (SELECT coalesce(json_agg(json_build_array(
      CASE s.setrole WHEN 0 THEN NULL ELSE pg_get_userbyid(s.setrole) END, split_part(c, '=', 1),
      substr(c, strpos(c, '=') + 1))), '[]')
    FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setdatabase = d.oid),
  'server', current_setting('server_version'))
FROM pg_database d WHERE d.datname = {name}
"""


class BackupError(Exception):
    """Something a person has to look at. The message is one sentence."""


def setting(name: str, default: str | None = None) -> str:
    value = os.environ.get(name) or default
    if value is None:
        raise BackupError(f"{name} is not set: see {ENVIRONMENT}")
    return value


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def postgres(*command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run one of PostgreSQL's programs beside the server; BackupError with the last thing it said."""
    done = subprocess.run(
        [*shlex.split(setting("BACKUP_PG_COMMAND", "env")), *command], check=False, stderr=subprocess.PIPE, **options
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise BackupError(f"{command[0]} failed: {said[-1]}")
    return done


def sql(statement: str, database: str = "postgres") -> str:
    """Run SQL, each line on its own (a database is not made in a transaction); what it answered."""
    options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
    done = postgres("psql", *options, f"--dbname={database}", input=statement.encode(), stdout=subprocess.PIPE)
    return done.stdout.decode().strip()


class Store:
    """The bucket, as folders of backups."""

    def __init__(self) -> None:
        self.bucket = setting("BACKUP_BUCKET")
        self.prefix = setting("BACKUP_PREFIX", "postgres").strip("/")
        endpoint = os.environ.get("BACKUP_S3_ENDPOINT") or None
        self.s3 = boto3.client("s3", region_name=setting("BACKUP_REGION"), endpoint_url=endpoint)

    def put(self, path: Path, key: str) -> None:
        """Upload, and believe it only when the bucket names the same size."""
        self.s3.upload_file(str(path), self.bucket, key)
        there = self.s3.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        if there != path.stat().st_size:
            raise BackupError(f"{key} is {there} bytes in the bucket and {path.stat().st_size} here")

    def complete(self, database: str) -> list[str]:
        """The names of all backups that have a manifest, oldest first."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}/{database}/"
        )
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return sorted(key.split("/")[-2] for key in keys if key.endswith("/manifest.json"))


def digest(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")  # noqa: UP017 (Python 3.10)


def back_up(store: Store, database: str, folder: Path) -> str:
    """Dump, read the dump again, upload; the name of the backup."""
    name, dump, roles, manifest = now(), folder / "database.dump", folder / "roles.sql", folder / "manifest.json"
    properties = sql(PROPERTIES.format(name=literal(database)))
    if not properties:
        raise BackupError(f"there is no database {database}")
    with dump.open("wb") as file:
        postgres("pg_dump", "--format=custom", f"--dbname={database}", stdout=file)
    with roles.open("wb") as file:
        postgres("pg_dumpall", "--roles-only", "--no-role-passwords", stdout=file)
    with dump.open("rb") as file:
        listed = postgres("pg_restore", "--list", stdin=file, stdout=subprocess.PIPE).stdout.decode()
    tables = sum(" TABLE DATA " in line for line in listed.splitlines())
    if not tables:
        raise BackupError(f"the dump of {database} holds no table: not kept")
    rows = rows_of(dump)
    if len(rows) != tables:
        raise BackupError(f"the dump of {database} ends early: {len(rows)} of {tables} tables can be read: not kept")
    files = {path.name: {"sha256": digest(path), "bytes": path.stat().st_size} for path in (dump, roles)}
    facts = {"database": database, "rows": rows, "files": files, "properties": json.loads(properties)}
    manifest.write_text(json.dumps(facts, indent=2), encoding="utf-8")
    for path in (dump, roles, manifest):
        store.put(path, f"{store.prefix}/{database}/{name}/{path.name}")
    print(f"backed up {database}: {name}, {tables} tables, {sum(rows.values())} rows, {dump.stat().st_size} bytes")
    return name


def rows_of(dump: Path) -> dict[str, int]:
    """Table → how many rows the dump holds, by reading every one of them."""
    rows: dict[str, int] = {}
    table = ""
    with dump.open("rb") as file, tempfile.TemporaryFile(dir=dump.parent) as text:
        postgres("pg_restore", "--data-only", "--file=-", stdin=file, stdout=text)
        text.seek(0)
        for line in text:
            if table and line == b"\\.\n":
                table = ""
            elif table:
                rows[table] += 1
            elif line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
                table = line.decode()[5:].partition(" (")[0]
                rows[table] = 0
    if table:
        raise BackupError(f"the dump ends in the middle of {table}: not kept")
    return rows


def fetch(store: Store, database: str, name: str, folder: Path) -> dict[str, Any]:
    """Download a backup into `folder` and hold every file against the manifest, which is returned."""
    names = store.complete(database)
    if name == "latest" and names:
        name = names[-1]
    if name not in names:
        raise BackupError(f"there is no complete backup {name} of {database}: see growbin-backup list")
    base = f"{store.prefix}/{database}/{name}"
    facts: dict[str, Any] = json.loads(
        store.s3.get_object(Bucket=store.bucket, Key=f"{base}/manifest.json")["Body"].read()
    )
    for file, wanted in facts["files"].items():
        store.s3.download_file(store.bucket, f"{base}/{file}", str(folder / file))
        if digest(folder / file) != wanted["sha256"]:
            raise BackupError(f"{base}/{file} is not what was backed up: its sha256 differs. Take an older backup")
    return {**facts, "name": name}


def restore(store: Store, database: str, name: str, target: str, folder: Path) -> None:
    """Bring `name` back as the database `target`; whatever fails, the old one stays as it was."""
    facts = fetch(store, database, name, folder)
    existing = set(sql("SELECT rolname FROM pg_roles").splitlines())
    sql("\n".join(wanted_roles((folder / "roles.sql").read_text(encoding="utf-8"), existing)))
    properties, stamp = facts["properties"], now().lower()
    filling = f"{target}_filling_{stamp}"
    sql(
        f"CREATE DATABASE {identifier(filling)} TEMPLATE template0 OWNER {identifier(properties['owner'])}"
        f" ENCODING {literal(properties['encoding'])}"
        f" LC_COLLATE {literal(properties['collate'])} LC_CTYPE {literal(properties['ctype'])};"
    )
    try:
        with (folder / "database.dump").open("rb") as file:
            postgres("pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={filling}", stdin=file)
        # pg_restore takes a dump that ends early for a short one, and is content.
        counts = "".join(f"SELECT count(*) FROM {table};\n" for table in facts["rows"])  # noqa: S608 (quoted by pg_dump)
        counted = sql(counts, filling).split()
        if [int(count) for count in counted] != list(facts["rows"].values()):
            raise BackupError(f"{facts['name']} did not come back whole: rows are missing. Take an older backup")
        sql("\n".join([*opened(filling, properties), "ANALYZE;"]), filling)
        change_places(target, filling, f"{target}_before_{stamp}")
    except BaseException:
        sql(f"DROP DATABASE IF EXISTS {identifier(filling)} WITH (FORCE);")
        raise
    print(f"restored {target} from {facts['name']}: {sum(facts['rows'].values())} rows in {len(facts['rows'])} tables")


def wanted_roles(dumped: str, existing: set[str]) -> list[str]:
    """The statements of roles.sql about roles this server does not have."""
    made = [line for line in dumped.splitlines() if line.startswith("CREATE ROLE ")]
    missing = {line.removeprefix("CREATE ROLE ").rstrip(";") for line in made}
    missing = {role for role in missing if role.strip('"').replace('""', '"') not in existing}
    kept = []
    for line in dumped.splitlines():
        words = line.split()
        if words[:2] in (["CREATE", "ROLE"], ["ALTER", "ROLE"]) and words[2].rstrip(";") in missing:
            kept.append(line)
        if words[:1] == ["GRANT"] and "TO" in words and words[words.index("TO") + 1].rstrip(";") in missing:
            kept.append(line)
    return kept


def opened(database: str, properties: dict[str, Any]) -> list[str]:
    """Statements that give a database its grants and settings back."""
    named = identifier(database)
    statements = [f"REVOKE ALL ON DATABASE {named} FROM PUBLIC;"] if properties["closed"] else []
    for role, privilege in properties["grants"]:
        statements.append(f"GRANT {privilege} ON DATABASE {named} TO {identifier(role) if role else 'PUBLIC'};")
    for role, key, value in properties["settings"]:
        whom = f"ROLE {identifier(role)} IN DATABASE {named}" if role else f"DATABASE {named}"
        # A list (search_path) is stored as it is written, a single value without its quotes.
        written = value if key in ("search_path", "temp_tablespaces", "session_preload_libraries") else literal(value)
        statements.append(f"ALTER {whom} SET {identifier(key)} TO {written};")
    return statements


def change_places(target: str, filled: str, before: str) -> None:
    """Rename the old database away and the filled one in, both or neither; nobody comes back to the old one."""
    if sql(f"SELECT 1 FROM pg_database WHERE datname = {literal(target)}"):  # noqa: S608 (quoted)
        sql(f"ALTER DATABASE {identifier(target)} WITH ALLOW_CONNECTIONS false;")
        try:
            sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {literal(target)};\n"  # noqa: S608
                f"BEGIN;\nALTER DATABASE {identifier(target)} RENAME TO {identifier(before)};\n"
                f"ALTER DATABASE {identifier(filled)} RENAME TO {identifier(target)};\nCOMMIT;"
            )
        except BaseException:
            sql(f"ALTER DATABASE {identifier(target)} WITH ALLOW_CONNECTIONS true;")
            raise
        print(f"the database as it was is kept as {before}, closed to connections: drop it when you are sure")
    else:
        sql(f"ALTER DATABASE {identifier(filled)} RENAME TO {identifier(target)};")


def back_up_etcd(store: Store) -> None:
    """A snapshot of etcd, made by the etcd that runs, which writes into the folder it shares with the machine."""
    name = now()
    path = Path(setting("BACKUP_ETCD_FOLDER")) / f"snapshot-{name}.db"
    try:
        subprocess.run([*shlex.split(setting("BACKUP_ETCD_COMMAND")), "snapshot", "save", str(path)], check=True)
        store.put(path, f"etcd/{name}.db")
    finally:
        path.unlink(missing_ok=True)
    print(f"backed up etcd: {name}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="growbin-backup", description="PostgreSQL and etcd to S3, and back.")
    parser.add_argument("what", choices=["all", "postgres", "etcd", "list", "restore"])
    parser.add_argument("name", nargs="?", default="latest", help="which backup to restore: a name of list, or latest")
    parser.add_argument("--database", help="restore as this database instead of the one that was backed up")
    arguments = parser.parse_args()
    if "BACKUP_BUCKET" not in os.environ and ENVIRONMENT.exists():
        for line in ENVIRONMENT.read_text(encoding="utf-8").splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                os.environ.setdefault(key, value.strip('"'))
    try:
        store, database = Store(), setting("BACKUP_DATABASE")
        with tempfile.TemporaryDirectory(dir=setting("BACKUP_SPOOL", tempfile.gettempdir())) as folder:
            if arguments.what in ("all", "postgres"):
                back_up(store, database, Path(folder))
            if arguments.what == "etcd" or (arguments.what == "all" and os.environ.get("BACKUP_ETCD_COMMAND")):
                back_up_etcd(store)
            if arguments.what == "list":
                print("\n".join(store.complete(database)))
            if arguments.what == "restore":
                restore(store, database, arguments.name, arguments.database or database, Path(folder))
    except (BackupError, OSError, subprocess.CalledProcessError) as error:
        print(f"growbin-backup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
