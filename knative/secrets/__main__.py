"""What is never committed: passwords, keys and the key pair of tokens, made anew and printed once.

    python -m knative.secrets manifests | kubectl apply -f -
    python -m knative.secrets parameters --jwt-public jwt-public.yaml

`manifests` prints every Secret, and the ConfigMap jwt-public, for a cluster without external-secrets (one-node); the
keys of others come from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (one pair for all functions
there), OPENAI_API_KEY, CENTRES_API_KEY. `parameters` prints, as one JSON object, what prod keeps in Parameter Store
(name below /growbin-prod/ and its value) as far as it is ours to invent; the rest is put there by hand.
Nothing is stored.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from functions.setup.grants import GRANTS
from functions.shared import tokens

AT = "@postgres.growbin-data.svc.cluster.local:5432/waste"
REDIS_AT = "@redis.growbin-data.svc.cluster.local:6379/0"
S3_USERS = ("presign", "ingest", "identify", "grade", "recover")


def passwords() -> dict[str, str]:
    """One for the superuser and one for each function's role, safe in an address."""
    return {name: secrets.token_urlsafe(32) for name in ("superuser", *GRANTS)}


def key_pair() -> tuple[str, dict[str, str]]:
    """The private key and the public one by file name, both PEM."""
    with tempfile.TemporaryDirectory() as folder:
        private, public = Path(folder) / "private.pem", Path(folder) / "public"
        tokens.new_pair(private, public)
        return private.read_text(), {file.name: file.read_text() for file in public.glob("*.pem")}


def manifests(s3: Mapping[str, str], openai_key: str, centres_key: str) -> list[dict[str, Any]]:
    """Every Secret of the manifests and the ConfigMap jwt-public, with fresh passwords."""
    fresh, redis, (private, public) = passwords(), secrets.token_urlsafe(32), key_pair()
    made = [
        _secret(f"postgres-{name}", DATABASE_URL=f"postgresql://{name}:{fresh[name]}{AT}") for name in GRANTS
    ]  # fmt: skip
    made += [_secret(f"s3-{name}", **s3) for name in S3_USERS]
    made += [
        _secret("postgres-setup", DATABASE_URL=f"postgresql://postgres:{fresh['superuser']}{AT}"),
        _secret("postgres-roles", **{name: fresh[name] for name in GRANTS}),
        _secret("redis", REDIS_URL=f"redis://:{redis}{REDIS_AT}"),
        _secret("openai", OPENAI_API_KEY=openai_key),
        _secret("centres", CENTRES_API_KEY=centres_key),
        _secret("jwt-private", **{"private.pem": private}),
        _secret("postgres", "growbin-data", POSTGRES_PASSWORD=fresh["superuser"]),
        _secret("redis", "growbin-data", REDIS_PASSWORD=redis),
        _secret("s3-source", "growbin-events", **s3),
        jwt_public(public),
    ]
    return made


def jwt_public(public: Mapping[str, str]) -> dict[str, Any]:
    """The ConfigMap that every function checks tokens with."""
    about = {"name": "jwt-public", "namespace": "growbin"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": dict(public)}


def _secret(name: str, namespace: str = "growbin", **values: str) -> dict[str, Any]:
    about = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "type": "Opaque", "stringData": values}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m knative.secrets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("manifests", help="Secrets for a cluster without external-secrets")
    other = commands.add_parser("parameters", help="values for Parameter Store")
    other.add_argument("--jwt-public", type=Path, required=True, help="where to write that ConfigMap")
    given = parser.parse_args(arguments)
    if given.command == "manifests":
        wanted = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        if missing := [name for name in wanted if not os.environ.get(name)]:
            parser.error(f"{' and '.join(missing)} must be in the environment")
        s3, openai_key = {name: os.environ[name] for name in wanted}, os.environ.get("OPENAI_API_KEY") or "none"
        made = manifests(s3, openai_key, os.environ.get("CENTRES_API_KEY", ""))
        yaml.safe_dump_all(made, sys.stdout, sort_keys=False)
        return 0
    private, public = key_pair()
    given.jwt_public.write_text(yaml.safe_dump(jwt_public(public), sort_keys=False), encoding="utf-8")
    values = {"postgres": passwords(), "redis": {"password": secrets.token_urlsafe(32)}}
    print(json.dumps(values | {"jwt-private": {"private": private}}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
