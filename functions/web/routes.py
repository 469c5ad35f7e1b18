"""The page, its style and modules, its texts, and the API's document. Nothing from elsewhere is loaded: the policy
forbids it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import flask
from flask import Flask, request
from flask.typing import ResponseReturnValue

from functions.shared import http, messages
from functions.shared.edge import Edge
from functions.web.settings import Settings

PAGE = Path(__file__).parent / "page"

#: Browsers keep the files but ask each time whether they changed (ETag): a deployment is seen at once.
_CACHE = "no-cache"


def create(settings: Settings) -> Flask:
    """The app of `web`: it needs no other service; files are counted, apart from all other requests, while Redis is
    there."""
    app = http.create_app("web", edge=Edge(settings, apart="files"))
    policy = _policy(settings.s3_public_endpoint)
    template = app.jinja_env.from_string((PAGE / "index.html").read_text(encoding="utf-8"))

    @app.get("/")
    def index() -> ResponseReturnValue:
        """The page, in Korean unless the visitor switched to English (cookie `lang`)."""
        lang = _known(request.cookies.get("lang"))
        response = flask.make_response(template.render(lang=lang, t=partial(messages.text, locale=lang)))
        response.headers["Content-Security-Policy"] = policy
        return _cached(response, vary="Cookie")

    @app.get("/api/docs")
    def docs() -> ResponseReturnValue:
        """The API's page: every operation with a form that sends it. For programmers, so in English only."""
        response = flask.send_from_directory(PAGE, "docs.html")
        response.headers["Content-Security-Policy"] = policy
        return _cached(response)

    @app.get("/api/openapi.json")
    def document() -> ResponseReturnValue:
        """The document of the whole API (`make schemas` writes it), the one thing here that every origin may read."""
        response = flask.send_from_directory(PAGE, "openapi.json")
        response.headers["Access-Control-Allow-Origin"] = "*"
        return _cached(response)

    @app.get("/page/<path:name>")
    def file(name: str) -> ResponseReturnValue:
        """A style sheet or module of the page."""
        if not name.endswith((".css", ".js", ".svg")):
            flask.abort(404)
        return _cached(flask.send_from_directory(PAGE, name))

    @app.get("/messages.json")
    def texts() -> ResponseReturnValue:
        """{key: text} of one language (`?lang=ko|en`)."""
        return _cached(flask.jsonify(messages.strings(_known(request.args.get("lang")), "")))

    return app


def _known(lang: str | None) -> str:
    return lang if lang in messages.LOCALES else messages.DEFAULT_LOCALE


def _cached(response: flask.Response, vary: str | None = None) -> flask.Response:
    response.headers["Cache-Control"] = _CACHE
    if vary:
        response.headers["Vary"] = vary
    response.add_etag()
    response.make_conditional(request.environ)
    return response


def _policy(object_store: str) -> str:
    store = urlsplit(object_store)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' blob: {store.scheme}://{store.netloc}",
            f"connect-src 'self' {store.scheme}://{store.netloc}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
