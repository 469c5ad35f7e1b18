"""The modules of `rag-index`, which is a folder of data with a command line and no package."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "rag-index"
sys.path.insert(0, str(FOLDER))

covered: Any = import_module("covered")
evaluation: Any = import_module("evaluation")
peers: Any = import_module("peers")
vectors: Any = import_module("vectors")
wordings: Any = import_module("wordings")
Offline: Any = import_module("offline").Offline
