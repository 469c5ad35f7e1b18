"""Presigned POST, the one form a phone may send to the object store; presigned GET, the one picture it may look at.

Signed with botocore's own signer, without boto3 and its client (20 × the import time; the result is the same bytes).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.auth import S3SigV4PostAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

#: A photo has at least one byte and at most 10 MiB, and must arrive within 5 minutes.
SMALLEST, LARGEST = 1, 10 * 1024 * 1024
LIFETIME = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Form:
    """POST multipart/form-data to `url` with every one of `fields`, then the file, before `expires_at`."""

    url: str
    fields: dict[str, str]
    expires_at: datetime


class Presigner:
    """Signs for one bucket. `endpoint` is the address clients see, path-style (`<endpoint>/<bucket>`)."""

    def __init__(self, *, endpoint: str, bucket: str, region: str, access_key: str, secret_key: str) -> None:
        self._url, self._bucket = f"{endpoint.rstrip('/')}/{bucket}", bucket
        self._credentials, self._region = Credentials(access_key, secret_key), region

    def form(self, key: str, content_type: str) -> Form:
        """The form for exactly this key and content type."""
        expires_at = (datetime.now(UTC) + LIFETIME).replace(microsecond=0)
        conditions: list[Any] = [
            {"bucket": self._bucket},
            {"key": key},
            {"Content-Type": content_type},
            ["content-length-range", SMALLEST, LARGEST],
        ]
        request = AWSRequest(method="POST", url=self._url)
        request.context["s3-presign-post-fields"] = {"key": key, "Content-Type": content_type}
        request.context["s3-presign-post-policy"] = {
            "expiration": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conditions": conditions,
        }
        S3SigV4PostAuth(self._credentials, "s3", self._region).add_auth(request)
        return Form(self._url, request.context["s3-presign-post-fields"], expires_at)

    def view(self, key: str) -> str:
        """The address at which exactly this object can be fetched for LIFETIME."""
        request = AWSRequest(method="GET", url=f"{self._url}/{key}")
        expires = int(LIFETIME.total_seconds())
        S3SigV4QueryAuth(self._credentials, "s3", self._region, expires=expires).add_auth(request)
        return str(request.url)
