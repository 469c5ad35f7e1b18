"""Event function `ingest`: a photo is checked and cleaned (see handler.py)."""

from functions.ingest.handler import Deps, handle
from functions.shared.function import step

main = step("ingest", handle=handle, deps=Deps)
