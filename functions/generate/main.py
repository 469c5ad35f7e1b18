"""Event function `generate`: the guide (see handler.py)."""

from functions.generate.handler import Deps, handle
from functions.shared.function import step

main = step("generate", handle=handle, deps=Deps, warm=Deps.warm)
