"""HTTP function `users`: what a citizen's history says of them. Serve `app` with gunicorn (see routes.py)."""

import os

from functions.shared.config import load
from functions.users.routes import create
from functions.users.settings import Settings

app = create(load(Settings, os.environ))
