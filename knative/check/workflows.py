"""GitHub's workflows: fields it knows, actions by commit, no more rights than the job needs, nothing skipped.

Strict on purpose: a field, an event or a right that nothing here needs is a problem until somebody writes it down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knative.check.documents import ROOT, leaves, load, strings
from knative.check.versions import OURS

FOLDER = ".github/workflows"
WORKFLOW = {"name", "on", "permissions", "concurrency", "env", "jobs"}
JOB = {
    "name", "needs", "if", "runs-on", "timeout-minutes", "permissions", "outputs", "strategy", "env", "steps",
    "concurrency",
}  # fmt: skip
STEP = {"id", "name", "if", "uses", "with", "run", "env", "timeout-minutes", "working-directory"}
EVENTS = {"push", "pull_request", "workflow_run", "schedule", "workflow_dispatch"}
ACTION = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40}")
RUNNER = re.compile(r"ubuntu-\d\d\.\d\d")
#: Right → what a job that has it must do (its steps as text).
RIGHTS = {
    "packages: write": "docker/build-push-action@",
    "id-token: write": "cosign attest",
    "contents: write": "git push",
    "contents: read": "",
    "packages: read": "",
}
#: Commands that hide a failure, or run what nobody read.
HIDDEN = re.compile(r"\|\|\s*(true|:)(\s|$)|set \+e\b|(curl|wget)[^\n|]*\|\s*(ba)?sh\b|--no-verify")
#: What must be done, whatever else is: file → (regular expression over the commands and actions of one job, why).
MUST = {
    "ci.yaml": [
        (r"(?m)^\.ci/run$", "no job runs .ci/run: lint, types and every test"),
        (r"(?m)^make check-cluster$", "no job runs make check-cluster"),
    ],
    "build.yaml": [
        (r"cosign sign --yes \"\$SUBJECT\"", "no image is signed (cosign sign)"),
        (r"cosign attest --yes --type spdxjson .*\"\$SUBJECT\"", "no list of contents is attested (cosign attest)"),
        (r"anchore/sbom-action@", "no list of contents (SBOM) is made"),
        (r"docker/build-push-action@", "no image is built"),
        (r"python -m knative\.argocd\.digests prod digests", "no digest is written into prod's overlay"),
        (r"git push", "the digests are not pushed"),
    ],
}


def every_workflow_is_understood(root: Path = ROOT) -> Iterator[str]:
    """Fields, events, runners, what a job waits for, and what its expressions refer to."""
    for where, flow in _workflows(root):
        yield from (f"{where}: {field}: no such field" for field in sorted(map(str, flow.keys() - WORKFLOW)))
        events = flow.get("on") or {}
        named = [events] if isinstance(events, str) else list(events)
        yield from (f"{where}: on: {event} is not for here" for event in named if event not in EVENTS)
        jobs = flow.get("jobs") or {}
        for key, job in jobs.items():
            here = f"{where}: {key}"
            yield from (f"{here}: {field}: no such field" for field in sorted(job.keys() - JOB))
            if not RUNNER.fullmatch(str(job.get("runs-on", ""))):
                yield f"{here}: runs-on {job.get('runs-on')}: GitHub's own, one version (ubuntu-24.04)"
            if not isinstance(job.get("timeout-minutes"), int) or job["timeout-minutes"] > 40:
                yield f"{here}: timeout-minutes {job.get('timeout-minutes')}: 40 at most"
            needs = job.get("needs") or []
            wanted = [needs] if isinstance(needs, str) else needs
            yield from (f"{here}: needs {each}, which is no job" for each in wanted if each not in jobs)
            for place, step in enumerate(job.get("steps") or []):
                yield from (f"{here}[{place}]: {field}: no such field" for field in sorted(step.keys() - STEP))
                if ("run" in step) == ("uses" in step):
                    yield f"{here}[{place}]: one of run and uses"
            yield from _dangling(here, job, jobs, wanted)


def _dangling(here: str, job: Any, jobs: Any, needs: list[str]) -> Iterator[str]:
    ids = {step["id"] for step in job.get("steps") or [] if "id" in step}
    for path, text in strings(job):
        for step in re.findall(r"\bsteps\.([\w-]+)\.", text):
            if step not in ids:
                yield f"{here}: {path}: no step has the id {step}"
        for other, output in re.findall(r"\bneeds\.([\w-]+)\.outputs\.([\w-]+)", text):
            if other not in needs or output not in (jobs.get(other, {}).get("outputs") or {}):
                yield f"{here}: {path}: {other} hands on no output {output}"
        for field in re.findall(r"\bmatrix\.([\w-]+)", text):
            strategy = str((job.get("strategy") or {}).get("matrix", ""))
            made = " ".join(text for _, text in strings(jobs)) if "fromJSON" in strategy else strategy
            if not re.search(rf"\b{field}\b\"?:", made):
                yield f"{here}: {path}: the matrix has no {field}"


def every_step_is_pinned_and_seen(root: Path = ROOT) -> Iterator[str]:
    """Actions by commit; what comes from outside only through the environment; no failure passed over."""
    for where, flow in _workflows(root):
        text = (root / where).read_text(encoding="utf-8")
        for use in re.findall(r"uses: *(.*)", text):
            if not re.fullmatch(ACTION.pattern + r" # v[\d.]+", use.strip()):
                yield f"{where}: {use}: by its commit, with the release behind it (owner/name@<40 hex> # v1.2.3)"
        for path, word in strings(flow):
            if "secrets." in word and not path.endswith(".with.password"):
                yield f"{where}: {path}: a secret goes to the log-in of the registry alone"
            if "${{" in word and path.endswith(".run"):
                yield f"{where}: {path}: what comes from outside reaches a script through its environment (env)"
            if path.endswith(".run") and (found := HIDDEN.search(word)):
                yield f"{where}: {path}: {found[0].strip()!r} passes over a failure or runs what nobody read"
            if re.search(r"(^|\.)if$", path) and word.strip("${} ") == "false":
                yield f"{where}: {path}: never runs"
        for path, value in leaves(flow):
            if not isinstance(value, bool):
                continue
            if path.endswith(".if"):
                yield f"{where}: {path}: {value}"
            if path.endswith("continue-on-error"):
                yield f"{where}: {path}: passes over a failure"


def nobody_may_more_than_they_do(root: Path = ROOT) -> Iterator[str]:
    """The workflow may read; a job says what more it may, and does what needs it; a checkout keeps no key."""
    for where, flow in _workflows(root):
        if flow.get("permissions") != {"contents": "read"}:
            yield f"{where}: permissions {flow.get('permissions')}: contents: read, and a job says what more it needs"
        for key, job in (flow.get("jobs") or {}).items():
            given, does = job.get("permissions") or {}, _does(job)
            pairs = [f"{right}: {may}" for right, may in given.items()] if isinstance(given, dict) else [str(given)]
            for pair in pairs:
                if pair not in RIGHTS or RIGHTS[pair] not in does:
                    yield f"{where}: {key}: permissions {pair}, and nothing in it needs that"
            have = {*pairs, *(f"{right}: {may}" for right, may in (flow.get("permissions") or {}).items() if not pairs)}
            for right, need in RIGHTS.items() if isinstance(flow.get("permissions"), dict) else ():
                if need and need in does and right not in have:
                    yield f"{where}: {key}: {need.rstrip('@')} without permissions {right}"
            if "build-push-action@" in does and "docker/login-action@" not in does:
                yield f"{where}: {key}: pushes without docker/login-action"
            for step in job.get("steps") or []:
                kept = (step.get("with") or {}).get("persist-credentials", True)
                if (
                    "actions/checkout@" in str(step.get("uses"))
                    and kept is not False
                    and "contents: write" not in pairs
                ):
                    yield f"{where}: {key}: checkout without persist-credentials: false leaves the key beside the code"


def what_must_be_done_is_done(root: Path = ROOT) -> Iterator[str]:
    """Tests and checks on every push and request; images built of what ci passed, signed, listed, written down."""
    flows = {Path(where).name: flow for where, flow in _workflows(root)}
    for file, wanted in MUST.items():
        if (root / FOLDER).is_dir() and file not in flows:
            yield f"{FOLDER}/{file}: missing"
            continue
        jobs = [_does(job) for job in (flows.get(file, {}).get("jobs") or {}).values()]
        for pattern, why in wanted if file in flows else []:
            if not any(re.search(pattern, does) for does in jobs):
                yield f"{FOLDER}/{file}: {why}"
    if "ci.yaml" in flows:
        events = flows["ci.yaml"].get("on") or {}
        if not isinstance(events, dict) or events.get("push") != {"branches": ["main"]} or "pull_request" not in events:
            yield f"{FOLDER}/ci.yaml: on: every push to main and every pull_request, whatever files they change"
        for key, job in flows["ci.yaml"].get("jobs", {}).items():
            guarded = [
                step.get("run") for step in job.get("steps", []) if "if" in step and "failure()" not in str(step["if"])
            ]
            if "if" in job or [run for run in guarded if run]:
                yield f"{FOLDER}/ci.yaml: {key}: runs always, without `if`"
    if "build.yaml" in flows and "ci.yaml" in flows:
        yield from (
            f"{FOLDER}/build.yaml: {problem}" for problem in _built(root, flows["build.yaml"], flows["ci.yaml"])
        )
    run = root / ".ci/run"
    if run.is_file() and not re.search(r"(?m)^(exec )?make test$", run.read_text(encoding="utf-8")):
        yield ".ci/run: does not run make test"


def _built(root: Path, build: Any, ci: Any) -> Iterator[str]:
    wanted = {"workflow_run": {"workflows": [ci.get("name")], "types": ["completed"], "branches": ["main"]}}
    if build.get("on") != wanted:
        yield f"on: {build.get('on')}, not when {ci.get('name')} has completed on main"
    jobs = build.get("jobs") or {}
    for key, job in jobs.items():
        first = not job.get("needs")
        if first and not all(part in str(job.get("if")) for part in ("conclusion == 'success'", "event == 'push'")):
            yield f"{key}: if: only after a success of ci on a push (conclusion == 'success', event == 'push')"
    steps = [step for job in jobs.values() for step in job.get("steps") or []]
    handed = [
        str((step.get("with") or {}).get("name")) for step in steps if "upload-artifact@" in str(step.get("uses"))
    ]
    for step in steps:
        told = step.get("with") or {}
        if "download-artifact@" in str(step.get("uses")):
            stem = str(told.get("pattern", told.get("name"))).rstrip("*")
            if not handed or not all(each.startswith(stem) for each in handed):
                yield f"takes {told.get('pattern')}, handed on are {', '.join(handed)}"
        if "build-push-action@" in str(step.get("uses")):
            if not (root / str(told.get("file"))).is_file():
                yield f"builds {told.get('file')}, which is not there"
            if told.get("push") is not True:
                yield "push is not true: nothing reaches the registry"
            if not str(told.get("tags")).endswith(":${{ matrix.tag }}"):
                yield f"tags {told.get('tags')}: the hash of what is in it (matrix.tag), never one that moves"
            if told.get("context") != "." or "FUNCTION=${{ matrix.function }}" not in str(told.get("build-args")):
                yield "build: context . and build-args FUNCTION=${{ matrix.function }}, as functions/Dockerfile wants"
            if told.get("platforms") != "linux/amd64":
                yield f"platforms {told.get('platforms')}: the nodes are linux/amd64"


def _does(job: Any) -> str:
    """Actions and commands of a job, a line each; what runs only sometimes by a condition of the step is counted."""
    return "\n".join(f"{step.get('uses', '')}\n{step.get('run', '')}".strip() for step in job.get("steps") or [])


def tools_are_new_enough(root: Path = ROOT) -> Iterator[str]:
    """Python and Terraform of CI are those that the project asks for, images go where the manifests look."""
    least = {"python-version": (3, 11), "terraform_version": (1, 11)}
    for where, flow in _workflows(root):
        for path, text in strings(flow):
            wanted = least.get(path.rpartition(".")[2])
            given = tuple(int(part) for part in text.split(".")[:2]) if re.fullmatch(r"\d+\.\d+(\.\d+)?", text) else ()
            if wanted and given < wanted:
                yield f"{where}: {path}: {text}: {'.'.join(map(str, wanted))} or newer, written out"
            if path.rpartition(".")[2] in ("REGISTRY", "IMAGE") and not text.startswith(OURS.rpartition("/")[0]):
                yield f"{where}: {path}: {text}: the manifests take images from {OURS}"


def what_is_run_is_there(root: Path = ROOT) -> Iterator[str]:
    """Targets of the Makefile and modules of Python that commands name."""
    makefile = root / "Makefile"
    targets = (
        set(re.findall(r"(?m)^([\w./-]+):", makefile.read_text(encoding="utf-8"))) if makefile.is_file() else set()
    )
    for where, flow in _workflows(root):
        for path, text in strings(flow):
            if not path.endswith(".run"):
                continue
            for target in re.findall(r"\bmake ([\w./-]+)", text) if targets else []:
                if target not in targets:
                    yield f"{where}: {path}: make {target}: no such target"
            for module in re.findall(r"python -m (knative[\w.]*|terraform[\w.]*|functions[\w.]*)", text):
                file = root / module.replace(".", "/")
                if not file.with_suffix(".py").is_file() and not (file / "__main__.py").is_file():
                    yield f"{where}: {path}: python -m {module}: no such module"


def dependabot_moves_the_actions(root: Path = ROOT) -> Iterator[str]:
    """Commits of actions grow old: Dependabot moves them once a week."""
    file = root / ".github/dependabot.yml"
    if not file.is_file():
        if (root / FOLDER).is_dir():
            yield ".github/dependabot.yml: missing: nobody moves the commits of the actions"
        return
    told = load(file)
    kinds = {(each.get("package-ecosystem"), each.get("directory")) for each in told.get("updates") or []}
    if told.get("version") != 2 or ("github-actions", "/") not in kinds:
        yield f".github/dependabot.yml: version 2 with github-actions at /, not {sorted(map(str, kinds))}"


def _workflows(root: Path) -> Iterator[tuple[str, Any]]:
    """(path, workflow); YAML 1.1 reads the key `on` as True."""
    for file in sorted((root / FOLDER).glob("*.y*ml")):
        told = load(file)
        yield file.relative_to(root).as_posix(), {"on" if key is True else key: value for key, value in told.items()}


FILES = [
    every_workflow_is_understood,
    every_step_is_pinned_and_seen,
    nobody_may_more_than_they_do,
    what_must_be_done_is_done,
    tools_are_new_enough,
    what_is_run_is_there,
    dependabot_moves_the_actions,
]
