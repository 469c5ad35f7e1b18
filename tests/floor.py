"""The least that a read can cost: Flask alone, behind the same server as a function. `make bench` stands beside it."""

from __future__ import annotations

from flask import Flask

app = Flask("floor")


@app.get("/")
def floor() -> dict[str, str]:
    return {"status": "alive"}
