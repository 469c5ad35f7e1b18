"""Every name that two places must agree on: event types and sources, functions, object keys, channels.

Standard library only, so that anything (functions, the index, the local cluster, tests) may import it.
"""

from __future__ import annotations

import re
import uuid

EVENT_PREFIX = "app.growbin.waste"
PING_TYPE = "dev.knative.sources.ping"

#: Namespace of every derived id: the same parent and step always give the same child id (design §3.2).
_NAMESPACE = uuid.UUID("6f1d3a52-5a5c-4d0e-9b41-0f6a1c2b7e90")

#: Postgres NOTIFY channel on which every appended analysis event is announced as "<analysis id>:<n>".
EVENTS_CHANNEL = "analysis_events"

#: Object key prefixes. `uploads/` is what the citizen posted (deleted by ingest); `photos/` is what we keep.
UPLOADS, PHOTOS = "uploads", "photos"

#: Content type a citizen may upload → file ending used in the object key.
PHOTO_TYPES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/heic": "heic"}

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY = re.compile(rf"^{UPLOADS}/({_UUID})/(?:before|after-([1-9][0-9]?))\.(?:jpg|png|webp|heic)$")
_COPY = re.compile(rf"^{PHOTOS}/({_UUID})/(?:before|after-[1-9][0-9]?)-(?:kept|model)\.jpg$")


def event_type(resource: str, action: str, version: int = 1) -> str:
    """`app.growbin.waste.<resource>.v<N>.<past-tense action>` (design §4)."""
    return f"{EVENT_PREFIX}.{resource}.v{version}.{action}"


def stage(type_: str) -> str:
    """What a citizen's app calls an event: its type without prefix and version (`photo.ingested`)."""
    resource, _version, action = type_.removeprefix(f"{EVENT_PREFIX}.").split(".")
    return f"{resource}.{action}"


def source(function: str) -> str:
    """CloudEvents `source` of a function."""
    return f"/functions/{function}"


def child_id(parent_source: str, parent_id: str, step: str) -> str:
    """Id of the event that `step` makes out of one parent: a replay makes the same event, not a second one."""
    return str(uuid.uuid5(_NAMESPACE, f"{parent_source}\n{parent_id}\n{step}"))


def upload_key(analysis_id: uuid.UUID, content_type: str, attempt: int | None = None) -> str:
    """Server-chosen key of what the citizen posts: the photo asked about, or the after-photo of proof `attempt` (1 …).

    KeyError for a content type that is not accepted.
    """
    return f"{UPLOADS}/{analysis_id}/{_which(attempt)}.{PHOTO_TYPES[content_type]}"


def analysis_of_key(key: str) -> uuid.UUID | None:
    """The analysis an upload key belongs to, or None for a key we never gave out."""
    match = _KEY.match(key)
    return uuid.UUID(match.group(1)) if match else None


def attempt_of_key(key: str) -> int | None:
    """Which proof of its analysis an upload key is the after-photo of; None for the photo asked about."""
    match = _KEY.match(key)
    return int(match.group(2)) if match and match.group(2) else None


def photo_key(analysis_id: uuid.UUID, size: str, attempt: int | None = None) -> str:
    """Key of a cleaned copy: `size` is `kept` (≤ 2048 px) or `model` (≤ 1024 px)."""
    return f"{PHOTOS}/{analysis_id}/{_which(attempt)}-{size}.jpg"


def analysis_of_photo(key: str) -> uuid.UUID | None:
    """The analysis a cleaned copy belongs to, or None for a key that is none of a copy."""
    match = _COPY.match(key)
    return uuid.UUID(match.group(1)) if match else None


def _which(attempt: int | None) -> str:
    return "before" if attempt is None else f"after-{attempt}"
