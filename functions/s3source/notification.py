"""S3's notifications, as SQS brings them → events. Standard library only, beside our own contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from functions.shared import naming
from functions.shared.events import Event, UploadStored

HERE = naming.source("s3source")


class Unreadable(ValueError):
    """Not a notification of S3: nobody knows what was meant, so nobody may throw it away."""


def stored(body: str, bucket: str) -> list[Event[UploadStored]]:
    """The uploads a message tells of; none for S3's test event, for deletions, and for what is not ours.

    Raises Unreadable.
    """
    try:
        document = json.loads(body)
        if document.get("Event") == "s3:TestEvent":
            return []
        return [event for record in document["Records"] for event in _event(record, bucket)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _event(record: Any, bucket: str) -> Iterator[Event[UploadStored]]:
    """The same upload always makes the same event, also where S3 or SQS says it twice."""
    place, thing = record["s3"]["bucket"]["name"], record["s3"]["object"]
    key = unquote_plus(thing["key"])
    analysis = naming.analysis_of_key(key)
    if not record["eventName"].startswith("ObjectCreated:") or place != bucket or analysis is None:
        return
    etag = str(thing.get("eTag", "")).strip('"')
    event_id = naming.child_id(HERE, f"{key}\n{etag}", UploadStored.TYPE)
    yield Event(
        id=event_id,
        source=HERE,
        subject=str(analysis),
        data=UploadStored(key=key, size=int(thing.get("size", 0)), etag=etag),
        time=datetime.fromisoformat(record["eventTime"]),
        correlation_id=event_id,
    )
