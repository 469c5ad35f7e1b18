"""HTTP function `live`: the stages of an analysis as they happen. Serve `app` with gunicorn (gthread)."""

import os

from functions.live.routes import create
from functions.live.settings import Settings
from functions.shared.config import load

app = create(load(Settings, os.environ))
