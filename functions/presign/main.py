"""HTTP function `presign`: where to put a photo. Serve `app` with gunicorn (see routes.py for what it does)."""

import os

from functions.presign.routes import create
from functions.presign.settings import Settings
from functions.shared.config import load

app = create(load(Settings, os.environ))
