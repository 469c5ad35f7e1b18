"""The broker's ingress: what it takes, what it will never take, and when it is away."""

from __future__ import annotations

from enum import Enum

import urllib3

from functions.shared import telemetry, wire
from functions.shared.events import Event, Payload

log = telemetry.logger("s3source")

#: Statuses that are worth another try, besides 5xx.
_LATER = frozenset({404, 408, 409, 429})


class Answer(Enum):
    TAKEN = "taken"
    REFUSED = "refused"
    AWAY = "away"


class Ingress:
    """POST / at `url`; each request may take `timeout` seconds."""

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        self._url = url
        self._http = urllib3.PoolManager(retries=False, timeout=timeout, maxsize=1)

    def post(self, event: Event[Payload]) -> Answer:
        """TAKEN is a 202 and nothing else: any other 2xx comes from somebody who is not the broker."""
        headers, body = wire.to_http(event)
        try:
            status = self._http.request("POST", self._url, body=body, headers=headers, redirect=False).status
        except urllib3.exceptions.HTTPError as error:
            log.warning("broker unreachable", event_id=event.id, error=str(error))
            return Answer.AWAY
        if status == 202:
            return Answer.TAKEN
        log.warning("broker refused", event_id=event.id, status=status)
        return Answer.AWAY if status >= 500 or status in _LATER or status < 400 else Answer.REFUSED
