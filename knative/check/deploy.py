"""One function, rolled out alone: built, named by what is in it, applied, and written down so that Argo CD agrees.

dev: build, push, apply this one Service by kubectl. prod: the digest is written into the overlay and pushed, and Argo
CD applies it, after its Job `migrate`; kubectl only waits. A field that kubectl applied, too, would be its own as well,
and Argo CD could not take a canary away again (argo-cd#22797). `canary` gives the new revision a share of the traffic;
`rollback` is all the traffic back on the revision before, whatever the image in the overlay. The next deploy of another
image lifts both.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from knative.check.documents import ENVIRONMENTS, ROOT, Document, load, name, services
from knative.check.render import RenderError, overlay, text

REGISTRY = "ghcr.io/sesacthon/waste-coach-"
SPACE = "growbin"
#: Never in an image, whatever a folder holds.
LEFT_OUT = {"__pycache__", ".mypy_cache", ".ruff_cache"}


class DeployError(RuntimeError):
    """Nothing was rolled out, or not all of it: says what to do."""


def inputs(function: str, root: Path = ROOT) -> list[Path]:
    """The files that go into the image of `function`: what the Dockerfile copies for it, and the Dockerfile itself."""
    dockerfile = root / "functions/Dockerfile"
    if not (root / "functions" / function).is_dir():
        raise DeployError(f"there is no function {function}")
    found = {dockerfile}
    told = re.sub(r"\\\n", " ", dockerfile.read_text(encoding="utf-8"))
    for line in re.findall(r"^COPY\s+(.*)$", told, re.MULTILINE):
        words = [word for word in line.split() if not word.startswith("--")]
        if "--from=" in line:
            continue
        for word in words[:-1]:
            if word.startswith("rag-index/") and function != "setup":
                continue  # copied for all, kept by setup alone
            wanted = re.sub(r"\$\{?FUNCTION\}?", function, word).rstrip("/")
            found |= {
                each for path in root.glob(wanted or "*") for each in ([path] if path.is_file() else path.rglob("*"))
            }
    kept = [path for path in found if path.is_file() and not LEFT_OUT & set(path.parts) and path.suffix != ".pyc"]
    return sorted(kept)


def tag(function: str, root: Path = ROOT) -> str:
    """A name for what is in the image: the same files make the same tag, on every machine."""
    digest = hashlib.sha256(function.encode())
    for path in inputs(function, root):
        body = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"\n{path.relative_to(root).as_posix()} {body}".encode())
    return digest.hexdigest()[:16]


@dataclass
class Shell:
    """Runs commands, or with `dry` only prints them; `ask` returns what a command prints."""

    dry: bool = False
    out: Callable[[str], None] = print
    root: Path = ROOT

    def run(self, *words: str, given: str = "") -> None:
        self.out(
            "$ " + " ".join(words) + (f"  # with {len(given.splitlines())} lines of YAML on its input" if given else "")
        )
        if (
            not self.dry
            and subprocess.run(words, input=given or None, text=True, cwd=self.root, check=False).returncode
        ):
            raise DeployError(f"{words[0]} failed: nothing after it was done")

    def ask(self, *words: str, dry: str) -> str:
        """`dry` stands for the answer when nothing is run."""
        done = self._answer(words)
        if done and done.returncode:
            raise DeployError(f"{words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip() if done else dry

    def may(self, *words: str) -> str:
        """What a command prints; "" where it fails, or nothing is run."""
        done = self._answer(words)
        return done.stdout.strip() if done and not done.returncode else ""

    def _answer(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str] | None:
        self.out("$ " + shlex.join(words))
        return None if self.dry else subprocess.run(words, capture_output=True, text=True, cwd=self.root, check=False)


def deploy(function: str, environment: str, shell: Shell, canary: int = 0, root: Path = ROOT) -> None:
    """Build, push, apply (prod: commit, Argo CD applies), wait. `canary`: this percentage only, the rest stays."""
    _known(function, environment, root)
    if not 0 <= canary < 100:
        raise DeployError("CANARY is a percentage below 100")
    if environment == "prod" and shell.ask("git", "status", "--porcelain", "--", "functions", "rag-index", dry=""):
        raise DeployError("commit the function first: prod runs what main holds, and CI would write that over this")
    if not shell.dry and not _engine(shell):
        raise DeployError("docker is there and its engine is not: start it, or let CI build (push to main)")
    digest = _built(function, shell, root)
    traffic: list[Document] | None = None
    if canary:
        traffic = [
            {"latestRevision": True, "percent": canary},
            {"revisionName": _serving(function, shell), "percent": 100 - canary},
        ]
    _roll_out(function, environment, shell, root, traffic=traffic, digest=digest)


def _built(function: str, shell: Shell, root: Path) -> str:
    """The digest of the function's image. One that is in the registry is taken as it is: the same code built anew would
    be another image than the one that a canary watched, and one that CI did not sign."""
    image = f"{REGISTRY}{function}:{tag(function, root)}"
    there = shell.may("docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", image)
    if there:
        return str(json.loads(there)["digest"])
    arguments = ["--platform", "linux/amd64", "--file", "functions/Dockerfile", "--build-arg", f"FUNCTION={function}"]
    shell.run("docker", "build", *arguments, "--tag", image, ".")
    shell.run("docker", "push", image)
    inspected = ("docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", image)
    return shell.ask(*inspected, dry="@sha256:" + "0" * 64).rpartition("@")[2]


def rollback(function: str, environment: str, shell: Shell, root: Path = ROOT) -> None:
    """All traffic to the revision before: the one that still has most of it, or the newest but one."""
    _known(function, environment, root)
    service = ("kubectl", "get", "ksvc", function, "--namespace", SPACE, "--output", "json")
    revisions = (
        "kubectl",
        "get",
        "revisions",
        "--namespace",
        SPACE,
        "--selector",
        f"serving.knative.dev/service={function}",
    )
    now = json.loads(shell.ask(*service, dry=json.dumps({"status": {"traffic": []}})))
    listed = json.loads(shell.ask(*revisions, "--output", "json", dry=json.dumps({"items": _example(function)})))
    before = previous(now, listed["items"])
    _roll_out(function, environment, shell, root, traffic=[{"revisionName": before, "percent": 100}], digest="")


def previous(service: Document, revisions: list[Document]) -> str:
    """The revision to go back to. DeployError where there is none that is ready."""
    latest = (
        service.get("status", {}).get("latestCreatedRevisionName")
        or max(revisions, key=_generation, default={"metadata": {"name": ""}})["metadata"]["name"]
    )
    split = [each for each in service.get("status", {}).get("traffic", []) if each.get("revisionName") != latest]
    if split:
        return str(max(split, key=lambda each: int(each.get("percent") or 0))["revisionName"])
    ready = [each for each in revisions if _is_ready(each) and name(each) != latest]
    if not ready:
        raise DeployError("there is no revision before this one that is ready")
    return name(max(ready, key=_generation))


def _generation(revision: Document) -> int:
    labels = revision.get("metadata", {}).get("labels") or {}
    return int(labels.get("serving.knative.dev/configurationGeneration", 0))


def _is_ready(revision: Document) -> bool:
    conditions = revision.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _example(function: str) -> list[Document]:
    key, ready = "serving.knative.dev/configurationGeneration", {"conditions": [{"type": "Ready", "status": "True"}]}
    return [
        {"metadata": {"name": f"{function}-0000{n}", "labels": {key: str(n)}}, "status": ready} for n in (1, 2)
    ]  # fmt: skip


def _serving(function: str, shell: Shell) -> str:
    """The revision that has most of the traffic now: a second canary is measured against it, not against the first."""
    status = {"status": {"traffic": [{"revisionName": f"{function}-00001", "percent": 100}]}}
    words = ("kubectl", "get", "ksvc", function, "--namespace", SPACE, "--output", "json")
    traffic = json.loads(shell.ask(*words, dry=json.dumps(status))).get("status", {}).get("traffic", [])
    if not traffic:
        raise DeployError(f"{function} serves nothing yet: the first deploy is no canary")
    return str(max(traffic, key=lambda each: int(each.get("percent") or 0))["revisionName"])


def _roll_out(
    function: str, environment: str, shell: Shell, root: Path, *, traffic: list[Document] | None, digest: str
) -> None:
    file = kustomization(function, environment, root)
    before = file.read_text(encoding="utf-8")
    after = written(before, function, traffic, digest)
    file.write_text(after, encoding="utf-8")
    try:
        (wanted,) = (each for each in services(overlay(environment, root)) if name(each) == function)
    finally:
        if shell.dry:
            file.write_text(before, encoding="utf-8")
    where = file.relative_to(root).as_posix()
    if environment == "prod":
        if after != before:
            shell.out(f"  {where}: {digest or 'traffic only'}")
            what = f"Deploy {function} to prod" if digest else f"Roll {function} back in prod"
            shell.run("git", "commit", "--quiet", "--message", what, "--", where)
        shell.run("git", "pull", "--rebase", "--autostash", "--quiet")  # CI commits, too: "Images of …"
        shell.run("git", "push", "--quiet")
        _argo_applies(wanted, shell)
    else:
        if after != before:
            shell.out(f"  commit {where} where Argo CD runs {environment}, or it will undo this")
        shell.run("kubectl", "apply", "--server-side", "--force-conflicts", "--filename", "-", given=text([wanted]))
    shell.run("kubectl", "wait", "--namespace", SPACE, f"ksvc/{function}", "--for=condition=Ready", "--timeout=300s")


def _argo_applies(wanted: Document, shell: Shell) -> None:
    """Argo CD is told to look now, not at its next poll, and waited for until the Service is the `wanted` one; a commit
    of somebody else's in between does not matter."""
    function, spec = name(wanted), wanted["spec"]
    # What the webhook makes of no traffic at all.
    first = spec.get("traffic", [{"latestRevision": True, "percent": 100}])[0]
    fields = {"spec.template.spec.containers[0].image": spec["template"]["spec"]["containers"][0]["image"]}
    fields |= {f"spec.traffic[0].{field}": json.dumps(value).strip('"') for field, value in first.items()}
    application = ("applications.argoproj.io", f"function-{function}", "argocd.argoproj.io/refresh=normal")
    shell.run("kubectl", "annotate", "--overwrite", "--namespace", "argocd", *application)
    for field, value in fields.items():
        until = f"--for=jsonpath={{.{field}}}={value}"
        shell.run("kubectl", "wait", "--namespace", SPACE, f"ksvc/{function}", until, "--timeout=900s")


