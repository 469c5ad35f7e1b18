"""Event function `identify`: what is in the photo (see handler.py)."""

from functions.identify.handler import Deps, handle
from functions.shared.function import step

main = step("identify", handle=handle, deps=Deps, warm=Deps.warm)
