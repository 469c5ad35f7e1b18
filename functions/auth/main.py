"""HTTP function `auth`: who somebody is. Serve `app` with gunicorn (see routes.py for what it does)."""

import os

from functions.auth.routes import create
from functions.auth.settings import Settings
from functions.shared.config import load

app = create(load(Settings, os.environ))