def kustomization(function: str, environment: str, root: Path = ROOT) -> Path:
    """The file that says which image of `function` an environment runs."""
    image = REGISTRY + function
    for file in sorted((root / "knative/overlays" / environment).rglob("kustomization.yaml")):
        if any(entry.get("name") == image for entry in (load(file) or {}).get("images", [])):
            return file
    raise DeployError(f"no kustomization below knative/overlays/{environment} lists the image {image}")


def written(before: str, function: str, traffic: list[Document] | None, digest: str) -> str:
    """The kustomization with this image and this traffic; the comment at its head stays. No traffic: all to the
    latest."""
    head = re.match(r"(?:#.*\n|\n)*", before)
    wish: dict[str, Any] = yaml.safe_load(before)
    for entry in wish.get("images", []):
        if entry["name"] == REGISTRY + function and digest:
            entry.pop("newTag", None)
            entry["digest"] = digest
    target = {"group": "serving.knative.dev", "version": "v1", "kind": "Service", "name": function}
    kept = [
        each for each in wish.get("patches", []) if not (each.get("target") == target and "/spec/traffic" in str(each))
    ]
    if traffic is not None:
        step = [{"op": "add", "path": "/spec/traffic", "value": traffic}]
        kept.append({"target": target, "patch": yaml.safe_dump(step, sort_keys=False)})
    wish.pop("patches", None)
    if kept:
        wish["patches"] = kept
    return (head[0] if head else "") + yaml.safe_dump(wish, sort_keys=False, allow_unicode=True, width=120)


def _known(function: str, environment: str, root: Path) -> None:
    if environment not in ENVIRONMENTS:
        raise DeployError(f"ENV is one of {', '.join(ENVIRONMENTS)}")
    try:
        there = {name(each) for each in services(overlay(environment, root))}
    except RenderError as error:
        raise DeployError(str(error)) from error
    if function not in there:
        raise DeployError(f"FUNCTION is one of {', '.join(sorted(there))}")


def _engine(shell: Shell) -> bool:
    try:
        done = subprocess.run(("docker", "info"), capture_output=True, cwd=shell.root, check=False)
    except FileNotFoundError as error:
        raise DeployError("docker is not on PATH: install it, or let CI build (push to main)") from error
    return done.returncode == 0
