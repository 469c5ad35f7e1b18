"""One file of versions: what is applied, installed and built says what knative/versions.yaml says."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from knative.check.documents import ROOT, Document, load, strings, title

OURS = "ghcr.io/sesacthon/waste-coach-"

#: The newest minor version of Knative that a minor version of Kubernetes runs.
KNATIVE = {"1.28": 16, "1.29": 16, "1.30": 17, "1.31": 18, "1.32": 19}


def known(root: Path = ROOT) -> dict[str, Any]:
    """versions.yaml."""
    return dict(load(root / "knative/versions.yaml"))


def every_image_is_in_the_file(documents: Iterable[Document], root: Path = ROOT) -> Iterator[str]:
    """Images of others, wherever a manifest names one, are those of versions.yaml to the letter."""
    listed = {each["image"] for each in known(root)["images"].values()}
    for document in documents:
        for path, value in strings(document.get("spec") or {}):
            if path.rpartition(".")[2] == "image" and not value.startswith(OURS) and value not in listed:
                yield f"{title(document)}: image {value} is not in versions.yaml"


def what_is_past_its_end_says_how_to_leave(root: Path = ROOT) -> Iterator[str]:
    """Each entry has a version, a reason, an end of life (or null) and a way up."""
    versions = known(root)
    entries = {
        **{k: v for k, v in versions.items() if k not in ("images", "charts")},
        **versions["images"],
        **versions["charts"],
    }
    for what, entry in entries.items():
        for field in ("why", "end_of_life", "way_up"):
            if field not in entry:
                yield f"knative/versions.yaml: {what} has no {field}"
        end = entry.get("end_of_life")
        if isinstance(end, datetime.date) and not entry.get("way_up"):
            yield f"knative/versions.yaml: {what} ends on {end} and has no way up"
        if not entry.get("version") and not entry.get("image"):
            yield f"knative/versions.yaml: {what} has no version"


def ansible_installs_them(root: Path = ROOT) -> Iterator[str]:
    """ansible/versions.yml may not name another version of the same thing."""
    file = root / "ansible/versions.yml"
    if not file.is_file():
        return
    here = known(root)
    for what, version in load(file)["versions"].items():
        entry = here.get(what)
        if entry is None:
            yield f"ansible/versions.yml: {what} {version} is not in knative/versions.yaml, which names all that is run"
        if entry is not None and str(entry["version"]) != str(version):
            yield f"ansible/versions.yml: {what} {version}, versions.yaml says {entry['version']}"


def they_run_together(root: Path = ROOT) -> Iterator[str]:
    """Knative refuses an older Kubernetes, and its parts go together; PostgreSQL is told by its tag."""
    here = known(root)
    minor = ".".join(str(here["kubernetes"]["version"]).split(".")[:2])
    for what in ("knative_serving", "knative_eventing", "knative_rabbitmq", "knative_kourier"):
        version, serving = here[what]["version"], here["knative_serving"]["version"]
        given = int(str(version).split(".")[1])
        if given > KNATIVE.get(minor, given):
            yield f"knative/versions.yaml: {what} {version}: Kubernetes {minor} runs 1.{KNATIVE[minor]} at most"
        if given != int(str(serving).split(".")[1]):
            yield f"knative/versions.yaml: {what} {version} does not go with Serving {serving}"
    tag = re.search(r"-pg(\d+)", here["images"]["postgres"]["image"])
    server = (root / "knative/data/postgres.yaml").read_text(encoding="utf-8")
    told = re.search(r'app\.kubernetes\.io/version: "(\d+)"', server)
    if tag and told and tag[1] != told[1]:
        yield f"knative/data/postgres.yaml: label version {told[1]}, image of {tag[1]}: its volume is of one of them"


def the_image_is_built_from_them(root: Path = ROOT) -> Iterator[str]:
    """The base of functions/Dockerfile is the Python of versions.yaml, by digest."""
    file = root / "functions/Dockerfile"
    if not file.is_file():
        return
    python = known(root)["images"]["python"]["image"]
    plain = python.removeprefix("docker.io/library/")
    for base in re.findall(r"^FROM\s+(?:--\S+\s+)?(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE):
        if ":" in base and base.removeprefix("docker.io/library/") != plain and "$" not in base:
            yield f"functions/Dockerfile: {base} is not {python}"


FILES = [
    what_is_past_its_end_says_how_to_leave,
    ansible_installs_them,
    they_run_together,
    the_image_is_built_from_them,
]
