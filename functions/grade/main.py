"""Event function `grade`: before and after are compared (see handler.py)."""

from functions.grade.handler import Deps, handle
from functions.shared.function import step

main = step("grade", handle=handle, deps=Deps, warm=Deps.warm)
