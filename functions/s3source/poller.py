"""The turn of the poller: receive, tell the broker, and only then delete."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.s3source.ingress import Answer
from functions.s3source.notification import Unreadable, stored
from functions.shared import telemetry
from functions.shared.events import Event, Payload

log = telemetry.logger("s3source")

BATCH = 10
#: Seconds a message we hold stays invisible to others, counted anew with every try.
HELD = 60
#: Longest wait between two tries, seconds; the first is `pause`.
LONGEST = 30.0

FAILED = (BotoCoreError, ClientError)


@dataclass
class Poller:
    """`queue` is a boto3 client of SQS. `stop` ends it after the try under way, with what it still holds given back."""

    queue: Any
    url: str
    bucket: str
    post: Callable[[Event[Payload]], Answer]
    alive: Path
    stop: threading.Event = field(default_factory=threading.Event)
    wait: int = 20
    pause: float = 1.0

    def run(self) -> None:
        """Until `stop`."""
        rest = self.pause
        while not self.stop.is_set():
            self.alive.touch()
            try:
                messages = self._receive()
            except FAILED as error:
                log.warning("queue unreachable", error=str(error))
                self.stop.wait(rest)
                rest = min(rest * 2, LONGEST)
                continue
            rest = self.pause
            self._pass_on(messages)

    def _receive(self) -> list[dict[str, Any]]:
        answer = self.queue.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=self.wait, VisibilityTimeout=HELD
        )
        return list(answer.get("Messages", []))

    def _pass_on(self, messages: list[dict[str, Any]]) -> None:
        """Try until the broker has decided on every message: an outage of it must not use up their deliveries."""
        rest, held = self.pause, messages
        while held and not self.stop.is_set():
            told: list[dict[str, Any]] = []
            left = iter(held)
            for message in left:
                answer = self._tell(message)
                if answer is Answer.AWAY:
                    held = [message, *left]
                    break
                if answer is Answer.TAKEN:
                    told.append(message)
            else:
                held = []
            self._delete(told)
            if held:
                self._hold(held, HELD)
                self.stop.wait(rest)
                self.alive.touch()
                rest = min(rest * 2, LONGEST)
        self._hold(held, 0)

    def _tell(self, message: dict[str, Any]) -> Answer:
        """REFUSED leaves it in the queue: after its last delivery SQS puts it into the dead letter queue."""
        try:
            events = stored(message["Body"], self.bucket)
        except Unreadable as error:
            log.warning("message not understood", message_id=message["MessageId"], error=str(error))
            return Answer.REFUSED
        for event in events:
            answer = self.post(event)
            if answer is not Answer.TAKEN:
                return answer
            log.info("upload told", event_id=event.id, analysis_id=event.subject)
        return Answer.TAKEN

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        """A message that could not be deleted comes again and makes the same event."""
        if not messages:
            return
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        try:
            failed = self.queue.delete_message_batch(QueueUrl=self.url, Entries=entries).get("Failed", [])
        except FAILED as error:
            failed = [str(error)]
        if failed:
            log.warning("messages not deleted", count=len(failed))

    def _hold(self, messages: list[dict[str, Any]], seconds: int) -> None:
        """Keep them from others, or (0 seconds) give them back."""
        if not messages:
            return
        entries = [
            {"Id": str(n), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": seconds}
            for n, m in enumerate(messages)
        ]
        try:
            self.queue.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
        except FAILED as error:
            log.warning("messages not held", error=str(error))
