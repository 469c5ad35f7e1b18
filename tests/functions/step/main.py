"""A function like the real ones, whose handler does what the event's `key` says: every outcome of the glue."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from functions.shared import lifecycle
from functions.shared.config import load, secret
from functions.shared.events import AnalysisRequested, Event, PhotoIngested
from functions.shared.function import Done, ModelDown, Rejected, Retry, step
from functions.shared.postgres import Database, Tx


@dataclass(frozen=True)
class Settings:
    database_url: str = secret()


class Deps:
    def __init__(self, db: Database) -> None:
        self.db = db

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        return cls(Database(load(Settings, environ).database_url))

    def ping(self) -> None:
        self.db.ping()

    def close(self) -> None:
        self.db.close()


def handle(event: Event[AnalysisRequested], deps: Deps) -> Done:
    match event.data.key:
        case "retry":
            raise Retry("not yet")
        case "model-down":
            raise ModelDown("429", park_seconds=1)
        case "rejected":
            raise Rejected("bad_photo", "truncated")
        case "bug":
            raise ZeroDivisionError
        case "nothing":
            return Done()
        case "slow":
            time.sleep(0.5)

    def save(tx: Tx) -> None:
        lifecycle.advance(tx, event.subject, frm={"requested"}, to="ingested")
        tx.execute("UPDATE analyses SET question = coalesce(question, '') || 'x' WHERE id = %s", (event.subject,))

    return Done(PhotoIngested(photo_id="p", sha256="s", width=1, height=1), save)


main = step("step", handle=handle, deps=Deps)
