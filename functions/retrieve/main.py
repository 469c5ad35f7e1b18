"""Event function `retrieve`: the rules that hold today (see handler.py)."""

from functions.retrieve.handler import Deps, handle
from functions.shared.function import step

main = step("retrieve", handle=handle, deps=Deps, warm=Deps.warm)
