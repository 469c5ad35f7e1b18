"""`python -m knative.argocd.digests prod FOLDER`: digests of images, a file for each function, into an overlay.

CI calls it after a build, with every function. Where the image is another one, a canary or a way back that stands in
the overlay is lifted, as by `make deploy`: the traffic goes to the latest revision, which is the one with this image.
Where it is the same, it stays: somebody else's change does not undo a rollback.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import yaml

from knative.check.deploy import REGISTRY, DeployError, kustomization, written
from knative.check.documents import ENVIRONMENTS, ROOT

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def write(environment: str, digests: dict[str, str], root: Path = ROOT) -> list[Path]:
    """Write function → digest down; the files that changed. DeployError, and nothing written, where a function is in no
    overlay or a digest is none."""
    for function, digest in digests.items():
        if not DIGEST.fullmatch(digest):
            raise DeployError(f"{function}: {digest!r} is no digest")
    places = {function: kustomization(function, environment, root) for function in digests}
    before = {file: file.read_text(encoding="utf-8") for file in places.values()}
    after = dict(before)
    for function, file in places.items():
        if {"name": REGISTRY + function, "digest": digests[function]} not in yaml.safe_load(after[file])["images"]:
            after[file] = written(after[file], function, None, digests[function])
    changed = [file for file in after if after[file] != before[file]]
    for file in changed:
        file.write_text(after[file], encoding="utf-8")
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 with what is wrong on stderr."""
    parser = argparse.ArgumentParser(prog="python -m knative.argocd.digests", description=__doc__)
    parser.add_argument("environment", choices=ENVIRONMENTS)
    parser.add_argument("folder", type=Path)
    wish = parser.parse_args(arguments)
    digests = {file.name: file.read_text(encoding="utf-8").strip() for file in sorted(wish.folder.iterdir())}
    try:
        for file in write(wish.environment, digests):
            print(f"{file.relative_to(ROOT)}: {', '.join(digests)}")
    except DeployError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
