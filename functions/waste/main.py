"""HTTP function `waste`: analyses, corrections, items, rules. Serve `app` with gunicorn (see routes.py)."""

import os

from functions.shared.config import load
from functions.waste.routes import create
from functions.waste.settings import Settings

app = create(load(Settings, os.environ))
