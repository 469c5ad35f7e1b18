"""HTTP function `locations`: recycling centres near a position. Serve `app` with gunicorn (see routes.py)."""

import os

from functions.locations.routes import create
from functions.locations.settings import Settings
from functions.shared.config import load

app = create(load(Settings, os.environ))
