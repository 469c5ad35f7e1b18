"""The object store: photos in, photos out. boto3 is imported by the first real call (it costs half a second).

Everything that goes wrong on the way to the store is `Unavailable`: not done, may be tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.shared.postgres import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ABSENT = frozenset({404})
_CHANGED = frozenset({412})


class Missing(Exception):
    """There is no such object (any more)."""


class Changed(Exception):
    """The object is no longer the one that was looked at."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What HEAD says of an object: size in bytes, ETag without its quotes, time of the last write."""

    key: str
    size: int
    etag: str
    modified: datetime


class Objects:
    """One bucket. `endpoint` is where the functions reach the store, None for AWS itself; thread-safe, lazy."""

    def __init__(
        self, *, endpoint: str | None, region: str, bucket: str, access_key: str, secret_key: str, timeout: float = 5.0
    ) -> None:
        self.bucket = bucket
        self._endpoint, self._region, self._timeout = endpoint, region, timeout
        self._credentials = (access_key, secret_key)

    def head(self, key: str) -> Stat | None:
        """What the store knows of `key`, or None."""
        try:
            with _trouble(key):
                found = self._client.head_object(Bucket=self.bucket, Key=key)
        except Missing:
            return None
        return Stat(key, found["ContentLength"], found["ETag"].strip('"'), found["LastModified"])

    def get(self, key: str, *, etag: str | None = None) -> bytes:
        """The object's bytes. Missing where it is gone; Changed where its ETag is not `etag`."""
        condition: dict[str, Any] = {"IfMatch": f'"{etag}"'} if etag else {}
        with _trouble(key):
            return self._client.get_object(Bucket=self.bucket, Key=key, **condition)["Body"].read()

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Write, or write over: the same bytes at the same key are the same object."""
        with _trouble(key):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove up to 1,000 objects; a key that is not there is removed already."""
        if keys:
            with _trouble(keys[0]):
                answer = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                )
            if errors := answer.get("Errors"):
                raise Unavailable(f"object store kept {errors[0].get('Key')}: {errors[0].get('Code')}")

    def under(self, prefix: str, limit: int = 1000, *, after: str = "") -> list[Stat]:
        """The first `limit` (at most 1,000) objects under `prefix`, by key; of those behind the key `after`."""
        with _trouble(prefix):
            found = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, MaxKeys=limit, StartAfter=after)
        return [
            Stat(one["Key"], one["Size"], one["ETag"].strip('"'), one["LastModified"])
            for one in found.get("Contents", [])
        ]

    def ping(self) -> None:
        """Raises Unavailable unless the bucket answers."""
        try:
            with _trouble(self.bucket):
                self._client.head_bucket(Bucket=self.bucket)
        except Missing as error:
            raise Unavailable(f"object store has no bucket {self.bucket}") from error

    @property
    def _client(self) -> S3Client:
        return _client(self._endpoint, self._region, *self._credentials, self._timeout)


@cache
def _client(endpoint: str | None, region: str, access_key: str, secret_key: str, timeout: float) -> S3Client:
    """One for a process and store: making one costs 0.1 s of CPU, and any number of threads may use it."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            connect_timeout=2,
            read_timeout=timeout,
            max_pool_connections=16,
            retries={"total_max_attempts": 2, "mode": "standard"},  # the broker retries; this one smooths a blip
            s3={"addressing_style": "path"} if endpoint else {},
            request_checksum_calculation="when_required",  # stores other than AWS do not all know the newer ones
            response_checksum_validation="when_required",
        ),
    )


@contextmanager
def _trouble(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status in _ABSENT:
            raise Missing(key) from error
        if status in _CHANGED:
            raise Changed(key) from error
        raise Unavailable(f"object store: {error}") from error
    except BotoCoreError as error:
        raise Unavailable(f"object store: {error}") from error
