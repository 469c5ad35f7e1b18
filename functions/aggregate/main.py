"""Event function `aggregate`: statistics, lessons, reports (see handler.py)."""

from functions.aggregate.handler import Deps, handle
from functions.shared.function import step

main = step("aggregate", handle=handle, deps=Deps)
