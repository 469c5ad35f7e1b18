"""Event function `recover`: the schedule's ticks at /, the broker's dead letters at /dead-letters (see handler.py)."""

import os

import flask

from functions.recover.handler import Deps, dead_letter, handle
from functions.shared.function import step

deps = Deps.from_env(os.environ)
tick = step("recover", handle=handle, deps=deps)


def main(request: flask.Request) -> flask.Response:
    """Both doors; functions-framework serves every path with this one function."""
    if request.method == "POST" and request.path == "/dead-letters":
        return flask.Response(status=dead_letter(dict(request.headers), request.get_data(), deps))
    return tick(request)
