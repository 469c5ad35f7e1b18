"""CloudEvents on HTTP. The only importer of the `cloudevents` SDK (v1: it passes malformed JSON through as bytes)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cloudevents.conversion import to_binary
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_http

from functions.shared.events import Event, Payload, Undecodable, decode, encode

#: The span that made an event, as a traceparent. Not called so: Knative's broker takes an attribute of that name away
#: and gives the function a header with a span of its own, which nobody is told of.
CAUSE = "causedby"


def parse(headers: Mapping[str, str], body: bytes) -> Event[Payload]:
    """Binary or structured CloudEvent → Event. Undecodable for anything that is not an event of the catalogue."""
    try:
        raw = from_http(dict(headers), body)
    except (GenericException, ValueError, KeyError, TypeError) as error:
        raise Undecodable(f"not a CloudEvent: {error}") from error
    attributes: dict[str, Any] = dict(raw.get_attributes())
    data = raw.data
    if isinstance(data, bytes | str):
        try:
            data = json.loads(data)
        except ValueError as error:
            raise Undecodable(f"{attributes['type']}: data is not JSON") from error
    payload = decode(attributes["type"], data)
    subject = attributes.get("subject") or ""
    if not payload.TYPE.startswith("dev.knative.") and not _is_uuid(subject):
        raise Undecodable(f"{payload.TYPE}: subject {subject!r} is not an analysis id")
    return Event(
        id=attributes["id"],
        source=attributes["source"],
        subject=subject,
        data=payload,
        time=_time(attributes.get("time")),
        correlation_id=attributes.get("correlationid") or attributes["id"],
        traceparent=attributes.get(CAUSE),
    )


def to_http(event: Event[Payload]) -> tuple[dict[str, str], bytes]:
    """Event → headers and body of a binary CloudEvent."""
    attributes: dict[str, Any] = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": event.time.isoformat(),
        "datacontenttype": "application/json",
        "correlationid": event.correlation_id,
    }
    if event.subject:
        attributes["subject"] = event.subject
    if event.traceparent:
        attributes[CAUSE] = event.traceparent
    headers, body = to_binary(CloudEvent.create(attributes, encode(event.data)))
    return dict(headers), bytes(body)


def _time(value: str | None) -> datetime:
    try:
        return datetime.fromisoformat(value) if value else datetime.now(UTC)
    except ValueError as error:
        raise Undecodable(f"time {value!r} is not RFC 3339") from error


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
