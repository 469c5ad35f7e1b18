"""HTTP function `web`: the page. Serve `app` with gunicorn (see routes.py for what it does)."""

import os

from functions.shared.config import load
from functions.web.routes import create
from functions.web.settings import Settings

app = create(load(Settings, os.environ))
